"""Guards: flags mean what they say, a run is resumed exactly, an old run is kept until a new one has ended."""

import csv
import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import check_refused, kill_after_epoch_2, open_files, read_log, tiny_networks
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import train_keras
import train_tensorflow
from utils import datasets, evaluation, models, recogniser, runs, trained, training
from utils.labels import LABELS
from utils.nets import architectures, board
from utils.settings import RECIPES
from utils.system import cli
from utils.system.quiet import keras, tf

ROOT = Path(__file__).parents[1]
RANDOM = ["--random_data", "--logrun", "latest", "--random_examples", "96", "--batch_size", "32"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(*flags, script=train_keras):
    keras.backend.clear_session()
    assert cli.run(script.main, [*RANDOM, *flags]) == 0


@pytest.fixture(scope="module", params=[train_keras, train_tensorflow], ids=["keras", "tensorflow"])
def finished(request, tmp_path_factory):
    """A script, and the folder of its finished run of three epochs."""
    folder = tmp_path_factory.mktemp("finished")
    with tiny_networks(), pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train("--epochs", "3", script=request.param)
    return request.param, folder


only_keras = pytest.mark.parametrize("finished", [train_keras], indirect=True, ids=["keras"])


def test_conv1d_is_the_originals_network():
    model = models.build_model("conv1d")
    assert model.count_params() == 28_366_616
    assert round(models.count_macs(model) / 1e9, 2) == 2.43
    assert model.input_shape == (None, 16000)
    assert model.output_shape == (None, 12)


def test_the_default_model_is_compact_and_takes_raw_waveforms():
    model = models.build_model()
    assert model.count_params() <= 100_000
    assert models.count_macs(model) <= 20_000_000
    logits = model(np.random.default_rng(0).normal(0, 0.1, (2, 16000)).astype(np.float32))
    assert logits.shape == (2, 12)
    assert not np.allclose(np.sum(logits, axis=1), 1)  # logits, not probabilities


@pytest.mark.parametrize(
    ("flags", "value"),
    [([], False), (["--random_data"], True), (["--random_data=True"], True), (["--random_data=False"], False)],
)
def test_random_data_false_means_false(flags, value):
    assert training.parse_settings("train_keras.py", "", flags).random_data is value


@pytest.mark.parametrize(
    ("flags", "value"),
    [
        ([], True),
        (["--no-augment"], False),
        (["--model", "conv1d"], False),  # as the original trained it
        (["--model", "conv1d", "--augment"], True),
    ],
)
def test_augmentation_is_on_unless_the_model_or_the_flag_says_otherwise(flags, value):
    assert training.parse_settings("train_keras.py", "", flags).augment is value


@pytest.mark.parametrize(
    ("flags", "value"),
    [
        ([], True),
        (["--recipe", "best"], True),
        (["--recipe", "original", "--model", "conv1d"], True),
        (["--no-negatives"], False),
        (["--random_data"], False),
        (["--random_data", "--negatives"], True),
    ],
)
def test_made_sounds_are_on_unless_the_flag_or_random_data_say_otherwise(flags, value):
    assert training.parse_settings("train_keras.py", "", flags).negatives is value


@pytest.mark.parametrize(
    ("flags", "values"),
    [
        ([], ("default", models.DEFAULT, 72)),
        (["--recipe", "best"], ("best", "resnet10", RECIPES["best"].epochs)),
        (["--recipe", "best", "--model", "tc_resnet8", "--epochs", "3"], ("best", "tc_resnet8", 3)),
        (["--model", "conv1d"], ("original", "conv1d", 20)),
        (["--model", "conv1d", "--recipe", "default"], ("default", "conv1d", 72)),
    ],
)
def test_a_recipe_sets_what_the_flags_do_not(flags, values):
    settings = training.parse_settings("train_keras.py", "", flags)
    assert (settings.recipe, settings.model, settings.epochs) == values


@pytest.mark.parametrize("model", [models.DEFAULT, "conv1d"])
@pytest.mark.parametrize("flag", ["--augment", "--no-augment"])
def test_two_epochs_show_the_same_rows_unless_they_are_augmented(model, flag, monkeypatch, tiny):
    def small(n_labels):  # the original's network takes half a second a clip
        inputs = keras.Input((16000,))
        return keras.Model(inputs, keras.layers.Dense(n_labels)(inputs[:, ::100]))

    seen = []

    class Seen(Exception):
        """Ends a run whose training data has been seen."""

    def keep(*arguments):
        for _ in range(2):
            rows = datasets.training_dataset(*arguments)
            seen.append([X.numpy() for X, _ in rows.take(6)])  # three to an epoch
        raise Seen

    monkeypatch.setattr(architectures, "conv1d", small)
    monkeypatch.setattr(train_keras, "datasets", SimpleNamespace(**{**vars(datasets), "training_dataset": keep}))
    with pytest.raises(Seen):
        train("--model", model, flag)
    batches, again = seen
    assert all(np.array_equal(X, Y) for X, Y in zip(batches, again, strict=True))
    epochs = [np.sort(np.concatenate(part).reshape(96, -1).sum(axis=1)) for part in (batches[:3], batches[3:])]
    assert np.array_equal(*epochs) is (flag == "--no-augment")


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--epoch", "3"], "unknown flag --epoch, did you mean --epochs?"),
        (["--model", "conv2d"], "no model 'conv2d', did you mean conv1d?"),
        (["--random_data", "--path_to_data", "here"], "--random_data makes its own data"),
        (["--epochs", "0"], "'0' is not a whole number above zero"),
        (["--learning_rate", "fast"], "'fast' is not a number above zero"),
        (["--random_data=perhaps"], "'perhaps' is neither True nor False"),
        (["--augment=perhaps"], "argument --augment/--no-augment: ignored explicit argument 'perhaps'"),
        (["--logrun", "../elsewhere"], "'../elsewhere' has a slash in it"),
        (["--logrun", "nul"], "'nul' is a name that Windows cannot hold"),
    ],
)
def test_a_bad_flag_ends_with_one_line_and_status_2(flags, line, capsys, folder):
    check_refused(train_keras.main, flags, line, capsys)
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--path_to_data", "nowhere"], "nowhere is missing: run python -m utils.prepare"),
        (["--resume"], "runs/latest holds no run to go on with"),
        (["--resume", "--random_data"], "runs/random holds no run to go on with"),
    ],
)
def test_what_is_missing_is_told_before_tensorflow_is_imported(flags, line, folder):
    (folder / "tensorflow.py").write_text("raise SystemExit('imported')")
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    for name in ("train_keras.py", "train_tensorflow.py"):
        command = [sys.executable, str(ROOT / name), *flags]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, line in done.stderr, "imported" in done.stderr) == (1, True, False)


