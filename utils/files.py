"""Files and folders that are there whole or not at all, whenever a run is killed."""

import contextlib
import csv
import io
import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from utils.cli import CourseError, nearest_folder

READERS = 4  # threads
BATCH_FILES = 32  # handed to a thread at a time
SLOW_FILE = 1e-3  # seconds; a file that is in memory takes a tenth of it


def _beside(target, ending):
    return target.with_name(f".{target.name}.{ending}")


def remove(path):
    """Remove a file, a link or a whole folder; nothing happens where there is none."""
    path = Path(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def replace(source, target):
    """Rename ``source`` to ``target``, whatever stood there; both on one file system.

    A folder cannot be swapped in one step: the old one is set aside first, and
    :func:`recover` puts it back if the run was killed between the two renames.
    """
    source, target = Path(source), Path(target)
    old = _beside(target, "old")
    if target.is_dir():
        remove(old)
        target.rename(old)
    source.replace(target)
    remove(old)


def recover(target):
    """Finish or undo what a killed run left beside ``target``; return whether it holds something."""
    target = Path(target)
    old = _beside(target, "old")
    if old.exists():
        if target.exists():
            remove(old)
        else:
            old.rename(target)
    return target.exists()


@contextlib.contextmanager
def _naming(target):
    """Have errors of the disk say what was being written: those of numpy and bcolz do not."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(target)
        raise


@contextlib.contextmanager
def work_folder(target):
    """Empty hidden folder beside ``target``, gone when the block ends; a killed run's is cleared first."""
    partial = _beside(Path(target), "partial")
    remove(partial)
    partial.mkdir(parents=True)
    try:
        with _naming(target):
            yield partial
    finally:
        remove(partial)


@contextlib.contextmanager
def new_folder(target):
    """Folder to fill that becomes ``target`` only when the block ends well.

    Work goes to a hidden sibling, so a killed run never looks finished.
    """
    recover(target)
    with work_folder(target) as partial:
        yield partial
        replace(partial, target)


@contextlib.contextmanager
def new_file(path):
    """Binary file to fill that becomes ``path`` only when the block ends well: readers see old or new content."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(path, "partial")
    try:
        with _naming(path), open(partial, "wb") as file:
            yield file
        partial.replace(path)
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
    """Content of a JSON file, or None where there is no such file.

    Raises
    ------
    CourseError
        If the file is there but is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8", errors="surrogateescape"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise CourseError(f"{path} is damaged ({error}): remove it and run again") from error


def read_text(path):
    """Text that a person or another program wrote: UTF-8, with or without a mark that says so, any system's lines.

    Raises
    ------
    CourseError
        If the file is in another encoding.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CourseError(f"{path} is no text in UTF-8 (byte {error.start + 1}): save it as UTF-8") from error


def require_space(folder, n_bytes):
    """Raise CourseError unless the disk that holds ``folder`` has ``n_bytes`` free."""
    folder = nearest_folder(folder)
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise CourseError(
            f"{folder} has {free / 1e6:,.0f} MB free and {n_bytes / 1e6:,.0f} MB are needed: "
            "free some space or choose another folder"
        )


def map_files(function, paths):
    """Results of ``function(path)`` for each path, in order.

    One thread is fastest for files that the system has in memory. A disk that has to look
    for them answers slowly, but several questions at a time: then a few threads ask.
    """
    batches = (paths[start : start + BATCH_FILES] for start in range(0, len(paths), BATCH_FILES))
    for batch in batches:
        start = time.perf_counter()
        yield from [function(path) for path in batch]
        if time.perf_counter() - start > SLOW_FILE * len(batch):
            break
    with ThreadPoolExecutor(READERS) as pool:
        for results in pool.map(lambda batch: [function(path) for path in batch], batches):
            yield from results


def can_link(source, folder):
    """Whether the file ``source`` can be hard linked into a folder: not where it is on another disk, or one without."""
    probe = Path(folder) / ".link.partial"
    try:
        os.link(source, probe)
    except OSError:
        return False
    probe.unlink()
    return True


def link_or_copy(source, target):
    """Hard link ``source`` at ``target``; a copy where the file system has no links."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        with open(source, "rb") as content, open(target, "xb") as copy:  # never over another, as a link
            shutil.copyfileobj(content, copy)
