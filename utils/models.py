"""The networks, by name: raw waveforms (16000,) in, a logit for each label out."""

import argparse
import difflib
import math

from utils.audio import CLIP_SAMPLES
from utils.features import N_FRAMES, N_MELS
from utils.frontend import LOG_MEL_MEAN, LOG_MEL_SCALE, LogMel
from utils.labels import LABELS
from utils.quiet import keras

layers = keras.layers

DEFAULT = "tc_resnet8_1.2"
N_LABELS = len(LABELS)
NETWORK = "network"  # name of the part of a model that comes after its front end


def tc_resnet(n_labels, channels, kernel_size=9, dropout=0.5):
    """Temporal-convolution residual network on log-mel spectrograms.

    Mel bins are the channels of a 1-D convolution over time, so even the first layer sees
    all frequencies at once.

    Parameters
    ----------
    n_labels : int
    channels : sequence of int
        Of the first convolution, then of each residual block.
    kernel_size : int
        In frames, of the convolutions in the blocks.
    dropout : float

    References
    ----------
    Choi et al. (2019), Temporal Convolution for Real-time Keyword Spotting on Mobile
    Devices, arXiv:1904.03814, figure 2 and table 1.
    """
    inputs = keras.Input((N_FRAMES, N_MELS), name="log_mel")
    x = layers.Rescaling(1 / LOG_MEL_SCALE, -LOG_MEL_MEAN / LOG_MEL_SCALE)(inputs)
    x = _convolve(x, channels[0], 3)
    for n_channels in channels[1:]:
        shortcut = _convolve(x, n_channels, 1, strides=2)
        x = _convolve(x, n_channels, kernel_size, strides=2)
        x = _convolve(x, n_channels, kernel_size, activate=False)
        x = layers.ReLU()(layers.Add()([x, shortcut]))
    x = layers.GlobalAveragePooling1D()(x)
    x = layers.Dropout(dropout)(x)
    return keras.Model(inputs, layers.Dense(n_labels, name="logits")(x), name=NETWORK)


def _convolve(x, n_channels, kernel_size, strides=1, activate=True):
    x = layers.Conv1D(n_channels, kernel_size, strides=strides, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    return layers.ReLU()(x) if activate else x


def conv1d(n_labels):
    """The original course's network on raw waveforms: nine blocks of two convolutions.

    28 million parameters and 2.4 billion multiply-accumulates a clip: for a GPU.
    """
    inputs = keras.Input((CLIP_SAMPLES,), name="waveform")
    x = layers.Reshape((CLIP_SAMPLES, 1))(inputs)
    x = layers.BatchNormalization()(x)
    for block in range(9):
        for _ in range(2):
            x = layers.Conv1D(8 * 2**block, 3, padding="same")(x)
            x = layers.BatchNormalization()(x)
            x = layers.ReLU()(x)
        x = layers.MaxPooling1D(2, padding="same")(x)
    x = layers.Conv1D(1024, 1)(x)
    x = layers.GlobalMaxPooling1D()(x)
    x = layers.Dense(1024, activation="relu")(x)
    x = layers.Dropout(0.2)(x)
    return keras.Model(inputs, layers.Dense(n_labels, name="logits")(x), name="conv1d")


# Name -> builder of what comes after the front end; conv1d has none.
NETWORKS = {
    "tc_resnet8_1.2": lambda n_labels: tc_resnet(n_labels, (20, 28, 40, 58), dropout=0.3),
    "conv1d": conv1d,
}


def model_name(text):
    """Argument type: the name of a model, or an error that suggests the nearest one."""
    if text in NETWORKS:
        return text
    near = difflib.get_close_matches(text, NETWORKS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(NETWORKS)}"
    raise argparse.ArgumentTypeError(f"no model {text!r}, {hint}")


def build_model(name=DEFAULT, n_labels=N_LABELS):
    """Build a model with fresh weights.

    Parameters
    ----------
    name : str
        One of ``NETWORKS``.
    n_labels : int

    Returns
    -------
    keras.Model
        Float32 waveforms (batch, 16000) in [-1, 1) to logits (batch, n_labels). Of a model with a front
        end, the layer called ``network`` is the part that learns.

    Raises
    ------
    ValueError
        If there is no such model.
    """
    if name not in NETWORKS:
        raise ValueError(f"no model {name!r}: there are {', '.join(NETWORKS)}")
    network = NETWORKS[name](n_labels)
    if network.name != NETWORK:
        return network
    inputs = keras.Input((CLIP_SAMPLES,), name="waveform")
    return keras.Model(inputs, network(LogMel(name="front_end")(inputs)), name=name.replace(".", "_"))


def learning_part(model):
    """The part of a model that training changes: its network after the front end, or all of it."""
    return model.get_layer(NETWORK) if has_front_end(model) else model


def has_front_end(model):
    """Whether a model computes log-mel spectrograms first."""
    return any(layer.name == NETWORK for layer in model.layers)


def count_macs(model):
    """Multiply-accumulates for one clip, of convolutions and dense layers.

    The front end is left out, as in the papers' tables.
    """
    macs = 0
    for layer in learning_part(model).layers:
        if isinstance(layer, layers.Dense):
            macs += math.prod(layer.kernel.shape)
        elif isinstance(layer, (layers.Conv1D, layers.Conv2D)):
            macs += math.prod(layer.output.shape[1:-1]) * math.prod(layer.kernel.shape)
    return macs
