"""Split ``data/raw`` by speaker into ``data/main`` and ``data/sample``, and prove that nothing leaks."""

import csv
import hashlib
import itertools
import os
import shutil
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from utils import audio, cli, files, sources
from utils.cli import CourseError
from utils.labels import KEYWORDS, LABELS, SILENCE, UNKNOWN, label_of

SETS = ("train", "cv", "test")
SAMPLE_SIZE = {"train": 20, "cv": 5, "test": 5}  # clips a label
SEED = 220788
NOISE_FOLDER = "_background_noise_"
# Shares of each background recording, in the order in which they lie in it.
SILENCE_SHARES = (("train", 6 / 8), ("cv", 1 / 8), ("test", 1 / 8))
SILENCE_GAP = audio.SAMPLE_RATE  # samples between the stretches of two sets
VERSION = 1  # of the rules below: a tree made by other rules is made anew


class Clip(NamedTuple):
    """One clip of a split: the set it is in, its label, its file."""

    set: str
    label: str
    path: Path


@dataclass
class Split:
    """What :func:`split` did: clips by set and label, files passed over, and whether it had to work."""

    counts: dict
    skipped: list = field(default_factory=list)  # (file, reason)
    warnings: list = field(default_factory=list)
    made: bool = True


def parse_name(path):
    """Speaker and word of a training file.

    ``bed/0a7c2a8d_nohash_0.wav`` is word ``bed`` by speaker ``0a7c2a8d``; in ``unknown/`` the
    word stands at the end of the name: ``unknown/0a7c2a8d_nohash_0_bed.wav``. A piece of
    background noise, ``silence/running_tap_at_16000.wav``, has the recording for a speaker.
    """
    # Plain text work: this is called for every clip, and pathlib takes ten times as long.
    place, name = os.path.split(path)
    folder, stem = os.path.basename(place), name.removesuffix(".wav")  # noqa: PTH119
    if folder == SILENCE:
        return stem.rpartition("_at_")[0], SILENCE
    speaker, _, rest = stem.partition("_nohash_")
    if folder == UNKNOWN and "_" in rest:
        return speaker, rest.partition("_")[2]
    return speaker, folder


def read_list(path):
    """Names in a ``validation_list.txt`` or ``testing_list.txt``, such as ``bed/0a7c2a8d_nohash_0.wav``."""
    path = Path(path)
    if not path.is_file():
        raise CourseError(f"{path} is missing: the split needs it (unpack the whole archive, see README)")
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def list_clips(folder):
    """Clips of a tree ``folder/<set>/<label>/*.wav``, in a fixed order."""
    folder = Path(folder)
    return [Clip(name, label, path) for name in SETS for label in LABELS for path in list_wavs(folder / name / label)]


def list_wavs(folder):
    """Wav files of a folder by name; none if there is no such folder."""
    return [Path(folder, name) for name in _wav_names(folder)]


def _wav_names(folder):
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith(".wav"))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _list_recordings(audio_folder):
    """Folder and name of every wav (words and background noise), in a fixed order."""
    return [(word, name) for word in sorted(os.listdir(audio_folder)) for name in _wav_names(audio_folder / word)]


def count_clips(folder):
    """Clips of a tree by set and label: ``{"train": {"yes": 212, ...}, ...}``."""
    return {name: {label: len(_wav_names(Path(folder, name, label))) for label in LABELS} for name in SETS}


