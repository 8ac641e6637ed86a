"""placeholder"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from utils import audio, corpus

HELD_OUT = ("bed", "cat", "eight", "five", "happy", "nine", "one", "zero", "stop", "yes")


class Recordings(NamedTuple):
    """Clips of words: int16 (n, 16000), and the word, speaker and set of each."""

    clips: np.ndarray
    words: np.ndarray
    speakers: np.ndarray
    sets: np.ndarray


def read_recordings(raw):
    """All recordings of words of ``data/raw``, by the sets of its lists."""
    folder, listed = corpus.find_recordings(raw), corpus.check_lists(raw)
    clips, words, speakers, sets = [], [], [], []
    for word, name in corpus.list_recordings(folder):
        if word == corpus.NOISE_FOLDER:
            continue
        clip = audio.fit_second(audio.read_wav(Path(folder, word, name), audio.CLIP_SAMPLES))
        if clip.any():
            clips.append(clip)
            words.append(word)
            speakers.append(corpus.parse_name(f"{word}/{name}")[0])
            sets.append(listed.get(f"{word}/{name}", "train"))
    return Recordings(np.stack(clips), np.array(words), np.array(speakers), np.array(sets))
