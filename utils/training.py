"""What both training scripts share: settings and flags, the run folder, logs, checkpoints."""

import argparse
import dataclasses
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils import cli, datasets, evaluation, files, models
from utils.cli import CourseError
from utils.frontend import Augment
from utils.labels import LABELS, SILENCE
from utils.quiet import keras, tf

RUNS = Path("runs")
NOISE_CLIPS = 1000  # of the training set's silence, mixed into other clips
RANDOM_EPOCHS = 5  # there is nothing to learn from random data
HISTOGRAMS = 20  # times in a run that histograms of the weights are written


@dataclass(frozen=True)
class Recipe:
    """How a model is trained unless flags say otherwise."""

    epochs: int
    batch_size: int
    learning_rate: float
    warm_up: float = 0.0  # share of all steps in which the rate rises
    cosine: bool = False  # whether the rate then falls along a cosine
    weight_decay: float = 0.0
    label_smoothing: float = 0.0


# The networks on log-mel spectrograms; and conv1d as the original trained it.
DEFAULT_RECIPE = Recipe(200, 64, 4e-3, warm_up=0.03, cosine=True, weight_decay=0.01, label_smoothing=0.1)
RECIPES = {"conv1d": Recipe(20, 32, 1e-4)}


def recipe_of(model_name):
    """Recipe of a model."""
    return RECIPES.get(model_name, DEFAULT_RECIPE)


