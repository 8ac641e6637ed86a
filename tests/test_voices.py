"""Guards: the built-in voices are the same bytes from the same seed, speech-like, in Kaggle's layout."""

import csv
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import tree

from utils import audio, corpus, voices
from utils.labels import LABELS, OTHER_WORDS
from utils.system.cli import BadUse, CourseError


def test_same_seed_same_bytes_on_any_number_of_processors(voices_raw, tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    voices.make_voices(tmp_path / "raw", n_speakers=10, n_test_clips=24)
    assert tree(tmp_path / "raw") == tree(voices_raw)


def test_what_was_spoken_before_in_this_process_changes_no_byte(tmp_path):
    first, other, again = (
        voices.make_examples(tmp_path / name, words)
        for name, words in (
            ("first", ("stop", "left")),
            ("other", ("yes", "no", "marvin")),
            ("again", ("stop", "left")),
        )
    )
    assert len(other) == 3
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]


def test_layout_and_lists(voices_raw):
    clips = list((voices_raw / "train" / "audio").glob("[a-z]*/*.wav"))
    assert len(clips) == 300
    assert {path.parent.name for path in clips} == {*LABELS[:10], *OTHER_WORDS}
    listed = [corpus.read_list(voices_raw / "train" / f"{name}_list.txt") for name in ("validation", "testing")]
    speakers = [{name.split("/")[1][:8] for name in names} for names in listed]
    assert [len(names) for names in listed] == [30, 30]
    assert not speakers[0] & speakers[1]
    with open(voices_raw / "voices_solution.csv", encoding="utf-8", newline="") as file:
        truth = {row["fname"]: row["label"] for row in csv.DictReader(file)}
    assert set(truth) == {path.name for path in (voices_raw / "test" / "audio").iterdir()}
    assert set(truth.values()) == set(LABELS)


def test_clips_are_one_second_of_something_spoken(voices_raw):
    for path in sorted((voices_raw / "train" / "audio").glob("[a-z]*/*.wav"))[::7]:
        samples = audio.read_wav(path).astype(float)
        level = np.sqrt(np.mean(samples.reshape(100, 160) ** 2, axis=1)) + 1e-9
        assert len(samples) == 16000
        assert 0.02 < np.abs(samples).max() / 32768 <= 1  # loud enough, not clipped
        assert 20 * np.log10(level.max() / np.quantile(level, 0.1)) > 20  # dB of speech over the pauses


def test_background_recordings_are_long_and_differ(voices_raw):
    sounds = [audio.read_wav(p) for p in sorted((voices_raw / "train/audio/_background_noise_").glob("*.wav"))]
    assert len(sounds) == 6
    assert min(len(sound) for sound in sounds) >= 60 * 16000
    low = [np.sum(np.abs(np.fft.rfft(s / 1.0)[: len(s) // 40]) ** 2) / np.sum(s.astype(float) ** 2) for s in sounds]
    assert max(low) / min(low) > 5  # share of energy below 400 Hz: not six times the same noise


def test_recordings_in_the_way_are_kept(raw):
    before = tree(raw)
    with pytest.raises(CourseError, match="already holds"):
        voices.make_voices(raw, n_speakers=3, n_test_clips=12)
    assert tree(raw) == before


@pytest.mark.slow
@pytest.mark.posix
def test_ctrl_c_is_one_line_and_leaves_nothing(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "utils.voices"]
    settings = {"cwd": tmp_path, "env": environment, "stderr": subprocess.PIPE, "text": True}
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # jobs in the background of a shell do not
    process = subprocess.Popen(command, **settings, start_new_session=True, preexec_fn=heed)
    while not list(tmp_path.rglob("*_nohash_0.wav")):  # helpers are at work, and get the signal too
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate()
    assert process.returncode == 130
    assert error.split() == ["voices.py:", "interrupted;", "run", "the", "same", "command", "again"]
    assert not list(tmp_path.rglob("*.wav"))


def test_typed_words_are_spoken_with_near_misses_that_are_none_of_them(tmp_path):
    assert {"bights", "lughts", "light"} <= set(voices.near_misses("lights"))
    assert "lights" not in voices.near_misses("lights")
    assert voices.make_words(tmp_path / "raw", ("lights", "music"), n_speakers=10)
    assert not voices.make_words(tmp_path / "raw", ("lights", "music"), n_speakers=10)  # they are there
    folders = {path.name: len(list(path.iterdir())) for path in (tmp_path / "raw" / "train" / "audio").iterdir()}
    assert folders["lights"] == folders["music"] == 10
    assert set(folders) & set(voices.near_misses("lights"))
    with pytest.raises(BadUse, match="something else"):
        voices.make_words(tmp_path / "raw", ("lamp",), n_speakers=10)
    with pytest.raises(CourseError, match="no sound for '-'"):
        voices.make_words(tmp_path / "none", ("-",), n_speakers=2)
