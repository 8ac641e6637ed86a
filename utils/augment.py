"""Changes to clips that leave the word as it is: noise, shift, stretch, gain, masks, mixup.

A waveform is float32, shape (n_samples,), with amplitudes in [-1, 1), and so is what becomes of it. Nothing is
clipped here: sums may exceed full scale, and :func:`count_clipped` says how many samples do. Randomness comes in
as ``rng``, a ``numpy.random.Generator``. Bad input is a ValueError that says what was expected.

Used in: 2_preprocess_augment.ipynb. Training has a form of its own, in :mod:`utils.nets.changes`.
"""

import math
import operator

import numpy as np

from utils import audio


def mix_background_noise(waveform, noise, snr_db, rng):
    """Add a random stretch of a noise recording, at least as long as the clip, at a signal-to-noise ratio.

    ``snr_db`` is the mean power of the whole clip over that of the noise added, in dB; with a silent one there is
    none to be had.
    """
    _check_waveform(waveform)
    return _add_at_snr(waveform, _random_stretch(noise, len(waveform), rng), snr_db)


def mix_lowered(waveform, noise, lower_db, rng):
    """Add a random stretch of a noise recording, ``lower_db`` dB lower than it was recorded.

    The original course's rule: at 0 dB a recording comes in as loud as it is, whatever the clip's loudness.
    """
    _check_waveform(waveform)
    return waveform + change_gain(_random_stretch(noise, len(waveform), rng), -_number(lower_db, "dB"))


def add_white_noise(waveform, snr_db, rng):
    """Add white Gaussian noise at a signal-to-noise ratio as of :func:`mix_background_noise`."""
    _check_waveform(waveform)
    return _add_at_snr(waveform, rng.standard_normal(len(waveform), np.float32), snr_db)


def add_white_counts(waveform, counts, rng):
    """Add white Gaussian noise whose standard deviation is given in int16 counts: the original course's factor.

    It used 1,000 (loud) and 200.
    """
    _check_waveform(waveform)
    if _number(counts, "counts") < 0:
        raise ValueError(f"expected a standard deviation of 0 or more counts, got {counts}")
    return waveform + np.float32(counts / audio.FULL_SCALE) * rng.standard_normal(len(waveform), np.float32)


def shift(waveform, n_samples):
    """Move a clip in time by a whole number of samples; silence comes in at the edge.

    A positive shift moves it later, a negative one earlier. ``np.roll`` brings what left back in at the other end.
    """
    _check_waveform(waveform)
    try:
        n_samples = operator.index(n_samples)
    except TypeError:
        raise ValueError(f"expected a whole number of samples, got {n_samples!r}") from None
    size = len(waveform)
    kept = waveform[max(0, -n_samples) : max(0, size - n_samples)]
    before = min(max(0, n_samples), size)
    return np.pad(kept, (before, size - before - len(kept)))


def stretch(waveform, rate):
    """Say a clip faster (``rate`` above 1) or slower (below 1) at the same pitch, in the same length.

    A phase vocoder (Flanagan & Golden 1966); what becomes too long is cut at the end, what becomes too short is
    filled up with silence. Rate 1.0 changes nothing.
    """
    _check_waveform(waveform)
    if _number(rate, "times as fast") <= 0:
        raise ValueError(f"expected a rate above 0, got {rate}")
    if rate == 1:
        return waveform.copy()
    from librosa.effects import time_stretch  # slow to import

    stretched = time_stretch(waveform, rate=rate)[: len(waveform)]
    return np.pad(stretched, (0, len(waveform) - len(stretched)))


def change_gain(waveform, gain_db):
    """Louder (above 0 dB) or quieter (below): 6 dB double the amplitude, about."""
    _check_waveform(waveform)
    return waveform * np.float32(10 ** (_number(gain_db, "dB") / 20))


