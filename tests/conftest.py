"""Data for the tests: tiny made wavs, built-in voices, and the real recordings where they are."""

import contextlib
import csv
import os
import shutil
import socket
import subprocess
import time
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import py7zr
import pytest

from utils import audio, models, sources, voices
from utils.labels import KEYWORDS
from utils.system import cli, files

ARCHIVE = Path(__file__).parents[2] / "shared" / "recordings" / "tensorflow-speech-recognition-challenge.zip"
KILLED = -9 if os.name == "posix" else 1  # what a process returns that was killed
PATIENCE = 60  # seconds for a server to answer, and for a page to show what it should
# Code for a process of its own: the megabytes that it has held at most.
PEAK = """
import resource, sys
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
"""
SPEAKERS = [f"{number:08x}" for number in range(10)]


def pytest_addoption(parser):
    """What the README's pictures are made with."""
    parser.addoption("--runs", metavar="FOLDER", help="logs of runs keras and tensorflow, to be photographed")
    parser.addoption("--photographs", metavar="FOLDER", help="where to keep pictures of the page")


def pytest_collection_modifyitems(items):
    """Pass over what Windows has not."""
    if os.name != "posix":
        for item in items:
            if item.get_closest_marker("posix"):
                item.add_marker(pytest.mark.skip(reason="needs pipes, sockets, mounts or rlimits of a POSIX system"))


def burst(seed, n_samples=1600):
    """A short tone that differs for every seed."""
    rng = np.random.default_rng(seed)
    tone = np.sin(np.arange(n_samples) * rng.uniform(0.05, 0.5)) * 8000
    return (tone + rng.normal(0, 100, n_samples)).astype(np.int16)


def make_raw(raw, words=(*KEYWORDS, "bed", "cat"), speakers=SPEAKERS, noises=("hum", "tap"), seconds=24):
    """Kaggle's layout with one clip a word and speaker; the first speaker validates, the second tests."""
    train = raw / "train"
    for w, word in enumerate(words):
        folder = train / "audio" / word
        folder.mkdir(parents=True)
        for s, speaker in enumerate(speakers):
            audio.write_wav(folder / f"{speaker}_nohash_0.wav", burst(100 * w + s))
    folder = train / "audio" / "_background_noise_"
    folder.mkdir()
    for n, name in enumerate(noises):
        audio.write_wav(folder / f"{name}.wav", burst(10_000 + n, seconds * audio.SAMPLE_RATE))
    for name, speaker in (("validation", speakers[0]), ("testing", speakers[1])):
        lines = [f"{word}/{speaker}_nohash_0.wav\n" for word in words]
        (train / f"{name}_list.txt").write_text("".join(lines))
    return raw


def pack_challenge(folder):
    """What Kaggle hands out, in small: a zip of train.7z, test.7z and sample_submission.7z, and what is in it."""
    raw = make_raw(folder / "made", words=("yes", "bed"), seconds=3)
    (raw / "test" / "audio").mkdir(parents=True)
    (raw / "test" / "audio" / "clip_1.wav").write_bytes((raw / "train/audio/yes/00000000_nohash_0.wav").read_bytes())
    (raw / "sample_submission.csv").write_text("fname,label\nclip_1.wav,silence\n")
    for name, member in (("train", "train"), ("test", "test"), ("sample_submission", "sample_submission.csv")):
        with py7zr.SevenZipFile(folder / f"{name}.7z", "w") as archive:
            archive.writeall(raw / member, member)
    with zipfile.ZipFile(folder / "challenge.zip", "w") as outer:
        for name in ("train", "test", "sample_submission"):
            outer.write(folder / f"{name}.7z", f"{name}.7z")
    return folder / "challenge.zip", raw


@pytest.fixture
def raw(tmp_path):
    """Tiny made recordings."""
    return make_raw(tmp_path / "data" / "raw")


@pytest.fixture(scope="session")
def voices_raw(tmp_path_factory):
    """Built-in voices of ten speakers."""
    raw = tmp_path_factory.mktemp("voices") / "raw"
    voices.make_voices(raw, n_speakers=10, n_test_clips=24)
    return raw


