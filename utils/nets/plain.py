"""The default model and the original's, written out in plain TensorFlow: layers, networks, optimizer.

The same as ``architectures.tc_resnet`` and ``architectures.conv1d``, which are made of Keras's layers.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from utils import models
from utils.audio import CLIP_SAMPLES
from utils.nets.frames import N_FRAMES, N_MELS
from utils.nets.frontend import LOG_MEL_MEAN, LOG_MEL_SCALE, log_mel
from utils.system.quiet import keras, tf


class Moment(NamedTuple):
    """Where training is; evaluation has none.

    Random numbers depend on it alone, so that a resumed run draws the same.
    """

    seed: int
    step: tf.Tensor


class Layer(tf.Module):
    """Something that computes; TensorBoard's graph shows it as a box with the name of its class."""

    def __call__(self, x, moment=None):
        """Outputs for a batch; ``moment`` is given in training alone."""
        with tf.name_scope(type(self).__name__.strip("_")):
            return self.compute(x, moment)


def _glorot(rng, shape):
    """Weights as Glorot and Bengio (2010) start them: even between bounds that keep signals at one size."""
    field = math.prod(shape[:-2])
    bound = math.sqrt(6 / (field * (shape[-2] + shape[-1])))
    return tf.Variable(rng.uniform(-bound, bound, shape).astype(np.float32), name="kernel")


class Dense(Layer):
    """A weight for each pair of input and output, and a bias."""

    def __init__(self, rng, n_inputs, n_outputs):
        super().__init__()
        self.kernel = _glorot(rng, (n_inputs, n_outputs))
        self.bias = tf.Variable(tf.zeros(n_outputs), name="bias")

    def compute(self, x, moment):
        """Outputs of each row."""
        return tf.nn.bias_add(tf.matmul(x, self.kernel), self.bias)


class Conv1D(Layer):
    """Convolution over time: (batch, steps, n_inputs) to (batch, steps / stride, n_outputs)."""

    def __init__(self, rng, n_inputs, n_outputs, width, stride=1, bias=False):
        super().__init__()
        self.kernel = _glorot(rng, (width, n_inputs, n_outputs))
        self.bias = tf.Variable(tf.zeros(n_outputs), name="bias") if bias else None
        self.stride = stride

    def compute(self, x, moment):
        """Outputs of each step."""
        x = tf.nn.conv1d(x, self.kernel, self.stride, "SAME")
        return x if self.bias is None else tf.nn.bias_add(x, self.bias)


