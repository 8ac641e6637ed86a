"""How good a model is, and how sure that is: scores, intervals, the submission file."""

import contextlib
import csv
import hashlib
import io
from collections import Counter

import numpy as np

from utils.corpus import parse_name
from utils.labels import LABELS, SILENCE
from utils.system import files
from utils.system.cli import CourseError

RESAMPLES = 2000
HEADER = ("fname", "label")  # of a submission
FEW_SPEAKERS = 5  # fewer tell little of people in general, and a bootstrap over them nothing


def accuracy_interval(correct, speakers=None, seed=0):
    """95 % interval of an accuracy, by bootstrap over speakers: low and high end.

    Clips of one speaker succeed or fail together, so speakers are drawn with
    replacement, each with all clips (Efron & Tibshirani 1993, chapter 8). With fewer than five
    speakers, or speakers who are all alike, such as all right, that has next to no width.
    Then each speaker counts as one trial (Clopper & Pearson 1934).

    Parameters
    ----------
    correct : bool array, shape (n,)
        Whether each clip was recognised; or, as floats, differences of two models: always by bootstrap.
    speakers : sequence of str, length n, optional
        Without it, the interval is over clips, and too narrow if speakers repeat.
    """
    is_share = np.asarray(correct).dtype == bool
    correct = np.asarray(correct, float)
    group = np.arange(len(correct)) if speakers is None else np.unique(speakers, return_inverse=True)[1]
    clips, hits = np.bincount(group), np.bincount(group, weights=correct)
    if is_share and (len(clips) < FEW_SPEAKERS or np.ptp(hits / clips) == 0):
        return _exact_interval(correct.mean(), len(clips))
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(clips), np.full(len(clips), 1 / len(clips)), RESAMPLES)
    accuracies = (draws @ hits) / (draws @ clips)
    low, high = np.quantile(accuracies, [0.025, 0.975])
    return float(low), float(high)


def _exact_interval(share, n_trials):
    """95 % interval of Clopper and Pearson, of trials of which a share succeeded."""
    from scipy.special import betaincinv  # only where it is needed

    hits = share * n_trials
    low = betaincinv(hits, n_trials - hits + 1, 0.025) if hits > 0 else 0.0
    high = betaincinv(hits + 1, n_trials - hits, 0.975) if hits < n_trials else 1.0
    return float(low), float(high)


def speakers_of(names):
    """Speaker of each clip, from names such as ``label/file.wav``."""
    return [parse_name(name)[0] for name in names]


def count_speakers(names):
    """How many people are heard in clips with such names; rooms in which nobody speaks are none."""
    return len({speaker for speaker, word in map(parse_name, names) if word != SILENCE})


def score(y_true, y_predicted, names=(), labels=LABELS):
    """All that is reported of a test, from label indices (n,) and the clips' names, of which speakers are known.

    Returns
    -------
    dict
        ``accuracy``, ``interval``, ``per_label`` and ``confusion`` (rows are true labels).
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support  # slow to import

    y_true, y_predicted = np.asarray(y_true), np.asarray(y_predicted)
    correct = y_true == y_predicted
    interval = accuracy_interval(correct, speakers_of(names) or None)
    if names and (n_people := count_speakers(names)) < FEW_SPEAKERS:  # however many rooms there are
        interval = _exact_interval(correct.mean(), max(1, n_people))
    indices = range(len(labels))
    by_label = precision_recall_fscore_support(y_true, y_predicted, labels=indices, zero_division=0)
    return {
        "accuracy": float(correct.mean()),
        "interval": list(interval),
        "per_label": {
            label: {key: float(values[i]) for key, values in zip(("precision", "recall", "f1"), by_label)}
            for i, label in enumerate(labels)
        },
        "confusion": confusion_matrix(y_true, y_predicted, labels=indices).tolist(),
    }


def calibration(confidence, correct, bins=10):
    """How often a recogniser is right when it is this sure, in bins of equal width from 0 to 1.

    Returns
    -------
    list of tuple (float, float, int)
        Mean confidence (the probability of the label that was recognised), accuracy and clips of each bin with any.
    """
    confidence, correct = np.asarray(confidence), np.asarray(correct)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    groups = [place == number for number in np.unique(place)]
    return [(float(confidence[here].mean()), float(correct[here].mean()), int(here.sum())) for here in groups]


def calibration_error(confidence, correct, bins=10):
    """Expected calibration error: how far accuracy is from confidence, on average over clips (arXiv:1706.04599)."""
    rows = calibration(confidence, correct, bins)
    return sum(n * abs(sure - right) for sure, right, n in rows) / len(confidence)


def hash_names(names):
    """Twelve hex digits that name a list of files, whatever their order."""
    return hashlib.sha256("\n".join(sorted(names)).encode(errors="surrogateescape")).hexdigest()[:12]


def is_submission(path):
    """Whether a file is a submission, by its header."""
    with contextlib.suppress(OSError, CourseError, csv.Error):
        return tuple(next(csv.reader(io.StringIO(files.read_text(path))), ())) == HEADER
    return False


def check_submission(path, names=None, labels=LABELS):
    """What Kaggle would refuse in a submission: a line for each kind of problem, with an example.

    ``names`` are the clips it should answer, as in Kaggle's ``sample_submission.csv``.
    """
    try:
        header, *rows = list(csv.reader(io.StringIO(files.read_text(path)))) or [[]]
    except (OSError, CourseError, csv.Error) as error:
        return [f"cannot be read as a table ({getattr(error, 'strerror', None) or error})"]
    problems = []
    if tuple(header) != HEADER:
        problems.append(f"its header is {','.join(header)!r} instead of 'fname,label'")
    torn = [line for line, row in enumerate(rows, start=2) if len(row) != 2]
    if torn:
        problems.append(f"{len(torn)} rows are not a name and a label, the first in line {torn[0]}")
    rows = [row for row in rows if len(row) == 2]
    strange = [row for row in rows if row[1] not in labels]
    if strange:
        problems.append(f"{len(strange)} rows have no such label as {strange[0][1]!r} ({strange[0][0]})")
    counts = Counter(name for name, _ in rows)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        problems.append(f"{len(twice)} clips have several rows, such as {twice[0]}")
    if names is not None:
        missing, extra = [name for name in names if name not in counts], sorted(set(counts) - set(names))
        if missing:
            problems.append(f"{len(missing)} of {len(names)} clips have no row, such as {missing[0]}")
        if extra:
            problems.append(f"{len(extra)} rows are of no clip of the test, such as {extra[0]}")
    return problems
