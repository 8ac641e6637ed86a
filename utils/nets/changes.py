"""What training does to each batch: augmentation of log-mel spectrograms and of waveforms, in TensorFlow."""

from dataclasses import dataclass

import numpy as np

from utils.nets.frames import ENERGY_FLOOR, HOP_LENGTH, N_FRAMES, N_MELS
from utils.nets.frontend import LOG_MEL_MEAN
from utils.system.quiet import tf

TONES = 3  # cosines that a random curve over frequency is made of


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
    time_warp: float = 0.0  # share by which a clip is said faster or slower at most
    mel_warp: float = 0.0  # share by which mel bins are moved up or down at most: as a shorter or longer throat does
    tone_db: float = 0.0  # how far a random curve over frequency strays, as microphones and rooms make it
    endless_noise: bool = False  # noise and silence begin anywhere and go round, so that none is learned by heart
    mixup: float = 0.0  # alpha of the Beta distribution of a clip's weight beside another clip; 0 mixes none


class Augment:
    """Warps, shift, background noise, gain, masks and mixup on log-mel spectrograms, for ``Dataset.map``.

    Noise is added to mel energies, where it costs a hundredth of what mixing waveforms and
    computing their spectra anew would: energies of independent sounds add up, on average.
    Random numbers are stateless: the same seed, epoch and step give the same batch,
    also after a resumed run. Masks are SpecAugment's (Park et al. 2019, arXiv:1904.08779), the warp of mel bins
    stands for vocal tract length (Jaitly and Hinton 2013), mixup is that of Zhang et al. 2018 (arXiv:1710.09412).

    Parameters
    ----------
    noise : float array, shape (n, 98, 40)
        Log-mel spectrograms of background noise.
    seed : int
    strength : Augmentation
    silence : int, optional
        Place of silence among the labels; with ``endless_noise``, such clips are treated as noise is.
    """

    def __init__(self, noise, seed, strength=Augmentation(), silence=None):
        self._silence = silence
        self._noise = _to_energies(tf.constant(np.asarray(noise, np.float32)))
        self._noise_power = tf.reduce_mean(self._noise, (1, 2))
        self._seed, self._strength = seed, strength

    def __call__(self, log_mel, labels, moment):
        """Augmented log-mel and labels, which only mixup changes; ``moment`` is (epoch, step)."""
        strength = self._strength
        key = _make_key(self._seed, moment)
        draws = _draw(9 + 2 * TONES + 4 * strength.masks, log_mel, key)
        if strength.time_warp:
            log_mel = _warp(log_mel, (N_FRAMES - 1) / 2, _between(next(draws), -1.0, 1.0) * strength.time_warp)
        if strength.mel_warp:
            mels_first = tf.transpose(log_mel, (0, 2, 1))
            warped = _warp(mels_first, 0.0, _between(next(draws), -1.0, 1.0) * strength.mel_warp)
            log_mel = tf.transpose(warped, (0, 2, 1))
        energies = _to_energies(log_mel)
        shifted = _shift(energies, strength.shift_frames, next(draws))
        if strength.endless_noise and self._silence is not None:
            is_silence = labels[:, self._silence, None, None] > 0
            energies = tf.where(is_silence, _turn(energies, next(draws)), shifted)
        else:
            energies = shifted
        if strength.tone_db:
            energies *= _tone(strength.tone_db, draws)
        if len(self._noise):
            power = tf.reduce_mean(energies, (1, 2))
            rows, ratio = _choose_noise(power, self._noise_power, strength, draws)
            noise = tf.gather(self._noise, rows)
            if strength.endless_noise:
                noise = _turn(noise, next(draws))
            if strength.tone_db:
                noise *= _tone(strength.tone_db, draws)
            energies += ratio[:, None, None] * noise
        gain = _to_ratio(_between(next(draws), *strength.gain_db))
        log_mel = tf.math.log(energies * gain[:, None, None] + ENERGY_FLOOR)
        frames = _leave_out(N_FRAMES, strength.mask_frames, strength.masks, draws)
        mels = _leave_out(N_MELS, strength.mask_mels, strength.masks, draws)
        # A product, as tf.where would take four times as long.
        log_mel = (log_mel - LOG_MEL_MEAN) * frames[:, :, None] * mels[:, None, :] + LOG_MEL_MEAN
        return _mix(log_mel, labels, strength.mixup, key) if strength.mixup else (log_mel, labels)


