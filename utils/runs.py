"""A training run on disk: its folder, its log, what TensorBoard shows of it."""

import contextlib
import dataclasses
import errno
import io
import itertools
import os
import shutil
import time
from pathlib import Path

from matplotlib.figure import Figure

from utils import audio, datasets, plots, web
from utils.settings import Settings
from utils.system import files
from utils.system.cli import BadUse, CourseError, hold_back_notes, warn
from utils.system.quiet import tf
from utils.trained import RUNS, read_labels

# A checkpoint has the weights and the optimizer's two averages of them, and the last one stays until the next is whole;
# beside it the best weights, twice, and at the end the model.
MOST_COPIES = 9
RUN_BYTES, BOARD_BYTES = 2e6, 10e6  # log and settings; curves, histograms, pictures and sounds
EVENTS = "events.out.tfevents.*"
SAVED_MODEL = ("saved_model.pb", "fingerprint.pb", "variables/variables.index", "variables/variables.data-*-of-*")
KIND = files.Kind(
    "a run",
    "config.json",
    "script",
    (
        *("config.json", "labels.txt", "log.csv", "result.json", "model.keras", "weights.npz", f"curves/{EVENTS}"),
        *(
            "best/weights.npz",
            "best/checkpoint",
            "best/ckpt-*",
            "last/checkpoint.npz",
            "last/checkpoint",
            "last/ckpt-*",
        ),
        *("best/*.weights.h5", "last/*.weights.h5", "last/checkpoint.json"),  # of earlier versions
        *("export/README.md", "export/model_float.tflite", "export/model_int8.tflite", "export/model.onnx"),
        *(f"export/web/{name}" for name in web.KIND.names),
        *(f"{place}/{name}" for place in ("saved_model", "export/saved_model") for name in SAVED_MODEL),
    ),
)
CURVES = files.Kind("the curves of a run", None, None, (EVENTS,))
NO_SPACE = os.strerror(errno.ENOSPC)  # in the words of the system, which TensorFlow's errors repeat
HISTOGRAMS = 20  # times in a run that histograms of the weights are written


class RunFolder:
    """``runs/<logrun>``: replaced only when the new run has ended well.

    Until then the run lies in a hidden folder beside it, from which ``--resume`` goes on. Only the script
    that began a run can read its checkpoints.

    Attributes
    ----------
    final, work, board : Path
        The run when it has ended, until then, and its curves for TensorBoard.
    """

    def __init__(self, logrun, logdir, script):
        self._script, self._is_begun = script, False
        self.final = RUNS / logrun
        self.work = files.beside(self.final, "partial")
        self.board = Path(logdir) / logrun

    def saved_settings(self):
        """Settings of the run that ``--resume`` goes on with."""
        config = files.read_json(self._resumed_from / "config.json")
        if not isinstance(config, dict):
            raise CourseError(f"{self.final} holds no run to go on with: start one without --resume")
        if config.get("script", self._script) != self._script:
            raise CourseError(f"{self.final} was begun by {config['script']}: resume it with that")
        names = {field.name for field in dataclasses.fields(Settings)}
        return {name: value for name, value in config.items() if name in names}

    @contextlib.contextmanager
    def owned(self, read):
        """Have the run's folders for this process alone, if all that is in them is of a run.

        Parameters
        ----------
        read : dict of str -> path
            What the run reads, by flag: nothing that lies in these folders.

        Raises
        ------
        BadUse
            If something else is in the way.
        CourseError
            If another process has them.
        """
        run, board = ("the run folder", self.final), ("the folder of its curves", self.board)
        files.require_apart(dict((run, board)))
        for given, written in itertools.product(read.items(), (run, board)):
            files.require_outside(given, written)
        files.require_ours(self.final, KIND)
        files.require_ours(self.work, KIND, is_whole=False)
        files.require_ours(self.board, CURVES)
        if not (self.final.exists() or self.work.exists()) and next(self.board.glob(EVENTS), None):
            raise BadUse(f"{self.board} holds the curves of another run than {self.final}: choose another --logrun")
        with files.owned(self.final), files.owned(self.board):
            yield self

    @property
    def how_to_resume(self):
        """What an interrupted run has to say."""
        if not (self.work / "config.json").exists():
            return "nothing was kept"
        return f"go on with: python {self._script} --resume --logrun {self.final.name}"

    @property
    def _resumed_from(self):
        """Where the run lies that ``--resume`` goes on with."""
        return self.work if (self.work / "config.json").exists() else self.final

    def require_same_data(self, train, config):
        """Raise CourseError unless the run began with these labels in this order, and this data.

        Parameters
        ----------
        train : ClipSet
        config : dict
            As it is to be; a run from before the data was noted is taken to have had the same.
        """
        hint = "go on with arrays of the labels that it began with, or start anew without --resume"
        if (self._resumed_from / "labels.txt").exists():
            datasets.require_labels(train, read_labels(self._resumed_from), self.final, hint)
        before = files.read_json(self._resumed_from / "config.json")
        if before.get("dataset_hash", config["dataset_hash"]) != config["dataset_hash"]:
            then, now = (f"{known.get('dataset')} (files {known['dataset_hash']})" for known in (before, config))
            raise CourseError(
                f"{self.final} began with other clips, {then}, than {train.inputs[0].path.parent} holds, {now}: "
                "go on with those that it began with, or start anew without --resume"
            )

    def start(self, config, labels, resume, n_bytes):
        """Make the work folder, or go on in the one that is there; ``n_bytes`` are those of the model's weights."""
        self._n_bytes = n_bytes
        self.require_space()
        files.recover(self.final, KIND)
        if not resume:
            if (self.work / "last").exists():
                warn(f"{self.final} was never finished: begun anew, as --resume was not given")
            self._set_curves_aside()
            files.remove(self.work)
        elif not (self.work / "config.json").exists():
            files.remove(self.work)
            shutil.copytree(self.final, self.work, ignore=shutil.ignore_patterns("config.json"))
        self.work.mkdir(parents=True, exist_ok=True)
        files.write_text(self.work / "labels.txt", "\n".join(labels) + "\n")
        # Written last: with it the folder is known to hold a run that can be gone on with.
        files.write_json(self.work / "config.json", {"script": self._script, **config})
        self._is_begun = True

    def _set_curves_aside(self):
        """Keep the curves of a run that has ended with it, until it is replaced."""
        if self.final.exists() and not self.work.exists():
            for path in self.board.glob(EVENTS):
                (self.final / "curves").mkdir(exist_ok=True)
                shutil.move(path, self.final / "curves" / path.name)

    @contextlib.contextmanager
    def writing(self):
        """Write weights, checkpoints or curves: there is room for them, or one line says how much is needed."""
        self.require_space()
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            if NO_SPACE not in str(error):
                raise
            # Another program has filled the disk since, and may have made room again.
            self.require_space()
            raise CourseError(f"{self.work}: the disk was full for a moment: go on with --resume") from error

    def require_space(self):
        """Raise CourseError unless there is room for what is written next."""
        try:
            files.require_space(self.board, BOARD_BYTES)
            files.require_space(self.work, MOST_COPIES * self._n_bytes + RUN_BYTES)
        except CourseError as error:
            raise CourseError(f"{error}, then go on with --resume" if self._is_begun else str(error)) from error

    def finish(self, result):
        """Write ``result.json`` and put the run in its place."""
        files.write_json(self.work / "result.json", result)
        files.replace(self.work, self.final, KIND)


