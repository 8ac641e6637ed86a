"""``tf.data`` from a store: streamed, shuffled, the same again from the same seed."""

import functools
import itertools
from pathlib import Path

import numpy as np

from utils import audio, features, negatives, store
from utils.corpus import SETS
from utils.labels import LABELS, SILENCE, from_one_hot, one_hot
from utils.system import cli, files
from utils.system.cli import CourseError
from utils.system.quiet import tf

BUFFER_CHUNKS = 16  # chunks read at a time and shuffled among each other: 1,024 rows
PUBLISHED_PARTS = 7
MADE_SHARE = 0.35  # made clips in an epoch, for each recorded one
MADE_EPOCHS = 6  # in which none is shown twice
MOST_MADE = 12_000  # 190 MB of spectrograms
SPEECH_CLIPS = 2000  # that they are made from
PUBLISHED_EXTRA_ROWS = 6  # train_y.bc of the published files has labels for no waveform at its end


class ClipSet:
    """One set of a store: inputs, labels and file names, row by row.

    Attributes
    ----------
    inputs : list of store.StoredArray or store.SomeRows
        The rows, in one array or in parts.
    y : uint8 array, shape (n, 12)
    names : list of str
        ``label/file.wav`` of each row; empty for stores that carry no names.
    label_order : tuple of str
        The label of each column of y.
    """

    def __init__(self, name, inputs, y, names=(), label_order=LABELS):
        self.name, self.inputs, self.y, self.names = name, inputs, y, list(names)
        self.label_order = tuple(label_order)
        n_rows = sum(len(part) for part in inputs)
        if n_rows != len(y):
            raise CourseError(f"{inputs[0].path}: {n_rows} rows, but {len(y)} labels: make the store anew")

    def __len__(self):
        return len(self.y)

    @property
    def labels(self):
        """Label name of each row."""
        return from_one_hot(self.y, self.label_order)

    def chunks(self):
        """(part, chunk, first row) of every chunk, in row order."""
        places, first = [], 0
        for part in self.inputs:
            for chunk in range(part.n_chunks):
                places.append((part, chunk, first))
                first += part.rows_in_chunk(chunk)
        return places

    def blocks(self):
        """Rows and their labels, a chunk at a time, in row order."""
        for place in self.chunks():
            yield _read(self, *place)

    def of_epoch(self, epoch):
        """What an epoch shows: here, always the same."""
        return self

    def with_inputs(self, array):
        """The same clips with other inputs, such as a feature of them."""
        if array.names and self.names and array.names != self.names:
            raise CourseError(f"{array.path} belongs to other clips than {self.inputs[0].path}: make it anew")
        return ClipSet(self.name, [array], self.y, self.names, self.label_order)

    def with_labels(self, y):
        """The same clips with other labels (one-hot)."""
        return ClipSet(self.name, self.inputs, y, self.names, self.label_order)

    def only(self, kept):
        """The clips for which ``kept`` (bool, shape (n,)) is true; none is copied."""
        ends = np.cumsum([len(part) for part in self.inputs])
        inputs = [store.SomeRows(part, here) for part, here in zip(self.inputs, np.split(kept, ends[:-1]))]
        names = [name for name, is_kept in zip(self.names, kept) if is_kept]
        return ClipSet(self.name, inputs, self.y[kept], names, self.label_order)

    def joined(self, other):
        """The clips of this set, then those of another one with the same labels; names, if both have them."""
        require_labels(other, self.label_order, self.inputs[0].path)
        y = np.concatenate([self.y, other.y])
        names = self.names + other.names if len(self.names) == len(self) and len(other.names) == len(other) else ()
        return ClipSet(self.name, self.inputs + other.inputs, y, names, self.label_order)


