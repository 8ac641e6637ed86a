"""Bring recordings to ``data/raw``: what Kaggle hands out, unpacked safely.

python -m utils.sources archive tensorflow-speech-recognition-challenge.zip
"""

import hashlib
import shutil
import sys
import zipfile
from pathlib import Path, PurePosixPath, PureWindowsPath

from utils import cli, files
from utils.cli import CourseError

RAW = Path("data/raw")
# What the course needs of the competition's data; the archives may hold more.
PARTS = ("train", "test", "sample_submission.csv")
SPACE_SPARE = 50e6  # bytes left free beside what is unpacked
COPY_BYTES = 1 << 20


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
            digest.update(file.read(COPY_BYTES))
            file.seek(max(0, size - COPY_BYTES))
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
        packed = [p for p in sorted(path.iterdir()) if p.is_file() and _is_archive(p)]
        if not packed or (path / "train" / "audio").is_dir() or (path / "test" / "audio").is_dir():
            _link_folder(path, target)
            packed = []
        elif (path / "sample_submission.csv").is_file():
            files.link_or_copy(path / "sample_submission.csv", target / "sample_submission.csv")
    elif path.name == "sample_submission.csv":
        files.link_or_copy(path, target / path.name)
        packed = []
    elif _is_archive(path):
        _extract(path, target)
        packed = [p for p in sorted(target.rglob("*")) if p.is_file() and _is_archive(p)]
    else:
        raise CourseError(f"{path} is neither a zip, a 7z nor a folder")
    for archive in packed:
        if archive.name.split(".")[0] in ("train", "test", "sample_submission"):
            _extract(archive, target)


def _is_archive(path):
    return path.suffix.lower() in (".zip", ".7z")


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


def _extract(archive, target):
    try:
        if archive.suffix.lower() == ".zip":
            _extract_zip(archive, target)
        else:
            _extract_7z(archive, target)
    except CourseError:
        raise
    except OSError:
        raise
    except Exception as error:  # both libraries raise many types for a broken archive
        text = " ".join(str(error).split()) or type(error).__name__
        raise CourseError(f"{archive.name} is damaged ({text}): download it again") from error


def _check_members(archive, target, members):
    """Refuse what would leave ``target`` before anything is written, then check the disk.

    ``members`` are (name, size in bytes, kind), kind one of "file", "folder", "link", "other".
    """
    for name, _, kind in members:
        windows = PureWindowsPath(name)
        if name.startswith(("/", "\\")) or windows.drive:
            reason = "has an absolute path"
        elif ".." in PurePosixPath(name).parts or ".." in windows.parts:
            reason = "would leave the folder"
        elif kind == "link":
            reason = "is a link"
        elif kind == "other":
            reason = "is neither a file nor a folder"
        elif not name or "\0" in name:
            reason = "has no proper name"
        else:
            continue
        raise CourseError(f"{archive.name}: member {name!r} {reason}: nothing was unpacked")
    files.require_space(target, sum(size for _, size, _ in members) + SPACE_SPARE)


def _zip_kind(member):
    kind = (member.external_attr >> 16) & 0o170000
    if member.is_dir():
        return "folder"
    return {0: "file", 0o100000: "file", 0o120000: "link"}.get(kind, "other")


def _extract_zip(path, target):
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        _check_members(path, target, [(m.filename, m.file_size, _zip_kind(m)) for m in members])
        total = sum(m.file_size for m in members)
        with cli.progress(total=total, desc=f"unpacking {path.name}", unit="B", unit_scale=True) as bar:
            for member in members:
                place = target / member.filename
                if member.is_dir():
                    place.mkdir(parents=True, exist_ok=True)
                    continue
                place.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, open(place, "xb") as copy:
                    shutil.copyfileobj(source, copy, COPY_BYTES)
                bar.update(member.file_size)


def _extract_7z(path, target):
    import py7zr  # slow to import, and only this function needs it
    from py7zr.callbacks import ExtractCallback

    class Report(ExtractCallback):
        """Moves the bar on as bytes are unpacked."""

        def report_update(self, decompressed_bytes):
            bar.update(int(decompressed_bytes))

        def report_start_preparation(self): ...
        def report_start(self, processing_file_path, processing_bytes): ...
        def report_end(self, processing_file_path, wrote_bytes): ...
        def report_postprocess(self): ...
        def report_warning(self, message): ...

    with py7zr.SevenZipFile(path) as archive:
        listed = archive.list()
        kinds = [
            "link" if m.is_symlink else "folder" if m.is_directory else "file" if m.is_file else "other" for m in listed
        ]
        members = [(m.filename, m.uncompressed or 0, kind) for m, kind in zip(listed, kinds)]
        _check_members(path, target, members)
        total = sum(size for _, size, _ in members)
        with cli.progress(total=total, desc=f"unpacking {path.name}", unit="B", unit_scale=True) as bar:
            archive.extractall(target, callback=Report())


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
