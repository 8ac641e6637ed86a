"""What each part of recipe `best` is worth: short runs that differ from it in one thing, judged on validation.

    python -m benchmarks.ablation                 on data/main/preprocessed
    python -m benchmarks.ablation --json

Runs that have ended are kept in runs/ablation: stop it when you like, the same command goes on. A run whose
settings or clips have changed since is run anew. The test set is not opened. What costs in a short run may pay in a
long one, and the other way round: winners are tried again at length.
"""

import dataclasses
import hashlib
import itertools
import json
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import train_keras
from benchmarks import make_parser
from utils import datasets, evaluation, features, models, store, training
from utils.settings import RECIPES, Settings
from utils.system import cli, files
from utils.system.quiet import keras

EPOCHS = 20  # three to four minutes on one core
SEEDS = (0, 1)
FOLDER = Path("runs/ablation")
SHIFTS = (-8, -4, 0, 4, 8)  # frames, of the same clip at test time


@dataclass(frozen=True)
class Variant:
    """One thing that differs: the recipe, its augmentation, the rows of an epoch, or who says what is right."""

    changes: dict = field(default_factory=dict)  # of the recipe
    strength: dict = field(default_factory=dict)  # of its augmentation
    balanced: bool = False
    taught: bool = False

    @property
    def recipe(self):
        """What is trained."""
        best = RECIPES["best"]
        strength = dataclasses.replace(best.strength, **self.strength)
        return dataclasses.replace(best, epochs=EPOCHS, strength=strength, **self.changes)

    def path(self, seed, clips):
        """Where the result of a run is kept, by all that it depends on."""
        whole = repr((self.recipe, self.balanced, self.taught, clips))
        return FOLDER / f"{hashlib.sha256(whole.encode()).hexdigest()[:12]}_{seed}.json"


BASE = "recipe best"
VARIANTS = {
    BASE: Variant(),
    "no augmentation": Variant({"augment": False}),
    "no shift": Variant(strength={"shift_frames": 0}),
    "no noise": Variant(strength={"noise_probability": 0.0}),
    "no gain": Variant(strength={"gain_db": (0.0, 0.0)}),
    "no masks": Variant(strength={"masks": 0}),
    "no warps": Variant(strength={"time_warp": 0.0, "mel_warp": 0.0}),
    "no tone": Variant(strength={"tone_db": 0.0}),
    "no endless noise": Variant(strength={"endless_noise": False}),
    "no made sounds": Variant({"negatives": False}),
    "no mixup": Variant(strength={"mixup": 0.0}),
    "no label smoothing": Variant({"label_smoothing": 0.0}),
    "no warm-up": Variant({"warm_up": 0.0}),
    "constant rate": Variant({"cosine": False}),
    "balanced sampling": Variant(balanced=True),
    "distillation": Variant(taught=True),
}


def balance(train, folder, seed):
    """The same clips, those of rare labels stored several times, so that all labels are as common."""
    counts = train.y.sum(axis=0)
    rng = np.random.default_rng(seed)
    times = counts.max() / counts[train.y.argmax(axis=1)]
    times = np.floor(times).astype(int) + (rng.random(len(train)) < times % 1)
    path, part, turns = Path(folder) / "balanced.bc", train.inputs[0], iter(times)
    blocks = (np.repeat(rows, list(itertools.islice(turns, len(rows))), axis=0) for rows, _ in train.blocks())
    store.write_array(path, blocks, part.shape[1:], part.dtype)
    array = store.open_array(path)
    return datasets.ClipSet(train.name, [array], np.repeat(train.y, times, axis=0), train.label_order, train.is_log_mel)


def shift(X, frames):
    """Spectrograms moved in time; silence comes in."""
    moved = np.full_like(X, np.log(features.ENERGY_FLOOR))
    size = X.shape[1]
    moved[:, max(0, frames) : size + min(0, frames)] = X[:, max(0, -frames) : size + min(0, -frames)]
    return moved