@contextlib.contextmanager
def tiny_networks():
    """A small network under the default one's name, in both scripts: what a run leaves is the same, its graph is quick.

    For tests in this process that are not of the network itself.
    """
    with pytest.MonkeyPatch.context() as patch:
        narrow = models.Entry("tc_resnet", {"channels": (2,), "dropout": 0.3})
        patch.setitem(models.NETWORKS, models.DEFAULT, narrow)
        yield


@pytest.fixture
def tiny():
    """See :func:`tiny_networks`."""
    with tiny_networks():
        yield


@pytest.fixture(scope="session")
def archive():
    """The real recordings, in Kaggle's own archive."""
    if not ARCHIVE.exists():
        pytest.skip("the real recordings are not on this machine (../shared/recordings)")
    return ARCHIVE


@pytest.fixture(scope="session")
def real_raw(archive, tmp_path_factory):
    """The real recordings, unpacked."""
    raw = tmp_path_factory.mktemp("real") / "raw"
    sources.unpack(archive, raw)
    return raw


@pytest.fixture(scope="session")
def real_clips(real_raw):
    """Some 200 waveforms of them."""
    paths = sorted((real_raw / "train" / "audio").glob("[a-z]*/*.wav"))[::33]
    return audio.to_waveform(np.stack([audio.fit_second(audio.read_wav(path, audio.CLIP_SAMPLES)) for path in paths]))


def free_ports(n):
    """Ports of this computer on which nothing listens."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for taken in sockets:
            taken.bind(("127.0.0.1", 0))
        return [taken.getsockname()[1] for taken in sockets]


@contextlib.contextmanager
def serving(command, url, **settings):
    """A server that has answered once, until the block ends."""
    server = subprocess.Popen(command, **settings)
    try:
        for _ in range(PATIENCE):
            assert server.poll() is None, f"the server of {url} ended: is something else on its port?"
            with contextlib.suppress(OSError), urllib.request.urlopen(url):
                break
            time.sleep(1)
        else:
            pytest.fail(f"{url} did not answer")
        yield server
    finally:
        server.terminate()
        server.wait()


def start_browser(playwright, *flags):
    """Headless Chromium of this machine; a test that needs one is passed over where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if not browser:
        pytest.skip("no Chromium on this machine")
    # A browser of root, as in a container, has no sandbox.
    return playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", *flags])


def read_log(run):
    """Step, split, loss and accuracy of each row of a run's log."""
    with open(run / "log.csv", encoding="utf-8", newline="") as file:
        return [(row["step"], row["split"], row["loss"], row["accuracy"]) for row in csv.DictReader(file)]


def kill_after_epoch_2(process, victim=None):
    """Read what a training process prints, and kill it (or the victim) once the second epoch is over."""
    for line in process.stdout:
        if line.startswith("epoch   2"):
            break
    victim = victim or process
    victim.kill()
    assert victim.wait() == KILLED
    victim.stdout.close()


@contextlib.contextmanager
def dying_after(n_moves, monkeypatch):
    """A run that ends abruptly when it has moved so many parts into their places."""
    replace, done = files.replace, []

    def replace_or_die(source, target, *kind):
        if len(done) == n_moves:
            raise KeyboardInterrupt
        done.append(target)
        replace(source, target, *kind)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(files, "replace", replace_or_die)
        yield


def check_refused(main, arguments, line, capsys):
    """Bad use: one line that says so, and status 2."""
    with pytest.raises(SystemExit) as stopped:
        cli.run(main, arguments)
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert line in error
    assert error.count("\n") == 1


def open_files(folder):
    """Files under a folder that this process has open: Windows would neither rename nor remove them."""
    held = Path("/proc/self/fd")  # on Linux alone
    links = [link for link in held.iterdir() if link.is_symlink()] if held.exists() else []
    return [path for path in map(Path.readlink, links) if path.is_relative_to(folder)]


def tree(folder, before=""):
    """Relative path -> content of every file under a folder."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {before + path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
