"""Unpack archives that anybody may have made: nothing lands outside the folder it should land in."""

import shutil
import zipfile
from pathlib import PurePosixPath, PureWindowsPath

from utils import cli, files
from utils.cli import CourseError

SPACE_SPARE = 50e6  # bytes left free beside what is unpacked
COPY_BYTES = 1 << 20


def is_archive(path):
    """Whether a file's name is that of an archive which :func:`extract` unpacks."""
    return path.suffix.lower() in (".zip", ".7z")


def extract(archive, target):
    """Unpack a zip or 7z into ``target``.

    Raises
    ------
    CourseError
        If a member would land outside ``target``, is a link, or is broken; if the disk is too
        full. Such a member is found before anything is written.
    """
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