def split(raw="data/raw", main="data/main", sample="data/sample", seed=SEED):
    """Split the recordings by the official lists; what is done already is left alone.

    ``raw`` is never changed: ``main`` holds hard links, ``sample`` copies. The trees
    are made beside their places and renamed, so a killed run changes nothing.

    Parameters
    ----------
    raw, main, sample : str or Path
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
    if not (raw / "train" / "audio").is_dir():
        raise CourseError(
            f"{raw}/train/audio is missing: run python -m utils.voices for the built-in voices, "
            "or python -m utils.sources archive PATH for what you downloaded from Kaggle"
        )
    inputs = _describe_inputs(raw, seed)
    note = files.read_json(main / "split.json") or {}
    if note.get("inputs") == inputs and note["trees"] == [_describe_tree(main), _describe_tree(sample)]:
        skipped = [(row["file"], row["reason"]) for row in _read_csv(main / "skipped.csv")]
        return Split(count_clips(main), skipped, note["warnings"], made=False)

    known = {}
    plan, skipped = _plan(raw, known)
    (main / "split.json").unlink(missing_ok=True)
    with files.work_folder(main / "tree") as tree, files.work_folder(sample / "tree") as small:
        _fill(tree, plan)
        _cut_silence(tree, raw, plan, skipped)
        report = audit(tree, known=known)
        _draw_sample(tree, small, seed)
        for name in SETS:
            files.replace(tree / name, main / name)
            files.replace(small / name, sample / name)
    files.write_csv(main / "skipped.csv", ("file", "reason"), skipped)
    # Written last: with it the trees are known to be whole.
    note = {
        "dataset": sources.describe_source(raw)["name"],
        "inputs": inputs,
        "trees": [_describe_tree(main), _describe_tree(sample)],
        "warnings": report.warnings,
    }
    files.write_json(main / "split.json", note)
    return Split(count_clips(main), skipped, report.warnings)


def _hash_lines(lines):
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode(errors="surrogateescape") + b"\n")
    return digest.hexdigest()


def _describe_inputs(raw, seed):
    """Hash of all that decides the split: names, sizes and times of the recordings, the lists."""
    train = raw / "train"
    lines = [f"{VERSION} {seed}"]
    for word, name in _list_recordings(train / "audio"):
        state = Path(train, "audio", word, name).stat()
        lines.append(f"audio/{word}/{name} {state.st_size} {state.st_mtime_ns}")
    for name in ("validation_list.txt", "testing_list.txt"):
        lines += read_list(train / name)
    return _hash_lines(lines)


def _describe_tree(folder):
    """Hash of the names and sizes of a split tree."""
    places = [f"{name}/{label}" for name in SETS for label in LABELS]
    clips = [f"{place}/{wav}" for place in places for wav in _wav_names(folder / place)]
    return _hash_lines(f"{clip} {Path(folder, clip).stat().st_size}" for clip in clips)


def _read_csv(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def check_lists(raw):
    """Set of every listed clip: ``{"bed/0a7c2a8d_nohash_0.wav": "cv", ...}``.

    Raises
    ------
    LeakError
        If a clip is in both lists, or does not exist.
    """
    train = Path(raw) / "train"
    listed = dict.fromkeys(read_list(train / "validation_list.txt"), "cv")
    for name in read_list(train / "testing_list.txt"):
        if name in listed:
            raise LeakError(f"{name} is in both lists: take it out of one of {train}/*_list.txt")
        listed[name] = "test"
    missing = sorted(set(listed) - {f"{word}/{name}" for word, name in _list_recordings(train / "audio")})
    if missing:
        raise LeakError(f"{len(missing)} listed clips do not exist, {missing[0]} for one: unpack the recordings again")
    return listed


def _plan(raw, known):
    """Which recording goes where: rows of (set, label, file name, recording), and what is passed over."""
    listed = check_lists(raw)
    audio_folder = raw / "train" / "audio"
    recordings = [recording for recording in _list_recordings(audio_folder) if recording[0] != NOISE_FOLDER]
    plan, skipped, seen = [], [], {}
    order = {"test": 0, "cv": 1, "train": 2}  # of the same audio in two sets, train's copy goes first
    rows = [(listed.get(f"{word}/{wav}", "train"), word, wav) for word, wav in recordings]
    rows.sort(key=lambda row: order[row[0]])
    paths = [audio_folder / word / wav for _, word, wav in rows]
    for (name, word, wav), path, digest in zip(rows, paths, _hash_contents(paths, "checking recordings", known)):
        if isinstance(digest, audio.WavError):
            skipped.append((f"{word}/{wav}", str(digest)))
            continue
        first = seen.setdefault(digest, (name, f"{word}/{wav}"))
        if digest is not None and first[0] != name:
            skipped.append((f"{word}/{wav}", f"the same audio as {first[1]} in {first[0]}"))
            continue
        label = label_of(word)
        plan.append((name, label, wav if label != UNKNOWN else f"{path.stem}_{word}.wav", path))
    return plan, sorted(skipped)


def _hash_contents(paths, description, known=None):
    """Hash of each file's sound, whatever the file is called: None if all is zero, or the WavError.

    ``known`` remembers hashes by what a file system knows a file by: a second link to a file
    that was hashed before is not read again.
    """
    known = {} if known is None else known

    def hash_one(path):
        state = path.stat()
        identity = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)
        if identity not in known:
            try:
                samples = audio.read_wav(path)
            except audio.WavError as reason:
                return reason
            known[identity] = hashlib.sha256(samples).digest() if samples.any() else None
        return known[identity]

    results = files.map_files(hash_one, paths)
    yield from cli.progress(results, total=len(paths), desc=description, unit="clip")


def _fill(tree, plan):
    for name in SETS:
        for label in LABELS:
            (tree / name / label).mkdir(parents=True)
    for name, label, file_name, path in cli.progress(plan, desc="linking clips", unit="clip"):
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


def _cut_silence(tree, raw, plan, skipped):
    """Pieces of every background recording, as many a set as the median command label has clips."""
    sounds = {}
    for path in list_wavs(raw / "train" / "audio" / NOISE_FOLDER):
        try:
            sounds[path.stem] = audio.read_wav(path)
        except audio.WavError as reason:
            skipped.append((f"{NOISE_FOLDER}/{path.name}", str(reason)))
    if not sounds:
        raise CourseError(f"{raw}/train/audio/{NOISE_FOLDER} holds no recording to cut silence from")
    counts = Counter((name, label) for name, label, _, _ in plan)
    sizes = {name: label_size({label: counts[name, label] for label in KEYWORDS}) for name in SETS}
    wanted = {name: -(-size // len(sounds)) for name, size in sizes.items()}
    pieces = {
        tree / name / SILENCE / f"{recording}_at_{start}.wav": samples[start : start + audio.CLIP_SAMPLES]
        for recording, samples in sounds.items()
        for name, starts in silence_starts(len(samples), wanted).items()
        for start in starts
    }
    list(files.map_files(lambda path: audio.write_wav(path, pieces[path]), list(pieces)))


def label_size(counts):
    """How many clips each of silence and unknown has after balancing: the median of the keywords."""
    return int(median(counts[label] for label in KEYWORDS))


def balance(clips, seed=SEED):
    """Bring ``unknown`` and ``silence`` of each set down to the median size of its keywords.

    Of the unknown words equally many clips are kept, as far as there are any: a rare word
    teaches as much as a common one about what is no command. Nothing is copied.

    Parameters
    ----------
    clips : list of Clip
    seed : int
        Draws which ones stay.

    Returns
    -------
    list of Clip
    """
    groups = defaultdict(list)
    for clip in clips:
        groups[clip.set, clip.label].append(clip)
    chosen = []
    for name in SETS:
        size = label_size({label: len(groups[name, label]) for label in KEYWORDS})
        for label in LABELS:
            group = groups[name, label]
            if label in (SILENCE, UNKNOWN):
                rng = np.random.default_rng([seed, SETS.index(name), LABELS.index(label)])
                group = _take_in_turn([group[i] for i in rng.permutation(len(group))], size)
            chosen += sorted(group)
    return chosen


def _take_in_turn(clips, size):
    """The first ``size`` clips when each word (or background recording) gives one in turn."""
    turns, ranks = Counter(), []
    for clip in clips:
        speaker, word = parse_name(clip.path)
        source = speaker if clip.label == SILENCE else word
        ranks.append(turns[source])
        turns[source] += 1
    order = sorted(range(len(clips)), key=lambda i: ranks[i])
    return [clips[i] for i in order[:size]]


def _draw_sample(main, sample, seed):
    """Copy a fixed draw of 20 / 5 / 5 clips a label."""
    rng = np.random.default_rng(seed)
    copies = {}
    for name in SETS:
        for label in LABELS:
            folder = sample / name / label
            folder.mkdir(parents=True)
            wavs = _wav_names(main / name / label)
            for index in sorted(rng.permutation(len(wavs))[: SAMPLE_SIZE[name]]):
                copies[main / name / label / wavs[index]] = folder / wavs[index]
    list(files.map_files(lambda path: shutil.copyfile(path, copies[path]), list(copies)))


class LeakError(CourseError):
    """The split lets a model see in training what it is tested on."""


@dataclass
class Audit:
    """What :func:`audit` counted, and what it warns of."""

    clips: int
    speakers: dict
    warnings: list


def audit(folder="data/main", raw=None, known=None):
    """Prove that a split tree does not leak.

    Parameters
    ----------
    folder : str or Path
    raw : str or Path, optional
        Recordings whose lists are checked too: every listed clip must exist.
    known : dict, optional
        Hashes of files that were read already, see ``_hash_contents``.

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
    clips = list_clips(folder)
    speakers, pieces, sounds = defaultdict(dict), defaultdict(list), {}
    warnings = []
    for clip, digest in zip(clips, _hash_contents([clip.path for clip in clips], "auditing", known)):
        speaker, word = parse_name(clip.path)
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
