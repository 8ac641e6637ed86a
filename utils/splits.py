"""Split ``data/raw`` by speaker into ``data/main`` and ``data/sample``."""

import csv
import hashlib
import re
import shutil
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from utils import audio, corpus, leaks, sources
from utils.corpus import LISTS, NOISE_FOLDER, SETS
from utils.labels import KEYWORDS, SILENCE, UNKNOWN, label_of, with_extras
from utils.leaks import SILENCE_GAP
from utils.system import files
from utils.system.cli import BadUse, CourseError, progress
from utils.system.names import compose, fold, is_too_long
from utils.system.speakers import deal

SAMPLE_SIZE = {"train": 20, "cv": 5, "test": 5}  # clips a label
SEED = 220788  # draws the sample
SILENCE_SHARES = (("train", 6 / 8), ("cv", 1 / 8), ("test", 1 / 8))  # of each recording, in order
MAX_NOISE_SAMPLES = 10 * 60 * audio.SAMPLE_RATE  # used of a background recording
NOTE = "split.json"  # marks a folder as made here, and says of what
VERSION = 3  # of the rules below: a tree made by other rules is made anew


@dataclass
class Split:
    """What :func:`split` did: clips by set and label, files passed over, and whether it had to work."""

    labels: tuple
    counts: dict
    skipped: list = field(default_factory=list)  # (file, reason)
    warnings: list = field(default_factory=list)
    made: bool = True


def split(raw="data/raw", main="data/main", sample="data/sample", keywords=KEYWORDS, speakers=True, resample=False):
    """Split recordings by speaker; what is done already is left alone.

    The official lists decide where there are any. ``raw`` is never changed: ``main`` holds
    hard links, ``sample`` copies. The trees are made beside their places and moved there whole.

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

    Raises
    ------
    CourseError
        If a list or the recordings are missing, or ``main`` or ``sample`` holds what was not made here.
    LeakError
        If the lists put a speaker in two sets, or name a clip that is not there.
    """
    raw, main, sample = Path(raw), Path(main), Path(sample)
    files.require_apart({"raw": raw, "main": main, "sample": sample})
    labels = with_extras(keywords)
    inputs = _describe_inputs(raw, f"{VERSION} {SEED} {','.join(keywords)} {speakers} {resample}")
    note = _read_note(main)
    is_known = note.get("inputs") == inputs and (main / "skipped.csv").is_file()
    if is_known and note["trees"] == [_describe_tree(f, labels) for f in (main, sample)]:
        with open(main / "skipped.csv", encoding="utf-8", errors="surrogateescape", newline="") as file:
            skipped = [tuple(row) for row in csv.reader(file)][1:]
        return Split(labels, corpus.count_clips(main, labels), skipped, note["warnings"], made=False)
    for folder in (main, sample):
        _require_ours(folder)
    listener = corpus.Listener(resample)
    plan, skipped, doubts = _plan(raw, keywords, speakers, listener)
    pieces = _plan_silence(raw, plan, keywords, skipped, doubts, listener)
    with files.work_folder(main / "tree") as tree, files.work_folder(sample / "tree") as small:
        _fill(tree, plan, pieces, labels, listener)
        report = leaks.audit(tree, labels=labels, listener=listener)
        _draw_sample(tree, small, labels)
        for work, folder in ((small, sample), (tree, main)):
            # From here on, the trees are of two splits until all sets have been moved; all of their clips are ours.
            files.write_json(folder / NOTE, {"inputs": None, "clips": [*_list_clips(folder), *_list_clips(work)]})
            for name in SETS:
                if (folder / name).is_dir():
                    files.remove(folder / name)
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
    places = [f"{name}/{path}" for name in SETS for path in files.list_paths(folder / name)]
    return [f"{place} {(folder / place).lstat().st_size}" for place in places]


def _require_ours(folder):
    """Raise BadUse if a folder holds what :func:`split` did not put there, and would have to remove."""
    known, there = _read_note(folder).get("clips"), _list_clips(folder)
    if not isinstance(known, list):  # a folder of somebody else's, or of an earlier version
        known, there = [], [f"{path} -" for path in files.list_paths(folder)]
    for clip in sorted(set(there) - set(known)):
        place = clip.rpartition(" ")[0]
        # A file that has another name too, such as a clip whose recording was written anew, is not lost with this one.
        if (folder / place).lstat().st_nlink == 1:
            raise BadUse(
                f"{folder} holds {place}, which this command did not make: move it away, or name another folder "
                "(--main, --sample)"
            )


