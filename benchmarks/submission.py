"""How long a submission of Kaggle's size takes, and how much memory.

    python -m benchmarks.submission                  158,538 clips, made by repetition of data/raw/test/audio
    python -m benchmarks.submission --model runs/best
    python -m benchmarks.submission --json

The clips are hard links, so they are read from memory after the first round; a cold disk may be slower.
"""

import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import predict
from benchmarks import make_parser, peak_mb
from utils import evaluation
from utils.system import cli

CLIPS = 158_538


def link_clips(folder):
    """Names of so many hard links to the clips that are there."""
    names = [f"clip_{number:06d}.wav" for number in range(CLIPS)]
    sources = itertools.cycle(predict.find_wavs([predict.TEST_AUDIO]))
    for name, source in zip(cli.progress(names, desc="linking", unit="clip"), sources):
        os.link(source, folder / name)
    return names


def main(arguments=None):
    """Measure and print."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--model", type=cli.path_text, help="run folder (default: runs/latest, or pretrained where there is none)"
    )
    options = parser.parse_args(arguments)
    # Beside the recordings, so that hard links work.
    with tempfile.TemporaryDirectory(dir=predict.TEST_AUDIO.parents[2], prefix=".benchmark") as folder:
        clips, table = Path(folder) / "audio", Path(folder) / "submission.csv"
        clips.mkdir()
        names = link_clips(clips)
        command = [sys.executable, "predict.py", str(clips), "--submission", str(table)]
        started = time.perf_counter()
        subprocess.run([*command, *(["--model", options.model] if options.model else [])], check=True)
        seconds = time.perf_counter() - started
        row = {
            "clips": CLIPS,
            "seconds": seconds,
            "clips/s": CLIPS / seconds,
            "peak_mb": peak_mb(resource.getrusage(resource.RUSAGE_CHILDREN)),
            "problems": evaluation.check_submission(table, names),
        }
    if options.json:
        print(json.dumps(row))
    else:
        print(f"{CLIPS} clips in {seconds:.0f} s, {row['clips/s']:.0f} clips/s, {row['peak_mb']:.0f} MB")
        print("\n".join(row["problems"]) or "Kaggle would accept it")
    return 1 if row["problems"] else 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
