"""The settings of a training run: the flags of both scripts, and what each model needs by default."""

import argparse
import dataclasses
import difflib
import os
import sys
from dataclasses import dataclass

from utils import corpus, models
from utils.labels import parse_keywords
from utils.system import cli, files
from utils.system.names import find_fault
from utils.trained import RANDOM_RUN, RUNS

RANDOM_EPOCHS = 5  # there is nothing to learn from random data
STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker")  # see utils.nets.devices


@dataclass(frozen=True)
class Augmentation:
    """How strongly clips are changed in training; drawn anew for each clip."""

    shift_frames: int = 10  # up to 100 ms earlier or later
    noise_probability: float = 0.8
    snr_db: tuple = (-5.0, 30.0)  # of speech over background noise
    gain_db: tuple = (-12.0, 6.0)
    masks: int = 2  # of each kind
    mask_frames: int = 20  # longest stretch of time that is hidden
    mask_mels: int = 8  # widest band that is hidden
    time_warp: float = 0.0  # share by which a clip is said faster or slower at most
    mel_warp: float = 0.0  # share by which mel bins are moved up or down at most: as a shorter or longer throat does
    tone_db: float = 0.0  # how far a random curve over frequency strays, as microphones and rooms make it
    endless_noise: bool = False  # noise and silence begin anywhere and go round, so that none is learned by heart
    mixup: float = 0.0  # alpha of the Beta distribution of a clip's weight beside another clip; 0 mixes none


# More kinds of change, but noise never louder than the word and shorter masks: networks that had to call what was
# left of a word by its name heard words in noise. Without mixup they were surer of all, noise too (benchmarks/tried).
STRONG = Augmentation(
    snr_db=(0.0, 30.0),
    gain_db=(-15.0, 6.0),
    mask_frames=12,
    time_warp=0.12,
    mel_warp=0.1,
    tone_db=6.0,
    endless_noise=True,
    mixup=0.2,
)


@dataclass(frozen=True)
class Recipe:
    """What is trained, and how, unless flags say otherwise."""

    model: str
    epochs: int
    batch_size: int
    learning_rate: float
    warm_up: float = 0.0  # share of all steps in which the rate rises
    cosine: bool = False  # whether the rate then falls along a cosine
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    augment: bool = True
    negatives: bool = True
    strength: Augmentation = dataclasses.field(default_factory=Augmentation)


_DEFAULT = Recipe(
    model=models.DEFAULT,
    epochs=72,
    batch_size=64,
    learning_rate=4e-3,
    warm_up=0.03,
    cosine=True,
    weight_decay=0.01,
    label_smoothing=0.1,
)
RECIPES = {
    "default": _DEFAULT,
    "best": dataclasses.replace(_DEFAULT, model="resnet10", epochs=400, strength=STRONG),
    # As the original course trained its network, with --no-negatives; its script had two epochs.
    "original": Recipe(model="conv1d", epochs=20, batch_size=32, learning_rate=1e-4, augment=False),
}


def one_of(what, names):
    """Argument type: one of some names, or an error that suggests the nearest one."""

    def parse(text):
        if text in names:
            return text
        near = difflib.get_close_matches(text, names, n=1)
        hint = f", did you mean {near[0]}?" if near else f": there are {', '.join(names)}"
        raise argparse.ArgumentTypeError(f"no {what} {text!r}{hint}")

    return parse


def parse_bool(text):
    """Argument type: True or False, written in any case."""
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() in words:
        return words[text.lower()]
    raise argparse.ArgumentTypeError(f"{text!r} is neither True nor False")


def run_name(text):
    """Argument type: a name that a folder may have."""
    fault = find_fault(text)
    if fault or text.startswith("."):
        raise argparse.ArgumentTypeError(f"{text!r} {fault or 'would be a hidden folder'}")
    return text


def _flag(text, type_=None, default=None, **settings):
    return dataclasses.field(default=default, metadata={"help": text, "type": type_, **settings})


def _on_or_off(text):
    return _flag(text, action=argparse.BooleanOptionalAction)


def _by_recipe(key):
    first, *others = ((name, _plain(getattr(recipe, key))) for name, recipe in RECIPES.items())
    return "; ".join([first[1], *(f"{value} in {name}" for name, value in others if value != first[1])])


def _plain(value):
    """A value in the words of a help text."""
    return ("off", "on")[value] if isinstance(value, bool) else str(value)


