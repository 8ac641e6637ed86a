"""What 100,000 clips take, and an hour of stream: whether time grows with them, and memory does not.

    python -m benchmarks.load
    python -m benchmarks.load --json

Clips are made: noise, each another one, by 1,000 speakers. Split and store run in processes of their own. The stream is
one minute of built-in voices sixty times over: what is heard in the last minute must be what was heard in the second,
58 minutes later to the sample. Takes 10 GB of disk in the folder for temporary files.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import make_parser, measure, peak_mb
from utils import audio, trained, voices
from utils.corpus import LISTS, NOISE_FOLDER
from utils.labels import KEYWORDS, OTHER_WORDS
from utils.system import cli

SIZES = (12_500, 25_000, 50_000, 100_000)
SPEAKERS = 1000
MINUTES = 60
EARLY = 5  # minute after which memory should be what it will be
JOBS = {
    "split": ("-c", "from utils import splits; splits.split()"),
    "store": ("-m", "utils.prepare"),
}


def make_clips(raw, n_clips):
    """Kaggle's layout with so many clips, of which no two are the same."""
    rng = np.random.default_rng(0)
    words = (*KEYWORDS, *OTHER_WORDS)
    noise = rng.normal(0, 1000, audio.CLIP_SAMPLES).astype(np.int16)
    folder = raw / "train" / "audio"
    for word in (*words, NOISE_FOLDER):
        (folder / word).mkdir(parents=True)
    listed = {name: [] for name in LISTS.values()}
    for number in range(n_clips):
        noise[:2] = divmod(number, 30_000)
        speaker, word = number % SPEAKERS, words[number // SPEAKERS % len(words)]
        name = f"{word}/{speaker:08x}_nohash_{number // (SPEAKERS * len(words))}.wav"
        audio.write_wav(folder / name, noise)
        if speaker < len(LISTS) * SPEAKERS // 10:  # a tenth of the speakers each
            listed[list(listed)[speaker * 10 // SPEAKERS]].append(name)
    for name, lines in listed.items():
        (raw / "train" / name).write_text("\n".join(lines))
    for name, sound in voices.make_noises(rng).items():
        audio.write_wav(folder / NOISE_FOLDER / f"{name}.wav", sound)


def make_minute():
    """A minute of words over noise; what is said in it."""
    from utils import stream

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        paths = voices.make_examples(folder, KEYWORDS)
        clips = np.stack([audio.fit_second(audio.read_wav(path)) for path in paths])
    background = voices.make_noises(rng, seconds=20)["pink_noise"].reshape(-1, audio.CLIP_SAMPLES)
    samples, words = stream.make_stream(np.tile(clips, (3, 1)), KEYWORDS * 3, background, 20, rng)
    return samples[: 60 * audio.SAMPLE_RATE], [word for word in words if word.end < 60]


def hear_an_hour(minute):
    """Feed a minute again and again: seconds, growth of memory in MB, words a minute; CourseError if they drift."""
    from utils import recogniser, stream  # not before: a process has its parent's memory for its own peak

    listener, heard, early = stream.Stream(recogniser.load(trained.PRETRAINED)), [], 0
    started = time.perf_counter()
    for number in range(MINUTES):
        heard.append([(word.label, word.seconds - 60 * number) for word in listener.feed(minute)])
        if number + 1 == EARLY:
            early = peak_mb(resource.getrusage(resource.RUSAGE_SELF))
    seconds = time.perf_counter() - started
    for number, words in enumerate(heard[1:], start=2):
        same = [label for label, _ in words] == [label for label, _ in heard[1]]
        if not same or not np.allclose([at for _, at in words], [at for _, at in heard[1]], atol=1e-6):
            raise cli.CourseError(f"minute {number} of the stream was heard differently from the second")
    return seconds, peak_mb(resource.getrusage(resource.RUSAGE_SELF)) - early, len(heard[1])


def main(arguments=None):
    """Measure and print."""
    options = make_parser(__doc__).parse_args(arguments)

    def show(row):
        text = f"{row['what']:8}{row['size']:>9,}{row['seconds']:9.1f}{row['peak_mb']:9.0f}  {row['note']}"
        print(json.dumps(row) if options.json else text, flush=True)

    if not options.json:
        print(f"{'':8}{'size':>9}{'seconds':>9}{'MB':>9}")
    for n_clips in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            make_clips(Path(folder) / "data" / "raw", n_clips)
            for job, command in JOBS.items():
                peak, seconds = measure([sys.executable, *command], folder)
                note = f"{n_clips / seconds:,.0f} clips/s"
                show({"what": job, "size": n_clips, "seconds": seconds, "peak_mb": peak, "note": note})
    seconds, growth, n_words = hear_an_hour(make_minute()[0])
    note = f"MB more than after {EARLY} of {MINUTES} minutes; the same {n_words} words in each"
    show({"what": "stream", "size": MINUTES * 60, "seconds": seconds, "peak_mb": growth, "note": note})


if __name__ == "__main__":
    sys.exit(cli.run(main))
