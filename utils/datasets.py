"""``tf.data`` from a store: streamed, shuffled, the same again from the same seed."""

import dataclasses
import functools
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils import audio, corpus, features, negatives, store
from utils.labels import LABELS, SILENCE, from_one_hot, one_hot
from utils.system.cli import CourseError
from utils.system.quiet import tf

BUFFER_CHUNKS = 16  # chunks read at a time and shuffled among each other: 1,024 rows
PUBLISHED_PARTS = 7
MADE_SHARE = 0.35  # made clips in an epoch, for each recorded one
MADE_EPOCHS = 6  # in which none is shown twice
MOST_MADE = 12_000  # 190 MB of spectrograms
SPEECH_CLIPS = 2000  # that they are made from


@dataclass(eq=False)
class ClipSet:
    """One set of a store: inputs, labels and file names, row by row.

    Attributes
    ----------
    name : str
    inputs : list of store.StoredArray
        The rows, in one array or in parts.
    y : uint8 array, shape (n, n_labels)
    label_order : tuple of str
        The label of each column of y.
    is_log_mel : bool
        Whether the inputs are log-mel spectrograms; else they are waveforms, in 16-bit counts.
    """

    name: str
    inputs: list
    y: np.ndarray
    label_order: tuple = LABELS
    is_log_mel: bool = False

    def __post_init__(self):
        self.label_order = tuple(self.label_order)
        n_rows = sum(len(part) for part in self.inputs)
        if n_rows != len(self.y):
            raise CourseError(f"{self.inputs[0].path}: {n_rows} rows, but {len(self.y)} labels: make the store anew")

    def __len__(self):
        return len(self.y)

    @property
    def names(self):
        """``label/file.wav`` of each row; empty for stores that carry no names."""
        return [name for part in self.inputs for name in part.names] if all(part.names for part in self.inputs) else []

    @property
    def labels(self):
        """Label name of each row."""
        return from_one_hot(self.y, self.label_order)

    def chunks(self):
        """(part, chunk, its rows in y) of every chunk, in row order."""
        places, first = [], 0
        for part in self.inputs:
            for chunk, size in enumerate(part.chunk_sizes):
                places.append((part, chunk, slice(first, first + size)))
                first += size
        return places

    def blocks(self):
        """Rows and their labels, a chunk at a time, in row order."""
        for part, chunk, rows in self.chunks():
            yield part.read_chunk(chunk), self.y[rows]

    def first(self, n):
        """Inputs of the first ``n`` clips, or of all if there are fewer."""
        found = []
        for part in self.inputs:
            found.append(part[: n - sum(map(len, found))])
        return np.concatenate(found)

    def of_epoch(self, epoch):
        """What an epoch shows: here, always the same."""
        return self

    def with_log_mel(self, array):
        """The same clips as log-mel spectrograms, which are in ``array``."""
        if array.names != self.names:
            raise CourseError(f"{array.path} belongs to other clips than {self.inputs[0].path}: make it anew")
        return dataclasses.replace(self, inputs=[array], is_log_mel=True)

    def with_labels(self, y):
        """The same clips with other labels (one-hot)."""
        return dataclasses.replace(self, y=y)

    def only(self, kept):
        """The clips for which ``kept`` (bool, shape (n,)) is true; none is copied."""
        ends = np.cumsum([len(part) for part in self.inputs])
        parts = [part.only(here) for part, here in zip(self.inputs, np.split(kept, ends[:-1]))]
        return dataclasses.replace(self, inputs=[part for part in parts if len(part)] or parts[:1], y=self.y[kept])

    def joined(self, other):
        """The clips of this set, then those of another one with the same labels and kind of inputs."""
        require_labels(other, self.label_order, self.inputs[0].path)
        return dataclasses.replace(self, inputs=self.inputs + other.inputs, y=np.concatenate([self.y, other.y]))


class WithMade(ClipSet):
    """A training set, and beside it made clips (:mod:`utils.negatives`), of which each epoch shows others."""

    def __init__(self, recorded, made):
        super().__init__(**vars(recorded.joined(made)))
        self.recorded, self.made = recorded, made

    def __len__(self):
        return len(self.recorded) + count_made(len(self.recorded))

    def of_epoch(self, epoch):
        """The recorded clips, and the made ones whose turn it is."""
        n_made = count_made(len(self.recorded))
        turn = np.zeros(len(self.made), bool)
        turn[(epoch * n_made + np.arange(n_made)) % len(self.made)] = True
        return self.recorded.joined(self.made.only(turn))


def count_made(n_recorded):
    """Made clips that are shown in an epoch."""
    return min(round(MADE_SHARE * n_recorded), MOST_MADE)


