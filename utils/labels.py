"""The twelve labels of the challenge in one order, one-hot and back; the same for words of one's own."""

import argparse

import numpy as np

from utils.system.names import compose, find_fault, fold

KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
SILENCE = "silence"
UNKNOWN = "unknown"
LABELS = (*KEYWORDS, SILENCE, UNKNOWN)

# The twenty other words of Speech Commands v0.01: all of them are ``unknown``.
OTHER_WORDS = (
    *("bed", "bird", "cat", "dog", "happy", "house", "marvin", "sheila", "tree", "wow"),
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
)


def with_extras(keywords):
    """The label order of some keywords: these, then silence and unknown."""
    return (*keywords, SILENCE, UNKNOWN)


def parse_keywords(text):
    """Argument type: words with commas between them, each the name of a folder of recordings."""
    words = tuple(compose(word.strip()) for word in text.split(","))
    for word in words:
        fault = find_fault(word)
        if fault or word.startswith((".", "_")):
            raise argparse.ArgumentTypeError(f"{word!r} {fault or 'is no name for a folder of recordings'}")
        if fold(word) in (SILENCE, UNKNOWN):
            raise argparse.ArgumentTypeError(f"{word!r} is a label of its own, made without being asked for")
    if len(set(map(fold, words))) < len(words):
        raise argparse.ArgumentTypeError(f"{text!r} names a word twice")
    return words


def label_of(word, keywords=KEYWORDS):
    """Label of a spoken word: the word itself if it is a keyword, else ``unknown``."""
    word = compose(word)
    return word if word in keywords else UNKNOWN


def one_hot(names, labels=LABELS):
    """One-hot rows (uint8, shape (n, len(labels))) of label names; ValueError if one is none of the labels."""
    return np.eye(len(labels), dtype=np.uint8)[np.array([labels.index(name) for name in names], int)]


def from_one_hot(rows, labels=LABELS):
    """Label names of one-hot rows, or of rows of probabilities: the highest column of each."""
    return [labels[index] for index in np.argmax(rows, axis=1)]
