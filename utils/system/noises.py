"""Sounds that nobody says, each a second made by arithmetic from a random generator alone."""

import numpy as np
import scipy.signal

from utils.audio import CLIP_SAMPLES, FULL_SCALE, SAMPLE_RATE

_HZ = np.fft.rfftfreq(CLIP_SAMPLES, 1 / SAMPLE_RATE)
_TIMES = np.arange(CLIP_SAMPLES) / SAMPLE_RATE
_N_OCTAVES = np.log2(8000 / 40)
_PLACES = np.log2(np.maximum(_HZ, 40) / 40) / _N_OCTAVES  # of each FFT bin between 40 Hz and 8 kHz, from 0 to 1


def unit(waveform):
    """The same at a power of one; zeros stay."""
    return waveform / max(1e-9, np.sqrt(np.mean(np.square(waveform))))


def _octaves(low_hz, high_hz, rng):
    """A frequency, all octaves as likely."""
    return low_hz * (high_hz / low_hz) ** rng.random()


def _curve(rng, size, n_knots, spread):
    """A smooth random curve through some knots, of ``spread`` around zero."""
    knots = rng.normal(0, spread, n_knots)
    return np.interp(np.linspace(0, n_knots - 1, size), np.arange(n_knots), knots)


def colour(rng, waveform=None):
    """Noise with a random smooth spectrum (a slope, hills and valleys), or a waveform given one."""
    if waveform is None:
        spectrum = rng.standard_normal(2 * len(_HZ), np.float32).view(np.complex64)
    else:
        spectrum = np.fft.rfft(waveform)
    n_knots = int(rng.integers(3, 16))
    decibels = np.interp(_PLACES, np.linspace(0, 1, n_knots), rng.normal(0, rng.uniform(1, 10), n_knots))
    decibels += rng.uniform(-9, 3) * _PLACES * _N_OCTAVES
    if rng.random() < 0.25:  # a machine in a box, a radio, a phone
        low = _octaves(40, 2000, rng)
        inside = (low < _HZ) & (low * 2 ** rng.uniform(0.3, 4) > _HZ)
        decibels = np.where(inside, decibels, decibels - rng.uniform(10, 60))
    for _ in range(rng.integers(0, 4) if rng.random() < 0.4 else 0):  # resonances
        centre = _octaves(100, 6000, rng)
        decibels += rng.uniform(6, 30) / (1 + ((_HZ - centre) / (centre * rng.uniform(0.01, 0.2))) ** 2)
    return np.fft.irfft(spectrum * 10 ** (decibels / 20), CLIP_SAMPLES)


def in_noise(sound, rng, low_db, high_db):
    """A sound and some noise, whose power is between two levels."""
    return sound + 10 ** (rng.uniform(low_db, high_db) / 20) * unit(colour(rng))


def loudness(rng):
    """A random course of loudness (amplitudes) over a second."""
    kind = rng.integers(5)
    if kind == 0:  # slow
        return 10 ** (_curve(rng, CLIP_SAMPLES, int(rng.integers(3, 9)), rng.uniform(2, 12)) / 20)
    if kind == 1:  # as fast as syllables and faster
        return 10 ** (_curve(rng, CLIP_SAMPLES, int(rng.integers(9, 60)), rng.uniform(3, 15)) / 20)
    if kind == 2:  # trembling: a motor, a purr
        depth, rate = rng.uniform(0.2, 1), _octaves(1, 60, rng)
        wave = 0.5 + 0.5 * np.sin(2 * np.pi * (rate * _TIMES + rng.random()))
        return 1 - depth + depth * wave ** rng.uniform(0.5, 4)
    if kind == 3:  # comes, and goes
        return np.maximum(_bump(rng, 1.2), 10 ** (rng.uniform(-60, -6) / 20))
    bursts = sum(_bump(rng, 0.3) * rng.uniform(0.2, 1) for _ in range(rng.integers(1, 7)))
    return bursts + 10 ** (rng.uniform(-60, -10) / 20)


def _bump(rng, longest):
    """From nothing to one and back: a beginning, an end, or both, within the second."""
    start, length = rng.uniform(-0.5, 0.95), rng.uniform(0.02, longest)
    rise, fall = (_octaves(0.002, 0.3, rng) for _ in range(2))
    return np.clip((_TIMES - start) / rise, 0, 1) * np.clip((start + length + fall - _TIMES) / fall, 0, 1)