def _hash_lines(lines):
    text = "".join(f"{line}\n" for line in lines)
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _describe_inputs(raw, rules):
    """Hash of all that decides the split: names, sizes and times of the recordings, the lists."""
    recordings, lines = corpus.find_recordings(raw), [rules]
    for word, name in corpus.list_recordings(recordings):
        path = Path(recordings, word, name)
        state = path.stat() if path.exists() else path.lstat()  # a link that leads nowhere is passed over later
        lines.append(f"{word}/{name} {state.st_size} {state.st_mtime_ns}")
    for name in LISTS.values():
        path = corpus.list_folder(recordings) / name
        lines += corpus.read_list(path) if path.exists() else [f"no {name}"]
    return _hash_lines(lines)


def _describe_tree(folder, labels):
    """Hash of the names and sizes of a split tree."""
    places = [f"{name}/{label}" for name in SETS for label in labels]
    wavs = [f"{place}/{wav}" for place in places for wav in corpus.wav_names(folder / place)]
    return _hash_lines(f"{wav} {(folder / wav).stat().st_size}" for wav in wavs)


def _find_oddities(counts, listener):
    """What a reader of the counts should know before training."""
    for label in counts["train"]:
        if without := [name for name in SETS if not counts[name][label]]:
            yield f"no clip of {label!r} in {', '.join(without)}"
    for paths, fact, used in (
        (listener.long, "are longer than a second", "only the second with the most sound is used"),
        (sorted(listener.cancelled), "have channels that cancel each other out", "their loudest channel is used"),
    ):
        if paths:
            yield f"{len(paths)} recordings {fact}, such as {paths[0].parent.name}/{paths[0].name}: {used}"


def _plan(raw, keywords, speakers, listener):
    """Which recording goes where: rows of (set, label, file name, recording); what is passed over; what to doubt."""
    recordings = corpus.find_recordings(raw)
    listed = [clip for clip in corpus.list_recordings(recordings) if clip[0] != NOISE_FOLDER]
    _check_folders(listed, recordings)
    faults = {clip: listener.find_fault(*clip) for clip in listed}
    found = [clip for clip in listed if not faults[clip]]
    hashes = listener.hash_all([recordings / word / wav for word, wav in found], "checking recordings")
    hashes = dict(zip(found, hashes))
    faults |= {clip: str(reason) for clip, reason in hashes.items() if isinstance(reason, audio.WavError)}
    skipped = [("/".join(filter(None, clip)), reason) for clip, reason in faults.items() if reason]
    found = [clip for clip in found if not faults[clip]]
    for word in keywords:
        if not any(label_of(folder, keywords) == word for folder, _ in found):
            raise CourseError(
                f"{recordings / word} holds no recordings{_explain(skipped, word)}: bring them, or name the words that "
                "are there (--keywords)"
            )
    sets, names, doubts = deal(raw, found, speakers, keywords)
    rows = [(sets.get(f"{word}/{wav}", "train"), word, wav) for word, wav in found]
    doubts += _find_zeros(rows, hashes)
    rows.sort(key=lambda row: -SETS.index(row[0]))  # of the same audio in two sets, train's copy goes
    plan, sounds, places = [], {}, set()
    for name, word, wav in rows:
        digest = hashes[word, wav]
        first_set, first = sounds.setdefault(digest, (name, f"{word}/{wav}"))
        label = label_of(word, keywords)
        stem = Path(names[word, wav]).stem
        file_name = f"{stem}_{word}.wav" if label == UNKNOWN else f"{stem}.wav"
        place = name, label, fold(file_name)
        if digest is not None and first_set != name:
            skipped.append((f"{word}/{wav}", f"the same audio as {first} in {first_set}"))
        elif is_too_long(file_name):
            skipped.append((f"{word}/{wav}", f"{file_name} would be too long a name"))
        elif place in places:
            skipped.append((f"{word}/{wav}", f"another file is already named {file_name}"))
        else:
            places.add(place)
            plan.append((name, label, file_name, recordings / word / wav))
    _check_sets(plan, keywords, skipped, recordings)
    return plan, sorted(skipped), doubts


