"""A training run on disk: its folder, its log, its curves for TensorBoard, its best and last weights."""

import contextlib
import dataclasses
import errno
import itertools
import math
import os
import shutil
import sys
import time
from pathlib import Path

from utils import datasets, models, trained, web
from utils.nets import board, devices
from utils.settings import Settings, resumed_from
from utils.system import files
from utils.system.cli import BadUse, CourseError, progress, warn
from utils.system.quiet import tf
from utils.trained import RUNS

# A checkpoint has the weights and the optimizer's two averages of them, and the last one stays until the next is whole;
# beside it the best weights, twice, and at the end the model.
MOST_COPIES = 9
RUN_BYTES, BOARD_BYTES = 2e6, 10e6  # log and settings; curves, histograms, pictures and sounds
KIND = files.Kind(
    "a run",
    "config.json",
    "script",
    (
        *("config.json", "labels.txt", "log.csv", "result.json", "model.keras", "weights.npz"),
        *(f"curves/{name}" for name in board.FILES),
        *("best/weights.npz", "last/checkpoint.npz"),
        # Of earlier versions.
        *(f"{place}/{name}" for place in ("best", "last") for name in ("checkpoint", "ckpt-*", "*.weights.h5")),
        "last/checkpoint.json",
        *(f"saved_model/{name}" for name in trained.SAVED_MODEL),
        *(f"export/{name}" for name in web.EXPORTED),
    ),
)
CURVES = files.Kind("the curves of a run", None, None, board.FILES)
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)  # TensorFlow's errors repeat the system's words for them
GOES_ON = ("labels.txt", "log.csv", "best", "last")  # what a run that is trained longer begins with
BEST, LAST = "best/weights.npz", "last/checkpoint.npz"
LOG_HEADER = "step,epoch,split,loss,accuracy,seconds\n"
PICTURES = 10  # times in a run that histograms and confusions are written: once takes longer than a short epoch


