"""Exported files, run without TensorFlow: one clip in, a probability for each label out."""

import time
from pathlib import Path

import numpy as np

from utils.audio import CLIP_SAMPLES
from utils.nets import live
from utils.system.cli import CourseError, hold_back_notes

ROUNDS, CLIPS_A_ROUND = 7, 50  # of which latency is the median


class LiteFile:
    """A ``.tflite`` file, by Google's LiteRT on one thread."""

    from_log_mel = None  # its front end is inside

    def __init__(self, path):
        from ai_edge_litert.interpreter import Interpreter

        try:
            with hold_back_notes():
                # Not by its path: Windows would not let an open file be replaced, nor LiteRT find every name there.
                self._interpreter = Interpreter(model_content=Path(path).read_bytes(), num_threads=1)
                self._interpreter.allocate_tensors()
        except (OSError, ValueError, RuntimeError) as error:
            raise CourseError(f"{path} is no LiteRT file that can be run: {str(error).splitlines()[0]}") from error
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        if len(outputs) != 1 or [list(one["shape"]) for one in inputs] != [[CLIP_SAMPLES, 1]]:
            raise CourseError(
                f"{path} takes something else than a second of sound, [{CLIP_SAMPLES}, 1]: export it anew"
            )
        self.input, self.output = inputs[0], outputs[0]

    def __call__(self, waveforms):
        """Probabilities (n, n_labels) of float32 waveforms (n, 16000), clip by clip."""
        rows = []
        for waveform in waveforms:
            self._interpreter.set_tensor(self.input["index"], waveform[:, None])
            self._interpreter.invoke()
            rows.append(self._interpreter.get_tensor(self.output["index"]))
        return np.stack(rows)

    def measure_ms(self):
        """Milliseconds a clip: median of some rounds."""
        clip, rounds = np.zeros((1, CLIP_SAMPLES), np.float32), []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            for _ in range(CLIPS_A_ROUND):
                self(clip)
            rounds.append((time.perf_counter() - started) / CLIPS_A_ROUND * 1e3)
        return float(np.median(rounds))


def open_lite(path):
    """A ``.tflite`` file, of one second or, if it is named so, one that keeps state."""
    return live.StreamFile(path) if Path(path).name.startswith("model_stream") else LiteFile(path)


class OnnxFile:
    """An ``.onnx`` file, by ONNX Runtime on one thread."""

    def __init__(self, path):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def __call__(self, waveforms):
        """Probabilities (n, n_labels) of float32 waveforms (n, 16000), clip by clip."""
        return np.stack([self._session.run(None, {self._input: waveform[:, None]})[0] for waveform in waveforms])
