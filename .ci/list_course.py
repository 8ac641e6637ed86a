"""List the recordings that the course's outputs stand on, so that `--course` can find them in public archives.

python .ci/list_course.py       of data/raw, into utils/course_clips.csv.xz
"""

import lzma
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from utils import corpus, sources
from utils.system import cli, files


def main(arguments=None):
    """Write name, hash of sound and set of each recording; the unlabelled test clips are left out."""
    cli.Parser(description=__doc__.splitlines()[0]).parse_args(arguments)
    recordings = corpus.find_recordings("data/raw")
    folder = corpus.list_folder(recordings)
    sets = {name: of for of, listed in corpus.LISTS.items() for name in corpus.read_list(folder / listed)}
    rows = []
    for path in sorted(recordings.glob("*/*.wav")):
        name = path.relative_to(recordings).as_posix()
        rows.append(f"{name},{sources.hash_sound(path)},{sets.get(name, 'train')}\n")
    files.write_bytes(sources.COURSE, lzma.compress("".join(rows).encode()))
    print(f"{sources.COURSE.name}: {len(rows):,} recordings, {sources.COURSE.stat().st_size:,} bytes")


if __name__ == "__main__":
    sys.exit(cli.run(main))
