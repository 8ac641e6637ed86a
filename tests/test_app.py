"""Guards: the page hears a microphone and files in a real browser, refuses what is no sound, and stands a crowd.

pytest tests/test_app.py --photographs imgs     keeps what the pages show, for the README
"""

import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gradio_client.utils
import numpy as np
import pytest
from conftest import PATIENCE, check_refused, free_ports, serving, start_browser
from playwright.sync_api import expect, sync_playwright

import app
from utils import audio, cli, corpus, plots, voices
from utils.labels import LABELS

ROOT = Path(__file__).parents[1]
WORD = "right"
PHONE = {"width": 390, "height": 844}
CROWD = 50
MEMORY_MB = 100  # by which 150 answers may make the server grow, once it has seen a crowd


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The page's address and process, with the network that comes with the course, as there is no run."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    with serving([sys.executable, ROOT / "app.py", "--port", str(port)], url, cwd=tmp_path_factory.mktemp("app")) as it:
        yield url, it
        assert it.poll() is None


@pytest.fixture(scope="module")
def url(server):
    return server[0]


@pytest.fixture(scope="module")
def sounds(request, tmp_path_factory):
    """A word between pauses, and what should be refused; for photographs the word is the first test clip of it."""
    folder = tmp_path_factory.mktemp("sounds")
    (path,) = voices.make_examples(folder, [WORD])
    if request.config.getoption("photographs"):
        path = corpus.list_wavs(ROOT / "data" / "main" / "test" / WORD)[0]
    pause = np.zeros(audio.SAMPLE_RATE, np.int16)
    audio.write_wav(folder / "word.wav", np.concatenate([pause, audio.read_wav(path), pause]))
    audio.write_wav(folder / "long.wav", np.zeros(61 * audio.SAMPLE_RATE, np.int16))
    (folder / "text.wav").write_text("this is text")
    (folder / "empty.wav").write_bytes(b"")
    (folder / "big.wav").write_bytes(bytes(10_500_000))
    return folder


@pytest.fixture(scope="module")
def playwright():
    with sync_playwright() as playwright:
        expect.set_options(timeout=1000 * PATIENCE)
        yield playwright


@pytest.fixture(scope="module")
def speaking(playwright, sounds):
    """A browser whose microphone says the word again and again."""
    browser = start_browser(
        playwright,
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={sounds / 'word.wav'}",
    )
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def deaf(playwright):
    """A browser without a microphone."""
    browser = start_browser(playwright)
    yield browser
    browser.close()


def open_page(browser, url, width=1024, height=800):
    page = browser.new_page(viewport={"width": width, "height": height})
    page.goto(url)
    expect(page.get_by_role("heading", name="Spoken commands")).to_be_visible()
    return page


def photograph(request, page, name, rest_ms=1500):
    """Keep what the page shows, once what moves has come to rest."""
    if folder := request.config.getoption("photographs"):
        page.wait_for_timeout(rest_ms)
        (Path(folder) / f"{name}.png").write_bytes(plots.to_palette(page.screenshot(full_page=True)))


@pytest.mark.slow
def test_a_word_is_recorded_and_recognised_and_nothing_leaves_the_machine(speaking, url, request):
    page = open_page(speaking, url)
    asked = []
    page.on("request", lambda message: asked.append(message.url))
    page.reload()
    page.get_by_role("button", name="Record", exact=True).first.click()
    page.wait_for_timeout(3500)
    page.get_by_role("button", name="Stop", exact=True).first.click()
    expect(page.locator(".answer p").first).to_contain_text(WORD)
    expect(
        page.get_by_alt_text(f"Waveform and log-mel spectrogram of the second that was heard as {WORD}")
    ).to_be_visible()
    for label in LABELS:
        expect(page.get_by_role("tabpanel").first).to_contain_text(label)
    photograph(request, page, "page_word")
    page.set_viewport_size(PHONE)
    photograph(request, page, "page_phone")
    assert asked
    assert all(address.startswith((url, "data:", "blob:")) for address in asked)
    page.close()


@pytest.mark.slow
def test_live_mode_hears_the_word_each_time_it_is_said(speaking, url, request):
    page = open_page(speaking, url)
    page.get_by_role("tab", name="Live").click()
    page.get_by_role("button", name="Record", exact=True).locator("visible=true").click()
    expect(page.locator(".heard li").nth(2)).to_contain_text(WORD)
    expect(page.locator(".live_answer p").last).to_contain_text(WORD)
    photograph(request, page, "page_live", rest_ms=0)  # later its bars are of the pause after the word
    page.close()


@pytest.mark.slow
def test_keyboard_and_screen_reader_at_a_phones_width(deaf, url):
    page = open_page(deaf, url, **PHONE)
    expect(page.locator(".notice p").first).to_contain_text("No microphone was found")
    button = page.get_by_role("button", name=WORD, exact=True)
    for _ in range(40):
        if button.evaluate("button => button === document.activeElement"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    status = page.get_by_role("status").filter(has_text=WORD).first
    expect(status).to_contain_text("sure")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    for found in page.locator("button:visible").all():
        assert found.evaluate(
            "b => (b.ariaLabel || b.title || b.innerText || b.getAttribute('aria-labelledby') || '').trim()"
        )
    page.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("text.wav", "not a sound file"),
        ("empty.wav", "empty file"),
        ("long.wav", "longer than 60 s"),
        ("big.wav", "exceed the maximum allowed size"),
    ],
)
def test_what_cannot_be_heard_is_told(name, line, deaf, url, sounds):
    page = open_page(deaf, url)
    page.get_by_label("Upload file").first.click()
    page.locator("input[type=file]").first.set_input_files(sounds / name)
    expect(page.get_by_text(line).first).to_be_visible()
    page.close()


def memory_mb(pid):
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("no /proc on this system")
    lines = status.read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1e3


@pytest.mark.slow
def test_a_crowd_is_answered_too_large_a_one_is_told_and_memory_stays(server, sounds):
    url, process = server
    client = gradio_client.Client(url, verbose=False, max_workers=3 * app.MAX_WAITING)
    sound = gradio_client.handle_file(str(sounds / "word.wav"))

    def ask(_):
        try:
            return client.predict(sound, str(app.recogniser.PRETRAINED), api_name="/recognise")[0]
        except gradio_client.utils.QueueError as error:
            return str(error)

    with ThreadPoolExecutor(2 * app.MAX_WAITING) as pool:
        answers = list(pool.map(ask, range(2 * app.MAX_WAITING)))
    refused = [answer for answer in answers if WORD not in answer]
    assert 0 < len(refused) <= app.MAX_WAITING
    assert all("queue" in answer.lower() and "full" in answer.lower() for answer in refused)
    before = memory_mb(process.pid)
    with ThreadPoolExecutor(CROWD) as pool:
        assert all(WORD in answer for answer in pool.map(ask, range(3 * CROWD)))
    assert memory_mb(process.pid) < before + MEMORY_MB


@pytest.mark.parametrize(
    ("arguments", "line"), [(["--prot", "1"], "did you mean --port?"), (["--port", "0"], "above zero")]
)
def test_bad_use_is_one_line(arguments, line, capsys):
    check_refused(app.main, arguments, line, capsys)


def test_a_port_that_is_taken_is_one_line(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.run(app.main, ["--port", str(port)]) == 1
    assert "choose another --port" in capsys.readouterr().err
