"""Arrays on disk in bcolz's format: written whole or not at all, checked, streamed.

An array is a folder. Beside bcolz's own files it holds ``manifest.json``: shape, dtype,
settings, a hash for each chunk and, where rows have files, their names in row order.
"""

import contextlib
import functools
import hashlib
import itertools
import json
from pathlib import Path

import bcolz
import numpy as np

from utils.system import files
from utils.system.cli import CourseError

CHUNK_ROWS = 64
# 1.6 times smaller than raw int16 speech. Level 3 would save 2 % more and read back up to a fifth faster, but
# writes at two thirds of the speed.
COMPRESSION = bcolz.cparams(cname="zstd", clevel=1, shuffle=bcolz.BITSHUFFLE)
# Float32 features would be only a fifth smaller, and take seven times as long to read.
NO_COMPRESSION = bcolz.cparams(clevel=0)
KIND = files.Kind(
    "an array",
    "manifest.json",
    "chunks",
    ("manifest.json", "__attrs__", "meta/sizes", "meta/storage", "data/__[0-9]*.blp"),
)
NUMERIC = "biuf"  # kinds of dtype that are read: nothing that could hold a pickled object


class StoreError(CourseError):
    """An array on disk that is missing, unfinished or altered."""


class ArrayWriter:
    """Writes an array row by row in flat memory; it appears under its name when the block ends well.

    >>> with ArrayWriter("train_X.bc", (16000,), np.int16) as writer:
    ...     writer.append(rows, names)

    Parameters
    ----------
    path : str or Path
        What stands there is replaced when the new array is whole.
    row_shape : tuple of int
    dtype : numpy dtype
    settings : dict, optional
        How the rows were made; compared by :func:`is_done`.
    """

    def __init__(self, path, row_shape, dtype, settings=None):
        self.path = Path(path)
        self.settings = settings or {}
        self._names = []
        self._row_shape, self._dtype = tuple(row_shape), np.dtype(dtype)

    def __enter__(self):
        self._stack = contextlib.ExitStack()
        self._work = self._stack.enter_context(files.new_folder(self.path, KIND))
        # Threads write the blocks of a chunk in the order in which they end: one gives the same bytes each time.
        self._stack.callback(bcolz.set_nthreads, bcolz.set_nthreads(1))
        # bcolz makes its root folder itself.
        self._array = bcolz.carray(
            np.empty((0, *self._row_shape), self._dtype),
            rootdir=str(self._work / "rows"),
            mode="w",
            chunklen=CHUNK_ROWS,
            cparams=NO_COMPRESSION if self._dtype.kind == "f" else COMPRESSION,
        )
        return self

    def append(self, rows, names=()):
        """Add rows, with a name each (or none at all)."""
        rows = np.asarray(rows)
        if rows.dtype != self._dtype or rows.shape[1:] != self._row_shape:
            raise ValueError(
                f"{self.path.name} takes rows of {self._dtype} {self._row_shape}, got {rows.dtype} {rows.shape[1:]}"
            )
        self._array.append(rows)
        self._names.extend(names)

    def __exit__(self, *failure):
        if failure[0] is not None:
            return self._stack.__exit__(*failure)
        with self._stack:
            self._finish()
        return None

    def _finish(self):
        self._array.flush()
        if self._names and len(self._names) != len(self._array):
            raise ValueError(f"{self.path.name}: {len(self._names)} names for {len(self._array)} rows")
        rows = self._work / "rows"
        for part in list(rows.iterdir()):
            part.rename(self._work / part.name)
        rows.rmdir()
        files.write_json(
            self._work / "manifest.json",
            {
                "shape": list(self._array.shape),
                "dtype": self._dtype.name,
                "chunk_rows": CHUNK_ROWS,
                "settings": self.settings,
                "chunks": [_hash_file(chunk) for chunk in _chunk_files(self._work)],
                "names": self._names,
            },
        )


