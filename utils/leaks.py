"""Proof that a finished split does not leak, from the tree itself and not from the code that made it."""

import itertools
from collections import defaultdict
from dataclasses import dataclass

from utils import audio
from utils.corpus import SETS, LeakError, Listener, check_lists, list_clips, parse_name
from utils.labels import LABELS, SILENCE
from utils.system.names import fold

SILENCE_GAP = audio.SAMPLE_RATE  # samples between the stretches of background noise of two sets


@dataclass
class Audit:
    """What :func:`audit` counted (speakers by set), and what it warns of."""

    clips: int
    speakers: dict
    warnings: list


def audit(folder="data/main", raw=None, labels=LABELS, listener=None):
    """Prove that a split tree does not leak; warn of each sound that stands under two words.

    Parameters
    ----------
    folder : str or Path
    raw : str or Path, optional
        Recordings whose lists are checked too: every listed clip must exist.
    labels : sequence of str
    listener : Listener, optional
        One that has heard the recordings need not read them again.

    Raises
    ------
    LeakError
        If a speaker or the same audio is in two sets, or silence of two sets was cut from
        stretches less than a second apart; if a listed clip does not exist.
    """
    if raw is not None:
        check_lists(raw)
    clips = list_clips(folder, labels)
    hashes = (listener or Listener()).hash_all([clip.path for clip in clips], "auditing")
    speakers, pieces, sounds, warnings = defaultdict(dict), defaultdict(list), {}, []
    for clip, digest in zip(clips, hashes):
        speaker, word = parse_name(clip.path)
        speaker = fold(speaker)  # anna and Anna are one person, and one recording of a room
        short = f"{clip.set}/{clip.label}/{clip.path.name}"
        if isinstance(digest, audio.WavError):
            raise LeakError(f"{clip.path}: {digest}; remove the tree and split again")
        if clip.label != SILENCE:
            speakers[speaker].setdefault(clip.set, short)
        elif (start := clip.path.stem.rpartition("_at_")[2]).isdecimal():
            pieces[speaker].append((int(start), clip.set, short))
        if digest is None:  # nothing but zeros is the same wherever it is
            continue
        first_set, first_word, first_name = sounds.setdefault(digest, (clip.set, word, short))
        if first_set != clip.set:
            raise LeakError(f"the same audio is in two sets: {first_name} and {short}")
        if first_word != word:
            warnings.append(f"the same audio under two words: {first_name} and {short}")
    for speaker, first in speakers.items():
        if len(first) > 1:
            raise LeakError(f"speaker {speaker} is in two sets: {' and '.join(list(first.values())[:2])}")
    for group in pieces.values():
        for (start, one, name), (next_start, other, next_name) in itertools.pairwise(sorted(group)):
            if one != other and next_start - start < audio.CLIP_SAMPLES + SILENCE_GAP:
                raise LeakError(f"silence of two sets is less than a second apart: {name} and {next_name}")
    return Audit(len(clips), {name: sum(name in first for first in speakers.values()) for name in SETS}, warnings)
