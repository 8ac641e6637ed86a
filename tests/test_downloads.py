"""Guards: a download ends whole and in its place, or with one line and nothing half-written.

The servers are real ones on this machine; Kaggle's is spoken to by the real kaggle package.
"""

import csv
import errno
import hashlib
import http.server
import importlib
import itertools
import json
import lzma
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import dying_after, make_raw, pack_challenge, tree

from utils import datasets, evaluation, prepare, sources
from utils.labels import KEYWORDS, LABELS, OTHER_WORDS
from utils.system import cli, downloads

ROOT = Path(__file__).parents[1]
TOKEN = "a-made-up-token"
KAGGLE = "/v1/competitions.CompetitionApiService/"
SPEAKERS = ("0000000a", "0000000b")
NEW_WORDS = ("backward", "follow", "forward", "learn", "visual")


class Server(http.server.ThreadingHTTPServer):
    """Answers from ``files`` (path -> bytes), with a status from ``refusals``, or cut off when ``cut``.

    With ``cut = "once"`` it is too busy for further requests after the first cut.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files, self.refusals, self.asked, self.cut = {}, {}, [], False

    def handle_error(self, request, client_address):
        """A client that has heard enough is no error."""


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *arguments): ...

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.path, dict(self.headers)))
        status = self.server.refusals.get(self.path)
        if status:
            self.reply(status, b'{"code": %d, "message": "no"}' % status, {"Content-Type": "application/json"})
        elif self.path.endswith("IntrospectToken"):
            good = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            answer = b'{"active": true, "username": "learner"}' if good else b'{"active": false}'
            self.reply(200, answer, {"Content-Type": "application/json"})
        elif self.path.endswith("ListDataFiles"):
            listed = [{"name": "data.zip", "totalBytes": len(self.server.files["/storage/data.zip"])}]
            self.reply(200, json.dumps({"files": listed}).encode(), {"Content-Type": "application/json"})
        else:
            self.reply(302, b"", {"Location": f"{self.server.url}/storage/data.zip?signature=1"})

    def do_GET(self):
        self.server.asked.append((self.path, dict(self.headers)))
        content = self.server.files.get(self.path.split("?")[0])
        status = self.server.refusals.get(self.path.split("?")[0])
        if content is None or status:
            self.reply(status or 404, b"no")
            return
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        headers = {
            "Accept-Ranges": "bytes",
            "ETag": f'"{hashlib.sha256(content).hexdigest()[:16]}"',
            "Last-Modified": "Fri, 17 Nov 2017 12:00:00 GMT",
        }
        self.reply(206 if start else 200, content[start:], headers)

    def reply(self, status, body, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut = self.server.cut and status in (200, 206) and self.command == "GET"
        self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.close_connection = True
        if cut and self.server.cut == "once":
            self.server.refusals[self.path.split("?")[0]] = 503


@pytest.fixture
def server(monkeypatch):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def run(monkeypatch, capsys):
    """Call the command line; return its status and what it said, which is one line but for warnings."""

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["sources.py"])
        status = cli.run(sources.main, [str(argument) for argument in arguments])
        said = capsys.readouterr()
        errors = [line for line in said.err.splitlines(keepends=True) if not line.startswith("warning: ")]
        call.warnings = said.err.count("warning: ")
        text, other = (said.out, "".join(errors)) if status == 0 else ("".join(errors), said.out)
        assert other == ""
        assert text.count("\n") == 1, text
        return status, text

    return call


def names(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def fill_the_disk(monkeypatch, module):
    """Let the files that ``module`` opens for writing meet a full disk."""

    class Full:
        def __enter__(self):
            return self

        def __exit__(self, *error): ...
        def flush(self): ...
        def close(self): ...

        def write(self, data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def open_(path, mode="r", *rest, **settings):
        return Full() if "b" in mode and mode != "rb" else open(path, mode, *rest, **settings)

    monkeypatch.setattr(importlib.import_module(module), "open", open_, raising=False)


def closed_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


# Kaggle


@pytest.fixture(scope="module")
def challenge(tmp_path_factory):
    return pack_challenge(tmp_path_factory.mktemp("challenge"))


@pytest.fixture
def kaggle(server, challenge, tmp_path, monkeypatch):
    """The loopback server in Kaggle's place, with a token that it knows and waits cut short."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    for name in [name for name in os.environ if name.startswith("KAGGLE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    from kaggle.api.kaggle_api_extended import KaggleApi
    from kagglesdk import kaggle_env

    monkeypatch.setattr(KaggleApi, "config", str(home / "kaggle.json"))
    # The package always speaks to production: KAGGLE_API_ENVIRONMENT moves only its lower half.
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, server.url)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    server.files["/storage/data.zip"] = challenge[0].read_bytes()
    return server


