"""Sounds that are no command, made from training clips and by arithmetic: what silence and unknown are.

A network that has heard six background recordings and twenty other words takes a fan for *off* and talk for
*right*: nothing has told it that most sounds are no command. Each kind is a function of a random generator and of
clips, which gives a second of sound, about -1 to 1; those that need no clips are in :mod:`utils.system.noises`.
"""

import numpy as np

from utils import audio, features, store
from utils.audio import CLIP_SAMPLES, SAMPLE_RATE
from utils.labels import SILENCE, UNKNOWN
from utils.nets.frames import N_FRAMES, N_MELS
from utils.stream import find_word
from utils.system import files, noises
from utils.system.noises import colour, in_noise, loudness, unit

SHARES = {SILENCE: 0.55, UNKNOWN: 0.45}
LEVELS_DB = {SILENCE: (-70.0, -6.0), UNKNOWN: (-40.0, -10.0)}  # of full scale: the power of a clip
SEED = 220788
VERSION = 2  # of what is made: arrays of another version are made anew
BLOCK = 128  # clips that a process makes at a time
WORTH_BLOCKS = 4  # fewer are not worth starting processes
GOLDEN = (5**0.5 - 1) / 2

# What speech becomes when nothing can be understood: silence as well.


def _draw(rng, clips):
    """The waveform of one of the clips."""
    return audio.to_waveform(clips[rng.integers(len(clips))])


def babble(rng, clips):
    """Five people and more at once."""
    n_voices = int(rng.integers(5, 12))
    sound = np.zeros(CLIP_SAMPLES)
    for clip in clips[rng.integers(len(clips), size=n_voices)]:
        sound += rng.uniform(0.4, 1) * unit(np.roll(audio.to_waveform(clip), rng.integers(CLIP_SAMPLES)))
    return sound if rng.random() < 0.5 else colour(rng, sound)