def require_outputs(folder, labels, n_outputs):
    """Raise CourseError unless the model of a run folder has an output for each label."""
    if n_outputs != len(labels):
        raise CourseError(f"{folder}/labels.txt lists {len(labels)} labels, the model has {n_outputs}")


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
            for path in board.glob(EVENTS):
                path.unlink()
            self._lines = [self.HEADER]
        else:
            lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
            self._lines = [lines[0], *(line for line in lines[1:] if int(line.split(",")[1]) <= first_epoch)]
        self._writer = tf.summary.create_file_writer(str(board))

    def write_graph(self, model):
        """The graph of a model (a function of a batch of waveforms)."""
        waveforms = tf.TensorSpec((None, audio.CLIP_SAMPLES), name="waveforms")
        graph = tf.function(model).get_concrete_function(waveforms).graph
        with self._writer.as_default(step=0):
            tf.summary.graph(graph)

    def write_clips(self, clip_set):
        """The first clip of each label, to listen to."""
        rows, y = next(clip_set.blocks())
        with self._writer.as_default(step=0), hold_back_notes():  # on joining strings without AVX-512
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
        with self._writer.as_default(step=step), hold_back_notes():
            tf.summary.image("confusion/cv", tf.image.decode_png(png.getvalue(), channels=3)[None])
        self._writer.flush()

    def close(self):
        """Let go of the curves' file, which Windows would not remove while it is open."""
        self._writer.close()

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
    state : dict, optional
        :attr:`state` of the run that is gone on with.

    Attributes
    ----------
    log : RunLog
    """

    def __init__(self, run, settings, state=None):
        self._settings = settings
        state = state or {"epoch": 0, "step": 0, "seconds": 0.0, "best": (-1.0, 0.0)}
        self.epoch, self.step, self.seconds = int(state["epoch"]), int(state["step"]), float(state["seconds"])
        self._best = tuple(float(value) for value in state["best"])  # validation accuracy, minus validation loss
        if self.epoch:
            print(f"resumed after epoch {self.epoch}")
        self.log = RunLog(run.work, run.board, self.epoch)

    @property
    def state(self):
        """What a checkpoint has to hold of it."""
        return {"epoch": self.epoch, "step": self.step, "seconds": self.seconds, "best": self._best}

    @property
    def is_over(self):
        """Whether the run has taken all steps that ``--max_steps`` allows."""
        return bool(self._settings.max_steps) and self.step >= self._settings.max_steps

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
        score = cv[1], -cv[0]
        is_best = score > self._best
        self._best = max(score, self._best)
        return is_best
