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
    """What :func:`audit` counted, and what it warns of."""

    clips: int
    speakers: dict
    warnings: list


def audit(folder="data/main", raw=None, labels=LABELS, listener=None):
    """Prove that a split tree does not leak.

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

    Returns
    -------
    Audit
        With a warning for each sound that stands under two words.
    """
    if raw is not None:
        check_lists(raw)
    clips = list_clips(folder, labels)
    listener = listener or Listener()
    speakers, pieces, sounds = defaultdict(dict), defaultdict(list), {}
    warnings = []
    for clip, digest in zip(clips, listener.hash_all([clip.path for clip in clips], "auditing")):
        speaker, word = parse_name(clip.path)
        speaker = fold(speaker)  # anna and Anna are one person, and one recording of a room
        short = f"{clip.set}/{clip.label}/{clip.path.name}"
        if isinstance(digest, audio.WavError):
            raise LeakError(f"{clip.path}: {digest}; remove the tree and split again")
        if clip.label == SILENCE:
            start = clip.path.stem.rpartition("_at_")[2]
            if start.isdecimal():
                pieces[speaker].append((int(start), clip.set, short))
        else:
            other = speakers[speaker].setdefault(clip.set, short)
            if len(speakers[speaker]) > 1:
                first = next(path for name, path in speakers[speaker].items() if name != clip.set)
                raise LeakError(f"speaker {speaker} is in two sets: {first} and {other}")
        if digest is None:  # nothing but zeros is the same wherever it is
            continue
        first_set, first_word, first_name = sounds.setdefault(digest, (clip.set, word, short))
        if first_set != clip.set:
            raise LeakError(f"the same audio is in two sets: {first_name} and {short}")
        if first_word != word:
            warnings.append(f"the same audio under two words: {first_name} and {short}")
    for group in pieces.values():
        group.sort()
        for (start, one, name), (next_start, other, next_name) in itertools.pairwise(group):
            if one != other and next_start - start < audio.CLIP_SAMPLES + SILENCE_GAP:
                raise LeakError(f"silence of two sets is less than a second apart: {name} and {next_name}")
    by_set = {name: sum(name in sets for sets in speakers.values()) for name in SETS}
    return Audit(len(clips), by_set, warnings)
