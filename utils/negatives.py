"""Sounds that are no command, made from training clips and by arithmetic: what silence and unknown are.

A network that has heard six background recordings and twenty other words takes a fan for *off* and talk for
*right*: nothing has told it that most sounds are no command. Each kind here is a function of a random generator (and
of clips) that gives a second of sound as float32, about -1 to 1.
"""

from functools import cache
from pathlib import Path

import numpy as np
import scipy.signal

from utils import audio, features, store
from utils.audio import CLIP_SAMPLES, SAMPLE_RATE
from utils.labels import SILENCE, UNKNOWN
from utils.nets.frames import HOP_LENGTH, N_FRAMES, N_MELS
from utils.system import cli, files

SHARES = {SILENCE: 0.55, UNKNOWN: 0.45}
LEVELS_DB = {SILENCE: (-70.0, -6.0), UNKNOWN: (-40.0, -10.0)}  # of full scale: the power of a clip
SEED = 220788
VERSION = 2  # of what is made: arrays of another version are made anew
BLOCK = 128  # clips that a process makes at a time
WORTH_BLOCKS = 4  # fewer are not worth starting processes
SPACE_SPARE = 2e6  # bytes, for names and hashes
GOLDEN = (5**0.5 - 1) / 2

_N_BINS = CLIP_SAMPLES // 2 + 1
_HZ = np.fft.rfftfreq(CLIP_SAMPLES, 1 / SAMPLE_RATE)
_TIMES = np.arange(CLIP_SAMPLES) / SAMPLE_RATE

# What nobody says.


def _octaves(low_hz, high_hz, rng):
    """A frequency, all octaves as likely."""
    return low_hz * (high_hz / low_hz) ** rng.random()


def _curve(rng, size, n_knots, spread):
    """A smooth random curve through some knots, of ``spread`` around zero."""
    knots = rng.normal(0, spread, n_knots)
    return np.interp(np.linspace(0, n_knots - 1, size), np.arange(n_knots), knots)


@cache
def _octave_places():
    """Where each FFT bin lies between 40 Hz and 8 kHz, in octaves, from 0 to 1."""
    return np.log2(np.maximum(_HZ, 40) / 40) / np.log2(8000 / 40)


def _shape(rng):
    """A random smooth spectrum (amplitudes): a slope, hills and valleys."""
    places = _octave_places()
    n_knots = int(rng.integers(3, 16))
    decibels = np.interp(places, np.linspace(0, 1, n_knots), rng.normal(0, rng.uniform(1, 10), n_knots))
    decibels += rng.uniform(-9, 3) * places * np.log2(8000 / 40)
    if rng.random() < 0.25:  # a machine in a box, a radio, a phone
        low = _octaves(40, 2000, rng)
        inside = (low < _HZ) & (low * 2 ** rng.uniform(0.3, 4) > _HZ)
        decibels = np.where(inside, decibels, decibels - rng.uniform(10, 60))
    for _ in range(rng.integers(0, 4) if rng.random() < 0.4 else 0):  # resonances
        centre = _octaves(100, 6000, rng)
        decibels += rng.uniform(6, 30) / (1 + ((_HZ - centre) / (centre * rng.uniform(0.01, 0.2))) ** 2)
    return 10 ** (decibels / 20)


def _colour(rng, waveform=None):
    """Noise with a random spectrum, or a waveform given one."""
    if waveform is None:
        spectrum = rng.standard_normal(2 * _N_BINS, np.float32).view(np.complex64)
    else:
        spectrum = np.fft.rfft(waveform)
    return np.fft.irfft(spectrum * _shape(rng), CLIP_SAMPLES)


def steady_noise(rng):
    """Noise that stays as it is: a fan, rain, a road far away."""
    return _colour(rng)


def moving_noise(rng):
    """Noise whose loudness and colour change: wind, traffic, cloth, breath."""
    noise = _colour(rng) * _loudness(rng)
    for _ in range(rng.integers(0, 3)):
        other = _colour(rng) * _loudness(rng)
        noise = _unit(noise) + 10 ** (rng.uniform(-15, 10) / 20) * _unit(other)
    return noise


def _loudness(rng):
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
        return np.maximum(_bump(rng), 10 ** (rng.uniform(-60, -6) / 20))
    bursts = sum(_bump(rng, 0.3) * rng.uniform(0.2, 1) for _ in range(rng.integers(1, 7)))
    return bursts + 10 ** (rng.uniform(-60, -10) / 20)


