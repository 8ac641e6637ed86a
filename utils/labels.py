"""The twelve labels of the challenge in one order, one-hot and back."""

import numpy as np

KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
SILENCE = "silence"
UNKNOWN = "unknown"
LABELS = (*KEYWORDS, SILENCE, UNKNOWN)

# The twenty other words of Speech Commands v0.01: all of them are ``unknown``.
OTHER_WORDS = (
    *("bed", "bird", "cat", "dog", "happy", "house", "marvin", "sheila", "tree", "wow"),
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
)


def label_of(word):
    """Label of a spoken word: the word itself if it is a keyword, else ``unknown``."""
    return word if word in KEYWORDS else UNKNOWN


def one_hot(labels):
    """One-hot rows of label names.

    Parameters
    ----------
    labels : sequence of str, length n

    Returns
    -------
    uint8 array, shape (n, 12)

    Raises
    ------
    ValueError
        If a name is not one of the twelve labels.
    """
    unknown_names = sorted(set(labels) - set(LABELS))
    if unknown_names:
        raise ValueError(f"not a label: {unknown_names[0]!r}; the labels are {', '.join(LABELS)}")
    rows = np.zeros((len(labels), len(LABELS)), np.uint8)
    rows[np.arange(len(labels)), [LABELS.index(label) for label in labels]] = 1
    return rows


def from_one_hot(rows):
    """Label names of one-hot rows, or of rows of probabilities: the highest column of each."""
    return [LABELS[index] for index in np.argmax(rows, axis=1)]
