"""Arrays on disk in bcolz's format: written whole or not at all, checked, streamed.

An array is a folder. Beside bcolz's own files it holds ``manifest.json``: shape, dtype,
settings, a hash for each chunk and, where rows have files, their names in row order.
"""

import contextlib
import copy
import hashlib
import itertools
import json
from pathlib import Path

import numpy as np

from utils.system import cli, files
from utils.system.cli import CourseError

CHUNK_ROWS = 64
KIND = files.Kind(
    "an array",
    "manifest.json",
    "chunks",
    ("manifest.json", "__attrs__", "meta/sizes", "meta/storage", "data/__[0-9]*.blp"),
)
_REMAKE = "remove the folder and make it anew (python -m utils.prepare)"
NUMERIC = "biuf"  # kinds of dtype that are read: nothing that could hold a pickled object


class StoreError(CourseError):
    """An array on disk that is missing, unfinished or altered."""


def write_array(path, blocks, row_shape, dtype, settings=None, names=(), doing="writing"):
    """Write an array in flat memory; it appears under its name when all is written, in the place of what stood there.

    Parameters
    ----------
    path : str or Path
    blocks : iterable of arrays
        The rows, some at a time.
    row_shape : tuple of int
    dtype : numpy dtype
    settings : dict
        How the rows were made: :func:`is_done` compares them.
    names : list of str
        One for each row, or none at all.
    doing : str
        What the progress bar says.
    """
    import bcolz  # slow to import, with pandas

    path, dtype = Path(path), np.dtype(dtype)
    if dtype.kind == "f":  # features would be only a fifth smaller, and take seven times as long to read
        compression = bcolz.cparams(clevel=0)
    else:
        # 1.6 times smaller than raw int16 speech. Level 3 would save 2 % more and read back up to a fifth faster,
        # but writes at two thirds of the speed.
        compression = bcolz.cparams(cname="zstd", clevel=1, shuffle=bcolz.BITSHUFFLE)
    with contextlib.ExitStack() as stack:
        # Threads write the blocks of a chunk in the order in which they end: one gives the same bytes each time.
        stack.callback(bcolz.set_nthreads, bcolz.set_nthreads(1))
        folder = stack.enter_context(files.new_folder(path, KIND))
        empty = np.empty((0, *row_shape), dtype)
        array = bcolz.carray(empty, rootdir=str(folder), mode="w", chunklen=CHUNK_ROWS, cparams=compression)
        bar = stack.enter_context(cli.progress(total=len(names) or None, desc=f"{doing} {path.name}", unit="clip"))
        for rows in blocks:
            if rows.dtype != dtype or rows.shape[1:] != empty.shape[1:]:
                raise ValueError(f"{path.name} takes rows of {dtype} {row_shape}, got {rows.dtype} {rows.shape[1:]}")
            array.append(rows)
            bar.update(len(rows))
        array.flush()
        manifest = {
            "shape": list(array.shape),
            "dtype": dtype.name,
            "chunk_rows": CHUNK_ROWS,
            "settings": settings or {},
            "chunks": [_hash_file(path) for path in _chunk_files(folder, len(array), CHUNK_ROWS)],
            "names": list(names),
        }
        files.write_json(folder / "manifest.json", manifest)


