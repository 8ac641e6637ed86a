"""Whether a microphone is fit to be listened to: which it is, how loud, how quiet, and whether words are heard."""

import itertools
from typing import NamedTuple

import numpy as np

from utils import audio
from utils.audio import SAMPLE_RATE
from utils.labels import SILENCE, UNKNOWN

BLOCK = SAMPLE_RATE // 10  # levels are of 100 ms
QUIET_S, WORD_S = 3, 2.5
WORDS = ("yes", "stop", "left")
FULL = 32_700  # counts; from here on a sample may have been cut off
MOST_CUT = 1e-3  # share of cut samples that is not heard
LEAST_DB, LEAST_ABOVE_DB = -45.0, 12.0  # of a word's loudest 100 ms: of full scale, and above the noise


class Levels(NamedTuple):
    """Of some samples: decibels of full scale, and the share that was cut off."""

    noise_db: float
    loudest_db: float
    cut: float
    is_zero: bool


def measure(samples):
    """Levels of int16 samples: the noise is the lower quarter of all 100 ms."""
    blocks = audio.to_waveform(samples[: len(samples) // BLOCK * BLOCK]).reshape(-1, BLOCK)
    levels_db = 10 * np.log10(np.square(blocks).mean(axis=1) + 1e-10)
    cut = float(np.mean(np.abs(samples.astype(np.int32)) >= FULL))
    return Levels(float(np.quantile(levels_db, 0.25)), float(levels_db.max()), cut, not samples.any())


def judge(quiet, spoken, heard, wanted):
    """What is wrong, in plain words with what to do: from the levels of a time without words, and of the words."""
    if quiet.is_zero and spoken.is_zero:
        return [
            "only zeros come from the microphone: it is muted, or this terminal may not use it. Allow it in the "
            "system's settings (Privacy, Microphone), and start the terminal anew"
        ]
    faults = []
    if spoken.cut > MOST_CUT:
        faults.append(f"{spoken.cut:.1%} of your words is cut off: turn the input level down, or speak further away")
    if spoken.loudest_db < LEAST_DB:
        faults.append(
            f"your words are very quiet ({spoken.loudest_db:.0f} dB): turn the input level up, or come nearer"
        )
    elif spoken.loudest_db - quiet.noise_db < LEAST_ABOVE_DB:
        faults.append(
            f"your words are hardly louder than the noise ({spoken.loudest_db:.0f} and {quiet.noise_db:.0f} dB): "
            "come nearer, or find a quieter place"
        )
    missed = [word for word, found in zip(wanted, heard) if word != found]
    if missed:
        faults.append(f"not heard: {', '.join(missed)}. Say one word alone, clearly, and look at the levels above")
    return faults


def examine(recogniser, microphone):
    """Ask for silence and for some words, and print what was found; 1 if something is wrong.

    ``microphone`` is :mod:`utils.system.microphone`, or what stands for it.
    """
    print(f"microphone: {microphone.describe()}")
    known = [label for label in recogniser.labels if label not in (SILENCE, UNKNOWN)]
    words = [word for word in WORDS if word in known] or known[: len(WORDS)]
    with microphone.blocks() as blocks:
        print(f"be quiet for {QUIET_S} seconds ...", flush=True)
        quiet = measure(record(blocks, QUIET_S))
        print(f"  noise {quiet.noise_db:.0f} dB of full scale")
        clips, heard = [], []
        for word in words:
            print(f"say: {word}", flush=True)
            clips.append(record(blocks, WORD_S))
            row = recogniser(audio.to_waveform(audio.loudest_second(clips[-1]))[None])[0]
            heard.append(recogniser.labels[row.argmax()])
            print(f"  heard: {heard[-1]} ({row.max():.0%}), loudest {measure(clips[-1]).loudest_db:.0f} dB")
    faults = judge(quiet, measure(np.concatenate(clips)), heard, words)
    print("\n".join(f"! {fault}" for fault in faults) or f"all is well: {len(words)} of {len(words)} words were heard")
    return 1 if faults else 0


def record(blocks, seconds):
    """The next seconds of a microphone's blocks, which are of 100 ms."""
    return np.concatenate(list(itertools.islice(blocks, int(seconds * SAMPLE_RATE / BLOCK))))
