"""Networks of the zoo in PyTorch, to compare with: the same layers, the same weights, the same answers."""

from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from utils.nets.architectures import Cepstrum, SubSpectralNormalization
from utils.nets.frontend import LOG_MEL_MEAN, LOG_MEL_SCALE
from utils.system.quiet import keras

EPSILON, MOMENTUM = 1e-3, 0.01  # of normalization, as Keras has them (PyTorch counts momentum the other way)


def _norm(n_dims, channels):
    return (nn.BatchNorm1d, nn.BatchNorm2d)[n_dims - 1](channels, EPSILON, MOMENTUM)


class _Pad(nn.Module):
    """Zeros before and after, where Keras's "same" puts one more after: PyTorch's own padding is even."""

    def __init__(self, *widths):
        super().__init__()
        self.widths = widths

    def forward(self, x):
        return functional.pad(x, self.widths)


class TCResNet8(nn.Module):
    """``architectures.tc_resnet`` with the channels of TC-ResNet8; log-mel (batch, frames, mels) to logits."""

    def __init__(self, n_labels, channels=(16, 24, 32, 48)):
        super().__init__()
        self.first = self._convolve(40, channels[0], 3)
        self.blocks, n_frames = nn.ModuleList(), 98
        for before, after in pairwise(channels):
            shortcut = self._convolve(before, after, 1, 2)
            # An even number of frames needs one more zero after than before.
            pad = [_Pad(3, 4)] if n_frames % 2 == 0 else []
            halve = self._convolve(before, after, 9, 2, padding=0 if pad else 4)
            keep = self._convolve(after, after, 9, activate=False)
            self.blocks.append(nn.ModuleList([shortcut, nn.Sequential(*pad, *halve, *keep)]))
            n_frames = -(-n_frames // 2)
        self.dropout = nn.Dropout(0.5)
        self.logits = nn.Linear(channels[-1], n_labels)

    @staticmethod
    def _convolve(before, after, width, stride=1, padding=None, activate=True):
        padding = width // 2 if padding is None else padding
        conv = nn.Conv1d(before, after, width, stride, padding, bias=False)
        return nn.Sequential(conv, _norm(1, after), *([nn.ReLU()] if activate else []))

    def forward(self, log_mel):
        """Logits."""
        x = self.first(((log_mel - LOG_MEL_MEAN) / LOG_MEL_SCALE).transpose(1, 2))
        for shortcut, main in self.blocks:
            x = functional.relu(main(x) + shortcut(x))
        return self.logits(self.dropout(x.mean(2)))


class DSCNNS(nn.Module):
    """``architectures.ds_cnn`` with the sizes of DS-CNN-S; pictures are (batch, channels, time, frequency)."""

    def __init__(self, n_labels, channels=64):
        super().__init__()
        self.register_buffer("cosines", torch.from_numpy(Cepstrum(10)(np.eye(40, dtype=np.float32)).numpy()))
        parts = [_Pad(1, 1, 4, 5), nn.Conv2d(1, channels, (10, 4), 2, bias=False), _norm(2, channels), nn.ReLU()]
        for _ in range(4):
            parts += [nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)]
            parts += [_norm(2, channels), nn.ReLU()]
            parts += [nn.Conv2d(channels, channels, 1, bias=False), _norm(2, channels), nn.ReLU()]
        self.stack = nn.Sequential(*parts)
        self.dropout = nn.Dropout(0.2)
        self.logits = nn.Linear(channels, n_labels)

    def forward(self, log_mel):
        """Logits."""
        x = ((log_mel[:, ::2] - LOG_MEL_MEAN) / LOG_MEL_SCALE) @ self.cosines
        return self.logits(self.dropout(self.stack(x[:, None]).mean((2, 3))))