class WaveformAugment:
    """Shift, background noise and gain on waveforms, for networks without a front end.

    As :class:`Augment`, with the same strengths, but for warps, masks and mixup.

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
        draws = _draw(5, waveforms, _make_key(self._seed, moment))
        waveforms = _shift(waveforms, strength.shift_frames * HOP_LENGTH, next(draws))
        if len(self._noise):
            power = tf.reduce_mean(tf.square(waveforms), 1)
            rows, ratio = _choose_noise(power, self._noise_power, strength, draws)
            waveforms += tf.sqrt(ratio)[:, None] * tf.gather(self._noise, rows)
        gain = _to_ratio(_between(next(draws), *strength.gain_db))
        return waveforms * tf.sqrt(gain)[:, None], labels


def _make_key(seed, moment):
    """What random numbers are made from; ``moment`` is (epoch, step)."""
    epoch, step = (tf.cast(number, tf.int64) for number in tf.unstack(moment))
    return tf.stack([tf.constant(seed, tf.int64), epoch * 2**32 + step])


def _draw(n_draws, rows, key):
    """Random numbers from 0 to 1, ``n_draws`` times one for each row: all at once, which is cheap."""
    return iter(tf.unstack(tf.random.stateless_uniform((tf.shape(rows)[0], n_draws), key), axis=1))


def _between(draw, low, high):
    return low + (high - low) * draw


def _one_of(draw, n):
    """Whole numbers from 0 to ``n`` - 1."""
    return tf.minimum(tf.cast(draw * tf.cast(n, tf.float32), tf.int32), n - 1)  # a product may be rounded up to n


def _to_ratio(db):
    return 10.0 ** (db / 10.0)


def _shift(rows, most, draw):
    """Move each clip in time by up to ``most`` steps; silence comes in at the edge."""
    padded = tf.pad(rows, ((0, 0), (most, most), *((0, 0),) * (len(rows.shape) - 2)))
    starts = _one_of(draw, 2 * most + 1)
    return tf.gather(padded, starts[:, None] + tf.range(rows.shape[1]), batch_dims=1)


def _turn(rows, draw):
    """Each clip from a random step on, then what was before it."""
    n_steps = rows.shape[1]
    return tf.gather(rows, (_one_of(draw, n_steps)[:, None] + tf.range(n_steps)) % n_steps, batch_dims=1)


def _tone(most_db, draws):
    """Factors of mel energies: a smooth random curve for each clip."""
    places = np.pi * (np.arange(N_MELS, dtype=np.float32) + 0.5) / N_MELS
    waves = np.stack([np.cos(order * places) for order in range(1, TONES + 1)])
    heights = tf.stack([_between(next(draws), -most_db, most_db) for _ in range(TONES)], axis=1)
    return _to_ratio(tf.matmul(heights, waves))[:, None, :]


def _warp(rows, fixed, share):
    """Stretch (share below 0) or squeeze each clip's second axis about a fixed place; the ends go on as they were."""
    last = rows.shape[1] - 1
    places = fixed + (tf.range(last + 1, dtype=tf.float32) - fixed) * (1.0 + share[:, None])
    places = tf.clip_by_value(places, 0.0, float(last))
    before = tf.minimum(tf.cast(places, tf.int32), last - 1)
    weight = (places - tf.cast(before, tf.float32))[:, :, None]
    return tf.gather(rows, before, batch_dims=1) * (1 - weight) + tf.gather(rows, before + 1, batch_dims=1) * weight


def _mix(rows, labels, alpha, key):
    """Each clip, weakened, with another of the batch below it; labels as well."""
    gammas = tf.random.stateless_gamma((2, tf.shape(rows)[0]), key + 1, alpha)
    weight = tf.math.divide_no_nan(gammas[0], gammas[0] + gammas[1])
    weight = tf.maximum(weight, 1 - weight)[:, None]  # the clip itself leads
    labels = weight * labels + (1 - weight) * labels[::-1]
    return weight[:, :, None] * rows + (1 - weight[:, :, None]) * rows[::-1], labels


def _choose_noise(power, noise_power, strength, draws):
    """Which noise is added to each clip, and what its power is multiplied by: 0 where none is added."""
    rows = _one_of(next(draws), len(noise_power))
    snr_db = _between(next(draws), *strength.snr_db)
    ratio = tf.math.divide_no_nan(power, tf.gather(noise_power, rows)) * _to_ratio(-snr_db)
    return rows, tf.where(next(draws) < strength.noise_probability, ratio, 0.0)


def _to_energies(log_mel):
    """Undo the logarithm and its floor."""
    return tf.maximum(tf.exp(log_mel) - ENERGY_FLOOR, 0.0)


def _leave_out(size, longest, n_masks, draws):
    """0 in random stretches of each clip and 1 elsewhere, float32, shape (n_clips, size) or, without masks, (1, 1)."""
    shown, places = tf.ones((1, 1), bool), tf.range(size, dtype=tf.float32)
    for _ in range(n_masks):
        length = tf.floor(next(draws) * (longest + 1))[:, None]
        start = tf.floor(next(draws)[:, None] * (size - length + 1))
        shown &= (places < start) | (places >= start + length)
    return tf.cast(shown, tf.float32)
