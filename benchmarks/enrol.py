"""What a few recordings of a word are worth, for words from which nothing was learned before.

    python -m benchmarks.enrol --noises noises.zip
    python -m benchmarks.enrol --set cv             on validation: the test set stays shut
    python -m benchmarks.enrol --json

Ten words are told apart, and one is told from all others, from 1 to 50 recordings of as many training speakers. Beside
it, on the same draws, logistic regression on Google's speech embedding as its package has it; and made voices instead
of recordings. Both take PYTHONPATH=google, where `pip install --no-deps --target google pyopen-wakeword hibari-tts`
has put them. Then words are taught as people teach them, by a built-in voice that says a word five times and is heard
saying it again; and what is heard of each of the ten words, taught by five recordings, in talk and noise where nobody
says it.
"""

import contextlib
import functools
import json
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.stats

from benchmarks import make_parser, quiet
from utils import audio, corpus, evaluation, negatives, recogniser, stream, trained
from utils.audio import CLIP_SAMPLES, SAMPLE_RATE
from utils.labels import SILENCE
from utils.nets import taught
from utils.system import cli, espeak
from utils.system.takes import ClipError, cut_word

# Words of which neither the embedding's last matrix nor, but for the two commands, the stored negatives know anything.
HELD_OUT = ("bed", "cat", "eight", "five", "happy", "nine", "one", "zero", "stop", "yes")
TAKES = (1, 3, 5, 10, 50)  # recordings of a word
AS_PEOPLE_DO = 5
DRAWS = 5
SHARES = (0.05, 0.01)  # of other words that are accepted
OTHERS = 600  # clips of other words
TALK_MINUTES, NOISE_MINUTES = 24, 2  # of each kind, heard for each of the ten words
VOICES = 8  # who teach a word each
SAID = 8  # times that such a voice is heard
PEOPLE = 6  # who said a word often enough, of each word
VOICE_WORDS = ("lights", "music", "computer", "window", "coffee", "garden", "seven", "robot")
FIRST_VOICE = 400  # beyond those of the course
GAP_S = (0.8, 2.0)
SEED = 220788


class Recordings(NamedTuple):
    """Clips of words: int16 (n, 16000), and the word, speaker and set of each."""

    clips: np.ndarray
    words: np.ndarray
    speakers: np.ndarray
    sets: np.ndarray


def read_recordings(raw):
    """All recordings of words of ``data/raw``, by the sets of its lists."""
    folder, listed = corpus.find_recordings(raw), corpus.check_lists(raw)
    clips, words, speakers, sets = [], [], [], []
    for word, name in corpus.list_recordings(folder):
        if word == corpus.NOISE_FOLDER:
            continue
        clip = audio.fit_second(audio.read_wav(Path(folder, word, name), audio.CLIP_SAMPLES))
        if clip.any():
            clips.append(clip)
            words.append(word)
            speakers.append(corpus.parse_name(f"{word}/{name}")[0])
            sets.append(listed.get(f"{word}/{name}", "train"))
    return Recordings(np.stack(clips), np.array(words), np.array(speakers), np.array(sets))


def choose_pool(recordings, rng):
    """Rows of up to 50 recordings of each held-out word that can be taught with, each by another training speaker."""
    rows = []
    for word in HELD_OUT:
        found = {}
        for row in rng.permutation(np.flatnonzero((recordings.words == word) & (recordings.sets == "train"))):
            with contextlib.suppress(ClipError):
                cut_word(recordings.clips[row])
                found.setdefault(recordings.speakers[row], row)
            if len(found) == max(TAKES):
                break
        rows += found.values()
    return np.array(rows)


class Google:
    """Google's speech embedding as its package has it: all that it says of a second, side by side."""

    def __init__(self):
        import pyopen_wakeword
        from ai_edge_litert.interpreter import Interpreter

        folder = Path(pyopen_wakeword.__file__).parent / "models"
        self._mels, self._embedding = (
            Interpreter(str(folder / name), num_threads=1)
            for name in ("melspectrogram.tflite", "embedding_model.tflite")
        )
        self._shape(self._mels, (1, CLIP_SAMPLES))

    @staticmethod
    def _shape(interpreter, shape):
        interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], shape)
        interpreter.allocate_tensors()

    @staticmethod
    def _run(interpreter, values):
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values.astype(np.float32))
        interpreter.invoke()
        return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])

    def __call__(self, clips):
        """Shape (n, 288) of int16 clips."""
        found = []
        for clip in clips:
            mels = self._run(self._mels, clip[None]).reshape(1, -1, 32, 1) / 10 + 2
            if not found:
                self._shape(self._embedding, mels.shape)
            found.append(self._run(self._embedding, mels).ravel())
        return np.stack(found)


