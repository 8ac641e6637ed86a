"""Recognise spoken commands in wav files.

    python predict.py data/main/test/yes                      every wav of a folder
    python predict.py --model runs/latest me.wav you.wav
    python predict.py --submission submission.csv             data/raw/test/audio, for Kaggle

Any rate and length will do: sounds are resampled to 16 kHz, and the loudest second is heard.
"""

import argparse
import csv
import functools
import itertools
import sys
from pathlib import Path

import numpy as np

from utils import audio, cli, evaluation
from utils.cli import CourseError
from utils.labels import SILENCE

TEST_AUDIO = Path("data/raw/test/audio")
SAMPLE_SUBMISSION = Path("data/raw/sample_submission.csv")
MODELS = ("model.keras", "saved_model")  # of train_keras.py, of train_tensorflow.py
BATCH_CLIPS = 256


def load_model(folder):
    """Model of a run folder: a function from waveforms (n, 16000) to probabilities, and their labels."""
    from utils import networks  # noqa: F401  registers our layers for loading
    from utils.quiet import keras, tf

    path = next((Path(folder) / name for name in MODELS if (Path(folder) / name).exists()), None)
    if path is None:
        raise CourseError(f"{folder} holds no model: train one first (python train_keras.py), or name its run folder")
    labels = (Path(folder) / "labels.txt").read_text(encoding="utf-8").splitlines()
    if path.is_dir():
        model = tf.saved_model.load(path)
    else:
        whole = keras.saving.load_model(path, compile=False, safe_mode=True)
        model = functools.partial(whole, training=False)
    softmax = tf.function(lambda waveforms: tf.nn.softmax(model(waveforms)))
    n_labels = softmax(tf.zeros((1, audio.CLIP_SAMPLES))).shape[-1]
    if n_labels != len(labels):
        raise CourseError(f"{folder}/labels.txt lists {len(labels)} labels, the model has {n_labels}")
    return lambda waveforms: softmax(waveforms).numpy(), labels


def find_wavs(paths):
    """The wav files among the paths and in folders, in order, each once."""
    found = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() == ".wav" and not p.is_dir())
            if not inside:
                raise CourseError(f"{path} holds no wav files")
            found += inside
        elif path.exists() or path.is_symlink():
            found.append(path)
        else:
            raise CourseError(f"{path} does not exist")
    return list(dict.fromkeys(found))


def recognise(predict, labels, paths):
    """Label and probability of each file, in order.

    Yields
    ------
    (Path, str, float, str or None)
        File, label, its probability, and why the file could not be read (then the label is
        ``silence`` and the probability NaN).
    """
    remaining = iter(cli.progress(paths, desc="recognising", unit="clip"))
    while batch := list(itertools.islice(remaining, BATCH_CLIPS)):
        clips, reasons = np.zeros((len(batch), audio.CLIP_SAMPLES), np.int16), [None] * len(batch)
        for index, path in enumerate(batch):
            try:
                clips[index] = audio.read_loudest_second(path)
            except audio.WavError as reason:
                reasons[index] = str(reason)
        probabilities = predict(audio.to_waveform(clips))
        for path, row, reason in zip(batch, probabilities, reasons):
            best = int(row.argmax())
            yield (path, SILENCE, float("nan"), reason) if reason else (path, labels[best], float(row[best]), None)


def submission_order(paths):
    """The clips in the order of Kaggle's sample submission, if that names the same ones."""
    by_name = {path.name: path for path in paths}
    if len(by_name) < len(paths):
        raise CourseError("two clips have the same name: a submission has one row for each name")
    try:
        with open(SAMPLE_SUBMISSION, encoding="utf-8", newline="") as file:
            names = [row["fname"] for row in csv.DictReader(file)]
    except (FileNotFoundError, KeyError):
        return paths
    return [by_name[name] for name in names] if set(names) == set(by_name) else paths


def main(arguments=None):
    """Print a line for each file, or write a submission; 1 if a file could not be read."""
    parser = cli.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", metavar="WAV_OR_FOLDER", help="what to recognise")
    parser.add_argument("--model", default="runs/latest", help="run folder (default: runs/latest)")
    parser.add_argument("--submission", metavar="CSV", help=f"write fname,label rows (of {TEST_AUDIO} by default)")
    parser.add_argument("--said", action="store_true", help="add what was said: the name of the clip's folder")
    options = parser.parse_args(arguments)
    if not options.paths and not options.submission:
        parser.error("name a wav file or a folder of them")
    paths = find_wavs(options.paths or [TEST_AUDIO])
    if options.submission:
        paths = submission_order(paths)
    predict, labels = load_model(options.model)

    rows, unread = [], 0
    for path, label, probability, reason in recognise(predict, labels, paths):
        if reason:
            unread += 1
            print(cli.printable(f"{path}: not read, {reason}"), file=sys.stderr)
        if options.submission:
            rows.append((path.name, label))
        else:
            said = f"{path.parent.name:<10}" if options.said else ""
            print(cli.printable(f"{path}  {said}{label:<8}  {probability:.3f}"))
    if options.submission:
        evaluation.write_submission(options.submission, rows)
        print(f"{options.submission}: {len(rows)} rows")
    if unread:
        print(f"{unread} of {len(paths)} clips could not be read and count as silence", file=sys.stderr)
    return 1 if unread else 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