def _bump(rng, longest=1.2):
    """From nothing to one and back: a beginning, an end, or both, within the second."""
    start, length = rng.uniform(-0.5, 0.95), rng.uniform(0.02, longest)
    rise, fall = (_octaves(0.002, 0.3, rng) for _ in range(2))
    return np.clip((_TIMES - start) / rise, 0, 1) * np.clip((start + length + fall - _TIMES) / fall, 0, 1)


def hum(rng):
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
        tones += _unit(voice) * (_loudness(rng) if rng.random() < 0.5 else 1) * rng.uniform(0.1, 1)
    return _unit(tones) + 10 ** (rng.uniform(-50, -3) / 20) * _unit(_colour(rng))


def siren(rng):
    """A tone or a band of noise that sweeps: sirens, birds, brakes, doors."""
    low, high = _octaves(150, 2500, rng), _octaves(150, 6000, rng)
    rate = _octaves(0.3, 12, rng)
    wave = scipy.signal.sawtooth(2 * np.pi * (rate * _TIMES + rng.random()), rng.choice([0, 0.5, 1]))
    course = low * (high / low) ** (0.5 + 0.5 * wave)
    if rng.random() < 0.3:
        course = course * (1 + 0.05 * scipy.signal.lfilter([0.02], [1, -0.98], rng.standard_normal(CLIP_SAMPLES)))
    phase = 2 * np.pi * np.cumsum(course) / SAMPLE_RATE
    tone = np.sin(phase) + rng.uniform(0, 0.7) * np.sin(2 * phase) + rng.uniform(0, 0.5) * np.sin(3 * phase)
    return _unit(tone * _loudness(rng)) + 10 ** (rng.uniform(-50, -5) / 20) * _unit(_colour(rng))


def knocks(rng):
    """Clicks, taps and blows that ring: keys, dishes, steps, doors."""
    sound = np.zeros(CLIP_SAMPLES)
    models = [_ring(rng) for _ in range(rng.integers(1, 4))]
    n_knocks = int(rng.choice([1, 2, 3, int(rng.integers(3, 30))]))
    starts = rng.random(n_knocks)
    if rng.random() < 0.3:
        starts = (rng.random() + np.arange(n_knocks) * rng.uniform(0.05, 0.4)) % 1
    for start in starts:
        ring = models[rng.integers(len(models))]
        first = int(start * CLIP_SAMPLES)
        sound[first:] += 10 ** (rng.uniform(-15, 0) / 20) * ring[: CLIP_SAMPLES - first]
    return _unit(sound) + 10 ** (rng.uniform(-60, -8) / 20) * _unit(_colour(rng))


def _ring(rng):
    """One blow: noise and some tones that die away."""
    dies = _octaves(0.002, 0.3, rng)
    ring = _colour(rng) * np.exp(-_TIMES / dies)
    ring = _unit(ring) * rng.uniform(0.1, 1)
    for _ in range(rng.integers(0, 6)):
        tone = np.sin(2 * np.pi * _octaves(80, 6000, rng) * _TIMES) * np.exp(-_TIMES / _octaves(0.005, 0.4, rng))
        ring += _unit(tone) * rng.uniform(0, 1)
    rise = int(_octaves(1, 300, rng))
    ring[:rise] *= np.linspace(0, 1, rise)
    return ring


def clatter(rng):
    """Many small clicks at random: crackle, rain on a roof, paper, gravel."""
    rate = _octaves(10, 4000, rng)
    clicks = (rng.random(CLIP_SAMPLES) < rate / SAMPLE_RATE) * rng.standard_normal(CLIP_SAMPLES)
    clicks *= np.abs(rng.standard_normal(CLIP_SAMPLES)) ** rng.uniform(0, 3)
    return _unit(_colour(rng, clicks + 1e-6) * _loudness(rng)) + 10 ** (rng.uniform(-60, -6) / 20) * _unit(_colour(rng))


