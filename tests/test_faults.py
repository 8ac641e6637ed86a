"""Guards: killed, or on a full, locked or read-only disk, a command loses nothing; equal seeds give equal results.

More times: benchmarks/faults.py.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import read_log, tree

from benchmarks import faults

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow
on_disks = pytest.mark.skipif(
    sys.platform != "linux" or os.getuid() != 0, reason="disks are made in memory, which takes Linux and root"
)
TIMED = re.compile(rb'"(inputs|of)": ("\w+"|\[[^]]*\])')
SCRIPTS = [name for name, job in faults.JOBS.items() if job.training]
OF_DATA = [name for name in faults.JOBS if name not in SCRIPTS]


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """What jobs begin from, made once."""
    return {"root": tmp_path_factory.mktemp("faults")}


def find_losses(fault, job, bases):
    """Why a job did not survive a fault."""
    return faults.try_fault(fault, job, 1, bases, np.random.default_rng(faults.SEED))[1]


@pytest.mark.posix
@pytest.mark.parametrize("job", ["sources", "voices", "store"])
def test_a_kill_loses_nothing(job, bases):
    """The others are killed at a moment that counts, in the tests of splits, features, predict and both scripts."""
    assert find_losses("killed", job, bases) == []


@on_disks
@pytest.mark.parametrize("name", OF_DATA)
def test_a_disk_that_cannot_be_written_is_one_line(name, bases):
    """Each fault leaves all as it was before, so that one more run tells of all three whether something was lost."""
    job, rng = faults.JOBS[name], np.random.default_rng(faults.SEED)
    base = faults.begin(job.begins_from, bases) if job.begins_from else None
    folder = bases["root"] / f"place of {name}"
    with faults.disk(folder):
        faults.copy(base, folder)
        before = faults.count_used(folder)
        faults.finish(job.run(folder))
        wanted, n_bytes = faults.outcome(job, folder), faults.count_used(folder) - before
    folder.rmdir()
    with faults.disk(folder) as remount:
        faults.copy(base, folder)
        for fault in ("full", "locked", "read-only"):
            assert faults.DISK_FAULTS[fault](job, folder, n_bytes, rng, remount) is None, fault
        assert faults.find_loss(job, folder, wanted) is None


@on_disks
@pytest.mark.parametrize("job", SCRIPTS)
def test_a_disk_that_fills_while_training_is_one_line(job, bases):
    assert find_losses("filled", job, bases) == []


@pytest.mark.posix
def test_a_job_that_does_not_survive_is_told(monkeypatch, capsys):
    monkeypatch.setattr(faults, "outcome", lambda job, folder: {"a": os.urandom(4)})
    assert faults.main(["--faults", "killed", "--jobs", "voices", "--times", "1"]) == 1
    assert "another result" in capsys.readouterr().err


def make_demo(folder):
    """What make demo does, in small, and the same in plain TensorFlow."""
    folder.mkdir()
    for command in (
        ("-m", "utils.voices", "--speakers", "6"),
        ("-m", "utils.prepare"),
        (ROOT / "train_keras.py", "--epochs", "2", "--logrun", "keras"),
        (ROOT / "train_tensorflow.py", "--epochs", "2", "--logrun", "tensorflow"),
    ):
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, check=True)


def timeless(folder):
    """What two demos must have in common: data, weights, logs and results, but no times."""
    runs = sorted((folder / "runs").iterdir())
    # Of data that was made of others, manifests tell names, sizes and times; TensorFlow notes when it saved.
    data = {path: re.sub(TIMED, b"", content) for path, content in tree(folder / "data").items()}
    results = [{**json.loads((run / "result.json").read_text()), "seconds": None} for run in runs]
    weights = [{**tree(run / "best"), "checkpoint": None} for run in runs]
    return data, results, [read_log(run) for run in runs], weights


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    for name in ("first", "second"):
        make_demo(tmp_path / name)
    for first, second in zip(timeless(tmp_path / "first"), timeless(tmp_path / "second")):
        assert len(first) > 1
        assert first == second
