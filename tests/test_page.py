"""Guards: in a real browser the page hears what Python hears, from a microphone and from files, and says in words what
is wrong; it can be used with a screen reader, by keyboard, on a telephone; nothing is asked of another machine.

pytest tests/test_page.py --photographs imgs     keeps what it shows, for the README
"""

import contextlib
import functools
import http.server
import io
import itertools
import json
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soxr
from conftest import PATIENCE, free_ports, serving, start_browser
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from utils import audio, corpus, export, plots, prepare, recogniser, trained, voices, web
from utils.labels import KEYWORDS
from utils.system import cli

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow
WORDS = ("yes", "right", "on")
RATES = (44_100, 48_000)
PHONE = {"width": 360, "height": 800}
DESK = {"width": 1280, "height": 900}
FRAME_MS = 200  # of the moving picture
FAKE = "--use-fake-device-for-media-stream"
ALLOWED = "--use-fake-ui-for-media-stream"
AXE = web.MODULES / "axe-core" / "axe.min.js"
SAME = 1e-3  # probabilities of page and Python
SAME_STREAM = 1e-5  # of a network that keeps its state, fed the same samples
MOST_BYTES = 12_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the server runs: with a run of other words, and one whose labels are too few."""
    folder = tmp_path_factory.mktemp("page")
    for name, labels in (("music", [f"word{i}" for i in range(10)]), ("broken", ["a", "b"])):
        shutil.copytree(trained.PRETRAINED, folder / "runs" / name)
        (folder / "runs" / name / "labels.txt").write_text("\n".join([*labels, "silence", "unknown"]) + "\n")
        (folder / "runs" / name / "quiet.json").write_text(
            json.dumps([{"curve": "talk", "threshold": 0.5, "false_alarms_per_hour": 3.0, "matched": 0.4}])
        )
    return folder


@pytest.fixture(scope="module")
def url(folder):
    """The page's address, served as a user has it."""
    web.fetch_runtime(tests=True)
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, ROOT / "app.py", "--no-open", "--port", str(port)]
    with serving(command, url, cwd=folder) as server:
        yield url
        assert server.poll() is None


@pytest.fixture(scope="module")
def playwright():
    with sync_playwright() as playwright:
        expect.set_options(timeout=1000 * PATIENCE)
        yield playwright


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """Words between pauses, at both rates: {rate: wav}."""
    folder = tmp_path_factory.mktemp("spoken")
    rng = np.random.default_rng(0)
    pieces = []
    for path in voices.make_examples(folder, WORDS):
        pieces += [rng.normal(0, 20, 16_000).astype(np.int16), audio.read_wav(path)]
    return {rate: write_at(folder / f"{rate}.wav", np.concatenate(pieces), rate) for rate in RATES}


@pytest.fixture(scope="module")
def deaf(playwright):
    """A browser without a microphone."""
    browser = start_browser(playwright)
    yield browser
    browser.close()


def write_at(path, samples, rate):
    """A wav of another rate with the same sound."""
    waveform = soxr.resample(audio.to_waveform(samples), audio.SAMPLE_RATE, rate, "VHQ")
    audio.write_wav(path, audio.to_counts(waveform), rate)
    return path


def open_page(browser, url, size=DESK, script="", **settings):
    """The page, once its network is there; what it asks for and what goes wrong in it are checked when it is closed."""
    page = browser.new_page(viewport=size, **settings)
    page.faults = []
    page.on(
        "request", lambda request: request.url.startswith((url, "data:", "blob:")) or page.faults.append(request.url)
    )
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda message: message.type in ("error", "warning") and page.faults.append(message.text))
    if script:
        page.add_init_script(script)
    page.goto(url)
    expect(page.locator("#starting")).to_be_hidden()
    return page


def close(page):
    assert page.faults == []
    page.close()


@contextlib.contextmanager
def microphone(playwright, wav, allowed=True):
    """A browser whose microphone gives a wav again and again."""
    flags = [FAKE, f"--use-file-for-fake-audio-capture={wav}", *([ALLOWED] if allowed else [])]
    with contextlib.closing(start_browser(playwright, *flags)) as browser:
        yield browser


# The two ways by which sound comes: Chromium's own, and that of other browsers, here on a computer of another rate.
WORKLET = "delete window.MediaStreamTrackProcessor;"
WORKLET += "window.AudioContext = class extends AudioContext { constructor() { super({ sampleRate: 48000 }); } };"
WAYS = {"processor": (RATES[0], ""), "worklet": (RATES[1], WORKLET)}