class WithMade(ClipSet):
    """A training set, and beside it made clips (:mod:`utils.negatives`), of which each epoch shows others.

    Attributes
    ----------
    recorded : ClipSet
    made : ClipSet
        Of the same kind of inputs.
    """

    def __init__(self, recorded, made):
        both = recorded.joined(made)
        super().__init__(recorded.name, both.inputs, both.y, both.names, both.label_order)
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
    """Made clips (:mod:`utils.negatives`) for a training set, computed once and kept in ``folder``.

    Parameters
    ----------
    recorded : ClipSet
        The training set, of waveforms: some of its clips are what others are made from.
    folder : str or Path
        Gets ``train_made.bc`` or ``train_made_log_mel.bc``; one that is there from the same waveforms is used as it is.
    as_log_mel : bool
        Log-mel spectrograms (float32) instead of waveforms (int16).

    Returns
    -------
    ClipSet
    """
    n_clips = min(MADE_EPOCHS * count_made(len(recorded)), MOST_MADE)
    path = Path(folder) / ("train_made_log_mel.bc" if as_log_mel else "train_made.bc")
    fingerprints = [part.fingerprint for part in recorded.inputs]
    negatives.persist(lambda: speech_of(recorded), n_clips, path, fingerprints, as_log_mel)
    array = store.open_array(path)
    y = one_hot([name.split("/")[0] for name in array.names], recorded.label_order)
    return ClipSet("made", [array], y, array.names, recorded.label_order)


def speech_of(clip_set):
    """The first waveforms (int16) of a set that are not silence."""
    spoken, silence = [], clip_set.label_order.index(SILENCE)
    n_found = 0
    for rows, y in clip_set.blocks():
        found = rows[y[:, silence] == 0]
        spoken.append(np.round(found).astype(np.int16))
        n_found += len(found)
        if n_found >= SPEECH_CLIPS:
            break
    return np.concatenate(spoken)[:SPEECH_CLIPS]


