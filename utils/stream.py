"""Continuous recognition: words and their times in audio of any length, as it comes in."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from utils import audio
from utils.audio import CLIP_SAMPLES, SAMPLE_RATE
from utils.labels import SILENCE, UNKNOWN
from utils.nets.frames import FRAME_LENGTH, HOP_LENGTH, N_FRAMES, N_MELS

STEP_FRAMES = 5
STEP_SAMPLES = STEP_FRAMES * HOP_LENGTH
STEP_S = STEP_SAMPLES / SAMPLE_RATE  # the network hears the last second every 50 ms
MOST_SAMPLES = 64 * STEP_SAMPLES  # at once, so that memory does not grow with what is fed
REACH_S = 1.0  # a word may be heard until a second after its end: for so long a part of it is in the window


@dataclass(frozen=True)
class Rule:
    """When a word counts as heard.

    As in TensorFlow's ``recognize_commands`` (Warden 2018, arXiv:1804.03209, section 7): probabilities are averaged
    over some time, and after a word nothing is heard for a while (the refractory time). From a word's average that
    of *unknown* over ``veto_s`` is taken off, ``veto`` times: in talk there are other words before and after, where
    a command stands alone. What has reached the threshold is heard again only after it has been below it. Chosen on
    validation, by ``python -m benchmarks.quiet --choose``; what it gains and costs is in benchmarks/tried.
    """

    threshold: float = 0.18
    smoothing_s: float = 0.8
    refractory_s: float = 1.0
    veto: float = 1.5
    veto_s: float = 1.8


# Of networks that keep state, whose answers are running means already. Chosen on validation with a resnet10_s
# (steps of 160 ms), and the best for that in pretrained/ on twelve minutes of each noise (benchmarks/README).
STATEFUL = Rule(threshold=0.42, smoothing_s=0.4)


class Detection(NamedTuple):
    """A word that was heard at the end of some second, and its highest probability in the steps that said so."""

    seconds: float
    label: str
    probability: float


class Decoder:
    """From probabilities, step by step, to words; ``probabilities`` (n_labels,) are the averages of the last step.

    ``step_s`` is the time from one step to the next, in seconds.
    """

    def __init__(self, labels, rule=Rule(), step_s=STEP_S):
        self._labels, self._rule, self._step_s = labels, rule, step_s
        self._keywords = [i for i, label in enumerate(labels) if label not in (SILENCE, UNKNOWN)]
        self._unknown = [i for i, label in enumerate(labels) if label == UNKNOWN]
        self._n_smoothed, self._n_veto = (max(1, round(of / step_s)) for of in (rule.smoothing_s, rule.veto_s))
        self._recent = np.zeros((max(self._n_smoothed, self._n_veto) - 1, len(labels)), np.float32)
        self._step, self._deaf_until = 0, 0
        self._last_sure, self._said = 0, None  # step, and the word that has stayed sure since it was heard
        self.probabilities = np.zeros(len(labels), np.float32)

    def decode(self, rows):
        """Words heard in the next steps, probabilities (n, n_labels): a list of Detection."""
        n_steps = len(rows)
        each = np.concatenate([self._recent, rows])
        self._recent = each[n_steps:]
        smoothed = _average(each, self._n_smoothed, n_steps)
        doubt = _average(each[:, self._unknown].sum(axis=1), self._n_veto, n_steps)
        self.probabilities = smoothed[-1]
        first, self._step = self._step, self._step + n_steps
        best = np.array(self._keywords)[smoothed[:, self._keywords].argmax(axis=1)]
        sure = smoothed[np.arange(n_steps), best] - self._rule.veto * doubt
        each = each[len(each) - n_steps - self._n_smoothed + 1 :]
        found = []
        for i in np.flatnonzero(sure >= self._rule.threshold):
            step = first + i
            if step > self._last_sure + 1:
                self._said = None
            self._last_sure = step
            if step >= self._deaf_until and best[i] != self._said:
                # The first window is the second without sound that goes ahead.
                peak = each[i : i + self._n_smoothed, best[i]].max()
                found.append(Detection(float(step * self._step_s), self._labels[best[i]], float(peak)))
                self._deaf_until, self._said = step + self._rule.refractory_s / self._step_s, best[i]
        return found


def rule_of(recogniser):
    """The rule that was chosen for a recogniser's kind."""
    return STATEFUL if recogniser.step_s else Rule()


