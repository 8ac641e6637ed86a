"""The architectures of the zoo: from log-mel spectrograms (98 frames, 40 bins) to a logit for each label."""

import math
from itertools import pairwise

import numpy as np
import scipy.fft

from utils.audio import CLIP_SAMPLES
from utils.nets.frames import N_FRAMES, N_MELS, NETWORK
from utils.nets.frontend import LOG_MEL_MEAN, LOG_MEL_SCALE
from utils.system.quiet import keras, tf

layers = keras.layers

PAST_FRAMES = 80  # whole steps of a stream
CLIP_ALONE = "clip_alone"  # name of the layer that drops what came before a clip


def start():
    """Input of a network: the symbolic input, and the same scaled to about zero mean and unit variance."""
    inputs = keras.Input((N_FRAMES, N_MELS), name="log_mel")
    return inputs, layers.Rescaling(1 / LOG_MEL_SCALE, -LOG_MEL_MEAN / LOG_MEL_SCALE)(inputs)


def finish(inputs, x, n_labels):
    """A network from its input and what is left after pooling."""
    return keras.Model(inputs, layers.Dense(n_labels, name="logits")(x), name=NETWORK)


def tc_resnet(n_labels, channels, kernel_size=9, dropout=0.5, causal=False):
    """Temporal-convolution residual network.

    Mel bins are the channels of a 1-D convolution over time, so even the first layer sees
    all frequencies at once.

    Parameters
    ----------
    channels : sequence of int
        Of the first convolution, then of each residual block. A block whose number differs
        from the one before halves the number of frames.
    kernel_size : int
        In frames, of the convolutions in the blocks.
    causal : bool
        Whether convolutions see nothing of what comes after a frame: a stream then needs no look-ahead. Such a network
        learns from clips that follow others.

    References
    ----------
    Choi et al. (2019), Temporal Convolution for Real-time Keyword Spotting on Mobile
    Devices, arXiv:1904.03814, figure 2 and table 1.
    """
    inputs, x = start()
    x = _convolve(Past()(x) if causal else x, channels[0], 3, causal=causal)
    for before, n_channels in pairwise(channels):
        strides = 1 if n_channels == before else 2
        shortcut = x if strides == 1 else _convolve(x, n_channels, 1, strides, causal=causal)
        x = _convolve(x, n_channels, kernel_size, strides, causal=causal)
        x = _convolve(x, n_channels, kernel_size, activate=False, causal=causal)
        x = layers.ReLU()(layers.Add()([x, shortcut]))
    if causal:
        x = layers.Cropping1D((-(-PAST_FRAMES * x.shape[1] // (PAST_FRAMES + N_FRAMES)), 0), name=CLIP_ALONE)(x)
    x = layers.Dropout(dropout)(layers.GlobalAveragePooling1D()(x))
    return finish(inputs, x, n_labels)


def _convolve(x, n_channels, kernel_size, strides=1, activate=True, causal=False):
    padding = "same"
    if causal:
        # Of each ``strides`` frames the last is the newest that is seen.
        n_before, padding = kernel_size - strides, "valid"
        x = layers.ZeroPadding1D((n_before, 0))(x) if n_before >= 0 else layers.Cropping1D((-n_before, 0))(x)
    x = layers.Conv1D(n_channels, kernel_size, strides=strides, padding=padding, use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    return layers.ReLU()(x) if activate else x


@keras.saving.register_keras_serializable(package="course")
class Past(layers.Layer):
    """Puts sound before a clip, as in a stream: (batch, n, mels) to (batch, 80 + n, mels).

    In training the end of another clip of the batch, in use the clip's own end.
    """

    def call(self, frames, training=None):
        """Frames of before, then those of the clip."""
        before = tf.roll(frames, 1, axis=0) if training else frames
        return tf.concat([before[:, -PAST_FRAMES:], frames], axis=1)

    def compute_output_shape(self, input_shape):
        """So many frames more."""
        return (input_shape[0], input_shape[1] + PAST_FRAMES, input_shape[2])


def resnet(n_labels, channels, dropout=0.3):
    """Residual network over time and frequency: a spectrogram as a picture.

    ``channels`` are those of the first convolution, then of each residual block, of which all but the first halve
    time and frequency.

    References
    ----------
    He et al. (2016), Deep Residual Learning for Image Recognition, arXiv:1512.03385: with four blocks a ResNet-10.
    """
    inputs, x = start()
    drop = layers.Dropout(dropout)  # made first, as ever: layers draw their seeds in turn
    x = layers.Reshape((N_FRAMES, N_MELS, 1))(x)
    x = _normalize(layers.Conv2D(channels[0], 5, 2, padding="same", use_bias=False)(x))
    for block, (before, after) in enumerate(pairwise(channels)):
        strides, shortcut = 2 if block else 1, x
        if strides > 1 or before != after:
            shortcut = layers.BatchNormalization()(layers.Conv2D(after, 1, strides, use_bias=False)(x))
        x = _normalize(layers.Conv2D(after, 3, strides, padding="same", use_bias=False)(x))
        x = layers.BatchNormalization()(layers.Conv2D(after, 3, padding="same", use_bias=False)(x))
        x = layers.ReLU()(layers.Add()([x, shortcut]))
    return finish(inputs, drop(layers.GlobalAveragePooling2D()(x)), n_labels)


@keras.saving.register_keras_serializable(package="course")
class Cepstrum(layers.Layer):
    """Log-mel spectrograms (batch, frames, mels) to their first coefficients (batch, frames, n): MFCCs."""

    def __init__(self, n_coefficients, **kwargs):
        super().__init__(**kwargs)
        self.n_coefficients = n_coefficients

    def call(self, log_mel):
        """Orthonormal DCT-II over the mel bins."""
        cosines = scipy.fft.dct(np.eye(log_mel.shape[-1], dtype=np.float32), norm="ortho")[:, : self.n_coefficients]
        return tf.matmul(log_mel, cosines)


def ds_cnn(n_labels, channels, n_blocks, frequency_stride, block_stride):
    """Depthwise separable convolutions on MFCCs: first over time and frequency, then over channels.

    ``frequency_stride`` is that of the first convolution, whose stride in time is 2; ``block_stride`` that of the
    first block, in both directions.

    References
    ----------
    Zhang et al. (2017), Hello Edge: Keyword Spotting on Microcontrollers, arXiv:1711.07128, tables 1 and 9.
    """
    inputs, x = start()
    x = Cepstrum(10)(x[:, ::2])  # a frame every 20 ms
    x = layers.Reshape((N_FRAMES // 2, 10, 1))(x)
    x = _normalize(layers.Conv2D(channels, (10, 4), (2, frequency_stride), padding="same", use_bias=False)(x))
    for block in range(n_blocks):
        strides = block_stride if block == 0 else 1
        x = _normalize(layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False)(x))
        x = _normalize(layers.Conv2D(channels, 1, use_bias=False)(x))
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    return finish(inputs, x, n_labels)


def _normalize(x):
    return layers.ReLU()(layers.BatchNormalization()(x))


@keras.saving.register_keras_serializable(package="course")
class SubSpectralNormalization(layers.Layer):
    """Batch normalization of each channel in each of some equal bands of frequency.

    References
    ----------
    Chang et al. (2021), SubSpectral Normalization for Neural Audio Data Processing, arXiv:2103.13620.
    """

    def __init__(self, bands=5, **kwargs):
        super().__init__(**kwargs)
        self.bands = bands
        self.norm = layers.BatchNormalization()

    def build(self, input_shape):
        """Make the statistics: a channel of the normalization is a band of a channel."""
        self.norm.build((None, input_shape[2] // self.bands, self.bands * input_shape[3]))

    def call(self, x, training=None):
        """Normalize (batch, frames, bins, channels)."""
        _, frames, bins, channels = x.shape
        width = bins // self.bands
        x = tf.reshape(x, (-1, self.bands, width, channels))
        x = tf.reshape(tf.transpose(x, (0, 2, 1, 3)), (-1, width, self.bands * channels))
        x = self.norm(x, training=training)
        x = tf.transpose(tf.reshape(x, (-1, width, self.bands, channels)), (0, 2, 1, 3))
        return tf.reshape(x, (-1, frames, bins, channels))


def bc_resnet(n_labels, tau=1, dropout=0.1):
    """Broadcasted-residual network: 2-D features of time and frequency, to which 1-D ones of time are added.

    ``tau`` is the width: the first stage has 8 ``tau`` channels. Dropout is of whole channels.

    References
    ----------
    Kim et al. (2021), Broadcasted Residual Learning for Efficient Keyword Spotting, arXiv:2106.04140,
    tables 1 and 3.
    """
    base = int(8 * tau)
    inputs, x = start()
    x = layers.Reshape((N_FRAMES, N_MELS, 1))(x)
    x = _normalize(layers.Conv2D(2 * base, 5, (1, 2), padding="same", use_bias=False)(x))
    stages = ((2, base, 1, 1), (2, int(1.5 * base), 2, 2), (4, 2 * base, 2, 4), (4, int(2.5 * base), 1, 8))
    for n_blocks, channels, stride, dilation in stages:
        x = _bc_block(x, channels, stride, dilation, dropout, widen=True)
        for _ in range(n_blocks - 1):
            x = _bc_block(x, channels, 1, dilation, dropout)
    x = layers.ZeroPadding2D(((2, 2), (0, 0)))(x)
    x = layers.DepthwiseConv2D(5, use_bias=False)(x)  # over all of the five bins that are left
    x = _normalize(layers.Conv2D(4 * base, 1, use_bias=False)(x))
    return finish(inputs, layers.GlobalAveragePooling2D()(x), n_labels)


def _bc_block(x, channels, stride, dilation, dropout, widen=False):
    shortcut = x
    if widen:
        x = _normalize(layers.Conv2D(channels, 1, use_bias=False)(x))
    # TensorFlow has no depthwise convolution with two different strides on a CPU: every second bin is dropped.
    x = layers.DepthwiseConv2D((1, 3), padding="same", use_bias=False)(x)[:, :, ::stride]
    x = SubSpectralNormalization()(x)
    times = layers.AveragePooling2D((1, x.shape[2]))(x)
    times = layers.DepthwiseConv2D((3, 1), padding="same", dilation_rate=(dilation, 1), use_bias=False)(times)
    times = layers.Activation("silu")(layers.BatchNormalization()(times))
    times = layers.SpatialDropout2D(dropout)(layers.Conv2D(channels, 1, use_bias=False)(times))
    x = x + times  # the same for all bins: the broadcast
    return layers.ReLU()(x if widen else x + shortcut)


@keras.saving.register_keras_serializable(package="course")
class Tokens(layers.Layer):
    """Puts a learned token before the frames, and adds to each what tells its place: (batch, 1 + frames, size)."""

    def build(self, input_shape):
        """Make the token and the places."""
        n_frames, size = input_shape[1:]
        normal = keras.initializers.TruncatedNormal(stddev=0.02)
        self.token = self.add_weight(name="token", shape=(1, 1, size), initializer=normal)
        self.places = self.add_weight(name="places", shape=(1, n_frames + 1, size), initializer=normal)

    def call(self, frames):
        """Token and frames, each with its place."""
        token = tf.repeat(self.token, tf.shape(frames)[0], axis=0)
        return tf.concat([token, frames], axis=1) + self.places


def kwt(n_labels, size=64, n_blocks=12):
    """Keyword Transformer: a frame is a token, and one more token gathers what is needed to answer.

    ``size`` is that of a token; there is one head of attention.

    References
    ----------
    Berg et al. (2021), Keyword Transformer: A Self-Attention Model for Keyword Spotting, arXiv:2104.00769,
    table 1 (KWT-1: 64, 12 blocks, one head).
    """
    inputs, x = start()
    x = Tokens()(layers.Dense(size)(Cepstrum(N_MELS)(x)))
    for _ in range(n_blocks):
        x = layers.LayerNormalization()(layers.Add()([x, _attend(x, size)]))
        wide = layers.Dense(4 * size, activation="gelu")(x)
        x = layers.LayerNormalization()(layers.Add()([x, layers.Dense(size)(wide)]))
    return finish(inputs, x[:, 0], n_labels)


def _attend(x, size):
    query, key, value = (layers.Dense(size, use_bias=False)(x) for _ in range(3))
    alike = layers.Dot((2, 2))([query, key]) / math.sqrt(size)
    return layers.Dense(size)(layers.Dot((2, 1))([layers.Softmax()(alike), value]))


def conv1d(n_labels, channels=8):
    """The original course's network on raw waveforms: nine blocks of two convolutions.

    28 million parameters and 2.4 billion multiply-accumulates a clip: for a GPU. ``channels`` are those of the first
    block; each further block has twice as many.
    """
    inputs = keras.Input((CLIP_SAMPLES,), name="waveform")
    x = layers.Reshape((CLIP_SAMPLES, 1))(inputs)
    x = layers.BatchNormalization()(x)
    for block in range(9):
        for _ in range(2):
            x = layers.Conv1D(channels * 2**block, 3, padding="same")(x)
            x = layers.BatchNormalization()(x)
            x = layers.ReLU()(x)
        x = layers.MaxPooling1D(2, padding="same")(x)
    x = layers.Conv1D(1024, 1)(x)
    x = layers.GlobalMaxPooling1D()(x)
    x = layers.Dense(1024, activation="relu")(x)
    x = layers.Dropout(0.2)(x)
    return keras.Model(inputs, layers.Dense(n_labels, name="logits")(x), name="conv1d")