def made_set(recorded, folder, as_log_mel):
    """Made clips (:mod:`utils.negatives`) for a training set of waveforms, from which some of them are made.

    They are computed once and kept in ``folder``, as log-mel spectrograms (float32) or waveforms (int16).
    """
    n_clips = min(MADE_EPOCHS * count_made(len(recorded)), MOST_MADE)
    path = Path(folder) / ("train_made_log_mel.bc" if as_log_mel else "train_made.bc")
    fingerprints = [part.fingerprint for part in recorded.inputs]
    negatives.persist(lambda: speech_of(recorded), n_clips, path, fingerprints, as_log_mel)
    array = store.open_array(path)
    y = one_hot([name.split("/")[0] for name in array.names], recorded.label_order)
    return ClipSet("made", [array], y, recorded.label_order, as_log_mel)


def speech_of(clip_set):
    """The first waveforms (int16) of a set that are not silence."""
    spoken = clip_set.only(clip_set.y[:, clip_set.label_order.index(SILENCE)] == 0)
    return np.round(spoken.first(SPEECH_CLIPS)).astype(np.int16)


def open_store(folder):
    """Open train, cv and test of a folder of arrays: a dict of ClipSet.

    Reads what ``python -m utils.prepare`` wrote, and the seven-part float64 files that the original course published.

    Raises
    ------
    CourseError
        If the folder or an array is missing or damaged, or names in X and y differ.
    """
    folder = Path(folder)
    corpus.require_prepared(folder)
    for meant in (folder / "preprocessed", folder.parent):
        if not list(folder.glob("train_X*.bc")) and (meant / "train_X.bc").exists():
            raise CourseError(f"{folder} holds no arrays: did you mean {meant}?")
    is_published = (folder / "train_X1.bc").exists()
    sets = {name: _open_set(folder, name, is_published) for name in corpus.SETS}
    if len({clip_set.label_order for clip_set in sets.values()}) > 1:
        raise CourseError(
            f"{folder}: train, cv and test have other labels than each other: run python -m utils.prepare"
        )
    return sets


def require_labels(clip_set, labels, whose, hint="name arrays of these labels in this order (python -m utils.prepare)"):
    """Raise CourseError unless a set has just these labels, in this order: all that is learned goes by position.

    ``whose`` says what has them, ``hint`` what to do.
    """
    if clip_set.label_order != tuple(labels):
        here = clip_set.inputs[0].path.parent
        raise CourseError(
            f"{whose} has the labels {','.join(labels)} and {here} has {','.join(clip_set.label_order)}: {hint}"
        )


def _open_set(folder, name, is_published):
    numbers = range(1, PUBLISHED_PARTS + 1) if is_published and name == "train" else [""]
    parts = [store.open_array(folder / f"{name}_X{number}.bc") for number in numbers]
    wanted = np.dtype(np.float64 if is_published else np.int16)
    for part in parts:
        if part.shape[1:] != (audio.CLIP_SAMPLES,) or part.dtype != wanted:
            raise CourseError(
                f"{part.path}: expected {wanted} of (n, {audio.CLIP_SAMPLES}), got {part.dtype} of {part.shape}"
            )
    array, names = store.open_array(folder / f"{name}_y.bc"), [file for part in parts for file in part.names]
    if names != array.names:
        raise CourseError(f"{array.path} belongs to other clips than {parts[0].path}: run python -m utils.prepare")
    y, labels = array[:], array.settings.get("labels", LABELS)
    if not len(y):
        raise CourseError(f"{folder}: {name} holds no clips: record more, and run python -m utils.prepare")
    if y.shape[1:] != (len(labels),) or not np.all((y == 0) | (y == 1)) or not np.all(y.sum(axis=1) == 1):
        raise CourseError(f"{array.path}: expected one-hot rows of {len(labels)}, got {y.dtype} of {y.shape}")
    if is_published and name == "train":
        y = y[: sum(map(len, parts))]  # it ends with labels of six clips that were not published
    return ClipSet(name, parts, y.astype(np.uint8), labels)


