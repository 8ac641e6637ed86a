"""Bring recordings to data/raw. Each door needs something else:

  command                                  brings                      needs
  python -m utils.voices                   speech made on the spot     nothing
  python -m utils.sources speech_commands  Speech Commands, public     the network: 1.6 GB, with --version 2 2.5 GB
                          ... --course     of it, the course's own     the same for both versions: 4 GB
  python -m utils.sources kaggle           the competition's data      an account at kaggle.com, its token in
                                                                       ~/.kaggle/access_token, the rules accepted
  python -m utils.sources archive PATH     the competition's data      its zip, downloaded by you
  your own words                           what you recorded           a folder: python -m utils.prepare --help

Beside the voices, the disk needs room for two and a half to four times the download. A command that was
cut off goes on, or starts anew, when it is run again.
"""

import argparse
import contextlib
import hashlib
import lzma
import os
import sys
from pathlib import Path

import numpy as np

from utils import audio, corpus
from utils.labels import SILENCE
from utils.system import archives, cli, downloads, files
from utils.system.cli import BadUse, CourseError
from utils.system.names import is_hidden

RAW = Path("data/raw")
# What the course needs of the competition's data, by the name of its archive in Kaggle's zip.
PACKED = {"train": "train", "test": "test", "sample_submission": "sample_submission.csv"}
PARTS = tuple(PACKED.values())
COURSE = Path(__file__).with_name("course_clips.csv.xz")  # by .ci/list_course.py: name, hash of sound, set
END_BYTES = 1 << 20  # of an archive, which tell it from others
SEED = 220788


def describe_source(raw=RAW):
    """What ``data/raw`` holds, as written in its ``source.json``: ``{"name": ..., "parts": {...}}``."""
    source = files.read_json(Path(raw) / "source.json")
    return source if _is_ours(source) else {"name": f"recordings in {raw}", "parts": {}}


def _is_ours(source):
    return isinstance(source, dict) and isinstance(source.get("parts"), dict) and "name" in source


def unpack(path, raw=RAW, fingerprint=None):
    """Bring what was downloaded from Kaggle to ``raw``, whole or not at all.

    Parameters
    ----------
    path : str or Path
        The competition's zip, one of the archives in it, ``sample_submission.csv``, or a folder with these.
    raw : str or Path
        Gets ``train/``, ``test/`` and ``sample_submission.csv``.
    fingerprint : str, optional
        Tells this source from others; made from the archive where not given.

    Returns
    -------
    list of str
        The parts that were new; empty if all were there already.

    Raises
    ------
    CourseError
        See :func:`utils.system.archives.extract`; also if another source's recordings are in the way.
    """
    path, raw = Path(path), Path(raw)
    if path.is_dir():
        files.require_apart({"the archive": path, "raw": raw})
    elif not path.is_file():
        raise CourseError(f"{path} is no file or folder: name the archive that you downloaded from Kaggle")
    fingerprint = fingerprint or _fingerprint(path)
    with files.work_folder(raw) as work:
        mine = [part for part, mark in describe_source(raw)["parts"].items() if mark == fingerprint]
        if mine and _is_there(raw, mine, fingerprint):
            return []
        if all(os.path.lexists(raw / part) for part in PARTS):  # whatever it holds: told before minutes of unpacking
            _is_there(raw, PARTS, fingerprint)
        _gather(path, work)
        found = _find_parts(work)
        if not found:
            raise CourseError(
                f"{path} holds no train/audio, test/audio or sample_submission.csv: is it the "
                "archive of the TensorFlow Speech Recognition Challenge?"
            )
        return _move_in(found, raw, fingerprint, f"recordings ({path.name})")


def download_competition(raw=RAW):
    """Download the competition's data with the user's Kaggle token and unpack it; see :func:`unpack`."""
    raw = Path(raw)
    fingerprint = f"{downloads.COMPETITION} from Kaggle"
    with files.owned(raw):
        if _is_there(raw, PARTS, fingerprint):
            return []
        with _download_folder(raw, "kaggle") as folder:
            return unpack(downloads.fetch_kaggle(folder), raw, fingerprint)


