"""Guards: every clip gets one answer, in the order asked for, also one that cannot be read, also after a kill."""

import csv
import errno
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import burst, check_refused

import predict
from utils import audio, models, recogniser, stream, trained
from utils.labels import LABELS, SILENCE, UNKNOWN
from utils.system import cli
from utils.system.quiet import keras


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """A model file."""
    keras.utils.set_random_seed(1)
    path = tmp_path_factory.mktemp("untrained") / "model.keras"
    models.build_model().save(path)
    return path


@pytest.fixture
def folder(untrained, tmp_path, monkeypatch):
    """A project folder with an untrained model and eight test clips."""
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs" / "latest"
    run.mkdir(parents=True)
    shutil.copy(untrained, run)
    (run / "labels.txt").write_text("\n".join(LABELS) + "\n")
    clips = tmp_path / "data" / "raw" / "test" / "audio"
    clips.mkdir(parents=True)
    for number in range(8):
        audio.write_wav(clips / f"clip_{number}.wav", burst(number, 16000))
    return tmp_path


def submission(path):
    with open(path, encoding="utf-8", newline="") as file:
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
    path, label, probability, *mark = lines[0].split()
    assert path.endswith("clip_1.wav")
    assert label in LABELS
    assert 1 / 12 <= float(probability) <= 1
    model = recogniser.load(folder / "runs" / "latest")
    (is_sure,) = model.are_sure(model(audio.to_waveform(audio.read_wav(clip))[None]))
    assert mark == ([] if is_sure else ["not", "sure"])


def test_an_answer_is_sure_by_what_speaks_against_it():
    def are_sure(labels, rows):
        model = recogniser.Recogniser("runs/mine", None, labels, lambda _: np.zeros((1, len(labels))))
        return model.are_sure(np.array(rows), 2).tolist()

    rows = {  # silence, stop, unknown, go: in whatever order
        (0.10, 0.60, 0.10, 0.20): True,
        (0.16, 0.58, 0.16, 0.10): False,  # silence and unknown count together
        (0.05, 0.55, 0.05, 0.35): False,  # it is a command, but which one?
        (0.40, 0.10, 0.40, 0.10): True,  # these two mean the same here
        (0.25, 0.20, 0.35, 0.20): True,  # no matter which command it is not
        (0.05, 0.40, 0.45, 0.10): False,
        (0.0, 1.0, 0.0, 0.0): True,
    }
    assert are_sure([SILENCE, "stop", UNKNOWN, "go"], list(rows)) == list(rows.values())
    assert are_sure(["lights", SILENCE, UNKNOWN], [[0.7, 0.1, 0.2], [0.5, 0.2, 0.3]]) == [True, False]
    assert are_sure([SILENCE, UNKNOWN], [[0.6, 0.4]]) == [True]  # nothing speaks against it


def test_what_is_not_sure_is_marked_in_every_form(folder, capsys, monkeypatch):
    clip = folder / "data/raw/test/audio/clip_1.wav"
    (folder / "text.wav").write_text("no sound " * 9)
    for is_sure in (True, False):
        sure = np.array([is_sure])
        monkeypatch.setattr(recogniser.Recogniser, "are_sure", lambda _, rows, sure=sure: sure.repeat(len(rows)))
        assert cli.run(predict.main, [str(clip)]) == 0
        assert ("not sure" in capsys.readouterr().out) is not is_sure
        assert cli.run(predict.main, [str(clip), "text.wav", "--json", "--said"]) == 1
        answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert answers[0]["sure"] is is_sure
        assert answers[0]["said"] == "audio"
        assert 1 / 12 <= answers[0]["probability"] <= 1
        assert set(answers[1]) == {"file", "said", "error"}


@pytest.mark.parametrize("count", [0, -300])
def test_a_file_without_sound_is_silence_whatever_the_network_thinks(folder, capsys, count):
    audio.write_wav("none.wav", np.full(audio.CLIP_SAMPLES, count, np.int16))
    assert cli.run(predict.main, ["none.wav", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "file": "none.wav",
        "label": "silence",
        "probability": 1.0,
        "sure": True,
    }


def test_without_a_file_it_says_what_can_be_done_here(folder, capsys):
    for example in ("predict.py me.wav", "predict.py data/main/test/yes --said"):
        assert cli.run(predict.main, []) == 2
        assert example in capsys.readouterr().err
        (folder / "data" / "main" / "test" / "yes").mkdir(parents=True, exist_ok=True)


def test_a_table_has_a_row_for_each_file_also_for_one_that_cannot_be_read(folder, capsys):
    (folder / "data/raw/test/audio/clip_2.wav").write_bytes(b"")
    assert cli.run(predict.main, ["data/raw/test/audio", "--csv"]) == 1
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["file"][-10:-4] for row in rows] == [f"clip_{number}" for number in range(8)]
    assert [row["error"] for row in rows] == ["", "", "empty file", *[""] * 5]
    assert {row["label"] for row in rows} <= {*LABELS, ""}