# What the page asks of the microphone, for tests that unplug it.
KEEP_STREAM = (
    "const devices = MediaDevices.prototype, ask = devices.getUserMedia; devices.getUserMedia = async function (w)"
    "{ window.stream = await ask.call(this, w); return window.stream; };"
)


def check_accessible(page, state):
    """No violation that axe-core finds."""
    page.emulate_media(reduced_motion="reduce")  # what fades in is pale for a moment
    page.evaluate(AXE.read_text(encoding="utf-8") + "; 0")  # past the page's policy, which forbids scripts of others
    found = page.evaluate("axe.run()")["violations"]
    assert [(fault["id"], fault["nodes"][0]["html"]) for fault in found] == [], state


def heard_words(page):
    """The words in the log, the first first."""
    return page.locator("#log .heard .what").all_inner_texts()[::-1]


@pytest.mark.parametrize("way", WAYS)
def test_words_read_off_the_page_are_those_of_predict_stream(way, url, spoken, playwright, capsys):
    import predict

    rate, script = WAYS[way]
    with microphone(playwright, spoken[rate]) as browser:
        page = open_page(browser, url, script=script)
        page.keyboard.press("Space")
        expect(page.locator("#state")).to_have_text("Listening")
        assert "listening" in page.title()
        expect(page.locator("#log .heard")).to_have_count(len(WORDS) + 1)
        expect(page.locator("#say")).to_have_text(WORDS[0])  # one polite announcement a word, also of the same
        expect(page.locator("#word")).to_have_text(WORDS[0])
        expect(page.locator("#tiles .lit")).to_contain_text(WORDS[0])
        assert page.locator("#lost").inner_text() == "no sound lost"
        expect(page.locator("#word")).to_have_text("listening")  # the large word is not there for ever
        expect(page.locator("#tiles li").first).to_contain_text(re.compile(r"heard \d×"))
        page.keyboard.press("Space")
        expect(page.locator("#state")).to_have_text("Ready")
        words, order = heard_words(page), page.locator("#strip_names span").all_inner_texts()
        assert order[:4] == ["yes", "no", "up", "down"]
        if way == "processor":
            check_accessible(page, "heard")
        close(page)
    capsys.readouterr()
    assert cli.run(predict.main, ["--model", str(trained.PRETRAINED), "--stream", str(spoken[rate])]) == 0
    printed = [line.split()[2] for line in capsys.readouterr().out.splitlines()]
    assert printed == list(WORDS)
    assert words == [*itertools.islice(itertools.cycle(printed), len(words))]


def test_files_are_answered_as_python_answers_them(url, deaf, tmp_path):
    model, words = recogniser.load(trained.PRETRAINED, exported_first=True), ("up", "no", "stop", "note", "guess")
    page = open_page(deaf, url)
    page.get_by_role("button", name="One word").click()
    shown = []
    for word, path in zip(words, voices.make_examples(tmp_path, words)):
        around = np.pad(audio.read_wav(path), (5000, 9000))
        for rate in RATES:
            wav = write_at(tmp_path / f"{word}{rate}.wav", around, rate)
            rows = model(audio.to_waveform(audio.read_loudest_second(wav))[None])
            expected = rows[0]
            page.evaluate("() => delete document.getElementById('answer').dataset.probabilities")
            page.locator("#file").set_input_files(wav)
            expect(page.locator("#answer[data-probabilities]")).to_be_visible()
            found = np.array(page.locator("#answer").get_attribute("data-probabilities").split(), float)
            assert found.argmax() == expected.argmax()
            np.testing.assert_allclose(found, expected, atol=SAME)
            shown.append(page.locator("#answer_word").inner_text() != "not sure")
            assert shown[-1] == model.are_sure(rows)[0]
    assert len(set(shown)) == 2  # some are sure and some are not
    assert "the second from" in page.locator("#clip_picture").get_attribute("aria-label")
    page.get_by_role("button", name="Play", exact=True).click()
    close(page)