def open_store(folder):
    """Open train, cv and test of a folder of arrays.

    Reads what ``python -m utils.prepare`` wrote, and the seven-part float64 files that the
    original course published.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    dict of str -> ClipSet

    Raises
    ------
    CourseError
        If the folder or an array is missing or damaged, or names in X and y differ.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CourseError(f"{folder} is missing: run python -m utils.prepare, or check --path_to_data")
    for meant in (folder / "preprocessed", folder.parent):
        if not list(folder.glob("train_X*.bc")) and (meant / "train_X.bc").exists():
            raise CourseError(f"{folder} holds no arrays: did you mean {meant}?")
    read = _open_published if (folder / "train_X1.bc").exists() else _open_set
    sets = {name: read(folder, name) for name in SETS}
    for name, clip_set in sets.items():
        if not len(clip_set):
            raise CourseError(f"{folder}: {name} holds no clips: record more, and run python -m utils.prepare")
    if len({clip_set.label_order for clip_set in sets.values()}) > 1:
        raise CourseError(
            f"{folder}: train, cv and test have other labels than each other: run python -m utils.prepare"
        )
    return sets


def require_labels(clip_set, labels, whose, hint="name arrays of these labels in this order (python -m utils.prepare)"):
    """Raise CourseError unless a set has just these labels, in this order: all that is learned goes by position.

    Parameters
    ----------
    clip_set : ClipSet
    labels : sequence of str
    whose : str or Path
        What has these labels.
    hint : str
        What to do.
    """
    if clip_set.label_order != tuple(labels):
        here = clip_set.inputs[0].path.parent
        raise CourseError(
            f"{whose} has the labels {','.join(labels)} and {here} has {','.join(clip_set.label_order)}: {hint}"
        )


def _open_set(folder, name):
    X, y = store.open_array(folder / f"{name}_X.bc"), store.open_array(folder / f"{name}_y.bc")
    if X.shape[1:] != (audio.CLIP_SAMPLES,) or X.dtype != np.int16:
        raise CourseError(f"{X.path}: expected int16 of (n, {audio.CLIP_SAMPLES}), got {X.dtype} of {X.shape}")
    if X.names != y.names:
        raise CourseError(f"{y.path} belongs to other clips than {X.path}: run python -m utils.prepare")
    labels = y.settings.get("labels", LABELS)
    return ClipSet(name, [X], _check_y(y, labels), X.names, labels)


def _open_published(folder, name):
    paths = [folder / f"{name}_X.bc"]
    if name == "train":
        paths = [folder / f"train_X{part}.bc" for part in range(1, PUBLISHED_PARTS + 1)]
    parts = [store.open_published(path) for path in paths]
    for part in parts:
        if part.shape[1:] != (audio.CLIP_SAMPLES,):
            raise CourseError(f"{part.path}: expected rows of {audio.CLIP_SAMPLES}, got {part.shape}")
    y = _check_y(store.open_published(folder / f"{name}_y.bc"), LABELS)
    n_rows = sum(len(part) for part in parts)
    if name == "train" and len(y) == n_rows + PUBLISHED_EXTRA_ROWS:
        y = y[:n_rows]
    return ClipSet(name, parts, y)


def _check_y(array, labels):
    y = array[:]
    if y.shape[1:] != (len(labels),) or not np.all((y == 0) | (y == 1)) or not np.all(y.sum(axis=1) == 1):
        raise CourseError(f"{array.path}: expected one-hot rows of {len(labels)}, got {y.dtype} of {y.shape}")
    return y.astype(np.uint8)


def write_random_store(folder, n_clips, seed, label_order=LABELS):
    """A store of random waveforms and labels, to try code without data.

    ``n_clips`` for train, an eighth of them each for cv and test.
    """
    rng = np.random.default_rng(seed)
    settings = {"dataset": "random data", "labels": list(label_order)}
    files.require_space(folder, 2.8 * audio.CLIP_SAMPLES * n_clips + 2e6)
    for name in SETS:
        n_rows = n_clips if name == "train" else max(1, n_clips // 8)
        labels = [label_order[i] for i in rng.integers(0, len(label_order), n_rows)]
        names = [f"{label}/{i:08x}_nohash_0.wav" for i, label in enumerate(labels)]
        with store.ArrayWriter(Path(folder) / f"{name}_y.bc", (len(label_order),), np.uint8, settings) as writer:
            writer.append(one_hot(labels, label_order), names)
        X_path = Path(folder) / f"{name}_X.bc"
        with (
            store.ArrayWriter(X_path, (audio.CLIP_SAMPLES,), np.int16, settings) as writer,
            cli.progress(total=n_rows, desc=f"generating {name}", unit="clip") as bar,
        ):
            for start in range(0, n_rows, store.CHUNK_ROWS):
                block = names[start : start + store.CHUNK_ROWS]
                rows = rng.normal(0, 3000, (len(block), audio.CLIP_SAMPLES)) / audio.FULL_SCALE
                writer.append(audio.to_counts(rows), block)
                bar.update(len(block))


def log_mel_set(clip_set, folder):
    """The same clips as log-mel spectrograms (float32), computed once and kept in ``folder``.

    Parameters
    ----------
    clip_set : ClipSet
        Of waveforms.
    folder : str or Path
        Gets ``<set>_X_log_mel.bc``; one that is there from the same waveforms is used as it is.

    Returns
    -------
    ClipSet
    """
    path = Path(folder) / f"{clip_set.name}_X_log_mel.bc"
    features.persist(clip_set.inputs, path, "log_mel")
    return clip_set.with_inputs(store.open_array(path))


def epoch_batches(clip_set, batch_size, rng):
    """Every row of a set once, in random order, in batches; the last one may be smaller.

    Chunks are read in random order, 16 at a time, and rows shuffled among these.

    Parameters
    ----------
    clip_set : ClipSet
    batch_size : int
    rng : numpy.random.Generator

    Yields
    ------
    tuple of arrays
        Inputs as stored, one-hot labels.
    """
    chunks = clip_set.chunks()
    order = rng.permutation(len(chunks))
    rows = clip_set.inputs[0]
    left = (
        np.empty((0, *rows.shape[1:]), rows.dtype),
        clip_set.y[:0],
    )  # rows too few for a batch go on with the next chunks
    for start in range(0, len(order), BUFFER_CHUNKS):
        group = [chunks[index] for index in order[start : start + BUFFER_CHUNKS]]
        n_rows = len(left[0]) + sum(part.rows_in_chunk(chunk) for part, chunk, _ in group)
        X, y = (np.empty((n_rows, *rows.shape[1:]), rows.dtype) for rows in left)
        # Rows are shuffled as they are copied in: batches are then plain slices.
        places, filled = rng.permutation(n_rows), 0
        for rows, labels in itertools.chain([left], (_read(clip_set, *place) for place in group)):
            here = places[filled : filled + len(rows)]
            X[here], y[here] = rows, labels
            filled += len(rows)
        n_full = n_rows - n_rows % batch_size
        for begin in range(0, n_full, batch_size):
            yield X[begin : begin + batch_size], y[begin : begin + batch_size]
        left = X[n_full:], y[n_full:]
    if len(left[0]):
        yield left


def _read(clip_set, part, chunk, first):
    """Rows of a chunk and their labels."""
    rows = part.read_chunk(chunk)
    return rows, clip_set.y[first : first + len(rows)]


def steps_per_epoch(clip_set, batch_size):
    """Batches that an epoch of a set has."""
    return -(-len(clip_set) // batch_size)


def training_dataset(clip_set, batch_size, seed, first_epoch=0, augment=None, replicas=(0,), n_replicas=1):
    """Endless shuffled batches of a set, epoch after epoch, as float32 inputs and labels.

    Parameters
    ----------
    clip_set : ClipSet
    batch_size : int
    seed : int
        The same seed and epoch give the same batches.
    first_epoch : int
        Where a resumed run goes on.
    augment : callable, optional
        Takes inputs, labels and (epoch, step) of a whole batch; see :class:`utils.nets.changes.Augment`.
    replicas : sequence of int
        Which of the ``n_replicas`` parts of a batch to give, one after the other: part k has every
        ``n_replicas``-th row from the k-th on.
    n_replicas : int
    """

    def generate():
        for epoch in itertools.count(first_epoch):
            rng = np.random.default_rng([seed, epoch])
            for step, (X, y) in enumerate(epoch_batches(clip_set.of_epoch(epoch), batch_size, rng)):
                yield X, y, np.array([epoch, step], np.int32)

    def finish(X, y, moment):
        X, y = _to_model_scale(X), tf.cast(y, tf.float32)
        return augment(X, y, moment) if augment else (X, y)

    def deal(X, y):
        parts = [tf.data.Dataset.from_tensors((X[k::n_replicas], y[k::n_replicas])) for k in replicas]
        return functools.reduce(tf.data.Dataset.concatenate, parts)

    dataset = tf.data.Dataset.from_generator(
        generate, output_signature=(*_signature(clip_set), tf.TensorSpec((2,), tf.int32))
    )
    dataset = dataset.map(finish, num_parallel_calls=1)
    if n_replicas > 1:
        dataset = dataset.flat_map(deal)
    return dataset.prefetch(4).apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))


def evaluation_dataset(clip_set, batch_size):
    """Batches of a set in row order, each row once, as float32 inputs and labels; the last one may be smaller."""
    dataset = tf.data.Dataset.from_generator(clip_set.blocks, output_signature=_signature(clip_set))
    dataset = dataset.rebatch(batch_size)
    dataset = dataset.map(lambda X, y: (_to_model_scale(X), tf.cast(y, tf.float32))).prefetch(2)
    return dataset.apply(tf.data.experimental.assert_cardinality(steps_per_epoch(clip_set, batch_size)))


def _signature(clip_set):
    part = clip_set.inputs[0]
    return tf.TensorSpec((None, *part.shape[1:]), part.dtype), tf.TensorSpec((None, clip_set.y.shape[1]), tf.uint8)


def _to_model_scale(X):
    """Waveforms (stored as 16-bit counts) to amplitudes in [-1, 1); features as float32."""
    is_waveform = X.shape.rank == 2 and X.shape[1] == audio.CLIP_SAMPLES
    return tf.cast(X, tf.float32) / 32768.0 if is_waveform else tf.cast(X, tf.float32)
