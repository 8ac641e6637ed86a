"""What both training scripts share: data, schedule, checkpoints of Keras, the result."""

import contextlib
import dataclasses
import os
from pathlib import Path

import numpy as np

from utils import audio, datasets, evaluation, models, runs, trained
from utils.labels import LABELS, SILENCE, with_extras
from utils.nets import devices
from utils.nets.changes import Augment, WaveformAugment
from utils.settings import RECIPES, Settings, parse
from utils.system import files
from utils.system.cli import CourseError
from utils.system.quiet import keras, tf

NOISE_CLIPS = 1000  # of the training set's silence, mixed into other clips
TEACHER_SHARE = 0.5  # of what is to be learned, if there is a teacher


def parse_settings(script, description, arguments=None, check=None):
    """Settings of a script from the command line, see :func:`settings.parse`; a resumed run's come from its folder."""

    def read_saved(logrun):
        # The chief alone has a folder: the workers that follow it go by the flags they are given.
        return None if devices.follows_chief() else runs.RunFolder(logrun, "", script).saved_settings()

    return parse(description, read_saved, arguments, check)


@contextlib.contextmanager
def owned_run(settings, strategy, script):
    """Folders of the run for this process alone, see :meth:`runs.RunFolder.owned`; None for all workers but the chief.

    Nothing has been read or written before.
    """
    if not devices.is_chief(strategy):
        yield None
        return
    read = {"--teacher": settings.teacher} if settings.teacher else {}
    if not settings.random_data:
        read["--path_to_data"] = settings.path_to_data
        if settings.logdir != Settings.logdir:
            files.require_apart({"--logdir": settings.logdir, "--path_to_data": settings.path_to_data})
    run = runs.RunFolder(settings.logrun, settings.logdir, script)
    data = contextlib.nullcontext() if settings.random_data else files.reading(settings.path_to_data)
    with run.owned(read), data:
        try:
            yield run
        except KeyboardInterrupt:
            raise KeyboardInterrupt(run.how_to_resume) from None


class RunCallback(keras.callbacks.Callback):
    """Keras side of a run: best and last checkpoint, resume, the smoke run's end.

    Parameters
    ----------
    run : RunFolder
    settings : Settings
    model : keras.Model
        The whole model, whose learning part ``fit`` trains.
    """

    def __init__(self, run, settings, model):
        super().__init__()
        self._run, self._settings, self._whole = run, settings, model
        self.best_path = run.work / "best" / "weights.npz"
        self._last_path = run.work / "last" / "checkpoint.npz"
        for path in (self.best_path, self._last_path):
            path.parent.mkdir(exist_ok=True)

    def restore(self, part):
        """Go on from the last checkpoint, if there is one: weights, optimizer, counters."""
        state = None
        if self._settings.resume and self._last_path.exists():
            state = read_variables(self._last_path, _state(part))
        self.journal = runs.Journal(self._run, self._settings, state)
        self.journal.log.write_graph(lambda waveforms: self._whole(waveforms, training=False))

    def on_epoch_begin(self, epoch, logs=None):
        """Start the clock."""
        self._first_step = self.journal.step
        self.journal.begin_epoch()

    def on_train_batch_end(self, batch, logs=None):
        """Count the steps, of which Keras takes some at once; end a smoke run."""
        self.journal.step = self._first_step + batch + 1
        if self.journal.is_over:
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        """Log the epoch, keep the best weights, write the checkpoint."""
        train, cv = ((logs[f"{of}loss"], logs[f"{of}accuracy"]) for of in ("", "val_"))
        weights = [(weight.path, weight) for weight in self._whole.trainable_variables]
        with self._run.writing():
            if self.journal.end_epoch(train, cv, float(self.model.optimizer.learning_rate), weights):
                write_variables(self.best_path, self._whole.variables)
            write_variables(self._last_path, _state(self.model), self.journal.state)


def write_variables(path, variables, others=None):
    """Keep variables in one file of numpy's, and other values by name.

    Not in Keras's HDF5, which crashes where the disk is full.
    """
    arrays = {f"variable_{index}": variable.numpy() for index, variable in enumerate(variables)}
    with files.new_file(path) as file:
        np.savez(file, **(others or {}), **arrays)


def read_variables(path, variables):
    """Set variables from a file of :func:`write_variables`, in the same order; the other values by name."""
    with models.reading(path), np.load(path, allow_pickle=False) as saved:
        others = {name: saved[name] for name in saved.files if not name.startswith("variable_")}
        n_saved = len(saved.files) - len(others)
        if n_saved != len(variables):
            raise CourseError(f"{path} holds {n_saved} variables and the network has {len(variables)}: begin anew")
        for index, variable in enumerate(variables):
            variable.assign(saved[f"variable_{index}"])
        return others


