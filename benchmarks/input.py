"""What share of a training step goes into its input: reading, front end, augmentation.

    python -m benchmarks.input                    on data/main/preprocessed, which is left as it is
    python -m benchmarks.input --json

The same training step is fed in several ways, in turn; the share is what of a step's time is saved when it
is fed a single batch, kept in memory, again and again. Medians over the turns.
"""

import json
import sys
import tempfile
import time

import numpy as np

import train_keras
from benchmarks import make_parser
from utils import datasets, models, training
from utils.settings import RECIPES, Settings
from utils.system import cli
from utils.system.quiet import keras, tf

TURNS = 40  # after some that warm up; short ones, as the machine's speed swings
WARM_UP = 3
STEPS = 32  # a turn: two of the groups of chunks that are read at a time
SEED = 0


def make_feeds(sets, folder, batch_size):
    """Ways to feed a training step: what -> (inputs are waveforms, data set)."""
    train = datasets.log_mel_set(sets["train"], folder)
    augment = training.make_augment(train, SEED, RECIPES["default"].strength)
    augmented = datasets.training_dataset(train, batch_size, SEED, augment=augment)
    waveforms = datasets.training_dataset(sets["train"], batch_size, SEED)
    return {
        "one batch in memory": (False, _repeat_one(augmented)),
        "log-mel, no augmentation": (False, datasets.training_dataset(train, batch_size, SEED)),
        "log-mel, augmented": (False, augmented),
        "waveforms, front end in the model": (True, waveforms),
    }


def _repeat_one(dataset):
    """The first batch of a data set, again and again."""
    return tf.data.Dataset.from_tensors(next(iter(dataset))).repeat()


def make_steps(n_labels, from_waveforms):
    """``STEPS`` training steps of the default model, or of its part after the front end."""
    model = models.build_model(n_labels=n_labels)
    part = model if from_waveforms else models.learning_part(model)
    train_keras.compile_part(part, RECIPES["default"], Settings(), STEPS)
    part.make_train_function()

    def take_steps(batches):
        for _ in range(STEPS // part.steps_per_execution):
            part.train_function(batches)

    return take_steps


def measure(feeds, n_labels):
    """Steps a second of each feed, one number a turn."""
    by_form = {form: make_steps(n_labels, form) for form in (False, True)}
    runs = {what: (by_form[form], iter(dataset)) for what, (form, dataset) in feeds.items()}
    rates = {what: [] for what in feeds}
    for turn in range(WARM_UP + TURNS):
        for what, (take_steps, batches) in runs.items():
            started = time.perf_counter()
            take_steps(batches)
            if turn >= WARM_UP:
                rates[what].append(STEPS / (time.perf_counter() - started))
    return rates


def main(arguments=None):
    """Measure and print."""
    options = make_parser(__doc__, data=True).parse_args(arguments)
    sets = datasets.open_store(options.path_to_data)
    batch_size = RECIPES["default"].batch_size
    keras.utils.set_random_seed(SEED)
    with tempfile.TemporaryDirectory() as folder:
        rates = measure(make_feeds(sets, folder, batch_size), len(sets["train"].label_order))
    best = np.array(rates["one batch in memory"])
    if not options.json:
        print(f"{'':36}{'steps/s':>9}{'examples/s':>12}{'share':>8}")
    for what, values in rates.items():
        rate, share = float(np.median(values)), float(np.median(1 - np.array(values) / best))
        if options.json:
            row = {"what": what, "steps/s": rate, "examples/s": rate * batch_size, "share": share}
            print(json.dumps(row), flush=True)
        else:
            print(f"{what:36}{rate:9.1f}{rate * batch_size:12.0f}{share:8.1%}", flush=True)


if __name__ == "__main__":
    sys.exit(cli.run(main))