def run(variant, seed, train, cv, weights, spare):
    """Train once; accuracy and loss on validation, by one look and averaged over some shifts.

    The weights of the whole recipe are kept in the file ``weights``, for distillation.
    """
    recipe = variant.recipe
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    recorded = balance(train.recorded, spare, seed) if variant.balanced else train.recorded
    train = datasets.WithMade(recorded, train.made) if recipe.negatives else recorded
    part = models.learning_part(models.build_model(recipe.model, len(train.label_order)))
    augment = training.make_augment(train, seed, recipe.strength) if recipe.augment else None
    if variant.taught:
        teacher = keras.models.clone_model(part)
        teacher.load_weights(weights)
        augment = training.teach(augment, teacher)
    steps = datasets.steps_per_epoch(train, recipe.batch_size)
    train_keras.compile_part(part, recipe, Settings(recipe="best", epochs=EPOCHS), steps)
    started = time.perf_counter()
    part.fit(
        datasets.training_dataset(train, recipe.batch_size, seed, augment=augment),
        steps_per_epoch=steps,
        epochs=EPOCHS,
        shuffle=False,
        verbose=0,
    )
    seconds = time.perf_counter() - started
    if variant == VARIANTS[BASE]:
        part.save_weights(weights)
    X, truth = np.concatenate([rows for rows, _ in cv.blocks()]), cv.y.argmax(axis=1)
    said = {frames: keras.ops.softmax(part.predict(shift(X, frames), batch_size=256, verbose=0)) for frames in SHIFTS}
    once, averaged = np.array(said[0]), np.mean([np.array(p) for p in said.values()], axis=0)
    return {
        "cv_accuracy": float(np.mean(once.argmax(axis=1) == truth)),
        "cv_loss": float(-np.log(once[np.arange(len(truth)), truth] + 1e-9).mean()),
        "cv_accuracy_shifts": float(np.mean(averaged.argmax(axis=1) == truth)),
        "seconds": seconds,
    }


def summarize(variant, results, base):
    """A row of the table: means over the seeds, and how far from the whole recipe."""
    accuracy, loss = (np.mean([result[key] for result in results]) for key in ("cv_accuracy", "cv_loss"))
    whole = np.mean([result["cv_accuracy"] for result in base])
    return {
        "variant": variant,
        "cv_accuracy": float(accuracy),
        "by_seed": [result["cv_accuracy"] for result in results],
        "difference": float(accuracy - whole),
        "cv_loss": float(loss),
        "seconds": float(np.mean([result["seconds"] for result in results])),
    }


def main(arguments=None):
    """Run what has not been run, print the table."""
    options = make_parser(__doc__, data=True).parse_args(arguments)
    sets = datasets.open_store(options.path_to_data)
    FOLDER.mkdir(parents=True, exist_ok=True)
    clips, results = evaluation.hash_names(sets["train"].names + sets["cv"].names), {}
    with tempfile.TemporaryDirectory() as spare:
        train, cv = training.network_inputs(sets, True, Path(options.path_to_data), Path(spare), True)
        runs = [(name, seed) for name in VARIANTS for seed in SEEDS]
        for name, seed in cli.progress(runs, desc="ablation", unit="run"):
            path = VARIANTS[name].path(seed, clips)
            result = files.read_json(path)
            if result is None:
                weights = VARIANTS[BASE].path(seed, clips).with_suffix(".weights.h5")
                result = {"variant": name, **run(VARIANTS[name], seed, train, cv, weights, spare)}
                files.write_json(path, result)
            results.setdefault(name, []).append(result)
    rows = [summarize(name, results[name], results[BASE]) for name in VARIANTS]
    shifted = [{**result, "cv_accuracy": result["cv_accuracy_shifts"]} for result in results[BASE]]
    rows.append(summarize(f"{len(SHIFTS)} shifts at test time", shifted, results[BASE]))
    if not options.json:
        print(f"{'':26}{'accuracy':>10}{'difference':>12}   {'by seed':16}{'loss':>6}{'seconds':>9}")
    for row in rows:
        if options.json:
            print(json.dumps(row), flush=True)
            continue
        by_seed = " ".join(f"{accuracy:.3f}" for accuracy in row["by_seed"])
        numbers = f"{row['cv_accuracy']:10.3f}{row['difference']:+12.3f}"
        print(f"{row['variant']:26}{numbers}   {by_seed:16}{row['cv_loss']:6.3f}{row['seconds']:9.0f}")


if __name__ == "__main__":
    sys.exit(cli.run(main))
