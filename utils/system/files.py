"""Files and folders that are there whole or not at all, whenever a run is killed; what others made is left alone."""

import contextlib
import csv
import fnmatch
import io
import itertools
import json
import os
import shutil
import sys
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from utils.system.cli import BadUse, CourseError
from utils.system.names import fold

# What systems leave in any folder, and what a killed command of ours does.
JUNK = (".DS_Store", "._*", "Thumbs.db", "desktop.ini", ".*.partial", ".*.old", ".*.lock")
READER = "reader_"  # begins the name of the lock of a process that reads
OWNER = "process "  # what a lock begins with, before the number of the process that has it


class Kind(NamedTuple):
    """What tells a folder of ours, which may be replaced, from a stranger's."""

    what: str  # in the words of a refusal
    mark: str | None  # file that each folder of the kind has
    key: str | None  # of the JSON object in that file
    names: tuple  # patterns of all paths that such a folder may hold

    def is_marked(self, folder):
        """Whether a folder has the mark."""
        if not self.key:
            return not self.mark or Path(folder, self.mark).is_file()
        with contextlib.suppress(CourseError):
            content = read_json(Path(folder, self.mark))
            return isinstance(content, dict) and self.key in content
        return False


NOTHING = Kind("an empty folder", None, None, ())


def list_paths(folder):
    """Relative path of every file and link below a folder, in a fixed order, but for what is left behind in any."""
    is_kept = lambda name: not any(fnmatch.fnmatchcase(name, junk) for junk in JUNK)  # noqa: E731
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(filter(is_kept, folders))
        prefix = "" if place == os.fspath(folder) else f"{Path(place).relative_to(folder).as_posix()}/"
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]  # noqa: PTH114, PTH118
        yield from (f"{prefix}{name}" for name in sorted([*filter(is_kept, names), *links]))


def require_folders(path):
    """Raise BadUse if a file stands where ``path`` needs a folder above it."""
    folder = next(filter(os.path.lexists, Path(path).absolute().parents), None)  # none on a disk that is not there
    if folder and not folder.is_dir():
        raise BadUse(f"{path} cannot be made: {folder} is no folder")


def require_ours(path, kind, is_whole=True):
    """Raise BadUse if something is at ``path`` but a folder of this kind or an empty one.

    One that is not ``is_whole``, as it was being made or removed, may lack the mark.
    """
    path = Path(path)
    require_folders(path)
    if not os.path.lexists(path):
        return
    if not path.is_dir():
        raise BadUse(f"{path} is a file, and a folder is to be made there: move it away, or choose another name")
    is_known = not is_whole or kind.is_marked(path)
    for name in list_paths(path):
        patterns = [pattern for pattern in kind.names if pattern.count("/") == name.count("/")]
        if not (is_known and any(map(PurePosixPath(name).match, patterns))):
            raise BadUse(f"{path} holds {name}, which is not of {kind.what}: move it away, or choose another folder")


def require_apart(folders):
    """Raise BadUse if two folders (path by what it is given for) are one or lie in one another, links followed."""
    for pair in itertools.permutations(folders.items(), 2):
        require_outside(*pair)


def require_outside(one, other):
    """The same for two (name, path), of which the second may lie in the first."""
    (name, path), (other_name, folder) = one, other
    if is_within(path, folder):
        relation = "is" if is_within(folder, path) else "lies in"
        raise BadUse(f"{name} {path} {relation} {other_name} {folder}: name folders that are apart")


def is_within(inner, outer):
    """Whether a path is a folder or lies in it, whatever links and spellings name them."""
    inner, outer = Path(os.path.realpath(inner)), Path(os.path.realpath(outer))
    # Where neither is there, no disk can say whether it tells A from a: then they count as one.
    is_there = os.path.exists(outer)  # noqa: PTH110 pathlib raises where one may not look
    is_same = outer.samefile if is_there else lambda path: fold(str(path)) == fold(str(outer))
    return any(is_same(path) for path in (inner, *inner.parents) if os.path.exists(path) == is_there)  # noqa: PTH110