def test_kaggle_brings_the_whole_competition_once(kaggle, challenge, run, tmp_path):
    raw = tmp_path / "data" / "raw"
    status, text = run("kaggle", "--raw", raw)
    new = "train, test, sample_submission.csv"
    assert (status, text) == (0, f"{raw}: {new}; next: python -m utils.prepare --raw {raw}\n")
    found = tree(raw)
    found.pop("source.json")
    assert found == tree(challenge[1])
    assert names(raw.parent) == ["raw"]
    assert sources.describe_source(raw)["name"] == "recordings (tensorflow-speech-recognition-challenge.zip)"
    assert (f"{KAGGLE}DownloadDataFiles", f"Bearer {TOKEN}") in [
        (path, headers.get("Authorization")) for path, headers in kaggle.asked
    ]

    kaggle.asked.clear()
    assert run("kaggle", "--raw", raw) == (0, f"{raw}: nothing to do; next: python -m utils.prepare --raw {raw}\n")
    assert kaggle.asked == []


@pytest.mark.parametrize("request_name", ["ListDataFiles", "DownloadDataFiles"])
@pytest.mark.parametrize(
    ("status", "says"),
    [
        (401, "refuses your token: make one on https://www.kaggle.com/settings"),
        (403, "https://www.kaggle.com/c/tensorflow-speech-recognition-challenge/rules"),
        (404, "does not know the competition"),
        (500, "Kaggle answers 500"),
    ],
)
def test_a_refusal_of_kaggle_says_what_to_do(kaggle, run, tmp_path, request_name, status, says):
    kaggle.refusals[KAGGLE + request_name] = status
    code, text = run("kaggle", "--raw", tmp_path / "data" / "raw")
    assert code == 1
    assert says in text
    assert not (tmp_path / "data").exists()


def test_a_token_that_kaggle_does_not_know_is_refused(kaggle, run, tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_TOKEN", "an-old-one")
    code, text = run("kaggle", "--raw", tmp_path / "data" / "raw")
    assert code == 1
    assert "no Kaggle token on this machine that works" in text
    assert "an-old-one" not in text


def test_without_a_token_the_command_says_where_to_make_one(tmp_path):
    settings = {name: value for name, value in os.environ.items() if not name.startswith(("KAGGLE_", "XDG_"))}
    settings |= dict.fromkeys(("HOME", "USERPROFILE"), str(tmp_path))
    command = [sys.executable, "-m", "utils.sources", "kaggle", "--raw", str(tmp_path / "raw")]
    done = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "no Kaggle token" in done.stderr
    assert "https://www.kaggle.com/settings" in done.stderr
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("kaggle.json", b'{"username": "me"'),
        ("kaggle.json", b'{"user": "me", "token": "x"}'),
        ("kaggle.json", b"[1]"),
        ("access_token", b""),
        ("access_token", b"two\nlines"),
        ("access_token", "t\u00f6ken".encode()),
        ("access_token", b"\xff"),
    ],
)
def test_a_broken_token_file_is_one_line(kaggle, run, tmp_path, monkeypatch, name, content):
    from kaggle.api.kaggle_api_extended import KaggleApi

    folder = tmp_path / "home" / ".kaggle"
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    monkeypatch.setattr(KaggleApi, "config", str(folder / "kaggle.json"))
    folder.mkdir()
    (folder / name).write_bytes(content)
    code, text = run("kaggle", "--raw", tmp_path / "data" / "raw")
    assert code == 1
    assert "no Kaggle token on this machine that works" in text
    assert "https://www.kaggle.com/settings" in text
    assert "lines" not in text  # a part of a token


def test_no_way_to_kaggle(kaggle, run, tmp_path, monkeypatch):
    from kagglesdk import kaggle_env

    endpoint = f"http://127.0.0.1:{closed_port()}"
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, endpoint)
    code, text = run("kaggle", "--raw", tmp_path / "data" / "raw")
    assert code == 1
    assert "check the network" in text
    assert not (tmp_path / "data").exists()


