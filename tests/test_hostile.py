"""Guards: models and arrays that anybody may have made run no code here, and servers are for this computer alone."""

import contextlib
import json
import os
import pickle
import re
import shlex
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import psutil
import pytest
from conftest import PATIENCE, free_ports

import predict
import train_keras
from utils import audio, export, recogniser, runs, trained
from utils.labels import LABELS
from utils.system import cli
from utils.system.quiet import keras, tf

ROOT = Path(__file__).parents[1]
MARK = "mark"  # the file that hostile code would leave


class Payload:
    """Leaves a mark when it is unpickled."""

    def __reduce__(self):
        return Path(MARK).touch, ()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty place to work in, with a run folder that holds no model yet."""
    monkeypatch.chdir(tmp_path)
    run = runs.RUNS / "hostile"
    run.mkdir(parents=True)
    (run / "labels.txt").write_text("\n".join(LABELS), encoding="utf-8")
    (run / "config.json").write_text(json.dumps({"script": "train_keras.py", "model": "tc_resnet8"}), encoding="utf-8")
    audio.write_wav("a.wav", np.zeros(audio.CLIP_SAMPLES, np.int16))
    return run


def save_lambda(run):
    # Without a name, it is saved as bytecode.
    leave_mark = keras.layers.Lambda(lambda x: (__import__("pathlib").Path("mark").touch(), x[:, :12])[1])
    keras.Sequential([keras.Input((audio.CLIP_SAMPLES,)), leave_mark]).save(run / "model.keras")
    Path(MARK).unlink(missing_ok=True)


def rewrite(run, change):
    """Save an honest model, then put something else into its archive."""
    model = keras.Sequential([keras.Input((audio.CLIP_SAMPLES,)), keras.layers.Dense(len(LABELS))])
    model.save(run / "honest.keras")
    with zipfile.ZipFile(run / "honest.keras") as honest, zipfile.ZipFile(run / "model.keras", "w") as hostile:
        for name in honest.namelist():
            hostile.writestr(name, change(name, honest.read(name)))
    (run / "honest.keras").unlink()


def save_class_of_another_module(run):
    def change(name, content):
        if name != "config.json":
            return content
        config = json.loads(content)
        touch = {"module": "os", "class_name": "system", "config": f"touch {MARK}", "registered_name": None}
        config["config"]["layers"].append(touch)
        return json.dumps(config)

    rewrite(run, change)


def save_pickle_as_model(run):
    (run / "model.keras").write_bytes(pickle.dumps(Payload()))


def save_pickled_weights(run):
    # As Keras could be told to keep weights in numpy's format, which may hold pickles.
    weights = np.array([Payload()], dtype=object)
    np.savez(run / "weights.npz", weight_0=weights)


def save_name_of_code(run):
    (run / "config.json").write_text(
        json.dumps({"model": f"__import__('pathlib').Path('{MARK}').touch()"}), encoding="utf-8"
    )
    np.savez(run / "weights.npz", weight_0=np.zeros(1, np.float16))


def save_writing_graph(run):
    """What train_tensorflow.py leaves, but its graph writes a file before it answers."""

    class Writer(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, audio.CLIP_SAMPLES), tf.float32)])
        def __call__(self, waveforms):
            with tf.control_dependencies([tf.io.write_file(MARK, "x")]):
                return waveforms[:, : len(LABELS)]

    tf.saved_model.save(Writer(), run / "saved_model")


HOSTILE = [
    save_lambda,
    save_class_of_another_module,
    save_pickle_as_model,
    save_pickled_weights,
    save_name_of_code,
    save_writing_graph,
]


def check_one_line(status, line, capsys):
    error = capsys.readouterr().err
    assert status == 1
    assert line in error and error.count("\n") == 1, error
    assert not Path(MARK).exists()


@pytest.mark.parametrize("save", HOSTILE)
def test_a_hostile_model_is_one_line_and_runs_nothing(save, folder, capsys):
    save(folder)
    capsys.readouterr()
    status = cli.run(predict.main, ["a.wav", "--model", str(folder)])
    check_one_line(status, "damaged or not safe to read", capsys)


def test_what_the_hostile_ones_would_do(folder):
    """The same models, read without care, leave their mark: the test above can fail."""
    save_lambda(folder)
    keras.saving.load_model(folder / "model.keras", compile=False, safe_mode=False)(np.zeros((1, 16000)))
    assert Path(MARK).exists()
    Path(MARK).unlink()
    pickle.loads(pickle.dumps(Payload()))
    assert Path(MARK).exists()
    Path(MARK).unlink()
    save_writing_graph(folder)
    tf.saved_model.load(folder / "saved_model")(tf.zeros((1, 16000)))
    assert Path(MARK).exists()


def test_an_exported_graph_is_not_run(folder):
    save_writing_graph(folder)
    with pytest.raises(cli.CourseError, match=r"neither .tflite nor .onnx: a SavedModel that you made yourself"):
        export.open_exported(folder / "saved_model")(np.zeros((1, audio.CLIP_SAMPLES), np.float32))
    assert not Path(MARK).exists()


def test_no_code_of_the_course_reads_what_could_run_code():
    careless = re.compile(
        r"saved_model\.load|allow_pickle=True|pickle\.loads?\(|joblib\.load|torch\.load|yaml\.(unsafe_)?load\("
        r"|safe_mode=False|enable_unsafe_deserialization|(?<![.\w])(eval|exec)\("
    )
    told = "that you made yourself is opened by tf.saved_model.load"  # a hint in words
    folders = (ROOT, ROOT / "utils", ROOT / "benchmarks", ROOT / ".ci")
    paths = [path for folder in folders for path in sorted(folder.iterdir()) if path.suffix in (".py", ".ipynb")]
    assert len(paths) > 50
    found = [(path.name, line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    assert [(name, line) for name, line in found if careless.search(line) and told not in line] == []


def test_a_hostile_teacher_is_one_line(folder, capsys):
    save_lambda(folder)
    capsys.readouterr()
    arguments = ["--random_data", "--random_examples", "24", "--teacher", str(folder)]
    with pytest.raises(cli.CourseError, match="damaged or not safe to read"):
        train_keras.main(arguments)
    assert not Path(MARK).exists()


@pytest.mark.parametrize(
    ("setting", "value"),
    [("model", "os.system"), ("recipe", "__import__"), ("epochs", "__import__('os')"), ("logrun", "../../home")],
)
def test_a_run_whose_settings_name_code_is_not_gone_on_with(setting, value, folder, capsys):
    config = {"script": "train_keras.py", "random_data": True, "logrun": "hostile", setting: value}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    status = cli.run(train_keras.main, ["--resume", "--logrun", "hostile"])
    check_one_line(status, f"{setting} is '{value}'" if "'" not in value else f"{setting} is", capsys)


def test_a_checkpoint_with_a_pickle_is_not_gone_on_with(folder, capsys):
    config = {"script": "train_keras.py", "random_data": True, "random_examples": 24, "logrun": "hostile"}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "last").mkdir()
    np.savez(folder / "last" / "checkpoint.npz", epoch=np.array([Payload()], dtype=object))
    status = cli.run(train_keras.main, ["--resume", "--logrun", "hostile"])
    check_one_line(status, "damaged or not safe to read", capsys)


def wait_for_addresses(process, port):
    """Addresses at which a process, or one that it started, listens."""
    for _ in range(2 * PATIENCE):
        assert process.poll() is None, "the server has ended"
        found = set()
        for member in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):  # a short-lived helper of the server
                found |= {s.laddr for s in member.net_connections("inet") if s.status == psutil.CONN_LISTEN}
        if any(address.port == port for address in found):
            return {address.ip for address in found}
        time.sleep(0.5)
    pytest.fail(f"nothing listens on port {port}")


@pytest.mark.slow
@pytest.mark.posix  # the Makefile
def test_servers_of_the_makefile_listen_on_this_computer_alone(tmp_path):
    made = ["-o", ".venv/ready", "-o", ".venv/ready-app"]
    servers = {}
    for target in ("tensorboard", "lab", "app"):
        make = ["make", "--no-print-directory", "-n", *made, target]
        lines = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True)
        _, command = re.split(r"[.]venv/bin/python ", lines.stdout.replace("\\\n", " "))
        (port,) = free_ports(1)
        log = open(tmp_path / f"{target}.txt", "wb")  # noqa: SIM115 as long as the server runs
        command = [sys.executable, *shlex.split(command), f"--port={port}"]
        if target == "lab" and os.getuid() == 0:  # as in a container
            command.append("--allow-root")
        environment = {**os.environ, "JUPYTER_CONFIG_DIR": str(tmp_path), "BROWSER": "true"}
        servers[target] = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log), port
    try:
        for target, (server, port) in servers.items():
            assert wait_for_addresses(server, port) <= {"127.0.0.1", "::1"}, target
    finally:
        for server, _ in servers.values():
            server.terminate()
            server.wait()


def test_the_network_of_the_course_is_read(folder):
    assert recogniser.load(trained.PRETRAINED).labels == LABELS
