"""Bring recordings to ``data/raw``: from Kaggle, or the public Speech Commands; unpacked safely.

python -m utils.sources --help
"""

import argparse
import hashlib
import os
import sys
from pathlib import Path

import numpy as np

from utils.labels import SILENCE
from utils.system import archives, cli, downloads, files, names
from utils.system.cli import BadUse, CourseError

RAW = Path("data/raw")
# What the course needs of the competition's data; the archives may hold more.
PARTS = ("train", "test", "sample_submission.csv")
# The archives that Kaggle packs into its zip.
PACKED = ("train", "test", "sample_submission")
END_BYTES = 1 << 20  # of an archive, which tell it from others
SEED = 220788

DOORS = """\
Bring recordings to data/raw. Each door needs something else:

  command                                  brings                      needs
  python -m utils.voices                   speech made on the spot     nothing
  python -m utils.sources speech_commands  Speech Commands, public     the network: 1.6 GB, with --version 2 2.5 GB
  python -m utils.sources kaggle           the competition's data      an account at kaggle.com, its token in
                                                                       ~/.kaggle/access_token, the rules accepted
  python -m utils.sources archive PATH     the competition's data      its zip, downloaded by you
  your own words                           what you recorded           a folder: python -m utils.prepare --help

Beside the voices, the disk needs room for two and a half to four times the download. A command that was
cut off goes on, or starts anew, when it is run again.
"""


def describe_source(raw=RAW):
    """What ``data/raw`` holds, as written in its ``source.json``: ``{"name": ..., "parts": {...}}``."""
    source = files.read_json(Path(raw) / "source.json")
    return source if _is_ours(source) else {"name": f"recordings in {raw}", "parts": {}}


def _is_ours(source):
    return isinstance(source, dict) and isinstance(source.get("parts"), dict) and "name" in source


def unpack(path, raw=RAW, fingerprint=None):
    """Bring what was downloaded from Kaggle to ``raw``.

    Parameters
    ----------
    path : str or Path
        The competition's zip, one of the archives inside it (``train.7z``, ``test.7z``,
        ``sample_submission.7z``, each also as ``.zip``), ``sample_submission.csv``, or a folder
        that holds these, packed or unpacked.
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
        If a member would land outside the folder, is a link, or is broken; if another source's
        recordings are in the way; if the disk is too full. Nothing is left half-unpacked.
    """
    path, raw = Path(path), Path(raw)
    if not path.exists():
        raise CourseError(f"{path} does not exist: name the archive that you downloaded from Kaggle")
    if path.is_dir():
        files.require_apart({"the archive": path, "raw": raw})
    elif not path.is_file():
        raise CourseError(f"{path} is neither a file nor a folder: name the archive that you downloaded from Kaggle")
    fingerprint = fingerprint or _fingerprint(path)
    with files.owned(raw):
        mine = [part for part, mark in describe_source(raw)["parts"].items() if mark == fingerprint]
        if mine and _is_there(raw, mine, fingerprint):
            return []
        return _unpack(path, raw, fingerprint)


def _unpack(path, raw, fingerprint):
    with files.work_folder(raw) as work:
        _gather(path, work)
        found = _find_parts(work)
        if not found:
            raise CourseError(
                f"{path} holds no train/audio, test/audio or sample_submission.csv: is it the "
                "archive of the TensorFlow Speech Recognition Challenge?"
            )
        _is_there(raw, found, fingerprint)
        _move_in(found, raw, fingerprint, f"recordings ({path.name})")
    return list(found)


def download_competition(raw=RAW):
    """Download the competition's data with the user's Kaggle token and unpack it; see :func:`unpack`."""
    raw = Path(raw)
    fingerprint = f"{downloads.COMPETITION} from Kaggle"
    folder = _download_folder(raw, "kaggle")  # kept until all is unpacked, so that a cut download goes on
    with files.owned(raw):
        if _is_there(raw, PARTS, fingerprint):
            return []
        new = unpack(downloads.fetch_kaggle(folder), raw, fingerprint)
        files.remove(folder)
    return new


def download_speech_commands(version=1, raw=RAW):
    """Download the public Speech Commands and lay them out as Kaggle's data.

    Parameters
    ----------
    version : {1, 2}
        1 is the competition's own.
    raw : str or Path
        Gets ``train/`` and the canonical test set: ``test/audio`` under names that
        tell nothing, ``sample_submission.csv`` and ``speech_commands_solution.csv`` (the truth).

    Returns
    -------
    list of str
        The parts that were new; empty if all were there already.

    Raises
    ------
    CourseError
        If a download or the disk fails, or if another source's recordings are in the way.
    """
    raw = Path(raw)
    name = f"Speech Commands v0.0{version}"
    solution = "speech_commands_solution.csv"
    folder = _download_folder(raw, "speech_commands")
    with files.owned(raw):
        if _is_there(raw, (*PARTS, solution), name):
            return []
        return _download_speech_commands(version, raw, folder, name, solution)