def test_a_cut_download_from_kaggle_goes_on_where_it_was(kaggle, challenge, run, tmp_path):
    raw = tmp_path / "data" / "raw"
    large = Path(shutil.copy(challenge[0], tmp_path))  # the package writes whole MB
    with zipfile.ZipFile(large, "a") as archive:
        archive.writestr("notes.txt", os.urandom(8_000_000))
    kaggle.files["/storage/data.zip"] = large.read_bytes()
    kaggle.cut = True
    code, text = run("kaggle", "--raw", raw)
    assert code == 1
    assert "run the same command again" in text
    assert not raw.exists()
    there = (raw.with_name(".kaggle.download") / f"{downloads.COMPETITION}.zip").stat().st_size
    assert 0 < there < len(kaggle.files["/storage/data.zip"])

    kaggle.cut = False
    kaggle.asked.clear()
    assert run("kaggle", "--raw", raw)[0] == 0
    assert f"bytes={there}-" in [headers.get("Range") for _, headers in kaggle.asked]
    found = tree(raw)
    found.pop("source.json")
    assert found == tree(challenge[1])
    assert names(raw.parent) == ["raw"]


def test_a_busy_server_after_a_cut_leaves_no_wrong_bytes(kaggle, challenge, run, tmp_path):
    # The package writes the text of the refusal into the file, and would go on from there.
    raw = tmp_path / "data" / "raw"
    kaggle.cut = "once"
    code, text = run("kaggle", "--raw", raw)
    assert code == 1
    assert "damaged and was removed" in text
    assert names(raw.parent) == []
    kaggle.cut = False
    kaggle.refusals.clear()
    assert run("kaggle", "--raw", raw)[0] == 0


def test_a_run_killed_while_unpacking_does_not_download_again(kaggle, run, tmp_path, monkeypatch):
    raw = tmp_path / "data" / "raw"

    def die(*arguments, **settings):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("utils.system.archives.extract", die)
        sources.download_competition(raw)
    assert names(raw.parent) == [".kaggle.download"]
    kaggle.cut = True  # a download would fail
    assert run("kaggle", "--raw", raw)[0] == 0
    assert names(raw.parent) == ["raw"]


def test_a_damaged_zip_from_kaggle_is_not_kept(kaggle, run, tmp_path):
    raw = tmp_path / "data" / "raw"
    good = kaggle.files["/storage/data.zip"]
    middle = len(good) // 2
    kaggle.files["/storage/data.zip"] = good[:middle] + bytes(64) + good[middle + 64 :]
    code, text = run("kaggle", "--raw", raw)
    assert code == 1
    assert "damaged" in text
    assert names(raw.parent) == []
    kaggle.files["/storage/data.zip"] = good
    assert run("kaggle", "--raw", raw)[0] == 0


def test_kaggle_meets_a_small_disk_before_it_writes(kaggle, run, tmp_path, monkeypatch):
    size = len(kaggle.files["/storage/data.zip"])
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=2 * size))
    code, text = run("kaggle", "--raw", tmp_path / "data" / "raw")
    assert code == 1
    assert "MB free and" in text
    assert names(tmp_path / "data" / ".kaggle.download") == []


def test_kaggle_meets_a_disk_that_fills_up(kaggle, run, tmp_path, monkeypatch):
    raw = tmp_path / "data" / "raw"
    with monkeypatch.context() as patch:
        fill_the_disk(patch, "kaggle.api.kaggle_api_extended")
        code, text = run("kaggle", "--raw", raw)
    assert code == 1
    assert "no space left" in text
    assert not raw.exists()
    assert run("kaggle", "--raw", raw)[0] == 0


def test_kaggle_does_not_download_what_has_no_place(kaggle, run, tmp_path):
    raw = make_raw(tmp_path / "data" / "raw", words=("yes",), seconds=1)
    before = tree(raw)
    code, text = run("kaggle", "--raw", raw)
    assert code == 2
    assert "from another source" in text
    assert tree(raw) == before
    assert kaggle.asked == []


