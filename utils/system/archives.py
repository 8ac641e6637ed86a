"""Unpack archives that anybody may have made: nothing lands outside the folder it should land in."""

import contextlib
import errno
import io
import os
import shutil
import stat
import tarfile
import zipfile
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

from utils.system import cli, files, names
from utils.system.cli import CourseError

SUFFIXES = (".zip", ".7z", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
# The competition has 7 GB in 220,000 files, and sound packs to a half; who goes far beyond fills a disk.
MAX_BYTES = 20e9
MAX_MEMBERS = 500_000
MAX_RATIO = 100  # unpacked to packed
SMALL_BYTES = 10e6  # digital silence packs to nothing: up to here, any ratio is fine
SPACE_SPARE = 50e6  # bytes left free beside what is unpacked
COPY_BYTES = 1 << 20
OTHER_KIND = "is a link, a device or the like"


class Damaged(CourseError):
    """An archive that has to be downloaded again."""


class Member(NamedTuple):
    """What an archive says of one of its members."""

    name: str
    size: int  # bytes, unpacked
    kind: str  # "file", "folder", or what else it is, in the words of the refusal

    @property
    def parts(self):
        """Folders and file, whichever slash is between them."""
        return [part for part in self.name.replace("\\", "/").split("/") if part not in ("", ".")]


def is_archive(path):
    """Whether a file's name is that of an archive which :func:`extract` unpacks."""
    return Path(path).name.lower().endswith(SUFFIXES)


def extract(archive, target):
    """Unpack a zip, 7z or tar into ``target``; used by :mod:`utils.sources`.

    All members are checked before the first is written. Refused are links, devices, names that some system cannot
    hold, and bombs: more than 20 GB, 500,000 members or, above 10 MB, 100 times the packed size. Nothing is written
    over what is there. Modes and times are not taken over. If it fails half-way, the caller removes ``target``.

    Raises
    ------
    Damaged
        If the archive is damaged.
    CourseError
        If a member is refused, the archive's packing is not supported or the disk is too full.
    """
    suffix = archive.suffix.lower()
    try:
        if suffix == ".7z":
            _extract_7z(archive, target)
        else:
            _extract_streams(archive, target, _walk_zip if suffix == ".zip" else _walk_tar)
    except (CourseError, ModuleNotFoundError):  # a library that is not installed says nothing of the archive
        raise
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        name = os.path.relpath(error.filename, target)
        raise CourseError(f"{archive.name}: {name} is already there, perhaps from itself: pack it anew") from error
    except RuntimeError as error:  # encrypted, or packed in an unknown way
        raise CourseError(f"{archive.name} is not supported ({_tell(error)}): pack it as a plain zip") from error
    except Exception as error:  # the libraries raise many types for a broken archive, OSError without number too
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise Damaged(f"{archive.name} is damaged ({_tell(error)}): download it again") from error


def _tell(error):
    return " ".join(str(error).split())[:200] or type(error).__name__


def _check(path, target, members):
    """Refuse what may do harm, then look for space; a progress bar for the bytes to come."""
    n_bytes, max_bytes = 0, min(MAX_BYTES, max(SMALL_BYTES, MAX_RATIO * path.stat().st_size))
    for number, member in enumerate(cli.progress(members, desc=f"checking {path.name}", unit="member")):
        fault = _find_fault(member)
        if number == MAX_MEMBERS:
            fault = f"is one of more than {MAX_MEMBERS:,}"
        n_bytes += member.size
        if member.size < 0 or n_bytes > max_bytes:
            fault = f"makes it {n_bytes / 1e6:,.0f} MB, and an archive of its size may hold {max_bytes / 1e6:,.0f} MB"
        if fault:
            raise CourseError(f"{path.name}: member {member.name[:100]!r} {fault}: nothing was unpacked")
    files.require_space(target, n_bytes + SPACE_SPARE)
    return cli.progress(total=n_bytes, desc=f"unpacking {path.name}", unit="B", unit_scale=True)


def _find_fault(member):
    if member.name.startswith(("/", "\\")) or PureWindowsPath(member.name).drive:
        return "has an absolute path"
    if ".." in member.parts:
        return "would leave the folder"
    if member.kind not in ("file", "folder"):
        return member.kind
    return next(filter(None, map(names.find_fault, member.parts)), "")


class _NewFile(io.BufferedWriter):
    """A file that was not there; what is written moves the bar on."""

    def __init__(self, path, bar):
        path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(io.FileIO(path, "x"))
        self._bar = bar

    def write(self, block):
        self._bar.update(len(block))
        return super().write(block)


def _extract_streams(path, target, walk):
    """``walk(path)`` yields each member with a function that opens it."""
    with _check(path, target, (member for member, _ in walk(path))) as bar:
        for member, open_member in walk(path):
            place = target.joinpath(*member.parts)
            if member.kind == "folder":
                place.mkdir(parents=True, exist_ok=True)
                continue
            with open_member() as source, _NewFile(place, bar) as copy:
                shutil.copyfileobj(source, copy, COPY_BYTES)
                if copy.tell() != member.size:
                    raise EOFError(f"{member.name!r} is shorter than declared")


def _walk_zip(path):
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            kind = "folder" if info.filename.endswith(("/", "\\")) else "file"
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                kind = OTHER_KIND
            yield Member(info.filename, info.file_size, kind), partial(archive.open, info)


class _Header(tarfile.TarInfo):
    """A header of sane length: tarfile reads names, however long they say they are, before it tells of them."""

    @classmethod
    def frombuf(cls, *arguments):
        header = super().frombuf(*arguments)
        if header.type not in (*tarfile.REGULAR_TYPES, tarfile.DIRTYPE) and header.size > COPY_BYTES:
            raise tarfile.ReadError("a header is too long")
        return header


def _walk_tar(path):
    """To the end of the file, where the checksum is."""
    with tarfile.open(path, encoding="utf-8", tarinfo=_Header) as tar:
        for info in iter(tar.next, None):
            kind = "folder" if info.isdir() else "file" if info.isreg() else OTHER_KIND
            yield Member(info.name, info.size, kind), partial(tar.extractfile, info)
            tar.members.clear()  # or all 500,000 stay in memory
        tar.fileobj.seek(tar.offset)
        if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("a header is broken")  # which tarfile takes for the end
        while tar.fileobj.read(COPY_BYTES):
            pass


def _extract_7z(path, target):
    import py7zr  # slow to import, and only this function needs it
    from py7zr.io import WriterFactory

    with contextlib.ExitStack() as opened:  # py7zr leaves the file open that it fails at

        class NewFiles(WriterFactory):
            """Hands out the files to write: py7zr itself would write over others and set modes."""

            def create(self, filename):
                return opened.enter_context(_NewFile(Path(filename), bar))

        try:
            archive = opened.enter_context(py7zr.SevenZipFile(path))
            members = [_describe_7z(info) for info in archive.files]
            with _check(path, target, members) as bar:
                for member in members:
                    if member.kind == "folder":
                        target.joinpath(*member.parts).mkdir(parents=True, exist_ok=True)
                archive.extractall(target.absolute(), factory=NewFiles())  # nosec B202 # _check has seen each member
        except py7zr.exceptions.PasswordRequired as error:
            raise RuntimeError("it is encrypted") from error
        except py7zr.exceptions.UnsupportedCompressionMethodError as error:
            raise RuntimeError(_tell(error)) from error


def _describe_7z(info):
    kind = "folder" if info.is_directory else "file"
    if (
        info.is_symlink
        or info.is_junction
        or info.is_socket
        or info.st_fmt not in (None, 0, stat.S_IFREG, stat.S_IFDIR)
    ):
        kind = OTHER_KIND
    return Member(info.filename, info.uncompressed, kind)