@dataclass
class Settings:
    """One training run; each field is a flag of both scripts."""

    path_to_data: str = _flag("folder of the arrays to train on", cli.path_text, "data/main/preprocessed")
    random_data: bool = _flag(
        "train on random data, to try the code", parse_bool, False, nargs="?", const=True, metavar="BOOL"
    )
    random_examples: int = _flag("clips of random data", cli.positive_int, 512, metavar="N")
    keywords: tuple = _flag(
        "words that the arrays must be made for (default: what they are)", parse_keywords, metavar="WORD,WORD"
    )
    recipe: str = _flag(
        f"what the flags below are set to if they are not given: one of {', '.join(RECIPES)} (default: original for "
        "conv1d, default for others)",
        one_of("recipe", RECIPES),
        metavar="NAME",
    )
    model: str = _flag(
        f"one of {', '.join(models.NETWORKS)}; default: {_by_recipe('model')}",
        one_of("model", models.NETWORKS),
        metavar="NAME",
    )
    epochs: int = _flag(
        f"default: {_by_recipe('epochs')}, {RANDOM_EPOCHS} on random data", cli.positive_int, metavar="N"
    )
    batch_size: int = _flag(f"default: {_by_recipe('batch_size')}", cli.positive_int, metavar="N")
    learning_rate: float = _flag(
        f"highest rate; default: {_by_recipe('learning_rate')}", cli.positive_float, metavar="RATE"
    )
    seed: int = _flag("of weights, order and augmentation: same seed, same result on a CPU", cli.seed, 0)
    augment: bool = _on_or_off(
        "change each training clip at random, anew in each epoch: shift, background noise, gain and, for networks "
        f"on log-mel spectrograms, masks; default: {_by_recipe('augment')}"
    )
    negatives: bool = _on_or_off(
        "add sounds that are no command, made from the training clips and by arithmetic: noises as silence, what is "
        f"no word as unknown; others in each epoch; default: {_by_recipe('negatives')}, off on random data"
    )
    teacher: str = _flag(
        "run of train_keras.py whose answers are half of what is to be learned (distillation)",
        cli.path_text,
        metavar="RUN",
    )
    logdir: str = _flag("folder of TensorBoard logs", cli.path_text, "tf_logs")
    logrun: str = _flag(
        f"name of the run: runs/LOGRUN and LOGDIR/LOGRUN; on random data: {RANDOM_RUN}", run_name, "latest"
    )
    strategy: str = _flag(
        "where to train: auto (all GPUs, or the workers that TF_CONFIG names), one_device, mirrored (the devices of "
        "this machine), multi_worker (train_tensorflow.py alone)",
        str,
        "auto",
        choices=STRATEGIES,
        metavar="NAME",
    )
    summary: bool = _flag("print the layers of the network", default=False, action="store_true")
    resume: bool = _flag("go on with run LOGRUN where it was stopped", default=False, action="store_true")
    max_steps: int = _flag("stop after N steps (a smoke run)", cli.positive_int, metavar="N")

    def __post_init__(self):
        self.keywords = self.keywords and tuple(self.keywords)  # a list in a run's config.json
        if self.random_data:
            self.epochs = self.epochs or RANDOM_EPOCHS
            self.negatives = bool(self.negatives)
        if self.recipe is None:
            self.recipe = "original" if self.model == "conv1d" else "default"
        for field in ("model", "epochs", "batch_size", "learning_rate", "augment", "negatives"):
            if getattr(self, field) is None:
                setattr(self, field, getattr(RECIPES[self.recipe], field))


BEFORE = {"negatives": False}  # what a run did that was started before there was the flag
# What a resumed run may change; all else is as in the run's config.json.
FREE_ON_RESUME = ("epochs", "resume", "summary", "max_steps", "logdir", "logrun", "strategy")


def make_parser(description):
    """Parser of the flags of both scripts, which tells of those alone that are given."""
    parser = cli.Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for field in dataclasses.fields(Settings):
        details = dict(field.metadata)
        if field.default is not None and field.default is not False:
            details["help"] += f" (default: {field.default})"
        if details.get("action"):
            del details["type"]
        parser.add_argument(f"--{field.name}", default=argparse.SUPPRESS, **details)
    return parser


def name_run(given):
    """Name of the run that flags mean, whether they give one or not."""
    return given.get("logrun", RANDOM_RUN if given.get("random_data") else Settings.logrun)


def resumed_from(run):
    """Where the run lies that is gone on with: not finished, or finished and to be trained longer."""
    for folder in (files.beside(run, "partial"), run):
        if (folder / "config.json").exists():
            return folder
    raise cli.CourseError(f"{run} holds no run to go on with: start one without --resume")


def check_flags(description):
    """End the command where ``--help``, a wrong flag, or data or a run that is not there says that it cannot start."""

    def check(_):
        given = vars(make_parser(description).parse_args())
        if given.get("resume"):
            if "TF_CONFIG" not in os.environ:  # of several machines, one alone has the run
                resumed_from(RUNS / name_run(given))
        elif not given.get("random_data"):
            corpus.require_prepared(given.get("path_to_data", Settings.path_to_data))

    if status := cli.run(check):
        sys.exit(status)


def combine(parser, given, saved=None):
    """Settings from the flags that were given, and from those of the run that is gone on with.

    A flag that contradicts the run, or another one, ends the command, by ``parser``.
    """
    if given.get("random_data") and "path_to_data" in given:
        parser.error("--random_data makes its own data: leave it out, or leave out --path_to_data")
    if saved is None:
        return Settings(**given)
    saved = _read(saved)
    for name, value in given.items():
        if name not in FREE_ON_RESUME and saved[name] != value:
            parser.error(f"--{name} was {saved[name]} in that run and cannot change on --resume")
    free = {name: value for name, value in given.items() if name in FREE_ON_RESUME}
    return Settings(**{**saved, "max_steps": None, **free})


def _read(saved):
    """Settings that a run's config.json gives, each as the flag of its name would be read."""
    values = dict(BEFORE)
    for field in dataclasses.fields(Settings):
        if (value := saved.get(field.name)) is None:
            continue
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        try:
            values[field.name] = (field.metadata["type"] or parse_bool)(text)
        except (argparse.ArgumentTypeError, ValueError) as error:
            raise cli.CourseError(f"config.json of that run is damaged: {field.name} is {text!r} ({error})") from error
    return vars(Settings(**values))
