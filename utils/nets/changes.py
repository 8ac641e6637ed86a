"""What training does to each batch: augmentation of log-mel spectrograms and of waveforms, in TensorFlow."""

import numpy as np

from utils.nets.frames import ENERGY_FLOOR, HOP_LENGTH, N_FRAMES, N_MELS
from utils.nets.frontend import LOG_MEL_MEAN
from utils.settings import Augmentation
from utils.system.quiet import tf

TONES = 3  # cosines that a random curve over frequency is made of


class Augment:
    """Warps, shift, background noise, gain, masks and mixup on log-mel spectrograms, for ``Dataset.map``.

    Noise is added to mel energies, where it costs a hundredth of what mixing waveforms and
    computing their spectra anew would: energies of independent sounds add up, on average.
    Masks are SpecAugment's (Park et al. 2019, arXiv:1904.08779), the warp of mel bins
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
        self._noise = _to_energies(tf.constant(np.asarray(noise, np.float32)))
        self._noise_power = tf.reduce_mean(self._noise, (1, 2))
        self._seed, self._strength, self._silence = seed, strength, silence

    def __call__(self, log_mel, labels, moment):
        """Augmented log-mel and labels, which only mixup changes; ``moment`` is (epoch, step)."""
        strength, draw = self._strength, _Random(self._seed, moment, log_mel)
        if most := strength.time_warp:
            log_mel = _warp(log_mel, (N_FRAMES - 1) / 2, draw.uniform(-most, most))
        if most := strength.mel_warp:
            mels_first = _warp(tf.transpose(log_mel, (0, 2, 1)), 0.0, draw.uniform(-most, most))
            log_mel = tf.transpose(mels_first, (0, 2, 1))
        energies = _to_energies(log_mel)
        shifted = _shift(energies, strength.shift_frames, draw)
        if strength.endless_noise and self._silence is not None:
            is_silence = labels[:, self._silence, None, None] > 0
            shifted = tf.where(is_silence, _turn(energies, draw), shifted)
        energies = shifted * _tone(strength.tone_db, draw) if strength.tone_db else shifted
        if len(self._noise):
            rows, ratio = _choose_noise(tf.reduce_mean(energies, (1, 2)), self._noise_power, strength, draw)
            noise = tf.gather(self._noise, rows)
            if strength.endless_noise:
                noise = _turn(noise, draw)
            if strength.tone_db:
                noise *= _tone(strength.tone_db, draw)
            energies += ratio[:, None, None] * noise
        gain = _to_ratio(draw.uniform(*strength.gain_db))
        log_mel = tf.math.log(energies * gain[:, None, None] + ENERGY_FLOOR)
        frames = _leave_out(N_FRAMES, strength.mask_frames, strength.masks, draw)
        mels = _leave_out(N_MELS, strength.mask_mels, strength.masks, draw)
        # A product, as tf.where would take four times as long.
        log_mel = (log_mel - LOG_MEL_MEAN) * frames[:, :, None] * mels[:, None, :] + LOG_MEL_MEAN
        return _mix(log_mel, labels, strength.mixup, draw) if strength.mixup else (log_mel, labels)


class WaveformAugment:
    """Shift, background noise and gain on waveforms, for networks without a front end.

    As :class:`Augment`, with the same strengths, but for warps, masks and mixup. ``noise`` are waveforms.
    """

    def __init__(self, noise, seed, strength=Augmentation()):
        self._noise = tf.constant(np.asarray(noise, np.float32))
        self._noise_power = tf.reduce_mean(tf.square(self._noise), 1)
        self._seed, self._strength = seed, strength

    def __call__(self, waveforms, labels, moment):
        """Augmented waveforms and unchanged labels; ``moment`` is (epoch, step)."""
        strength, draw = self._strength, _Random(self._seed, moment, waveforms)
        waveforms = _shift(waveforms, strength.shift_frames * HOP_LENGTH, draw)
        if len(self._noise):
            power = tf.reduce_mean(tf.square(waveforms), 1)
            rows, ratio = _choose_noise(power, self._noise_power, strength, draw)
            waveforms += tf.sqrt(ratio)[:, None] * tf.gather(self._noise, rows)
        gain = _to_ratio(draw.uniform(*strength.gain_db))
        return waveforms * tf.sqrt(gain)[:, None], labels


class _Random:
    """Random numbers for each clip of a batch, others at each call.

    They are stateless: the same seed, epoch and step give the same batch, also after a resumed run.
    """

    def __init__(self, seed, moment, rows):
        epoch, step = (tf.cast(number, tf.int64) for number in tf.unstack(moment))
        self._n_clips, self._moment = tf.shape(rows)[0], epoch * 2**32 + step
        self._seed = seed

    def next_key(self):
        """Seed of what is drawn next; that of a run is below 2**32."""
        self._seed += 2**32
        return tf.stack([tf.constant(self._seed, tf.int64), self._moment])

    def uniform(self, low=0.0, high=1.0, shape=(), dtype=tf.float32):
        """Numbers from ``low`` to below ``high``, shape (n_clips, *shape)."""
        return tf.random.stateless_uniform((self._n_clips, *shape), self.next_key(), low, high, dtype)

    def below(self, n):
        """Whole numbers from 0 to ``n`` - 1, shape (n_clips,)."""
        return self.uniform(0, n, dtype=tf.int32)


def _to_ratio(db):
    return 10.0 ** (db / 10.0)


def _shift(rows, most, draw):
    """Move each clip in time by up to ``most`` steps; silence comes in at the edge."""
    padded = tf.pad(rows, ((0, 0), (most, most), *((0, 0),) * (len(rows.shape) - 2)))
    starts = draw.below(2 * most + 1)
    return tf.gather(padded, starts[:, None] + tf.range(rows.shape[1]), batch_dims=1)


def _turn(rows, draw):
    """Each clip from a random step on, then what was before it."""
    n_steps = rows.shape[1]
    return tf.gather(rows, (draw.below(n_steps)[:, None] + tf.range(n_steps)) % n_steps, batch_dims=1)


def _tone(most_db, draw):
    """Factors of mel energies: a smooth random curve for each clip."""
    places = np.pi * (np.arange(N_MELS, dtype=np.float32) + 0.5) / N_MELS
    waves = np.stack([np.cos(order * places) for order in range(1, TONES + 1)])
    return _to_ratio(tf.matmul(draw.uniform(-most_db, most_db, (TONES,)), waves))[:, None, :]


def _warp(rows, fixed, share):
    """Stretch (share below 0) or squeeze each clip's second axis about a fixed place; the ends go on as they were."""
    last = rows.shape[1] - 1
    places = fixed + (tf.range(last + 1, dtype=tf.float32) - fixed) * (1.0 + share[:, None])
    places = tf.clip_by_value(places, 0.0, float(last))
    before = tf.minimum(tf.cast(places, tf.int32), last - 1)
    weight = (places - tf.cast(before, tf.float32))[:, :, None]
    return tf.gather(rows, before, batch_dims=1) * (1 - weight) + tf.gather(rows, before + 1, batch_dims=1) * weight


