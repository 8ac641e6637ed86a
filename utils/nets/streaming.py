"""Networks in a form that keeps state: each frame of sound is computed once, however many seconds it is part of.

A convolution over time needs the last frames of its input. Here it keeps them from one step to the next in a ring
buffer, its **state**, instead of computing them anew. The weights are those of the network for one second.

References
----------
Rybakov et al. (2020), Streaming keyword spotting on mobile devices, arXiv:2005.06720.
"""

from typing import NamedTuple

from utils.nets.architectures import CLIP_ALONE, Past
from utils.nets.frames import N_MELS
from utils.system.cli import CourseError
from utils.system.quiet import keras

layers, ops = keras.layers, keras.ops

STEPS = (8, 16, 32)  # frames of a step that are tried: the strides of the network have to divide them
CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.DepthwiseConv2D)
POOLING = (layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D)
DROPOUT = (layers.Dropout, layers.SpatialDropout2D)
PADDING = (layers.ZeroPadding1D, layers.ZeroPadding2D, layers.Cropping1D)
# What treats each frame alone.
FRAMEWISE = {"Rescaling", "BatchNormalization", "ReLU", "Activation", "Dense", "Cepstrum", "SubSpectralNormalization"}


@keras.saving.register_keras_serializable(package="course")
class RingBuffer(layers.Layer):
    """The last frames of before, then those of this step: (n_streams, frames, ...) to (n_streams, n + frames, ...).

    What it keeps begins as zeros, as a convolution pads them.
    """

    def __init__(self, n_frames, **settings):
        super().__init__(**settings)
        self.n_frames = n_frames

    def build(self, input_shape):
        """Make the state."""
        n_streams, _, *rest = input_shape
        shape = (n_streams, self.n_frames, *rest)
        self.state = self.add_weight(name="state", shape=shape, initializer="zeros", trainable=False)

    def call(self, frames):
        """Old frames and new ones; the last of them are kept for the next step."""
        whole = ops.concatenate([self.state, frames], axis=1)
        self.state.assign(whole[:, -self.n_frames :])
        return whole

    def get_config(self):
        """For saving."""
        return {**super().get_config(), "n_frames": self.n_frames}


class Streaming(NamedTuple):
    """A network that keeps state.

    Attributes
    ----------
    model : keras.Model
        From a step's log-mel frames (n_streams, n_frames, 40) to logits (n_streams, n_labels). These are of the step's
        own frames: their running mean is the answer.
    n_frames : int
        Of a step.
    delay : int
        Frames by which an answer comes later than the frame it is about: the look-ahead. Convolutions with ``same``
        padding see what follows a frame, so the answer has to wait for that. Causal ones see none of it.
    """

    model: keras.Model
    n_frames: int
    delay: int

    @property
    def states(self):
        """The variables that are kept from one step to the next."""
        return [layer.state for layer in self.model.layers if isinstance(layer, RingBuffer)]

    def make_step(self):
        """Function from log-mel frames and states to logits and next states, which changes no variable.

        The weights are in it as constants.
        """
        model = self.model
        weights, others = ([v.numpy() for v in of] for of in (model.trainable_variables, model.non_trainable_variables))
        paths = [variable.path for variable in model.non_trainable_variables]
        places = [paths.index(state.path) for state in self.states]

        def step(log_mel, states):
            for place, state in zip(places, states):
                others[place] = state
            logits, after = model.stateless_call(weights, others, log_mel, training=False)
            return logits, [after[place] for place in places]

        return step


def make_streaming(network, n_streams=1):
    """The streaming form of a network, with the same weights.

    Parameters
    ----------
    network : keras.Model
        Log-mel spectrograms (batch, frames, 40) to logits: convolutions, a mean over time, a dense layer, as TC-ResNet,
        BC-ResNet and the other residual networks are.
    n_streams : int
        That are heard at once.

    Returns
    -------
    Streaming

    Raises
    ------
    CourseError
        If a layer needs the whole second at once, as attention does.
    """
    for n_frames in STEPS:
        try:
            return _Converter(network, n_streams, n_frames).convert()
        except _StridesDoNotDivide:
            continue
    raise CourseError(f"{network.name} cannot stream: its strides over time do not divide {STEPS[-1]} frames")


class _StridesDoNotDivide(Exception):
    pass