def download_speech_commands(version=1, raw=RAW):
    """Download the public Speech Commands and lay them out as Kaggle's data; see :func:`unpack`.

    Version 1 is the competition's own. ``test/audio`` gets the canonical test set, and
    ``speech_commands_solution.csv`` its labels.
    """
    raw, name, solution = Path(raw), f"Speech Commands v0.0{version}", "speech_commands_solution.csv"
    names = f"speech_commands_v0.0{version}", f"speech_commands_test_set_v0.0{version}"
    parts = (*PARTS, solution)
    with files.work_folder(raw) as work:
        if _is_there(raw, parts, name):
            return []
        with _download_folder(raw, "speech_commands") as folder:
            recordings, test_set = downloads.fetch_public(names, folder)
            train = work / "train"
            archives.extract(recordings, train / "audio")
            for path in list((train / "audio").iterdir()):
                if path.is_file():  # the lists, the licence
                    path.rename(train / path.name)
            archives.extract(test_set, work / "canonical")
            clips = [path for path in sorted((work / "canonical").glob("*/*.wav")) if not is_hidden(path.name)]
            # Their folders are the ten keywords, _silence_ and _unknown_.
            labelled = [(path, path.parent.name.strip("_")) for path in clips]
            hide_labels(labelled, work, solution, np.random.default_rng(SEED))
            return _move_in({part: work / part for part in parts}, raw, name, name)


def hash_sound(path):
    """Short hash of a recording's samples, whatever its header says; None for one that cannot be read."""
    try:
        return hashlib.sha256(audio.read_wav(path).tobytes()).hexdigest()[:16]
    except audio.WavError:
        return None


def download_course(raw=RAW):
    """Bring, of the public Speech Commands, the recordings that the course's outputs were made on; see :func:`unpack`.

    They are known by their sound, as the versions name some of them differently. The lists of validation and test are
    the course's own. Of what is in no version, a line says how much.
    """
    raw, name = Path(raw), "recordings of the course"
    rows = [row.split(",") for row in lzma.decompress(COURSE.read_bytes()).decode().splitlines()]
    with files.work_folder(raw) as work:
        if _is_there(raw, ("train",), name):
            return []
        wanted = {}
        for clip, sound, _ in rows:
            wanted.setdefault(sound, []).append(clip)
        with _download_folder(raw, "speech_commands") as folder:
            for version in (2, 1):
                [archive] = downloads.fetch_public([f"speech_commands_v0.0{version}"], folder)
                archives.extract(archive, work / archive.name)
                _pick(work / archive.name, wanted, work / "train" / "audio")
                if not wanted:
                    break
            lost = {clip for clips in wanted.values() for clip in clips}
            if lost:
                cli.warn(f"{len(lost):,} of {len(rows):,} recordings are in no version: scores will differ")
            for of, listed in corpus.LISTS.items():
                names = [clip for clip, _, its in rows if its == of and clip not in lost]
                files.write_text(work / "train" / listed, "".join(f"{clip}\n" for clip in names))
            return _move_in({"train": work / "train"}, raw, name, name)


def _pick(folder, wanted, target):
    """Move recordings whose sound is wanted (hash -> names) to their places in ``target``; those are wanted no more."""
    for path in cli.progress(sorted(folder.glob("*/*.wav")), desc="looking for the course's", unit="clip"):
        for clip in wanted.pop(hash_sound(path), []):
            (target / clip).parent.mkdir(parents=True, exist_ok=True)
            files.link_or_copy(path, target / clip)


@contextlib.contextmanager
def _download_folder(raw, name):
    """Hidden folder beside ``raw``, kept until all is unpacked, unless what came is damaged."""
    folder = files.beside(raw, "").with_name(f".{name}.download")
    try:
        yield folder
    except archives.Damaged:  # else it would be found there for ever
        files.remove(folder)
        raise
    files.remove(folder)


def hide_labels(clips, raw, solution, rng):
    """Move test clips (Path, label) to ``test/audio`` under names that tell nothing; write down the labels.

    ``raw`` gets ``sample_submission.csv`` and, with the labels, the file that ``solution`` names.
    """
    folder = raw / "test" / "audio"
    folder.mkdir(parents=True)
    names = [f"clip_{number:09x}.wav" for number in sorted(rng.choice(2**32, len(clips), replace=False))]
    rows = []
    for name, index in zip(names, rng.permutation(len(clips))):
        path, label = clips[index]
        path.rename(folder / name)
        rows.append((name, label))
    files.write_csv(raw / solution, ("fname", "label"), rows)
    files.write_csv(raw / "sample_submission.csv", ("fname", "label"), [(name, SILENCE) for name, _ in rows])


def _is_there(raw, parts, fingerprint):
    """Whether ``raw`` holds all these parts of this source; another source's are an error."""
    note = raw / "source.json"
    files.require_folders(note)
    if note.exists() and not _is_ours(files.read_json(note)):  # describe_source reads any
        raise BadUse(f"{note} is in the way, which no command has written there: move {raw} away first")
    there = describe_source(raw)["parts"]
    for part in parts:
        if os.path.lexists(raw / part) and there.get(part) != fingerprint:
            raise BadUse(f"{raw / part} is already there, from another source: move {raw} away first")
    return all((raw / part).exists() for part in parts)


