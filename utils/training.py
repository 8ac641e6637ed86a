"""What both training scripts share: settings, data, schedule, the result."""

import os
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from utils import audio, datasets, evaluation, models, negatives, runs, trained
from utils.labels import LABELS, SILENCE, UNKNOWN, with_extras
from utils.nets import devices
from utils.nets.changes import Augment, WaveformAugment
from utils.settings import RECIPES, Settings, combine, make_parser, name_run
from utils.system.cli import CourseError
from utils.system.quiet import keras, tf

NOISE_CLIPS = 1000  # of the training set's silence, mixed into other clips
NAMES = {"train": "training", "cv": "validation", "test": "test"}
WORST_CLIPS = 10  # of the validation set, to listen to
NOISES = 200  # made ones, of which a finished network is asked what it hears
TEACHER_SHARE = 0.5  # of what is to be learned, if there is a teacher


def parse_settings(script, description, arguments=None, check=None):
    """Settings of a script from the command line; those of a run that is gone on with come from its folder.

    Parameters
    ----------
    script, description : str
    arguments : list of str, optional
    check : callable, optional
        From settings to what the script cannot do of them, or None.
    """
    parser = make_parser(description)
    given, saved = vars(parser.parse_args(arguments)), None
    # The chief alone has a folder: the workers that follow it go by the flags they are given.
    follows = devices.needs_workers(given.get("strategy", Settings.strategy)) and devices.follows_chief()
    given["logrun"] = name_run(given)  # on --resume, whatever name the run had that was copied there
    if given.get("resume") and not follows:
        saved = runs.read_settings(given["logrun"], script)
    settings = combine(parser, given, saved)
    if check and (objection := check(settings)):
        parser.error(objection)
    return settings


class Data(NamedTuple):
    """What a run learns from, is chosen by and tested on.

    Attributes
    ----------
    sets : dict of str -> datasets.ClipSet
        Of waveforms: train, cv and test.
    name, hash : str
        What it is called; twelve hex digits that name its clips.
    folder : Path
        Where it lies.
    """

    sets: dict
    name: str
    hash: str
    folder: Path

    @property
    def labels(self):
        """The labels, in the order of a network's answers."""
        return self.sets["train"].label_order


def open_data(settings, run, spare):
    """The data of a run: a store, or random data made in the folder ``spare``.

    Raises
    ------
    CourseError
        If it has other labels than it should have, or is not what a run that is gone on with began with.
    """
    path = Path(settings.path_to_data)
    if settings.random_data:
        path = Path(spare)
        labels = with_extras(settings.keywords) if settings.keywords else LABELS
        datasets.write_random_store(path, settings.random_examples, settings.seed, labels)
    sets = datasets.open_store(path)
    labels = sets["train"].label_order
    if settings.keywords and with_extras(settings.keywords) != labels:
        raise CourseError(
            f"{path} was prepared for {','.join(labels)}: leave out --keywords, or run python -m utils.prepare "
            f"--keywords {','.join(settings.keywords)}"
        )
    published = "the original course's published arrays"
    data = Data(sets, sets["test"].inputs[0].settings.get("dataset", published), _hash(sets), path)
    n_clips = ", ".join(f"{len(clip_set):,} {NAMES[name]}" for name, clip_set in sets.items())
    print(f"data: {data.name} (files {data.hash}), {len(labels)} labels, clips for {n_clips}")
    if run and settings.resume:
        run.require_same(data)
    return data


def _hash(sets):
    """Twelve hex digits that name the clips of a store; where they have no names, how many there are."""
    names = [f"{name}/{file}" for name, clip_set in sets.items() for file in clip_set.names or [len(clip_set)]]
    return evaluation.hash_names(names)


