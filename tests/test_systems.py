"""Guards: the same on every system: names, consoles, disks without links."""

import contextlib
import errno
import io
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import burst, check_refused, make_raw, tree

from utils import audio, corpus, prepare, splits
from utils.labels import parse_keywords
from utils.system import cli, files, names

ROOT = Path(__file__).parents[1]
GOOD = ["yes", "Größe", "声", "two words", ".hidden", "console", "com10.wav", "a" * names.MAX_BYTES]
BAD = ["", "a/b", "a\\b", "a\nb", "a\u2028b", "a\udcff", "..", "a.", "a ", 'a"b', "a:b", "a|b", "<a>", "a?", "*"]
BAD += ["CON", "nul.txt", "Com1", "lpt¹", "a" * (names.MAX_BYTES + 1), "声" * 81]


def test_names_that_some_system_cannot_hold_are_known():
    assert [name for name in GOOD if names.find_fault(name)] == []
    assert [name for name in BAD if not names.find_fault(name)] == []


@pytest.mark.parametrize(
    ("keywords", "line"),
    [
        ("yes,con", "'con' is a name that Windows cannot hold"),
        ("yes,no.", "'no.' is a name that Windows cannot hold"),
        ("yes," + "a" * 241, "is too long a name"),
        ("yes,Silence", "'Silence' is a label of its own"),
        ("gr\u00f6\u00dfe,gro\u0308SSE", "names a word twice"),
    ],
)
def test_a_keyword_that_some_system_cannot_hold_is_one_line(keywords, line, capsys):
    check_refused(prepare.main, ["--keywords", keywords], line, capsys)


def test_clips_and_noises_that_some_system_mixes_up_are_listed(tmp_path):
    raw = make_raw(tmp_path / "raw", words=("yes", "bed"))
    folder, noise = raw / "train" / "audio" / "yes", raw / "train" / "audio" / "_background_noise_"
    if (raw / "TRAIN").exists():
        pytest.skip("this system cannot hold both")
    for seed, name in enumerate(("anna_nohash_0.wav", "Anna_nohash_0.wav"), start=5000):
        audio.write_wav(folder / name, burst(seed))
    audio.write_wav(noise / "HUM.wav", burst(6000, 24 * audio.SAMPLE_RATE))
    assert splits.split(raw, tmp_path / "main", tmp_path / "sample", ("yes",)).skipped == [
        ("yes/anna_nohash_0.wav", "another file is already named anna_nohash_0.wav"),
        ("_background_noise_/hum.wav", "another file is already named hum"),
    ]


def test_a_keyword_is_found_however_its_folder_writes_an_accent(tmp_path):
    raw = make_raw(tmp_path / "raw", words=("gru\u0308n", "bed"))
    result = splits.split(raw, tmp_path / "main", tmp_path / "sample", parse_keywords("gr\u00fcn"))
    assert result.counts["train"]["gr\u00fcn"] == 8


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_console_without_a_character_gets_its_number(encoding, monkeypatch):
    console = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", console)
    assert cli.run(lambda arguments: print("heard 声")) == 0
    console.flush()
    assert console.buffer.getvalue().split() == [b"heard", rb"\u58f0"]


def refuse_name(arguments):
    raise FileNotFoundError(2, "No such file or directory", "data/a:b.wav")


def refuse_open_file(arguments):
    error = PermissionError(13, "Permission denied", ".submission.csv.partial", None, "submission.csv")
    error.winerror = 5
    raise error


def refuse_long_path(arguments):
    raise FileNotFoundError(2, "No such file or directory", f"{'a' * 100}/{'b' * 100}/{'c' * 100}")


def refuse_disk(arguments):
    files.require_space("Q:/data", 1)


