"""Guards: what Kaggle hands out is brought to its place whole, or nothing is."""

import shutil
from types import SimpleNamespace

import pytest
from conftest import dying_after, make_raw, pack_challenge, tree

from utils import sources
from utils.system.cli import CourseError


@pytest.fixture
def download(tmp_path):
    return pack_challenge(tmp_path)


def test_the_zip_of_7z_files_is_unpacked_once(download, tmp_path):
    path, made = download
    raw = tmp_path / "data" / "raw"
    assert sources.unpack(path, raw) == list(sources.PARTS)
    found = tree(raw)
    found.pop("source.json")
    assert found == tree(made)
    assert sources.unpack(path, raw) == []
    assert sorted(p.name for p in raw.parent.iterdir()) == ["raw"]
    assert sources.describe_source(raw)["name"] == "recordings (challenge.zip)"


@pytest.mark.parametrize("way", ["parts one by one", "a folder of parts", "an unpacked folder", "half unpacked"])
def test_parts_and_folders_give_the_same(download, tmp_path, way):
    _, made = download
    raw, box = tmp_path / "data" / "raw", tmp_path / "box"
    box.mkdir()
    for name in ("train", "test", "sample_submission"):
        (tmp_path / f"{name}.7z").rename(box / f"{name}.7z")
    if way == "half unpacked":
        shutil.copytree(made / "train", box / "train")
    if way == "parts one by one":
        for part in sorted(box.iterdir()):
            sources.unpack(part, raw)
    else:
        sources.unpack(made if way == "an unpacked folder" else box, raw)
    found = tree(raw)
    found.pop("source.json")
    assert found == tree(made)


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.95])
def test_a_damaged_download_leaves_nothing(download, tmp_path, cut):
    path, _ = download
    content = path.read_bytes()
    path.write_bytes(content[: int(cut * len(content))])
    with pytest.raises(CourseError, match="damaged"):
        sources.unpack(path, tmp_path / "data" / "raw")
    assert not (tmp_path / "data").exists()


def test_a_full_disk_is_found_out_before_writing(download, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(CourseError, match="MB free and"):
        sources.unpack(download[0], tmp_path / "data" / "raw")
    assert not (tmp_path / "data").exists()


def test_another_source_in_the_way_is_named_and_kept(download, tmp_path):
    raw = make_raw(tmp_path / "data" / "raw")
    before = tree(raw)
    with pytest.raises(CourseError, match="already there, from another source"):
        sources.unpack(download[0], raw)
    assert tree(raw) == before


def test_another_source_is_named_before_minutes_of_unpacking(download, tmp_path, monkeypatch):
    raw = tmp_path / "data" / "raw"
    for part in sources.PARTS:
        (raw / part).mkdir(parents=True)
    monkeypatch.setattr(sources, "_gather", None)  # would fail if it were called
    with pytest.raises(CourseError, match="already there, from another source"):
        sources.unpack(download[0], raw)


def test_a_missing_path_is_one_line_and_status_1(tmp_path, capsys, monkeypatch):
    from utils.system import cli

    monkeypatch.chdir(tmp_path)
    assert cli.run(sources.main, ["archive", "nowhere.zip"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_a_run_killed_between_two_parts_is_gone_on_with(download, tmp_path, monkeypatch, moved):
    path, made = download
    raw = tmp_path / "data" / "raw"
    with dying_after(moved, monkeypatch):
        sources.unpack(path, raw)
    assert sources.unpack(path, raw) == list(sources.PARTS)
    found = tree(raw)
    found.pop("source.json")
    assert found == tree(made)