def test_one_word_ends_by_itself_and_examples_play_and_are_answered_right(url, spoken, playwright):
    count = "window.played = 0; const play = HTMLMediaElement.prototype.play;"
    count += "HTMLMediaElement.prototype.play = function () { window.played++; return play.call(this); };"
    with microphone(playwright, spoken[RATES[1]]) as browser:
        page = open_page(browser, url, script=count)
        page.get_by_role("button", name="One word").click()
        page.keyboard.press("Tab")
        page.locator("#microphone").click()
        expect(page.locator("#answer_word")).to_have_text(WORDS[0])
        expect(page.locator("#answer_text")).to_contain_text(f"{WORDS[0]}, ")
        expect(page.locator("#answer_text")).to_contain_text("Next: ")
        expect(page.locator("#microphone")).to_have_attribute("aria-pressed", "false")
        # 0.3 s where no other work is done; 0.2 s of it tell that the word is over.
        assert float(page.locator("#answer").get_attribute("data-late")) < 0.5
        for _ in range(2):  # each answer may be wrong, not the first alone
            page.locator("#clip_wrong").click()
            page.get_by_role("button", name="go", exact=True).click()
            expect(page.locator("#clip_wrong")).to_have_text("kept")
            page.get_by_role("button", name="Play and recognise the example up").click()
            expect(page.locator("#clip_wrong")).to_have_text("wrong?")
        page.evaluate("window.played = 0")
        check_accessible(page, "one word")
        examples = web.example_words(trained.read_labels(trained.PRETRAINED))
        for number, word in enumerate(reversed(examples), start=1):
            page.get_by_role("button", name=f"Play and recognise the example {word}").click()
            said = "not a command" if word == web.OTHER_EXAMPLE else word
            expect(page.locator("#answer_word")).to_have_text(said)
            assert page.evaluate("window.played") == number
        close(page)


@pytest.mark.parametrize(
    ("script", "line"),
    [
        ("", "No microphone was found"),
        ("delete window.AudioWorkletNode; delete window.MediaStreamTrackProcessor;", "no AudioWorklet"),
        ("WebAssembly.validate = () => false;", "no WebAssembly SIMD"),
        ("Object.defineProperty(navigator, 'mediaDevices', { value: undefined });", "only to pages of this computer"),
    ],
)
def test_what_this_browser_lacks_is_told(script, line, url, deaf):
    page = deaf.new_page(viewport=PHONE)
    page.add_init_script(script)
    page.goto(url)
    if not script:
        expect(page.locator("#microphone")).to_be_enabled()
        page.locator("#microphone").click()
    expect(page.locator("main")).to_contain_text(line)
    if script:
        assert page.locator("#microphone").is_disabled()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.close()


def test_a_page_from_disk_says_how_to_open_it(deaf):
    page = deaf.new_page()
    page.goto((web.PAGE / "index.html").as_uri())
    expect(page.locator("#starting")).to_contain_text("python app.py")
    page.close()


def test_a_refused_a_silent_and_an_unplugged_microphone_are_told(url, playwright, tmp_path):
    audio.write_wav(tmp_path / "zeros.wav", np.zeros(48_000, np.int16))
    with microphone(playwright, tmp_path / "zeros.wav", allowed=False) as browser:
        page = open_page(browser, url)
        page.locator("#microphone").click()
        expect(page.get_by_role("alert")).to_contain_text("The microphone was refused")
        assert page.locator("#state").inner_text() == "Ready"
        close(page)
    with microphone(playwright, tmp_path / "zeros.wav") as browser:
        page = open_page(browser, url, script=KEEP_STREAM)
        page.locator("#microphone").click()
        expect(page.get_by_role("alert")).to_contain_text("nothing but zeros")
        assert heard_words(page) == []
        page.evaluate("() => window.stream.getTracks()[0].dispatchEvent(new Event('ended'))")
        expect(page.get_by_role("alert")).to_contain_text("unplugged")
        assert page.locator("#state").inner_text() == "Ready"
        page.get_by_role("button", name="One word").click()
        page.locator("#microphone").click()
        expect(page.get_by_role("alert")).to_contain_text("nothing but zeros")  # told again
        expect(page.locator("#state")).to_have_text("Ready")
        expect(page.get_by_role("alert")).to_contain_text("nothing but zeros")  # to speak louder would not help
        close(page)


