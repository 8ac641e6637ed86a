"""Guards: an exported file answers, in files and streams, where there is nothing but numpy and LiteRT."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import predict
from utils import audio, recogniser, stream, trained, voices
from utils.labels import LABELS
from utils.system import cli

ROOT = Path(__file__).parents[1]
FILE = trained.PRETRAINED / "model_float.tflite"
ALONE = """
import importlib.abc, sys

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top not in sys.stdlib_module_names and top not in ALLOWED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=top)

ALLOWED = {"numpy", "ai_edge_litert", "utils", "predict"}
sys.meta_path.insert(0, Missing())
sys.argv[0] = "predict.py"
import predict
from utils.system import cli
sys.exit(cli.run(predict.main))
"""


@pytest.fixture
def words(tmp_path, monkeypatch):
    """A folder with a word, and with a recording of three, by a built-in voice."""
    monkeypatch.chdir(tmp_path)
    spoken = [audio.read_wav(path) for path in voices.make_examples(tmp_path / "said", ("yes", "stop", "left"))]
    audio.write_wav("yes.wav", spoken[0])
    pause = np.random.default_rng(0).normal(0, 20, 2 * audio.SAMPLE_RATE).astype(np.int16)
    audio.write_wav("three.wav", np.concatenate([part for clip in spoken for part in (pause, clip)]))
    return tmp_path


def run_alone(*arguments):
    command = [sys.executable, "-c", ALONE, *map(str, arguments)]
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_file_and_a_stream_are_answered_as_with_tensorflow(words):
    model = recogniser.load(trained.PRETRAINED)
    done = run_alone("--model", FILE, "yes.wav", "--json")
    assert done.returncode == 0, done.stderr
    answer, row = json.loads(done.stdout), model(audio.to_waveform(audio.read_wav("yes.wav"))[None])[0]
    assert answer["label"] == LABELS[row.argmax()]
    assert answer["probability"] == pytest.approx(row.max(), abs=1e-4)
    done = run_alone("--model", FILE, "--stream", "three.wav", "--json")
    assert done.returncode == 0, done.stderr
    listener = stream.Stream(model)
    heard = [*listener.feed(audio.read_wav("three.wav")), *listener.finish()]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == 3
    assert [(word["seconds"], word["label"]) for word in found] == [
        (round(word.seconds, 3), word.label) for word in heard
    ]


def test_what_needs_more_is_named_in_one_line(words):
    shutil.copytree(trained.PRETRAINED, "runs/mine")
    Path("runs/mine/model_float.tflite").unlink()
    done = run_alone("--model", "runs/mine", "yes.wav")
    assert done.returncode == 1
    assert "which is not installed: name an exported file, --model FILE.tflite" in done.stderr
    assert done.stderr.count("\n") == 1
    audio.write_wav("fast.wav", np.zeros(48_000, np.int16), 48_000)
    done = run_alone("--model", FILE, "fast.wav")
    assert "soundfile is not installed" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("place", [".", "export"])
def test_an_exported_file_needs_its_labels_beside_it_or_above(place, words, capsys):
    Path("run", place).mkdir(parents=True)
    file = Path(shutil.copy(FILE, Path("run", place)))
    assert cli.run(predict.main, ["yes.wav", "--model", str(file)]) == 1
    assert "has no labels.txt beside it" in capsys.readouterr().err
    shutil.copy(trained.PRETRAINED / "labels.txt", "run")
    assert cli.run(predict.main, ["yes.wav", "--model", str(file)]) == 0
    Path("run/labels.txt").write_text("yes\nno\n", encoding="utf-8")
    assert cli.run(predict.main, ["yes.wav", "--model", str(file)]) == 1
    assert "lists 2 labels, the model has 12" in capsys.readouterr().err
    file.write_bytes(b"no model")
    assert cli.run(predict.main, ["yes.wav", "--model", str(file)]) == 1
    assert "is no LiteRT file" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["predict.py", "train_tensorflow.py", "app.py", "-m utils.prepare"])
def test_a_python_without_the_packages_is_told_where_they_are(command):
    """-S: without site-packages."""
    done = subprocess.run([sys.executable, "-S", *command.split()], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("numpy is not installed: ")
    assert done.stderr.count("\n") == 1


def test_who_calls_another_python_is_told_what_to_activate(tmp_path, monkeypatch):
    course = tmp_path / "my course"
    (course / ".venv").mkdir(parents=True)
    monkeypatch.setattr(cli, "__file__", str(course / "utils" / "system" / "cli.py"))
    monkeypatch.chdir(tmp_path)
    assert cli.how_to_install().startswith("source 'my course/.venv/bin/activate', ")
    monkeypatch.setattr(sys, "prefix", str(course / ".venv"))
    assert cli.how_to_install().startswith("python -m pip install")
