"""The log-mel front end in TensorFlow, and augmentation of what it computes."""

from dataclasses import dataclass

import numpy as np

from utils import features
from utils.features import ENERGY_FLOOR, FRAME_LENGTH, HOP_LENGTH, N_FFT, N_FRAMES, N_MELS
from utils.quiet import keras, tf

# About the mean and the spread of log-mel values of speech: the networks' input is (x - mean) / scale.
LOG_MEL_MEAN, LOG_MEL_SCALE = -4.0, 4.0


@keras.saving.register_keras_serializable(package="course")
class LogMel(keras.layers.Layer):
    """First layer of the networks: waveforms (batch, 16000) to log-mel spectrograms (batch, 98, 40).

    The TensorFlow form of :func:`utils.features.log_mel`; both agree to 1e-4. It has no
    weights to learn.
    """

    def __init__(self, **settings):
        settings.setdefault("trainable", False)
        super().__init__(**settings)

    def call(self, waveforms):
        """Log-mel spectrograms of float32 amplitudes in [-1, 1)."""
        # A frame is three hops: cutting hops and joining three neighbours frames without a gather.
        n_hops = FRAME_LENGTH // HOP_LENGTH
        hops = tf.reshape(waveforms, (-1, waveforms.shape[1] // HOP_LENGTH, HOP_LENGTH))
        frames = tf.concat([hops[:, i : i + N_FRAMES] for i in range(n_hops)], axis=2)
        spectra = tf.signal.rfft(frames * features.hann_window(FRAME_LENGTH), [N_FFT])
        power = tf.square(tf.math.real(spectra)) + tf.square(tf.math.imag(spectra))
        energies = tf.matmul(power, features.mel_weights())
        return tf.math.log(energies + ENERGY_FLOOR)

    def compute_output_shape(self, input_shape):
        """Shape of the spectrograms."""
        return (input_shape[0], N_FRAMES, N_MELS)


@dataclass(frozen=True)
class Augmentation:
    """How strongly clips are changed in training; drawn anew for each clip."""

    shift_frames: int = 10  # up to 100 ms earlier or later
    noise_probability: float = 0.8
    snr_db: tuple = (-5.0, 30.0)  # of speech over background noise
    gain_db: tuple = (-12.0, 6.0)
    masks: int = 2  # of each kind
    mask_frames: int = 20  # longest stretch of time that is hidden
    mask_mels: int = 8  # widest band that is hidden


class Augment:
    """Shift, background noise, gain and masks on log-mel spectrograms, for ``Dataset.map``.

    Noise is added to mel energies, where it costs a hundredth of what mixing waveforms and
    computing their spectra anew would: energies of independent sounds add up, on average.
    Random numbers are stateless: the same seed, epoch and step give the same batch,
    also after a resumed run. Masks are SpecAugment's (Park et al. 2019, arXiv:1904.08779).

    Parameters
    ----------
    noise : float array, shape (n, 98, 40)
        Log-mel spectrograms of background noise.
    seed : int
    strength : Augmentation
    """

    def __init__(self, noise, seed, strength=Augmentation()):
        self._noise = _to_energies(tf.constant(np.asarray(noise, np.float32)))
        self._noise_power = tf.reduce_mean(self._noise, (1, 2))
        self._seed, self._strength = seed, strength

    def __call__(self, log_mel, labels, moment):
        """Augmented log-mel and unchanged labels; ``moment`` is (epoch, step)."""
        strength, n_clips = self._strength, tf.shape(log_mel)[0]
        seeds = _split_seed(self._seed, moment, 9 + 2 * strength.masks)
        energies = _shift(_to_energies(log_mel), strength.shift_frames, next(seeds))
        if len(self._noise):
            power = tf.reduce_mean(energies, (1, 2))
            rows, ratio = _draw_noise(power, self._noise_power, strength, [next(seeds) for _ in range(4)])
            energies += ratio[:, None, None] * tf.gather(self._noise, rows)
        gain_db = tf.random.stateless_uniform((n_clips, 1, 1), next(seeds), *strength.gain_db)
        log_mel = tf.math.log(energies * 10.0 ** (gain_db / 10.0) + ENERGY_FLOOR)
        hidden = tf.zeros((n_clips, 1, 1), bool)
        for _ in range(strength.masks):
            hidden |= _draw_mask(n_clips, N_FRAMES, strength.mask_frames, next(seeds))[:, :, None]
            hidden |= _draw_mask(n_clips, N_MELS, strength.mask_mels, next(seeds))[:, None, :]
        return tf.where(hidden, LOG_MEL_MEAN, log_mel), labels


class WaveformAugment:
    """Shift, background noise and gain on waveforms, for networks without a front end.

    As :class:`Augment`, with the same strengths, but for the masks.

    Parameters
    ----------
    noise : float array, shape (n, 16000)
        Waveforms of background noise.
    seed : int
    strength : Augmentation
    """

    def __init__(self, noise, seed, strength=Augmentation()):
        self._noise = tf.constant(np.asarray(noise, np.float32))
        self._noise_power = tf.reduce_mean(tf.square(self._noise), 1)
        self._seed, self._strength = seed, strength

    def __call__(self, waveforms, labels, moment):
        """Augmented waveforms and unchanged labels; ``moment`` is (epoch, step)."""
        strength = self._strength
        seeds = _split_seed(self._seed, moment, 5)
        waveforms = _shift(waveforms, strength.shift_frames * HOP_LENGTH, next(seeds))
        if len(self._noise):
            power = tf.reduce_mean(tf.square(waveforms), 1)
            rows, ratio = _draw_noise(power, self._noise_power, strength, [next(seeds) for _ in range(3)])
            waveforms += tf.sqrt(ratio)[:, None] * tf.gather(self._noise, rows)
        gain_db = tf.random.stateless_uniform((tf.shape(waveforms)[0], 1), next(seeds), *strength.gain_db)
        return waveforms * 10.0 ** (gain_db / 20.0), labels


def _split_seed(seed, moment, n_seeds):
    """Independent seeds for one batch of one epoch."""
    return iter(tf.unstack(tf.random.split(tf.random.fold_in([seed, moment[0]], moment[1]), n_seeds)))


def _shift(rows, most, seed):
    """Move each clip in time by up to ``most`` steps; silence comes in at the edge."""
    shifts = tf.random.stateless_uniform((tf.shape(rows)[0], 1), seed, 0, 2 * most + 1, tf.int32)
    padded = tf.pad(rows, ((0, 0), (most, most), *((0, 0),) * (len(rows.shape) - 2)))
    return tf.gather(padded, shifts + tf.range(rows.shape[1]), batch_dims=1)


def _draw_noise(power, noise_power, strength, seeds):
    """Which noise is added to each clip, and what its power is multiplied by: 0 where none is added."""
    n_clips = tf.shape(power)
    rows = tf.random.stateless_uniform(n_clips, seeds[0], 0, len(noise_power), tf.int32)
    snr_db = tf.random.stateless_uniform(n_clips, seeds[1], *strength.snr_db)
    chance = tf.random.stateless_uniform(n_clips, seeds[2])
    ratio = tf.math.divide_no_nan(power, tf.gather(noise_power, rows)) * 10.0 ** (-snr_db / 10.0)
    return rows, tf.where(chance < strength.noise_probability, ratio, 0.0)


def _to_energies(log_mel):
    """Undo the logarithm and its floor."""
    return tf.maximum(tf.exp(log_mel) - ENERGY_FLOOR, 0.0)


def _draw_mask(n_clips, size, longest, seed):
    """One random stretch of each clip that is to be hidden, as booleans (n_clips, size)."""
    draws = tf.random.stateless_uniform((2, n_clips, 1), seed)
    length = tf.floor(draws[0] * (longest + 1))
    start = tf.floor(draws[1] * (size - length + 1))
    places = tf.range(size, dtype=tf.float32)
    return (places >= start) & (places < start + length)