def beside(target, ending):
    """Hidden sibling of ``target``, such as ``.raw.partial`` of ``raw``; of a link, beside the place it leads to."""
    target = _follow(target)
    if not target.name or os.path.ismount(target):  # nothing beside it could take its place
        raise BadUse(f"{target} is a whole disk: name a folder on it")
    return target.with_name(f".{target.name}.{ending}")


@contextlib.contextmanager
def owned(target, wait=False):
    """Have what is made at ``target`` for this process alone; the lock ends with the process, however it ends.

    Yields whether a process that died has left its lock, and so perhaps a work folder. Raises CourseError that names
    the process which has it, or waits for that.
    """
    import filelock  # slow to import

    path, partial = beside(target, "lock"), beside(target, "partial")
    new = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    was_left = path.exists()
    if not (_read_owner(path) or OWNER).startswith(OWNER):
        raise BadUse(f"{path} is in the way, which no command has left there: move it away")
    lock = filelock.FileLock(path, is_singleton=True)
    try:
        lock.acquire(0)
    except filelock.Timeout:
        owner = _read_owner(path) or "another process"
        if not wait:
            raise CourseError(f"{target} is being made by {owner}: wait for that, or make another one") from None
        print(f"waiting for {owner}, which makes {target}", file=sys.stderr)
        lock.acquire()
        was_left = bool(_read_owner(path))  # one that has ended well removes its lock
    try:
        if lock.lock_counter == 1:
            lock.was_left = was_left
        with contextlib.suppress(OSError):  # a full disk; Windows, which lets no one write into a lock
            command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
            path.write_text(f"{OWNER}{os.getpid()} ({command})", "utf-8", "backslashreplace")
        yield lock.was_left
    finally:
        # What a process that died has left stays known as that until it is cleared.
        if lock.lock_counter == 1 and not (lock.was_left and partial.exists()):
            with contextlib.suppress(OSError):  # Windows, where releasing removes it
                path.unlink()
        lock.release()
        with contextlib.suppress(OSError):  # where something was made in them
            for folder in new:
                folder.rmdir()


@contextlib.contextmanager
def reading(folder):
    """Keep what lies in a folder from being replaced while this process reads it; see :func:`require_unread`."""
    if not os.access(folder, os.W_OK):  # nobody may
        yield
        return
    list(_find_readers(folder))
    with owned(Path(folder, f"{READER}{os.getpid()}")):
        yield


def require_unread(folder):
    """Raise CourseError that names a process which reads what lies in a folder, if there is one."""
    for owner in _find_readers(folder):
        raise CourseError(f"{folder} is being read by {owner}: wait for that, or choose another folder")


def _find_readers(folder):
    """Processes that read what lies in a folder; locks of dead ones are removed."""
    import filelock

    for path in Path(folder).glob(f".{READER}*.lock"):
        try:
            with filelock.FileLock(path, timeout=0):
                path.unlink(missing_ok=True)
        except filelock.Timeout:
            yield _read_owner(path) or "another process"


def _read_owner(path):
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8")
    return ""