def test_what_cannot_be_read_is_not_called_silence_and_what_was_right_is_counted(folder, monkeypatch, capsys):
    (folder / "silence").mkdir()
    audio.write_wav("silence/none.wav", np.zeros(audio.CLIP_SAMPLES, np.int16))
    (folder / "silence" / "text.wav").write_text("no sound " * 9)
    monkeypatch.chdir("silence")
    assert cli.run(predict.main, ["none.wav", "text.wav", "--said", "--model", str(trained.PRETRAINED)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[1:] == ["silence", "silence", "1.000"]
    assert lines[1].endswith("not read: not a sound file")
    assert lines[2] == "1 of 2 right"


@pytest.mark.parametrize(("no_colour", "n_colours"), [("", 1), ("1", 0)])
def test_a_terminal_gets_lines_that_fit_it(folder, monkeypatch, capsys, no_colour, n_colours):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", no_colour)
    long = folder / ("long " * 20 + ".wav")
    shutil.copy(folder / "data/raw/test/audio/clip_1.wav", long)
    assert cli.run(predict.main, [str(long), "data/raw/test/audio"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9
    for line in lines:
        assert line.count("\033[0m") == n_colours
        plain = re.sub(r"\033\[\d+m", "", line)
        assert len(plain) <= 70
        assert re.search(r"\d%", plain)


def test_a_line_of_time_shows_when_each_word_was_said():
    words = [stream.Detection(seconds, label, 0.9) for seconds, label in ((0.5, "yes"), (9.5, "no"), (12.0, "stop"))]
    lines = list(predict.draw_time(words, 14.0))
    assert [line[:7] for line in lines] == ["  0:00 ", "  0:10 "]
    assert "yes" in list(predict.draw_time([stream.Detection(10.3, "yes", 0.9)], 10.0))[1]  # heard in what follows
    assert [lines[row].index(word) for row, word in ((0, "yes"), (0, "no"), (1, "stop"))] == [7 + 3, 7 + 57, 7 + 12]


def test_batches_and_order_do_not_change_the_answer(folder, monkeypatch):
    paths = predict.find_wavs([folder / "data/raw/test/audio"])
    model = recogniser.load("runs/latest")
    whole = list(predict.recognise(model, paths))
    monkeypatch.setattr(predict, "BATCH_CLIPS", 3)
    parts = list(predict.recognise(model, paths[::-1]))[::-1]
    assert [row[:2] for row in whole] == [row[:2] for row in parts]
    np.testing.assert_allclose([row[2] for row in whole], [row[2] for row in parts], atol=1e-5)


def test_an_interrupted_submission_goes_on_and_ends_as_an_uninterrupted_one(folder, monkeypatch, capsys):
    assert cli.run(predict.main, ["--submission", "whole.csv"]) == 0
    monkeypatch.setattr(predict, "BATCH_CLIPS", 3)
    read, heard = audio.read_loudest_second, []

    def interrupt(path, cancelled):
        heard.append(path)
        if len(heard) == 6:
            raise KeyboardInterrupt
        return read(path, cancelled)

    with monkeypatch.context() as patch:
        patch.setattr(audio, "read_loudest_second", interrupt)
        assert cli.run(predict.main, ["--submission", "out.csv"]) == 130
    assert not (folder / "out.csv").exists()
    assert cli.run(predict.main, ["--submission", "out.csv"]) == 0
    assert "going on after 3 of 8 clips" in capsys.readouterr().out
    assert (folder / "out.csv").read_bytes() == (folder / "whole.csv").read_bytes()
    assert not (folder / ".out.csv.rows").exists()


@pytest.mark.slow
def test_a_killed_submission_goes_on_and_ends_as_an_uninterrupted_one(folder):
    audio_folder = folder / "data/raw/test/audio"
    (audio_folder / "clip_3.wav").write_text("this is text")
    for number in range(8, 3500):
        os.link(audio_folder / f"clip_{number % 8}.wav", audio_folder / f"clip_{number}.wav")
    command = [sys.executable, str(Path(predict.__file__)), "--submission"]
    whole = subprocess.run([*command, "whole.csv"], capture_output=True, text=True, check=False)
    process = subprocess.Popen([*command, "out.csv"], stderr=subprocess.DEVNULL)
    rows = folder / ".out.csv.rows"
    while not rows.exists() or rows.stat().st_size < 50_000:
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (folder / "out.csv").exists()
    again = subprocess.run([*command, "out.csv"], capture_output=True, text=True, check=False)
    assert "going on after" in again.stdout
    assert again.returncode == whole.returncode == 1
    assert again.stderr == whole.stderr  # also names what the first run could not read
    assert (folder / "out.csv").read_bytes() == (folder / "whole.csv").read_bytes()
    assert not rows.exists()


def test_rows_of_another_model_are_not_gone_on_with(folder):
    (folder / ".out.csv.rows").write_text('{"model": "another", "clips": "others"}\n["clip_0.wav", "yes", null]\n')
    assert cli.run(predict.main, ["--submission", "out.csv"]) == 0
    assert cli.run(predict.main, ["--submission", "other.csv"]) == 0
    assert submission("out.csv") == submission("other.csv")


def test_what_kaggle_would_refuse_is_found(folder, capsys):
    assert cli.run(predict.main, ["--submission", "out.csv"]) == 0
    names = [row[0] for row in submission("out.csv")[1:]]
    sample = folder / "data" / "raw" / "sample_submission.csv"
    sample.write_text("fname,label\n" + "".join(f"{name},silence\n" for name in names))
    assert cli.run(predict.main, ["--check", "out.csv"]) == 0
    good = (folder / "out.csv").read_text().splitlines()
    for bad, line in (
        (["file,label", *good[1:]], "header"),
        (good[:-1], "1 of 8 clips have no row, such as clip_7.wav"),
        ([*good, good[3]], "1 clips have several rows, such as clip_2.wav"),
        ([*good, "clip_99.wav,yes"], "1 rows are of no clip of the test, such as clip_99.wav"),
        ([*good[:-1], "clip_7.wav,Yes"], "no such label as 'Yes'"),
        ([*good[:-1], "clip_7.wav"], "in line 9"),
        ([], "header"),
    ):
        (folder / "bad.csv").write_text("\n".join(bad) + "\n" if bad else "")
        capsys.readouterr()
        assert cli.run(predict.main, ["--check", "bad.csv"]) == 1
        assert line in capsys.readouterr().err
    assert cli.run(predict.main, ["--check", "nowhere.csv"]) == 1


@pytest.mark.posix
def test_an_interruption_while_modules_load_is_one_line():
    heed = "signal.signal(signal.SIGINT, signal.default_int_handler)"  # jobs in the background of a shell do not
    code = f"import signal; {heed}; import utils; signal.raise_signal(signal.SIGINT)"
    ended = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, "\n-c: interrupted; run the same command again\n")


def test_without_a_run_the_network_of_the_course_answers(folder, tmp_path, monkeypatch, capsys):
    (folder / "runs").rename(folder / "other")
    assert cli.run(predict.main, ["data/raw/test/audio/clip_1.wav"]) == 0
    assert "pretrained" in capsys.readouterr().err
    (folder / "other" / "latest").rename(folder / "other" / "mine")
    (folder / "other").rename(folder / "runs")
    shutil.copytree(folder / "runs" / "mine", folder / "runs" / "random")  # later, and of no use
    assert cli.run(predict.main, ["data/raw/test/audio/clip_1.wav"]) == 0
    assert f"(yours: --model {Path('runs', 'mine')})" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (["nowhere.wav"], 1, "nowhere.wav does not exist"),
        (["--model", "runs/none", "data"], 1, "train one first"),
        (["empty"], 1, "empty holds no sound files"),
    ],
)
def test_bad_calls_are_one_line(folder, capsys, arguments, status, line):
    (folder / "empty").mkdir()
    assert cli.run(predict.main, arguments) == status
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--stream", "a.wav", "--listen"], "not allowed with argument --stream"),
        (["b.wav", "--stream", "a.wav"], "--stream takes no further files: b.wav"),
        (["--said", "--listen"], "--said is for files"),
        (["--doctor", "--csv"], "--csv is for answers"),
        (["--check", "out.csv", "b.wav"], "takes no further files: b.wav"),
        (["--sumbission", "out.csv"], "did you mean --submission?"),
    ],
)
def test_bad_use_is_one_line(arguments, line, capsys):
    check_refused(predict.main, arguments, line, capsys)


def test_a_row_that_a_power_cut_left_is_written_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    key = '{"model": "x"}\n'
    whole = '["a.wav", "yes", null]\n'
    (tmp_path / "rows").write_text(key + whole + "\0\0\n" + whole, encoding="utf-8")
    assert predict.read_rows(tmp_path / "rows", key) == [whole]


def test_a_file_that_opens_and_cannot_be_read_is_named(tmp_path, monkeypatch):
    audio.write_wav(tmp_path / "a.wav", np.zeros(16000, np.int16))

    class Failing(io.BytesIO):
        def read(self, *size):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("builtins.open", lambda *_, **__: Failing())
    with pytest.raises(audio.WavError, match="cannot be read"):
        audio.read_loudest_second(tmp_path / "a.wav")
