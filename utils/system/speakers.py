"""Who speaks in one's own recordings, as their names say it, and who goes into which set."""

import hashlib
import re
from collections import Counter, defaultdict
from pathlib import Path

from utils import corpus
from utils.corpus import SETS, parse_name
from utils.labels import UNKNOWN, label_of
from utils.system.cli import CourseError
from utils.system.names import fold

SHARE = 0.1  # of the speakers go to cv, and as many to test
NEARLY_ALL = 0.9  # of names that say the same


def deal(raw, found, is_known, keywords):
    """Which recording goes into which set: by the official lists or, without any, by who speaks.

    Parameters
    ----------
    raw : Path
    found : list of (word, file name)
    is_known : bool
        Whether names of one's own recordings say who speaks.
    keywords : sequence of str

    Returns
    -------
    dict, dict, list of str
        ``word/file name`` -> set, train where there is none; (word, file name) -> name in the challenge's form; doubts.
    """
    recordings = corpus.find_recordings(raw)
    lists = [corpus.list_folder(recordings) / name for name in corpus.LISTS.values()]
    if recordings == raw and not any(path.exists() for path in lists):
        names = {clip: _standard_name(*clip, is_known, recordings) for clip in found}
        doubts = list(_doubt(names, recordings)) if is_known else []
        return _assign(names, recordings, keywords), names, doubts
    if not is_known:
        raise CourseError(f"{lists[0].parent} has lists of who is in which set: leave out --no-speakers")
    doubts, unknown = [], [f"{word}/{wav}" for word, wav in found if "_nohash_" not in wav]
    if unknown:
        doubts.append(
            f"{len(unknown)} names do not say who speaks as anna_nohash_1.wav does, such as {unknown[0]}: that nobody "
            "is in two sets is left to the lists"
        )
    return corpus.check_lists(raw), {clip: clip[1] for clip in found}, doubts


def _standard_name(word, wav, is_known, recordings):
    """Name of one's own recording in the form of the challenge's: ``anna_1.wav`` is ``anna_nohash_1.wav``."""
    stem = Path(wav).stem
    if not is_known:
        return f"{word}-{stem}_nohash_0.wav"
    speaker, _, take = stem.rpartition("_nohash_" if "_nohash_" in stem else "_")
    if not speaker:
        raise CourseError(
            f"{recordings / word / wav}: its name does not say who speaks; name it like anna_1.wav, "
            "or use --no-speakers"
        )
    return f"{speaker}_nohash_{take.replace('_', '-')}.wav"


def _doubt(names, recordings):
    """Raise CourseError, or warn, where what the names say of who speaks is not who speaks.

    ``7_jackson_32.wav`` would be by "7_jackson", who says nothing but "7": jackson would be in several sets.
    """
    by_word, words = defaultdict(list), defaultdict(set)
    for (word, wav), name in names.items():
        speaker = fold(parse_name(name)[0])
        by_word[word].append((wav, _split(speaker)))
        words[speaker].add(word)
    of_word, misnamed, wordless = [], [], []
    firsts, lasts = {}, {}  # by folder: the part with which nearly all its names begin, or end, and what is left
    for word, clips in by_word.items():
        said = _split(word)
        found = [wav for wav, parts in clips if said in (parts[: len(said)], parts[-len(said) :])]
        of_word += [f"{word}/{wav}" for wav in found]
        if len(found) >= NEARLY_ALL * len(clips):  # of one who says her own name, nothing is left beside the word
            (misnamed if any(len(parts) > len(said) for _, parts in clips) else wordless).append(word)
        for marks, place in ((firsts, 0), (lasts, -1)):
            mark, count = Counter(parts[place] for _, parts in clips).most_common(1)[0]
            if count >= NEARLY_ALL * len(clips):
                marks[word] = mark, {parts[1:] if place == 0 else parts[:-1] for _, parts in clips} - {()}
    if len(wordless) > 1:
        misnamed += wordless
    for marks in (firsts, lasts):  # to each folder its own, and beside it the same people: words, or numbers
        turns = Counter(person for _, people in marks.values() for person in people)
        n_shared = sum(n > 1 for n in turns.values())
        if len({mark for mark, _ in marks.values()}) == len(by_word) > 1 and n_shared >= max(2, len(turns) / 2):
            misnamed += by_word
    if misnamed:
        raise CourseError(
            f"{recordings / misnamed[0] / by_word[misnamed[0]][0][0]}: names here say the word where it should be who "
            "speaks, and one person would be in several sets; name it like anna_1.wav, or use --no-speakers"
        )
    hint = "people are in several sets and scores too good; name files like anna_1.wav, or use --no-speakers"
    if of_word:
        yield f"{len(of_word)} names say their word, such as {of_word[0]}: if they do not say who speaks, {hint}"
    takes = [Path(name).stem.rpartition("_")[2] for name in names.values()]
    if all(speaker.isdigit() for speaker in words) and sum(map(str.isalpha, takes)) >= NEARLY_ALL * len(takes):
        first = "/".join(min(names))
        yield f"all speakers have numbers for names, such as {first}: if who speaks stands at the end, {hint}"
    single = [speaker for speaker, said in words.items() if len(said) == 1]
    if len(by_word) > 1 and len(single) >= NEARLY_ALL * len(words):
        n_single = f"{len(single)} of {len(words)} speakers"
        yield f"{n_single} say one word only, such as {single[0]}: if that is not who speaks, {hint}"


def _split(text):
    return tuple(re.split(r"[\s_-]+", fold(text)))


def _assign(names, recordings, keywords):
    """Set of each recording: about a tenth of the speakers validates, a tenth tests, at least one each."""
    by_speaker, needed = defaultdict(list), set()  # needed are those who say a keyword
    for (word, wav), name in names.items():
        speaker = fold(parse_name(name)[0])
        by_speaker[speaker].append(f"{word}/{wav}")
        if label_of(word, keywords) != UNKNOWN:
            needed.add(speaker)
    if len(by_speaker) < len(SETS):
        raise CourseError(
            f"{recordings} has recordings of {len(by_speaker)} speakers ({', '.join(sorted(by_speaker))}), and three "
            "are needed, one for each set: record more people, or use --no-speakers"
        )
    # In an order that has nothing to do with the names, and is the same each time.
    ranked = sorted(by_speaker, key=lambda speaker: hashlib.sha256(speaker.encode(errors="surrogateescape")).digest())
    share = max(1, round(SHARE * len(ranked)))
    chosen = {"test": ranked[:share], "cv": ranked[share : 2 * share], "train": ranked[2 * share :]}
    for group in chosen.values():  # chance may leave a set without: then two speakers change places
        for other in chosen.values():
            mine, theirs = ([speaker for speaker in some if speaker in needed] for some in (group, other))
            if not mine and len(theirs) > 1:
                here, there = len(group) - 1, other.index(theirs[0])
                group[here], other[there] = other[there], group[here]
    return {clip: name for name, group in chosen.items() for speaker in group for clip in by_speaker[speaker]}
