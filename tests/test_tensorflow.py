"""Guards: plain TensorFlow and Keras are the same experiment; several devices or workers give what one gives."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import check_refused, free_ports, kill_after_epoch_2, read_log
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import train_keras
import train_tensorflow
from utils import audio, export, features, models, recogniser, runs
from utils.labels import LABELS
from utils.nets import architectures, plain
from utils.settings import RECIPES, Settings
from utils.system import cli
from utils.system.quiet import keras, tf

ROOT = Path(__file__).parents[1]
# 100 clips in batches of 32: the last batch of an epoch has four.
# The rate is low: a high one makes more of rounding at every step.
RANDOM = [
    "--random_data",
    "--logrun",
    "latest",
    "--random_examples",
    "100",
    "--batch_size",
    "32",
    "--epochs",
    "3",
    "--learning_rate",
    "1e-4",
]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keras.backend.clear_session()
    return tmp_path


@pytest.fixture(scope="module")
def spoken(voices_raw):
    """100 batches of 32 waveforms of built-in voices, and one-hot labels."""
    paths = sorted(str(path) for path in (voices_raw / "train" / "audio").glob("[a-z]*/*.wav"))
    words = sorted({Path(path).parent.name for path in paths})
    clips = audio.to_waveform(np.stack([audio.fit_second(audio.read_wav(path, audio.CLIP_SAMPLES)) for path in paths]))
    rows = np.random.default_rng(0).integers(0, len(paths), (100, 32))
    labels = np.array([words.index(Path(path).parent.name) % 12 for path in paths])
    return clips[rows], np.eye(12, dtype=np.float32)[labels[rows]]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "n_steps"), [(models.DEFAULT, 100), ("conv1d", 10)])
def test_keras_and_tensorflow_learn_alike_from_the_same_weights_and_batches(name, n_steps, spoken, monkeypatch):
    """The original's two scripts did not: 0.8 and 0.35."""
    keras.utils.set_random_seed(0)
    X, y = spoken[0][:n_steps], spoken[1][:n_steps]
    if name == "conv1d":  # the original's, four times as narrow, and half a batch
        theirs = architectures.conv1d(12, channels=2)
        next(layer for layer in theirs.layers if isinstance(layer, keras.layers.Dropout)).rate = 0.0
        X, y = X[:, :16], y[:, :16]
        monkeypatch.setitem(plain.NETWORKS, name, lambda rng, n: plain.OriginalConv1D(rng, n, channels=2))
    else:
        theirs = architectures.tc_resnet(12, **{**models.NETWORKS[name].arguments, "dropout": 0.0})
        X = np.stack([features.log_mel(waveforms) for waveforms in X])
    settings, epoch = Settings(model=name), 81  # steps
    train_keras.compile_part(theirs, RECIPES[settings.recipe], settings, epoch)
    trainer = train_tensorflow.Trainer(settings, tf.distribute.get_strategy(), 12, epoch * settings.epochs)
    trainer.network.dropout.rate = 0.0  # random numbers would differ
    plain.copy_weights(theirs, trainer.network)

    batches = iter(tf.data.Dataset.from_tensor_slices((X, y)))
    for step, (inputs, labels) in enumerate(zip(X, y), 1):
        theirs.reset_metrics()
        loss = theirs.train_on_batch(inputs, labels, return_dict=True)["loss"]
        our_loss, _ = train_tensorflow.mean_of([trainer.train_step(batches)])
        if step in (1, 10, 100):
            limit = 1e-2 if step == 100 else 1e-3
            assert our_loss == pytest.approx(loss, abs=limit)
            evaluated = theirs.test_on_batch(inputs, labels, return_dict=True)["loss"]
            ours, _ = trainer.evaluate([(inputs, labels)])
            assert ours == pytest.approx(evaluated, abs=limit)