def _state(model):
    """All variables that decide how training goes on: weights, averages, random states, optimizer."""
    return [*model.variables, *model.optimizer.variables]


def open_data(settings, folder):
    """The data sets of a run: a store, or random data made in ``folder``.

    Returns
    -------
    dict of str -> datasets.ClipSet
        Of waveforms.
    str
        Name of the data.
    Path
        Where the store lies.
    """
    path = Path(settings.path_to_data)
    if settings.random_data:
        path = Path(folder)
        print(f"generating {settings.random_examples} random clips")
        labels = with_extras(settings.keywords) if settings.keywords else LABELS
        datasets.write_random_store(path, settings.random_examples, settings.seed, labels)
    sets = datasets.open_store(path)
    labels = sets["train"].label_order
    if settings.keywords and with_extras(settings.keywords) != labels:
        raise CourseError(
            f"{path} was prepared for {','.join(labels)}: leave out --keywords, or run python -m utils.prepare "
            f"--keywords {','.join(settings.keywords)}"
        )
    published = "the original course's published arrays"
    dataset = sets["test"].inputs[0].settings.get("dataset", published)
    print(f"data: {dataset}")
    for name, clip_set in sets.items():
        print(f"{name}: X {(len(clip_set), *clip_set.inputs[0].shape[1:])}, y {clip_set.y.shape}")
    return sets, dataset, path


def make_config(run, settings, sets, dataset):
    """What config.json of a run is to hold; one that is gone on with must have begun on these sets."""
    config = {**dataclasses.asdict(settings), "dataset": dataset, "dataset_hash": hash_data(sets)}
    if settings.resume:
        run.require_same_data(sets["train"], config)
    return config


def hash_data(sets):
    """Twelve hex digits that name the clips of a store; where they have no names, how many there are."""
    names = [f"{name}/{file}" for name, clip_set in sets.items() for file in clip_set.names or [len(clip_set)]]
    return evaluation.hash_names(names)