def _ring(rng):
    """One blow: noise and some tones that die away."""
    dies = _octaves(0.002, 0.3, rng)
    ring = unit(colour(rng) * np.exp(-_TIMES / dies)) * rng.uniform(0.1, 1)
    for _ in range(rng.integers(0, 6)):
        tone = np.sin(2 * np.pi * _octaves(80, 6000, rng) * _TIMES) * np.exp(-_TIMES / _octaves(0.005, 0.4, rng))
        ring += unit(tone) * rng.uniform(0, 1)
    rise = int(_octaves(1, 300, rng))
    ring[:rise] *= np.linspace(0, 1, rise)
    return ring


def steady_noise(rng, clips=None):
    """Noise that stays as it is: a fan, rain, a road far away."""
    return colour(rng)


def moving_noise(rng, clips=None):
    """Noise whose loudness and colour change: wind, traffic, cloth, breath."""
    noise = colour(rng) * loudness(rng)
    for _ in range(rng.integers(0, 3)):
        other = colour(rng) * loudness(rng)
        noise = unit(noise) + 10 ** (rng.uniform(-15, 10) / 20) * unit(other)
    return noise


def hum(rng, clips=None):
    """A tone with overtones: mains, motors, a whistle, beeps; it may glide, tremble and be switched."""
    tones = np.zeros(CLIP_SAMPLES)
    for _ in range(rng.integers(1, 4)):
        pitch = _octaves(40, 3000, rng)
        glide = _curve(rng, CLIP_SAMPLES, int(rng.integers(2, 6)), rng.choice([0, 0, 0.01, 0.1, 0.5]))
        tremble = rng.choice([0, 0.02]) * np.sin(2 * np.pi * rng.uniform(3, 9) * _TIMES)
        phase = 2 * np.pi * np.cumsum(pitch * 2 ** (glide + tremble)) / SAMPLE_RATE
        falls = rng.uniform(0, 2.5)
        n_overtones = int(min(rng.integers(1, 40), 7800 / pitch))
        only_odd = rng.random() < 0.3
        turning, voice = np.exp(1j * phase).astype(np.complex64), np.zeros(CLIP_SAMPLES)
        step, overtone = turning * turning if only_odd else turning, turning
        for order in range(1, n_overtones + 1, 1 + only_odd):
            start = np.complex64(np.exp(2j * np.pi * rng.random()))
            voice += order**-falls * rng.uniform(0.2, 1) * (overtone * start).imag
            overtone = overtone * step
        tones += unit(voice) * (loudness(rng) if rng.random() < 0.5 else 1) * rng.uniform(0.1, 1)
    return in_noise(unit(tones), rng, -50, -3)


def siren(rng, clips=None):
    """A tone that sweeps, steadily or not quite: sirens, birds, brakes, doors."""
    low, high, rate = _octaves(150, 2500, rng), _octaves(150, 6000, rng), _octaves(0.3, 12, rng)
    wave = scipy.signal.sawtooth(2 * np.pi * (rate * _TIMES + rng.random()), rng.choice([0, 0.5, 1]))
    course = low * (high / low) ** (0.5 + 0.5 * wave)
    if rng.random() < 0.3:
        course = course * (1 + 0.05 * scipy.signal.lfilter([0.02], [1, -0.98], rng.standard_normal(CLIP_SAMPLES)))
    phase = 2 * np.pi * np.cumsum(course) / SAMPLE_RATE
    tone = np.sin(phase) + rng.uniform(0, 0.7) * np.sin(2 * phase) + rng.uniform(0, 0.5) * np.sin(3 * phase)
    return in_noise(unit(tone * loudness(rng)), rng, -50, -5)


def knocks(rng, clips=None):
    """Clicks, taps and blows that ring: keys, dishes, steps, doors."""
    sound = np.zeros(CLIP_SAMPLES)
    rings = [_ring(rng) for _ in range(rng.integers(1, 4))]
    n_knocks = int(rng.choice([1, 2, 3, int(rng.integers(3, 30))]))
    starts = rng.random(n_knocks)
    if rng.random() < 0.3:
        starts = (rng.random() + np.arange(n_knocks) * rng.uniform(0.05, 0.4)) % 1
    for start in starts:
        ring = rings[rng.integers(len(rings))]
        first = int(start * CLIP_SAMPLES)
        sound[first:] += 10 ** (rng.uniform(-15, 0) / 20) * ring[: CLIP_SAMPLES - first]
    return in_noise(unit(sound), rng, -60, -8)


