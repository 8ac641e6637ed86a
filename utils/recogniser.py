"""A trained model, ready to use: from the run folder of either script, or the one that comes with the course."""

import functools
import hashlib
from pathlib import Path

import numpy as np

from utils import audio, models, trained
from utils.features import N_FRAMES, N_MELS
from utils.nets import plain
from utils.system import files
from utils.system.cli import CourseError
from utils.system.quiet import tf


class Recogniser:
    """What recognises: waveforms to probabilities, and the labels these are of.

    Attributes
    ----------
    folder : Path
    labels : tuple of str
    logits : callable
        Tensors, float32 waveforms (n, 16000) in [-1, 1) to logits (n, n_labels).
    network : callable or None
        The same from log-mel spectrograms (n, 98, 40) on; None for a model without a front end.
    """

    def __init__(self, folder, labels, logits, network):
        self.folder, self.labels, self.logits, self.network = Path(folder), tuple(labels), logits, network
        self._from_waveforms = _probabilities(logits, (audio.CLIP_SAMPLES,))
        self._from_log_mel = network and _probabilities(network, (N_FRAMES, N_MELS))
        n_outputs = self(np.zeros((1, audio.CLIP_SAMPLES), np.float32)).shape[1]
        trained.require_outputs(folder, self.labels, n_outputs)

    def __call__(self, waveforms):
        """Probabilities (n, n_labels) of float32 waveforms (n, 16000) in [-1, 1)."""
        return self._from_waveforms(tf.convert_to_tensor(waveforms, tf.float32)).numpy()

    @functools.cached_property
    def fingerprint(self):
        """Twelve hex digits that name the model's files and labels."""
        path = trained.find_model(self.folder)
        whole = hashlib.sha256("\n".join(self.labels).encode())
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                whole.update(file.name.encode() + file.read_bytes())
        return whole.hexdigest()[:12]

    def from_log_mel(self, log_mel):
        """Probabilities (n, n_labels) of log-mel spectrograms (n, 98, 40)."""
        if self.network is None:
            raise CourseError(f"{self.folder}: its model takes waveforms, not log-mel spectrograms")
        return self._from_log_mel(tf.convert_to_tensor(log_mel, tf.float32)).numpy()


def _probabilities(logits, shape):
    """Function of a batch of any size: one graph, as tracing one for each size would take longer than the answers."""
    signature = [tf.TensorSpec((None, *shape), tf.float32)]
    return tf.function(lambda inputs: tf.nn.softmax(logits(inputs))).get_concrete_function(*signature)


def load(folder=None):
    """Load a model.

    Parameters
    ----------
    folder : str or Path, optional
        See :func:`trained.find_folder`.

    Returns
    -------
    Recogniser

    Raises
    ------
    CourseError
        If the folder holds no model, a damaged one, or one whose labels do not fit.
    """
    folder = trained.find_folder(folder)
    labels = trained.read_labels(folder)
    path = trained.find_model(folder)
    if path is None:
        raise trained.no_model(folder)
    with models.reading(path):
        logits, network = _LOADERS[path.name](path, labels)
    return Recogniser(folder, labels, logits, network)


def _load_keras(path, labels):
    return _parts(models.load_model(path))


def _load_half(path, labels):
    model = models.build_model(_read_name(path), len(labels))
    with np.load(path, allow_pickle=False) as saved:
        last = saved[f"weight_{len(saved.files) - 1}"]  # the bias of the logits
        trained.require_outputs(path.parent, labels, last.shape[-1])
        model.set_weights([saved[f"weight_{index}"].astype(np.float32) for index in range(len(saved.files))])
    return _parts(model)


def _read_name(path):
    """Name of the network whose weights lie in a run folder."""
    return (files.read_json(path.with_name("config.json")) or {}).get("model")


def save_half(folder, model):
    """Keep a model's weights in 16 bits; the folder's config.json names the model."""
    weights = {f"weight_{index}": weight.astype(np.float16) for index, weight in enumerate(model.get_weights())}
    np.savez(Path(folder) / trained.HALF_WEIGHTS, **weights)


def _parts(model):
    network = models.learning_part(model) if models.has_front_end(model) else None
    return functools.partial(model, training=False), network and functools.partial(network, training=False)


def _load_saved_model(path, labels):
    # The graph of a SavedModel may hold any operation, to write files for one: its weights alone are read.
    network, weights = plain.make_network(_read_name(path), len(labels)), str(path / "variables" / "variables")
    shapes = tf.train.load_checkpoint(weights).get_variable_to_shape_map()
    trained.require_outputs(path.parent, labels, shapes["network/logits/bias/.ATTRIBUTES/VARIABLE_VALUE"][-1])
    saved = tf.train.Checkpoint(network=network).read(weights)
    saved.assert_existing_objects_matched().expect_partial()
    return plain.Recogniser(network), network if plain.takes_log_mel(network) else None


_LOADERS = dict(zip(trained.MODELS, (_load_keras, _load_saved_model, _load_half)))