class Run:
    """``runs/<logrun>``: replaced only when the new run has ended well.

    Until then the run lies in a hidden folder beside it, from which ``--resume`` goes on. Only the script
    that began a run can go on with it.

    Parameters
    ----------
    settings : Settings
    script : str

    Attributes
    ----------
    final, work, curves : Path
        The run when it has ended, until then, and its curves for TensorBoard.
    epoch, step, seconds : int, int, float
        How far it has come.
    """

    def __init__(self, settings, script):
        self._settings, self._script = settings, script
        self.final = RUNS / settings.logrun
        self.work = files.beside(self.final, "partial")
        self.curves = Path(settings.logdir) / settings.logrun
        self.epoch, self.step, self.seconds = 0, 0, 0.0
        self._bar, self._is_timed = None, False
        self._best = (-1.0, 0.0)  # validation accuracy, minus validation loss

    # The folder.

    @contextlib.contextmanager
    def owned(self):
        """Have the run's folders for this process alone, if all that is in them is of a run.

        Nothing has been read or written before.

        Raises
        ------
        BadUse
            If something else is in the way, or the run would lie in what it reads.
        CourseError
            If another process has them.
        """
        settings, run = self._settings, ("the run folder", self.final)
        curves = ("the folder of its curves", self.curves)
        read = {"--teacher": settings.teacher} if settings.teacher else {}
        if not settings.random_data:
            read["--path_to_data"] = settings.path_to_data
            if settings.logdir != Settings.logdir:
                files.require_apart({"--logdir": settings.logdir, "--path_to_data": settings.path_to_data})
        files.require_apart(dict((run, curves)))
        for given, written in itertools.product(read.items(), (run, curves)):
            files.require_outside(given, written)
        files.require_ours(self.final, KIND)
        files.require_ours(self.work, KIND, is_whole=False)
        files.require_ours(self.curves, CURVES)
        if not (self.final.exists() or self.work.exists()) and next(files.list_paths(self.curves), None):
            raise BadUse(f"{self.curves} holds the curves of another run than {self.final}: choose another --logrun")
        data = contextlib.nullcontext() if settings.random_data else files.reading(settings.path_to_data)
        with files.owned(self.final), files.owned(self.curves), data:
            try:
                yield self
            except KeyboardInterrupt:
                raise KeyboardInterrupt(self._how_to_resume) from None
            finally:
                self._close()

    @property
    def _how_to_resume(self):
        """What an interrupted run has to say."""
        if not (self.work / "config.json").exists():
            return f"{self.final} is whole" if self.final.exists() else "nothing was kept"
        if not (self.work / LAST).exists():
            return "no epoch has ended yet, so there is nothing to go on with"
        return f"go on with: python {self._script} --resume --logrun {self.final.name}"

    def require_same(self, data):
        """Raise CourseError unless the run that is gone on with began with these labels in this order, and this data.

        A run from before the data was noted is taken to have had the same.
        """
        folder = resumed_from(self.final)
        hint = "go on with arrays of the labels that it began with, or start anew without --resume"
        if (folder / "labels.txt").exists():
            datasets.require_labels(data.sets["train"], trained.read_labels(folder), self.final, hint)
        before = files.read_json(folder / "config.json")
        if before.get("dataset_hash", data.hash) != data.hash:
            raise CourseError(
                f"{self.final} began with other clips, {before.get('dataset')} (files {before['dataset_hash']}), than "
                f"{data.folder} holds, {data.name} (files {data.hash}): "
                "go on with those that it began with, or start anew without --resume"
            )

    def begin(self, data, network, optimizer, steps):
        """Make the work folder, or go on in the one that is there, and start the clock.

        Parameters
        ----------
        data : training.Data
        network, optimizer : list of variables
            What the network's answers depend on, and what the optimizer knows beside it. With ``--resume`` they are
            set to what the run's last checkpoint holds.
        steps : int
            That an epoch has.
        """
        self._network, self._everything = network, [*network, *optimizer]
        n_bytes = sum(4 * math.prod(variable.shape) for variable in network)
        files.require_space(self.curves, BOARD_BYTES)
        files.require_space(self.work, MOST_COPIES * n_bytes + RUN_BYTES)
        files.recover(self.final, KIND)
        if not self._settings.resume:
            if (self.work / LAST).exists():
                self._set_run_aside()
            self._set_curves_aside()
            files.remove(self.work)
        elif not (self.work / "config.json").exists():
            files.remove(self.work)
            self.work.mkdir(parents=True)
            for path in (self.final / name for name in GOES_ON):  # but no model nor export: these are to be made anew
                if path.is_dir():
                    shutil.copytree(path, self.work / path.name)
                elif path.exists():
                    shutil.copy2(path, self.work)
        for folder in (self.work, self.work / "best", self.work / "last"):
            folder.mkdir(parents=True, exist_ok=True)
        files.write_text(self.work / "labels.txt", "\n".join(data.labels) + "\n")
        if self._settings.resume:
            self._restore()
        # Written last: with it the folder is known to hold a run that can be gone on with.
        note = {"dataset": data.name, "dataset_hash": data.hash}
        config = {"script": self._script, **dataclasses.asdict(self._settings), **note}
        files.write_json(self.work / "config.json", config)
        self._labels = data.labels
        self._open_log()
        self.board = board.Board(self.curves)
        self.board.show_settings(self._script, self._settings, data)
        self._bar = progress(
            total=min(steps * self._settings.epochs, self._settings.max_steps or sys.maxsize),
            initial=self.step,
            bar_format="{percentage:3.0f} % {bar:6} {desc}{elapsed} gone, {remaining} left",  # 80 characters at most
            delay=0,
            smoothing=0,  # the mean of all steps, as an epoch ends slowly
        )
        self._started = time.perf_counter()

    def _restore(self):
        """Set variables and counters to those of the last checkpoint."""
        last = self.work / LAST
        if last.exists():
            state = models.read_variables(last, self._everything)
            self.epoch, self.step, self.seconds = int(state["epoch"]), int(state["step"]), float(state["seconds"])
            self._best = tuple(float(value) for value in state["best"])
            print(f"resumed after epoch {self.epoch}")
        elif next(files.list_paths(last.parent), None):
            raise CourseError(f"{self.final} was begun by an earlier version: start anew, without --resume")

    def _set_run_aside(self):
        """Keep an interrupted run, under another name, when a new one takes its own."""
        for number in itertools.count(1):
            name = f"{self.final.name}-interrupted-{number}"
            kept, curves = files.beside(RUNS / name, "partial"), self.curves.with_name(name)
            if not any(os.path.lexists(path) for path in (RUNS / name, kept, curves)):
                break
        for folder, target in ((self.work, kept), (self.curves, curves)):
            if folder.exists():
                folder.rename(target)
        warn(
            f"{self.final} was interrupted before: kept, python {self._script} --resume --logrun {name} goes on with it"
        )

    def _set_curves_aside(self):
        """Keep the curves of a run that has ended with it, until it is replaced."""
        if self.final.exists() and not (self.final / "curves").exists():
            for path in files.list_paths(self.curves):
                (self.final / "curves" / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.move(self.curves / path, self.final / "curves" / path)

    @contextlib.contextmanager
    def writing(self):
        """Write weights, checkpoints or curves; where the disk is full, one line says how to go on."""
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            if not any(os.strerror(number) in str(error) for number in NO_SPACE):
                raise
            place = self.work.absolute()
            raise CourseError(f"{place}: the disk is full: free some space, then go on with --resume") from error

    def load_best(self, variables):
        """Set the variables of a network of this kind to those of the best epoch."""
        self._bar.set_description_str("tests the best epoch ")
        models.read_variables(self.work / BEST, variables)

    def finish(self, result):
        """Write ``result.json`` and put the run in its place."""
        self._close()
        files.write_json(self.work / "result.json", result)
        files.replace(self.work, self.final, KIND)

    def _close(self):
        if self._bar is not None:
            self._bar.close()
            self.board.close()

    def advance_to(self, step):
        """Note how many steps have been taken."""
        self._bar.update(step - self.step)
        if not self._is_timed:  # the first steps trace the network: what is left is reckoned from the next on
            self._bar.initial, self._bar.start_t, self._is_timed = step, time.time(), True
        self.step = step

    @property
    def is_over(self):
        """Whether the run has taken all steps that ``--max_steps`` allows."""
        return bool(self._settings.max_steps) and self.step >= self._settings.max_steps

    def end_epoch(self, train, cv, learning_rate, weights, confuse):
        """Log an epoch; keep what it takes to go on, and the weights if they are the best so far.

        Parameters
        ----------
        train, cv : (float, float)
            Loss and accuracy.
        learning_rate : float
        weights : list of (str, variable)
            For histograms, which are written now and then.
        confuse : callable
            Gives the confusion matrix of the validation set, for a picture now and then.
        """
        if not (math.isfinite(train[0]) and math.isfinite(cv[0])):
            hint = f"start anew with a lower --learning_rate than {self._settings.learning_rate:g}"
            raise CourseError(f"the loss of epoch {self.epoch + 1} is no number, as training diverged: {hint}")
        self.epoch += 1
        self.seconds += time.perf_counter() - self._started
        with self.writing():
            is_best = (cv[1], -cv[0]) > self._best
            self._best = max((cv[1], -cv[0]), self._best)
            self._log(train, cv, learning_rate, is_best)
            if self.epoch % max(1, self._settings.epochs // PICTURES) == 0:
                self.board.show_weights(self.step, weights)
                self.board.show_confusion(self.step, confuse(), self._labels)
            if is_best:
                models.write_variables(self.work / BEST, self._network)
            state = {"epoch": self.epoch, "step": self.step, "seconds": self.seconds, "best": self._best}
            models.write_variables(self.work / LAST, self._everything, state)
        self._started = time.perf_counter()

    # The log: log.csv, a line on the terminal.

    def _open_log(self):
        """From a run that is resumed, the lines of the epochs are kept that its checkpoint knows."""
        if self.epoch == 0:
            for path in files.list_paths(self.curves):
                (self.curves / path).unlink()
            self._lines = [LOG_HEADER]
        else:
            lines = (self.work / "log.csv").read_text(encoding="utf-8").splitlines(keepends=True)
            self._lines = [lines[0], *(line for line in lines[1:] if int(line.split(",")[1]) <= self.epoch)]

    def _log(self, train, cv, learning_rate, is_best):
        for split, (loss, accuracy) in (("train", train), ("cv", cv)):
            self._lines.append(f"{self.step},{self.epoch},{split},{loss:.6f},{accuracy:.6f},{self.seconds:.1f}\n")
        files.write_text(self.work / "log.csv", "".join(self._lines))
        self.board.show_epoch(self.step, train, cv, learning_rate)
        self._bar.set_description_str(
            f"{self.epoch}/{self._settings.epochs} loss {train[0]:.2f} valid {cv[1]:.3f} ★{self._best[0]:.3f} "
        )
        if self._bar.disable or not (sys.stdout.isatty() or "ipykernel" in sys.modules):  # a pipe or a file
            print(
                f"epoch {self.epoch:3d}/{self._settings.epochs}  train: loss {train[0]:.3f} accuracy {train[1]:.3f}  "
                f"validation: loss {cv[0]:.3f} accuracy {cv[1]:.3f}{' *' if is_best else '  '}  {self.seconds:.0f} s",
                flush=True,
            )


@contextlib.contextmanager
def open_run(settings, strategy, script):
    """The run, its folders for this process alone, see :meth:`Run.owned`; None for all workers but the chief."""
    if not devices.is_chief(strategy):
        yield None
        return
    with Run(settings, script).owned() as run:
        yield run


def read_settings(logrun, script):
    """Settings of the run that ``--resume`` goes on with, as its config.json has them.

    Raises
    ------
    CourseError
        If there is no such run, or another script began it.
    """
    final = RUNS / logrun
    config = files.read_json(resumed_from(final) / "config.json")
    if not isinstance(config, dict):
        raise CourseError(f"config.json of {final} is damaged: start one without --resume")
    if config.get("script", script) != script:
        raise CourseError(f"{final} was begun by {config['script']}: resume it with that")
    names = {field.name for field in dataclasses.fields(Settings)}
    return {name: value for name, value in config.items() if name in names}