def engine(rng):
    """The same short sound again and again: engines, drills, pumps, a washing machine."""
    rate = _octaves(4, 200, rng) * 2 ** _curve(rng, CLIP_SAMPLES, 4, rng.choice([0.01, 0.05, 0.3]))
    beats = np.diff(np.floor(np.cumsum(rate) / SAMPLE_RATE + rng.random()), prepend=0) > 0
    beats[0] = True
    pulses = beats * rng.uniform(1 - rng.random() * 0.7, 1, CLIP_SAMPLES)
    ring = _ring(rng)[: SAMPLE_RATE // 5]
    sound = scipy.signal.fftconvolve(pulses, ring)[:CLIP_SAMPLES]
    return _unit(sound) + 10 ** (rng.uniform(-30, 5) / 20) * _unit(_colour(rng) * _loudness(rng))


def nothing(rng):
    """No signal: zeros, a constant, the last bit of a converter."""
    kind = rng.integers(4)
    if kind == 0:
        return np.zeros(CLIP_SAMPLES)
    if kind == 1:
        return np.full(CLIP_SAMPLES, rng.uniform(-0.3, 0.3))
    counts = np.round(rng.normal(0, rng.uniform(0.2, 2), CLIP_SAMPLES))
    return counts / audio.FULL_SCALE + (rng.uniform(-0.05, 0.05) if kind == 2 else 0)


# What speech becomes when nothing can be understood: silence as well.


def babble(rng, clips):
    """Five people and more at once."""
    n_voices = int(rng.integers(5, 12))
    sound = np.zeros(CLIP_SAMPLES)
    for index in rng.integers(len(clips), size=n_voices):
        sound += rng.uniform(0.4, 1) * _unit(np.roll(_wave(clips, index), rng.integers(CLIP_SAMPLES)))
    return sound if rng.random() < 0.5 else _colour(rng, sound)


def speech_noise(rng, clips):
    """Noise with the spectrum of a clip, which may keep its course of loudness."""
    waveform = _wave(clips, rng.integers(len(clips)))
    spectrum = np.abs(np.fft.rfft(waveform)) * np.exp(2j * np.pi * rng.random(_N_BINS))
    noise = np.fft.irfft(spectrum, CLIP_SAMPLES)
    return noise * (_loudness(rng) if rng.random() < 0.6 else 1)


def smear(rng, clips):
    """A clip in a hall so large that all runs together."""
    waveform = np.roll(_wave(clips, rng.integers(len(clips))), rng.integers(CLIP_SAMPLES))
    tail = rng.standard_normal(CLIP_SAMPLES) * np.exp(-_TIMES / rng.uniform(0.3, 1.0))
    spectrum = np.fft.rfft(np.tile(waveform, 2), 2 * CLIP_SAMPLES) * np.fft.rfft(tail, 2 * CLIP_SAMPLES)
    return np.fft.irfft(spectrum, 2 * CLIP_SAMPLES)[CLIP_SAMPLES:]


# What is said, but is no word that was taught.


def _word(clips, rng):
    """What is said in a clip, at one level."""
    waveform = _wave(clips, rng.integers(len(clips)))
    blocks = np.square(waveform).reshape(-1, HOP_LENGTH).mean(1)
    loud = np.flatnonzero(blocks >= blocks.max() * 10**-2.5)
    return _unit(waveform[loud[0] * HOP_LENGTH : (loud[-1] + 1) * HOP_LENGTH])


def _part(word, first, last, fade=80):
    """A share of a word, faded at both ends."""
    part = word[int(first * len(word)) : max(int(last * len(word)), int(first * len(word)) + 2 * fade)].copy()
    fade = min(fade, len(part) // 2)
    ramp = np.linspace(0, 1, fade)
    part[:fade] *= ramp
    part[len(part) - fade :] *= ramp[::-1]
    return part


def _place(pieces, rng, overlap=80):
    """Sounds one after the other, somewhere in a second of very little noise."""
    joined = pieces[0]
    for piece in pieces[1:]:
        n = min(overlap, len(joined), len(piece))
        joined = np.concatenate([joined[: len(joined) - n], joined[len(joined) - n :] + piece[:n], piece[n:]])
    room = CLIP_SAMPLES - len(joined)
    if room <= 0:
        first = rng.integers(-room + 1)
        return joined[first : first + CLIP_SAMPLES]
    first = rng.integers(room + 1)
    return np.pad(joined, (first, room - first)) + 10 ** (rng.uniform(-60, -25) / 20) * _unit(_colour(rng))


def backwards(rng, clips):
    """A clip from its end to its beginning."""
    return _place([_word(clips, rng)[::-1]], rng)


def spliced(rng, clips):
    """The first part of one word, then the last part of another."""
    return _place(
        [_part(_word(clips, rng), 0, rng.uniform(0.3, 0.7)), _part(_word(clips, rng), rng.uniform(0.3, 0.7), 1)], rng
    )


def between(rng, clips):
    """The end of a word and the beginning of the next: what the second cuts out of talk."""
    before = _part(_word(clips, rng), rng.uniform(0.4, 0.8), 1)
    after = _part(_word(clips, rng), 0, rng.uniform(0.2, 0.6))
    gap = np.zeros(int(rng.uniform(0, 0.5) * max(0, CLIP_SAMPLES - len(before) - len(after))))
    window = np.concatenate([before, gap, after])
    # In running speech the second ends in the middle of the next word.
    if len(window) < CLIP_SAMPLES:
        room = CLIP_SAMPLES - len(window)
        first = int(rng.choice([0, room, rng.integers(room + 1)]))
        window = np.pad(window, (first, room - first)) + 10 ** (rng.uniform(-60, -25) / 20) * _unit(_colour(rng))
    return window[:CLIP_SAMPLES]


def scrambled(rng, clips):
    """Pieces of one or two words in another order."""
    sound = np.concatenate([_word(clips, rng) for _ in range(rng.integers(1, 3))])
    size = int(rng.uniform(0.08, 0.2) * SAMPLE_RATE)
    starts = np.arange(0, max(1, len(sound) - size // 2), size)
    order = rng.permutation(len(starts))
    if len(order) > 1 and np.all(order == np.arange(len(order))):
        order = order[::-1]
    pieces = [_part(sound[starts[i] : starts[i] + size], 0, 1) for i in order]
    if rng.random() < 0.3:
        pieces = [piece[::-1] for piece in pieces]
    return _place(pieces, rng)


def fragment(rng, clips):
    """A short piece of a word alone: its first sound, or its last."""
    word, share = _word(clips, rng), rng.uniform(0.12, 0.35)
    first = 0 if rng.random() < 0.5 else 1 - share
    return _place([_part(word, first, first + share)], rng)


def two_at_once(rng, clips):
    """Two words on top of each other, both turned into nonsense by where they are joined."""
    words = [spliced(rng, clips), backwards(rng, clips)]
    return _unit(words[0]) + 10 ** (rng.uniform(-6, 6) / 20) * _unit(words[1])


def drawn_out(rng, clips):
    """A stretch of a word again and again: a vowel, a hiss."""
    word = _word(clips, rng)
    size = int(rng.uniform(0.04, 0.12) * SAMPLE_RATE)
    start = rng.integers(max(1, len(word) - size))
    piece = _part(word[start : start + size], 0, 1, size // 4)
    times = int(rng.integers(3, 14))
    pieces = [piece[::-1] if rng.random() < 0.5 else piece for _ in range(times)]
    return _place(pieces, rng, size // 4)


def formants(rng):
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
        half = n_samples // 2
        out = np.zeros(n_samples)
        for ends, gain in zip(zip(places, moves), (1, rng.uniform(0.2, 1), rng.uniform(0.05, 0.6))):
            for part, hz in zip((slice(0, half), slice(half, None)), ends):
                hz = hz if voiced else hz + 1500
                radius = np.exp(-np.pi * rng.uniform(50, 200) / SAMPLE_RATE)
                a = [1, -2 * radius * np.cos(2 * np.pi * hz / SAMPLE_RATE), radius**2]
                out[part] += gain * _unit(scipy.signal.lfilter([1], a, source)[part])
        out *= np.hanning(n_samples) ** rng.uniform(0.2, 0.7)
        start = int(first * SAMPLE_RATE)
        begin, end = max(0, start), min(CLIP_SAMPLES, start + n_samples)
        if end > begin:
            sound[begin:end] += rng.uniform(0.3, 1) * out[begin - start : end - start]
        first += length * rng.uniform(0.8, 1.5)
        if rng.random() < 0.2:
            break
    return sound + 10 ** (rng.uniform(-60, -25) / 20) * _unit(_colour(rng))


# Label -> name of a kind -> (what makes it, whether from clips, how much there is of it beside the others).
KINDS = {
    SILENCE: {
        "steady noise": (steady_noise, False, 3),
        "moving noise": (moving_noise, False, 4),
        "hum": (hum, False, 2),
        "siren": (siren, False, 1),
        "knocks": (knocks, False, 3),
        "clatter": (clatter, False, 1.5),
        "engine": (engine, False, 1.5),
        "nothing": (nothing, False, 0.5),
        "babble": (babble, True, 1.5),
        "speech noise": (speech_noise, True, 1.5),
        "smeared": (smear, True, 0.5),
    },
    UNKNOWN: {
        "backwards": (backwards, True, 1),
        "spliced": (spliced, True, 2.5),
        "between": (between, True, 5),
        "scrambled": (scrambled, True, 2.5),
        "fragment": (fragment, True, 1),
        "two at once": (two_at_once, True, 1),
        "drawn out": (drawn_out, True, 1),
        "formants": (formants, False, 2),
    },
}


def _unit(waveform):
    """The same at a power of one; zeros stay."""
    return waveform / max(1e-9, np.sqrt(np.mean(np.square(waveform))))


def _wave(clips, index):
    return audio.to_waveform(clips[index])


def make(label, kind, clips, seed):
    """One made clip, int16: the same again from the same arguments.

    Parameters
    ----------
    label, kind : str
        One of ``KINDS[label]``.
    clips : int16 array, shape (n, 16000)
        Of speech, none of them all zero.
    seed : int or sequence of int
    """
    rng = np.random.default_rng(seed)
    function, from_clips, _ = KINDS[label][kind]
    waveform = function(rng, clips) if from_clips else function(rng)
    if kind != "nothing":
        low, high = LEVELS_DB[label]
        waveform = _unit(waveform) * 10 ** (rng.uniform(low, high) / 20)
    return audio.to_counts(waveform)


def plan(n_clips):
    """Label and kind of each of some clips: whatever stretch of them is taken, all have about their shares."""
    kinds = [(label, kind) for label, of in KINDS.items() for kind in of]
    shares = np.cumsum([SHARES[label] * KINDS[label][kind][2] / _total(label) for label, kind in kinds])
    # The golden ratio's multiples fill the line from 0 to 1 evenly, wherever one begins.
    places = (np.arange(n_clips) * GOLDEN) % 1
    return [kinds[index] for index in np.searchsorted(shares / shares[-1], places, side="right")]


def make_all(label, n_clips, speech, seed):
    """Made clips of a label, of all kinds by their shares: int16 clips (n_clips, 16000), and the kind of each."""
    speech = speech[speech.any(axis=1)]
    kinds = [kind for of, kind in plan(3 * n_clips) if of == label][:n_clips]
    return np.stack([make(label, kind, speech, [seed, i]) for i, kind in enumerate(kinds)]), kinds


def _total(label):
    return sum(share for *_, share in KINDS[label].values())


def persist(find_speech, n_clips, path, of, as_log_mel):
    """Write made clips as an array, unless one from the same recordings is there.

    Parameters
    ----------
    find_speech : callable
        Gives the clips (int16, shape (n, 16000)) that others are made from.
    n_clips : int
    path : str or Path
    of : list of str
        Fingerprints of the recordings.
    as_log_mel : bool
        Log-mel spectrograms instead of waveforms.

    Returns
    -------
    bool
        Whether there was anything to do.
    """
    settings = {"made": VERSION, "clips": n_clips, "of": of, "log_mel": as_log_mel}
    with files.owned(path, wait=True):  # as features.persist
        if store.is_done(path, settings):
            return False
        _write(find_speech, n_clips, path, settings, as_log_mel)
    return True


def _write(find_speech, n_clips, path, settings, as_log_mel):
    import joblib  # slow to import, and only needed here

    shape, dtype = ((N_FRAMES, N_MELS), np.float32) if as_log_mel else ((CLIP_SAMPLES,), np.int16)
    files.require_space(path, n_clips * np.prod(shape) * dtype().itemsize + SPACE_SPARE)
    clips, kinds = find_speech(), plan(n_clips)
    clips = clips[clips.any(axis=1)]
    blocks = [range(first, min(first + BLOCK, n_clips)) for first in range(0, n_clips, BLOCK)]
    n_jobs = joblib.cpu_count() if len(blocks) > WORTH_BLOCKS else 1
    names = [f"{label}/made_{kind.replace(' ', '_')}_{i}.wav" for i, (label, kind) in enumerate(kinds)]
    with (
        store.ArrayWriter(path, shape, dtype, settings) as writer,
        cli.progress(total=n_clips, desc=f"making {Path(path).name}", unit="clip") as bar,
        joblib.Parallel(n_jobs, return_as="generator") as parallel,
    ):
        start = 0  # a bar that is not shown does not count
        for rows in parallel(joblib.delayed(_make_block)(clips, kinds, block, as_log_mel) for block in blocks):
            writer.append(rows, names[start : start + len(rows)])
            start += len(rows)
            bar.update(len(rows))


def _make_block(clips, kinds, block, as_log_mel):
    rows = np.stack([make(*kinds[index], clips, [SEED, index]) for index in block])
    return features.log_mel(audio.to_waveform(rows)) if as_log_mel else rows