def test_zeros_between_words_are_no_muted_microphone(url, playwright, tmp_path):
    burst = np.random.default_rng(0).normal(0, 3000, 8000).astype(np.int16)
    gated = np.concatenate([burst, np.zeros(4 * audio.SAMPLE_RATE, np.int16)])
    audio.write_wav(tmp_path / "gated.wav", gated)
    with microphone(playwright, tmp_path / "gated.wav") as browser:
        page = open_page(browser, url)
        page.evaluate(
            "new MutationObserver(() => (window.told = problem.textContent + (window.told ?? '')))"
            ".observe(problem, { subtree: true, childList: true, characterData: true })"
        )
        page.locator("#microphone").click()
        expect(page.locator("body")).to_have_attribute("data-sound", re.compile(r"^[6-9]"), timeout=3000 * PATIENCE)
        assert "zeros" not in (page.evaluate("window.told") or "")
        close(page)


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("{}", "No sound has come for two seconds"),
        ("{ start(c) { setTimeout(() => c.error(new Error('it broke')), 500); } }", "Listening has failed (it broke)"),
    ],
)
def test_sound_that_stops_coming_is_told(source, line, url, spoken, playwright):
    script = "window.MediaStreamTrackProcessor = class { constructor() {"
    script += f"this.readable = new ReadableStream({source}); }} }};"
    with microphone(playwright, spoken[RATES[0]]) as browser:
        page = open_page(browser, url, script=script)
        page.locator("#microphone").click()
        expect(page.get_by_role("alert")).to_contain_text(line)
        if source == "{}":
            page.locator("#microphone").click()
        expect(page.locator("#state")).to_have_text("Ready")
        close(page)


def test_a_browser_that_waits_for_a_loudspeaker_says_so(url, spoken, playwright):
    script = WORKLET + "AudioContext.prototype.resume = () => new Promise(() => {});"  # as Firefox does without one
    with microphone(playwright, spoken[RATES[0]]) as browser:
        page = open_page(browser, url, script=script)
        page.locator("#microphone").click()
        expect(page.get_by_role("alert")).to_contain_text("connect a loudspeaker")
        expect(page.locator("#state")).to_have_text("Ready")
        close(page)


def test_a_microphone_that_is_no_longer_wanted_is_closed(url, spoken, playwright):
    """The question of the browser is answered late; meanwhile keys, buttons and the other mode are tried."""
    script = "window.streams = []; const devices = MediaDevices.prototype, ask = devices.getUserMedia;"
    script += "devices.getUserMedia = async function (wanted) { window.asked = (window.asked ?? 0) + 1;"
    script += "await new Promise((resume) => (window.allow = resume)); const stream = await ask.call(this, wanted);"
    script += "window.streams.push(stream); return stream; };"
    n_open = "window.streams.filter((stream) => stream.getTracks()[0].readyState === 'live').length"
    with microphone(playwright, spoken[RATES[0]]) as browser:
        page = open_page(browser, url, script=script)
        page.locator("#microphone").click()
        page.get_by_role("button", name="One word").click()
        page.get_by_role("button", name="Live").click()
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("Space")
        page.keyboard.press("Space")
        assert page.evaluate("window.asked") == 1
        assert page.locator("#microphone").is_disabled()
        page.evaluate("window.allow()")
        expect(page.locator("#state")).to_have_text("Ready")
        assert (page.evaluate("window.streams.length"), page.evaluate(n_open)) == (1, 0)
        page.locator("#microphone").click()
        page.evaluate("window.allow()")
        expect(page.locator("#state")).to_have_text("Listening")
        assert page.evaluate(n_open) == 1
        page.locator("#microphone").click()
        expect(page.locator("#state")).to_have_text("Ready")
        assert page.evaluate(n_open) == 0
        close(page)


@pytest.mark.slow
@pytest.mark.parametrize("end", ["another network", "unplugged"])
def test_the_recording_of_a_word_ends_with_what_it_needs(end, url, spoken, playwright):
    with microphone(playwright, spoken[RATES[0]]) as browser:
        page = open_page(browser, url, script=KEEP_STREAM)
        page.get_by_role("button", name="Teach").click()
        page.locator("#teach_word").fill("lights")
        page.locator("#teach_go").click()
        expect(page.locator("#state")).to_contain_text("…")
        expect(page.locator("#teach_go")).to_have_text("Stop")
        if end == "unplugged":
            page.evaluate("() => window.stream.getTracks()[0].dispatchEvent(new Event('ended'))")
            expect(page.get_by_role("alert")).to_contain_text("unplugged")
        else:
            page.locator("#model").select_option("music")
            expect(page.locator("#tiles li").first).to_contain_text("word0")
        expect(page.locator("#teach_go")).to_have_text("Record")
        expect(page.locator("#state")).to_have_text("Ready")
        page.locator("#teach_go").click()  # the same word, once more
        expect(page.locator("#state")).to_contain_text("…")
        page.locator("#teach_go").click()
        expect(page.locator("#state")).to_have_text("Ready")
        close(page)