def _chunk_files(folder):
    """The chunk files of a bcolz folder, in row order."""
    chunks = (path for path in (folder / "data").glob("__*.blp") if path.stem[2:].isdecimal())
    return sorted(chunks, key=lambda path: int(path.stem[2:]))


def _hash_file(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Rows:
    """What stored arrays and parts of them have in common: rows that are read chunk by chunk."""

    def __len__(self):
        return self.shape[0]

    @functools.cached_property
    def _ends(self):
        return np.cumsum([self.rows_in_chunk(index) for index in range(self.n_chunks)])

    def __getitem__(self, rows):
        """Rows of a slice with step 1, as one array."""
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise ValueError("rows are read in order: a slice with step 1")
        if start >= stop:
            return np.empty((0, *self.shape[1:]), self.dtype)
        first, last = np.searchsorted(self._ends, [start, stop - 1], side="right")
        begin = self._ends[first] - self.rows_in_chunk(first)
        chunks = np.concatenate([self.read_chunk(index) for index in range(first, last + 1)])
        return chunks[start - begin : stop - begin]


class StoredArray(_Rows):
    """An array on disk, open for reading; rows are decompressed only when asked for.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy dtype
    names : list of str
        File of each row, as ``label/file.wav``; empty where rows have none.
    settings : dict
    """

    def __init__(self, path, shape, dtype, chunk_rows, names=(), settings=None, hashes=None):
        self.path, self.shape, self.dtype = Path(path), tuple(shape), np.dtype(dtype)
        self.chunk_rows, self.names, self.settings = chunk_rows, list(names), settings or {}
        self._hashes, self._checked = hashes, set()
        self._chunks = _chunk_files(self.path)
        wanted = -(-self.shape[0] // chunk_rows)
        if len(self._chunks) != wanted:
            raise StoreError(f"{path} is incomplete: {len(self._chunks)} of {wanted} chunks; {_REMAKE}")
        try:
            self._array = bcolz.carray(rootdir=str(path), mode="r")
        except OSError as error:  # it was replaced just now
            raise StoreError(f"{path} cannot be opened ({error}): run the same command again") from error
        if self._array.shape != self.shape or self._array.dtype != self.dtype:
            raise StoreError(f"{path} is not what its manifest says; {_REMAKE}")

    @property
    def fingerprint(self):
        """Short text that changes when the rows do, without reading them."""
        state = self._hashes or [f"{p.name} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in self._chunks]
        return hashlib.sha256(" ".join([str(self.shape), *state]).encode()).hexdigest()[:16]

    @property
    def n_chunks(self):
        """How many chunks the rows lie in; all have ``chunk_rows`` rows but the last."""
        return len(self._chunks)

    def rows_in_chunk(self, index):
        """Rows of one chunk, without reading it."""
        return min(self.chunk_rows, len(self) - index * self.chunk_rows)

    def read_chunk(self, index):
        """Rows of one chunk; its hash is checked the first time."""
        if self._hashes and index not in self._checked:
            if _hash_file(self._chunks[index]) != self._hashes[index]:
                raise StoreError(f"{self._chunks[index]} was altered or damaged; {_REMAKE}")
            self._checked.add(index)
        start = index * self.chunk_rows
        return self._array[start : start + self.chunk_rows]

    def verify(self):
        """Check the hash of every chunk.

        Raises
        ------
        StoreError
            That names the first chunk that was altered.
        """
        self._checked.clear()
        for index in range(self.n_chunks):
            self.read_chunk(index)


class SomeRows(_Rows):
    """Some rows of a stored array, read as if there were no others; chunks with none of them are not touched.

    Parameters
    ----------
    array : StoredArray or SomeRows
        Has the same attributes.
    kept : bool array, shape (len(array),)
    """

    def __init__(self, array, kept):
        self._array, self._all_kept = array, np.asarray(kept, bool)
        parts = np.split(self._all_kept, array._ends[:-1])
        self._kept = [(index, part) for index, part in enumerate(parts) if part.any()]
        self.path, self.dtype, self.settings, self.n_chunks = array.path, array.dtype, array.settings, len(self._kept)
        self.shape = (int(np.count_nonzero(kept)), *array.shape[1:])
        self.names = list(itertools.compress(array.names, self._all_kept))

    @property
    def fingerprint(self):
        """Short text that changes when the rows do, or which of them are kept."""
        kept = np.packbits(self._all_kept).tobytes()
        return hashlib.sha256(self._array.fingerprint.encode() + kept).hexdigest()[:16]

    def rows_in_chunk(self, index):
        """Rows of one chunk that are kept."""
        return int(np.count_nonzero(self._kept[index][1]))

    def read_chunk(self, index):
        """Rows of one chunk that are kept."""
        chunk, kept = self._kept[index]
        return self._array.read_chunk(chunk)[kept]

    def verify(self):
        """Check the hash of every chunk of the whole array."""
        self._array.verify()


_REMAKE = "remove the folder and make it anew (python -m utils.prepare)"


def open_array(path):
    """Open an array that :class:`ArrayWriter` finished.

    Raises
    ------
    StoreError
        If it is missing, unfinished, of a size that its manifest does not give, or altered.
    """
    path = Path(path)
    if not path.exists() and files.beside(path, "old").exists():  # the run that was to replace it was killed
        with files.owned(path):
            files.recover(path, KIND)
    if not path.exists():
        raise StoreError(f"{path} is missing: run python -m utils.prepare, or check --path_to_data")
    manifest = files.read_json(path / "manifest.json")
    if manifest is None:
        raise StoreError(f"{path} was never finished: it has no manifest; {_REMAKE}")
    try:
        shape, dtype = tuple(manifest["shape"]), np.dtype(manifest["dtype"])
        names, hashes = manifest["names"], manifest["chunks"]
        chunk_rows, settings = int(manifest["chunk_rows"]), manifest["settings"]
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path}: its manifest is damaged ({error}); {_REMAKE}") from error
    stored_shape, stored_dtype, stored_chunk_rows = _read_layout(path)
    if (stored_shape, stored_dtype, stored_chunk_rows) != (shape, dtype, chunk_rows):
        raise StoreError(f"{path} is not what its manifest says; {_REMAKE}")
    if names and len(names) != shape[0]:
        raise StoreError(f"{path}: its manifest names {len(names)} of {shape[0]} rows; {_REMAKE}")
    return StoredArray(path, shape, dtype, chunk_rows, names, settings, hashes)


def open_published(path):
    """Open an array without a manifest, as the original course published them: float64, no names.

    Raises
    ------
    StoreError
        If it is missing, incomplete or of another dtype.
    """
    path = Path(path)
    shape, dtype, chunk_rows = _read_layout(path)
    if dtype != np.float64:
        raise StoreError(f"{path} was never finished: it has no manifest; {_REMAKE}")
    return StoredArray(path, shape, dtype, chunk_rows)


def _read_layout(path):
    """Shape, dtype and chunk length from bcolz's own metadata, before bcolz touches the folder."""
    try:
        sizes = json.loads((path / "meta" / "sizes").read_text(encoding="utf-8"))
        storage = json.loads((path / "meta" / "storage").read_text(encoding="utf-8"))
        dtype = np.dtype(storage["dtype"].strip("'\""))
        shape, chunk_rows = tuple(sizes["shape"]), int(storage["chunklen"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} is no finished array ({type(error).__name__}); {_REMAKE}") from error
    if dtype.kind not in NUMERIC:
        raise StoreError(f"{path} holds {dtype}, not numbers: it is not read")
    return shape, dtype, chunk_rows


def is_done(path, settings):
    """Whether ``path`` is a finished array that was made with these settings."""
    try:
        return open_array(path).settings == settings
    except StoreError:
        return False
