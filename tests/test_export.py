"""Guards: every exported file answers what the network answers; the int8 file is small; nothing is left half-made."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import check_refused, tree

from utils import audio, datasets, export, prepare, recogniser, trained
from utils.system import cli
from utils.system.cli import CourseError
from utils.system.quiet import tf

INT8_BYTES = 150_000


@pytest.fixture(scope="module")
def made(voices_raw, tmp_path_factory):
    """A run folder with the network that comes with the course, exported to everything; arrays of voices."""
    folder = tmp_path_factory.mktemp("export")
    run, data = folder / "run", folder / "main" / "preprocessed"
    shutil.copytree(trained.PRETRAINED, run)
    prepare.prepare(voices_raw, folder / "main", folder / "sample")
    kinds = ["web", *(kind for kind in export.NAMES if kind != "web")]
    assert cli.run(export.main, [str(run), "--to", *kinds, "--path_to_data", str(data)]) == 0
    return run, data


@pytest.fixture(scope="module")
def clips(made):
    """Waveforms of the training clips."""
    rows, _ = next(datasets.open_store(made[1])["train"].blocks())
    return audio.to_waveform(rows)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["float", "onnx", "saved_model"])
def test_a_file_answers_what_the_network_answers(kind, made, clips):
    path = made[0] / "export" / export.NAMES[kind]
    if kind == "saved_model":  # of one's own: its graph is run
        loaded = tf.saved_model.load(path)
        exported = loaded.recognise(clips)["probabilities"]
    else:
        exported = export.open_exported(path)(clips)
    np.testing.assert_allclose(exported, recogniser.load(made[0])(clips), atol=1e-4)


@pytest.mark.slow
def test_a_page_has_what_was_exported_with_it_in_whatever_order_they_were_named(made):
    folder = made[0] / "export"
    assert (folder / "web/models/run/stream.tflite").read_bytes() == (folder / trained.STREAM).read_bytes()


@pytest.mark.slow
def test_the_file_for_browsers_that_comes_with_the_course_is_its_network(clips):
    exported = export.open_exported(trained.PRETRAINED / "model_float.tflite")(clips)
    np.testing.assert_allclose(exported, recogniser.load(trained.PRETRAINED)(clips), atol=1e-4)


@pytest.mark.slow
def test_the_int8_file_is_small_takes_raw_sound_and_answers_nearly_the_same(made, clips):
    path = made[0] / "export" / "model_int8.tflite"
    assert path.stat().st_size <= INT8_BYTES
    exported, model = export.open_exported(path), recogniser.load(made[0])
    assert exported.input["shape"].tolist() == [audio.CLIP_SAMPLES, 1]
    assert exported.output["shape"].tolist() == [12]
    before, after = model(clips), exported(clips)
    np.testing.assert_allclose(after.sum(axis=1), 1, atol=0.05)  # in steps of a 256th
    assert np.mean(before.argmax(axis=1) == after.argmax(axis=1)) > 0.9
    assert np.abs(before - after).mean() < 0.02


@pytest.mark.slow
def test_the_prize_is_checked_and_a_card_says_what_the_files_are(made, capsys):
    run, data = made
    assert cli.run(export.main, [str(run), "--check", "prize", "--path_to_data", str(data)]) == 0
    out = capsys.readouterr().out
    assert out.count("ok ") == 4
    assert "before export" in out
    card = (run / "export" / "README.md").read_text()
    for name in export.NAMES.values():
        assert f"`{name}`" in card
    for word in ("CC BY", "Limits", "Pete Warden", "95 % interval"):
        assert word in card


@pytest.mark.slow
def test_a_prize_that_is_missed_is_told(made, monkeypatch):
    monkeypatch.setattr(export, "PRIZE_BYTES", 1000)
    lines, holds = export.check_prize(*made[:1], made[0] / "export" / "model_int8.tflite", made[1])
    assert not holds
    assert [line.split()[0] for line in lines].count("FAILS") == 1


def test_the_float_file_answers_what_the_network_answers_and_the_last_line_says_what_to_do(tmp_path, capsys):
    """The slow tests try the others, which begin from the same graph or take long to convert."""
    run = tmp_path / "run"
    shutil.copytree(trained.PRETRAINED, run)
    sounds = np.random.default_rng(0).normal(0, 0.1, (8, audio.CLIP_SAMPLES)).astype(np.float32)
    assert cli.run(export.main, [str(run), "--to", "float"]) == 0
    file = run / "export" / trained.FLOAT
    then = f"python predict.py --model {file} me.wav"
    assert capsys.readouterr().out.splitlines()[-1] == f"{file.parent}: {file.name}, README.md; next: {then}"
    exported = export.open_exported(file)
    np.testing.assert_allclose(exported(sounds), recogniser.load(run)(sounds), atol=1e-4)


@pytest.mark.slow
def test_a_conversion_that_fails_leaves_the_old_file(tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained.PRETRAINED, run)
    (run / "export").mkdir()
    (run / "export" / export.NAMES["float"]).write_bytes(b"\0\0\0\0TFL3 exported before")
    (run / "weights.npz").write_bytes(b"PK torn")
    before = tree(run)
    with pytest.raises(CourseError, match="damaged or not safe to read"):
        export.export(run, "float")
    assert tree(run) == before


def test_a_model_file_that_could_run_code_is_refused(tmp_path):
    np.savez(tmp_path / "weights.npz", weight_0=np.array([print], dtype=object))
    for name in ("config.json", "labels.txt"):
        shutil.copy(trained.PRETRAINED / name, tmp_path)
    with pytest.raises(CourseError, match="not safe to read"):
        recogniser.load(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [(["run", "--to", "int4"], "invalid choice: 'int4'"), ([], "required: RUN")],
)
def test_bad_use_is_one_line(arguments, line, capsys):
    check_refused(export.main, arguments, line, capsys)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nowhere"], "nowhere holds no model"),
        ([str(trained.PRETRAINED), "--path_to_data", "nowhere"], "nowhere"),
    ],
)
def test_a_missing_run_or_data_is_one_line(arguments, line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.run(export.main, arguments) == 1
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1
    assert not list(Path(tmp_path).iterdir())
