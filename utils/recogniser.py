"""A trained model, ready to use: a run of either script, the one that comes with the course, or an exported file."""

import functools
import hashlib
from pathlib import Path

import numpy as np

from utils import audio, trained
from utils.labels import SILENCE, UNKNOWN
from utils.nets import exported, taught
from utils.system.cli import CourseError


class Recogniser:
    """What recognises: waveforms to probabilities, and the ``labels`` these are of.

    ``folder`` is the run, ``path`` the model in it, ``model`` what was read: saved.Network, taught.Taught,
    exported.LiteFile or live.StreamFile.
    """

    def __init__(self, folder, path, labels, model):
        self.folder, self.path, self.labels, self.model = folder, path, tuple(labels), model
        n_outputs = self(np.zeros((1, audio.CLIP_SAMPLES), np.float32)).shape[1]
        trained.require_outputs(folder, self.labels, n_outputs)

    def __call__(self, waveforms):
        """Probabilities (n, n_labels) of float32 waveforms (n, 16000) in [-1, 1)."""
        return self.model(waveforms)

    def are_sure(self, rows, times=trained.SURE):
        """Whether the answers in probabilities (n, n_labels) are so many times as probable as what speaks against them.

        Against a command speak *silence* and *unknown* together, and the next command; against these two, the most
        probable command. What is left to the other commands says little: smoothed labels gave each of them a share.
        """
        none = np.array([label in (SILENCE, UNKNOWN) for label in self.labels])
        nothing, commands = rows[:, none].sum(axis=1), np.sort(rows[:, ~none], axis=1)
        best, second = (commands[:, place].sum(axis=1) for place in (slice(-1, None), slice(-2, -1)))  # 0 for none
        is_command = ~none[rows.argmax(axis=1)]
        return np.where(is_command, best >= times * np.maximum(nothing, second), nothing >= times * best)

    @property
    def from_log_mel(self):
        """Probabilities (n, n_labels) of log-mel spectrograms (n, 98, 40): a function, None where there is none."""
        return self.model.from_log_mel

    @property
    def listen(self):
        """What begins to listen, see :meth:`live.StreamFile.listen`; None where the network keeps no state."""
        return getattr(self.model, "listen", None)

    @property
    def step_s(self):
        """Seconds of a step of a network that keeps state, None of others."""
        return getattr(self.model, "step_s", None)

    @functools.cached_property
    def fingerprint(self):
        """Twelve hex digits that name the model's files and labels."""
        whole = hashlib.sha256("\n".join(self.labels).encode())
        for file in sorted(self.path.rglob("*")) if self.path.is_dir() else [self.path]:
            if file.is_file():
                whole.update(file.name.encode() + file.read_bytes())
        return whole.hexdigest()[:12]


def load(source=None, exported_first=False):
    """Load a model: of a run folder, see :func:`trained.find_folder`, or a ``.tflite`` file that was exported from one.

    With ``exported_first``, the exported float file of a run, if it has one: it needs no TensorFlow, and answers in
    less than a second. CourseError if there is no model, a damaged one, or one whose labels do not fit.
    """
    if source and Path(source).suffix == ".tflite":
        path, folder = Path(source), trained.find_run_of(source)
    else:
        folder = trained.find_folder(source)
        path = (trained.find_exported(folder) if exported_first else None) or trained.find_model(folder)
    labels = trained.read_labels(folder)
    if path is None:
        raise trained.no_model(folder)
    if path.suffix == ".tflite":
        return Recogniser(folder, path, labels, exported.open_lite(path))
    if path.name == trained.TAUGHT:
        return Recogniser(folder, path, labels, taught.read(folder))
    try:
        from utils.nets import saved  # TensorFlow takes seconds to import
    except ModuleNotFoundError as error:
        raise CourseError(
            f"{path} needs {error.name}, which is not installed: name an exported file, --model FILE.tflite"
        ) from error
    return Recogniser(folder, path, labels, saved.read(path, labels))