def steps_per_epoch(settings, data):
    """Batches that an epoch of a run has."""
    n_clips = len(data.sets["train"])
    n_made = datasets.count_made(n_clips) if settings.negatives else 0
    return -(-(n_clips + n_made) // settings.batch_size)


def network_inputs(sets, as_log_mel, store_folder, spare_folder, with_negatives=False):
    """Training and validation sets as the learning part of a model takes them.

    Log-mel spectrograms and made clips, which are for training alone, are kept beside the waveforms, or in
    ``spare_folder`` where the data is read-only.
    """
    train, cv = sets["train"], sets["cv"]
    folder = Path(store_folder if os.access(store_folder, os.W_OK) else spare_folder)
    if folder != store_folder and (as_log_mel or with_negatives):
        print(f"{store_folder} is read-only: what is computed of it is kept in {folder} for this run")
    if as_log_mel:
        train, cv = (datasets.log_mel_set(clip_set, folder) for clip_set in (train, cv))
    if with_negatives:
        train = datasets.WithMade(train, datasets.made_set(sets["train"], folder, as_log_mel))
    return train, cv


def make_changes(settings, train):
    """What is done to each batch of a training set: augmentation, a teacher's answers, or None."""
    strength = RECIPES[settings.recipe].strength
    augment = make_augment(train, settings.seed, strength) if settings.augment else None
    return teach(augment, load_teacher(settings.teacher, train)) if settings.teacher else augment


def load_teacher(folder, train):
    """Network of a run of ``train_keras.py`` that takes what a training set holds."""
    folder = trained.find_run(folder)
    path, labels = folder / "model.keras", trained.read_labels(folder)
    if not path.exists():
        raise CourseError(f"--teacher {folder} holds no model.keras: name the folder of a run of train_keras.py")
    datasets.require_labels(train, labels, f"--teacher {folder}", "name one that has learned the same labels")
    with tf.device("CPU"):  # as what is done to batches
        teacher = models.load_model(path)
    trained.require_outputs(folder, labels, teacher.output_shape[-1])
    if not train.is_log_mel:
        return teacher
    if not models.has_front_end(teacher):
        raise CourseError(f"--teacher {folder} takes waveforms, and the network it is to teach log-mel spectrograms")
    return models.learning_part(teacher)


def teach(augment, teacher):
    """Augmentation whose labels are half what a trained network says of the augmented clip: distillation.

    Parameters
    ----------
    augment : callable or None
        See :func:`make_augment`.
    teacher : keras.Model
        Takes what ``augment`` gives; ends in logits.

    References
    ----------
    Hinton et al. (2015), Distilling the Knowledge in a Neural Network, arXiv:1503.02531; with a teacher of the same
    size, Furlanello et al. (2018), Born-Again Neural Networks, arXiv:1805.04770.
    """

    def change(X, y, moment):
        if augment:
            X, y = augment(X, y, moment)
        return X, (1 - TEACHER_SHARE) * y + TEACHER_SHARE * tf.nn.softmax(teacher(X, training=False))

    return change


def make_augment(train, seed, strength):
    """Augmentation of a training set, of waveforms or log-mel spectrograms, with its own silence as noise.

    Where there is made silence, half of the noise is of that kind.
    """
    parts = [train.recorded, train.made] if isinstance(train, datasets.WithMade) else [train]
    noise = np.concatenate([_silent_rows(part, NOISE_CLIPS // len(parts)) for part in parts])
    if train.is_log_mel:
        return Augment(noise, seed, strength, train.label_order.index(SILENCE))
    return WaveformAugment(audio.to_waveform(noise), seed, strength)


def _silent_rows(clip_set, most):
    """The first rows of a set that are silence."""
    return clip_set.only(clip_set.y[:, clip_set.label_order.index(SILENCE)] == 1).first(most)


def make_schedule(recipe, learning_rate, total_steps):
    """Learning rate by step: constant, or a short rise and a cosine to zero."""
    if not recipe.cosine:
        return learning_rate
    warm_up = max(1, int(recipe.warm_up * total_steps))
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=max(1, total_steps - warm_up),
        warmup_target=learning_rate,
        warmup_steps=warm_up,
    )


def one_of_each_label(clip_set):
    """The first clip of each label in the first rows of a set: (label, samples)."""
    rows, y = next(clip_set.blocks())
    said = y.argmax(axis=1)
    return [(clip_set.label_order[index], rows[said == index][0]) for index in sorted(set(said))]


def confuse(predict, batches):
    """Confusion matrix of what a network answers to batches of inputs and labels: rows are what was said."""
    counts = 0
    for X, y in batches:
        counts += tf.math.confusion_matrix(tf.argmax(y, 1), tf.argmax(predict(X), 1), num_classes=y.shape[-1])
    return counts.numpy()


def predict_all(predict, clip_set, batch_size=64):
    """What a network answers to each row of a set of waveforms, in row order: shape (n, n_labels)."""
    return np.concatenate([predict(X) for X, _ in datasets.evaluation_dataset(clip_set, batch_size)])


def worst_clips(clip_set, logits):
    """The clips of a set that were most surely heard wrong: (what was said and heard, samples)."""
    said, heard = clip_set.y.argmax(axis=1), logits.argmax(axis=1)
    losses = tf.nn.softmax_cross_entropy_with_logits(clip_set.y.astype(np.float32), logits).numpy()
    wrong = np.flatnonzero(said != heard)
    worst = wrong[np.argsort(-losses[wrong], kind="stable")][:WORST_CLIPS]
    kept = np.sort(worst)
    rows = [row for block, _ in clip_set.only(np.isin(np.arange(len(said)), kept)).blocks() for row in block]
    samples, labels = dict(zip(kept, rows)), clip_set.label_order
    for place, index in enumerate(worst, start=1):
        yield f"{place:02d} {labels[said[index]]}, heard {labels[heard[index]]}", samples[index]


def test(settings, model, data, run, predict):
    """Test the finished network, once; the run ends with what ``result.json`` holds of it.

    Parameters
    ----------
    settings : Settings
    model : keras.Model
        Whose parameters and multiply-accumulates are counted.
    data : Data
    run : runs.Run
    predict : callable
        From waveforms to logits.
    """
    scores = {}
    for name in ("cv", "test"):
        clip_set = data.sets[name]
        logits = predict_all(predict, clip_set)
        found = logits.argmax(axis=1)
        scores[name] = evaluation.score(clip_set.y.argmax(axis=1), found, clip_set.names, clip_set.label_order)
        if name == "cv":
            run.board.show_clips("worst", worst_clips(clip_set, logits), run.step)
    run.board.show_result(run.step, scores["test"]["accuracy"])
    result = {
        "dataset": data.name,
        "dataset_hash": data.hash,
        "model": settings.model,
        "parameters": model.count_params(),
        "macs": models.count_macs(model),
        "epochs": run.epoch,
        "seconds": round(run.seconds, 1),
        "cv_accuracy": scores["cv"]["accuracy"],
        "test_accuracy": scores["test"]["accuracy"],
        "test_interval": scores["test"]["interval"],
        "per_label": scores["test"]["per_label"],
        "confusion": scores["test"]["confusion"],
    }
    if not settings.random_data:
        result["noises_called_a_command"] = count_commands(predict, data)
    run.finish(result)
    report(result, data.sets)
    has_make, is_latest = sys.platform != "win32", run.final == trained.LATEST
    model = "" if is_latest else f" --model {run.final}"
    is_usual = has_make and settings.logdir == Settings.logdir
    print(
        f"the run:     {run.final}\n"
        f"hear it:     {'make app' if has_make and is_latest else f'python app.py{model}'}\n"
        f"use it:      python predict.py{model} me.wav\n"
        f"see it:      {'make tensorboard' if is_usual else f'tensorboard --logdir {settings.logdir} --host 127.0.0.1'}"
    )


def count_commands(predict, data):
    """How many of ``NOISES`` made noises, of which training had none, are called a command."""
    seed = negatives.SEED + 1
    noises, _ = negatives.make_all(SILENCE, NOISES, datasets.speech_of(data.sets["test"]), seed)
    found = np.argmax(predict(audio.to_waveform(noises)), axis=1)
    return int(np.isin(found, [i for i, label in enumerate(data.labels) if label not in (SILENCE, UNKNOWN)]).sum())


def report(result, sets):
    """Print what came out, beside chance, and where it is weak."""
    low, high = result["test_interval"]
    names, labels = sets["test"].names, sets["test"].label_order
    interval = f"95 % interval {low:.3f} to {high:.3f} over {'speakers' if names else 'clips'}"
    if names and (n_people := evaluation.count_speakers(names)) < evaluation.FEW_SPEAKERS:
        interval = f"{n_people} speaker(s): too few speakers for an interval over them"
    confusion = np.array(result["confusion"])
    chance = confusion.sum(axis=1).max() / confusion.sum()
    print(
        f"validation:  {result['cv_accuracy']:.3f} of {len(sets['cv']):,} clips\n"
        f"test:        {result['test_accuracy']:.3f} of {len(sets['test']):,} clips ({interval}); "
        f"always the commonest label: {chance:.3f}"
    )
    if "noises_called_a_command" not in result:
        print("             the data is random: there is nothing to learn, and no more than chance to get")
        return
    worst = np.argsort(-(confusion - np.diag(confusion.diagonal())), axis=None, kind="stable")[:3]
    pairs = [divmod(int(index), len(labels)) for index in worst]
    mistakes = [
        f"{labels[said]} as {labels[heard]} ({confusion[said, heard]} of {confusion[said].sum()})"
        for said, heard in pairs
        if said != heard and confusion[said, heard]
    ]
    print(f"heard wrong: {', '.join(mistakes) or 'nothing'}")
    print(f"quiet:       {result['noises_called_a_command']} of {NOISES} made noises called a command")


def describe(settings, model, steps):
    """The network and the recipe of a run, a line each; ``model`` is counted."""
    changes = "changed at random in each epoch" if settings.augment else "as they are"
    made = ", with made sounds that are no command" if settings.negatives else ""
    return (
        f"network: {settings.model}, {model.count_params():,} parameters, "
        f"{models.count_macs(model) / 1e6:.1f} M multiply-accumulates a clip\n"
        f"recipe: {settings.recipe}, {settings.epochs} epochs of {steps} steps, {settings.batch_size} clips a step "
        f"({changes}{made}), learning rate {settings.learning_rate:g}"
    )
