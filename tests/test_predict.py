"""Guards: every clip gets one answer, in the order asked for, also one that cannot be read."""

import csv

import numpy as np
import pytest
from conftest import burst

import predict
from utils import audio, cli, models, recogniser
from utils.labels import LABELS
from utils.quiet import keras


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project folder with an untrained model and eight test clips."""
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(1)
    run = tmp_path / "runs" / "latest"
    run.mkdir(parents=True)
    models.build_model().save(run / "model.keras")
    (run / "labels.txt").write_text("\n".join(LABELS) + "\n")
    clips = tmp_path / "data" / "raw" / "test" / "audio"
    clips.mkdir(parents=True)
    for number in range(8):
        audio.write_wav(clips / f"clip_{number}.wav", burst(number, 16000))
    return tmp_path


def submission(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


def test_a_submission_has_every_clip_once_in_kaggles_order(folder):
    names = [f"clip_{number}.wav" for number in (3, 1, 0, 2, 7, 6, 5, 4)]
    text = "fname,label\n" + "".join(f"{name},silence\n" for name in names)
    (folder / "data" / "raw" / "sample_submission.csv").write_text(text)
    assert cli.run(predict.main, ["--submission", "out.csv"]) == 0
    rows = submission("out.csv")
    assert rows[0] == ["fname", "label"]
    assert [row[0] for row in rows[1:]] == names
    assert {row[1] for row in rows[1:]} <= set(LABELS)


def test_an_unreadable_clip_keeps_its_row_and_is_named(folder, capsys):
    (folder / "data/raw/test/audio/clip_2.wav").write_bytes(b"")
    (folder / "data/raw/test/audio/clip_5.wav").write_text("this is text")
    assert cli.run(predict.main, ["--submission", "out.csv"]) == 1
    rows = dict(submission("out.csv")[1:])
    assert len(rows) == 8
    assert rows["clip_2.wav"] == rows["clip_5.wav"] == "silence"
    error = capsys.readouterr().err
    assert "clip_2.wav: not read, empty file" in error
    assert "clip_5.wav: not read, not a sound file" in error


def test_a_line_for_each_file_with_label_and_probability(folder, capsys):
    clip = folder / "data/raw/test/audio/clip_1.wav"
    assert cli.run(predict.main, [str(clip), str(clip.parent)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8  # the clip named twice is heard once
    path, label, probability = lines[0].split()
    assert path.endswith("clip_1.wav")
    assert label in LABELS
    assert 1 / 12 <= float(probability) <= 1


def test_batches_and_order_do_not_change_the_answer(folder, monkeypatch):
    paths = predict.find_wavs([folder / "data/raw/test/audio"])
    model = recogniser.load("runs/latest")
    whole = list(predict.recognise(model, paths))
    monkeypatch.setattr(predict, "BATCH_CLIPS", 3)
    parts = list(predict.recognise(model, paths[::-1]))[::-1]
    assert [row[:2] for row in whole] == [row[:2] for row in parts]
    np.testing.assert_allclose([row[2] for row in whole], [row[2] for row in parts], atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (["nowhere.wav"], 1, "nowhere.wav does not exist"),
        (["--model", "runs/none", "data"], 1, "train one first"),
        (["empty"], 1, "empty holds no wav files"),
    ],
)
def test_bad_calls_are_one_line(folder, capsys, arguments, status, line):
    (folder / "empty").mkdir()
    assert cli.run(predict.main, arguments) == status
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1


def test_no_path_is_a_bad_call(folder, capsys):
    with pytest.raises(SystemExit) as stopped:
        predict.main([])
    assert stopped.value.code == 2
    assert "name a wav file" in capsys.readouterr().err
