"""From ``data/raw`` to arrays that the training scripts read; what is done already is skipped.

python -m utils.prepare
"""

import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from utils import audio, corpus, splits, store
from utils.labels import KEYWORDS, LABELS, SILENCE, UNKNOWN, one_hot, parse_keywords
from utils.system import cli, files

BATCH_CLIPS = 512


def balance(found, labels=LABELS):
    """Bring ``unknown`` and ``silence`` of each set down to the median size of its keywords.

    Of the unknown words equally many clips are kept, as far as there are any: a rare word
    teaches as much as a common one about what is no command. Nothing is copied.
    """
    groups = defaultdict(list)
    for clip in found:
        groups[clip.set, clip.label].append(clip)
    chosen = []
    for name in corpus.SETS:
        size = splits.label_size({label: len(groups[name, label]) for label in labels})
        for label in labels:
            group = groups[name, label]
            if label in (SILENCE, UNKNOWN):
                rng = np.random.default_rng([splits.SEED, corpus.SETS.index(name), labels.index(label)])
                group = _take_in_turn([group[i] for i in rng.permutation(len(group))], size)
            chosen += sorted(group)
    return chosen


def _take_in_turn(group, size):
    """The first ``size`` clips when each word (or background recording) gives one in turn."""
    turns, ranks = Counter(), []
    for clip in group:
        speaker, word = corpus.parse_name(clip.path)
        source = speaker if clip.label == SILENCE else word
        ranks.append(turns[source])
        turns[source] += 1
    return [group[i] for i in np.argsort(ranks, kind="stable")[:size]]


def persist_raw(found, folder, settings):
    """Write the clips of each set as ``<set>_X.bc`` (int16 waveforms) and ``<set>_y.bc`` (one-hot).

    Of a longer clip it is the loudest second, which ``predict.py`` hears too. Rows are in a random order, the same
    each time, so that any stretch of them is a fair mixture of labels and speakers.

    Parameters
    ----------
    found : list of corpus.Clip
    folder : Path
    settings : dict
        Kept in the arrays' manifests, ``labels`` among them: the label of each column of y. Arrays
        made with the same settings are left alone.

    Returns
    -------
    int
        Clips written; 0 if all arrays were there.
    """
    # X is finished last: with it y is known to be there.
    missing = [
        name
        for name in corpus.SETS
        if not all(store.is_done(folder / f"{name}_{part}.bc", {**settings, "set": name}) for part in "Xy")
    ]
    if not missing:  # several processes may find that at the same time
        return 0
    files.require_unread(folder)
    with files.owned(folder.parent / "tree"):  # or another split could take the clips away
        return sum(_write([clip for clip in found if clip.set == name], name, folder, settings) for name in missing)


def _write(group, name, folder, settings):
    settings, labels = {**settings, "set": name}, settings["labels"]
    rng = np.random.default_rng([splits.SEED, corpus.SETS.index(name)])
    group = [group[i] for i in rng.permutation(len(group))]
    names = [f"{clip.label}/{clip.path.name}" for clip in group]
    y = one_hot([clip.label for clip in group], labels)
    store.write_array(folder / f"{name}_y.bc", [y], (len(labels),), np.uint8, settings, names, "storing")
    starts = range(0, len(group), BATCH_CLIPS)
    X = (np.stack([_read(clip.path) for clip in group[start : start + BATCH_CLIPS]]) for start in starts)
    store.write_array(folder / f"{name}_X.bc", X, (audio.CLIP_SAMPLES,), np.int16, settings, names, "storing")
    return len(group)


def _read(path):
    try:
        return audio.loudest_second(audio.read_wav(path))
    except audio.WavError as reason:  # it was whole when it was split
        raise cli.CourseError(f"{path}: {reason}: remove {path.parents[2]}, and run again") from reason


def prepare(raw="data/raw", main="data/main", sample="data/sample", **rules):
    """Split, balance and persist in one go; ``rules`` go to :func:`utils.splits.split`.

    Returns
    -------
    splits.Split
        What the split did.
    int
        Clips written to arrays; 0 if all was done before.
    """
    main, sample = Path(main), Path(sample)
    result = splits.split(raw, main, sample, **rules)
    note = files.read_json(main / splits.NOTE)
    settings = {"dataset": note["dataset"], "inputs": note["inputs"], "labels": list(result.labels)}
    written = 0
    for folder in (main, sample):
        found = corpus.list_clips(folder, result.labels)
        if folder == main:
            found = balance(found, result.labels)
        written += persist_raw(found, folder / "preprocessed", {**settings, "folder": folder.name})
    return result, written


def main(arguments=None):
    """Command line of ``python -m utils.prepare``."""
    parser = cli.Parser(prog="python -m utils.prepare", description="Split, balance and persist the recordings.")
    room = "a room in which nobody speaks"
    for name, told in (
        ("raw", f"recordings: Kaggle's layout, or a folder for each word, with {room} in _background_noise_"),
        ("main", "gets the full split and its arrays"),
        ("sample", "gets the small split and its arrays"),
    ):
        parser.add_argument(f"--{name}", type=cli.path_text, default=f"data/{name}", help=told)
    parser.add_argument(
        "--keywords",
        type=parse_keywords,
        metavar="WORD,WORD",
        default=",".join(KEYWORDS),
        help="words to tell apart; all other folders of recordings are unknown",
    )
    parser.add_argument(
        "--no-speakers",
        dest="speakers",
        action="store_false",
        help="recordings of your own whose names do not say who speaks (anna_1.wav does)",
    )
    parser.add_argument(
        "--resample", action="store_true", help="take other rates, channels and formats (flac, mp3, ...) too"
    )
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    result, written = prepare(**vars(options))
    n_clips = sum(sum(by_label.values()) for by_label in result.counts.values())
    place, then = f"{options.main}/preprocessed", ["train_keras.py"]
    if place != "data/main/preprocessed":
        then += ["--path_to_data", place]
    if not result.made and not written:
        cli.tell_result(place, f"of {n_clips} clips, nothing to do", *then)
        return
    for warning in result.warnings:
        cli.warn(warning)
    print(f"{options.main}: " + ", ".join(f"{name} {sum(c.values())}" for name, c in result.counts.items()))
    if result.skipped:
        print(f"{len(result.skipped)} files passed over, listed with reasons in {options.main}/skipped.csv")
    seconds = time.perf_counter() - start
    balanced = "no more of silence and unknown than of a keyword"
    cli.tell_result(place, f"with {options.sample}'s {written} clips ({balanced}) in {seconds:.1f} s", *then)


if __name__ == "__main__":
    sys.exit(cli.run(main))
