"""What both training scripts share: the run folder, logs, checkpoints, the result."""

import dataclasses
import io
import os
import shutil
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from utils import audio, datasets, evaluation, files, flags, models, plots, strategies
from utils.cli import CourseError
from utils.frontend import Augment, WaveformAugment
from utils.labels import LABELS, SILENCE, with_extras
from utils.quiet import keras, tf

RUNS = Path("runs")
NOISE_CLIPS = 1000  # of the training set's silence, mixed into other clips
HISTOGRAMS = 20  # times in a run that histograms of the weights are written


def parse_settings(script, description, arguments=None, check=None):
    """Settings of a script from the command line, see :func:`flags.parse`; a resumed run's come from its folder."""

    def read_saved(logrun):
        # The chief alone has a folder: the workers that follow it go by the flags they are given.
        return None if strategies.follows_chief() else RunFolder(logrun, script).saved_settings()

    return flags.parse(description, read_saved, arguments, check)


class RunFolder:
    """``runs/<logrun>``: replaced only when the new run has ended well.

    Until then the run lies in a hidden folder beside it, from which ``--resume`` goes on. Only the script
    that began a run can read its checkpoints.
    """

    def __init__(self, logrun, script):
        self._script = script
        self.final = RUNS / logrun
        self.work = RUNS / f".{logrun}.partial"

    def saved_settings(self):
        """Settings of the run that ``--resume`` goes on with."""
        files.recover(self.final)
        folder = self.work if (self.work / "config.json").exists() else self.final
        config = files.read_json(folder / "config.json")
        if config is None:
            raise CourseError(f"{self.final} holds no run to go on with: start one without --resume")
        if config.get("script", self._script) != self._script:
            raise CourseError(f"{self.final} was begun by {config['script']}: resume it with that")
        names = {field.name for field in dataclasses.fields(flags.Settings)}
        return {name: value for name, value in config.items() if name in names}

    def start(self, config, labels, resume):
        """Make the work folder, or go on in the one that is there."""
        files.recover(self.final)
        if not resume:
            files.remove(self.work)
        elif not (self.work / "config.json").exists():
            files.remove(self.work)
            shutil.copytree(self.final, self.work)
        self.work.mkdir(parents=True, exist_ok=True)
        files.write_json(self.work / "config.json", {"script": self._script, **config})
        files.write_text(self.work / "labels.txt", "\n".join(labels) + "\n")

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

    def write_graph(self, model, spec):
        """The graph of a model (a function of a tensor like ``spec``), for TensorBoard's Graphs tab."""
        graph = tf.function(model).get_concrete_function(spec).graph
        with self._writer.as_default(step=0):
            tf.summary.graph(graph)

    def write_clips(self, clip_set):
        """The first clip of each label, to listen to."""
        rows, y = next(clip_set.blocks())
        with self._writer.as_default(step=0):
            for index in sorted(set(y.argmax(axis=1))):
                waveform = audio.to_waveform(rows[y.argmax(axis=1) == index][:1])
                name = f"clip/{clip_set.label_order[index]}"
                tf.summary.audio(name, waveform[:, :, None], audio.SAMPLE_RATE)

    def write_confusion(self, counts, labels, step):
        """The confusion matrix of the validation set, as a picture."""
        figure = Figure(figsize=(7, 7), layout="constrained")
        plots.plot_confusion(figure.subplots(), counts, labels)
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=80)
        with self._writer.as_default(step=step):
            tf.summary.image("confusion/cv", tf.image.decode_png(png.getvalue(), channels=3)[None])
        self._writer.flush()

    def write_histograms(self, weights, step):
        """Histograms of named weights."""
        with self._writer.as_default(step=step):
            for name, weight in weights:
                tf.summary.histogram(name, weight)

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


