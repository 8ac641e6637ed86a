"""How well and how fast words are heard in long recordings.

    python -m benchmarks.streams                      the model that predict.py takes
    python -m benchmarks.streams --model runs/small
    python -m benchmarks.streams --json

Streams are the clips of a set in random order, 1.5 to 4 seconds apart, over the background recordings of that set.
:mod:`benchmarks.quiet` measures what is heard where no command is said.
"""

import itertools
import json
import os
import sys
import time

import numpy as np

from benchmarks import make_parser
from utils import datasets, recogniser, stream
from utils.labels import SILENCE
from utils.system import cli

SNRS_DB = (20, 10, 0)
SEED = 0


def make_stream(clip_set, snr_db):
    """A stream of all words of a set: samples, words."""
    clips = np.concatenate([rows for rows, _ in clip_set.blocks()])
    labels = np.array(clip_set.labels)
    said = labels != SILENCE
    rng = np.random.default_rng(SEED)
    return stream.make_stream(clips[said], labels[said], clips[~said], snr_db, rng)


def listen(model, samples):
    """Probabilities of all steps, and how many times faster than real time they were computed."""
    started = time.perf_counter()
    rows = np.concatenate(list(stream.Stream(model).listen(samples)))
    return rows, len(samples) / stream.SAMPLE_RATE / (time.perf_counter() - started)


def error_rate(scores):
    """Keywords missed, taken for others, or heard where there was none, for each keyword said."""
    return 1 - scores["matched"] + scores["false_alarms"] / scores["keywords"]


def main(arguments=None):
    """Measure and print."""
    parser = make_parser(__doc__, data=True)
    parser.add_argument(
        "--model", type=cli.path_text, help="run folder (default: runs/latest, or pretrained where there is none)"
    )
    options = parser.parse_args(arguments)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core
    sets = datasets.open_store(options.path_to_data)
    model = recogniser.load(options.model)
    datasets.require_labels(sets["test"], model.labels, model.folder)
    if not options.json:
        print(f"{'':14}{'matched':>9}{'wrong':>8}{'false alarms/h':>16}{'errors':>8}{'latency':>9}{'x real time':>13}")
    for name, snr_db in itertools.product(("cv", "test"), SNRS_DB):
        samples, words = make_stream(sets[name], snr_db)
        rows, speed = listen(model, samples)
        detections = stream.make_decoder(model).decode(rows)
        scores = stream.score_stream(detections, words, len(samples) / stream.SAMPLE_RATE)
        row = {"set": name, "snr_db": snr_db, **scores, "error_rate": error_rate(scores), "times_real_time": speed}
        if options.json:
            print(json.dumps(row), flush=True)
            continue
        print(
            f"{name:5}{snr_db:5} dB {row['matched']:9.3f}{row['wrong']:8.3f}{row['false_alarms_per_hour']:16.1f}"
            f"{row['error_rate']:8.3f}{row['latency_s']:7.2f} s{speed:13.0f}",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(cli.run(main))