class _SubSpectral(nn.Module):
    """Normalization of each channel in each of five bands of (batch, channels, frequency, time)."""

    def __init__(self, channels, bands=5):
        super().__init__()
        self.bands = bands
        self.norm = _norm(2, channels * bands)

    def forward(self, x):
        batch, channels, n_bins, n_frames = x.shape
        x = self.norm(x.reshape(batch, channels * self.bands, n_bins // self.bands, n_frames))
        return x.reshape(batch, channels, n_bins, n_frames)


class _BCBlock(nn.Module):
    def __init__(self, before, after, stride, dilation, widen):
        super().__init__()
        self.widen = None
        if widen:
            self.widen = nn.Sequential(nn.Conv2d(before, after, 1, bias=False), _norm(2, after), nn.ReLU())
        self.frequency = nn.Conv2d(after, after, (3, 1), (stride, 1), (1, 0), groups=after, bias=False)
        self.bands = _SubSpectral(after)
        self.time = nn.Sequential(
            nn.Conv2d(after, after, (1, 3), padding=(0, dilation), dilation=(1, dilation), groups=after, bias=False),
            _norm(2, after),
            nn.SiLU(),
            nn.Conv2d(after, after, 1, bias=False),
            nn.Dropout2d(0.1),
        )

    def forward(self, x):
        wide = x if self.widen is None else self.widen(x)
        wide = self.bands(self.frequency(wide))
        wide = wide + self.time(wide.mean(2, keepdim=True))
        return functional.relu(wide if self.widen is not None else wide + x)


class BCResNet1(nn.Module):
    """``architectures.bc_resnet`` with the width of BC-ResNet-1; pictures are (batch, channels, frequency, time)."""

    def __init__(self, n_labels, base=8):
        super().__init__()
        parts = [_Pad(2, 2, 1, 2), nn.Conv2d(1, 2 * base, 5, (2, 1), bias=False), _norm(2, 2 * base), nn.ReLU()]
        before = 2 * base
        stages = ((2, base, 1, 1), (2, int(1.5 * base), 2, 2), (4, 2 * base, 2, 4), (4, int(2.5 * base), 1, 8))
        for n_blocks, after, stride, dilation in stages:
            parts += [_BCBlock(before, after, stride, dilation, widen=True)]
            parts += [_BCBlock(after, after, 1, dilation, widen=False) for _ in range(n_blocks - 1)]
            before = after
        parts += [nn.Conv2d(before, before, 5, padding=(0, 2), groups=before, bias=False)]
        parts += [nn.Conv2d(before, 4 * base, 1, bias=False), _norm(2, 4 * base), nn.ReLU()]
        self.stack = nn.Sequential(*parts)
        self.logits = nn.Linear(4 * base, n_labels)

    def forward(self, log_mel):
        """Logits."""
        x = ((log_mel - LOG_MEL_MEAN) / LOG_MEL_SCALE).transpose(1, 2)[:, None]
        return self.logits(self.stack(x).mean((2, 3)))


class Conv1D(nn.Module):
    """``architectures.conv1d``: waveforms (batch, samples) to logits."""

    def __init__(self, n_labels, channels=8):
        super().__init__()
        parts, before = [_norm(1, 1)], 1
        for block in range(9):
            after = channels * 2**block
            for n_inputs in (before, after):
                parts += [nn.Conv1d(n_inputs, after, 3, padding=1), _norm(1, after), nn.ReLU()]
            parts.append(nn.MaxPool1d(2, ceil_mode=True))
            before = after
        self.stack = nn.Sequential(*parts, nn.Conv1d(before, 1024, 1))
        self.dense = nn.Sequential(nn.Linear(1024, 1024), nn.ReLU(), nn.Dropout(0.2))
        self.logits = nn.Linear(1024, n_labels)

    def forward(self, waveforms):
        """Logits."""
        return self.logits(self.dense(self.stack(waveforms[:, None]).amax(2)))


TWINS = {"tc_resnet8": TCResNet8, "ds_cnn_s": DSCNNS, "bc_resnet_1": BCResNet1, "conv1d": Conv1D}


def make_twin(name, network):
    """The PyTorch twin of a Keras network, with copies of its weights.

    Parameters
    ----------
    name : str
        One of ``TWINS``.
    network : keras.Model
        What learns in ``models.build_model(name)``.
    """
    twin = TWINS[name](network.output_shape[-1])
    inside = {part.norm for part in twin.modules() if isinstance(part, _SubSpectral)}
    for ours, theirs, copy in _PAIRS:
        # Keras numbers the layers of a class as they are made, and both networks are made in the same order.
        made = sorted((layer for layer in network.layers if type(layer) is ours), key=_number)
        parts = [part for part in twin.modules() if theirs(part) and part not in inside]
        for layer, part in zip(made, parts, strict=True):
            values = copy([weight.numpy() for weight in layer.weights], name.startswith("bc"))
            for value, target in zip(values, _tensors(part), strict=True):
                if value.shape != target.shape:
                    raise ValueError(f"{layer.name}: {value.shape} in Keras, {tuple(target.shape)} in PyTorch")
                target.data.copy_(torch.from_numpy(np.ascontiguousarray(value)))
    return twin


def _number(layer):
    *_, number = layer.name.split("_")
    return int(number) if number.isdigit() else 0


def _tensors(part):
    part = part.norm if isinstance(part, _SubSpectral) else part
    found = (getattr(part, name, None) for name in ("weight", "bias", "running_mean", "running_var"))
    return [tensor for tensor in found if tensor is not None]


def _copy_kernel(weights, upright):
    """(time, frequency, before, after) to (after, before, time, frequency), or frequency first if upright."""
    kernel = np.moveaxis(weights[0], (-1, -2), (0, 1))
    return [kernel.swapaxes(2, 3) if upright and kernel.ndim == 4 else kernel, *weights[1:]]


def _copy_depthwise(weights, upright):
    return _copy_kernel([weights[0].swapaxes(2, 3)], upright)


def _copy_bands(weights, _):
    """Ours has the channels of a band side by side, theirs the bands of a channel."""
    return [weight.reshape(5, -1).T.ravel() for weight in weights]


def _is_depthwise(part):
    return isinstance(part, nn.Conv2d) and part.groups > 1


_PAIRS = (
    (keras.layers.Dense, lambda part: isinstance(part, nn.Linear), _copy_kernel),
    (keras.layers.Conv1D, lambda part: isinstance(part, nn.Conv1d), _copy_kernel),
    (keras.layers.Conv2D, lambda part: isinstance(part, nn.Conv2d) and part.groups == 1, _copy_kernel),
    (keras.layers.DepthwiseConv2D, _is_depthwise, _copy_depthwise),
    (SubSpectralNormalization, lambda part: isinstance(part, _SubSpectral), _copy_bands),
    (
        keras.layers.BatchNormalization,
        lambda part: isinstance(part, nn.modules.batchnorm._BatchNorm),
        lambda weights, _: weights,
    ),
)