def _explain(skipped, folder=""):
    """Why most files (of a folder) were passed over, in brackets; nothing if none were."""
    reasons = Counter(reason for file, reason in skipped if not folder or compose(file).startswith(f"{folder}/"))
    if not reasons:
        return ""
    reason, count = reasons.most_common(1)[0]
    hint = ", which --resample takes" if re.search("instead of (1|16|16000)$", reason) else ""
    return f" ({reasons.total()} files passed over, {count} of them: {reason}{hint})"


def _check_folders(listed, recordings):
    """Refuse folders that are meant for background noise and have another name: they would be learned as a word."""
    for word in dict.fromkeys(word for word, _ in listed):
        if (letters := "".join(filter(str.isalpha, fold(word)))) == SILENCE or letters.startswith("backgroundnoise"):
            raise CourseError(
                f"{recordings / word} is no word: silence is cut from recordings of half a minute or more, of a room "
                f"in which nobody speaks, in {recordings / NOISE_FOLDER}; move the folder away"
            )


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


def _find_zeros(rows, hashes):
    """Warnings of word folders and sets most of which is nothing but zeros: hashes of None."""
    groups = defaultdict(list)
    for name, word, wav in rows:
        groups[f"folder {word}"].append(hashes[word, wav])
        groups[f"set {name}"].append(hashes[word, wav])
    for group, found in groups.items():
        if 2 * found.count(None) > len(found):
            yield f"{found.count(None)} of {len(found)} recordings in the {group} hold nothing but zeros: record again"


def _fill(tree, plan, pieces, labels, listener):
    for name in SETS:
        for label in labels:
            (tree / name / label).mkdir(parents=True)
    for name, label, file_name, path in progress(plan, desc="linking clips", unit="clip"):
        if path in listener.other_format:
            audio.write_wav(tree / name / label / file_name, listener.read(path))
        else:
            files.link_or_copy(path, tree / name / label / file_name)
    for place, samples in pieces.items():
        audio.write_wav(tree / place, samples)


def silence_starts(n_samples, wanted):
    """Where to cut one-second pieces of background noise: set name -> list of first samples.

    A recording of ``n_samples`` is divided into a stretch for training (6/8), one for validation and one for testing
    (1/8 each), a second apart. The pieces of a stretch first lie side by side; if more are ``wanted`` (set name ->
    number), further ones start half-way between them, then at quarters, so that they overlap but none is a copy.
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
            chosen += between[: wanted[name] - len(chosen)]
            step //= 2
        starts[name] = sorted(chosen)
        begin = end + SILENCE_GAP
    return starts


def _plan_silence(raw, plan, keywords, skipped, doubts, listener):
    """Pieces of every background recording, as many a set as the median keyword has clips: place -> samples."""
    folder, sounds, stems = corpus.find_recordings(raw) / NOISE_FOLDER, {}, set()
    for file in [name for word, name in corpus.list_recordings(folder.parent) if word == NOISE_FOLDER]:
        place, stem = f"{NOISE_FOLDER}/{file}", Path(file).stem
        try:
            if reason := listener.find_fault(NOISE_FOLDER, file):
                raise audio.WavError(reason)
            sound = listener.read(folder / file, MAX_NOISE_SAMPLES)
            if fold(stem) in stems:
                raise audio.WavError(f"another file is already named {stem}")
        except audio.WavError as reason:
            skipped.append((place, str(reason)))
            continue
        if not sound.any():
            doubts.append(f"{place} holds nothing but zeros: no room is as silent, record one")
        stems.add(fold(stem))
        sounds[stem] = sound
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


def _draw_sample(main, sample, labels):
    """Copy a fixed draw of 20 / 5 / 5 clips a label."""
    rng = np.random.default_rng(SEED)
    for name in SETS:
        for label in labels:
            (sample / name / label).mkdir(parents=True)
            wavs = corpus.wav_names(main / name / label)
            for index in sorted(rng.permutation(len(wavs))[: SAMPLE_SIZE[name]]):
                shutil.copyfile(main / name / label / wavs[index], sample / name / label / wavs[index])