class Journal:
    """What both scripts keep of a run as it goes on: counters, log, TensorBoard, which epoch was best.

    Parameters
    ----------
    run : RunFolder
    settings : Settings
    board : Path
        TensorBoard folder of the run.
    state : dict, optional
        :attr:`state` of the run that is gone on with.

    Attributes
    ----------
    log : RunLog
    """

    def __init__(self, run, settings, board, state=None):
        self._settings = settings
        state = state or {"epoch": 0, "step": 0, "seconds": 0.0, "best": (-1.0, 0.0)}
        self.epoch, self.step, self.seconds = int(state["epoch"]), int(state["step"]), float(state["seconds"])
        self._best = tuple(float(value) for value in state["best"])  # validation accuracy, minus validation loss
        if self.epoch:
            print(f"resumed after epoch {self.epoch}")
        self.log = RunLog(run.work, board, self.epoch)

    @property
    def state(self):
        """What a checkpoint has to hold of it."""
        return {"epoch": self.epoch, "step": self.step, "seconds": self.seconds, "best": self._best}

    def begin_epoch(self):
        """Start the clock."""
        self._started = time.perf_counter()

    def end_epoch(self, train, cv, learning_rate, weights):
        """Log an epoch; whether it is the best so far.

        Parameters
        ----------
        train, cv : (float, float)
            Loss and accuracy.
        learning_rate : float
        weights : sequence of (str, tensor)
            For histograms, which are written now and then.
        """
        self.epoch += 1
        self.seconds += time.perf_counter() - self._started
        self.log.write(self.step, self.epoch, self._settings.epochs, train, cv, learning_rate, self.seconds)
        if self.epoch % max(1, self._settings.epochs // HISTOGRAMS) == 0:
            self.log.write_histograms(weights, self.step)
        found = cv[1], -cv[0]
        is_best = found > self._best
        self._best = max(found, self._best)
        return is_best


class RunCallback(keras.callbacks.Callback):
    """Keras side of a run: best and last checkpoint, resume, the smoke run's end.

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
        self.best_path = run.work / "best" / "model.weights.h5"
        self._last_path = run.work / "last" / "checkpoint.npz"
        for path in (self.best_path, self._last_path):
            path.parent.mkdir(exist_ok=True)

    def restore(self, part):
        """Go on from the last checkpoint, if there is one: weights, optimizer, counters."""
        state = None
        if self._settings.resume and self._last_path.exists():
            with np.load(self._last_path, allow_pickle=False) as saved:
                state = {name: saved[name] for name in ("epoch", "step", "seconds", "best")}
                for index, variable in enumerate(_state(part)):
                    variable.assign(saved[f"variable_{index}"])
        self.journal = Journal(self._run, self._settings, self._board, state)
        spec = tf.TensorSpec((None, *self._whole.input_shape[1:]))
        self.journal.log.write_graph(lambda waveforms: self._whole(waveforms, training=False), spec)

    def on_epoch_begin(self, epoch, logs=None):
        """Start the clock."""
        self._first_step = self.journal.step
        self.journal.begin_epoch()

    def on_train_batch_end(self, batch, logs=None):
        """Count the steps, of which Keras takes some at once; end a smoke run."""
        self.journal.step = self._first_step + batch + 1
        if self._settings.max_steps and self.journal.step >= self._settings.max_steps:
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        """Log the epoch, keep the best weights, write the checkpoint."""
        train, cv = ((logs[f"{of}loss"], logs[f"{of}accuracy"]) for of in ("", "val_"))
        weights = [(weight.path, weight) for weight in self._whole.trainable_variables]
        if self.journal.end_epoch(train, cv, float(self.model.optimizer.learning_rate), weights):
            partial = self.best_path.with_name("partial.weights.h5")
            self._whole.save_weights(partial)
            partial.replace(self.best_path)
        partial = self._last_path.with_name("partial.npz")
        variables = {f"variable_{index}": variable.numpy() for index, variable in enumerate(_state(self.model))}
        np.savez(partial, **self.journal.state, **variables)
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
        labels = with_extras(settings.keywords) if settings.keywords else LABELS
        datasets.write_random_store(path, settings.random_examples, settings.seed, labels)
    sets = datasets.open_store(path)
    labels = sets["train"].label_order
    if any(clip_set.label_order != labels for clip_set in sets.values()):
        raise CourseError(f"{path}: train, cv and test have other labels than each other: run python -m utils.prepare")
    if settings.keywords and with_extras(settings.keywords) != labels:
        raise CourseError(
            f"{path} was prepared for {','.join(labels)}: leave out --keywords, or run python -m utils.prepare "
            f"--keywords {','.join(settings.keywords)}"
        )
    for name, clip_set in sets.items():
        print(f"{name}: X {(len(clip_set), *clip_set.inputs[0].shape[1:])}, y {clip_set.y.shape}")
    published = "the original course's published arrays"
    return sets, sets["test"].inputs[0].settings.get("dataset", published), path


def network_inputs(sets, as_log_mel, store_folder, spare_folder):
    """Training and validation sets as the learning part of a model takes them.

    Log-mel spectrograms are kept beside the waveforms, or in ``spare_folder`` where the data
    is read-only.
    """
    if not as_log_mel:
        return sets["train"], sets["cv"]
    folder = store_folder if os.access(store_folder, os.W_OK) else spare_folder
    if folder != store_folder:
        print(f"{store_folder} is read-only: log-mel spectrograms are kept in {folder} for this run")
    return tuple(datasets.log_mel_set(sets[name], folder) for name in ("train", "cv"))


def make_augment(train, seed):
    """Augmentation of a training set, of waveforms or log-mel spectrograms, with its own silence as noise."""
    silent = train.y[:, train.label_order.index(SILENCE)] == 1
    noise, n_found = [], 0
    first = 0
    for rows, _ in train.blocks():
        found = rows[silent[first : first + len(rows)]]
        noise.append(found)
        n_found += len(found)
        first += len(rows)
        if n_found >= NOISE_CLIPS:
            break
    noise = np.concatenate(noise)[:NOISE_CLIPS]
    is_waveform = noise.shape[1:] == (audio.CLIP_SAMPLES,)
    return WaveformAugment(audio.to_waveform(noise), seed) if is_waveform else Augment(noise, seed)


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


def summarize(settings, model, sets, dataset, journal, predict):
    """What ``result.json`` holds: validation and test accuracy of the finished model.

    ``predict`` is a function from waveforms to logits; of ``model``, parameters and multiply-accumulates
    are counted. The test set is touched here, once.
    """
    names = [f"{name}/{file}" for name, clip_set in sets.items() for file in clip_set.names]
    scores = {}
    for name in ("cv", "test"):
        clip_set = sets[name]
        found = predict_labels(predict, clip_set)
        scores[name] = evaluation.score(clip_set.y.argmax(axis=1), found, clip_set.names, clip_set.label_order)
    journal.log.write_confusion(scores["cv"]["confusion"], sets["cv"].label_order, journal.step)
    return {
        "dataset": dataset,
        "dataset_hash": evaluation.hash_names(names),
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
    over = "speakers" if sets["test"].names else "clips"
    print(
        f"{result['dataset']} (files {result['dataset_hash']}), {result['model']}: "
        f"{result['parameters']:,} parameters, {result['macs'] / 1e6:.1f} M multiply-accumulates\n"
        f"validation accuracy {result['cv_accuracy']:.4f} on {len(sets['cv'])} clips\n"
        f"test accuracy {result['test_accuracy']:.4f} on {len(sets['test'])} clips, "
        f"95 % interval {low:.3f} to {high:.3f} (over {over})"
    )
