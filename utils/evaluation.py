"""How good a model is, and how sure that is: scores, intervals, the submission file."""

import hashlib

import numpy as np

from utils import files
from utils.corpus import parse_name
from utils.labels import LABELS

RESAMPLES = 2000


def accuracy_interval(correct, speakers=None, seed=0):
    """95 % interval of an accuracy, by bootstrap over speakers.

    Clips of one speaker succeed or fail together, so speakers are drawn with
    replacement, each with all clips (Efron & Tibshirani 1993, chapter 8).

    Parameters
    ----------
    correct : bool array, shape (n,)
    speakers : sequence of str, length n, optional
        Without it, the interval is over clips, and too narrow if speakers repeat.
    seed : int

    Returns
    -------
    tuple of float
        Low and high end.
    """
    correct = np.asarray(correct, float)
    group = np.arange(len(correct)) if speakers is None else np.unique(speakers, return_inverse=True)[1]
    clips, hits = np.bincount(group), np.bincount(group, weights=correct)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(clips), np.full(len(clips), 1 / len(clips)), RESAMPLES)
    accuracies = (draws @ hits) / (draws @ clips)
    low, high = np.quantile(accuracies, [0.025, 0.975])
    return float(low), float(high)


def speakers_of(names):
    """Speaker of each clip, from names such as ``label/file.wav``."""
    return [parse_name(name)[0] for name in names]


def score(y_true, y_predicted, names=(), labels=LABELS):
    """All that is reported of a test.

    Parameters
    ----------
    y_true, y_predicted : int arrays, shape (n,)
        Label indices.
    names : list of str
        ``label/file.wav`` of each clip, from which its speaker is known; empty if unknown.
    labels : sequence of str

    Returns
    -------
    dict
        ``accuracy``, ``interval``, ``per_label`` and ``confusion`` (rows are true labels).
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support  # slow to import

    y_true, y_predicted = np.asarray(y_true), np.asarray(y_predicted)
    correct = y_true == y_predicted
    speakers = speakers_of(names) or None
    indices = range(len(labels))
    by_label = precision_recall_fscore_support(y_true, y_predicted, labels=indices, zero_division=0)
    return {
        "accuracy": float(correct.mean()),
        "interval": list(accuracy_interval(correct, speakers)),
        "per_label": {
            label: {key: float(values[i]) for key, values in zip(("precision", "recall", "f1"), by_label)}
            for i, label in enumerate(labels)
        },
        "confusion": confusion_matrix(y_true, y_predicted, labels=indices).tolist(),
    }


def calibration(confidence, correct, bins=10):
    """How often a recogniser is right when it is this sure.

    Parameters
    ----------
    confidence : float array, shape (n,)
        Probability of the label that was recognised.
    correct : bool array, shape (n,)
    bins : int
        Of equal width from 0 to 1.

    Returns
    -------
    list of tuple (float, float, int)
        Mean confidence, accuracy and clips of each bin that has any.
    """
    confidence, correct = np.asarray(confidence), np.asarray(correct)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    groups = [place == number for number in np.unique(place)]
    return [(float(confidence[here].mean()), float(correct[here].mean()), int(here.sum())) for here in groups]


def calibration_error(confidence, correct, bins=10):
    """Expected calibration error: how far accuracy is from confidence, on average over clips.

    References
    ----------
    Guo et al. (2017), On Calibration of Modern Neural Networks, arXiv:1706.04599, section 2.
    """
    rows = calibration(confidence, correct, bins)
    return sum(n * abs(sure - right) for sure, right, n in rows) / len(confidence)


def hash_names(names):
    """Twelve hex digits that name a list of files, whatever their order."""
    return hashlib.sha256("\n".join(sorted(names)).encode(errors="surrogateescape")).hexdigest()[:12]


def write_submission(path, rows):
    """Write a Kaggle submission: header ``fname,label``, then a row for each clip.

    Parameters
    ----------
    path : str or Path
    rows : iterable of (str, str)
        File name and label.
    """
    files.write_csv(path, ("fname", "label"), rows)