def make_decoder(recogniser, rule=None):
    """The decoder of a recogniser's steps, by the rule of its kind unless another is given."""
    return Decoder(recogniser.labels, rule or rule_of(recogniser), recogniser.step_s or STEP_S)


def _average(rows, n, n_steps):
    """Means of ``n`` rows each, the last of them the last row; of so many steps."""
    first = len(rows) - n_steps - n + 1
    # Added up row by row: in whatever pieces they come, the sums are the same to the last bit.
    return sum(rows[first + i : first + i + n_steps] for i in range(n)) / n


class Stream:
    """Hears keywords in samples that are fed in pieces of any size; how they are cut changes nothing.

    A log-mel frame is computed once, whatever number of windows it is in, where the network takes such frames. One
    that takes waveforms alone, such as an exported file, hears each second anew. One that keeps state hears each step
    once.
    """

    def __init__(self, recogniser, rule=None):
        self._recogniser = recogniser
        self._live = recogniser.listen and recogniser.listen()
        self.decoder = make_decoder(recogniser, rule)
        # A second without sound goes ahead: so the first word is heard like any other.
        self._samples = np.zeros(0 if self._live else CLIP_SAMPLES, np.int16)
        self._frames = np.empty((0, N_MELS), np.float32)

    def feed(self, samples):
        """Words heard in the next samples, int16 at 16 kHz: a list of Detection."""
        return [word for rows in self.listen(samples) for word in self.decoder.decode(rows)]

    def finish(self):
        """Words heard at the very end, where some silence is needed to hear them out.

        Of a network that keeps state, so much more as it looks ahead, and a step, as only whole ones are heard.
        """
        n_samples = CLIP_SAMPLES // 2
        if self._live:
            n_samples += self._recogniser.model.look_ahead + self._recogniser.model.step_samples
        return self.feed(np.zeros(n_samples, np.int16))

    def listen(self, samples):
        """Probabilities (n_steps, n_labels) of the next samples, some steps at a time."""
        samples = np.asarray(samples)
        if samples.dtype != np.int16 or samples.ndim != 1:
            raise ValueError(f"expected int16 of one dimension, got {samples.dtype} of {samples.ndim}")
        for start in range(0, len(samples), MOST_SAMPLES):
            whole = np.concatenate([self._samples, samples[start : start + MOST_SAMPLES]])
            if self._live:
                n_whole = len(whole) - len(whole) % self._recogniser.model.step_samples
                self._samples = whole[n_whole:]
                rows = self._live(whole[:n_whole])
                if len(rows):
                    yield rows
                continue
            from_log_mel = self._recogniser.from_log_mel
            windows = self._spectrograms(whole) if from_log_mel else self._seconds(whole)
            if len(windows):
                yield (from_log_mel or self._recogniser)(windows)

    def _seconds(self, samples):
        """Waveforms (n_steps, 16000) that have become whole."""
        windows, self._samples = _cut(samples, CLIP_SAMPLES, STEP_SAMPLES)
        return audio.to_waveform(windows)

    def _spectrograms(self, samples):
        """Log-mel spectrograms (n_steps, 98, 40) that have become whole."""
        from utils import features  # scipy, which an exported file does without

        n_frames = max(0, 1 + (len(samples) - FRAME_LENGTH) // HOP_LENGTH)
        self._samples = samples[n_frames * HOP_LENGTH :]
        if n_frames:
            heard = samples[: FRAME_LENGTH + (n_frames - 1) * HOP_LENGTH]
            frames = features.log_mel_frames(audio.to_waveform(heard)[None])[0]
            self._frames = np.concatenate([self._frames, frames])
        windows, self._frames = _cut(self._frames, N_FRAMES, STEP_FRAMES)
        return windows


def _cut(rows, length, step):
    """Windows of so many rows that begin ``step`` rows apart, and the rows from which the next one begins."""
    n_windows = max(0, 1 + (len(rows) - length) // step)
    starts = step * np.arange(n_windows)
    return rows[starts[:, None] + np.arange(length)], rows[n_windows * step :]


class Word(NamedTuple):
    """A word of a made stream: what it is, from when to when it is said, in seconds, and which of the clips it is."""

    label: str
    start: float
    end: float
    clip: int | None = None


def find_word(clip, range_db=25.0):
    """First and last sample of what is said in a clip: all 10 ms that are less than 25 dB below the loudest."""
    blocks = np.square(clip[: len(clip) // HOP_LENGTH * HOP_LENGTH].astype(np.float64)).reshape(-1, HOP_LENGTH).mean(1)
    loud = np.flatnonzero(blocks >= blocks.max() * 10 ** (-range_db / 10))
    return loud[0] * HOP_LENGTH, (loud[-1] + 1) * HOP_LENGTH


def make_stream(clips, labels, background, snr_db, rng, gap_s=(1.5, 4.0)):
    """A long recording with known words: int16 samples, and a list of Word.

    Parameters
    ----------
    clips : int16 array, shape (n, 16000)
        They come in random order, with ``gap_s`` (lowest, highest) seconds between two.
    labels : sequence of str, length n
    background : int16 array, shape (m, 16000)
        Seconds of noise, put one after the other in random order.
    snr_db : float
        Of the mean power of the clips over that of the noise.
    rng : numpy.random.Generator
    """
    order = rng.permutation(len(clips))
    gaps = (rng.uniform(*gap_s, len(order)) * SAMPLE_RATE).astype(int)
    starts = np.cumsum(gaps) + CLIP_SAMPLES * np.arange(len(order))
    n_samples = int(starts[-1]) + 3 * CLIP_SAMPLES
    pieces = rng.integers(0, len(background), n_samples // CLIP_SAMPLES + 1)
    mixed = audio.to_waveform(background[pieces].reshape(-1)[:n_samples])
    power = np.mean(np.square(audio.to_waveform(clips))) / np.mean(np.square(audio.to_waveform(background)))
    mixed *= np.sqrt(power * 10 ** (-snr_db / 10))
    words = []
    for start, index in zip(starts, order):
        mixed[start : start + CLIP_SAMPLES] += audio.to_waveform(clips[index])
        first, last = find_word(clips[index])
        words.append(Word(labels[index], (start + first) / SAMPLE_RATE, (start + last) / SAMPLE_RATE, int(index)))
    return audio.to_counts(mixed), words


def match_words(detections, words):
    """Detections dealt out to the keywords among the words of a stream, in order of time.

    Returns
    -------
    list of (Word, Detection or None)
        Each keyword, and what was heard first for it.
    int
        False alarms: what was heard where no keyword was said, or after the first.
    """
    keywords = [word for word in words if word.label not in (SILENCE, UNKNOWN)]
    first, alarms = {}, 0
    for detection in detections:
        near = [i for i, word in enumerate(keywords) if word.start <= detection.seconds <= word.end + REACH_S]
        unheard = [i for i in near if i not in first]
        same = [i for i in near if keywords[i].label == detection.label]
        # Where words are close, a detection is of the one that it names; if that was heard, it is heard once more.
        mine = [i for i in same if i in unheard] or ([] if same else unheard)
        if mine:
            first[mine[0]] = detection
        else:
            alarms += 1
    return [(word, first.get(i)) for i, word in enumerate(keywords)], alarms


def score_stream(detections, words, seconds):
    """How well the keywords of a stream were heard, as the field counts it, see :func:`match_words`.

    Returns
    -------
    dict
        ``matched`` and ``wrong``: shares of the keywords first heard as themselves, and as another one, not a number
        where none is said;
        ``false_alarms`` and ``false_alarms_per_hour``;
        ``latency_s``: median time from a word's end to its detection.
    """
    pairs, alarms = match_words(detections, words)
    heard = [(word, first) for word, first in pairs if first]
    late = [first.seconds - word.end for word, first in heard if first.label == word.label]
    share = 1 / len(pairs) if pairs else float("nan")
    return {
        "keywords": len(pairs),
        "matched": len(late) * share,
        "wrong": (len(heard) - len(late)) * share,
        "false_alarms": alarms,
        "false_alarms_per_hour": alarms / seconds * 3600,
        "latency_s": float(np.median(late)) if late else float("nan"),
    }