def test_what_is_no_sound_is_told_and_what_python_alone_reads_is_heard(url, deaf, tmp_path):
    import soundfile

    (path,) = voices.make_examples(tmp_path, ["right"])
    soundfile.write(tmp_path / "right.caf", audio.read_wav(path), audio.SAMPLE_RATE)
    (tmp_path / "text.wav").write_text("this is text")
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "cut.wav").write_bytes(path.read_bytes()[:-1000])
    audio.write_wav(tmp_path / "long.wav", np.ones(61 * audio.SAMPLE_RATE, np.int16))
    (tmp_path / "big.wav").write_bytes(bytes(20_500_000))
    page = open_page(deaf, url)
    page.get_by_role("button", name="One word").click()
    lines = {
        "text": "not a sound file",
        "empty": "empty file",
        "cut": "cut short",
        "long": "longer than 60 s",
        "big": "larger",
    }
    for name, line in lines.items():
        page.locator("#file").set_input_files(tmp_path / f"{name}.wav")
        expect(page.get_by_role("alert")).to_contain_text(line)
    page.faults.clear()  # the server's 422, which the console tells too
    page.locator("#file").set_input_files(tmp_path / "right.caf")
    expect(page.locator("#answer_word")).to_have_text("right")
    expect(page.get_by_role("alert")).to_be_hidden()
    close(page)


def test_a_network_of_other_words_is_shown_as_it_is_and_a_broken_one_is_told(url, deaf):
    page = open_page(deaf, url)
    page.locator("#model").select_option("music")
    expect(page.locator("#tiles li").first).to_contain_text("word0")
    expect(page.locator("#state")).to_have_text("Ready")
    expect(page.locator("#measured")).to_have_text("measured: misses 60 % of words; false alarms an hour: 3 in talk")
    page.locator("#model").select_option("broken")
    expect(page.get_by_role("alert")).to_contain_text("lists 4 labels, and its network has 12")
    expect(page.locator("#model")).to_have_value("models/music/")  # the one before goes on
    page.route("**/models/**", lambda route: route.abort())
    page.locator("#model").select_option("pretrained")
    expect(page.get_by_role("alert")).to_contain_text("the server does not answer: start python app.py again")
    page.faults.clear()
    page.unroute("**/models/**")
    page.evaluate(
        """() => ["models/pretrained/", "models/broken/", "models/music/", "models/pretrained/"].forEach((folder) => {
            const choice = document.getElementById("model");
            choice.value = folder;
            choice.dispatchEvent(new Event("change")); // before the one before is loaded
        })"""
    )
    expect(page.locator("#model")).to_be_enabled()
    expect(page.locator("#state")).to_have_text("Ready")
    expect(page.locator("#model")).to_have_value("models/pretrained/")
    page.get_by_role("button", name="One word").click()
    page.get_by_role("button", name="Play and recognise the example up").click()
    expect(page.locator("#answer_word")).to_have_text("up")
    close(page)


# Into a worker of its own come blocks of no round size; out come all its rows, those after the end too.
HEAR = """async ([folder, wav]) => {
  const info = await (await fetch(`${folder}model.json`)).json();
  const bytes = await (await fetch(wav)).arrayBuffer();
  const counts = new Int16Array(bytes.slice(44));
  const worker = new Worker("worker.js");
  const rows = [], words = [];
  const jobs = [];
  worker.onmessage = ({ data }) => {
    if (data.kind === "heard")
      for (const { row, heard } of data.steps) {
        rows.push(Array.from(row));
        if (heard) words.push([heard.seconds, heard.label]);
      } else jobs.shift()(data);
  };
  const ask = (job, details, transfer = []) => new Promise((resolve) => {
    jobs.push(resolve);
    worker.postMessage({ job, id: 0, ...details }, transfer);
  });
  const address = (name) => new URL(folder + name, location.href).href;
  const loaded = await ask("load", { url: address("model.tflite"), stream_url: address("stream.tflite"), info });
  if (loaded.kind !== "done") throw new Error(loaded.message);
  const { port1, port2 } = new MessageChannel();
  await ask("listen", { sound: port2 }, [port2]);
  for (let first = 0; first < counts.length; first += 997) {
    const samples = Float32Array.from(counts.slice(first, first + 997), (x) => x / 32768);
    port1.postMessage({ samples, rate: 16000, at: Date.now(), missing: 0 });
  }
  await ask("stop", { finish: true });
  worker.terminate();
  return { rows, words, step_s: loaded.result.step_s };
}"""


