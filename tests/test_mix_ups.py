"""Guards: labels, clips and weights that do not belong together are refused; settings for other work do not count."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import check_refused, read_log, tree

import app
import predict
import train_keras
import train_tensorflow
from benchmarks import load, page, pipeline, streams, submission
from utils import datasets, export, features, models, recogniser, runs, trained, training, voices
from utils.labels import LABELS
from utils.nets import devices, plain
from utils.settings import Settings
from utils.system import cli, quiet
from utils.system.quiet import keras, tf

ROOT = Path(__file__).parents[1]
MINE = ("lights", "music", "silence", "unknown")
TURNED = ("music", "lights", "silence", "unknown")
MORE = ("lights", "music", "stop", "silence", "unknown")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_store(labels=MINE, n_clips=16, seed=0, path="store"):
    """A store, in place of the one that was there."""
    shutil.rmtree(path, ignore_errors=True)
    datasets.write_random_store(path, n_clips, seed, labels)
    return datasets.open_store(path)


def one_line(main, arguments, capsys):
    """What a job that fails says, in one line."""
    capsys.readouterr()
    assert cli.run(main, arguments) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


def begin_run(**settings):
    settings = Settings(path_to_data="store", **settings)
    run = runs.Run(settings, "train_keras.py")
    run.begin(training.open_data(settings, run, None), [], [], 1)
    return run


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"labels": TURNED}, "has the labels lights,music,silence,unknown and store has music,lights,silence,unknown"),
        ({"labels": MORE}, "and store has lights,music,stop,silence,unknown: go on with arrays of the labels"),
        (
            {"seed": 5},
            r"began with other clips, random data \(files \w{12}\), than store holds, random data \(files \w{12}",
        ),
        ({"n_clips": 24}, "began with other clips"),
    ],
)
def test_a_run_goes_on_with_what_it_began_with(change, line, folder):
    make_store()
    begin_run()
    make_store()
    begin_run(resume=True)
    before = tree(folder / "runs")
    with pytest.raises(cli.CourseError, match=line):
        make_store(**change)
        begin_run(resume=True)
    assert tree(folder / "runs") == before


def test_a_run_from_before_its_data_was_noted_goes_on(folder):
    make_store()
    run = begin_run()
    config = json.loads((run.work / "config.json").read_text())
    del config["dataset"], config["dataset_hash"]
    (run.work / "config.json").write_text(json.dumps(config))
    make_store(seed=5)
    begin_run(resume=True)


def test_a_finished_run_that_is_trained_longer_leaves_its_old_model_and_export_behind(folder):
    make_store()
    run = begin_run()
    run.end_epoch((1.0, 0.1), (1.0, 0.1), 0.1, [], lambda: np.eye(4))
    for name in ("model.keras", "export/model_float.tflite", "export/README.md"):
        (run.work / name).parent.mkdir(exist_ok=True)
        (run.work / name).write_text("old")
    run.finish({})
    longer = begin_run(resume=True, epochs=90)
    assert (longer.epoch, longer.step) == (1, 0)
    assert sorted(path.name for path in longer.work.iterdir()) == [
        "best",
        "config.json",
        "labels.txt",
        "last",
        "log.csv",
    ]
    longer.finish({})
    assert trained.find_exported(longer.final) is None
    assert trained.find_model(longer.final) is None


def test_a_copied_run_is_gone_on_with_where_it_lies(folder, capsys):
    make_store()
    begin_run(logrun="first").finish({})
    shutil.copytree("runs/first", "runs/latest")
    assert training.parse_settings("train_keras.py", "", ["--resume"]).logrun == "latest"


def test_half_a_first_checkpoint_is_no_checkpoint(folder):
    make_store()
    run = begin_run()
    (run.work / "last" / ".checkpoint.npz.partial").write_bytes(b"PK")
    assert begin_run(resume=True).epoch == 0
    (run.work / "last" / "ckpt-1.index").write_bytes(b"TensorFlow's")
    with pytest.raises(cli.CourseError, match="begun by an earlier version"):
        begin_run(resume=True)


@pytest.mark.parametrize("script", [train_keras, train_tensorflow])
def test_a_resumed_script_takes_no_step_too_many_and_no_other_labels(script, folder, capsys, tiny):
    make_store(LABELS, 48)
    keras.backend.clear_session()
    assert cli.run(script.main, ["--path_to_data", "store", "--batch_size", "32", "--max_steps", "2"]) == 0
    run = folder / "runs" / "latest"
    log, result = read_log(run), json.loads((run / "result.json").read_text())
    assert cli.run(script.main, ["--resume", "--max_steps", "2"]) == 0
    assert read_log(run) == log
    assert {row[0] for row in log} == {"2"}
    assert json.loads((run / "result.json").read_text())["confusion"] == result["confusion"]
    for labels in (LABELS[::-1], MINE):
        make_store(labels, 48)
        before = tree(run)
        line = one_line(script.main, ["--resume"], capsys)
        assert f"has the labels {','.join(LABELS)} and store has {','.join(labels)}" in line
        assert tree(run) == before


def test_files_of_a_run_are_made_and_scored_with_its_own_labels(folder, capsys):
    shutil.copytree(trained.PRETRAINED, folder / "run")
    before = tree(folder / "run")
    for labels in (LABELS[::-1], MINE):
        make_store(labels)
        line = one_line(export.main, ["run", "--to", "int8", "--path_to_data", "store"], capsys)
        assert f"run has the labels {','.join(LABELS)} and store has {','.join(labels)}" in line
        with pytest.raises(cli.CourseError, match="store has " + ",".join(labels)):
            export.check_prize("run", Path("run/export/model_int8.tflite"), "store")
    assert tree(folder / "run") == before


def save_half(path):
    shutil.copytree(trained.PRETRAINED, path, dirs_exist_ok=True)


def save_keras(path):
    models.build_model("tc_resnet8").save(path / "model.keras")


def save_tensorflow(path):
    network = plain.make_network(models.DEFAULT, len(LABELS))
    tf.saved_model.save(plain.Servable(network), path / "saved_model")
    (path / "config.json").write_text(json.dumps({"model": models.DEFAULT}))


@pytest.mark.parametrize("save", [save_half, save_keras, save_tensorflow])
def test_another_number_of_labels_is_not_called_damage(save, folder):
    run = folder / "run"
    run.mkdir()
    save(run)
    for labels in (LABELS[1:], (*LABELS, "more")):
        (run / "labels.txt").write_text("\n".join(labels))
        with pytest.raises(cli.CourseError, match=f"labels.txt lists {len(labels)} labels, the model has 12"):
            recogniser.load(run)


def test_a_checkpoint_of_another_network_is_not_read_in_part(folder):
    models.write_variables(folder / "a.npz", [tf.Variable(1.0), tf.Variable(2.0)])
    variable = tf.Variable(0.0)
    with pytest.raises(cli.CourseError, match="holds 2 variables and the network has 1"):
        models.read_variables(folder / "a.npz", [variable])
    assert variable.numpy() == 0


def test_sets_and_features_of_other_clips_are_not_joined():
    mine, turned = make_store(MINE)["train"], make_store(TURNED, path="turned")["train"]
    with pytest.raises(cli.CourseError, match="lights,music,silence,unknown and turned has music,lights"):
        mine.joined(turned)
    other = make_store(MINE, seed=1, path="other")["train"]
    with pytest.raises(cli.CourseError, match="belongs to other clips"):
        mine.with_log_mel(datasets.log_mel_set(other, "features").inputs[0])
    for name in ("cv_X.bc", "cv_y.bc"):
        shutil.rmtree(Path("store", name))
        shutil.copytree(Path("turned", name), Path("store", name))
    with pytest.raises(cli.CourseError, match="other labels than each other"):
        datasets.open_store("store")


@pytest.mark.parametrize("batch_size", [1, 7, 64, 100, 256, 1000])
def test_batches_have_the_size_that_was_asked_for(batch_size):
    whole = make_store(MINE, 300)["train"]
    kept = np.arange(300) % 3 == 0
    kept[64:128] = False  # a chunk of which nothing is left
    for clip_set in (whole, whole.only(kept), whole.joined(whole.only(kept))):
        rows, y = (np.concatenate(part) for part in zip(*clip_set.blocks()))
        dataset = datasets.evaluation_dataset(clip_set, batch_size)
        batches = list(dataset)
        sizes = [len(X) for X, _ in batches]
        assert sizes == [min(batch_size, len(y) - start) for start in range(0, len(y), batch_size)]
        assert dataset.cardinality() == len(batches)
        np.testing.assert_array_equal(np.concatenate([X for X, _ in batches]), rows / np.float32(32768))
        np.testing.assert_array_equal(np.concatenate([labels for _, labels in batches]), y)


def test_features_of_some_rows_and_of_joined_sets_are_those_of_the_clips(folder):
    sets = make_store(MINE, 150)
    kept = np.arange(150) % 3 > 0
    some = sets["train"].only(kept)
    for number, clip_set in enumerate((some, some.joined(sets["cv"]), some.only(np.arange(100) > 70))):
        log_mel = datasets.log_mel_set(clip_set, folder / str(number))
        rows = np.concatenate([rows for rows, _ in clip_set.blocks()])
        np.testing.assert_allclose(log_mel.inputs[0][:], features.log_mel(rows / np.float32(32768)), atol=1e-4)
        assert log_mel.names == log_mel.inputs[0].names == clip_set.names
        made = (folder / str(number) / "train_X_log_mel.bc" / "manifest.json").stat().st_mtime_ns
        datasets.log_mel_set(clip_set, folder / str(number))
        assert (folder / str(number) / "train_X_log_mel.bc" / "manifest.json").stat().st_mtime_ns == made
    part = some.inputs[0]
    np.testing.assert_array_equal(part[30:90], np.concatenate([rows for rows, _ in some.blocks()])[30:90])
    others = sets["train"].only(~kept).inputs[0]
    assert len({part.fingerprint, others.fingerprint, sets["train"].inputs[0].fingerprint}) == 3


def test_settings_of_keras_for_other_work_do_not_count(folder):
    (folder / ".keras").mkdir()
    settings = {"backend": "jax", "floatx": "float16", "epsilon": 1, "image_data_format": "channels_first"}
    (folder / ".keras" / "keras.json").write_text(json.dumps(settings))
    code = (
        "from utils.system.quiet import keras, tf; c = keras.config; "
        "print(c.backend(), c.floatx(), c.epsilon(), c.image_data_format(), c.max_epochs(), keras.Variable(1.0).dtype)"
    )
    home = {"HOME": str(folder), "USERPROFILE": str(folder), "PYTHONPATH": str(ROOT)}
    environment = {**os.environ, **home, "KERAS_BACKEND": "torch", "KERAS_MAX_EPOCHS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["tensorflow", "float32", "1e-07", "channels_last", "None", "float32"], done.stderr
    assert json.loads((folder / ".keras" / "keras.json").read_text()) == settings


class Seen(Exception):
    """Carries a parser out of a main function."""


@pytest.mark.parametrize(
    "main",
    [
        *(train_keras.main, train_tensorflow.main, predict.main, app.main, export.main, features.main, voices.main),
        *(load.main, page.main, pipeline.main, streams.main, submission.main),
    ],
)
def test_every_path_that_a_command_takes_may_begin_with_a_tilde(main, monkeypatch, capsys):
    """No flag takes bare text, but an address: what is no name from a list is a path."""

    def show(parser, *_):
        raise Seen(parser)

    monkeypatch.setattr(cli.Parser, "parse_args", show)
    with pytest.raises(Seen) as seen:
        main([])
    (parser,) = seen.value.args
    takes_value = [action for action in parser._actions if action.nargs != 0 and action.dest != "host"]
    assert [a.dest for a in takes_value if a.type in (None, str) and not a.choices] == []


def test_a_tilde_is_ones_home_and_nothing_is_no_path(monkeypatch, folder, capsys):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(folder))
    settings = training.parse_settings("train_keras.py", "", ["--logdir", "~/logs", "--path_to_data", "~"])
    assert (Path(settings.logdir), Path(settings.path_to_data)) == (folder / "logs", folder)
    for main, arguments in (
        (train_keras.main, ["--logdir", ""]),
        (predict.main, ["--submission", "a\0b"]),
        (export.main, [""]),
    ):
        check_refused(main, arguments, "is no path", capsys)


TWO = {"worker": ["a:1", "b:1"]}


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"cluster": ["a:1", "b:1"]}, "not JSON such as"),
        ({"cluster": TWO, "task": "worker"}, "not JSON such as"),
        ({"cluster": None}, "not JSON such as"),
        ({"cluster": TWO}, "no worker of its task's type None"),
        ({"cluster": TWO, "task": {"type": "evaluator", "index": 0}}, "type 'evaluator'"),
        ({"cluster": TWO, "task": {"type": ["worker"], "index": 0}}, "no worker of its task's type"),
        ({"cluster": TWO, "task": {"type": "worker", "index": "0"}}, "index '0'"),
        ({"cluster": TWO, "task": {"type": "worker", "index": 2}}, "index 2"),
        ({"cluster": TWO, "task": {"type": "worker", "index": -1}}, "index -1"),
        ({"cluster": {"worker": "a:1"}}, "not JSON such as"),
        ({"cluster": {"worker": {"0": "a:1"}}}, "not JSON such as"),
        ({"cluster": {"worker": ["a:1", 2]}}, "not JSON such as"),
        ({"cluster": {"worker": ["a", "b"]}}, "not JSON such as"),
        ({"cluster": {"ps": ["a:1"], **TWO}}, "not JSON such as"),
        ({"cluster": {"chief": ["a:1", "b:1"]}}, "no worker of its task's type None"),
        (7, "not JSON such as"),
    ],
)
def test_a_tf_config_that_cannot_be_is_one_line(config, line, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    for name in ("auto", "multi_worker"):
        with pytest.raises(cli.CourseError, match=line) as error:
            devices.make_strategy(name)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("config", "follows"),
    [
        ({"cluster": TWO, "task": {"type": "worker", "index": 0}}, False),
        ({"cluster": TWO, "task": {"type": "worker", "index": 1}}, True),
        ({"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": {"type": "chief", "index": 0}}, False),
        ({"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": {"type": "worker", "index": 0}}, True),
        ({"cluster": {}, "task": {"type": "worker", "index": 3}, "environment": "cloud"}, False),
    ],
)
def test_who_writes_is_told_by_tf_config(config, follows, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert devices.follows_chief() is follows


@pytest.mark.parametrize("main", [train_keras.main, train_tensorflow.main, voices.main])
@pytest.mark.parametrize("seed", ["-1", str(2**32), "1.5", "x", "²"])
def test_a_seed_that_no_generator_takes_is_refused(main, seed, capsys):
    check_refused(main, ["--seed", seed], "is not a whole number from 0 to 4294967295", capsys)


def test_voices_are_made_below_a_long_path(folder):
    """The library cuts the name of its data at 160 bytes."""
    code = """