@pytest.mark.parametrize(
    ("job", "line"),
    [
        (refuse_name, "data/a:b.wav is a name that Windows cannot hold: rename it"),
        (refuse_open_file, " submission.csv cannot be written: close it if another program has it open"),
        (refuse_long_path, "is longer than the 259 characters that Windows allows: rename it"),
        (refuse_disk, "Q:/data: there is no"),
    ],
)
def test_what_a_system_refuses_is_one_line(job, line, monkeypatch, capsys):
    monkeypatch.setattr("os.path.isdir", lambda path: False)  # Windows without a disk Q:
    monkeypatch.setattr("sys.platform", "win32")
    assert cli.run(job) == 1
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC], ids=["locked", "read-only", "full"])
def test_a_disk_that_cannot_be_written_is_one_line(number, tmp_path, monkeypatch, capsys):
    """As any command meets it at its first folder; the slow tests let each command meet real disks."""

    def refuse(path, *arguments, **settings):
        raise OSError(number, os.strerror(number), str(path))

    raw = make_raw(tmp_path / "raw", words=("yes", "bed"))
    before = tree(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.mkdir", refuse)
        call = ["--raw", str(raw), "--main", str(tmp_path / "main"), "--sample", str(tmp_path / "sample")]
        assert cli.run(prepare.main, [*call, "--keywords", "yes"]) == 1
    error = capsys.readouterr().err
    assert ("no space left in" if number == errno.ENOSPC else "no permission for") in error
    assert str(tmp_path) in error
    assert error.count("\n") == 1
    assert tree(tmp_path) == before


def test_sounds_are_told_apart_where_files_have_no_numbers(tmp_path, monkeypatch):
    paths = [tmp_path / "a.wav", tmp_path / "b.wav"]
    for seed, path in enumerate(paths):
        audio.write_wav(path, burst(seed))
        os.utime(path, (0, 0))
    state = paths[0].stat()
    numberless = {"st_dev": state.st_dev, "st_ino": 0, "st_size": state.st_size, "st_mtime_ns": 0}
    monkeypatch.setattr("pathlib.Path.stat", lambda path, **_: SimpleNamespace(st_mode=state.st_mode, **numberless))
    first, second = corpus.Listener().hash_all(paths, "")
    assert first != second


@pytest.fixture
def disk(tmp_path):
    """A disk without links, to which A and a are one name."""
    folder, image = tmp_path / "disk", tmp_path / "image"
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("losetup"):
        pytest.skip("only root of a Linux can mount a disk")
    folder.mkdir()
    with open(image, "wb") as file:
        file.truncate(64 * 2**20)
    for make, kind in (("mkfs.vfat", "vfat"), ("mkfs.exfat", "exfat-fuse")):
        with contextlib.suppress(FileNotFoundError, subprocess.CalledProcessError):
            subprocess.run([make, image], check=True, capture_output=True)
            device = subprocess.check_output(["losetup", "--find", "--show", image], text=True).strip()
            try:
                subprocess.run(["mount", "-t", kind, device, folder], check=True, capture_output=True)
                yield folder
                subprocess.run(["umount", folder], check=True)
            finally:
                subprocess.run(["losetup", "--detach", device], check=True)
            return
    pytest.skip("neither vfat (dosfstools) nor exfat (exfatprogs, exfat-fuse) can be mounted here")


def test_a_disk_without_links_gets_the_same_files(disk, tmp_path, capsys):
    raw = make_raw(tmp_path / "raw", words=("yes", "声", "bed"))
    for folder in (tmp_path, disk):
        places = folder / "main", folder / "sample"
        prepare.prepare(raw, *places, keywords=("yes", "声"))
        result, written = prepare.prepare(raw, *places, keywords=("yes", "声"))
        assert not result.made
        assert not written
    assert tree(disk) == {**tree(tmp_path / "main", "main/"), **tree(tmp_path / "sample", "sample/")}
    audio.write_wav(raw / "train" / "audio" / "yes" / "a:b_nohash_0.wav", burst(99))
    call = ["--raw", str(raw), "--main", str(disk / "main"), "--sample", str(disk / "sample"), "--keywords", "yes,声"]
    assert cli.run(prepare.main, call) == 1
    assert "a:b_nohash_0.wav is a name that Windows cannot hold: rename it" in capsys.readouterr().err


@pytest.mark.posix
@pytest.mark.parametrize("columns", [0, 90])
def test_a_bar_is_seen_in_a_terminal_that_does_not_tell_its_size(columns):
    import fcntl
    import pty
    import termios

    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24 * (columns > 0), columns, 0, 0))
    code = "from utils.system import cli\nfor _ in cli.progress(range(3), delay=0, leave=True): pass"
    subprocess.run([sys.executable, "-c", code], stdin=end, stdout=end, stderr=end, cwd=ROOT, check=True)
    assert "3/3" in os.read(terminal, 10_000).decode()


def test_a_folder_renamed_to_its_own_name_stays(tmp_path):
    (tmp_path / "lights").mkdir()
    (tmp_path / "lights" / "1.wav").write_bytes(b"sound")
    files.replace(tmp_path / "lights", tmp_path / "lights")
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["lights", "lights/1.wav"]


@pytest.mark.posix
@pytest.mark.parametrize(
    ("version", "line"),
    [
        ("3.10", "Python 3.10 is not supported"),
        ("3.13", "Python 3.13 takes a C compiler"),
        ("3.14", "Python 3.14 is not supported"),
    ],
)
def test_a_python_that_cannot_install_gets_its_line_first(version, line, tmp_path):
    python = tmp_path / "python"
    fake = (
        f"import shutil, sys; sys.version_info = (*map(int, '{version}'.split('.')), 0); shutil.which = lambda _: None"
    )
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{fake}; exec(sys.argv[1])" "$2"\n', encoding="utf-8")
    python.chmod(0o755)
    for name in ("Makefile", "req.txt"):
        shutil.copy(ROOT / name, tmp_path)
    done = subprocess.run(
        ["make", "demo", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert line in done.stderr
    assert not (tmp_path / ".venv").exists()