class _Converter:
    """Makes each layer of a network anew for the frames of a step.

    Of each tensor it knows the **lag**: by how many of its frames it is later than in the network for one second.
    """

    def __init__(self, network, n_streams, n_frames):
        self._network, self._shape = network, (n_streams, n_frames, N_MELS)
        self._copies, self._lags = [], {}
        self._pooled = None  # the tensor that is averaged over time

    def convert(self):
        frames = keras.Input(batch_shape=self._shape, name="log_mel")
        self._lags[frames] = 0
        model = keras.models.clone_model(self._network, frames, lambda layer: layer, self._call)
        for layer, copy in self._copies:
            copy.set_weights([weight.reshape(own.shape) for weight, own in zip(layer.get_weights(), copy.weights)])
        n_frames = self._shape[1]
        return Streaming(model, n_frames, self._lags[self._pooled] * (n_frames // self._pooled.shape[1]))

    def _call(self, layer, x, *others, **_settings):
        """What becomes of a layer."""
        name = type(layer).__name__
        if isinstance(layer, (*DROPOUT, Past)) or layer.name == CLIP_ALONE:  # a stream has a past of its own
            return x
        if isinstance(layer, POOLING):
            self._pooled = x
            return self._average(x)
        if name == "Add":
            return self._add(*(x if isinstance(x, (list, tuple)) else (x, *others)))
        if x not in self._lags:  # after the mean over time
            return self._answer(layer, x)
        if isinstance(layer, CONVOLUTIONS):
            return self._convolve(layer, x)
        if isinstance(layer, PADDING):
            return self._pad(layer, x)
        if name == "Reshape":
            y = layers.Reshape((x.shape[1], *layer.target_shape[1:]))(x)
        elif name == "GetItem" and others[0][1] == slice(None):  # bins, not frames
            y = layer(x, *others)
        elif name == "AveragePooling2D" and layer.pool_size[0] == 1:
            y = layer(x)
        elif name in FRAMEWISE:
            y = self._copy(layer)(x)
        else:
            raise CourseError(f"{self._network.name} cannot stream: its layer {layer.name} needs the whole second")
        self._lags[y] = self._lags[x]
        return y

    # Of a mean and of a dense layer tflite-micro rounds the eight bits otherwise than LiteRT. Pooling and a convolution
    # of one frame compute the same, and give the same bytes in both.

    def _average(self, x):
        pool = layers.AveragePooling1D if len(x.shape) == 3 else layers.AveragePooling2D
        return layers.Reshape((1, x.shape[-1]))(pool(x.shape[1:-1])(x) if max(x.shape[1:-1]) > 1 else x)

    def _answer(self, layer, x):
        if not isinstance(layer, layers.Dense):
            raise CourseError(f"{self._network.name} cannot stream: a dense layer should follow its mean over time")
        dense = layers.Conv1D(layer.units, 1, name=layer.name)
        self._copies.append((layer, dense))
        return layers.Flatten()(dense(x))

    def _copy(self, layer, **changes):
        copy = type(layer).from_config({**layer.get_config(), **changes})
        self._copies.append((layer, copy))
        return copy

    def _pad(self, layer, x):
        """Frames that were padded with zeros: in a stream there is sound instead, which the convolution remembers."""
        if isinstance(layer, layers.Cropping1D):
            before = -layer.cropping[0]
        elif isinstance(layer, layers.ZeroPadding1D):
            before = layer.padding[0]
        else:
            before = layer.padding[0][0]
        y = layers.Identity()(x)
        self._lags[y] = self._lags[x] - before
        return y

    def _convolve(self, layer, x):
        sizes, strides, dilations = (
            [value] if isinstance(value, int) else list(value)
            for value in (layer.kernel_size, layer.strides, layer.dilation_rate)
        )
        reaches = [(size - 1) * dilation + 1 for size, dilation in zip(sizes, dilations)]
        if x.shape[1] % strides[0]:
            raise _StridesDoNotDivide
        pads = [
            _pad_as(layer.padding, n, reach, stride)
            for n, reach, stride in zip(layer.input.shape[1:-1], reaches, strides)
        ]
        lag = self._lags[x] - pads[0][0]
        # So many frames of before that the convolution meets the same frames as in the network for one second.
        n_before = next(n for n in range(reaches[0] - strides[0], reaches[0]) if (n + lag) % strides[0] == 0)
        if max(sizes) == 1:
            # Frames are left out after it, not before: TensorFlow's converter would leave it out of eight bits.
            y = self._copy(layer, strides=1)(x)
            if max(strides) > 1:
                y = y[(slice(None), slice(-n_before, None, strides[0]), *(slice(None, None, n) for n in strides[1:]))]
            self._lags[y] = (n_before + lag) // strides[0]
            return y
        if n_before > 0:
            x = RingBuffer(n_before)(x)
        elif n_before < 0:
            x = x[:, -n_before:]
        if any(map(any, pads[1:])):
            x = layers.ZeroPadding2D(((0, 0), pads[1]))(x)
        y = self._copy(layer, padding="valid")(x)
        self._lags[y] = (n_before + lag) // strides[0]
        return y

    def _add(self, *tensors):
        """A sum of tensors, of which those that are early wait for the last one."""
        latest = max(self._lags[x] for x in tensors)
        waiting = [
            RingBuffer(latest - self._lags[x])(x)[:, : x.shape[1]] if self._lags[x] < latest else x for x in tensors
        ]
        y = layers.Add()(waiting) if all(x.shape == waiting[0].shape for x in waiting) else waiting[0] + waiting[1]
        self._lags[y] = latest
        return y


def _pad_as(padding, n, reach, stride):
    """Zeros before and after: as TensorFlow pads ``n`` frames or bins for a convolution that reaches over so many."""
    if padding == "causal":
        return reach - 1, 0
    total = max((-(-n // stride) - 1) * stride + reach - n, 0) if padding == "same" else 0
    return total // 2, total - total // 2
