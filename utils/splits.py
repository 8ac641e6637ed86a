"""Split ``data/raw`` by speaker into ``data/main`` and ``data/sample``."""

import csv
import difflib
import hashlib
import os
import re
import shutil
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from utils import audio, corpus, leaks, sources
from utils.corpus import LISTS, NOISE_FOLDER, SETS, parse_name
from utils.labels import KEYWORDS, LABELS, SILENCE, UNKNOWN, label_of, with_extras
from utils.leaks import SILENCE_GAP
from utils.system import files
from utils.system.cli import BadUse, CourseError, progress
from utils.system.names import compose, fold, is_too_long

SAMPLE_SIZE = {"train": 20, "cv": 5, "test": 5}  # clips a label
SEED = 220788
# Shares of each background recording, in the order in which they lie in it.
SILENCE_SHARES = (("train", 6 / 8), ("cv", 1 / 8), ("test", 1 / 8))
MAX_NOISE_SAMPLES = 10 * 60 * audio.SAMPLE_RATE  # used of a background recording
SPEAKER_SHARE = 0.1  # of the speakers go to cv, and as many to test, where no lists say which
WAV_BYTES = 40_000  # a clip on disk, at most
ENTRY_BYTES = 512  # a link in a folder, at most
NOTE = "split.json"  # marks a folder as made here, and says of what
NEARLY_ALL = 0.9  # of names that say the same
VERSION = 3  # of the rules below: a tree made by other rules is made anew


@dataclass
class Split:
    """What :func:`split` did: clips by set and label, files passed over, and whether it had to work."""

    labels: tuple
    counts: dict
    skipped: list = field(default_factory=list)  # (file, reason)
    warnings: list = field(default_factory=list)
    made: bool = True


def split(
    raw="data/raw",
    main="data/main",
    sample="data/sample",
    keywords=KEYWORDS,
    speakers=True,
    resample=False,
    seed=SEED,
):
    """Split recordings by speaker; what is done already is left alone.

    The official lists decide where there are any. ``raw`` is never changed: ``main`` holds
    hard links, ``sample`` copies. The trees are made beside their places and renamed, so a
    killed run changes nothing.

    Parameters
    ----------
    raw : str or Path
        Kaggle's layout, or a folder of one's own with a folder of wavs for each word.
    main, sample : str or Path
    keywords : sequence of str
        Words to tell apart; all others are ``unknown``.
    speakers : bool
        Whether the names of one's own recordings say who speaks: ``anna_1.wav``.
    resample : bool
        Take other rates, channels and formats too; such files are converted, not linked.
    seed : int
        Draws the sample.

    Returns
    -------
    Split

    Raises
    ------
    CourseError
        If a list or the recordings are missing.
    LeakError
        If the lists put a speaker in two sets, or name a clip that is not there.
    """
    raw, main, sample = Path(raw), Path(main), Path(sample)
    files.require_apart({"raw": raw, "main": main, "sample": sample})
    for folder in (main, sample):
        files.require_folders(folder / NOTE)
        for path in (folder / NOTE, folder / "skipped.csv"):
            if path.is_dir():
                raise BadUse(f"{path} is a folder, and a file is to be written there: move it away")
    labels = with_extras(keywords)
    rules = f"{VERSION} {seed} {','.join(keywords)} {speakers} {resample}"
    inputs = _describe_inputs(raw, rules)
    note = _read_note(main)
    if note.get("inputs") == inputs and note["trees"] == [_describe_tree(f, labels) for f in (main, sample)]:
        skipped = [(row["file"], row["reason"]) for row in _read_csv(main / "skipped.csv")]
        return Split(labels, corpus.count_clips(main, labels), skipped, note["warnings"], made=False)

    for folder in (main, sample):
        # An earlier version left its note in main alone, for both.
        _require_ours(folder, _read_note(folder) or ({} if "clips" in note else note))
    listener = corpus.Listener(resample)
    plan, skipped, doubts = _plan(raw, keywords, speakers, listener)
    pieces = _plan_silence(raw, plan, keywords, skipped, doubts, listener)
    with files.work_folder(main / "tree") as tree, files.work_folder(sample / "tree") as small:
        _require_space(tree, small, plan, pieces, labels, listener)
        _fill(tree, plan, labels, listener)
        list(files.map_files(lambda place: audio.write_wav(tree / place, pieces[place]), list(pieces)))
        report = leaks.audit(tree, labels=labels, listener=listener)
        _draw_sample(tree, small, labels, seed)
        for work, folder in ((small, sample), (tree, main)):
            # From here on, the trees are of two splits until all sets have been moved; all of their clips are ours.
            files.write_json(folder / NOTE, {"inputs": None, "clips": [*_list_clips(folder), *_list_clips(work)]})
            for name in SETS:
                files.replace(work / name, folder / name)
    files.write_csv(main / "skipped.csv", ("file", "reason"), skipped)
    counts = corpus.count_clips(main, labels)
    warnings = [*doubts, *report.warnings, *_find_oddities(counts, listener)]
    if not speakers:
        warnings.append("speakers are not known: the same voice may be in train and test, and scores too good")
    note = {
        "dataset": sources.describe_source(raw)["name"],
        "labels": labels,
        "inputs": inputs,
        "trees": [_describe_tree(main, labels), _describe_tree(sample, labels)],
        "warnings": warnings,
    }
    # Main's is written last: with it the trees are known to be whole.
    for folder in (sample, main):
        files.write_json(folder / NOTE, {**note, "clips": _list_clips(folder)})
    return Split(labels, counts, skipped, warnings)