def parse_bool(text):
    """Argument type: True or False, written in any case."""
    if text.lower() in ("true", "1", "yes"):
        return True
    if text.lower() in ("false", "0", "no"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither True nor False")


def _run_name(text):
    if not text or text.startswith(".") or any(c in text for c in '/\\:*?"<>|'):
        raise argparse.ArgumentTypeError(f"{text!r} is no name for a folder")
    return text


def _flag(default, type_, text, **settings):
    return dataclasses.field(default=default, metadata={"type": type_, "help": text, **settings})


def _by_model(key):
    values = {name: getattr(recipe_of(name), key) for name in models.NETWORKS}
    return ", ".join(f"{value} for {name}" for name, value in values.items())


@dataclass
class Settings:
    """One training run; each field is a flag of both scripts."""

    path_to_data: str = _flag("data/main/preprocessed", str, "folder of the arrays to train on")
    random_data: bool = _flag(
        False, parse_bool, "train on random data, to try the code", nargs="?", const=True, metavar="BOOL"
    )
    random_examples: int = _flag(512, cli.positive_int, "clips of random data", metavar="N")
    model: str = _flag(models.DEFAULT, models.model_name, "one of " + ", ".join(models.NETWORKS), metavar="NAME")
    epochs: int = _flag(
        None, cli.positive_int, f"default: {_by_model('epochs')}, {RANDOM_EPOCHS} on random data", metavar="N"
    )
    batch_size: int = _flag(None, cli.positive_int, f"default: {_by_model('batch_size')}", metavar="N")
    learning_rate: float = _flag(
        None, cli.positive_float, f"highest rate; default: {_by_model('learning_rate')}", metavar="RATE"
    )
    seed: int = _flag(0, int, "of weights, order and augmentation: same seed, same result on a CPU")
    logdir: str = _flag("tf_logs", str, "folder of TensorBoard logs")
    logrun: str = _flag("latest", _run_name, "name of the run: runs/LOGRUN and LOGDIR/LOGRUN")
    resume: bool = _flag(False, None, "go on with run LOGRUN where it was stopped", action="store_true")
    max_steps: int = _flag(None, cli.positive_int, "stop after N steps (a smoke run)", metavar="N")

    def __post_init__(self):
        if self.random_data and self.epochs is None:
            self.epochs = RANDOM_EPOCHS
        for field in ("epochs", "batch_size", "learning_rate"):
            if getattr(self, field) is None:
                setattr(self, field, getattr(recipe_of(self.model), field))


# What a resumed run may change; all else is as in the run's config.json.
FREE_ON_RESUME = ("epochs", "resume", "max_steps", "logdir", "logrun")


def parse_settings(description, arguments=None):
    """Settings from the command line.

    Those of a resumed run come from its folder; a flag that contradicts them is an error.
    """
    parser = cli.Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for field in dataclasses.fields(Settings):
        details = dict(field.metadata)
        if field.default not in (None, False):
            details["help"] += f" (default: {field.default})"
        if details.get("action"):
            del details["type"]
        parser.add_argument(f"--{field.name}", default=argparse.SUPPRESS, **details)
    given = vars(parser.parse_args(arguments))
    if not given.get("resume"):
        return Settings(**given)
    run = RunFolder(given.get("logrun", "latest"))
    saved = run.saved_settings()
    for name, value in given.items():
        if name not in FREE_ON_RESUME and saved.get(name, value) != value:
            parser.error(f"--{name} was {saved[name]} in {run.final} and cannot change on --resume")
    free = {name: value for name, value in given.items() if name in FREE_ON_RESUME}
    return Settings(**{**saved, "max_steps": None, **free})


class RunFolder:
    """``runs/<logrun>``: replaced only when the new run has ended well.

    Until then the run lies in a hidden folder beside it, from which ``--resume`` goes on.
    """

    def __init__(self, logrun):
        self.final = RUNS / logrun
        self.work = RUNS / f".{logrun}.partial"

    def saved_settings(self):
        """Settings of the run that ``--resume`` goes on with."""
        files.recover(self.final)
        folder = self.work if (self.work / "config.json").exists() else self.final
        config = files.read_json(folder / "config.json")
        if config is None:
            raise CourseError(f"{self.final} holds no run to go on with: start one without --resume")
        names = {field.name for field in dataclasses.fields(Settings)}
        return {name: value for name, value in config.items() if name in names}

    def start(self, config, resume):
        """Make the work folder, or go on in the one that is there."""
        files.recover(self.final)
        if not resume:
            files.remove(self.work)
        elif not (self.work / "config.json").exists():
            files.remove(self.work)
            shutil.copytree(self.final, self.work)
        self.work.mkdir(parents=True, exist_ok=True)
        files.write_json(self.work / "config.json", config)
        files.write_text(self.work / "labels.txt", "\n".join(LABELS) + "\n")

    def finish(self, result):
        """Write ``result.json`` and put the run in its place."""
        files.write_json(self.work / "result.json", result)
        files.replace(self.work, self.final)


class RunLog:
    """Loss and accuracy by epoch: ``log.csv``, TensorBoard, a line on the terminal.

    Parameters
    ----------
    folder : Path
        Gets ``log.csv``.
    board : Path
        TensorBoard folder of the run.
    first_epoch : int
        Epochs before it are kept from a run that is resumed, the rest is dropped.
    """

    HEADER = "step,epoch,split,loss,accuracy,seconds\n"

    def __init__(self, folder, board, first_epoch=0):
        self._path = folder / "log.csv"
        if first_epoch == 0:
            files.remove(board)
            self._lines = [self.HEADER]
        else:
            lines = self._path.read_text().splitlines(keepends=True)
            self._lines = [lines[0], *(line for line in lines[1:] if int(line.split(",")[1]) <= first_epoch)]
        self._writer = tf.summary.create_file_writer(str(board))

    def write_graph(self, model):
        """The graph of a model, for TensorBoard's Graphs tab."""
        call = tf.function(lambda waveforms: model(waveforms, training=False))
        graph = call.get_concrete_function(tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)).graph
        with self._writer.as_default(step=0):
            tf.summary.graph(graph)

    def write_histograms(self, model, step):
        """Histograms of a model's weights."""
        with self._writer.as_default(step=step):
            for weight in model.trainable_variables:
                tf.summary.histogram(weight.path, weight)

    def write(self, step, epoch, epochs, train, cv, learning_rate, seconds):
        """One epoch; ``train`` and ``cv`` are (loss, accuracy)."""
        for split, (loss, accuracy) in (("train", train), ("cv", cv)):
            self._lines.append(f"{step},{epoch},{split},{loss:.6f},{accuracy:.6f},{seconds:.1f}\n")
        files.write_text(self._path, "".join(self._lines))
        with self._writer.as_default(step=step):
            for split, (loss, accuracy) in (("train", train), ("cv", cv)):
                tf.summary.scalar(f"loss/{split}", loss)
                tf.summary.scalar(f"accuracy/{split}", accuracy)
            tf.summary.scalar("learning_rate", learning_rate)
        self._writer.flush()
        print(
            f"epoch {epoch:3d}/{epochs}  train: loss {train[0]:.3f} accuracy {train[1]:.3f}  "
            f"cv: loss {cv[0]:.3f} accuracy {cv[1]:.3f}  {seconds:.0f} s",
            flush=True,
        )