def _download_speech_commands(version, raw, folder, name, solution):
    with files.work_folder(raw) as work:
        recordings, test_set = downloads.fetch_public(downloads.SPEECH_COMMANDS[version], folder)
        train = work / "train"
        archives.extract(recordings, train / "audio")
        for path in list((train / "audio").iterdir()):
            if path.is_file():  # the lists, the licence
                path.rename(train / path.name)
        archives.extract(test_set, work / "canonical")
        clips = [path for path in sorted((work / "canonical").glob("*/*.wav")) if not names.is_hidden(path.name)]
        # Their folders are the ten keywords, _silence_ and _unknown_.
        labelled = [(path, path.parent.name.strip("_")) for path in clips]
        hide_labels(labelled, work, solution, np.random.default_rng(SEED))
        found = {part: work / part for part in (*PARTS, solution)}
        _move_in(found, raw, name, name)
        files.remove(folder)
    return list(found)


def hide_labels(clips, raw, solution, rng):
    """Move test clips to names that tell nothing of what was said; write down the truth beside them.

    Parameters
    ----------
    clips : list of (Path, str)
        Wavs and their labels, on the file system of ``raw``.
    raw : Path
        Gets ``test/audio``, ``sample_submission.csv`` and the file ``solution``.
    solution : str
    rng : numpy.random.Generator
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


def _download_folder(raw, name):
    """Hidden folder beside ``raw``, such as ``.kaggle.download``."""
    return files.beside(raw, "download").with_name(f".{name}.download")


def _is_there(raw, parts, fingerprint):
    """Whether ``raw`` holds all these parts of this source; another source's are an error."""
    files.require_folders(raw / "source.json")
    if (raw / "source.json").exists() and not _is_ours(files.read_json(raw / "source.json")):
        raise BadUse(f"{raw / 'source.json'} is in the way, which no command has written there: move {raw} away first")
    there = describe_source(raw)["parts"]
    for part in parts:
        if os.path.lexists(raw / part) and there.get(part) != fingerprint:
            raise BadUse(f"{raw / part} is already there, from another source: move {raw} away first")
    return all((raw / part).exists() for part in parts)


def _move_in(found, raw, fingerprint, name):
    raw.mkdir(parents=True, exist_ok=True)
    source = describe_source(raw) if (raw / "source.json").exists() else {"name": name, "parts": {}}
    # Written first: a run killed between two parts knows the ones that are there as its own, and goes on.
    source["parts"].update(dict.fromkeys(found, fingerprint))
    files.write_json(raw / "source.json", source)
    for part, folder in found.items():
        if not os.path.lexists(raw / part):  # what is there is whole, and may hold a person's own recordings by now
            files.replace(folder, raw / part)


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
    for part in ("train", "test"):
        audio = min(folder.rglob(f"{part}/audio"), default=None, key=lambda p: len(p.parts))
        if audio is not None and audio.is_dir():
            found[part] = audio.parent
    submission = min(folder.rglob("sample_submission.csv"), default=None, key=lambda p: len(p.parts))
    if submission is not None and submission.is_file():
        found["sample_submission.csv"] = submission
    return found


def _gather(path, target):
    """Unpack ``path`` into ``target``, and the archives it holds (Kaggle packs one level deep)."""
    if path.is_dir():
        packed = [p for p in sorted(path.iterdir()) if p.is_file() and archives.is_archive(p)]
        if not packed or (path / "train" / "audio").is_dir() or (path / "test" / "audio").is_dir():
            _link_folder(path, target)
            packed = []
        elif (path / "sample_submission.csv").is_file():
            files.link_or_copy(path / "sample_submission.csv", target / "sample_submission.csv")
    elif path.name == "sample_submission.csv":
        files.link_or_copy(path, target / path.name)
        packed = []
    elif archives.is_archive(path):
        archives.extract(path, target, nested=PACKED)
        packed = [p for p in sorted(target.rglob("*")) if p.is_file() and archives.is_archive(p)]
    else:
        raise CourseError(f"{path} is neither a zip, a 7z nor a folder")
    for archive in packed:
        if archive.name.split(".")[0] in PACKED:
            archives.extract(archive, target)


def _link_folder(source, target):
    for path in cli.progress(sorted(source.rglob("*")), desc=f"linking {source.name}", unit="file"):
        if path.is_symlink():
            raise CourseError(f"{path} is a link: replace it by the file it points to")
        place = target / path.relative_to(source)
        if path.is_dir():
            place.mkdir(exist_ok=True)
        elif path.is_file():
            place.parent.mkdir(parents=True, exist_ok=True)
            files.link_or_copy(path, place)


def main(arguments=None):
    """Command line of ``python -m utils.sources``."""
    parser = cli.Parser(
        prog="python -m utils.sources", description=DOORS, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    doors = parser.add_subparsers(dest="door", required=True, metavar="DOOR", parser_class=cli.Parser)
    public = doors.add_parser("speech_commands", help="download the public recordings; no account")
    public.add_argument(
        "--version",
        type=int,
        choices=(1, 2),
        default=1,
        help="1: the competition's thirty words; 2: 35 words",
    )
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
    else:
        new = download_speech_commands(options.version, options.raw)
    print(f"{options.raw}: {', '.join(new)} unpacked" if new else f"{options.raw}: nothing to do")


if __name__ == "__main__":
    sys.exit(cli.run(main))