def _read_note(folder):
    """What :func:`split` has noted in a folder that it made; empty for others."""
    note = files.read_json(folder / NOTE)
    return note if isinstance(note, dict) and "inputs" in note else {}


def _list_clips(folder):
    """Place and size of every file in train, cv and test."""
    folder = Path(folder)
    return [
        f"{name}/{path} {(folder / name / path).lstat().st_size}"
        for name in SETS
        for path in files.list_paths(folder / name)
    ]


def _require_ours(folder, note):
    """Raise BadUse if a folder holds what :func:`split` did not put there, and would have to remove."""
    for old in (files.beside(folder / name, "old") for name in SETS):
        if os.path.lexists(old) and note.get("inputs", "") is not None:  # else a run was killed as it moved the sets
            raise BadUse(f"{old} is in the way, which no command has left there: move it away")
    there = _list_clips(folder)
    if isinstance(note.get("clips"), list):
        known = note["clips"]
    elif _describe_tree(folder, note.get("labels", LABELS)) in note.get("trees", ()):  # a note of an earlier version
        known = [clip for clip in there if ".wav " in clip]
    else:
        known, there = [], [f"{path} -" for path in files.list_paths(folder)]
    known = set(known)
    for clip in there:
        place = clip.rpartition(" ")[0]
        # A file that has another name too, such as a clip whose recording was written anew, is not lost with this one.
        if clip in known or (folder / place).lstat().st_nlink > 1:
            continue
        raise BadUse(
            f"{folder} holds {place}, which this command did not make: move it away, or name another folder "
            "(--main, --sample)"
        )


def _hash_lines(lines):
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode(errors="surrogateescape") + b"\n")
    return digest.hexdigest()


def _describe_inputs(raw, rules):
    """Hash of all that decides the split: names, sizes and times of the recordings, the lists."""
    recordings, lines = corpus.find_recordings(raw), [rules]
    for word, name in corpus.list_recordings(recordings):
        path = recordings / word / name
        try:
            state = path.stat()
        except OSError:
            state = path.lstat()  # a link that leads nowhere, which is passed over later
        lines.append(f"{word}/{name} {state.st_size} {state.st_mtime_ns}")
    for name in LISTS.values():
        path = corpus.list_folder(recordings) / name
        lines += corpus.read_list(path) if path.exists() else [f"no {name}"]
    return _hash_lines(lines)


def _describe_tree(folder, labels):
    """Hash of the names and sizes of a split tree."""
    places = [f"{name}/{label}" for name in SETS for label in labels]
    wavs = [f"{place}/{wav}" for place in places for wav in corpus.wav_names(folder / place)]
    return _hash_lines(f"{wav} {Path(folder, wav).stat().st_size}" for wav in wavs)


def _read_csv(path):
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))


def _find_oddities(counts, listener):
    """What a reader of the counts should know before training."""
    for label in counts["train"]:
        without = [name for name in SETS if not counts[name][label]]
        if without:
            yield f"no clip of {label!r} in {', '.join(without)}"
    if listener.long:
        path = listener.long[0]
        yield (
            f"{len(listener.long)} recordings are longer than a second, such as {path.parent.name}/{path.name}: "
            "only the second with the most sound is used"
        )
    if listener.cancelled:
        path = min(listener.cancelled)
        yield (
            f"{len(listener.cancelled)} recordings have channels that cancel each other out, such as "
            f"{path.parent.name}/{path.name}: their loudest channel is used"
        )


