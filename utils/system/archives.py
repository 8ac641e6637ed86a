"""Unpack archives that anybody may have made: nothing lands outside the folder it should land in."""

import bz2
import errno
import gzip
import io
import lzma
import shutil
import stat
import tarfile
import zipfile
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
MAX_PATH_BYTES = 500  # macOS ends at 1,024, and the folder above needs some
MAX_PARTS = 16  # each folder of each path is held in memory while names are compared
COPY_BYTES = 1 << 20
KINDS = {  # by the format of a mode (zip) or the type in a header (tar); 0 where files have no mode
    "file": (0, stat.S_IFREG, tarfile.REGTYPE, tarfile.AREGTYPE),
    "folder": (stat.S_IFDIR, tarfile.DIRTYPE),
    "a symbolic link": (stat.S_IFLNK, tarfile.SYMTYPE),
    "a hard link": (tarfile.LNKTYPE,),
    "a device": (stat.S_IFCHR, stat.S_IFBLK, tarfile.CHRTYPE, tarfile.BLKTYPE),
    "a fifo": (stat.S_IFIFO, tarfile.FIFOTYPE),
}
OTHER_KIND = "neither a file nor a folder"
ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # zipfile unpacks the others without a bound on memory
ZIP_HEADER_BYTES = 30  # before each member, without its name
ZIP_ENCRYPTED = 0x2041  # flags: usual, strong, hidden names
TAR_OPENERS = {".gz": gzip.open, ".tgz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
TAR_HEADER_BYTES = 1 << 20  # tarfile holds a header in memory


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


def extract(archive, target, nested=()):
    """Unpack a zip, 7z or tar into ``target``; used by :mod:`utils.sources`.

    All members are checked before the first is written. Refused are links, devices, encrypted
    members, names that some system cannot hold or would mix up, and bombs: more than 20 GB, 500,000
    members or, above 10 MB, 100 times the packed size. Modes and times are not taken over.

    Parameters
    ----------
    archive : Path
    target : Path
        Folder that the caller removes if this fails half-way.
    nested : tuple of str
        Names, without suffixes, of the only archives that may be inside.

    Raises
    ------
    CourseError
        If a member is refused, the archive is damaged or the disk is too full.
    """
    extract_kind = {".zip": _extract_zip, ".7z": _extract_7z}.get(archive.suffix.lower(), _extract_tar)
    try:
        extract_kind(archive, target, nested)
    except CourseError:
        raise
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise CourseError(f"{archive.name}: {error.filename} is already there, from another archive") from error
    except NotImplementedError as error:
        raise CourseError(f"{archive.name} is not supported ({_tell(error)}): pack it as a plain zip") from error
    except Exception as error:  # the libraries raise many types for a broken archive, OSError without number too
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise CourseError(f"{archive.name} is damaged ({_tell(error)}): download it again") from error


def _tell(error):
    return " ".join(str(error).split())[:200] or type(error).__name__


def _name_kind(mark):
    return next((kind for kind, marks in KINDS.items() if mark in marks), OTHER_KIND)


def _find_max_bytes(path):
    return min(MAX_BYTES, max(SMALL_BYTES, MAX_RATIO * path.stat().st_size))


def _check(path, target, members, nested):
    """Refuse what may do harm, then look for space; a progress bar for the bytes to come."""
    max_bytes, n_bytes, seen = _find_max_bytes(path), 0, {}
    for number, member in enumerate(members, start=1):
        n_bytes += max(0, member.size)
        fault = _find_fault(member, nested) or _find_clash(member, seen)
        if number > MAX_MEMBERS:
            fault = f"is one of more than {MAX_MEMBERS:,}"
        elif n_bytes > max_bytes:
            fault = f"makes it {n_bytes / 1e6:,.0f} MB, and an archive of its size may hold {max_bytes / 1e6:,.0f} MB"
        if fault:
            raise CourseError(f"{path.name}: member {member.name[:100]!r} {fault}: nothing was unpacked")
    files.require_space(target, n_bytes + SPACE_SPARE)
    return cli.progress(total=n_bytes, desc=f"unpacking {path.name}", unit="B", unit_scale=True)


def _find_fault(member, nested):
    """What is wrong with a member by itself."""
    name, parts = member.name, member.parts
    if name.startswith(("/", "\\")) or PureWindowsPath(name).drive:
        return "has an absolute path"
    if ".." in parts:
        return "would leave the folder"
    if not name or not (parts or member.kind == "folder"):
        return "has no name"
    if fault := next(filter(None, map(names.find_fault, parts)), ""):
        return fault
    if len(name.encode()) > MAX_PATH_BYTES:
        return "is too long a path"
    if len(parts) > MAX_PARTS:
        return "is too deep in folders"
    if member.kind not in ("file", "folder"):
        return f"is {member.kind}"
    if member.size < 0:
        return "has a size below zero"
    if member.kind == "file" and is_archive(name) and parts[-1].split(".")[0] not in nested:
        return "is an archive inside the archive"
    return ""


def _find_clash(member, seen):
    """What is wrong with a member beside the others; ``seen`` gets it and the folders it needs."""
    parts = member.parts
    for depth in range(1, len(parts) + 1):
        path = "/".join(parts[:depth])
        kind = member.kind if depth == len(parts) else "needed folder"
        key = names.fold(path)
        other, other_kind = seen.get(key, (path, None))
        if other != path:
            return f"differs from {other[:100]!r} by case or accents only"
        if kind == other_kind != "needed folder":
            return "is there twice"
        if other_kind and "file" in (kind, other_kind):
            return f"needs {path[:100]!r} to be a file and a folder"
        if kind != "needed folder" or not other_kind:
            seen[key] = path, kind
    return ""


class _Copy(io.BufferedWriter):
    """New file for one member, which takes no more bytes than the member declared."""

    def __init__(self, member, target, bar):
        place = target.joinpath(*member.parts)
        place.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(io.FileIO(place, "x"))
        self.member, self.bar, self.n_left = member, bar, member.size

    def write(self, block):
        self.n_left -= len(block)
        if self.n_left < 0:
            raise ValueError(f"{self.member.name!r} is longer than declared")
        self.bar.update(len(block))
        return super().write(block)


def _extract_zip(path, target, nested):
    with zipfile.ZipFile(path) as archive:
        infos, shared, end = archive.infolist(), set(), archive.start_dir  # where the list of members begins
        for info in sorted(infos, key=lambda info: info.header_offset, reverse=True):
            if info.header_offset + ZIP_HEADER_BYTES + len(info.orig_filename) + info.compress_size > end:
                shared.add(info)
            end = info.header_offset
        members = [_describe_zip(info, info in shared) for info in infos]
        with _check(path, target, members, nested) as bar:
            for member, info in zip(members, infos):
                with archive.open(info) as source:
                    _save(member, source, target, bar)


def _describe_zip(info, is_shared):
    kind = _name_kind(stat.S_IFMT(info.external_attr >> 16))
    if info.flag_bits & ZIP_ENCRYPTED:
        kind = "encrypted"
    elif info.compress_type not in ZIP_METHODS:
        kind = f"packed by method {info.compress_type}, which is not supported"
    elif is_shared:
        kind = "packed in bytes of another member"
    elif kind == "file" and info.orig_filename.endswith(("/", "\\")):
        kind = "folder"
    return Member(info.orig_filename, info.file_size, kind)  # zipfile ends the other name at a NUL


def _save(member, source, target, bar):
    """Write one member of a zip or tar."""
    if member.kind == "folder":
        target.joinpath(*member.parts).mkdir(parents=True, exist_ok=True)
        return
    with _Copy(member, target, bar) as copy:
        shutil.copyfileobj(source, copy, COPY_BYTES)
    if copy.n_left:
        raise EOFError(f"{member.name!r} is shorter than declared")


def _extract_7z(path, target, nested):
    import py7zr  # slow to import, and only this function needs it
    from py7zr.io import WriterFactory

    copies, root = [], target.absolute()

    class Copies(WriterFactory):
        """Hands out the files to write: py7zr itself would make links and set modes."""

        def create(self, filename):
            copies.append(_Copy(by_parts[Path(filename).relative_to(root).parts], target, bar))
            return copies[-1]

    try:
        with py7zr.SevenZipFile(path) as archive:
            members = [_describe_7z(info, archive.needs_password()) for info in archive.files]
            by_parts = {tuple(member.parts): member for member in members}
            with _check(path, target, members, nested) as bar:
                for member in members:
                    if member.kind == "folder":
                        _save(member, None, target, bar)
                archive.extractall(root, factory=Copies())  # nosec B202 # _check has seen each member
    except py7zr.exceptions.PasswordRequired as error:
        raise CourseError(f"{path.name} is encrypted: nothing was unpacked") from error
    except py7zr.exceptions.UnsupportedCompressionMethodError as error:
        raise NotImplementedError(_tell(error)) from error
    finally:
        for copy in copies:  # py7zr leaves the one open that it failed at, which Windows then would not remove
            copy.close()


def _describe_7z(info, is_encrypted):
    kind = _name_kind(info.st_fmt or 0)
    if is_encrypted:
        kind = "encrypted"
    elif info.is_symlink or info.is_junction:
        kind = "a link"
    elif info.is_directory != (kind == "folder"):
        kind = "folder" if info.is_directory and not info.st_fmt else OTHER_KIND
    return Member(info.filename, info.uncompressed, kind)


def _extract_tar(path, target, nested):
    listed = cli.progress(_walk_tar(path), desc=f"reading {path.name}", unit="member")
    with _check(path, target, (member for member, _ in listed), nested) as bar:
        for member, source in _walk_tar(path):
            _save(member, source, target, bar)


def _walk_tar(path):
    """Each member with what to read it from, to the end of the file, where the checksum is."""
    opener = TAR_OPENERS.get(path.suffix.lower(), open)
    with opener(path, "rb") as file:
        stream = _TarStream(file, path)
        with tarfile.open(fileobj=stream, mode="r:", encoding="utf-8") as tar:
            for info in iter(tar.next, None):
                kind = "a sparse file" if info.issparse() else _name_kind(info.type)
                stream.n_allowed = info.size
                yield Member(info.name, info.size, kind), tar.extractfile(info) if kind == "file" else None
                stream.n_allowed = TAR_HEADER_BYTES
                tar.members.clear()  # or all 500,000 stay in memory
        if stream.last != bytes(tarfile.BLOCKSIZE):  # tarfile takes a broken header for the end
            raise tarfile.ReadError("a header is broken")
        stream.seek(float("inf"))


class _TarStream:
    """Unpacked bytes of a tar, forwards only; a bomb ends at the first byte too many."""

    def __init__(self, file, path):
        self.file, self.path, self.max_bytes = file, path, _find_max_bytes(path)
        self.position, self.n_allowed, self.last = 0, TAR_HEADER_BYTES, b""

    def tell(self):
        return self.position

    def seek(self, position):
        if position < self.position:
            raise tarfile.StreamError("a member has a size below zero")
        while self.position < position and self._take(min(COPY_BYTES, position - self.position)):
            pass

    def read(self, size):
        self.n_allowed -= size
        if size < 0 or self.n_allowed < 0:
            raise tarfile.ReadError("a header is too long")
        self.last = self._take(size)
        return self.last

    def _take(self, size):
        block = self.file.read(size)
        self.position += len(block)
        if self.position > self.max_bytes:
            raise CourseError(
                f"{self.path.name} unpacks to more than the {self.max_bytes / 1e6:,.0f} MB "
                "that an archive of its size may hold: nothing was unpacked"
            )
        return block