def test_a_network_that_keeps_its_state_hears_on_the_page_as_in_python(
    url, folder, deaf, spoken, playwright, voices_raw, tmp_path, monkeypatch, capsys
):
    import predict
    from utils import recogniser, stream

    monkeypatch.chdir(folder)
    shutil.copytree(trained.PRETRAINED, "runs/kept")
    prepare.prepare(voices_raw, tmp_path / "main", tmp_path / "sample")
    data = str(tmp_path / "main" / "preprocessed")
    assert cli.run(export.main, ["runs/kept", "--to", "stream", "--path_to_data", data]) == 0
    file = folder / "runs" / "kept" / "export" / "model_stream.tflite"

    page, samples = open_page(deaf, url), audio.read_sound(spoken[RATES[0]], 10**7)
    wav = tmp_path / "spoken.wav"
    audio.write_wav(wav, samples)
    page.route("**/spoken.wav", lambda route: route.fulfill(path=wav))
    heard = page.evaluate(HEAR, ["models/kept/", "spoken.wav"])
    model = recogniser.load(file)
    python, listener = stream.Stream(model), stream.Stream(model)
    detections = [*python.feed(samples), *python.finish()]
    assert [label for _, label in heard["words"]] == [word.label for word in detections] == list(WORDS)
    np.testing.assert_allclose([s for s, _ in heard["words"]], [word.seconds for word in detections])
    rows = np.concatenate([*listener.listen(samples)])
    np.testing.assert_allclose(heard["rows"][: len(rows)], rows, atol=SAME_STREAM)
    assert heard["step_s"] == model.step_s

    # The form of seconds answers what is taught, and it is said.
    choice = page.locator("#model")
    choice.select_option("kept, keeping its state")
    expect(page.locator("#model_text")).to_contain_text("live, it hears each moment once")
    teach = "(counts) => import('./kept.js').then(async ({ addTaught }) => {"
    teach += "for (let i = 0; i < 3; i++) await addTaught('lights', Int16Array.from(counts, (x) => x + i)) })"
    page.evaluate(teach, audio.read_wav(next((voices_raw / "train" / "audio" / "marvin").glob("*.wav"))).tolist())
    choice.select_option("pretrained")
    expect(page.locator("#tiles li").last).to_contain_text("lights")
    choice.select_option("kept, keeping its state")
    expect(page.locator("#model_text")).to_contain_text("it hears whole seconds")
    page.get_by_role("button", name="Teach").click()
    page.locator("#teach_alone").check()
    expect(page.locator("#tiles li")).to_have_text(["lights"])
    page.evaluate(  # the commands themselves, instead of the commands: the labels are the same, what listens is not
        """([counts, words]) => import('./kept.js').then(async ({ addTaught }) => {
            for (const [k, word] of words.entries())
              for (let i = 0; i < 3; i++) await addTaught(word, Int16Array.from(counts, (x) => x + 3 * k + i));
        })""",
        [audio.read_wav(next((voices_raw / "train" / "audio" / "cat").glob("*.wav"))).tolist(), list(KEYWORDS)],
    )
    page.get_by_role("button", name="Remove lights", exact=True).click()
    expect(page.locator("#tiles li")).to_have_count(len(KEYWORDS))
    expect(page.locator("#model_text")).to_contain_text("it hears whole seconds")
    shutil.copytree("runs/kept", "runs/other")
    shutil.copyfile(trained.PRETRAINED / trained.FLOAT, "runs/other/export/model_stream.tflite")
    page.reload()
    choice.select_option("other, keeping its state")
    expect(page.get_by_role("alert")).to_contain_text("it is no file of --to stream")
    close(page)

    with microphone(playwright, spoken[RATES[0]]) as browser:
        page = open_page(browser, url)
        page.locator("#model").select_option("kept, keeping its state")
        expect(page.locator("#state")).to_have_text("Ready")
        page.locator("#microphone").click()
        expect(page.locator("#log .heard")).to_have_count(len(WORDS) + 1)
        page.locator("#microphone").click()
        expect(page.locator("#state")).to_have_text("Ready")
        words = heard_words(page)
        assert page.locator("#lost").inner_text() == "no sound lost"
        close(page)
    capsys.readouterr()
    assert cli.run(predict.main, ["--model", str(file), "--stream", str(spoken[RATES[0]])]) == 0
    printed = [line.split()[2] for line in capsys.readouterr().out.splitlines()]
    assert words == [*itertools.islice(itertools.cycle(printed), len(words))]


