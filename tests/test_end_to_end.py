"""Guards: the main job, from recordings to a submission, as a user types it."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import tree

ROOT = Path(__file__).parents[1]


def run(folder, *command):
    home = {name: str(folder) for name in ("HOME", "USERPROFILE")}
    console = {"PYTHONIOENCODING": "cp1252", "PYTHONWARNDEFAULTENCODING": "1"}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, **home, **console, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="cp1252",
        errors="replace",  # TensorFlow writes UTF-8
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ours = re.escape(str(ROOT) + os.sep) + r"(utils.)?\w+\.py"
    assert not re.search(f"{ours}:\\d+: EncodingWarning", done.stderr), done.stderr
    return done.stdout


def accuracy_of(solution, submission):
    with (
        open(solution, encoding="utf-8", newline="") as truth,
        open(submission, encoding="utf-8", newline="") as answers,
    ):
        said, heard = dict(csv.reader(truth)), dict(csv.reader(answers))
    assert list(said) == list(heard)
    return sum(said[name] == heard[name] for name in said if name != "fname") / (len(said) - 1)


@pytest.mark.slow
def test_built_in_voices_from_nothing_to_a_submission(tmp_path):
    folder = tmp_path / "Größe 声 data"
    folder.mkdir()
    assert "built-in voices, 40 speakers" in run(folder, "-m", "utils.voices", "--speakers", "40")
    assert "nothing to do" in run(folder, "-m", "utils.voices", "--speakers", "40")
    run(folder, "-m", "utils.prepare")
    before = tree(folder / "data")
    main = str(folder / "data/main")  # with a character that this console lacks
    assert r"Größe \u58f0 data" in run(folder, "-m", "utils.prepare", "--main", main)
    assert tree(folder / "data") == before
    assert "built-in voices (files " in run(folder, str(ROOT / "train_keras.py"))
    run(folder, str(ROOT / "predict.py"), "--submission", "submission.csv")
    accuracy = accuracy_of(folder / "data/raw/voices_solution.csv", folder / "submission.csv")
    assert accuracy > 0.5  # chance is 1/12; unknown words and voices are new


@pytest.mark.recordings
def test_the_real_archive_from_zip_to_submission(tmp_path, archive):
    run(tmp_path, "-m", "utils.sources", "archive", str(archive))
    assert "nothing to do" in run(tmp_path, "-m", "utils.sources", "archive", str(archive))
    run(tmp_path, "-m", "utils.prepare")
    note = json.loads((tmp_path / "data/main/split.json").read_text())
    assert note["dataset"] == f"recordings ({archive.name})"
    assert note["warnings"] == []
    run(tmp_path, str(ROOT / "train_keras.py"), "--epochs", "30")
    result = json.loads((tmp_path / "runs/latest/result.json").read_text())
    assert result["cv_accuracy"] > 0.81  # the original's headline
    run(tmp_path, str(ROOT / "predict.py"), "--submission", "submission.csv")
    with (
        open(tmp_path / "submission.csv", encoding="utf-8") as ours,
        open(tmp_path / "data/raw/sample_submission.csv", encoding="utf-8") as sample,
    ):
        assert [line.split(",")[0] for line in ours] == [line.split(",")[0] for line in sample]