def _mix(rows, labels, alpha, draw):
    """Each clip, weakened, with another of the batch below it; labels as well."""
    gammas = tf.random.stateless_gamma((2, tf.shape(rows)[0]), draw.next_key(), alpha)
    weight = tf.math.divide_no_nan(gammas[0], gammas[0] + gammas[1])
    weight = tf.maximum(weight, 1 - weight)[:, None]  # the clip itself leads
    labels = weight * labels + (1 - weight) * labels[::-1]
    return weight[:, :, None] * rows + (1 - weight[:, :, None]) * rows[::-1], labels


def _choose_noise(power, noise_power, strength, draw):
    """Which noise is added to each clip, and what its power is multiplied by: 0 where none is added."""
    rows = draw.below(len(noise_power))
    ratio = tf.math.divide_no_nan(power, tf.gather(noise_power, rows)) * _to_ratio(-draw.uniform(*strength.snr_db))
    return rows, tf.where(draw.uniform() < strength.noise_probability, ratio, 0.0)


def _to_energies(log_mel):
    """Undo the logarithm and its floor."""
    return tf.maximum(tf.exp(log_mel) - ENERGY_FLOOR, 0.0)


def _leave_out(size, longest, n_masks, draw):
    """0 in random stretches of each clip and 1 elsewhere, float32, shape (n_clips, size)."""
    length = tf.floor(draw.uniform(0, longest + 1, (n_masks, 1)))
    start = tf.floor(draw.uniform(0, 1, (n_masks, 1)) * (size - length + 1))
    places = tf.range(size, dtype=tf.float32)
    return 1.0 - tf.cast(tf.reduce_any((start <= places) & (places < start + length), axis=1), tf.float32)