class RunCallback(keras.callbacks.Callback):
    """Keras side of a run: log, best and last checkpoint, resume, the smoke run's end.

    Parameters
    ----------
    run : RunFolder
    settings : Settings
    model : keras.Model
        The whole model, whose learning part ``fit`` trains.
    board : Path
        TensorBoard folder of the run.
    """

    def __init__(self, run, settings, model, board):
        super().__init__()
        self._run, self._settings, self._whole, self._board = run, settings, model, board
        self.epoch, self.step, self.seconds = 0, 0, 0.0
        self._best = (-1.0, 0.0)  # validation accuracy, minus validation loss
        self.best_path = run.work / "best" / "model.weights.h5"
        self._last_path = run.work / "last" / "checkpoint.npz"
        for path in (self.best_path, self._last_path):
            path.parent.mkdir(exist_ok=True)

    def restore(self, part):
        """Go on from the last checkpoint, if there is one: weights, optimizer, counters."""
        if self._settings.resume and self._last_path.exists():
            with np.load(self._last_path, allow_pickle=False) as saved:
                self.epoch, self.step = int(saved["epoch"]), int(saved["step"])
                self.seconds, self._best = float(saved["seconds"]), tuple(saved["best"].tolist())
                for index, variable in enumerate(_state(part)):
                    variable.assign(saved[f"variable_{index}"])
            print(f"resumed after epoch {self.epoch}")
        self._log = RunLog(self._run.work, self._board, self.epoch)
        self._log.write_graph(self._whole)

    def on_epoch_begin(self, epoch, logs=None):
        """Start the clock."""
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        """Count the step; end a smoke run."""
        self.step += 1
        if self.step == self._settings.max_steps:
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        """Log the epoch, keep the best weights, write the checkpoint."""
        self.epoch = epoch + 1
        self.seconds += time.perf_counter() - self._started
        self._log.write(
            self.step,
            self.epoch,
            self._settings.epochs,
            (logs["loss"], logs["accuracy"]),
            (logs["val_loss"], logs["val_accuracy"]),
            float(self.model.optimizer.learning_rate),
            self.seconds,
        )
        if self.epoch % max(1, self._settings.epochs // HISTOGRAMS) == 0:
            self._log.write_histograms(self.model, self.step)
        if (logs["val_accuracy"], -logs["val_loss"]) > self._best:
            self._best = (logs["val_accuracy"], -logs["val_loss"])
            partial = self.best_path.with_name("partial.weights.h5")
            self._whole.save_weights(partial)
            partial.replace(self.best_path)
        self._save_last()

    def _save_last(self):
        partial = self._last_path.with_name("partial.npz")
        np.savez(
            partial,
            epoch=self.epoch,
            step=self.step,
            seconds=self.seconds,
            best=self._best,
            **{f"variable_{index}": variable.numpy() for index, variable in enumerate(_state(self.model))},
        )
        partial.replace(self._last_path)


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
        datasets.write_random_store(path, settings.random_examples, settings.seed)
    sets = datasets.open_store(path)
    for name, clip_set in sets.items():
        print(f"{name}: X {(len(clip_set), *clip_set.inputs[0].shape[1:])}, y {clip_set.y.shape}")
    published = "the original course's published arrays"
    return sets, sets["test"].inputs[0].settings.get("dataset", published), path


def network_inputs(sets, model, store_folder, spare_folder):
    """Training and validation sets as the learning part of a model takes them.

    Log-mel spectrograms are kept beside the waveforms, or in ``spare_folder`` where the data
    is read-only.
    """
    if not models.has_front_end(model):
        return sets["train"], sets["cv"]
    folder = store_folder if os.access(store_folder, os.W_OK) else spare_folder
    if folder != store_folder:
        print(f"{store_folder} is read-only: log-mel spectrograms are kept in {folder} for this run")
    return tuple(datasets.log_mel_set(sets[name], folder) for name in ("train", "cv"))


def make_augment(train, seed):
    """Augmentation of a training set of log-mel spectrograms, with its own silence as noise."""
    silent = train.y[:, LABELS.index(SILENCE)] == 1
    noise, n_found = [], 0
    first = 0
    for rows, _ in train.blocks():
        found = rows[silent[first : first + len(rows)]]
        noise.append(found)
        n_found += len(found)
        first += len(rows)
        if n_found >= NOISE_CLIPS:
            break
    return Augment(np.concatenate(noise)[:NOISE_CLIPS], seed)


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


def predict_labels(predict, clip_set, batch_size=256):
    """Label index of each row of a set of waveforms, in row order."""
    batches = datasets.evaluation_dataset(clip_set, batch_size)
    return np.concatenate([np.argmax(predict(X), axis=1) for X, _ in batches])


def summarize(settings, model, sets, dataset, epochs, seconds, predict):
    """What ``result.json`` holds: validation and test accuracy of the finished model.

    The test set is touched here, once.
    """
    names = [f"{name}/{file}" for name, clip_set in sets.items() for file in clip_set.names]
    scores = {
        name: evaluation.score(sets[name].y.argmax(axis=1), predict_labels(predict, sets[name]), sets[name].names)
        for name in ("cv", "test")
    }
    return {
        "dataset": dataset,
        "dataset_hash": evaluation.hash_names(names),
        "model": settings.model,
        "parameters": model.count_params(),
        "macs": models.count_macs(model),
        "epochs": epochs,
        "seconds": round(seconds, 1),
        "cv_accuracy": scores["cv"]["accuracy"],
        "test_accuracy": scores["test"]["accuracy"],
        "test_interval": scores["test"]["interval"],
        "per_label": scores["test"]["per_label"],
        "confusion": scores["test"]["confusion"],
    }


def report(result, sets):
    """Print a result with what it stands on."""
    low, high = result["test_interval"]
    over = "speakers" if sets["test"].names else "clips"
    print(
        f"{result['dataset']} (files {result['dataset_hash']}), {result['model']}: "
        f"{result['parameters']:,} parameters, {result['macs'] / 1e6:.1f} M multiply-accumulates\n"
        f"validation accuracy {result['cv_accuracy']:.4f} on {len(sets['cv'])} clips\n"
        f"test accuracy {result['test_accuracy']:.4f} on {len(sets['test'])} clips, "
        f"95 % interval {low:.3f} to {high:.3f} (over {over})"
    )