def test_a_page_whose_first_network_cannot_be_loaded_offers_the_others(url, deaf):
    page = deaf.new_page()
    page.route("**/models/pretrained/model.tflite", lambda route: route.abort())
    page.route("**/models/music/model.tflite", lambda route: route.abort())
    page.goto(url)
    expect(page.locator("#state")).to_have_text("No network")
    assert page.locator("#threshold").is_disabled()
    assert page.locator("#microphone").is_disabled()
    page.unroute("**/models/music/model.tflite")
    page.locator("#model").select_option("music")
    page.locator("#model").dispatch_event("change")
    expect(page.locator("#state")).to_have_text("Ready")
    assert page.locator("#threshold").is_enabled()
    page.close()


def test_a_wrong_word_is_kept_and_can_be_learned_from(url, spoken, playwright, tmp_path, raw):
    with microphone(playwright, spoken[RATES[0]]) as browser:
        page = open_page(browser, url, PHONE, accept_downloads=True)
        page.locator("#microphone").click()
        page.locator("#log .heard .play").last.click()
        expect(page.locator("#hint")).to_have_text("not listening while it plays")
        expect(page.locator("#hint")).to_have_text("say a word below, at your own pace")
        for n_kept, word in enumerate(("go", "another word", "no word at all"), start=1):
            button, rows = page.locator("#log .heard .wrong", has_text="wrong?").last, page.locator("#log li")
            if word == "go":  # pressed for so long that words are heard meanwhile: no row moves beneath the finger
                button.hover()
                page.mouse.down()
                n_rows = rows.count()
                page.wait_for_timeout(5000)
                assert rows.count() == n_rows
                page.mouse.up()
                expect(rows.nth(n_rows)).to_be_attached(timeout=500 * PATIENCE)  # at once: it had been held back
            else:
                button.press("Enter")
            if word == "go":
                check_accessible(page, "what was it")
            page.get_by_role("button", name=word, exact=True).click()
            expect(page.locator("#log .wrong", has_text="kept")).to_have_count(n_kept)
        page.locator("#microphone").click()
        page.reload()  # kept in the browser, not in the page
        expect(page.locator("#kept")).to_contain_text("3 clips kept")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        commands = page.locator("#kept_train code").all_inner_texts()
        for number in ("first", "second"):
            with page.expect_download() as download:
                page.get_by_role("button", name="Save").click()
            assert download.value.suggested_filename == "my_words.zip"
            download.value.save_as(tmp_path / number / "my_words.zip")
            page.get_by_role("button", name="Forget").click()
            expect(page.locator("#kept")).to_be_hidden()
            if number == "first":
                keep = "import('./kept.js').then(({ keep }) => keep('go', new Int16Array(16000).fill(9)))"
                page.evaluate(keep)
                page.reload()
                expect(page.locator("#kept")).to_contain_text("1 clip kept")
        close(page)
    unpack, *others = [command.split() for command in commands]
    assert others == [["python", "-m", "utils.prepare"], ["python", "train_keras.py"]]
    # As printed, in the folder of the course, where the recordings or the built-in voices are: both have lists.
    for number in ("first", "second"):
        shutil.copyfile(tmp_path / number / "my_words.zip", tmp_path / "my_words.zip")
        subprocess.run([sys.executable, *unpack[1:]], cwd=tmp_path, check=True)
    assert raw == tmp_path / "data" / "raw"
    clips = sorted(path for path in (raw / "train" / "audio").glob("*/*_nohash_*.wav") if path.stem[-2:] != "_0")
    assert [clip.parent.name for clip in clips] == ["go", "go", "other", "other"]  # none replaced another
    assert all(len(audio.read_wav(clip)) == audio.CLIP_SAMPLES and audio.read_wav(clip).any() for clip in clips)
    prepare.prepare(raw, tmp_path / "main", tmp_path / "sample")
    names = [path.name for path in (tmp_path / "main" / "train").rglob("*.wav")]
    assert {clips[0].name, clips[1].name, *(f"{clip.stem}_other.wav" for clip in clips[2:])} <= set(names)


