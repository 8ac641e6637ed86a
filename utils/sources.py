"""Bring recordings to ``data/raw``: what Kaggle hands out, unpacked safely.

python -m utils.sources archive tensorflow-speech-recognition-challenge.zip
"""

import hashlib
import sys
from pathlib import Path

from utils import archives, cli, files
from utils.cli import CourseError

RAW = Path("data/raw")
# What the course needs of the competition's data; the archives may hold more.
PARTS = ("train", "test", "sample_submission.csv")
END_BYTES = 1 << 20  # of an archive, which tell it from others


def describe_source(raw=RAW):
    """What ``data/raw`` holds, as written in its ``source.json``: ``{"name": ..., "parts": {...}}``."""
    return files.read_json(Path(raw) / "source.json") or {"name": f"recordings in {raw}", "parts": {}}


def unpack(path, raw=RAW):
    """Bring what was downloaded from Kaggle to ``raw``.

    Parameters
    ----------
    path : str or Path
        The competition's zip, one of the archives inside it (``train.7z``, ``test.7z``,
        ``sample_submission.7z``, each also as ``.zip``), ``sample_submission.csv``, or a folder
        that holds these, packed or unpacked.
    raw : str or Path
        Gets ``train/``, ``test/`` and ``sample_submission.csv``.

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
    fingerprint = _fingerprint(path)
    there = describe_source(raw)["parts"]
    for part in PARTS:
        files.recover(raw / part)
    mine = [part for part in PARTS if there.get(part) == fingerprint]
    if mine and all((raw / part).exists() for part in mine):
        return []

    with files.work_folder(raw) as work:
        _gather(path, work)
        found = _find_parts(work)
        if not found:
            raise CourseError(
                f"{path} holds no train/audio, test/audio or sample_submission.csv: is it the "
                "archive of the TensorFlow Speech Recognition Challenge?"
            )
        in_the_way = [p for p in found if (raw / p).exists() and there.get(p) != fingerprint]
        if in_the_way:
            raise CourseError(f"{raw / in_the_way[0]} is already there, from another source: move {raw} away first")
        _move_in(found, raw, fingerprint, f"recordings ({path.name})")
    return list(found)


def _move_in(found, raw, fingerprint, name):
    raw.mkdir(parents=True, exist_ok=True)
    source = describe_source(raw) if (raw / "source.json").exists() else {"name": name, "parts": {}}
    # Written first: a run killed between two parts knows the ones that are there as its own, and goes on.
    source["parts"].update(dict.fromkeys(found, fingerprint))
    files.write_json(raw / "source.json", source)
    for part, folder in found.items():
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
        archives.extract(path, target)
        packed = [p for p in sorted(target.rglob("*")) if p.is_file() and archives.is_archive(p)]
    else:
        raise CourseError(f"{path} is neither a zip, a 7z nor a folder")
    for archive in packed:
        if archive.name.split(".")[0] in ("train", "test", "sample_submission"):
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
    parser = cli.Parser(prog="python -m utils.sources", description="Bring recordings to data/raw.")
    doors = parser.add_subparsers(dest="door", required=True, metavar="DOOR", parser_class=cli.Parser)
    archive = doors.add_parser("archive", help="unpack what you downloaded from Kaggle")
    archive.add_argument("path", help="the zip, one of the 7z files in it, or a folder with them")
    archive.add_argument("--raw", default=str(RAW), help="where the recordings go")
    options = parser.parse_args(arguments)
    new = unpack(options.path, options.raw)
    print(f"{options.raw}: {', '.join(new)} unpacked" if new else f"{options.raw}: nothing to do")


if __name__ == "__main__":
    sys.exit(cli.run(main))
