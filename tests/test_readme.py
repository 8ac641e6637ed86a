"""Guards: what README and docs/ tell to run does run, and their figures were measured; pictures are shown, and small.

All of imgs/ is shown somewhere, each with a text.
"""

import importlib
import importlib.util
import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from utils import audio
from utils.system import cli

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*.ipynb")]
FIGURES = runpy.run_path(str(ROOT / ".ci" / "list_figures.py"))
GUIDES = FIGURES["GUIDES"]  # a newcomer reads them in this order
MAX_BYTES = 3_000_000  # every clone carries them


def read_prose(page):
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".md":
        return text
    return "\n\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown")


def list_shown():
    """Page, file and alternative text of the pictures of imgs/ that are shown, in Markdown or in HTML."""
    for page in PAGES:
        prose = read_prose(page)
        shown = re.findall(r"!\[([^\]]*)\]\(([^)\s]+)", prose)
        for tag in re.findall(r"<img\b[^>]*>", prose):
            values = dict(re.findall(r'(\w+)="([^"]*)"', tag))
            shown.append((values.get("alt", ""), values["src"]))
        yield from (
            (page.name, (page.parent / path).resolve(), text)
            for text, path in shown
            if "imgs/" in path and "://" not in path
        )


def test_every_picture_is_shown_and_what_is_shown_exists():
    shown, there = {path for _, path, _ in list_shown()}, set((ROOT / "imgs").iterdir())
    assert sorted(path.name for path in shown - there) == []
    assert sorted(path.name for path in there - shown) == []


def test_every_picture_has_a_text():
    assert [(page, path.name) for page, path, text in list_shown() if len(text.split()) < 4] == []


def test_badges_say_what_the_files_of_the_project_say():
    badges = runpy.run_path(str(ROOT / ".ci" / "make_badges.py"))
    assert badges["PICTURE"].read_text(encoding="utf-8") == badges["draw"]()
    (text,) = {text for _, path, text in list_shown() if path == badges["PICTURE"]}
    assert text == ", ".join(map(" ".join, badges["list_facts"]()))


@pytest.mark.slow
def test_there_are_as_many_tests_as_the_badge_says():
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:xdist", "-o", "addopts="]
    found = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    fewest = runpy.run_path(str(ROOT / ".ci" / "make_badges.py"))["FEWEST_TESTS"]
    assert int(re.findall(r"(\d+) tests collected", found)[0]) > fewest


def test_pictures_are_small():
    assert sum(path.stat().st_size for path in (ROOT / "imgs").iterdir()) < MAX_BYTES


def list_commands():
    """Commands of README and docs/ in order: indented lines, and those in sentences and tables, without remarks."""
    prose = "\n".join(map(read_prose, GUIDES))
    found = re.findall(r"^    (\S.*)$|`((?:python|make|pip) [^`]+)`", prose, flags=re.MULTILINE)
    return list(dict.fromkeys(re.split(r"\s{2,}", line or span)[0] for line, span in found))