def tell_apart_ours(copies, owners, tests):
    """Which of the ten words each test clip is, by what utils.enrol does."""
    places, weights = np.concatenate(copies), np.full(len(copies) * len(copies[0]), 1 / len(copies[0]))
    answer = taught.Words(HELD_OUT, taught.fit(places, np.repeat(owners, len(copies[0])), weights, len(HELD_OUT)))
    return answer(tests)[:, :-1].argmax(axis=1)


def tell_apart_google(places, owners, tests):
    """The same by logistic regression."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(places, owners).predict(tests)


@functools.cache
def open_library():
    """One library for all that is spoken here."""
    return espeak.Speech()


def speak_words(n_voices):
    """The ten words by so many built-in voices: int16 clips (10 * n_voices, 16000), word by word."""
    rng, speech, speakers = np.random.default_rng(SEED), open_library(), espeak.draw_speakers(FIRST_VOICE + n_voices)
    return np.concatenate(
        [say(speech, word, speaker, 1, rng) for word in HELD_OUT for speaker in speakers[FIRST_VOICE:]]
    )


def speak_naturally(n_takes):
    """The same by the one voice of hibari-tts, at so many speeds."""
    import soxr
    from hibari import Hibari

    voice, clips = Hibari(), []
    for word in HELD_OUT:
        for take, speed in enumerate(np.linspace(0.8, 1.2, n_takes)):
            spoken = soxr.resample(voice(word, speed=float(speed), seed=take), voice.sample_rate, SAMPLE_RATE)
            counts = np.round(spoken / np.abs(spoken).max() * 10_000).astype(np.int16)
            clips.append(audio.loudest_second(np.pad(counts, CLIP_SAMPLES // 4)))
    return np.stack(clips)


def measure_voices_on_people(embedding, tests, truth, speakers):
    """Rows of the ten words taught by made voices, told apart as people say them."""
    for name, speak, n_takes in (
        ("eSpeak NG", speak_words, AS_PEOPLE_DO),
        ("eSpeak NG", speak_words, 50),
        ("hibari-tts", speak_naturally, AS_PEOPLE_DO),
    ):
        try:
            clips = speak(n_takes)
        except ModuleNotFoundError:
            continue
        copies = [embedding(taught.make_copies(cut_word(clip))) for clip in clips]
        right = tell_apart_ours(copies, np.repeat(np.arange(len(HELD_OUT)), n_takes), tests) == truth
        yield make_row("ten words told apart", f"{n_takes} made clips a word, {name}", right, speakers)


def make_row(row, material, right, speakers):
    """A row of clips that were heard rightly or not (or how often), with the speaker of each."""
    right = np.asarray(right, float)
    interval = evaluation.accuracy_interval(right, speakers)
    return {"row": row, "material": material, "value": right.mean().item(), "interval": interval, "clips": len(right)}


def draw(owners, n_takes, rng):
    """Rows of so many recordings of each word."""
    return np.concatenate(
        [rng.permutation(np.flatnonzero(owners == index))[:n_takes] for index in range(len(HELD_OUT))]
    )


def measure_apart(name, apart, pool, owners, tests, truth, speakers):
    """Rows of the ten words told apart."""
    for n_takes in TAKES:
        right = np.mean(
            [
                apart(pool[rows], owners[rows], tests) == truth
                for rows in (draw(owners, n_takes, np.random.default_rng([SEED, n])) for n in range(DRAWS))
            ],
            axis=0,
        )
        yield make_row("ten words told apart", f"{n_takes} recordings a word, {name}", right, speakers)


def teach_one(word, copies, embedding):
    """One word taught by the copies of some recordings; negatives that are the word itself are left out."""
    kept = [said != word for said in embedding.said]
    return taught.learn({word: list(copies)}, embedding.negatives[kept])


def measure_one(pool, owners, tests, words, speakers, embedding):
    """Rows of one word accepted at some shares of other words."""
    for n_takes in TAKES:
        heard = {share: [] for share in SHARES}
        for index, word in enumerate(HELD_OUT):
            rows = draw(owners, n_takes, np.random.default_rng([SEED, index]))
            margins = teach_one(word, pool[rows[owners[rows] == index]], embedding).margins(tests)
            is_word = words == word
            for share in SHARES:
                accepted = margins[is_word] > np.quantile(margins[~is_word], 1 - share)
                heard[share].append((accepted, speakers[is_word]))
        for share, found in heard.items():
            right, who = (np.concatenate(parts) for parts in zip(*found))
            yield make_row("one word accepted", f"{n_takes} recordings, {share:.0%} of other words", right, who)


def measure_alarms(material, samples, model, pool, owners, embedding):
    """The row of what is heard of the ten words, each taught by five recordings, where nobody says it."""
    heard = listen(samples, model, embedding)
    detections = []
    for index, word in enumerate(HELD_OUT):
        rows = draw(owners, AS_PEOPLE_DO, np.random.default_rng([SEED, index]))
        words = teach_one(word, pool[rows[owners[rows] == index]], embedding)
        detections += [found for found in decode(heard, model.labels, words) if found.label == word]
    row = quiet.rate("false alarms of a taught word", material, detections, len(HELD_OUT) * len(samples) / SAMPLE_RATE)
    return {**row, "value": row["false_alarms_per_hour"]}


class Both:
    """What the network and the embedding say of each second, side by side: for words that are taught later."""

    from_log_mel = listen = step_s = None

    def __init__(self, model, embedding):
        self.labels, self._model, self._embedding = model.labels, model, embedding

    def __call__(self, waveforms):
        """Shape (n, n_labels + n_dims)."""
        return np.concatenate([self._model(waveforms), self._embedding(waveforms)], axis=1)


def listen(samples, model, embedding):
    """What both say at each step of a stream, a second ahead of it and half of one after it included."""
    heard = stream.Stream(Both(model, embedding))
    padded = np.concatenate([samples, np.zeros(CLIP_SAMPLES // 2, np.int16)])
    return np.concatenate(list(heard.listen(padded)))


def decode(heard, labels, words):
    """What the rule hears of a network and taught words."""
    said = words(heard[:, len(labels) :])
    together, matrix = taught.arrange(labels, words.names, alone=False)
    # A word that is a command, as two of the ten are, is heard as taught alone.
    commands = heard[:, : len(labels)] * [label not in words.names for label in labels]
    rows = np.concatenate([commands * said[:, -1:], said[:, :-1]], axis=1) @ matrix
    return stream.Decoder(together).decode(rows.astype(np.float32))


def say(speech, word, speaker, n_takes, rng):
    """Clips of a word by a built-in voice, each a little other than the one before: int16 (n, 16000)."""
    room, clips = espeak.make_room(speaker["reverberation_s"], rng), []
    for _ in range(n_takes):
        changed = {
            **speaker,
            "rate": int(speaker["rate"] * rng.uniform(0.9, 1.1)),
            "pitch": int(speaker["pitch"] + rng.integers(-6, 7)),
        }
        spoken = speech.say(word, changed, int(rng.integers(1, 2**31)))
        clips.append(espeak.make_clip(spoken, speech.sample_rate, changed, room, rng))
    return np.stack(clips)


def find_voices(rng):
    """Words by built-in voices, each by one: (word, clips) each."""
    speech, speakers = open_library(), espeak.draw_speakers(FIRST_VOICE + VOICES)[FIRST_VOICE:]
    for word, speaker in zip(VOICE_WORDS, speakers):
        yield word, say(speech, word, speaker, AS_PEOPLE_DO + SAID, rng)


def find_people(recordings):
    """Held-out words that one speaker said often enough: (word, clips) each."""
    for word in HELD_OUT:
        names, counts = np.unique(recordings.speakers[recordings.words == word], return_counts=True)
        for name in names[counts >= AS_PEOPLE_DO][:PEOPLE]:
            clips = recordings.clips[(recordings.words == word) & (recordings.speakers == name)]
            with contextlib.suppress(ClipError):
                [cut_word(clip) for clip in clips]
                yield word, clips


def measure_own(who, said_by, n_takes, model, embedding):
    """Rows of words taught by some recordings, and then said by the same voice in a stream."""
    rng, n_heard, n_said, took = np.random.default_rng(SEED), 0, 0, []
    for word, clips in said_by:
        started = time.perf_counter()
        copies = [embedding(taught.make_copies(cut_word(clip))) for clip in clips[:n_takes]]
        words = teach_one(word, copies, embedding)
        took.append(time.perf_counter() - started)
        noise = np.round(rng.normal(0, 10, (4, CLIP_SAMPLES))).astype(np.int16)
        later = clips[n_takes:]
        samples, said = stream.make_stream(later, [word] * len(later), noise, 30, rng, GAP_S)
        found = decode(listen(samples, model, embedding), model.labels, words)
        n_said += len(later)
        n_heard += round(stream.score_stream(found, said, len(samples) / SAMPLE_RATE)["matched"] * len(later))
    bounds = scipy.stats.binomtest(n_heard, n_said).proportion_ci(method="wilson")
    row = {"row": f"own voice, {who}", "material": f"{n_takes} recordings, said again in a stream"}
    yield {**row, "value": n_heard / n_said, "interval": [bounds.low, bounds.high], "clips": n_said}
    yield {**row, "material": "seconds from the last recording to hearing it, at most", "value": max(took)}


def main(arguments=None):
    """Measure and print."""
    parser = make_parser(__doc__)
    parser.add_argument("--raw", type=cli.path_text, default="data/raw", help="recordings (default: data/raw)")
    parser.add_argument("--set", choices=corpus.SETS[1:], default="test", help="whose clips (default: test)")
    parser.add_argument("--noises", type=cli.path_text, metavar="PATH", help="folder or zip of real noises")
    options = parser.parse_args(arguments)
    recordings, rng = read_recordings(options.raw), np.random.default_rng(SEED)
    embedding, model = taught.Embedding(), recogniser.load(trained.PRETRAINED, exported_first=True)

    def show(row):
        bounds = "({:.3f} to {:.3f})".format(*row["interval"]) if "interval" in row else ""
        line = f"{row['row']:31}{row['material']:49}{row['value']:8.3f}  {bounds}"
        print(json.dumps(row) if options.json else line, flush=True)

    for row in measure_own("built-in", find_voices(np.random.default_rng(SEED)), AS_PEOPLE_DO, model, embedding):
        show(row)
    for row in measure_own("people", find_people(recordings), AS_PEOPLE_DO - 1, model, embedding):
        show(row)
    pool = choose_pool(recordings, rng)
    owners = np.array([HELD_OUT.index(word) for word in recordings.words[pool]])
    copies = np.stack([embedding(taught.make_copies(cut_word(recordings.clips[row]))) for row in pool])
    in_set = recordings.sets == options.set
    held = np.flatnonzero(in_set & np.isin(recordings.words, HELD_OUT))
    others = rng.permutation(np.flatnonzero(in_set & ~np.isin(recordings.words, HELD_OUT)))[:OTHERS]
    tests = np.concatenate([held, others])
    places = embedding(audio.to_waveform(recordings.clips[tests]))
    truth = np.array([HELD_OUT.index(word) for word in recordings.words[held]])
    speakers = recordings.speakers[tests]
    asked = truth, speakers[: len(held)]
    for row in measure_apart("ours", tell_apart_ours, copies, owners, places[: len(held)], *asked):
        show(row)
    for row in measure_voices_on_people(embedding, places[: len(held)], *asked):
        show(row)
    with contextlib.suppress(ModuleNotFoundError):
        google = Google()
        theirs = google(recordings.clips[pool]), owners, google(recordings.clips[held])
        for row in measure_apart("Google's", tell_apart_google, *theirs, *asked):
            show(row)
    for row in measure_one(copies, owners, places, recordings.words[tests], speakers, embedding):
        show(row)
    talk, quiet.TALK_MINUTES, quiet.NOISE_MINUTES = recordings.clips[others], TALK_MINUTES, NOISE_MINUTES
    sounds = {"other words, laid closely": quiet.lay_words(talk, rng)[: TALK_MINUTES * 60 * SAMPLE_RATE]}
    sounds["sentences by voices"] = quiet.speak(quiet.SENTENCES, TALK_MINUTES, rng, open_library())
    made, _ = negatives.make_all(SILENCE, NOISE_MINUTES * 60, talk, SEED + 1)
    sounds["made noises"] = quiet.lay_noises(made, rng)
    if options.noises:
        sounds["real noises"] = quiet.lay_noises(quiet.find_noises(options.noises)[0], rng)
    for material, samples in sounds.items():
        show(measure_alarms(material, samples, model, copies, owners, embedding))


if __name__ == "__main__":
    sys.exit(cli.run(main))