def run(*command, cwd=None, task=None, ports=()):
    """A script in a process of its own; with ``task``, one of as many workers as there are ports."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if task is not None:
        cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
        environment["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": task}})
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([sys.executable, *map(str, command)], cwd=cwd, env=environment, **pipes)


def finish(*processes):
    """What processes print, and that they end well."""
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    for process, output in zip(processes, outputs):
        assert process.returncode == 0, output[-2000:]
    return outputs


# A run whose network is kept beside the run folder, also by workers that write nothing else.
KEPT = """
import sys
{before}
import numpy as np, {script} as script
from utils.system import cli

networks = []
if hasattr(script, "Trainer"):
    class Trainer(script.Trainer):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            networks.append(self.network)
    script.Trainer = Trainer
status = cli.run(script.main)
if status == 0:
    np.savez("network.npz", *(variable.numpy() for network in networks for variable in network.variables))
sys.exit(status)
"""
TWO_DEVICES = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
"""


def start_kept(folder, *arguments, script="train_tensorflow", before="", **worker):
    return run("-c", KEPT.format(script=script, before=before), *RANDOM, *arguments, cwd=folder, **worker)


def kept(folder):
    with np.load(folder / "network.npz") as saved:
        return [saved[name] for name in saved.files]


def assert_close(folder, other):
    """The same but for rounding, also in all epochs of the log."""
    for ours, theirs in zip(kept(folder), kept(other), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)  # a tenth of what Adam moves a weight in a step
    losses = [[float(loss) for _, _, loss, _ in read_log(path / "runs" / "latest")] for path in (folder, other)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def weights(run):
    """Every variable of a run's last checkpoint."""
    with np.load(run / "last" / "checkpoint.npz") as saved:
        return {name: saved[name] for name in saved.files if name.startswith("variable_")}


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """Folder of a run on one device."""
    folder = tmp_path_factory.mktemp("single")
    finish(start_kept(folder))
    return folder


@pytest.mark.slow
def test_a_run_leaves_what_a_run_of_keras_leaves(single):
    run = single / "runs" / "latest"
    assert sorted(path.name for path in run.iterdir()) == [
        *("best", "config.json", "labels.txt", "last", "log.csv", "result.json", "saved_model"),
    ]
    with open(run / "log.csv", encoding="utf-8") as file:
        assert file.readline() == runs.LOG_HEADER
    result = json.loads((run / "result.json").read_text())
    described = models.describe(models.DEFAULT)
    assert (result["parameters"], result["macs"]) == (described["parameters"], described["macs"])
    counted = sum(v.shape.num_elements() for v in plain.make_network(models.DEFAULT, 12, 0).variables)
    assert counted == result["parameters"]
    events = EventAccumulator(str(single / "tf_logs" / "latest"), size_guidance={"tensors": 0}).Reload()
    assert {"learning_rate", "weights/first/conv/kernel", "confusion", "run"} <= set(events.Tags()["tensors"])
    assert events.Tags()["graph"]


@pytest.mark.slow
def test_predict_reads_the_saved_model(single, spoken):
    """Raw waveforms in, or log-mel for streams; the best weights, evaluated by the moving averages."""
    saved = recogniser.load(single / "runs" / "latest")
    network = plain.make_network(models.DEFAULT, 12, 1)
    models.read_variables(single / "runs" / "latest" / "best" / "weights.npz", network.variables)
    waveforms = spoken[0][0]
    log_mel = features.log_mel(waveforms)
    expected = tf.nn.softmax(network(log_mel))
    np.testing.assert_allclose(saved(waveforms), expected, atol=1e-5)
    np.testing.assert_allclose(saved.from_log_mel(log_mel), expected, atol=1e-5)
    assert saved.labels == LABELS


@pytest.mark.slow
def test_its_saved_model_is_exported_as_another_with_probabilities(single, spoken):
    path = export.export(single / "runs" / "latest", "saved_model")
    expected = recogniser.load(single / "runs" / "latest")(spoken[0][0])
    loaded = tf.saved_model.load(path)
    exported = loaded.recognise(spoken[0][0])["probabilities"]
    np.testing.assert_allclose(exported, expected, atol=1e-5)


@pytest.mark.slow
def test_a_killed_run_is_resumed_exactly(single, folder):
    process = run(ROOT / "train_tensorflow.py", *RANDOM)
    kill_after_epoch_2(process)
    assert not (folder / "runs" / "latest").exists()
    (output,) = finish(run(ROOT / "train_tensorflow.py", "--resume"))
    assert "resumed after epoch" in output
    assert read_log(folder / "runs" / "latest") == read_log(single / "runs" / "latest")
    ours, theirs = weights(folder / "runs" / "latest"), weights(single / "runs" / "latest")
    assert ours
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.slow
def test_two_devices_learn_what_one_learns(single, folder):
    """Same weights but for rounding: normalization and gradients are of the whole batch, random numbers too."""
    finish(start_kept(folder, "--strategy", "mirrored", before=TWO_DEVICES))
    assert_close(folder, single)


@pytest.mark.slow
def test_keras_trains_on_two_devices(folder):
    finish(start_kept(folder, "--strategy", "mirrored", script="train_keras", before=TWO_DEVICES))
    result = json.loads((folder / "runs" / "latest" / "result.json").read_text())
    assert np.sum(result["confusion"]) == 12


@pytest.mark.slow
def test_two_workers_learn_what_one_process_learns_though_one_of_them_dies(single, folder):
    """A worker is killed, the other says so and ends; both are started again and go on."""
    places = [folder / "first", folder / "second"]  # as on two machines
    for place in places:
        place.mkdir()

    def start(*arguments):
        ports = free_ports(2)
        return [
            start_kept(place, "--strategy", "multi_worker", *arguments, task=task, ports=ports)
            for task, place in enumerate(places)
        ]

    chief, other = start()
    kill_after_epoch_2(chief, other)
    assert "another worker has gone: start all of them again, with --resume" in chief.communicate(timeout=300)[0]
    assert chief.returncode == 1

    output, _ = finish(*start("--resume"))
    assert "resumed after epoch" in output
    assert [path.name for path in places[1].iterdir()] == ["network.npz"]  # the chief alone writes
    for ours, theirs in zip(*map(kept, places), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert_close(places[0], single)


@pytest.mark.parametrize(
    ("script", "given", "line"),
    [
        (train_tensorflow, ["--model", "bc_resnet_1"], "model bc_resnet_1 is for train_keras.py"),
        (train_tensorflow, ["--recipe", "best"], "recipe best, with its model resnet10, is for train_keras.py"),
        (train_keras, ["--recipe", "worst"], "no recipe 'worst': there are default, best, original"),
        (train_keras, ["--strategy", "multi_worker"], "run train_tensorflow.py --strategy multi_worker"),
        (train_keras, ["--strategy", "many"], "invalid choice: 'many'"),
        (train_keras, [], "run train_tensorflow.py --strategy multi_worker"),  # TF_CONFIG names two workers
    ],
)
def test_what_a_script_cannot_do_is_one_line_and_status_2(script, given, line, capsys, folder, monkeypatch):
    if not given:
        cluster = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}'
        monkeypatch.setenv("TF_CONFIG", cluster)
    check_refused(script.main, given, line, capsys)
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("strategy", "config", "line"),
    [
        ("mirrored", None, "needs several devices"),
        ("multi_worker", None, "needs TF_CONFIG"),
        ("auto", "{", "TF_CONFIG is not JSON"),
        ("auto", "[]", "TF_CONFIG is not JSON such as"),
    ],
)
def test_a_strategy_that_cannot_be_is_one_line_and_status_2(strategy, config, line, capsys, monkeypatch):
    if config:
        monkeypatch.setenv("TF_CONFIG", config)
    assert cli.run(train_tensorflow.main, [*RANDOM, "--strategy", strategy]) == 2
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1


@pytest.mark.slow
def test_a_run_is_resumed_by_the_script_that_began_it(single, monkeypatch, capsys):
    monkeypatch.chdir(single)
    assert cli.run(train_keras.main, ["--resume"]) == 1
    assert "was begun by train_tensorflow.py: resume it with that" in capsys.readouterr().err
