"""From ``data/raw`` to arrays that the training scripts read; what is done already is skipped.

python -m utils.prepare
"""

import itertools
import sys
import time
from pathlib import Path

import numpy as np

from utils import audio, corpus, splits, store
from utils.labels import KEYWORDS, LABELS, one_hot, parse_keywords
from utils.system import cli, files

BATCH_CLIPS = 512
SPACE_SPARE = 2e6  # bytes, for labels, names and hashes


def persist_raw(found, folder, settings):
    """Write the clips of each set as ``<set>_X.bc`` (int16 waveforms) and ``<set>_y.bc`` (one-hot).

    Of a clip that is longer it is the loudest second, which ``predict.py`` hears too.

    Rows are in a random order, the same each time, so that any stretch of them is a fair
    mixture of labels and speakers.

    Parameters
    ----------
    found : list of corpus.Clip
    folder : str or Path
    settings : dict
        Kept in the arrays' manifests, ``labels`` among them: the label of each column of y. Arrays
        made with the same settings are left alone.

    Returns
    -------
    int
        Clips written; 0 if all arrays were there.
    """
    folder, labels = Path(folder), settings.get("labels", LABELS)
    arrays = {}
    for name in corpus.SETS:
        # X is finished last: with it y is known to be there.
        X_path, y_path, mine = folder / f"{name}_X.bc", folder / f"{name}_y.bc", {**settings, "set": name}
        if not (store.is_done(X_path, mine) and store.is_done(y_path, mine)):
            arrays[name] = X_path, y_path, mine
    if not arrays:  # several processes may find that at the same time
        return 0
    files.require_unread(folder)
    with files.owned(folder.parent / "tree"):  # or another split could take the clips away
        return _write(found, folder, arrays, labels)


def _write(found, folder, arrays, labels):
    written = 0
    n_clips = sum(clip.set in arrays for clip in found)
    files.require_space(folder, 2.2 * audio.CLIP_SAMPLES * n_clips + SPACE_SPARE)
    for name, (X_path, y_path, mine) in arrays.items():
        group = [clip for clip in found if clip.set == name]
        rng = np.random.default_rng([splits.SEED, corpus.SETS.index(name)])
        group = [group[i] for i in rng.permutation(len(group))]
        names = [f"{clip.label}/{clip.path.name}" for clip in group]
        with store.ArrayWriter(y_path, (len(labels),), np.uint8, mine) as writer:
            writer.append(one_hot([clip.label for clip in group], labels), names)
        with (
            store.ArrayWriter(X_path, (audio.CLIP_SAMPLES,), np.int16, mine) as writer,
            cli.progress(total=len(group), desc=f"storing {X_path.name}", unit="clip") as bar,
        ):
            for start in range(0, len(group), BATCH_CLIPS):
                batch = group[start : start + BATCH_CLIPS]
                rows = np.stack([audio.loudest_second(audio.read_wav(clip.path)) for clip in batch])
                writer.append(rows, names[start : start + BATCH_CLIPS])
                bar.update(len(batch))
        written += len(group)
    return written


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
    files.require_apart({"raw": raw, "main": main, "sample": sample})
    for folder, name, part in itertools.product((main, sample), corpus.SETS, "Xy"):
        files.require_ours(folder / "preprocessed" / f"{name}_{part}.bc", store.KIND)
    result = splits.split(raw, main, sample, **rules)
    note = files.read_json(main / splits.NOTE)
    settings = {"dataset": note["dataset"], "inputs": note["inputs"], "labels": list(result.labels)}
    written = 0
    for folder, found in (
        (main, splits.balance(corpus.list_clips(main, result.labels), result.labels)),
        (sample, corpus.list_clips(sample, result.labels)),
    ):
        written += persist_raw(found, folder / "preprocessed", {**settings, "folder": folder.name})
    return result, written


def main(arguments=None):
    """Command line of ``python -m utils.prepare``."""
    parser = cli.Parser(prog="python -m utils.prepare", description="Split, balance and persist the recordings.")
    parser.add_argument(
        "--raw",
        type=cli.path_text,
        default="data/raw",
        help="recordings: Kaggle's layout, or a folder for each word, with a room in which nobody speaks in "
        "_background_noise_",
    )
    parser.add_argument("--main", type=cli.path_text, default="data/main", help="gets the full split and its arrays")
    parser.add_argument(
        "--sample", type=cli.path_text, default="data/sample", help="gets the small split and its arrays"
    )
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
    result, written = prepare(
        options.raw,
        options.main,
        options.sample,
        keywords=options.keywords,
        speakers=options.speakers,
        resample=options.resample,
    )
    n_clips = sum(sum(by_label.values()) for by_label in result.counts.values())
    if not result.made and not written:
        print(f"{options.main}: {n_clips} clips, nothing to do")
        return
    for warning in result.warnings:
        cli.warn(warning)
    print(f"{options.main}: " + ", ".join(f"{name} {sum(c.values())}" for name, c in result.counts.items()))
    if result.skipped:
        print(f"{len(result.skipped)} files passed over, listed with reasons in {options.main}/skipped.csv")
    seconds = time.perf_counter() - start
    print(
        f"{options.main}/preprocessed, {options.sample}/preprocessed: {written} clips in {seconds:.1f} s "
        "(no more of silence and unknown than of a keyword)"
    )


if __name__ == "__main__":
    sys.exit(cli.run(main))
