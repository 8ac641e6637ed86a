"""Training speed of networks of the zoo, beside their twins in PyTorch.

    pip install --group peers                     what this needs beside req.txt
    python -m benchmarks.training                 on data/main/preprocessed, which is left as it is
    python -m benchmarks.training --json

Both train on the same batch, kept in memory, from the same weights: forward, backward, AdamW, accuracy. They
take turns, and the ratio is taken turn by turn; medians over the turns. Before that, both must answer alike.
"""

import json
import sys
import time

import numpy as np
import torch

import train_keras
from benchmarks import make_parser, twins
from utils import audio, datasets, features, models
from utils.nets.architectures import SubSpectralNormalization
from utils.settings import RECIPES, Settings
from utils.system import cli
from utils.system.quiet import keras, tf

TURNS = 15  # after one that warms up; short ones, as the machine's speed swings
TURN_SECONDS = 1.0
BATCH_CLIPS = 64
CONV1D_CLIPS = 8  # of the original's network, which trains on some clips a second
EPOCH_STEPS = 81  # of 5,152 clips
SEED = 0


def spread_normalizations(network):
    """Give each channel of each normalization its own numbers.

    Fresh ones are all alike, and a twin whose channels were mixed up would answer the same.
    """
    rng = np.random.default_rng(SEED)
    for layer in network.layers:
        if isinstance(layer, (keras.layers.BatchNormalization, SubSpectralNormalization)):
            for weight in layer.weights:
                weight.assign(rng.uniform(0.5, 1.5, weight.shape))


def check_alike(network, twin, X):
    """Largest difference of two networks' logits in evaluation mode, as a share of the largest logit.

    Raises
    ------
    CourseError
        If it is more than rounding.
    """
    twin.eval()
    with torch.no_grad():
        theirs = twin(torch.from_numpy(X)).numpy()
    ours = network(X, training=False).numpy()
    difference = float(np.abs(ours - theirs).max() / np.abs(ours).max())
    if difference > 1e-4:
        raise cli.CourseError(f"logits differ by {difference:.1g} from those of {type(twin).__name__}: it is no twin")
    return difference


def make_keras_step(network, X, y):
    """A function that trains a network for some steps, as ``train_keras`` does."""
    train_keras.compile_part(network, RECIPES["default"], Settings(), EPOCH_STEPS)
    network.make_train_function()
    batches = iter(tf.data.Dataset.from_tensors((X, y)).repeat())

    def step():
        network.train_function(batches)
        return network.steps_per_execution

    return step


def make_torch_step(twin, layout, X, y):
    """The same in PyTorch; ``layout`` is that of pictures in memory."""
    twin = twin.train().to(memory_format=layout)
    recipe = RECIPES["default"]
    optimizer = torch.optim.AdamW(twin.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    loss = torch.nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    X, classes = torch.from_numpy(X), torch.from_numpy(y.argmax(axis=1))
    hits = torch.zeros(())

    def step():
        optimizer.zero_grad()
        logits = twin(X)
        loss(logits, classes).backward()
        optimizer.step()
        hits.add_((logits.detach().argmax(1) == classes).float().mean())
        return 1

    return step


def take_turns(steps):
    """Steps a second of several functions: what -> one number a turn."""
    rates = {what: [] for what in steps}
    for turn in range(1 + TURNS):
        for what, step in steps.items():
            started, n_steps = time.perf_counter(), 0
            while n_steps == 0 or time.perf_counter() - started < TURN_SECONDS:
                n_steps += step()
            if turn > 0:
                rates[what].append(n_steps / (time.perf_counter() - started))
    return {what: np.array(values) for what, values in rates.items()}


def measure(name, X, y):
    """One network and its twin, as a row of the table."""
    keras.utils.set_random_seed(SEED)
    network = models.learning_part(models.build_model(name, y.shape[1]))
    spread_normalizations(network)
    difference = check_alike(network, twins.make_twin(name, network), X)
    steps = {"keras": make_keras_step(network, X, y)}
    for layout in (torch.contiguous_format, torch.channels_last):
        steps[layout] = make_torch_step(twins.make_twin(name, network), layout, X, y)
    rates = take_turns(steps)
    ours = rates.pop("keras")
    theirs = max(rates.values(), key=np.median)  # PyTorch in the layout that suits it
    return {
        "network": name,
        "clips": len(X),
        "keras/s": float(np.median(ours)) * len(X),
        "torch/s": float(np.median(theirs)) * len(X),
        "ratio": float(np.median(ours / theirs)),
        "difference": difference,
    }


def main(arguments=None):
    """Measure and print."""
    options = make_parser(__doc__, data=True).parse_args(arguments)
    rows, y = next(datasets.open_store(options.path_to_data)["train"].blocks())
    waveforms, y = audio.to_waveform(rows[:BATCH_CLIPS]), y[:BATCH_CLIPS].astype(np.float32)
    log_mel = features.log_mel(waveforms)
    if not options.json:
        print(f"{'':14}{'batch':>6}{'keras/s':>9}{'torch/s':>9}{'ratio':>7}{'difference':>12}")
    for name in twins.TWINS:
        X, n_clips = (waveforms, CONV1D_CLIPS) if name == "conv1d" else (log_mel, BATCH_CLIPS)
        row = measure(name, X[:n_clips], y[:n_clips])
        line = f"{name:14}{row['clips']:6}{row['keras/s']:9.1f}{row['torch/s']:9.1f}{row['ratio']:7.2f}"
        print(json.dumps(row) if options.json else f"{line}{row['difference']:12.0e}", flush=True)


if __name__ == "__main__":
    sys.exit(cli.run(main))