def remove(path):
    """Remove a file, a link or a whole folder; nothing happens where there is none."""
    path = Path(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def replace(source, target, kind=None):
    """Rename ``source`` to ``target``, in the place of what stood there; both on one file system.

    A folder cannot be swapped in one step: the old one is set aside first, and :func:`recover` puts it back if the
    run was killed between the two renames. Raises BadUse if what stands there is not of this ``kind``, if one is given.
    """
    source, target, old = Path(source), _follow(target), beside(target, "old")
    if kind:
        require_ours(target, kind)
        require_ours(old, kind, is_whole=False)
    if target.is_dir() and not source.samefile(target):  # which another case of its name may be
        remove(old)
        target.rename(old)
        source.replace(target)
        remove(old)
    else:
        source.replace(target)


def _follow(path):
    """Where a person's link leads, which stays, or what ``..`` names; other paths as they are."""
    path = Path(path)
    return Path(os.path.realpath(path)) if path.name in ("", "..") or path.is_symlink() else path


def recover(target, kind):
    """Finish or undo what a killed run left beside ``target``, which is owned."""
    target, old = _follow(target), beside(target, "old")
    if old.exists():
        require_ours(old, kind, is_whole=False)
        if target.exists():
            remove(old)
        else:
            old.rename(target)


@contextlib.contextmanager
def work_folder(target):
    """Empty hidden folder beside ``target``, this process's own, gone when the block ends.

    That of a process which died is cleared first. It is known by the lock that lies beside it still.
    """
    partial = beside(target, "partial")
    with owned(target) as was_left:
        if not was_left and next(list_paths(partial), None):
            raise BadUse(f"{partial} is in the way, which no command has left there: move it away")
        remove(partial)
        partial.mkdir(parents=True)
        try:
            yield partial
        except OSError as error:  # those of numpy and bcolz do not say where
            error.filename = error.filename or str(target)
            raise
        finally:
            remove(partial)


@contextlib.contextmanager
def new_folder(target, kind):
    """Folder to fill that becomes ``target`` only when the block ends well.

    Work goes to a hidden sibling, so a killed run never looks finished. What stands there is replaced if it is of
    this kind, else the block does not begin.
    """
    require_ours(target, kind)
    with work_folder(target) as partial:
        recover(target, kind)
        yield partial
        replace(partial, target, kind)


@contextlib.contextmanager
def new_file(path):
    """Binary file to fill that becomes ``path`` only when the block ends well: readers see old or new content."""
    path = _follow(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = beside(path, "partial")
    partial.unlink(missing_ok=True)
    try:
        with open(partial, "xb") as file:
            yield file
        partial.replace(path)
    except OSError as error:  # that of a full disk does not say where
        error.filename = error.filename or str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)


def write_bytes(path, content):
    """Write a file in one step."""
    with new_file(path) as file:
        file.write(content)


def write_text(path, text):
    """Write a text file (UTF-8, and file names in whatever they are) in one step."""
    write_bytes(path, text.encode("utf-8", errors="surrogateescape"))


def write_csv(path, header, rows):
    """Write a table in one step."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    write_text(path, text.getvalue())


def write_json(path, content):
    """Write ``content`` as JSON in one step."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_json(path):
    """Content of a JSON file, or None where there is no such file; CourseError if the file is there but is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8", errors="surrogateescape"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise CourseError(f"{path} is damaged ({error}): move it away and run again") from error


def read_text(path):
    """Text of a person or another program: UTF-8, with or without a mark; CourseError for another encoding."""
    try:
        if Path(path).exists() and not Path(path).is_file():  # a pipe would keep us waiting
            raise CourseError(f"{path} is no file")
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CourseError(f"{path} is no text in UTF-8 (byte {error.start + 1}): save it as UTF-8") from error


def require_space(folder, n_bytes):
    """Raise CourseError unless the disk that holds ``folder``, or will, has ``n_bytes`` free."""
    path = Path(folder).absolute()
    folder = next(filter(os.path.isdir, (path, *path.parents)), None)
    if not folder:
        raise CourseError(f"{path}: there is no {path.anchor}: choose a folder on another disk")
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise CourseError(
            f"{folder} has {free / 1e6:,.0f} MB free and {n_bytes / 1e6:,.0f} MB are needed: "
            "free some space or choose another folder"
        )


def link_or_copy(source, target):
    """Hard link ``source`` at ``target``; a copy where the file system has no links."""
    try:
        os.link(os.path.realpath(source), target)  # not a link itself, which may be relative to where it lies
    except OSError:
        with open(source, "rb") as content, open(target, "xb") as copy:  # never over another, as a link
            shutil.copyfileobj(content, copy)