def speech_noise(rng, clips):
    """Noise with the spectrum of a clip, most of it with a loudness that changes."""
    spectrum = np.abs(np.fft.rfft(_draw(rng, clips))) * np.exp(2j * np.pi * rng.random(CLIP_SAMPLES // 2 + 1))
    noise = np.fft.irfft(spectrum, CLIP_SAMPLES)
    return noise * (loudness(rng) if rng.random() < 0.6 else 1)


def smeared(rng, clips):
    """A clip in a hall so large that all runs together."""
    waveform = np.roll(_draw(rng, clips), rng.integers(CLIP_SAMPLES))
    tail = rng.standard_normal(CLIP_SAMPLES) * np.exp(-np.arange(CLIP_SAMPLES) / SAMPLE_RATE / rng.uniform(0.3, 1.0))
    spectrum = np.fft.rfft(np.tile(waveform, 2), 2 * CLIP_SAMPLES) * np.fft.rfft(tail, 2 * CLIP_SAMPLES)
    return np.fft.irfft(spectrum, 2 * CLIP_SAMPLES)[CLIP_SAMPLES:]


# What is said, but is no word that was taught.


def _word(rng, clips):
    """What is said in one of the clips, at one level."""
    waveform = _draw(rng, clips)
    first, last = find_word(waveform)
    return unit(waveform[first:last])


def _part(word, first, last, fade=80):
    """A share of a word, faded at both ends."""
    start = int(first * len(word))
    part = word[start : max(int(last * len(word)), start + 2 * fade)].copy()
    fade = min(fade, len(part) // 2)
    ramp = np.linspace(0, 1, fade)
    part[:fade] *= ramp
    part[len(part) - fade :] *= ramp[::-1]
    return part


def _place(sound, first, rng):
    """A shorter sound at a place in a second of very little noise."""
    return in_noise(np.pad(sound, (first, CLIP_SAMPLES - len(sound) - first)), rng, -60, -25)


def _join(pieces, rng, overlap=80):
    """Sounds one after the other, somewhere in a second."""
    joined = pieces[0]
    for piece in pieces[1:]:
        n = min(overlap, len(joined), len(piece))
        joined = np.concatenate([joined[: len(joined) - n], joined[len(joined) - n :] + piece[:n], piece[n:]])
    room = CLIP_SAMPLES - len(joined)
    first = rng.integers(abs(room) + 1)
    return _place(joined, first, rng) if room > 0 else joined[first : first + CLIP_SAMPLES]


def backwards(rng, clips):
    """A clip from its end to its beginning."""
    return _join([_word(rng, clips)[::-1]], rng)


def spliced(rng, clips):
    """The first part of one word, then the last part of another."""
    first = _part(_word(rng, clips), 0, rng.uniform(0.3, 0.7))
    last = _part(_word(rng, clips), rng.uniform(0.3, 0.7), 1)
    return _join([first, last], rng)


def between(rng, clips):
    """The end of a word and the beginning of the next: what the second cuts out of talk."""
    before = _part(_word(rng, clips), rng.uniform(0.4, 0.8), 1)
    after = _part(_word(rng, clips), 0, rng.uniform(0.2, 0.6))
    gap = np.zeros(int(rng.uniform(0, 0.5) * max(0, CLIP_SAMPLES - len(before) - len(after))))
    window = np.concatenate([before, gap, after])
    room = CLIP_SAMPLES - len(window)
    if room > 0:  # in running speech the second ends in the middle of the next word
        window = _place(window, int(rng.choice([0, room, rng.integers(room + 1)])), rng)
    return window[:CLIP_SAMPLES]


def scrambled(rng, clips):
    """Pieces of one or two words in another order."""
    sound = np.concatenate([_word(rng, clips) for _ in range(rng.integers(1, 3))])
    size = int(rng.uniform(0.08, 0.2) * SAMPLE_RATE)
    starts = np.arange(0, max(1, len(sound) - size // 2), size)
    order = rng.permutation(len(starts))
    if len(order) > 1 and np.all(order == np.arange(len(order))):
        order = order[::-1]
    pieces = [_part(sound[starts[i] : starts[i] + size], 0, 1) for i in order]
    if rng.random() < 0.3:
        pieces = [piece[::-1] for piece in pieces]
    return _join(pieces, rng)


def fragment(rng, clips):
    """A short piece of a word alone: its first sound, or its last."""
    word, share = _word(rng, clips), rng.uniform(0.12, 0.35)
    first = 0 if rng.random() < 0.5 else 1 - share
    return _join([_part(word, first, first + share)], rng)


def two_at_once(rng, clips):
    """Two words on top of each other, both turned into nonsense by where they are joined."""
    one, other = spliced(rng, clips), backwards(rng, clips)
    return unit(one) + 10 ** (rng.uniform(-6, 6) / 20) * unit(other)


def drawn_out(rng, clips):
    """A stretch of a word again and again: a vowel, a hiss."""
    word = _word(rng, clips)
    size = int(rng.uniform(0.04, 0.12) * SAMPLE_RATE)
    start = rng.integers(max(1, len(word) - size))
    piece = _part(word[start : start + size], 0, 1, size // 4)
    times = int(rng.integers(3, 14))
    return _join([piece[::-1] if rng.random() < 0.5 else piece for _ in range(times)], rng, size // 4)


# Label -> name of a kind -> (what makes it, how much there is of it beside the others).
KINDS = {
    SILENCE: {
        "steady noise": (noises.steady_noise, 3),
        "moving noise": (noises.moving_noise, 4),
        "hum": (noises.hum, 2),
        "siren": (noises.siren, 1),
        "knocks": (noises.knocks, 3),
        "clatter": (noises.clatter, 1.5),
        "engine": (noises.engine, 1.5),
        "nothing": (noises.nothing, 0.5),
        "babble": (babble, 1.5),
        "speech noise": (speech_noise, 1.5),
        "smeared": (smeared, 0.5),
    },
    UNKNOWN: {
        "backwards": (backwards, 1),
        "spliced": (spliced, 2.5),
        "between": (between, 5),
        "scrambled": (scrambled, 2.5),
        "fragment": (fragment, 1),
        "two at once": (two_at_once, 1),
        "drawn out": (drawn_out, 1),
        "formants": (noises.formants, 2),
    },
}


def make(label, kind, clips, seed):
    """One made clip (int16) of ``KINDS[label]``; ``clips`` (int16, shape (n, 16000)) are of speech, none all zero."""
    rng = np.random.default_rng(seed)
    maker, _ = KINDS[label][kind]
    waveform = maker(rng, clips)
    if kind != "nothing":
        waveform = unit(waveform) * 10 ** (rng.uniform(*LEVELS_DB[label]) / 20)
    return audio.to_counts(waveform)


def plan(n_clips):
    """Label and kind of each of some clips: whatever stretch of them is taken, all have about their shares."""
    kinds = [(label, kind) for label, of in KINDS.items() for kind in of]
    totals = {label: sum(share for _, share in of.values()) for label, of in KINDS.items()}
    shares = np.cumsum([SHARES[label] * KINDS[label][kind][1] / totals[label] for label, kind in kinds])
    # The golden ratio's multiples fill the line from 0 to 1 evenly, wherever one begins.
    places = (np.arange(n_clips) * GOLDEN) % 1
    return [kinds[index] for index in np.searchsorted(shares / shares[-1], places, side="right")]


def make_all(label, n_clips, speech, seed):
    """Made clips of a label, of all kinds by their shares: int16 clips (n_clips, 16000), and the kind of each."""
    speech = speech[speech.any(axis=1)]
    kinds = [kind for of, kind in plan(3 * n_clips) if of == label][:n_clips]
    return np.stack([make(label, kind, speech, [seed, i]) for i, kind in enumerate(kinds)]), kinds


def persist(find_speech, n_clips, path, of, as_log_mel):
    """Write made clips (int16, or log-mel) as an array, unless one from the same recordings is there.

    ``find_speech()`` gives the clips that others are made from, and ``of`` are fingerprints of the recordings.
    """
    settings = {"made": VERSION, "clips": n_clips, "of": of, "log_mel": as_log_mel}
    with files.owned(path, wait=True):  # as features.persist
        if not store.is_done(path, settings):
            _write(find_speech(), n_clips, path, settings)


def _write(clips, n_clips, path, settings):
    import joblib  # slow to import, and only needed here

    as_log_mel, kinds = settings["log_mel"], plan(n_clips)
    shape, dtype = ((N_FRAMES, N_MELS), np.float32) if as_log_mel else ((CLIP_SAMPLES,), np.int16)
    clips = clips[clips.any(axis=1)]
    blocks = [range(first, min(first + BLOCK, n_clips)) for first in range(0, n_clips, BLOCK)]
    names = [f"{label}/made_{kind.replace(' ', '_')}_{i}.wav" for i, (label, kind) in enumerate(kinds)]
    n_jobs = joblib.cpu_count() if len(blocks) > WORTH_BLOCKS else 1
    with joblib.Parallel(n_jobs, return_as="generator", idle_worker_timeout=features.IDLE_S) as parallel:
        made = parallel(joblib.delayed(_make_block)(clips, kinds, block, as_log_mel) for block in blocks)
        store.write_array(path, made, shape, dtype, settings, names, "making")


def _make_block(clips, kinds, block, as_log_mel):
    rows = np.stack([make(*kinds[index], clips, [SEED, index]) for index in block])
    return features.log_mel(audio.to_waveform(rows)) if as_log_mel else rows
