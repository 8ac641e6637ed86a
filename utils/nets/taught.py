"""Words that were taught from a few recordings: an embedding of any second, and a linear answer on top of it."""

import base64
import json
import zipfile
from pathlib import Path

import numpy as np

from utils import audio, trained
from utils.audio import CLIP_SAMPLES
from utils.labels import SILENCE, UNKNOWN, with_extras
from utils.nets.exported import LiteFile
from utils.system import files
from utils.system.cli import CourseError

BASE = "base.tflite"  # in a folder of taught words: the network that hears the others

PLACES = 5  # of a word in its second: a stream hears it at all of them
NOISES_DB = (20.0, 10.0)  # below the word, of noise that is added to copies
RATES = (0.92, 1.09)  # of a copy's speed
STRENGTH = 0.1  # of the recordings against the pull of all weights towards zero
NEGATIVES = 20.0  # recordings that the stored negatives together weigh
STEPS = 150
SHARPNESS = 3.0  # by which answers are made surer than those weights: a stream averages them
# What no more than SHARE of the stored negatives may reach, in logits: both chosen on validation (benchmarks.enrol).
SURE_LOGIT, SHARE = 0.0, 1.5e-3
SEED = 220788


class Embedding:
    """Where words lie: 96 numbers of any second, and what is known of the places of others.

    Attributes
    ----------
    negatives : float32 array, shape (m, n_dims)
        Of talk, noises, and words that others said: what a taught word is told from.
    said : list of str, length m
        The command said in each, or nothing.
    """

    def __init__(self):
        self._file, self.stored = LiteFile(trained.EMBEDDING), trained.NEGATIVES
        with np.load(self.stored, allow_pickle=False) as stored:
            self.negatives = stored["negatives"].astype(np.float32) * stored["scale"]
            self.said = stored["said"].tolist()

    def __call__(self, waveforms):
        """Places (n, n_dims) of float32 waveforms (n, 16000)."""
        return self._file(waveforms)


def describe():
    """What the page has to know to teach words itself: JSON, bytes."""
    with np.load(trained.NEGATIVES, allow_pickle=False) as stored:
        negatives, scale, said = stored["negatives"], float(stored["scale"]), stored["said"].tolist()
    numbers = {
        "places": PLACES,
        "noises_db": NOISES_DB,
        "rates": RATES,
        "seed": SEED,
        "strength": STRENGTH,
        "steps": STEPS,
        "negatives_weigh": NEGATIVES,
        "sharpness": SHARPNESS,
        "share": SHARE,
        "sure_logit": SURE_LOGIT,
        "n_dims": negatives.shape[1],
        "scale": scale,
        "said": said,
        "negatives": base64.b64encode(negatives.tobytes()).decode(),
    }
    return json.dumps(numbers).encode()