def mask_spectrogram(log_mel, rng, masks=2, mask_frames=20, mask_mels=8):
    """Hide random stretches of time and bands of mel bins of a log-mel spectrogram (n_frames, n_mels) behind its mean.

    ``masks`` of each kind, of widths that are uniform from 0 to ``mask_frames`` and ``mask_mels``: SpecAugment without
    its time warping (Park et al. 2019, arXiv:1904.08779, section 2).
    """
    _check_array(log_mel, "a log-mel spectrogram (n_frames, n_mels)", 2)
    masked, mean = log_mel.copy(), log_mel.mean()
    for view, widest, unit in ((masked, mask_frames, "frames"), (masked.T, mask_mels, "mel bins")):
        if not 0 <= widest <= len(view):
            raise ValueError(f"expected masks of 0 to {len(view)} {unit}, got {widest}")
        for _ in range(masks):
            width = rng.integers(0, widest, endpoint=True)
            start = rng.integers(0, len(view) - width, endpoint=True)
            view[start : start + width] = mean
    return masked


def mixup(inputs, labels, other_inputs, other_labels, weight):
    """Weighted means of two batches, of their inputs and of their labels alike (Zhang et al. 2018, arXiv:1710.09412).

    Parameters
    ----------
    inputs, other_inputs : float32 array, shape (n, ...)
    labels, other_labels : array, shape (n, n_labels)
        One-hot, or mixed before.
    weight : float
        Of the first batch, from 0 to 1: at 1 nothing changes.

    Returns
    -------
    tuple of float32 arrays
        Inputs and labels.
    """
    for array in (inputs, other_inputs):
        _check_array(array, "inputs", None)
    if inputs.shape != other_inputs.shape or len(inputs) != len(labels) or np.shape(labels) != np.shape(other_labels):
        shapes = ", ".join(str(np.shape(array)) for array in (inputs, labels, other_inputs, other_labels))
        raise ValueError(f"expected two batches of equal shapes, each with a row of labels a clip, got {shapes}")
    if not 0 <= weight <= 1:
        raise ValueError(f"expected a weight from 0 to 1, got {weight}")
    weight, labels, other_labels = (np.asarray(array, np.float32) for array in (weight, labels, other_labels))
    return weight * inputs + (1 - weight) * other_inputs, weight * labels + (1 - weight) * other_labels


def count_clipped(waveform):
    """How many samples lie beyond full scale, where :func:`utils.audio.to_counts` clips them."""
    _check_waveform(waveform)
    counts = np.round(waveform * np.float32(audio.FULL_SCALE))
    return int(np.count_nonzero((counts < -audio.FULL_SCALE) | (counts >= audio.FULL_SCALE)))


def _add_at_snr(waveform, noise, snr_db):
    power, noise_power = _power(waveform), _power(noise)
    if not power or not noise_power:
        what = "clip" if not power else "stretch of noise"
        raise ValueError(f"expected sound to set a ratio with, got a silent {what}")
    gain = math.sqrt(power / noise_power * 10 ** (-_number(snr_db, "dB") / 10))
    return waveform + np.float32(gain) * noise


def _power(waveform):
    return np.mean(np.square(waveform, dtype=np.float64))


def _random_stretch(noise, n_samples, rng):
    _check_waveform(noise, "noise")
    if len(noise) < n_samples:
        raise ValueError(f"expected noise of at least the clip's {n_samples} samples, got {len(noise)}")
    start = rng.integers(0, len(noise) - n_samples, endpoint=True)
    return noise[start : start + n_samples]


def _check_waveform(waveform, what="a waveform"):
    _check_array(waveform, f"{what} (n_samples,)", 1)


def _check_array(array, what, n_dimensions):
    array = np.asarray(array)
    if array.dtype != np.float32 or not array.size or n_dimensions not in (None, array.ndim):
        raise ValueError(f"expected {what} of float32, not empty, got {array.dtype} of shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"expected {what} of finite values, got NaN or infinity")


def _number(value, unit):
    if not math.isfinite(value):
        raise ValueError(f"expected a finite number ({unit}), got {value}")
    return value
