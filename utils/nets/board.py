"""What TensorBoard shows of a run: curves, settings, graph, weights, confusions, and clips to listen to."""

import io
import platform
import shlex
import subprocess
from pathlib import Path

from matplotlib.figure import Figure
from tensorboard.plugins.hparams import api as hparams

from utils import audio, plots
from utils.settings import Settings
from utils.system.cli import hold_back_notes
from utils.system.quiet import keras, tf

EVENTS = "events.out.tfevents.*"
PARTS = ("train", "validation")  # runs of their own to TensorBoard, which draws their curves into one picture
COMPARED = ("model", "recipe", "epochs", "batch_size", "learning_rate", "seed", "augment", "negatives", "teacher")
METRICS = [hparams.Metric("test_accuracy"), hparams.Metric("accuracy", group="validation", display_name="validation")]
FILES = (EVENTS, *(f"{part}/{EVENTS}" for part in PARTS))


class Board:
    """Writes the logs of a run.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder):
        self._run, *self._parts = (tf.summary.create_file_writer(str(folder / part)) for part in ("", *PARTS))

    def close(self):
        """Write what is left; Windows removes no file that is open."""
        for writer in (self._run, *self._parts):
            writer.close()

    def show_settings(self, script, settings, data):
        """What tells a run from others: a table of its settings, and a card: command, data, versions, commit."""
        compared = {"script": script, **{name: getattr(settings, name) for name in COMPARED}}
        compared = {name: "none" if value is None else value for name, value in compared.items()}
        versions = {"Python": platform.python_version(), "TensorFlow": tf.__version__, "Keras": keras.__version__}
        card = {
            "command": f"`{_command(script, settings)}`",
            "data": f"{data.name} (files {data.hash})",
            "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
            "commit": _commit(),
        }
        with self._run.as_default(step=0):
            hparams.hparams_config(hparams=[hparams.HParam(name) for name in compared], metrics=METRICS)
            hparams.hparams(compared, trial_id=settings.logrun)
            rows = "".join(f"| {name} | {text} |\n" for name, text in card.items())
            tf.summary.text("run", f"| | |\n| --- | --- |\n{rows}")

    def show_epoch(self, step, train, cv, learning_rate):
        """Loss and accuracy in training and validation, and the learning rate."""
        for writer, (loss, accuracy) in zip(self._parts, (train, cv)):
            with writer.as_default(step=step):
                tf.summary.scalar("loss", loss)
                tf.summary.scalar("accuracy", accuracy)
            writer.flush()
        with self._run.as_default(step=step):
            tf.summary.scalar("learning_rate", learning_rate)
        self._run.flush()

    def show_weights(self, step, weights):
        """Histograms of (name, variable)."""
        with self._run.as_default(step=step):
            for name, weight in weights:
                tf.summary.histogram(f"weights/{name}", weight)

    def show_graph(self, network):
        """The graph of a network (a function of a batch of waveforms)."""
        waveforms = tf.TensorSpec((None, audio.CLIP_SAMPLES), name="waveforms")
        graph = tf.function(network).get_concrete_function(waveforms).graph
        with self._run.as_default(step=0):
            tf.summary.graph(graph)

    def show_clips(self, heading, clips, step=0):
        """Clips to listen to: (name, int16 waveform)."""
        with self._run.as_default(step=step), hold_back_notes():  # on joining strings without AVX-512
            for name, samples in clips:
                waveform = audio.to_waveform(samples)
                tf.summary.audio(f"{heading}/{name}", waveform[None, :, None], audio.SAMPLE_RATE)

    def show_confusion(self, step, counts, labels):
        """Validation clips by what was said and what was heard, as a picture."""
        figure = Figure(figsize=(7, 7), layout="constrained")
        plots.plot_confusion(figure.subplots(), counts, labels)
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=80)
        with self._run.as_default(step=step), hold_back_notes():
            tf.summary.image("confusion", tf.image.decode_png(png.getvalue(), channels=3)[None])
        self._run.flush()

    def show_result(self, step, test_accuracy):
        """The accuracy on the test set, for the HParams table."""
        with self._run.as_default(step=step):
            tf.summary.scalar("test_accuracy", test_accuracy)


def _command(script, settings):
    """The command that makes such a run: the flags that are not as they are without any."""
    words, usual = ["python", script], Settings()
    for name, value in vars(settings).items():
        if value is None or value == getattr(usual, name):
            continue
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        else:
            words += [f"--{name}", ",".join(value) if name == "keywords" else str(value)]
    return shlex.join(words)


def _commit():
    """Commit of the course's code, and whether the code was changed since."""
    command = ["git", "-C", Path(__file__).parent, "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "not known, as the code is no clone of its repository"
