"""Exported files that keep state, run without TensorFlow: a step of sound in, a probability for each label out."""

import functools
from pathlib import Path

import numpy as np

from utils.audio import CLIP_SAMPLES, SAMPLE_RATE, to_waveform
from utils.nets.frames import HOP_LENGTH
from utils.system.cli import CourseError, hold_back_notes

WARM_S = 2.0  # of silence goes ahead, so that what is kept is that of silence


class Session:
    """A file of :mod:`utils.nets.small` in LiteRT, with the state it has.

    Attributes
    ----------
    inputs : dict of str -> tuple of int
        Shapes.
    states : dict of str -> array
    """

    def __init__(self, content, **settings):
        from ai_edge_litert.interpreter import Interpreter

        with hold_back_notes():
            self._interpreter = Interpreter(model_content=content, num_threads=1, **settings)
            self._interpreter.allocate_tensors()
        self._run = self._interpreter.get_signature_runner()
        details = self._run.get_input_details()
        self.inputs = {name: tuple(detail["shape"]) for name, detail in details.items()}
        self.states = {
            # Eight bits have a zero point, which stands for 0.
            name: np.full(detail["shape"], detail["quantization"][1], detail["dtype"])
            for name, detail in details.items()
            if name.startswith("state")
        }

    def step(self, values):
        """All outputs but the states, which are kept, by name."""
        (name,) = self.inputs.keys() - self.states.keys()
        outputs = self._run(**{name: values}, **self.states)
        self.states = {name: outputs.pop(name) for name in self.states}
        return outputs


class StreamFile:
    """A ``.tflite`` file that keeps state, by Google's LiteRT on one thread.

    Parameters
    ----------
    path : str or Path
    """

    from_log_mel = None  # its front end is inside

    def __init__(self, path):
        try:
            self._session = Session(Path(path).read_bytes())
            self.step_samples = self._session.inputs["samples"][1]
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise CourseError(f"{path} is no file made by --to stream: {str(error).splitlines()[0]}") from error
        self.step_s = self.step_samples / SAMPLE_RATE

    @functools.cached_property
    def _silent(self):
        """The states after some silence, its probabilities and the look-ahead in samples."""
        silence = np.zeros((1, self.step_samples), np.float32)
        for _ in range(int(np.ceil(WARM_S / self.step_s))):
            outputs = self._session.step(silence)
        return self._session.states, outputs["probabilities"], int(outputs["delay"]) * HOP_LENGTH

    @property
    def look_ahead(self):
        """Samples that the network hears of what follows, before it answers."""
        return self._silent[2]

    def listen(self):
        """Function from samples, int16 (n * step_samples,), to probabilities (n, n_labels); it knows those of before.

        Its first answer has one more row, that of the silence before all sound.
        """
        states, before, _ = self._silent

        def hear(samples):
            nonlocal states, before
            self._session.states, rows = states, [before]
            for step in to_waveform(samples).reshape(-1, 1, self.step_samples):
                rows.append(self._session.step(step)["probabilities"])
            states, before = self._session.states, np.empty((0, rows[0].shape[1]), np.float32)
            return np.concatenate(rows)

        return hear

    def __call__(self, waveforms):
        """Probabilities (n, n_labels) of float32 waveforms (n, 16000), each after silence and before silence."""
        # What a step lacks goes ahead: the mean over time was chosen for answers that end with the clip.
        n_before = -(CLIP_SAMPLES + self.look_ahead) % self.step_samples
        rows = []
        for waveform in np.pad(waveforms, ((0, 0), (n_before, self.look_ahead))):
            self._session.states, *_ = self._silent
            for step in waveform.reshape(-1, 1, self.step_samples):
                outputs = self._session.step(step)
            rows.append(outputs["probabilities"][0])
        return np.stack(rows)