def _plan(raw, keywords, speakers, listener):
    """Which recording goes where: rows of (set, label, file name, recording); what is passed over; what to doubt."""
    recordings = corpus.find_recordings(raw)
    found = [recording for recording in corpus.list_recordings(recordings) if recording[0] != NOISE_FOLDER]
    _check_folders(found, recordings)
    skipped = [(_join(*clip), reason) for clip in found if (reason := listener.find_fault(*clip))]
    found = [clip for clip in found if not listener.find_fault(*clip)]
    paths = [recordings / word / wav for word, wav in found]
    digests = dict(zip(found, listener.hash_all(paths, "checking recordings")))
    skipped += [(_join(*clip), str(digest)) for clip, digest in digests.items() if isinstance(digest, audio.WavError)]
    found = [clip for clip in found if not isinstance(digests[clip], audio.WavError)]
    for word in keywords:
        if not any(label_of(folder, keywords) == word for folder, _ in found):
            raise CourseError(
                f"{recordings / word} holds no recordings{_explain(skipped, word)}: bring them, or name the words that "
                "are there (--keywords)"
            )
    sets, names, doubts = _deal(raw, recordings, found, speakers, keywords)
    doubts += _find_zeros(digests, sets)
    order = {"test": 0, "cv": 1, "train": 2}  # of the same audio in two sets, train's copy goes first
    rows = [(sets.get(_join(*clip), "train"), *clip) for clip in found]
    rows.sort(key=lambda row: order[row[0]])
    plan, sounds, places = [], {}, set()
    for name, word, wav in rows:
        digest = digests[word, wav]
        first = sounds.setdefault(digest, (name, f"{word}/{wav}"))
        if digest is not None and first[0] != name:
            skipped.append((f"{word}/{wav}", f"the same audio as {first[1]} in {first[0]}"))
            continue
        label = label_of(word, keywords)
        stem = Path(names[word, wav]).stem
        place = (name, label, f"{stem}.wav" if label != UNKNOWN else f"{stem}_{word}.wav")
        key = name, label, fold(place[2])
        if key in places:
            skipped.append((f"{word}/{wav}", f"another file is already named {place[2]}"))
            continue
        if is_too_long(place[2]):
            skipped.append((f"{word}/{wav}", f"{place[2]} would be too long a name"))
            continue
        places.add(key)
        plan.append((*place, recordings / word / wav))
    _check_sets(plan, keywords, skipped, recordings)
    return plan, sorted(skipped), doubts


def _join(word, name):
    return f"{word}/{name}" if word else name


def _explain(skipped, folder=""):
    """Why most files (of a folder) were passed over, in brackets; nothing if none were."""
    reasons = Counter(reason for file, reason in skipped if not folder or compose(file).startswith(f"{folder}/"))
    if not reasons:
        return ""
    reason, count = reasons.most_common(1)[0]
    hint = ", which --resample takes" if re.search("instead of (1|16|16000)$", reason) else ""
    return f" ({reasons.total()} files passed over, {count} of them: {reason}{hint})"


def _check_folders(found, recordings):
    """Refuse folders that are meant for background noise and have another name: they would be learned as a word."""
    for word in dict.fromkeys(word for word, _ in found):
        letters = "".join(filter(str.isalpha, fold(word)))
        is_noise = difflib.SequenceMatcher(None, letters, "backgroundnoise").ratio() > NEARLY_ALL
        if letters == SILENCE or is_noise:
            raise CourseError(
                f"{recordings / word} is no word: silence is cut from recordings of half a minute or more, of a room "
                f"in which nobody speaks, in {recordings / NOISE_FOLDER}; move the folder away"
            )