def write_random_store(folder, n_clips, seed, label_order=LABELS):
    """A store of random waveforms and labels, to try code without data.

    ``n_clips`` for train, an eighth of them each for cv and test.
    """
    rng = np.random.default_rng(seed)
    settings = {"dataset": "random data", "labels": list(label_order)}
    for name in corpus.SETS:
        n_rows = n_clips if name == "train" else max(1, n_clips // 8)
        labels = [label_order[i] for i in rng.integers(0, len(label_order), n_rows)]
        names = [f"{label}/{i:08x}_nohash_0.wav" for i, label in enumerate(labels)]
        y_path, X_path = (Path(folder) / f"{name}_{part}.bc" for part in "yX")
        y = one_hot(labels, label_order)
        store.write_array(y_path, [y], y.shape[1:], y.dtype, settings, names, "generating")
        sizes = (min(store.CHUNK_ROWS, n_rows - start) for start in range(0, n_rows, store.CHUNK_ROWS))
        waveforms = (rng.normal(0, 3000, (size, audio.CLIP_SAMPLES)) / audio.FULL_SCALE for size in sizes)
        X = map(audio.to_counts, waveforms)
        store.write_array(X_path, X, (audio.CLIP_SAMPLES,), np.int16, settings, names, "generating")


def log_mel_set(clip_set, folder):
    """The same clips as log-mel spectrograms (float32).

    They are computed once and kept in ``folder``, in ``<set>_X_log_mel.bc``; those of other waveforms are replaced.
    """
    path = Path(folder) / f"{clip_set.name}_X_log_mel.bc"
    features.persist(clip_set.inputs, path, "log_mel")
    return clip_set.with_log_mel(store.open_array(path))


def epoch_batches(clip_set, batch_size, rng):
    """Every row of a set once, in random order, in batches of inputs as stored and labels; the last may be smaller.

    Chunks are read in random order, 16 at a time, and rows shuffled among these.
    """
    chunks = clip_set.chunks()
    order = rng.permutation(len(chunks))
    part = clip_set.inputs[0]
    # Rows that are too few for a batch go on with the next chunks.
    left = np.empty((0, *part.shape[1:]), part.dtype), clip_set.y[:0]
    for start in range(0, len(order), BUFFER_CHUNKS):
        group = [chunks[index] for index in order[start : start + BUFFER_CHUNKS]]
        n_rows = len(left[0]) + sum(rows.stop - rows.start for _, _, rows in group)
        X, y = (np.empty((n_rows, *rows.shape[1:]), rows.dtype) for rows in left)
        # Rows are shuffled as they are copied in: batches are then plain slices.
        blocks = itertools.chain([left], ((part.read_chunk(chunk), clip_set.y[rows]) for part, chunk, rows in group))
        places, filled = rng.permutation(n_rows), 0
        for rows, labels in blocks:
            here = places[filled : filled + len(rows)]
            X[here], y[here] = rows, labels
            filled += len(rows)
        n_full = n_rows - n_rows % batch_size
        for begin in range(0, n_full, batch_size):
            yield X[begin : begin + batch_size], y[begin : begin + batch_size]
        left = X[n_full:], y[n_full:]
    if len(left[0]):
        yield left


def steps_per_epoch(clip_set, batch_size):
    """Batches that an epoch of a set has."""
    return -(-len(clip_set) // batch_size)


def training_dataset(clip_set, batch_size, seed, first_epoch=0, augment=None, replicas=(0,), n_replicas=1):
    """Endless shuffled batches of a set, epoch after epoch, as float32 inputs and labels.

    The same seed and epoch give the same batches; a resumed run goes on at ``first_epoch``. ``augment`` takes inputs,
    labels and (epoch, step) of a whole batch, as :class:`utils.nets.changes.Augment`. Of each batch, those of its
    ``n_replicas`` parts are given that ``replicas`` names: part k has every ``n_replicas``-th row from the k-th on.
    """

    def generate():
        for epoch in itertools.count(first_epoch):
            rng = np.random.default_rng([seed, epoch])
            for step, (X, y) in enumerate(epoch_batches(clip_set.of_epoch(epoch), batch_size, rng)):
                yield X, y, np.array([epoch, step], np.int32)

    def finish(X, y, moment):
        X, y = _to_model_scale(X, y, clip_set.is_log_mel)
        return augment(X, y, moment) if augment else (X, y)

    def deal(X, y):
        parts = [tf.data.Dataset.from_tensors((X[k::n_replicas], y[k::n_replicas])) for k in replicas]
        return functools.reduce(tf.data.Dataset.concatenate, parts)

    signature = (*_signature(clip_set), tf.TensorSpec((2,), tf.int32))
    dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
    dataset = dataset.map(finish, num_parallel_calls=1)
    if n_replicas > 1:
        dataset = dataset.flat_map(deal)
    return dataset.repeat().prefetch(4)  # it has no end, and now says so


def evaluation_dataset(clip_set, batch_size):
    """Batches of a set in row order, each row once, as float32 inputs and labels; the last one may be smaller."""
    dataset = tf.data.Dataset.from_generator(clip_set.blocks, output_signature=_signature(clip_set))
    dataset = dataset.rebatch(batch_size).map(lambda X, y: _to_model_scale(X, y, clip_set.is_log_mel))
    # A data set that is cut says how long it is, which Keras shows, and one from a generator does not.
    return dataset.repeat().take(steps_per_epoch(clip_set, batch_size)).prefetch(2)


def _signature(clip_set):
    part = clip_set.inputs[0]
    return tf.TensorSpec((None, *part.shape[1:]), part.dtype), tf.TensorSpec((None, clip_set.y.shape[1]), tf.uint8)


def _to_model_scale(X, y, is_log_mel):
    """Inputs and labels as float32; waveforms, which are stored as 16-bit counts, in [-1, 1)."""
    X, y = tf.cast(X, tf.float32), tf.cast(y, tf.float32)
    return X if is_log_mel else X / 32768.0, y