def clatter(rng, clips=None):
    """Many small clicks at random: crackle, rain on a roof, paper, gravel."""
    rate = _octaves(10, 4000, rng)
    clicks = (rng.random(CLIP_SAMPLES) < rate / SAMPLE_RATE) * rng.standard_normal(CLIP_SAMPLES)
    clicks *= np.abs(rng.standard_normal(CLIP_SAMPLES)) ** rng.uniform(0, 3)
    return in_noise(unit(colour(rng, clicks + 1e-6) * loudness(rng)), rng, -60, -6)


def engine(rng, clips=None):
    """The same short sound again and again: engines, drills, pumps, a washing machine."""
    rate = _octaves(4, 200, rng) * 2 ** _curve(rng, CLIP_SAMPLES, 4, rng.choice([0.01, 0.05, 0.3]))
    beats = np.diff(np.floor(np.cumsum(rate) / SAMPLE_RATE + rng.random()), prepend=0) > 0
    beats[0] = True
    pulses = beats * rng.uniform(1 - rng.random() * 0.7, 1, CLIP_SAMPLES)
    sound = scipy.signal.fftconvolve(pulses, _ring(rng)[: SAMPLE_RATE // 5])[:CLIP_SAMPLES]
    return unit(sound) + 10 ** (rng.uniform(-30, 5) / 20) * unit(colour(rng) * loudness(rng))


def nothing(rng, clips=None):
    """No signal: zeros, a constant, the last bit of a converter."""
    kind = rng.integers(4)
    if kind == 0:
        return np.zeros(CLIP_SAMPLES)
    if kind == 1:
        return np.full(CLIP_SAMPLES, rng.uniform(-0.3, 0.3))
    counts = np.round(rng.normal(0, rng.uniform(0.2, 2), CLIP_SAMPLES))
    return counts / FULL_SCALE + (rng.uniform(-0.05, 0.05) if kind == 2 else 0)


def formants(rng, clips=None):
    """Syllables of no language: a buzz or a hiss through moving resonances."""
    sound, first = np.zeros(CLIP_SAMPLES), rng.uniform(-0.2, 0.5)
    pitch = _octaves(70, 350, rng)
    while first < 1:
        length = rng.uniform(0.08, 0.35)
        n_samples = int(length * SAMPLE_RATE)
        voiced = rng.random() < 0.75
        if voiced:
            course = pitch * 2 ** _curve(rng, n_samples, 3, 0.15)
            source = np.diff(np.floor(np.cumsum(course) / SAMPLE_RATE), prepend=0)
        else:
            source = 0.1 * rng.standard_normal(n_samples)
        places = [rng.uniform(200, 900), rng.uniform(700, 2600), rng.uniform(2000, 3600)]
        moves = [place * 2 ** rng.normal(0, 0.35) for place in places]
        halves = slice(0, n_samples // 2), slice(n_samples // 2, None)
        out = np.zeros(n_samples)
        for ends, gain in zip(zip(places, moves), (1, rng.uniform(0.2, 1), rng.uniform(0.05, 0.6))):
            for half, hz in zip(halves, ends):
                hz = hz if voiced else hz + 1500
                radius = np.exp(-np.pi * rng.uniform(50, 200) / SAMPLE_RATE)
                poles = [1, -2 * radius * np.cos(2 * np.pi * hz / SAMPLE_RATE), radius**2]
                out[half] += gain * unit(scipy.signal.lfilter([1], poles, source)[half])
        out *= np.hanning(n_samples) ** rng.uniform(0.2, 0.7)
        start = int(first * SAMPLE_RATE)
        begin, end = max(0, start), min(CLIP_SAMPLES, start + n_samples)
        if end > begin:
            sound[begin:end] += rng.uniform(0.3, 1) * out[begin - start : end - start]
        first += length * rng.uniform(0.8, 1.5)
        if rng.random() < 0.2:
            break
    return in_noise(sound, rng, -60, -25)
