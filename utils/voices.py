"""The built-in voices: speech made on the spot by the eSpeak NG library, laid out as Kaggle's data.

Everything in the course runs on them with no download. They are not recordings: nobody
spoke these words, and a score on them says nothing about people.

    python -m utils.voices
    python -m utils.voices --words "lights, music"    any words: spoken, prepared, trained on and measured in one go
"""

import os
import subprocess  # nosec B404 # our own commands
import sys
import time
from pathlib import Path

import numpy as np

from utils import audio, sources
from utils.labels import KEYWORDS, LABELS, OTHER_WORDS, SILENCE, label_of, parse_keywords
from utils.settings import run_name
from utils.system import cli, files
from utils.system.cli import BadUse, CourseError
from utils.system.espeak import NAME, PEAK, SEED, draw_speakers, speak, speak_block

SPEAKERS = 100  # in train/audio, each says all thirty words once
TEST_SPEAKERS = 30  # further ones, in test/audio
TEST_CLIPS = 300
EXAMPLE_SPEAKER = 831  # beyond the others; chosen because the network in pretrained/ surely understands every example
NOISE_SECONDS = 64
WORDS_SPEAKERS, WORDS_EPOCHS = 300, 40  # of words that are typed


def _colored_noise(rng, n_samples, slope):
    """Noise whose power falls with frequency as f ** -slope: 0 white, 1 pink, 2 brown."""
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    hz = np.fft.rfftfreq(n_samples, 1 / audio.SAMPLE_RATE)
    spectrum *= np.maximum(hz, 20) ** (-slope / 2)
    return np.fft.irfft(spectrum, n_samples)


def make_noises(rng, seconds=NOISE_SECONDS):
    """Six background recordings that are not speech: name -> int16 array."""
    n_samples = seconds * audio.SAMPLE_RATE
    times = np.arange(n_samples) / audio.SAMPLE_RATE
    hum = sum(np.sin(2 * np.pi * 50 * k * times + k) / k for k in (1, 2, 3, 5, 7))
    hum += 0.1 * rng.standard_normal(n_samples)
    clicks = 0.01 * rng.standard_normal(n_samples)
    clicks[rng.integers(0, n_samples, 4 * seconds)] += rng.uniform(-1, 1, 4 * seconds)
    taps = 0.005 * rng.standard_normal(n_samples)
    decay = np.exp(-np.arange(1600) / 200)
    for start in rng.integers(0, n_samples - 1600, 3 * seconds):
        tone = np.sin(2 * np.pi * rng.uniform(300, 1500) * times[:1600])
        taps[start : start + 1600] += rng.uniform(0.2, 1) * decay * tone
    noises = {
        "white_noise": _colored_noise(rng, n_samples, 0),
        "pink_noise": _colored_noise(rng, n_samples, 1),
        "brown_noise": _colored_noise(rng, n_samples, 2),
        "hum": hum,
        "clicks": clicks,
        "taps": taps,
    }
    # Levels as far apart as those of real background recordings.
    return {
        name: audio.to_counts(sound / np.abs(sound).max() * PEAK * 10 ** (rng.uniform(-30, -8) / 20))
        for name, sound in noises.items()
    }