def steps_per_epoch(settings, train):
    """Batches that an epoch of a run has; ``train`` is the set of recorded clips."""
    n_made = datasets.count_made(len(train)) if settings.negatives else 0
    return -(-(len(train) + n_made) // settings.batch_size)


def network_inputs(sets, as_log_mel, store_folder, spare_folder, with_negatives=False):
    """Training and validation sets as the learning part of a model takes them.

    Log-mel spectrograms and made clips, which are for training alone, are kept beside the waveforms, or in
    ``spare_folder`` where the data is read-only.
    """
    train, cv = sets["train"], sets["cv"]
    folder = store_folder if os.access(store_folder, os.W_OK) else spare_folder
    if folder != store_folder and (as_log_mel or with_negatives):
        print(f"{store_folder} is read-only: what is computed of it is kept in {folder} for this run")
    if as_log_mel:
        train, cv = (datasets.log_mel_set(clip_set, folder) for clip_set in (train, cv))
    if with_negatives:
        train = datasets.WithMade(train, datasets.made_set(sets["train"], folder, as_log_mel))
    return train, cv


def make_changes(settings, train):
    """What is done to each batch of a training set: augmentation, a teacher's answers, or None."""
    strength = RECIPES[settings.recipe].strength
    augment = make_augment(train, settings.seed, strength) if settings.augment else None
    return teach(augment, load_teacher(settings.teacher, train)) if settings.teacher else augment


def load_teacher(folder, train):
    """Network of a run of ``train_keras.py`` that takes what a training set holds."""
    folder = trained.find_run(folder)
    path, labels = folder / "model.keras", trained.read_labels(folder)
    if not path.exists():
        raise CourseError(f"--teacher {folder} holds no model.keras: name the folder of a run of train_keras.py")
    datasets.require_labels(train, labels, f"--teacher {folder}", "name one that has learned the same labels")
    with tf.device("CPU"):  # as what is done to batches
        teacher = models.load_model(path)
    runs.require_outputs(folder, labels, teacher.output_shape[-1])
    if train.inputs[0].shape[1:] == (audio.CLIP_SAMPLES,):
        return teacher
    if not models.has_front_end(teacher):
        raise CourseError(f"--teacher {folder} takes waveforms, and the network it is to teach log-mel spectrograms")
    return models.learning_part(teacher)


def teach(augment, teacher):
    """Augmentation whose labels are half what a trained network says of the augmented clip: distillation.

    Parameters
    ----------
    augment : callable or None
        See :func:`make_augment`.
    teacher : keras.Model
        Takes what ``augment`` gives; ends in logits.

    References
    ----------
    Hinton et al. (2015), Distilling the Knowledge in a Neural Network, arXiv:1503.02531; with a teacher of the same
    size, Furlanello et al. (2018), Born-Again Neural Networks, arXiv:1805.04770.
    """

    def change(X, y, moment):
        if augment:
            X, y = augment(X, y, moment)
        return X, (1 - TEACHER_SHARE) * y + TEACHER_SHARE * tf.nn.softmax(teacher(X, training=False))

    return change


def make_augment(train, seed, strength):
    """Augmentation of a training set, of waveforms or log-mel spectrograms, with its own silence as noise.

    Where there is made silence, half of the noise is of that kind.
    """
    parts = [train.recorded, train.made] if isinstance(train, datasets.WithMade) else [train]
    noise = np.concatenate([_silent_rows(part, NOISE_CLIPS // len(parts)) for part in parts])
    is_waveform = noise.shape[1:] == (audio.CLIP_SAMPLES,)
    if is_waveform:
        return WaveformAugment(audio.to_waveform(noise), seed, strength)
    return Augment(noise, seed, strength, train.label_order.index(SILENCE))


def _silent_rows(clip_set, most):
    """The first rows of a set that are silence."""
    silent = clip_set.y[:, clip_set.label_order.index(SILENCE)] == 1
    found, n_found, first = [], 0, 0
    for rows, _ in clip_set.blocks():
        found.append(rows[silent[first : first + len(rows)]])
        n_found += len(found[-1])
        first += len(rows)
        if n_found >= most:
            break
    return np.concatenate(found)[:most]


def make_schedule(recipe, learning_rate, total_steps):
    """Learning rate by step: constant, or a short rise and a cosine to zero."""
    if not recipe.cosine:
        return learning_rate
    warm_up = max(1, int(recipe.warm_up * total_steps))
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=max(1, total_steps - warm_up),
        warmup_target=learning_rate,
        warmup_steps=warm_up,
    )


def predict_labels(predict, clip_set, batch_size=64):
    """Label index of each row of a set of waveforms, in row order."""
    batches = datasets.evaluation_dataset(clip_set, batch_size)
    return np.concatenate([np.argmax(predict(X), axis=1) for X, _ in batches])


def summarize(settings, model, sets, dataset, journal, predict):
    """What ``result.json`` holds: validation and test accuracy of the finished model.

    ``predict`` is a function from waveforms to logits; of ``model``, parameters and multiply-accumulates
    are counted. The test set is touched here, once.
    """
    scores = {}
    for name in ("cv", "test"):
        clip_set = sets[name]
        found = predict_labels(predict, clip_set)
        scores[name] = evaluation.score(clip_set.y.argmax(axis=1), found, clip_set.names, clip_set.label_order)
    journal.log.write_confusion(scores["cv"]["confusion"], sets["cv"].label_order, journal.step)
    journal.log.close()
    return {
        "dataset": dataset,
        "dataset_hash": hash_data(sets),
        "model": settings.model,
        "parameters": model.count_params(),
        "macs": models.count_macs(model),
        "epochs": journal.epoch,
        "seconds": round(journal.seconds, 1),
        "cv_accuracy": scores["cv"]["accuracy"],
        "test_accuracy": scores["test"]["accuracy"],
        "test_interval": scores["test"]["interval"],
        "per_label": scores["test"]["per_label"],
        "confusion": scores["test"]["confusion"],
    }


def report(result, sets):
    """Print a result with what it stands on."""
    low, high = result["test_interval"]
    names = sets["test"].names
    interval = f"95 % interval {low:.3f} to {high:.3f} (over {'speakers' if names else 'clips'})"
    if names and (n_people := evaluation.count_speakers(names)) < evaluation.FEW_SPEAKERS:
        interval = f"{n_people} speaker(s): too few speakers for an interval over them"
    print(
        f"{result['dataset']} (files {result['dataset_hash']}), {result['model']}: "
        f"{result['parameters']:,} parameters, {result['macs'] / 1e6:.1f} M multiply-accumulates\n"
        f"validation accuracy {result['cv_accuracy']:.4f} on {len(sets['cv'])} clips\n"
        f"test accuracy {result['test_accuracy']:.4f} on {len(sets['test'])} clips, {interval}"
    )