class BatchNorm(Layer):
    """Brings each channel to mean 0 and variance 1, then scales it by what was learned.

    In training by the mean and variance of the batch, over all replicas, which also move the averages;
    in evaluation by these averages. The original's script collected the updates of the averages before
    there were any, so that they never moved: it was evaluated with a network that nobody had trained.

    References
    ----------
    Ioffe and Szegedy (2015), Batch Normalization, arXiv:1502.03167.
    """

    MOMENTUM, EPSILON = 0.99, 1e-3

    def __init__(self, n_channels):
        super().__init__()
        self.gamma = tf.Variable(tf.ones(n_channels), name="gamma")
        self.beta = tf.Variable(tf.zeros(n_channels), name="beta")
        # Each replica comes to the same averages, so that of the first will do.
        kept = {"trainable": False, "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA}
        self.moving_mean = tf.Variable(tf.zeros(n_channels), name="moving_mean", **kept)
        self.moving_variance = tf.Variable(tf.ones(n_channels), name="moving_variance", **kept)

    def compute(self, x, moment):
        """Normalized values."""
        mean, variance = self.moving_mean, self.moving_variance
        if moment is not None:
            mean, variance = _moments(x)
            for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
                average.assign(average * self.MOMENTUM + value * (1 - self.MOMENTUM))
        return tf.nn.batch_normalization(x, mean, variance, self.beta, self.gamma, self.EPSILON)


def _moments(x):
    """Mean and variance of each channel of a batch, all of its replicas together."""
    replicas, axes = tf.distribute.get_replica_context(), list(range(len(x.shape) - 1))
    if replicas.num_replicas_in_sync == 1:
        return tf.nn.moments(x, axes)
    n_values = tf.cast(tf.math.reduce_prod(tf.shape(x)[:-1]), tf.float32)
    sums = [n_values, tf.reduce_sum(x, axes), tf.reduce_sum(tf.square(x), axes)]
    n_values, total, squares = replicas.all_reduce(tf.distribute.ReduceOp.SUM, sums)
    mean = total / n_values
    return mean, squares / n_values - tf.square(mean)


class Dropout(Layer):
    """In training, leaves out a random share of the values and makes the others larger."""

    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def compute(self, x, moment):
        """Fewer, larger values in training; the same in evaluation."""
        if moment is None:
            return x
        replicas = tf.distribute.get_replica_context()
        n_replicas, replica = replicas.num_replicas_in_sync, replicas.replica_id_in_sync_group
        # Row i of a batch lies on replica i modulo their number: each takes its part of one draw for all.
        shape = tf.concat([tf.shape(x)[:1] * n_replicas, tf.shape(x)[1:]], 0)
        draw = tf.random.stateless_uniform(shape, tf.stack([tf.constant(moment.seed, tf.int64), moment.step]))
        kept = tf.cast(draw[replica::n_replicas] >= self.rate, tf.float32)
        return x * kept / (1 - self.rate)


class _Block(Layer):
    """Convolution, normalization and, unless it ends a residual, ReLU."""

    def __init__(self, rng, n_inputs, n_outputs, width, stride=1, activate=True, bias=False):
        super().__init__()
        self.conv = Conv1D(rng, n_inputs, n_outputs, width, stride, bias)
        self.norm = BatchNorm(n_outputs)
        self.activate = activate

    def compute(self, x, moment):
        x = self.norm(self.conv(x), moment)
        return tf.nn.relu(x) if self.activate else x


class TCResNet(Layer):
    """Log-mel spectrograms (batch, 98, 40) to logits: ``architectures.tc_resnet``."""

    def __init__(self, rng, n_labels, channels, dropout):
        super().__init__()
        self.first = _Block(rng, N_MELS, channels[0], 3)
        self.blocks = []
        for before, after in pairwise(channels):
            shortcut = _Block(rng, before, after, 1, 2)
            self.blocks.append((shortcut, _Block(rng, before, after, 9, 2), _Block(rng, after, after, 9, 1, False)))
        self.dropout = Dropout(dropout)
        self.logits = Dense(rng, channels[-1], n_labels)

    def compute(self, log_mel, moment):
        """Logits."""
        x = self.first((log_mel - LOG_MEL_MEAN) / LOG_MEL_SCALE, moment)
        for shortcut, first, second in self.blocks:
            x = tf.nn.relu(second(first(x, moment), moment) + shortcut(x, moment))
        return self.logits(self.dropout(tf.reduce_mean(x, 1), moment))


class OriginalConv1D(Layer):
    """Waveforms (batch, 16000) to logits: ``architectures.conv1d``."""

    def __init__(self, rng, n_labels, channels=8):
        super().__init__()
        self.norm = BatchNorm(1)
        sizes = [1, *(channels * 2**block for block in range(9))]
        self.blocks = [
            (_Block(rng, before, after, 3, bias=True), _Block(rng, after, after, 3, bias=True))
            for before, after in pairwise(sizes)
        ]
        self.last = Conv1D(rng, sizes[-1], 1024, 1, bias=True)
        self.dense = Dense(rng, 1024, 1024)
        self.dropout = Dropout(0.2)
        self.logits = Dense(rng, 1024, n_labels)

    def compute(self, waveforms, moment):
        """Logits."""
        x = self.norm(waveforms[:, :, None], moment)
        for first, second in self.blocks:
            x = tf.nn.max_pool1d(second(first(x, moment), moment), 2, 2, "SAME")
        x = tf.nn.relu(self.dense(tf.reduce_max(self.last(x), 1)))
        return self.logits(self.dropout(x, moment))


class AdamW(tf.Module):
    """Adam whose weight decay is apart from the gradients.

    Each replica's copy of a variable is changed by the sum of all replicas' gradients. ``learning_rate`` is a number,
    or a function of the step.

    References
    ----------
    Kingma and Ba (2015), arXiv:1412.6980; Loshchilov and Hutter (2019), arXiv:1711.05101.
    """

    BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7

    def __init__(self, variables, learning_rate, weight_decay):
        super().__init__()
        self._variables, self._learning_rate, self._weight_decay = variables, learning_rate, weight_decay
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        self.means = [tf.Variable(tf.zeros_like(v), trainable=False, name="mean") for v in variables]
        self.squares = [tf.Variable(tf.zeros_like(v), trainable=False, name="square") for v in variables]

    @property
    def learning_rate(self):
        """Of the next step."""
        return self._learning_rate(self.step) if callable(self._learning_rate) else self._learning_rate

    def apply(self, gradients):
        """Change the variables; called on each replica with its own gradients."""
        tf.distribute.get_replica_context().merge_call(self._apply, (gradients,))

    def _apply(self, strategy, gradients):
        pairs = list(zip(gradients, self._variables, strict=True))
        gradients = strategy.extended.batch_reduce_to(tf.distribute.ReduceOp.SUM, pairs)
        rate, taken = self.learning_rate, tf.cast(self.step + 1, tf.float32)
        # Means start at zero; this makes up for it.
        alpha = rate * tf.sqrt(1 - tf.pow(self.BETA_2, taken)) / (1 - tf.pow(self.BETA_1, taken))

        def update(variable, gradient, mean, square):
            variable.assign_sub(variable * self._weight_decay * rate)
            mean.assign_add((gradient - mean) * (1 - self.BETA_1))
            square.assign_add((tf.square(gradient) - square) * (1 - self.BETA_2))
            variable.assign_sub(mean * alpha / (tf.sqrt(square) + self.EPSILON))

        for gradient, variable, *slots in zip(gradients, self._variables, self.means, self.squares, strict=True):
            strategy.extended.update(variable, update, (gradient, *slots))
        strategy.extended.update(self.step, lambda step: step.assign_add(1))


NETWORKS = {"tc_resnet8_1.2": TCResNet, "conv1d": OriginalConv1D}


def make_network(name, n_labels, seed=0):
    """A network with fresh weights: one of ``NETWORKS``, or ValueError."""
    if name not in NETWORKS:
        raise ValueError(f"no model {name!r}: there are {' and '.join(NETWORKS)}")
    return NETWORKS[name](np.random.default_rng(seed), n_labels, **models.NETWORKS[name].arguments)


def takes_log_mel(network):
    """Whether a network's input is a log-mel spectrogram, not a waveform."""
    return isinstance(network, TCResNet)


def name_variables(module):
    """(path, variable) of each variable of a module, such as ``first/conv/kernel``, in the order they are made in."""
    return [(path, part) for path, part in _walk(module) if isinstance(part, tf.Variable)]


def _walk(module, path=""):
    """(path, part) of all that a module is made of."""
    for name, part in tf.train.TrackableView.children(module).items():
        yield path + name, part
        if not isinstance(part, tf.Variable):
            yield from _walk(part, f"{path}{name}/")


def copy_weights(model, network):
    """Give a network of this module the weights of the same one made of Keras's layers (``architectures``)."""
    kinds = {Conv1D: keras.layers.Conv1D, BatchNorm: keras.layers.BatchNormalization, Dense: keras.layers.Dense}
    for ours, theirs in kinds.items():
        targets = [part for _, part in _walk(network) if isinstance(part, ours)]
        sources = sorted((layer for layer in model.layers if isinstance(layer, theirs)), key=_place)
        for source, target in zip(sources, targets, strict=True):
            for weight in source.weights:
                getattr(target, weight.name).assign(weight)


def _place(layer):
    """Keras numbers the layers of a class as they are made; logits come last."""
    *_, last = layer.name.split("_")
    return layer.name == "logits", int(last) if last.isdigit() else 0


def describe(module):
    """Table of a module's variables."""
    rows = [(name, tuple(variable.shape), variable.shape.num_elements()) for name, variable in name_variables(module)]
    lines = [f"{name:32}{shape!s:20}{size:12,}" for name, shape, size in rows]
    return "\n".join([*lines, f"{'all':52}{sum(size for *_, size in rows):12,}"])


class Servable(tf.Module):
    """What is saved: raw waveforms (batch, 16000) in [-1, 1) to logits (batch, n_labels).

    Networks on log-mel spectrograms can be called from there on, too: ``recognise_log_mel``.
    """

    def __init__(self, network):
        super().__init__()
        self.network = network
        if takes_log_mel(network):
            spectrograms = tf.TensorSpec((None, N_FRAMES, N_MELS), tf.float32, name="log_mel")
            self.recognise_log_mel = tf.function(network, input_signature=[spectrograms])

    @tf.function(input_signature=[tf.TensorSpec((None, CLIP_SAMPLES), tf.float32, name="waveforms")])
    def __call__(self, waveforms):
        """Logits."""
        return self.recognise(waveforms)

    def recognise(self, waveforms):
        """Logits, computed in the graph of whoever calls."""
        if takes_log_mel(self.network):
            with tf.name_scope("log_mel"):
                waveforms = log_mel(waveforms)
        return self.network(waveforms)