def _make_test(raw, spoken, sounds, n_clips, rng):
    """Make ``test/audio`` of the further speakers' clips and of silences."""
    clips = [(path, label_of(path.parent.name)) for path in sorted(spoken.rglob("*.wav"))]
    for number in range(n_clips // len(LABELS)):
        sound = sounds[number % len(sounds)]
        start = rng.integers(0, len(sound) - audio.CLIP_SAMPLES)
        path = spoken / f"{number}.wav"
        audio.write_wav(path, sound[start : start + audio.CLIP_SAMPLES])
        clips.append((path, SILENCE))
    sources.hide_labels(clips, raw, "voices_solution.csv", rng)
    files.remove(spoken)


def make_voices(raw="data/raw", n_speakers=SPEAKERS, n_test_clips=TEST_CLIPS, seed=SEED):
    """Make the built-in voices in Kaggle's layout; same arguments, same bytes.

    Parameters
    ----------
    raw : str or Path
        Gets all that Kaggle's archives hold, and ``voices_solution.csv``, the truth of ``test/audio``.
    n_speakers : int, at least 3
        In ``train/audio``; each says the thirty words once.
    n_test_clips : int, at least 12
        In ``test/audio``, all twelve labels alike, by further speakers.

    Returns
    -------
    bool
        False if exactly these voices were there already; something else there is a CourseError.
    """
    raw = Path(raw)
    settings = {"speakers": n_speakers, "test_clips": n_test_clips, "seed": seed, "version": 1}
    if next(files.list_paths(raw), None):
        there = files.read_json(raw / "source.json")
        if isinstance(there, dict) and there.get("voices") == settings:
            return False
        what = sources.describe_source(raw)["name"]
        raise BadUse(
            f"{raw} already holds {what}: move it away to make the {NAME} (an archive that you have downloaded is "
            "unpacked by python -m utils.sources archive PATH)"
        )
    rng = np.random.default_rng([seed, 1])
    words = (*KEYWORDS, *OTHER_WORDS)
    speakers = [{**s, "words": words} for s in draw_speakers(n_speakers + min(TEST_SPEAKERS, n_test_clips), seed)]
    training, testing = speakers[:n_speakers], speakers[n_speakers:]
    _deal_test_words(testing, n_test_clips, rng)
    with files.new_folder(raw, files.NOTHING) as work:
        noises, spoken = make_noises(rng), work / "spoken"
        _make_train(work, training, noises, seed, [(spoken, testing)])
        _make_test(work, spoken, list(noises.values()), n_test_clips, rng)
        files.write_json(work / "source.json", {"name": NAME, "parts": {}, "voices": settings})
    return True


def _make_train(work, speakers, noises, seed, further=()):
    """Make ``train``, with its two lists; ``further``, (folder, speakers) each, are spoken besides."""
    train = work / "train" / "audio"
    groups = [(train, speakers), *further]
    for folder, group in groups:
        for word in {word for speaker in group for word in speaker["words"]}:
            (folder / word).mkdir(parents=True)
    (train / "_background_noise_").mkdir()
    for name, sound in noises.items():
        audio.write_wav(train / "_background_noise_" / f"{name}.wav", sound)
    speak(groups, seed)
    # As in Kaggle's, about a tenth of the speakers is for validation, and a tenth for testing.
    tenth = max(1, len(speakers) // 10)
    for name, group in (("validation", speakers[:tenth]), ("testing", speakers[tenth : 2 * tenth])):
        lines = sorted(f"{word}/{speaker['id']}_nohash_0.wav\n" for speaker in group for word in speaker["words"])
        files.write_text(work / "train" / f"{name}_list.txt", "".join(lines))


def near_misses(word):
    """What sounds nearly like a word, as it is written: other first sounds, other vowels, parts of it."""
    vowels = "aeiou"
    begins = next((i for i, letter in enumerate(word) if letter in vowels), 0)
    found = [first + word[begins:] for first in ("b", "d", "k", "m", "s", "")]
    for i, letter in enumerate(word):
        if letter in vowels:
            found.append(word[:i] + vowels[(vowels.index(letter) + 2) % 5] + word[i + 1 :])
    found += [word[:-1], word[: begins + 2], word[: max(2, len(word) // 2)] * 2]
    return [near for near in dict.fromkeys(found) if len(near) > 1 and near != word]


def make_words(raw, words, n_speakers=WORDS_SPEAKERS, seed=SEED):
    """Any words by the built-in voices, with near misses of them and the other words of the set as *unknown*.

    Parameters
    ----------
    raw : str or Path
        Gets ``train/audio`` and the two lists.
    words : tuple of str
    n_speakers : int
        Each says the words, and some of what is none.
    seed : int

    Returns
    -------
    bool
        False if exactly these words were there already; something else there, or a voice that has no sound for a
        word, is a CourseError.
    """
    settings = {"words": list(words), "speakers": n_speakers, "seed": seed, "version": 1}
    if next(files.list_paths(Path(raw)), None):
        there = files.read_json(Path(raw, "source.json"))
        if isinstance(there, dict) and there.get("voices") == settings:
            return False
        raise BadUse(f"{raw} already holds something else: name another folder with --raw")
    near = dict.fromkeys(near for word in words for near in near_misses(word) if near not in words)
    others = [word for word in OTHER_WORDS if word not in words]
    rng, speakers = np.random.default_rng([seed, 2]), draw_speakers(n_speakers, seed)
    for speaker in speakers:
        chosen = [*rng.choice(list(near), min(len(near), 4), replace=False), *rng.choice(others, 3, replace=False)]
        speaker["words"] = [*words, *map(str, chosen)]
    with files.new_folder(raw, files.NOTHING) as work:
        _make_train(work, speakers, make_noises(rng), seed)
        files.write_json(work / "source.json", {"name": NAME, "parts": {}, "voices": settings})
    return True


def learn_words(words, raw, logrun, seed=SEED):
    """From words that were typed to a network that hears them, measured: what the course does, command by command."""
    started, folder = time.perf_counter(), Path(raw)
    make_words(raw, words, seed=seed)
    main_, sample = folder.with_name(f"{folder.name}_main"), folder.with_name(f"{folder.name}_sample")
    keywords, root = ",".join(words), Path(__file__).parents[1]
    prepare = ["-m", "utils.prepare", "--raw", raw, "--main", main_, "--sample", sample, "--keywords", keywords]
    train = [root / "train_keras.py", "--path_to_data", main_ / "preprocessed", "--logrun", logrun]
    train += ["--keywords", keywords, "--epochs", str(WORDS_EPOCHS)]
    measure = ["-m", "benchmarks.quiet", "--model", Path("runs", logrun), "--path_to_data", main_ / "preprocessed"]
    for name, command in (("spoken", None), ("prepared", prepare), ("trained", train), ("measured", measure)):
        if command:
            search = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
            done = subprocess.run(  # nosec B603
                [sys.executable, *map(str, command)], env={**os.environ, "PYTHONPATH": search}, check=False
            )
            if done.returncode:
                raise CourseError(f"the words could not be {name}: see above")
        print(f"{name} after {(time.perf_counter() - started) / 60:.1f} minutes", flush=True)
    run = Path("runs", logrun)
    cli.tell_result(run, f"hears {' and '.join(words)}", "predict.py", "--model", run, "--listen")


def make_examples(folder, words, seed=SEED):
    """One clip of each word, by a speaker who is not among those of :func:`make_voices`: their paths."""
    speaker = draw_speakers(EXAMPLE_SPEAKER + 1, seed)[-1]
    paths = [Path(folder) / word / f"{speaker['id']}_nohash_0.wav" for word in words]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    speak_block((folder, [{**speaker, "words": words}], seed))
    return paths


def _deal_test_words(speakers, n_clips, rng):
    """Deal out the words of test/audio: the ten keywords and ``unknown`` in equal numbers."""
    hands = [set() for _ in speakers]
    for number in range(n_clips - n_clips // len(LABELS)):
        hand = hands[number % len(speakers)]
        turn = number % (len(KEYWORDS) + 1)
        others = [word for word in OTHER_WORDS if word not in hand]
        hand.add(KEYWORDS[turn] if turn < len(KEYWORDS) else str(rng.choice(others)))
    for speaker, hand in zip(speakers, hands):
        speaker["words"] = sorted(hand)


def main(arguments=None):
    """Command line of ``python -m utils.voices``."""
    parser = cli.Parser(prog="python -m utils.voices", description=f"Make the {NAME} in data/raw.")
    parser.add_argument("--raw", type=cli.path_text, default="data/raw", help="folder to make")
    parser.add_argument("--speakers", type=cli.positive_int, default=SPEAKERS, help="speakers in train/audio")
    parser.add_argument("--seed", type=cli.seed, default=SEED, help="same seed, same bytes")
    parser.add_argument(
        "--words",
        type=parse_keywords,
        metavar="WORD,WORD",
        help="these words instead, with near misses of them; prepared, trained on and measured at once: runs/LOGRUN",
    )
    parser.add_argument("--logrun", type=run_name, default="words", help="name of that run")
    options = parser.parse_args(arguments)
    if options.words:
        raw = Path("data/words") if options.raw == parser.get_default("raw") else options.raw
        return learn_words(options.words, raw, options.logrun, options.seed)
    if options.speakers < 3:
        parser.error("--speakers: at least 3, one each for training, validation and testing")
    new = make_voices(options.raw, options.speakers, seed=options.seed)
    made = f"{NAME}, {options.speakers} speakers" + ("" if new else ", nothing to do")
    then = () if options.raw == "data/raw" else ("--raw", options.raw)
    cli.tell_result(options.raw, made, "-m", "utils.prepare", *then)
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