def _deal(raw, recordings, found, speakers, keywords):
    """Set of each recording, by the lists or by who speaks; its name in the challenge's form; what to doubt."""
    lists = [corpus.list_folder(recordings) / name for name in LISTS.values()]
    if recordings == raw and not any(path.exists() for path in lists):
        names = {clip: _standard_name(*clip, speakers, recordings) for clip in found}
        doubts = list(_doubt_speakers(names, recordings)) if speakers else []
        return _assign_speakers(names, recordings, keywords), names, doubts
    if not speakers:
        raise CourseError(f"{lists[0].parent} has lists of who is in which set: leave out --no-speakers")
    unknown = [f"{word}/{wav}" for word, wav in found if "_nohash_" not in wav]
    doubts = []
    if unknown:
        doubts.append(
            f"{len(unknown)} names do not say who speaks as anna_nohash_1.wav does, such as {unknown[0]}: that nobody "
            "is in two sets is left to the lists"
        )
    return corpus.check_lists(raw), {clip: clip[1] for clip in found}, doubts


def _check_sets(plan, keywords, skipped, recordings):
    """Raise CourseError if a set would be empty or a keyword could not be learned: training would fail, or worse."""
    counts = Counter((name, label) for name, label, _, _ in plan)
    for name in SETS:
        if not any(counts[name, word] for word in keywords):
            raise CourseError(
                f"{recordings} has no clip of a keyword for {name}{_explain(skipped)}: record all words by more people"
            )
    for word in keywords:
        if not counts["train", word]:
            raise CourseError(
                f"{recordings} has no clip of {word!r} for training{_explain(skipped, word)}: record it by more "
                "people, or leave it out (--keywords)"
            )


def _find_zeros(digests, sets):
    """Warnings of word folders and sets most of which is nothing but zeros: digests of None."""
    groups = defaultdict(list)
    for (word, wav), digest in digests.items():
        if not isinstance(digest, audio.WavError):
            groups[f"folder {word}"].append(digest)
            groups[f"set {sets.get(f'{word}/{wav}', 'train')}"].append(digest)
    for group, found in groups.items():
        if 2 * found.count(None) > len(found):
            yield f"{found.count(None)} of {len(found)} recordings in the {group} hold nothing but zeros: record again"


def _standard_name(word, wav, speakers, recordings):
    """Name of one's own recording in the form of the challenge's: ``anna_1.wav`` is ``anna_nohash_1.wav``."""
    stem = Path(wav).stem
    if not speakers:
        return f"{word}-{stem}_nohash_0.wav"
    speaker, mark, take = stem.rpartition("_nohash_") if "_nohash_" in stem else stem.rpartition("_")
    if not mark or not speaker:
        raise CourseError(
            f"{recordings / word / wav}: its name does not say who speaks; name it like anna_1.wav, "
            "or use --no-speakers"
        )
    return f"{speaker}_nohash_{take.replace('_', '-')}.wav"


def _doubt_speakers(names, recordings):
    """Raise CourseError, or warn, where what the names say of who speaks is not who speaks.

    ``7_jackson_32.wav`` would be by "7_jackson", who says nothing but "7": jackson would be in several sets.
    """
    by_word, words = defaultdict(list), defaultdict(set)
    for (word, wav), name in names.items():
        speaker = fold(parse_name(name)[0])
        by_word[word].append((wav, speaker))
        words[speaker].add(word)
    for at_end in (False, True):
        marks, people, of_word = {}, {}, []
        for word, clips in by_word.items():
            cuts = [_cut(speaker, word, at_end) for _, speaker in clips]
            whole = [mark == _split(word) and bool(rest or not at_end) for mark, rest in cuts]
            of_word += [(word, wav) for (wav, _), is_word in zip(clips, whole) if is_word]
            mark, count = Counter(mark for mark, _ in cuts).most_common(1)[0]
            if count >= NEARLY_ALL * len(cuts):
                marks[word], people[word] = mark, {rest for _, rest in cuts if rest}
        named = [word for word, mark in marks.items() if mark == _split(word)]
        others = {_split(speaker) for clips in by_word.values() for _, speaker in clips}
        met = any(people[word] & others for word in named)  # lights/lights_anna_1.wav, and music/anna_1.wav
        turns = Counter(person for group in people.values() for person in group)
        shared = [person for person, n_words in turns.items() if n_words > 1]
        # Without what is the same in a folder and another one in the next, it is the same people everywhere.
        numbered = len(set(marks.values())) == len(marks) and len(shared) >= max(2, len(turns) / 2)
        if len(named) >= min(2, len(by_word)) or met or numbered:
            word = (named or list(marks))[0]
            wav, speaker = by_word[word][0]
            person = "_".join(_cut(speaker, word, at_end)[1]) or "anna"
            raise CourseError(
                f"{recordings / word / wav}: names here say the word where it should be who speaks, and one person "
                f"would be in several sets; name it like {person}_1.wav, or use --no-speakers"
            )
        if len({word for word, _ in of_word}) > 1:
            yield (
                f"{len(of_word)} names {'end' if at_end else 'begin'} with their word, such as "
                f"{'/'.join(of_word[0])}: one person may be in several sets; name them like anna_1.wav, or use "
                "--no-speakers"
            )
    takes = [Path(name).stem.rpartition("_")[2] for name in names.values()]
    if all(speaker.isdigit() for speaker in words) and sum(map(str.isalpha, takes)) >= NEARLY_ALL * len(takes):
        yield (
            f"all speakers have numbers for names, such as {'/'.join(min(names))}: if who speaks stands at the end, "
            "people are in several sets and scores too good; name files like anna_1.wav, or use --no-speakers"
        )
    single = [speaker for speaker, said in words.items() if len(said) == 1]
    if len(by_word) > 1 and len(single) >= NEARLY_ALL * len(words):
        yield (
            f"{len(single)} of {len(words)} speakers say one word only, such as {single[0]}: if that is not who "
            "speaks, people are in several sets and scores too good; name files like anna_1.wav, or use --no-speakers"
        )


