"""Models that training has saved, read with TensorFlow."""

import functools
from pathlib import Path

import numpy as np

from utils import models, trained
from utils.audio import CLIP_SAMPLES
from utils.nets import plain
from utils.nets.frames import N_FRAMES, N_MELS
from utils.system import files
from utils.system.quiet import tf


class Network:
    """A network that was read: waveforms (n, 16000) to probabilities (n, n_labels).

    Attributes
    ----------
    logits : callable
        Tensors, float32 waveforms (n, 16000) in [-1, 1) to logits (n, n_labels).
    from_log_mel : callable or None
        From log-mel spectrograms (n, 98, 40) to probabilities; None for a model without a front end.
    """

    def __init__(self, logits, network=None):
        self.logits = logits
        self._call = _make_answer(logits, (CLIP_SAMPLES,))
        self.from_log_mel = network and _make_answer(network, (N_FRAMES, N_MELS))

    def __call__(self, waveforms):
        """Probabilities."""
        return self._call(waveforms)

    @property
    def of_keras(self):
        """The model of Keras, from waveforms to logits; None where a SavedModel was read."""
        return getattr(self.logits, "func", None)


def _make_answer(logits, shape):
    """Function of a batch of any size: one graph, as tracing one for each size would take longer than the answers."""
    signature = [tf.TensorSpec((None, *shape), tf.float32)]
    answer = tf.function(lambda inputs: tf.nn.softmax(logits(inputs))).get_concrete_function(*signature)
    return lambda inputs: answer(tf.convert_to_tensor(inputs, tf.float32)).numpy()


def read(path, labels):
    """The network in a file or folder of a run; a CourseError if it is damaged, or has not an output for each label."""
    with models.reading(path):
        return Network(*_READERS[path.name](path, labels))


def _read_keras(path, labels):
    return _parts(models.load_model(path))


def _read_half(path, labels):
    model = models.build_model(_read_name(path), len(labels))
    with np.load(path, allow_pickle=False) as saved:
        last = saved[f"weight_{len(saved.files) - 1}"]  # the bias of the logits
        trained.require_outputs(path.parent, labels, last.shape[-1])
        model.set_weights([saved[f"weight_{index}"].astype(np.float32) for index in range(len(saved.files))])
    return _parts(model)


def _read_name(path):
    """What the network is called whose weights lie in a run folder."""
    return (files.read_json(path.with_name("config.json")) or {}).get("model")


def save_half(folder, model):
    """Keep a model's weights in 16 bits; the folder's config.json names the model."""
    weights = {f"weight_{index}": weight.astype(np.float16) for index, weight in enumerate(model.get_weights())}
    np.savez(Path(folder) / trained.HALF_WEIGHTS, **weights)


def _parts(model):
    network = models.learning_part(model) if models.has_front_end(model) else None
    return functools.partial(model, training=False), network and functools.partial(network, training=False)


def _read_saved_model(path, labels):
    # The graph of a SavedModel may hold any operation, to write files for one: its weights alone are read.
    network, weights = plain.make_network(_read_name(path), len(labels)), str(path / "variables" / "variables")
    shapes = tf.train.load_checkpoint(weights).get_variable_to_shape_map()
    trained.require_outputs(path.parent, labels, shapes["network/logits/bias/.ATTRIBUTES/VARIABLE_VALUE"][-1])
    saved = tf.train.Checkpoint(network=network).read(weights)
    saved.assert_existing_objects_matched().expect_partial()
    return plain.Servable(network), network if plain.takes_log_mel(network) else None


_READERS = dict(zip(trained.MODELS, (_read_keras, _read_saved_model, _read_half)))