def make_copies(word):
    """What a network may meet of one recording: float32 waveforms (n, 16000).

    Parameters
    ----------
    word : int16 array, shape (at most 16000,)
        What was said, cut out: see :func:`utils.system.takes.cut_word`.
    """
    rng = np.random.default_rng(SEED)
    word = audio.to_waveform(word)
    room = CLIP_SAMPLES - len(word)
    copies = [_place(word, round(room * place / (PLACES - 1))) for place in range(PLACES)]
    power = np.mean(np.square(word))
    for noise_db in NOISES_DB:
        noise = np.sqrt(power * 10 ** (-noise_db / 10)) * rng.standard_normal(CLIP_SAMPLES)
        copies.append(_place(word, room // 2) + noise)
    for rate in RATES:
        places = np.arange(0, len(word) - 1, rate)
        faster = np.interp(places, np.arange(len(word)), word)[:CLIP_SAMPLES]
        copies.append(_place(faster, (CLIP_SAMPLES - len(faster)) // 2))
    return np.stack(copies).astype(np.float32)


def _place(word, start):
    clip = np.zeros(CLIP_SAMPLES)
    clip[start : start + len(word)] = word
    return clip


def fit(places, owners, weights, n_words, strength=STRENGTH):
    """Weights (n_dims + 1, n_words + 1) of a linear answer: a column for each word, and one for all else.

    Multinomial logistic regression, drawn towards zero, by Nesterov's method: the page does the same, step by step.

    Parameters
    ----------
    places : float32 array, shape (n, n_dims)
    owners : int array, shape (n,)
        The word of each, ``n_words`` for all else.
    weights : float array, shape (n,)
        What each counts.
    n_words : int
    """
    from threadpoolctl import threadpool_limits  # to hear a word needs numpy and LiteRT alone

    inputs, truth = _add_one(places), np.eye(n_words + 1)[owners]
    scaled = strength * np.asarray(weights)[:, None]
    vector = np.ones(inputs.shape[1])
    with threadpool_limits(1, "blas"):  # products so small only wait for threads
        for _ in range(20):  # the largest eigenvalue: how long a step may be
            vector = inputs.T @ (scaled[:, 0] * (inputs @ vector))
            largest = np.linalg.norm(vector)
            vector /= largest
        bend = 1 + largest / 2
        momentum = (np.sqrt(bend) - 1) / (np.sqrt(bend) + 1)
        found = ahead = np.zeros((inputs.shape[1], truth.shape[1]))
        for _ in range(STEPS):
            slope = ahead + inputs.T @ (scaled * (softmax(inputs @ ahead) - truth))
            step = ahead - slope / bend
            found, ahead = step, step + momentum * (step - found)
    return found


def _add_one(places):
    return np.concatenate([places, np.ones((len(places), 1))], axis=1).astype(np.float64)


def softmax(logits):
    """Probabilities (n, m) of logits."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


class Words:
    """A linear answer: which of the taught words is said, or none of them.

    Attributes
    ----------
    names : list of str
    weights : float64 array, shape (n_dims + 1, len(names) + 1)
    """

    def __init__(self, names, weights):
        self.names, self.weights = list(names), weights

    def __call__(self, places):
        """Probabilities (n, n_words + 1) of places; the last one is that of all else."""
        return softmax(_add_one(places) @ self.weights)

    def margins(self, places):
        """How far, in logits, the likeliest of the words is above all else: shape (n,)."""
        logits = _add_one(places) @ self.weights
        return logits[:, :-1].max(axis=1) - logits[:, -1]


def learn(recordings, negatives, others=()):
    """The linear answer for some words.

    Parameters
    ----------
    recordings : dict of str -> list of float32 array, shape (n_copies, n_dims)
        Places of the copies of each recording, by word.
    negatives : float32 array, shape (m, n_dims)
    others : list of float32 array, shape (n_copies, n_dims), optional
        Of recordings that are none of the words: each counts as a recording of a word does.

    Returns
    -------
    Words
    """
    n_words = len(recordings)
    groups = [(index, places) for index, found in enumerate(recordings.values()) for places in found]
    groups += [(n_words, places) for places in others]
    places = np.concatenate([*(group for _, group in groups), negatives])
    owners = np.concatenate(
        [*(np.full(len(group), index) for index, group in groups), np.full(len(negatives), n_words)]
    )
    weights = [np.full(len(group), 1 / len(group)) for _, group in groups]
    weights.append(np.full(len(negatives), NEGATIVES / len(negatives)))
    found = Words(recordings, fit(places, owners, np.concatenate(weights), n_words) * SHARPNESS)
    reached = np.quantile(found.margins(negatives), 1 - SHARE)
    found.weights[-1, -1] += reached - SURE_LOGIT
    return found


class Taught:
    """A network of commands and taught words beside them: waveforms (n, 16000) to probabilities.

    Parameters
    ----------
    hear : callable
        The network: from waveforms to probabilities of ``base_labels``.
    base : str
        The run it is of.
    base_labels : sequence of str
    embedding : Embedding
    words : Words
    alone : bool
        The words instead of the network's commands, which become *unknown*.

    Attributes
    ----------
    labels : tuple of str
    matrix : float array
        See :func:`arrange`.
    """

    from_log_mel = None  # its front ends are inside

    def __init__(self, hear, base, base_labels, embedding, words, alone):
        self._hear, self.base, self.base_labels = hear, base, tuple(base_labels)
        self.embedding, self.words = embedding, words
        self.labels, self.matrix = arrange(base_labels, words.names, alone)

    def __call__(self, waveforms):
        """Probabilities."""
        said = self.words(self.embedding(waveforms))
        both = np.concatenate([self._hear(waveforms) * said[:, -1:], said[:, :-1]], axis=1)
        return (both @ self.matrix).astype(np.float32)


def arrange(labels, names, alone):
    """Labels of a network and taught words together; and a matrix from the probabilities of both to those of these."""
    kept = [label for label in labels if label not in (SILENCE, UNKNOWN) and not alone]
    together = with_extras((*kept, *names))
    sources = [label if label in together else UNKNOWN for label in labels] + list(names)
    return together, np.array([[float(label == source) for label in together] for source in sources])


def read(folder):
    """The taught words of a folder that :mod:`utils.enrol` made, with the network that it holds."""
    folder = Path(folder)
    config = files.read_json(folder / "config.json")
    try:
        with np.load(folder / trained.TAUGHT, allow_pickle=False) as stored:
            words = Words(stored["names"].tolist(), stored["weights"])
        base, labels, alone = config["base"], config["base_labels"], config["alone"]
        found = Taught(LiteFile(folder / BASE), base, labels, Embedding(), words, alone)
        found(np.zeros((1, CLIP_SAMPLES), np.float32))  # weights of other shapes
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise CourseError(
            f"{folder} is damaged ({error}): teach one of its words anew (python -m utils.enrol)"
        ) from error
    return found