# What keeps a command short here, or out of the way of the next one.
ADDED = {
    "python -m utils.voices": "--speakers 12",
    "python -m utils.prepare --raw my_words --keywords lights,music": "--main words/main --sample words/sample",
    "python train_keras.py --resume --logrun first": "--max_steps 4",
}
FEW_STEPS = "--max_steps 2"
ELSEWHERE = {  # and why
    "python -m pip install --upgrade pip": "a newcomer's environment",
    """python -c "import tensorflow as tf; print(tf.config.list_physical_devices('GPU'))\"""": "looks for a GPU",
    "python app.py": "a server: test_app.py",
    "python -m utils.enrol lights --record 5": "a microphone",
    "python -m utils.enrol lights FOLDER": "recordings of a word: test_enrol.py",
    "python predict.py --model runs/taught --listen": "a microphone",
    "python -m utils.enrol --list": "taught words: test_enrol.py",
    "python -m utils.enrol --page my_words.zip": "the same",
    "python -m utils.export runs/taught --to float web": "the same",
    "python -m utils.voices --words lights,music": "minutes of training: test_voices.py speaks them",
    "python -m benchmarks.enrol": "the real recordings",
    "python -m utils.export runs/latest --to web": "npm and a browser: test_page.py",
    "python -m utils.sources archive tensorflow-speech-recognition-challenge.zip": "asks for it: test_sources.py",
    "python -m utils.sources kaggle": "asks the network: test_downloads.py",
    "python -m utils.sources speech_commands": "the same",
    "python -m utils.sources speech_commands --course": "the same",
    "python train_keras.py --recipe best --model resnet10_s --epochs 150 --seed 2": "many epochs: test_training.py",
    "python train_keras.py --recipe best": "the same",
    "python train_keras.py --no-negatives": "test_training.py",
    "python train_keras.py --no-augment": "the same",
    "python train_keras.py --random_data": "the same",
    "python -m utils.export runs/latest --to int8": "the same with --check prize",
    "python train_keras.py --path_to_data data/sample/preprocessed": "test_notebooks.py",
    "python train_keras.py --summary": "the same",
    "python train_keras.py --path_to_data voice_data": "the original's arrays: test_store.py",
    "python train_tensorflow.py --strategy multi_worker": "two processes: test_tensorflow.py",
    "python predict.py --listen": "a microphone: test_stream.py",
    "python predict.py --listen --model runs/first/export/model_stream.tflite": "the same",
    "python predict.py --doctor": "a microphone: test_doctor.py",
    "python -m benchmarks.quiet --model pretrained --noises FOLDER": "a measurement",
    "python -m benchmarks.withheld": "the same",
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the files that the README names."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "pretrained", "pretrained")
    rng = np.random.default_rng(0)
    words = [f"my_words/{word}/{name}_1.wav" for word in ("lights", "music", "other") for name in ("ann", "ben", "cyd")]
    seconds = {"me.wav": 1, "a_folder/a.wav": 1, "long.wav": 5, "my_words/_background_noise_/room.wav": 30}
    for path in [*seconds, *words]:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        n_samples = seconds.get(path, 1) * audio.SAMPLE_RATE
        audio.write_wav(path, rng.normal(0, 3000, n_samples).astype(np.int16))
    return tmp_path


@pytest.mark.slow
def test_commands_of_the_readme_run(place, capsys):
    commands = [command for command in list_commands() if command.startswith("python ")]
    assert ELSEWHERE.keys() | ADDED.keys() <= set(commands)  # none has been left behind
    for command in commands:
        if command in ELSEWHERE:
            continue
        name, main, arguments = find_main(command)
        more = ADDED.get(command, FEW_STEPS if name.startswith("train_") else "")
        try:
            status = cli.run(main, [*arguments, *more.split()])
        except SystemExit as end:  # of --help
            status = end.code
        assert not status, f"{command}: {capsys.readouterr().err}"


def find_main(command):
    """What a command of the README calls: the function, and its arguments."""
    _, *words = shlex.split(command)
    name, *arguments = words[1:] if words[0] == "-m" else [words[0].removesuffix(".py"), *words[1:]]
    return name, importlib.import_module(name).main, arguments


class Understood(Exception):
    """Ends a command whose arguments have been read."""


def test_commands_of_the_readme_are_understood(monkeypatch):
    """Also those that the test above leaves to others."""
    parse_args = cli.Parser.parse_args

    def parse(parser, arguments):
        parse_args(parser, arguments)
        raise Understood

    monkeypatch.setattr(cli.Parser, "parse_args", parse)
    commands = [command for command in list_commands() if command.startswith("python ")]
    for command in commands:
        if command.startswith(("python -c ", "python -m pip ")):
            continue
        _, main, arguments = find_main(command)
        if "--help" in arguments:
            arguments.remove("--help")
        with pytest.raises(Understood):
            main(arguments)


def test_each_result_of_the_guides_was_measured_by_a_command_that_there_is():
    results = [(guide.name, *result) for guide in GUIDES for result in FIGURES["list_results"](guide)]
    assert len(results) > 20
    row = (
        "recognise.md",
        "0.119",
        "python -m benchmarks.quiet --model pretrained --noises FOLDER",
        "What is no command",
    )
    assert row in results  # not that of another file, which has this share in another row
    for name, figure, command, _ in results:
        assert command, f"{name}: {figure} was not measured"
        _, *words = shlex.split(command)
        assert (ROOT / words[0]).exists() or (words[0] == "-m" and importlib.util.find_spec(words[1])), command


def test_what_the_readme_installs_and_makes_exists():
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    text = "\n".join([*list_commands(), container["postCreateCommand"]])
    targets = re.findall(r"^([\w./-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    assert set(re.findall(r"\bmake ([\w./-]+)", text)) <= set(targets)
    assert set(re.findall(r"--group (\w+)", text)) <= set(groups)
    pinned = re.search(r"^tensorflow==(\S+)", (ROOT / "req.txt").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert f"tensorflow[and-cuda]=={pinned[1]}" in text