# Speech Commands


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Archives laid out as the public ones: their bytes, the table that names them, the recordings in them."""
    folder = tmp_path_factory.mktemp("speech_commands")
    contents, table, made = {}, {}, {}

    def pack(box, name):
        with tarfile.open(folder / name, "w:gz") as archive:
            archive.add(box, ".")
        content = contents[f"/data/{name}"] = (folder / name).read_bytes()
        table[name.removesuffix(".tar.gz")] = len(content), hashlib.sha256(content).hexdigest()

    for version, new_words in ((1, ()), (2, NEW_WORDS)):
        raw = make_raw(folder / f"v{version}", (*KEYWORDS, *OTHER_WORDS, *new_words), SPEAKERS, seconds=1)
        box = raw / "train" / "audio"
        for path in (raw / "train").glob("*.txt"):
            path.rename(box / path.name)
        (box / "LICENSE").write_text("CC BY 4.0")
        made[version] = box
        pack(box, f"speech_commands_v0.0{version}.tar.gz")

    test_set = folder / "test_set"
    for number, label in enumerate((*KEYWORDS, "_silence_", "_unknown_")):
        (test_set / label).mkdir(parents=True)
        word = label if label in KEYWORDS else OTHER_WORDS[0]
        for speaker in SPEAKERS:  # the real ones end twice in .wav, too
            source = made[2] / word / f"{speaker}_nohash_0.wav"
            shutil.copy(source, test_set / label / f"{speaker}_nohash_{number}.wav.wav")
    (test_set / "README.md").write_text("canonical")
    for version in (1, 2):
        pack(test_set, f"speech_commands_test_set_v0.0{version}.tar.gz")
    table["speech_commands_test_set_v0.01"] = 1000, None  # as the real one: nobody published it
    return SimpleNamespace(contents=contents, table=table, made=made)


@pytest.fixture
def public(server, packed, monkeypatch):
    """The public archives on a loopback server."""
    server.files.update(packed.contents)
    monkeypatch.setattr(downloads, "PUBLIC", f"{server.url}/data/")
    monkeypatch.setattr(downloads, "SPEECH_COMMANDS", packed.table)
    return server


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("version", [1, 2])
def test_speech_commands_are_laid_out_as_kaggles_data_once(public, packed, run, tmp_path, version):
    raw = tmp_path / "data" / "raw"
    command = ("speech_commands", "--raw", raw, "--version", version)
    assert run(*command)[0] == 0
    assert run.warnings == (version == 1)  # of the test set whose hash nobody published
    assert names(raw.parent) == ["raw"]
    train = tree(raw / "train")
    assert sorted(path for path in train if not path.startswith("audio")) == [
        *("LICENSE", "testing_list.txt", "validation_list.txt"),
    ]
    made = tree(packed.made[version])
    assert {path.removeprefix("audio/"): content for path, content in train.items()} == made
    assert len(names(raw / "train" / "audio")) == {1: 31, 2: 36}[version]  # with _background_noise_
    assert sources.describe_source(raw)["name"] == f"Speech Commands v0.0{version}"
    assert len(names(raw / "test" / "audio")) == len(LABELS) * len(SPEAKERS)

    public.asked.clear()
    assert run(*command) == (0, f"{raw}: nothing to do; next: python -m utils.prepare --raw {raw}\n")
    assert public.asked == []


def test_the_courses_own_recordings_are_known_by_their_sound(public, packed, run, tmp_path, monkeypatch):
    """Under whatever name and in whichever version they lie; what is in none is told."""
    new, old = (sorted(packed.made[version].glob("*/*_nohash_0.wav")) for version in (2, 1))
    clips = [(f"{path.parent.name}/{path.stem}9.wav", path) for path in (new[0], new[-1], old[0])]
    rows = [f"{clip},{sources.hash_sound(path)},{of}\n" for (clip, path), of in zip(clips, ("cv", "train", "test"))]
    monkeypatch.setattr(sources, "COURSE", tmp_path / "list.xz")
    sources.COURSE.write_bytes(lzma.compress("".join([*rows, f"yes/gone_nohash_0.wav,{'0' * 16},cv\n"]).encode()))

    raw = tmp_path / "data" / "raw"
    assert run("speech_commands", "--raw", raw, "--course")[0] == 0
    assert run.warnings == 1
    train = tree(raw / "train")
    assert {name: train[f"audio/{name}"] for name, _ in clips} == {name: path.read_bytes() for name, path in clips}
    assert train["validation_list.txt"] == f"{clips[0][0]}\n".encode()
    assert names(raw.parent) == ["raw"]
    public.asked.clear()
    assert run("speech_commands", "--raw", raw, "--course") == (
        0,
        f"{raw}: nothing to do; next: python -m utils.prepare --raw {raw}\n",
    )
    assert public.asked == []


@pytest.mark.recordings
def test_the_courses_own_recordings_have_the_hash_that_outputs_name(server, real_raw, run, tmp_path, monkeypatch):
    """Of archives that hold them among others, half in each version."""
    table, boxes = {}, [tmp_path / "1", tmp_path / "2"]
    for number, path in enumerate(sorted((real_raw / "train" / "audio").glob("*/*.wav"))):
        target = boxes[number % 2] / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, target)
    for version, box in enumerate(boxes, start=1):
        name = f"speech_commands_v0.0{version}"
        with tarfile.open(tmp_path / f"{name}.tar.gz", "w:gz", compresslevel=1) as archive:
            archive.add(box, ".")
        content = server.files[f"/data/{name}.tar.gz"] = (tmp_path / f"{name}.tar.gz").read_bytes()
        table[name] = len(content), hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(downloads, "PUBLIC", f"{server.url}/data/")
    monkeypatch.setattr(downloads, "SPEECH_COMMANDS", table)
    monkeypatch.chdir(tmp_path)
    assert run("speech_commands", "--course")[0] == 0
    assert not run.warnings
    prepare.main([])
    sets = datasets.open_store("data/main/preprocessed")
    rows = [f"{of}/{name}" for of, clip_set in sets.items() for name in clip_set.names]
    assert evaluation.hash_names(rows) == "741be3e261eb"


def test_speech_commands_is_version_1_by_default(public, run, tmp_path):
    run("speech_commands", "--raw", tmp_path / "raw")
    assert sources.describe_source(tmp_path / "raw")["name"] == "Speech Commands v0.01"


def test_canonical_test_clips_are_blind_and_the_truth_lies_beside_them(public, run, tmp_path):
    for name in ("first", "second"):
        run("speech_commands", "--raw", tmp_path / name / "raw", "--version", 2)
    raw = tmp_path / "first" / "raw"
    assert tree(raw) == tree(tmp_path / "second" / "raw")  # shuffled, but the same way each time
    rows = rows_of(raw / "speech_commands_solution.csv")
    assert [row["fname"] for row in rows] == names(raw / "test" / "audio")
    assert all(
        len(name) == len("clip_123456789.wav") and name.startswith("clip_") for name in names(raw / "test/audio")
    )
    labels = [row["label"] for row in rows]
    assert sorted(labels) == sorted(2 * LABELS)
    assert len(list(itertools.groupby(labels))) > len(LABELS)  # not label by label
    for row in rows:
        word = row["label"] if row["label"] in KEYWORDS else OTHER_WORDS[0]
        spoken = {path.read_bytes() for path in (raw / "train" / "audio" / word).iterdir()}
        assert (raw / "test" / "audio" / row["fname"]).read_bytes() in spoken
    assert rows_of(raw / "sample_submission.csv") == [{"fname": row["fname"], "label": "silence"} for row in rows]


def test_a_wrong_hash_is_told_and_the_file_removed(public, run, tmp_path):
    raw = tmp_path / "data" / "raw"
    url = "/data/speech_commands_test_set_v0.02.tar.gz"
    good = public.files[url]
    public.files[url] = good[:-1] + bytes([good[-1] ^ 1])
    code, text = run("speech_commands", "--raw", raw, "--version", 2)
    assert code == 1
    assert "speech_commands_test_set_v0.02.tar.gz came with a wrong hash" in text
    assert names(raw.with_name(".speech_commands.download")) == ["speech_commands_v0.02.tar.gz"]
    assert not raw.exists()

    public.files[url] = good
    public.asked.clear()
    assert run("speech_commands", "--raw", raw, "--version", 2)[0] == 0
    assert [path for path, _ in public.asked] == [url]  # the good one had stayed


def test_a_damaged_public_archive_without_a_hash_is_not_kept(public, run, tmp_path):
    raw = tmp_path / "data" / "raw"
    url = "/data/speech_commands_test_set_v0.01.tar.gz"
    good = public.files[url]
    public.files[url] = good[:-20]
    code, text = run("speech_commands", "--raw", raw)
    assert code == 1
    assert "speech_commands_test_set_v0.01.tar.gz is damaged" in text
    assert names(raw.parent) == []

    public.files[url] = good
    assert run("speech_commands", "--raw", raw)[0] == 0


def test_a_cut_public_download_is_never_taken_for_whole(public, run, tmp_path):
    raw = tmp_path / "data" / "raw"
    public.cut = True
    code, text = run("speech_commands", "--raw", raw)
    assert code == 1
    assert "speech_commands_v0.01.tar.gz could not be read" in text
    assert names(raw.parent) == [".speech_commands.download"]
    assert names(raw.with_name(".speech_commands.download")) == []

    public.cut = False
    assert run("speech_commands", "--raw", raw)[0] == 0
    assert names(raw.parent) == ["raw"]


def test_the_remains_of_a_killed_download_are_cleared(public, run, tmp_path):
    raw = tmp_path / "data" / "raw"
    folder = raw.with_name(".speech_commands.download")
    folder.mkdir(parents=True)
    name = "speech_commands_v0.01.tar.gz"
    (folder / name).write_bytes(public.files[f"/data/{name}"][:1000])
    (folder / "tmp1234").write_bytes(b"half")
    public.refusals[f"/data/{name}"] = 503
    assert run("speech_commands", "--raw", raw)[0] == 1
    assert names(folder) == [name]
    public.refusals.clear()
    assert run("speech_commands", "--raw", raw)[0] == 0


def test_a_public_archive_that_is_gone(public, run, tmp_path):
    public.files.clear()
    code, text = run("speech_commands", "--raw", tmp_path / "data" / "raw")
    assert code == 1
    assert "404 Not Found" in text
    assert "speech_commands_v0.01.tar.gz" in text
    assert names(tmp_path / "data" / ".speech_commands.download") == []


def test_no_way_to_the_public_archives(public, run, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "PUBLIC", f"http://127.0.0.1:{closed_port()}/")
    code, text = run("speech_commands", "--raw", tmp_path / "data" / "raw")
    assert code == 1
    assert "check the network" in text


def test_public_archives_meet_a_small_disk_before_they_are_asked_for(public, run, tmp_path, monkeypatch):
    size = len(public.files["/data/speech_commands_v0.01.tar.gz"])
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=2 * size))
    code, text = run("speech_commands", "--raw", tmp_path / "data" / "raw")
    assert code == 1
    assert "MB free and" in text
    assert public.asked == []


def test_public_archives_meet_a_disk_that_fills_up(public, run, tmp_path, monkeypatch):
    raw = tmp_path / "data" / "raw"
    with monkeypatch.context() as patch:
        fill_the_disk(patch, "pooch.downloaders")
        code, text = run("speech_commands", "--raw", raw)
    assert code == 1
    assert "no space left" in text
    assert names(raw.with_name(".speech_commands.download")) == []
    assert run("speech_commands", "--raw", raw)[0] == 0


def test_another_version_in_the_way_is_kept(public, run, tmp_path):
    raw = tmp_path / "data" / "raw"
    run("speech_commands", "--raw", raw)
    before = tree(raw)
    public.asked.clear()
    code, text = run("speech_commands", "--raw", raw, "--version", 2)
    assert code == 2
    assert "from another source" in text
    assert tree(raw) == before
    assert public.asked == []


@pytest.mark.parametrize("moved", [0, 1, 2, 3])
def test_a_run_killed_between_two_parts_goes_on_without_a_download(public, run, tmp_path, monkeypatch, moved):
    raw = tmp_path / "data" / "raw"
    with dying_after(moved, monkeypatch):
        sources.download_speech_commands(2, raw)
    public.asked.clear()
    assert run("speech_commands", "--raw", raw, "--version", 2)[0] == 0
    assert public.asked == []
    run("speech_commands", "--raw", tmp_path / "other" / "raw", "--version", 2)
    assert tree(raw) == tree(tmp_path / "other" / "raw")
    assert names(raw.parent) == ["raw"]


# The table of doors


def test_the_help_names_every_door_and_what_it_needs(capsys):
    with pytest.raises(SystemExit) as ended:
        sources.main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    for need in ("utils.voices", "speech_commands", "1.6 GB", "kaggle.com", "rules", "archive PATH", "utils.prepare"):
        assert need in said
    assert [len(sha256 or "") for _, sha256 in downloads.SPEECH_COMMANDS.values()] == [64, 0, 64, 64]