def test_a_page_to_give_away_is_whole_by_itself(deaf, folder, tmp_path, monkeypatch, capsys):
    import soundfile

    monkeypatch.chdir(folder)
    assert cli.run(export.main, ["runs/music", "--to", "web"]) == 0
    site = folder / "runs" / "music" / "export" / "web"
    assert cli.run(export.main, ["runs/music", "--to", "web"]) == 0  # takes the place of the one before
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) < MOST_BYTES
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=site)
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = open_page(deaf, f"http://127.0.0.1:{server.server_port}/")
        expect(page.locator("#tiles li").first).to_contain_text("word0")
        page.get_by_role("button", name="One word").click()
        page.get_by_role("button", name="Play and recognise the example word1").click()
        expect(page.locator("#answer[data-probabilities]")).to_be_visible()
        soundfile.write(tmp_path / "tone.caf", np.ones(16_000, np.float32), 16_000)
        page.on("request", lambda request: request.method == "GET" or page.faults.append(request.method))
        page.locator("#file").set_input_files(tmp_path / "tone.caf")  # which goes nowhere, though this host is near
        expect(page.get_by_role("alert")).to_contain_text("convert it with ffmpeg")
        close(page)
        server.shutdown()
    (site / "notes.txt").write_text("mine")
    assert cli.run(export.main, ["runs/music", "--to", "web"]) == 2
    assert "notes.txt" in capsys.readouterr().err


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible_and_fits_a_telephone(scheme, url, deaf):
    page = open_page(deaf, url, PHONE, color_scheme=scheme, reduced_motion="reduce")
    check_accessible(page, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    for _ in range(60):  # everything can be reached by keyboard
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "threshold":
            break
    before = page.locator("#threshold_value").inner_text()
    page.keyboard.press("ArrowRight")
    assert page.locator("#threshold_value").inner_text() != before
    page.get_by_role("button", name="One word").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    close(page)


def film(page, n_frames=40):
    """What the page shows as time goes on, but for its settings; it begins late, for those who see no film."""
    frames = []
    for _ in range(n_frames):
        shot = page.screenshot(clip={"x": 64, "y": 0, "width": 1152, "height": 660})
        frames.append(Image.open(io.BytesIO(shot)).convert("RGB"))
        page.wait_for_timeout(FRAME_MS)
    return frames[3 * n_frames // 4 :] + frames[: 3 * n_frames // 4]


def test_pictures_for_the_readme(url, playwright, tmp_path, request):
    """With --photographs alone: the first test clip of each word, over a real background, as the page shows it."""
    folder = request.config.getoption("photographs")
    if not folder:
        pytest.skip("no pictures wanted")
    recordings = corpus.find_recordings(ROOT / "data" / "raw")
    listed = corpus.read_list(corpus.list_folder(recordings) / corpus.LISTS["test"])
    noise = audio.to_waveform(audio.read_wav(recordings / corpus.NOISE_FOLDER / "doing_the_dishes.wav"))
    pieces = [np.zeros(audio.SAMPLE_RATE, np.float32)]
    for word in ("up", "stop", "marvin", "left", "yes", "right"):
        clip = audio.read_wav(recordings / next(name for name in listed if name.startswith(f"{word}/")))
        pieces += [audio.to_waveform(audio.fit_second(clip)), np.zeros(14_000, np.float32)]
    sound = np.concatenate(pieces)
    sound += 0.05 * noise[: len(sound)]
    wav = write_at(tmp_path / "words.wav", (sound * 32768).clip(-32768, 32767).astype(np.int16), RATES[1])
    for name, size, scheme in (
        ("page_live", DESK, "light"),
        ("page_live_dark", DESK, "dark"),
        ("page_phone", {"width": 390, "height": 844}, "light"),
        ("page_word", DESK, "light"),
    ):
        with microphone(playwright, wav) as browser:
            page = open_page(browser, url, size, color_scheme=scheme)
            if name == "page_word":
                page.get_by_role("button", name="One word").click()
            page.locator("#microphone").click()
            if name == "page_word":
                expect(page.locator("#answer[data-probabilities]")).to_be_visible()
            else:
                frames = film(page) if name == "page_live" else None
                expect(page.locator("#log .heard", has_text="right")).to_be_visible()
                page.wait_for_timeout(500)  # until its end is known too
                if frames:
                    shown = {"save_all": True, "append_images": frames[1:], "duration": FRAME_MS, "loop": 0}
                    frames[0].save(Path(folder) / "page_live.webp", **shown, quality=60, method=6)
            page.mouse.move(0, 0)
            page.locator(":focus").evaluate_all("elements => elements.forEach(element => element.blur())")
            (Path(folder) / f"{name}.png").write_bytes(
                plots.to_palette(page.screenshot(full_page=True, animations="disabled"))
            )
            close(page)