def _split(text):
    return tuple(re.split(r"[\s_-]+", fold(text)))


def _cut(speaker, word, at_end):
    """First (or last) part of a name, which is the whole word if that stands there, and the rest."""
    parts, word = _split(speaker), _split(word)
    if at_end:
        parts, word = parts[::-1], word[::-1]
    size = len(word) if parts[: len(word)] == word else 1
    mark, rest = parts[:size], parts[size:]
    return (mark[::-1], rest[::-1]) if at_end else (mark, rest)


def _assign_speakers(names, recordings, keywords):
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
    share = max(1, round(SPEAKER_SHARE * len(ranked)))
    chosen = {"test": ranked[:share], "cv": ranked[share : 2 * share], "train": ranked[2 * share :]}
    for group in chosen.values():  # chance may leave a set without: then two speakers change places
        for other in chosen.values():
            mine, theirs = ([speaker for speaker in some if speaker in needed] for some in (group, other))
            if not mine and len(theirs) > 1:
                here, there = len(group) - 1, other.index(theirs[0])
                group[here], other[there] = other[there], group[here]
    return {clip: name for name, group in chosen.items() for speaker in group for clip in by_speaker[speaker]}


def _require_space(tree, small, plan, pieces, labels, listener):
    """Raise CourseError unless there is room for both trees: an entry for each link, a copy where there are none."""
    linked = all(files.can_link(path, tree) for *_, path in plan[:1])
    n_copies = len(listener.other_format) if linked else len(plan)
    small_bytes = WAV_BYTES * len(labels) * sum(SAMPLE_SIZE.values())
    files.require_space(small, small_bytes)
    files.require_space(tree, ENTRY_BYTES * len(plan) + WAV_BYTES * (n_copies + len(pieces)) + small_bytes)


def _fill(tree, plan, labels, listener):
    for name in SETS:
        for label in labels:
            (tree / name / label).mkdir(parents=True)
    for name, label, file_name, path in progress(plan, desc="linking clips", unit="clip"):
        if path in listener.other_format:
            audio.write_wav(tree / name / label / file_name, listener.read(path))
        else:
            files.link_or_copy(path, tree / name / label / file_name)