def _move_in(found, raw, fingerprint, name):
    """Move parts from the work folder to their places; their names."""
    _is_there(raw, found, fingerprint)
    raw.mkdir(parents=True, exist_ok=True)
    source = files.read_json(raw / "source.json") or {"name": name, "parts": {}}
    # Written first: a run killed between two parts knows the ones that are there as its own, and goes on.
    source["parts"].update(dict.fromkeys(found, fingerprint))
    files.write_json(raw / "source.json", source)
    for part, place in found.items():
        if not os.path.lexists(raw / part):  # what is there is whole, and may hold a person's own recordings by now
            files.replace(place, raw / part)
    return list(found)


def _fingerprint(path):
    """Short hash that tells one download from another without reading all of it."""
    digest = hashlib.sha256()
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(f"{file.relative_to(path)} {file.stat().st_size}\n".encode(errors="surrogateescape"))
    else:
        size = path.stat().st_size
        digest.update(str(size).encode())
        with open(path, "rb") as file:
            digest.update(file.read(END_BYTES))
            file.seek(max(0, size - END_BYTES))
            digest.update(file.read())  # an archive's list of members, with checksums, is at its end
    return digest.hexdigest()[:16]


def _find_parts(folder):
    """Where each part lies in an unpacked folder, whatever folders are around it."""
    found = {}
    for part in PARTS:
        is_file = part.endswith(".csv")
        place = min(folder.rglob(part if is_file else f"{part}/audio"), default=None, key=lambda path: len(path.parts))
        if place is not None and (place.is_file() if is_file else place.is_dir()):
            found[part] = place if is_file else place.parent
    return found


def _gather(path, target):
    """Fill ``target`` with what ``path`` is or holds; Kaggle packs archives into its zip, one level deep."""
    packed = []
    if path.is_dir():
        for part, place in _find_parts(path).items():
            _link(place, target / part)
        packed = sorted(path.iterdir())
    elif archives.is_archive(path):
        archives.extract(path, target)
        packed = sorted(target.rglob("*"))
    elif path.name == "sample_submission.csv":
        _link(path, target / path.name)
    else:
        raise CourseError(f"{path} is neither a zip, a 7z nor a folder")
    there = _find_parts(target)
    for archive in packed:
        part = PACKED.get(archive.name.split(".")[0])
        if part and part not in there and archives.is_archive(archive) and archive.is_file():
            archives.extract(archive, target)


def _link(source, target):
    """Link or copy a file or a folder."""
    for path in cli.progress([source, *sorted(source.rglob("*"))], desc=f"linking {source.name}", unit="file"):
        place = target / path.relative_to(source)
        if path.is_symlink():
            raise CourseError(f"{path} is a link: replace it by the file it points to")
        if path.is_dir():
            place.mkdir()
        elif path.is_file():
            files.link_or_copy(path, place)


def main(arguments=None):
    """Command line of ``python -m utils.sources``."""
    style = argparse.RawDescriptionHelpFormatter
    parser = cli.Parser(prog="python -m utils.sources", description=__doc__, formatter_class=style)
    doors = parser.add_subparsers(dest="door", required=True, metavar="DOOR", parser_class=cli.Parser)
    public = doors.add_parser("speech_commands", help="download the public recordings; no account")
    words = "1: the competition's thirty words; 2: 35 words"
    which = public.add_mutually_exclusive_group()
    which.add_argument("--version", type=int, choices=(1, 2), default=1, help=words)
    which.add_argument("--course", action="store_true", help="the recordings of the course's outputs alone, of both")
    kaggle = doors.add_parser("kaggle", help="download the competition's data with your Kaggle token")
    archive = doors.add_parser("archive", help="unpack what you downloaded from Kaggle")
    archive.add_argument("path", type=cli.path_text, help="the zip, one of the 7z files in it, or a folder with them")
    for door in (public, kaggle, archive):
        door.add_argument("--raw", type=cli.path_text, default=str(RAW), help="where the recordings go")
    options = parser.parse_args(arguments)
    if options.door == "archive":
        new = unpack(options.path, options.raw)
    elif options.door == "kaggle":
        new = download_competition(options.raw)
    elif options.course:
        new = download_course(options.raw)
    else:
        new = download_speech_commands(options.version, options.raw)
    then = () if options.raw == str(RAW) else ("--raw", options.raw)
    cli.tell_result(options.raw, ", ".join(new) or "nothing to do", "-m", "utils.prepare", *then)


if __name__ == "__main__":
    sys.exit(cli.run(main))