def _chunk_files(folder, n_rows, chunk_rows):
    return [folder / "data" / f"__{chunk}.blp" for chunk in range(-(-n_rows // chunk_rows))]


def _hash_file(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class StoredArray:
    """Rows on disk, open for reading; they are decompressed only when asked for.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy dtype
    names : list of str
        File of each row, as ``label/file.wav``; empty where rows have none.
    settings : dict
    fingerprint : str
        Short text that changes when the rows do; known without reading them.
    chunk_sizes : int array, shape (n_chunks,)
        Rows in each chunk.
    """

    def __init__(self, path, layout, names=(), settings=None, hashes=None):
        import bcolz

        self.path, self.names, self.settings = path, list(names), settings or {}
        self.shape, self.dtype, self._chunk_rows = layout
        self._hashes, self._checked = hashes, set()
        self._files = _chunk_files(path, len(self), self._chunk_rows)
        if missing := sum(not file.exists() for file in self._files):
            raise StoreError(f"{path} is incomplete: {missing} of {len(self._files)} chunks are missing; {_REMAKE}")
        try:  # it may be replaced between these reads
            state = hashes or [f"{p.name} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in self._files]
            self._array = bcolz.carray(rootdir=str(path), mode="r")
        except (OSError, ValueError) as error:  # bcolz's own word for a chunk that is gone is ValueError
            raise StoreError(f"{path} cannot be opened ({error}): run the same command again") from error
        self.fingerprint = _shorten(" ".join([str(self.shape), *state]).encode())
        self._hold(np.arange(len(self)))

    def _hold(self, rows):
        """Hold those rows on disk that have these numbers, which rise."""
        self._rows, self.shape = rows, (len(rows), *self.shape[1:])
        self._chunks, self.chunk_sizes = np.unique(rows // self._chunk_rows, return_counts=True)
        self._ends = np.cumsum(self.chunk_sizes)

    def only(self, kept):
        """The rows for which ``kept`` (bool, shape (n,)) is true, as another such array; no other chunk is read."""
        part, kept = copy.copy(self), np.asarray(kept, bool)
        part._hold(self._rows[kept])
        part.names = list(itertools.compress(self.names, kept))
        part.fingerprint = _shorten(self.fingerprint.encode() + np.packbits(kept).tobytes())
        return part

    def __len__(self):
        return self.shape[0]

    def read_chunk(self, index):
        """Rows of one chunk; its hash is checked the first time."""
        chunk = int(self._chunks[index])
        if chunk not in self._checked:
            self._check(chunk)
        start = chunk * self._chunk_rows
        rows = self._array[start : start + self._chunk_rows]
        held = self._rows[self._ends[index] - self.chunk_sizes[index] : self._ends[index]]
        return rows if len(held) == len(rows) else rows[held - start]

    def _check(self, chunk):
        if self._hashes and _hash_file(self._files[chunk]) != self._hashes[chunk]:
            raise StoreError(f"{self._files[chunk]} was altered or damaged; {_REMAKE}")
        self._checked.add(chunk)

    def __getitem__(self, rows):
        """Rows of a slice with step 1, as one array."""
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise ValueError("rows are read in order: a slice with step 1")
        if start >= stop:
            return np.empty((0, *self.shape[1:]), self.dtype)
        first, last = np.searchsorted(self._ends, [start, stop - 1], side="right")
        begin = self._ends[first] - self.chunk_sizes[first]
        chunks = np.concatenate([self.read_chunk(index) for index in range(first, last + 1)])
        return chunks[start - begin : stop - begin]


def _shorten(state):
    return hashlib.sha256(state).hexdigest()[:16]


def open_array(path):
    """Open an array that :func:`write_array` finished, or one that the original course published.

    The latter has no manifest: float64 rows without names.

    Raises
    ------
    StoreError
        If it is missing, unfinished or altered.
    """
    path = Path(path)
    if not path.exists() and files.beside(path, "old").exists():  # the run that was to replace it was killed
        with files.owned(path):
            files.recover(path, KIND)
    if not path.exists():
        raise StoreError(f"{path} is missing: run python -m utils.prepare, or check --path_to_data")
    layout, manifest = _read_layout(path), files.read_json(path / "manifest.json")
    if manifest is None and layout[1] == np.float64:
        return StoredArray(path, layout)
    if manifest is None:
        raise StoreError(f"{path} was never finished: it has no manifest; {_REMAKE}")
    try:
        told = tuple(manifest["shape"]), np.dtype(manifest["dtype"]), int(manifest["chunk_rows"])
        names, settings, hashes = (manifest[key] for key in ("names", "settings", "chunks"))
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path}: its manifest is damaged ({error}); {_REMAKE}") from error
    if told != layout or len(names) not in (0, layout[0][0]):
        raise StoreError(f"{path} is not what its manifest says; {_REMAKE}")
    return StoredArray(path, layout, names, settings, hashes)


def _read_layout(path):
    """Shape, dtype and chunk length from bcolz's own metadata, before bcolz touches the folder."""
    try:
        sizes, storage = (json.loads((path / "meta" / name).read_text("utf-8")) for name in ("sizes", "storage"))
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
