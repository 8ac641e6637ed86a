"""Guards: a command that is killed and run again ends as if nothing had happened; more kills: benchmarks/faults.py."""

import pytest

from benchmarks import faults


@pytest.mark.parametrize("job", ["voices", "sources", "store", "features"])
def test_a_kill_loses_nothing(job, capsys):
    assert faults.main(["--jobs", job, "--kills", "1"]) == 0, capsys.readouterr().err


def test_a_job_that_does_not_survive_is_told(monkeypatch, capsys):
    monkeypatch.setattr(faults, "outcome", lambda job, folder: {"a": str(folder).encode()})
    assert faults.main(["--jobs", "voices", "--kills", "1"]) == 1
    assert "another result" in capsys.readouterr().err