import sys, espeakng_loader
from utils import voices
data = sys.argv[2] if len(sys.argv) > 2 else espeakng_loader.get_data_path()
espeakng_loader.get_data_path = lambda: data
voices.make_examples(sys.argv[1], ["yes"])
"""
    import espeakng_loader

    long = folder / ("long" * 25) / ("path" * 25)
    long.mkdir(parents=True)
    (long / "espeak-ng-data").symlink_to(espeakng_loader.get_data_path(), target_is_directory=True)
    (folder / "temporary").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder / "temporary")}
    for target, *data in (("short",), ("long", str(long / "espeak-ng-data"))):
        subprocess.run([sys.executable, "-c", code, target, *data], env=environment, check=True)
    assert tree(folder / "short") == tree(folder / "long")
    assert not list((folder / "temporary").iterdir())


def test_who_names_a_folder_above_or_below_the_arrays_is_told(folder):
    make_store(path="main/preprocessed")
    with pytest.raises(cli.CourseError, match=r"main holds no arrays: did you mean main.preprocessed\?"):
        datasets.open_store("main")
    with pytest.raises(cli.CourseError, match=r"did you mean main.preprocessed\?"):
        datasets.open_store("main/preprocessed/train_X.bc")


def test_a_run_is_found_by_its_model_and_hinted_at_by_its_name(folder, capsys):
    run = folder / "runs" / "demo"
    shutil.copytree(trained.PRETRAINED, run)
    assert recogniser.load("runs/demo/weights.npz").folder == Path("runs/demo")
    for name in ("demo", "runs/demo/export", "runs/demo/best/weights.npz"):
        with pytest.raises(cli.CourseError, match=r"holds no model: did you mean runs.demo\?"):
            recogniser.load(name)
        assert "did you mean runs" in one_line(export.main, [name, "--to", "float"], capsys)
        assert "did you mean runs" in one_line(app.main, ["--model", name], capsys)
    with pytest.raises(cli.CourseError, match=r"did you mean runs.demo\?"):
        training.load_teacher("demo", make_store(LABELS)["train"])
    assert trained.find_folder() == trained.PRETRAINED


def test_a_teacher_is_found_by_its_model(folder):
    (folder / "runs" / "demo").mkdir(parents=True)
    models.build_model("tc_resnet8").save("runs/demo/model.keras")
    (folder / "runs" / "demo" / "labels.txt").write_text("\n".join(LABELS))
    assert training.load_teacher("runs/demo/model.keras", make_store(LABELS)["train"]).output_shape == (None, 12)
    (folder / "runs" / "demo" / "labels.txt").write_text("\n".join(MINE))
    with pytest.raises(cli.CourseError, match=r"labels.txt lists 4 labels, the model has 12"):
        training.load_teacher("runs/demo", make_store(MINE)["train"])


@pytest.mark.parametrize(
    ("clips", "lines"),
    [
        (["a.wav", "b.wav", "c.wav"], []),
        (["a.wav"], ["2 of 3 clips of data/raw/sample_submission.csv are missing, such as c.wav"]),
        (
            ["a.wav", "b.wav", "c.wav", "d.wav", "e.wav"],
            ["2 of 5 clips are not in data/raw/sample_submission.csv, such as d.wav"],
        ),
        (
            ["a.wav", "b.wav", "x.wav"],
            ["1 of 3 clips of", "1 of 3 clips are not in data/raw/sample_submission.csv, such as x.wav"],
        ),
    ],
)
def test_a_submission_of_other_clips_than_the_sample_names_is_told(clips, lines, monkeypatch, folder, capsys):
    monkeypatch.setattr(predict, "read_sample", lambda: ["c.wav", "b.wav", "a.wav"])
    order = [path.name for path in predict.submission_order([folder / name for name in clips])]
    assert sorted(order) == clips
    assert (order == ["c.wav", "b.wav", "a.wav"]) is (not lines)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == len(lines)
    assert all(line in text.replace("\\", "/") and "Kaggle would not accept" in text for line, text in zip(lines, said))


def test_labels_are_part_of_what_a_submission_is_gone_on_with(folder):
    found = []
    for labels in (LABELS, LABELS[::-1]):
        shutil.copytree(trained.PRETRAINED, "run", dirs_exist_ok=True)
        Path("run/labels.txt").write_text("\n".join(labels), encoding="utf-8")
        found.append(recogniser.load("run").fingerprint)
    assert found[0] != found[1]


def test_memory_of_a_gpu_is_taken_as_it_is_needed():
    assert quiet.tf and os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