def test_missing_data_is_one_line_and_status_1(capsys, folder):
    assert cli.run(train_keras.main, ["--path_to_data", "nowhere"]) == 1
    assert "nowhere is missing: run python -m utils.prepare" in capsys.readouterr().err
    assert not list(folder.iterdir())


def test_a_smoke_run_leaves_what_a_run_leaves(folder, capsys, monkeypatch, tiny):
    kept = []  # as a notebook keeps what its cells have made
    show = board.Board.show_graph
    monkeypatch.setattr(board.Board, "show_graph", lambda self, network: (kept.append(self), show(self, network)))
    train("--max_steps", "2", "--epochs", "3")
    run = folder / "runs" / "latest"
    files = sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file())
    assert files == [
        "best/weights.npz",
        "config.json",
        "labels.txt",
        "last/checkpoint.npz",
        "log.csv",
        "model.keras",
        "result.json",
    ]
    assert [p.name for p in (folder / "runs").iterdir()] == ["latest"]
    assert (run / "labels.txt").read_text().split() == list(LABELS)
    result = json.loads((run / "result.json").read_text())
    assert set(result) == {
        *("dataset", "dataset_hash", "model", "parameters", "macs", "epochs", "seconds", "cv_accuracy"),
        *("test_accuracy", "test_interval", "per_label", "confusion"),
    }
    assert result["dataset"] == "random data"
    assert np.sum(result["confusion"]) == 12
    assert result["test_interval"][0] <= result["test_accuracy"] <= result["test_interval"][1]
    with open(run / "log.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["step"], row["epoch"], row["split"]) for row in rows] == [("2", "1", "train"), ("2", "1", "cv")]
    assert open_files(folder.resolve()) == []
    assert "12 labels, clips for 96 training, 12 validation, 12 test" in capsys.readouterr().out


def read_events(folder):
    return EventAccumulator(str(folder), size_guidance={"tensors": 0, "scalars": 0}).Reload()


def test_tensorboard_has_training_and_validation_by_global_step(finished):
    _, folder = finished
    logs = folder / "tf_logs" / "latest"
    for part in ("train", "validation"):  # two runs with the same tags: two curves of one picture
        events = read_events(logs / part)
        assert set(events.Tags()["tensors"]) == {"loss", "accuracy"}
        for tag in ("loss", "accuracy"):
            assert [event.step for event in events.Tensors(tag)] == [3, 6, 9]
    log = read_log(folder / "runs" / "latest")
    shown = [float(tf.make_ndarray(event.tensor_proto)) for event in read_events(logs / "validation").Tensors("loss")]
    assert shown == pytest.approx([float(loss) for _, split, loss, _ in log if split == "cv"], abs=1e-5)
    assert [event.step for event in read_events(logs).Tensors("learning_rate")] == [3, 6, 9]


def test_tensorboard_has_what_tells_runs_apart_and_what_was_heard_wrong(finished):
    script, folder = finished
    events = read_events(folder / "tf_logs" / "latest")
    assert events.Tags()["graph"]
    tags = set(events.Tags()["tensors"])
    layer = "conv1d" if script is train_keras else "first/conv/kernel"
    assert any(tag.startswith("weights/") and layer in tag for tag in tags)
    assert {tag.split("/")[0] for tag in tags} == {
        *("clip", "confusion", "learning_rate", "run", "test_accuracy", "weights", "worst", "_hparams_"),
    }
    pictures = events.Tensors("confusion")
    assert [event.step for event in pictures] == [3, 6, 9]
    assert pictures[0].tensor_proto.string_val[2].startswith(b"\x89PNG")
    card = events.Tensors("run")[0].tensor_proto.string_val[0].decode()
    name = Path(script.__file__).name
    assert f"python {name} --random_data --random_examples 96 --epochs 3 --batch_size 32" in card
    result = json.loads((folder / "runs" / "latest" / "result.json").read_text())
    assert f"{result['dataset']} (files {result['dataset_hash']})" in card
    shown = tf.make_ndarray(events.Tensors("test_accuracy")[0].tensor_proto)
    assert shown == pytest.approx(result["test_accuracy"])
    worst = sorted(tag.removeprefix("worst/") for tag in tags if tag.startswith("worst/"))
    assert 0 < len(worst) <= 10
    assert all(said != heard for said, heard in (name[3:].split(", heard ") for name in worst))


def weights(run):
    with np.load(run / "last" / "checkpoint.npz") as saved:
        return {name: saved[name] for name in saved.files if name.startswith("variable")}


def results(run):
    return {**json.loads((run / "result.json").read_text()), "seconds": None}


def test_an_interrupted_run_is_resumed_exactly(finished, folder, tiny, monkeypatch, capsys):
    """As after a kill, which the slow tests try on the whole network."""
    script, whole = finished
    end_epoch = runs.Run.end_epoch

    def interrupt(run, *arguments):
        if run.epoch == 2:
            raise KeyboardInterrupt
        return end_epoch(run, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(runs.Run, "end_epoch", interrupt)
        keras.backend.clear_session()
        assert cli.run(script.main, [*RANDOM, "--epochs", "3"]) == 130
    assert [path.name for path in (folder / "runs").iterdir()] == [".latest.partial"]
    keras.backend.clear_session()
    assert cli.run(script.main, ["--resume"]) == 0
    assert "resumed after epoch 2" in capsys.readouterr().out
    ours, theirs = folder / "runs" / "latest", whole / "runs" / "latest"
    assert read_log(ours) == read_log(theirs)
    assert results(ours) == results(theirs)
    sounds = np.random.default_rng(0).normal(0, 0.1, (4, 16000)).astype(np.float32)
    np.testing.assert_array_equal(recogniser.load(ours)(sounds), recogniser.load(theirs)(sounds))


def test_an_interrupted_run_is_kept_when_another_of_its_name_begins(folder, tiny, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    train("--epochs", "1")
    with monkeypatch.context() as patch:
        patch.setattr(runs.Run, "finish", interrupt)
        keras.backend.clear_session()
        assert cli.run(train_keras.main, [*RANDOM, "--epochs", "2"]) == 130
    train("--epochs", "1")
    assert "--resume --logrun latest-interrupted-1 goes on with it" in capsys.readouterr().err
    keras.backend.clear_session()
    assert cli.run(train_keras.main, ["--resume", "--logrun", "latest-interrupted-1"]) == 0
    assert [len(read_log(folder / "runs" / name)) for name in ("latest", "latest-interrupted-1")] == [2, 4]


@pytest.mark.slow
def test_a_killed_run_is_resumed_exactly(folder):
    command = [sys.executable, str(ROOT / "train_keras.py"), *RANDOM, "--negatives", "--epochs", "5", "--logrun"]
    subprocess.run([*command, "whole"], check=True, capture_output=True)
    process = subprocess.Popen([*command, "killed"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    kill_after_epoch_2(process)
    assert not (folder / "runs" / "killed").exists()
    resumed = [sys.executable, str(ROOT / "train_keras.py"), "--resume", "--logrun", "killed"]
    done = subprocess.run(resumed, check=True, capture_output=True, text=True)
    assert "resumed after epoch" in done.stdout
    whole, killed = (folder / "runs" / name for name in ("whole", "killed"))
    assert read_log(whole) == read_log(killed)
    ours, theirs = weights(whole), weights(killed)
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    assert results(whole) == results(killed)


@pytest.mark.parametrize("script", [train_keras, train_tensorflow])
def test_a_training_that_diverges_is_told_and_replaces_nothing(script, folder, capsys, tiny):
    datasets.write_random_store("store", 96, 0)
    flags = ["--path_to_data", "store", "--no-negatives", "--epochs", "2", "--logrun", "lost"]
    assert cli.run(script.main, [*flags, "--learning_rate", "1e30"]) == 1
    assert "diverged: start anew with a lower --learning_rate than 1e+30" in capsys.readouterr().err
    assert not Path("runs/lost").exists()


@pytest.mark.parametrize("script", [train_keras, train_tensorflow])
def test_a_run_says_what_it_learns_from_and_what_came_out(script, folder, capsys, tiny):
    datasets.write_random_store("store", 96, 0)
    flags = ["--path_to_data", "store", "--no-negatives", "--epochs", "1", "--max_steps", "1", "--logrun", "mine"]
    for more, has_layers in (([], False), (["--summary"], True)):
        keras.backend.clear_session()
        assert cli.run(script.main, [*flags, *more]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.partition(":")[0] for line in lines[:3]] == ["data", "network", "recipe"]
        assert ("kernel" in "\n".join(lines) or "Param #" in "\n".join(lines)) is has_layers
    assert [line.partition(":")[0] for line in lines[-8:]] == [
        *("validation", "test", "heard wrong", "quiet", "the run", "hear it", "use it", "see it"),
    ]
    result = json.loads(Path("runs/mine/result.json").read_text(encoding="utf-8"))
    assert f"{result['noises_called_a_command']} of {training.NOISES} made noises" in lines[-5]
    assert lines[-2].endswith(f"python predict.py --model {Path('runs', 'mine')} me.wav")


def test_a_terminal_shows_one_live_line_that_fits_it(folder, tiny, monkeypatch, capsys):
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    train("--epochs", "2")
    printed = capsys.readouterr()
    assert "epoch" not in printed.out.partition("recipe")[2].partition("\n")[2]  # a line an epoch is for a file
    shown = [line.rstrip() for line in printed.err.split("\r") if "2/2 loss" in line]
    assert shown
    assert all(" left" in line and len(line) <= 80 for line in shown)


def test_the_worst_confusions_are_told_worst_first(capsys):
    confusion = np.diag([10, 10, 10])
    confusion[0, 2], confusion[1, 0], confusion[2, 1] = 2, 7, 1
    clips = type("Clips", (list,), {"names": [], "label_order": ("yes", "no", "silence")})(range(40))
    scores = {"test_interval": (0.5, 0.9), "cv_accuracy": 0.7, "test_accuracy": 0.75, "noises_called_a_command": 3}
    training.report({**scores, "confusion": confusion.tolist()}, {"cv": clips, "test": clips})
    out = capsys.readouterr().out
    assert "heard wrong: no as yes (7 of 17), yes as silence (2 of 12), silence as no (1 of 11)" in out
    assert "always the commonest label: 0.425" in out


@only_keras
def test_a_resumed_run_refuses_other_settings(finished, monkeypatch, capsys):
    monkeypatch.chdir(finished[1])
    for flags, line in ((["--seed", "7"], "--seed was 0"), (["--no-augment"], "--augment was True")):
        with pytest.raises(SystemExit) as stopped:
            training.parse_settings("train_keras.py", "", ["--resume", *flags])
        assert stopped.value.code == 2
        assert line in capsys.readouterr().err
    settings = training.parse_settings("train_keras.py", "", ["--resume", "--epochs", "4"])
    assert (settings.batch_size, settings.augment) == (32, True)


def test_a_run_from_before_the_flag_is_resumed_as_it_was_started(folder, capsys):
    config = vars(training.parse_settings("train_keras.py", "", []))
    path = folder / "runs" / "latest"
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({**config, "augment": False}))
    assert training.parse_settings("train_keras.py", "", ["--resume"]).augment is False
    del config["augment"], config["negatives"]
    (path / "config.json").write_text(json.dumps(config))
    settings = training.parse_settings("train_keras.py", "", ["--resume"])
    assert (settings.augment, settings.negatives) == (True, False)
    with pytest.raises(SystemExit):
        training.parse_settings("train_keras.py", "", ["--resume", "--no-augment"])
    assert "--augment was True" in capsys.readouterr().err


def test_resume_without_a_run_says_so(capsys):
    assert cli.run(train_keras.main, ["--resume"]) == 1
    assert "no run to go on with" in capsys.readouterr().err


@only_keras
def test_an_old_run_stays_until_the_new_one_has_ended_well(finished, folder, monkeypatch, tiny):
    shutil.copytree(finished[1], folder, dirs_exist_ok=True)
    old = (folder / "runs" / "latest" / "result.json").read_bytes()

    def fail(*_):
        raise RuntimeError("the power went off")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(train_keras.Keep, "on_epoch_begin", fail)
        train("--max_steps", "1", "--seed", "5")
    assert (folder / "runs" / "latest" / "result.json").read_bytes() == old
    train("--max_steps", "1", "--seed", "5")
    assert json.loads((folder / "runs" / "latest" / "config.json").read_text())["seed"] == 5


@pytest.mark.slow
def test_the_saved_model_takes_raw_waveforms_and_tests_as_in_training(folder):
    train("--epochs", "2")
    run = folder / "runs" / "latest"
    model = keras.saving.load_model(run / "model.keras", safe_mode=True)
    fresh = models.build_model()
    models.read_variables(run / "best" / "weights.npz", fresh.variables)
    assert (run / "model.keras").stat().st_size < 6 * fresh.count_params()  # no optimizer beside the weights
    waveforms = np.random.default_rng(1).normal(0, 0.1, (4, 16000)).astype(np.float32)
    np.testing.assert_allclose(model(waveforms), fresh(waveforms, training=False), atol=1e-5)


@pytest.mark.parametrize("augment", [None, lambda X, y, moment: (2 * X, y)])
def test_half_of_what_is_learned_is_what_the_teacher_says_of_the_changed_clip(augment):
    X, y = np.array([[1.0, 0.0], [0.0, 3.0]], np.float32), np.eye(2, dtype=np.float32)
    changed, labels = training.teach(augment, lambda X, training: X)(X, y, (0, 0))
    said = np.exp(changed) / np.exp(changed).sum(axis=1, keepdims=True)
    np.testing.assert_array_equal(changed, 2 * X if augment else X)
    np.testing.assert_allclose(labels, (y + said) / 2, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("script", [train_keras, train_tensorflow])
def test_a_run_learns_from_another_one(folder, script, tiny):
    train("--epochs", "1", "--logrun", "teacher")
    for name, flags in (("alone", []), ("taught", ["--teacher", "runs/teacher"])):
        keras.backend.clear_session()
        assert cli.run(script.main, [*RANDOM, "--epochs", "1", "--logrun", name, *flags]) == 0
    alone, taught = (float(read_log(folder / "runs" / name)[0][2]) for name in ("alone", "taught"))
    assert abs(taught - alone) > 1e-3  # all else is the same


def test_a_teacher_that_cannot_teach_is_one_line_and_status_1(folder, capsys, tiny):
    datasets.write_random_store(folder / "store", 64, 0)
    keras.backend.clear_session()
    path = folder / "runs" / "teacher"
    for labels, line in (
        (None, "holds no model: train one first"),
        (["yes", "no"], "has the labels yes,no and store has yes,no,up,"),
        (LABELS, "takes waveforms, and the network it is to teach log-mel spectrograms"),
    ):
        if labels:
            path.mkdir(parents=True, exist_ok=True)
            inputs = keras.Input((16000,))
            keras.Model(inputs, keras.layers.Dense(len(labels))(inputs)).save(path / "model.keras")
            (path / "labels.txt").write_text("\n".join(labels))
        assert cli.run(train_keras.main, ["--path_to_data", "store", "--max_steps", "1", "--teacher", str(path)]) == 1
        error = capsys.readouterr().err
        assert line in error
        assert error.count("\n") == 1


def test_moving_averages_of_batch_norm_move():
    """The original TensorFlow script's never did, so evaluation saw a network that nobody had trained."""
    network = architectures.tc_resnet(12, (8, 8))
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.SGD(1e-9), loss, jit_compile=False)
    rng = np.random.default_rng(0)
    spectra = rng.normal(-6, 3, (32, 98, 40)).astype(np.float32)
    y = np.eye(12, dtype=np.float32)[rng.integers(0, 12, 32)]
    network.fit(np.tile(spectra, (500, 1, 1)), np.tile(y, (500, 1)), batch_size=32, shuffle=False, verbose=0)
    layer = next(layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization))
    seen = keras.Model(network.input, layer.input)(spectra).numpy()
    np.testing.assert_allclose(layer.moving_mean, seen.mean(axis=(0, 1)), atol=0.02)
    np.testing.assert_allclose(layer.moving_variance, seen.var(axis=(0, 1)), rtol=0.05)


def test_the_interval_is_over_speakers():
    rng = np.random.default_rng(0)
    correct = np.repeat(rng.random(40) < 0.8, 25)  # each of 40 speakers right or wrong throughout
    over_clips = evaluation.accuracy_interval(correct)
    over_speakers = evaluation.accuracy_interval(correct, np.repeat(np.arange(40).astype(str), 25))
    widths = [high - low for low, high in (over_clips, over_speakers)]
    assert over_speakers[0] < correct.mean() < over_speakers[1]
    assert 4 < widths[1] / widths[0] < 6  # about the square root of 25


def test_read_only_data_is_left_alone(folder, monkeypatch, capsys, tiny):
    datasets.write_random_store(folder / "store", 64, 0)
    monkeypatch.setattr("os.access", lambda *_: False)
    before = sorted(p.name for p in (folder / "store").iterdir())
    assert cli.run(train_keras.main, ["--path_to_data", "store", "--max_steps", "1"]) == 0
    assert sorted(p.name for p in (folder / "store").iterdir()) == before
    assert "store is read-only" in capsys.readouterr().out


def test_a_disk_that_was_full_for_a_moment_is_one_line(folder):
    settings = training.parse_settings("train_keras.py", "", ["--random_data"])
    run = runs.Run(settings, "train_keras.py")
    run.begin(training.open_data(settings, run, folder / "spare"), [], [], 1)
    with pytest.raises(cli.CourseError, match="go on with --resume"), run.writing():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(cli.CourseError, match="go on with --resume"), run.writing():
        raise tf.errors.UnknownError(None, None, os.strerror(errno.EDQUOT))
    with pytest.raises(tf.errors.NotFoundError), run.writing():  # what else goes wrong is not taken for that
        raise tf.errors.NotFoundError(None, None, "a checkpoint")


def test_who_names_no_run_is_told_which_there_are(folder):
    (folder / "runs" / "mine").mkdir(parents=True)
    (folder / "runs" / "mine" / "labels.txt").write_text("yes", encoding="utf-8")
    with pytest.raises(cli.CourseError, match=r"holds no model: name another run folder \(runs.mine\)"):
        trained.read_labels("runs/latest")