def silence_starts(n_samples, wanted):
    """Where to cut one-second pieces of background noise, for each set.

    Each recording is divided into a stretch for training (6/8), one for validation and
    one for testing (1/8 each), a second apart. The pieces of a stretch first lie side by
    side; if more are wanted, further ones start half-way between them, then at quarters, so
    that they overlap but none is a copy.

    Parameters
    ----------
    n_samples : int
        Length of the recording.
    wanted : dict
        Set name -> number of pieces; at least all that fit side by side are cut.

    Returns
    -------
    dict
        Set name -> list of first samples.
    """
    usable = n_samples - SILENCE_GAP * (len(SILENCE_SHARES) - 1)
    starts, begin = {}, 0
    for name, share in SILENCE_SHARES:
        end = begin + int(usable * share)
        fits = (end - begin) // audio.CLIP_SAMPLES
        chosen = [begin + i * audio.CLIP_SAMPLES for i in range(fits)]
        step = audio.CLIP_SAMPLES
        while fits and len(chosen) < wanted[name] and step > 2:
            between = range(begin + step // 2, end - audio.CLIP_SAMPLES + 1, step)
            chosen += list(between)[: wanted[name] - len(chosen)]
            step //= 2
        starts[name] = sorted(chosen)
        begin = end + SILENCE_GAP
    return starts


def _plan_silence(raw, plan, keywords, skipped, doubts, listener):
    """Pieces of every background recording, as many a set as the median keyword has clips: place -> samples."""
    recordings, sounds, stems = corpus.find_recordings(raw), {}, set()
    folder = recordings / NOISE_FOLDER
    for path in [folder / name for word, name in corpus.list_recordings(recordings) if word == NOISE_FOLDER]:
        name = path.relative_to(recordings).as_posix()
        try:
            if reason := listener.find_fault(NOISE_FOLDER, path.relative_to(folder).as_posix()):
                raise audio.WavError(reason)
            sound = listener.read(path, MAX_NOISE_SAMPLES)
        except audio.WavError as reason:
            skipped.append((name, str(reason)))
            continue
        if fold(path.stem) in stems:
            skipped.append((name, f"another file is already named {path.stem}"))
            continue
        if not sound.any():
            doubts.append(f"{name} holds nothing but zeros: no room is as silent, record one")
        stems.add(fold(path.stem))
        sounds[path.stem] = sound
    counts = Counter((name, label) for name, label, _, _ in plan)
    sizes = {name: label_size({label: counts[name, label] for label in keywords}) for name in SETS}
    wanted = {name: -(-size // max(1, len(sounds))) for name, size in sizes.items()}
    pieces = {
        Path(name, SILENCE, f"{recording}_at_{start}.wav"): samples[start : start + audio.CLIP_SAMPLES]
        for recording, samples in sounds.items()
        for name, starts in silence_starts(len(samples), wanted).items()
        for start in starts
    }
    if len({path.parent for path in pieces}) < len(SETS):
        raise CourseError(
            f"{folder} holds no background noise to cut silence from for every set{_explain(skipped, NOISE_FOLDER)}: "
            "put a recording of 30 seconds or more there, of a room in which nobody speaks"
        )
    return pieces


def label_size(counts):
    """How many clips each of silence and unknown has after balancing: the median of the keywords."""
    return int(median(count for label, count in counts.items() if label not in (SILENCE, UNKNOWN)))


def balance(found, labels=LABELS, seed=SEED):
    """Bring ``unknown`` and ``silence`` of each set down to the median size of its keywords.

    Of the unknown words equally many clips are kept, as far as there are any: a rare word
    teaches as much as a common one about what is no command. Nothing is copied.

    Parameters
    ----------
    found : list of Clip
    labels : sequence of str
    seed : int
        Draws which ones stay.

    Returns
    -------
    list of Clip
    """
    groups = defaultdict(list)
    for clip in found:
        groups[clip.set, clip.label].append(clip)
    chosen = []
    for name in SETS:
        size = label_size({label: len(groups[name, label]) for label in labels})
        for label in labels:
            group = groups[name, label]
            if label in (SILENCE, UNKNOWN):
                rng = np.random.default_rng([seed, SETS.index(name), labels.index(label)])
                group = _take_in_turn([group[i] for i in rng.permutation(len(group))], size)
            chosen += sorted(group)
    return chosen


def _take_in_turn(group, size):
    """The first ``size`` clips when each word (or background recording) gives one in turn."""
    turns, ranks = Counter(), []
    for clip in group:
        speaker, word = parse_name(clip.path)
        source = speaker if clip.label == SILENCE else word
        ranks.append(turns[source])
        turns[source] += 1
    order = sorted(range(len(group)), key=lambda i: ranks[i])
    return [group[i] for i in order[:size]]


def _draw_sample(main, sample, labels, seed):
    """Copy a fixed draw of 20 / 5 / 5 clips a label."""
    rng = np.random.default_rng(seed)
    copies = {}
    for name in SETS:
        for label in labels:
            folder = sample / name / label
            folder.mkdir(parents=True)
            wavs = corpus.wav_names(main / name / label)
            for index in sorted(rng.permutation(len(wavs))[: SAMPLE_SIZE[name]]):
                copies[main / name / label / wavs[index]] = folder / wavs[index]
    list(files.map_files(lambda path: shutil.copyfile(path, copies[path]), list(copies)))
