"""What the page costs, loses and takes: measured in headless Chromium, whose microphone gives known words.

    python -m benchmarks.page                      five minutes, on a computer that is idle but for it
    python -m benchmarks.page --busy 8             eight processes that count, beside it
    python -m benchmarks.page --model RUN/export/model_stream.tflite    the form that keeps its state
    python -m benchmarks.page --minutes 1 --json

The microphone gives a minute of words over noise again and again: built-in voices. From the sound that reached the
network, as the page has it, the place in that minute is found second by second: what is missing in between was lost,
whatever the page itself says. The same sound is heard by Python, and both lists of words are compared. Needs Chromium,
`pip install --group dev`, and Linux for the processor's time.
"""

import base64
import contextlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import ROOT, make_parser
from benchmarks.load import make_minute
from utils import audio, trained, web
from utils.audio import SAMPLE_RATE
from utils.system import cli

PATIENCE_S = 60
ALIKE = 0.5  # correlation of a second with its place in the minute; of others, below a tenth
# What the page is given by its worker, as it comes: for the sound, and the moments when words are shown.
WATCH = """
window.seen = { counts: [], words: [], n: 0 };
const Plain = window.Worker;
window.Worker = class extends Plain {
  constructor(...given) {
    super(...given);
    this.addEventListener("message", ({ data }) => {
      if (data.kind !== "heard") return;
      window.seen.counts.push(data.counts);
      window.seen.n += data.counts.length;
      for (const { heard } of data.steps)
        // After the frame in which it is drawn.
        if (heard) {
          const place = window.seen.n / 16000; // of the newest sample, which was there at data.at
          requestAnimationFrame(() => setTimeout(() => {
            window.seen.words.push({ ...heard, shown_s: place + (Date.now() - data.at) / 1e3 });
          }));
        }
      window.seen.lost_s = data.lost_s;
    });
  }
};
"""
COLLECT = """() => {
  const bytes = new Uint8Array(window.seen.counts.reduce((sum, part) => sum + part.byteLength, 0));
  let place = 0;
  for (const part of window.seen.counts) {
    bytes.set(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), place);
    place += part.byteLength;
  }
  let text = "";
  for (let i = 0; i < bytes.length; i += 30000) text += String.fromCharCode(...bytes.subarray(i, i + 30000));
  return { ...window.seen, counts: btoa(text) };
}"""


def _count():
    while True:
        pass


@contextlib.contextmanager
def busy(n_processes):
    """So many processes that only count, beside what is measured."""
    processes = [multiprocessing.Process(target=_count, daemon=True) for _ in range(n_processes)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


@contextlib.contextmanager
def page_of(wav, folder, keeps_state):
    """The page in a browser whose microphone gives a wav; and the seconds from the server's start until it is ready."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        raise cli.CourseError("no Chromium was found: install it")
    flags = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    flags += [f"--use-file-for-fake-audio-capture={wav}"]
    web.fetch_runtime()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.add_init_script(WATCH)
        started = time.perf_counter()
        command = [sys.executable, ROOT / "app.py", "--no-open", "--model", folder]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            line = server.stdout.readline()
            if not line.startswith("open "):
                raise cli.CourseError(f"the page did not start: it said {line.strip() or 'nothing'}")
            page.goto(line.split()[1])
            page.locator("#starting").wait_for(state="hidden", timeout=1e3 * PATIENCE_S)
            page.get_by_role("button", name="One word").click()
            page.locator("#examples button").first.click(timeout=1e3 * PATIENCE_S)
            page.locator("#answer[data-probabilities]").wait_for(timeout=1e3 * PATIENCE_S)
            ready_s = time.perf_counter() - started
            page.get_by_role("button", name="Live").click()
            if keeps_state:
                page.locator("#model").select_option(f"{folder.name}, keeping its state")
                page.locator("#model_text", has_text="each moment once").wait_for(timeout=1e3 * PATIENCE_S)
            yield page, ready_s
        finally:
            browser.close()
            server.terminate()
            server.wait()


def thread_seconds(parent):
    """Processor time of each thread of the processes that descend from one, by its name."""
    ticks, parents, threads = os.sysconf("SC_CLK_TCK"), {}, {}
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])

    def descends(process):
        return process == parent or (process in parents and descends(parents[process]))

    for process in filter(descends, parents):
        for task in Path(f"/proc/{process}/task").glob("*/stat"):
            with contextlib.suppress(OSError):
                name, _, rest = task.read_text().partition("(")[2].rpartition(")")
                times = rest.split()[11:13]
                threads[name] = threads.get(name, 0) + sum(map(int, times)) / ticks
    return threads


def find_place(sound, minute):
    """Where in the minute, which goes round, some sound is from, and how alike they are (1: the same)."""
    spectrum = np.fft.rfft(minute) * np.conj(np.fft.rfft(sound, len(minute)))
    alike = np.fft.irfft(spectrum, len(minute))
    place = int(alike.argmax())
    there = np.take(minute, np.arange(place, place + len(sound)), mode="wrap")
    return place, alike[place] / np.sqrt(np.square(there).sum() * np.square(sound).sum() + 1e-9)


def find_loss(heard, minute):
    """Seconds of the minute that are missing between the first and the last second that was heard."""
    heard, minute = heard.astype(np.float64), minute.astype(np.float64)
    half, lost, expected = SAMPLE_RATE // 2, 0, None
    for start in range(SAMPLE_RATE, len(heard) - SAMPLE_RATE, SAMPLE_RATE):
        second = heard[start : start + SAMPLE_RATE]
        if expected is None:
            expected, _ = find_place(heard[start : start + 10 * SAMPLE_RATE], minute)
        # Near its place first, as the noise of the minute repeats: some of its seconds are there several times.
        near = np.take(minute, np.arange(expected - half, expected + SAMPLE_RATE + half), mode="wrap")
        place, alike = find_place(second, near)
        gap = (place + half) % len(near) - 2 * half if alike > ALIKE else None
        if gap is None or abs(gap) > half:
            place, _ = find_place(heard[start : start + 10 * SAMPLE_RATE], minute)
            gap = (place - expected + len(minute) // 2) % len(minute) - len(minute) // 2
        lost += gap
        expected = (expected + gap + SAMPLE_RATE) % len(minute)
    return lost / SAMPLE_RATE


def find_delays(seen, heard, minute, words):
    """Seconds from the end of each word, as the minute was made: to the frame that shows it, to the rule's decision.

    The second is in the time of the sound: what comes on top is the computer's.
    """
    start = SAMPLE_RATE
    place, _ = find_place(heard[start : start + 10 * SAMPLE_RATE].astype(np.float64), minute.astype(np.float64))
    begin_s, round_s = (start - place) / SAMPLE_RATE, len(minute) / SAMPLE_RATE
    rounds = range(int(len(heard) / len(minute)) + 3)
    ends = [(word.label, begin_s + number * round_s + word.end) for number in rounds for word in words]
    return [
        (word["shown_s"] - end, word["seconds"] - end)
        for word in seen["words"]
        for label, end in ends
        if label == word["label"] and abs(word["seconds"] - end) < 1
    ]


def listen(page, seconds):
    """What the page heard and showed in so many seconds, and the share of a core that each thread took."""
    page.locator("#microphone").click()
    page.wait_for_timeout(3000)
    before, started = thread_seconds(os.getpid()), time.perf_counter()
    page.wait_for_timeout(1e3 * seconds)
    after, elapsed = thread_seconds(os.getpid()), time.perf_counter() - started
    used = {name: (after[name] - before.get(name, 0)) / elapsed for name in after if not name.startswith("python")}
    return page.evaluate(COLLECT), used


def judge(seen, used, minute, words, model):
    """Figures of it, beside what Python hears in the same sound."""
    from utils import recogniser, stream

    heard = np.frombuffer(base64.b64decode(seen["counts"]), "<i2")
    python = [(word.label, round(word.seconds, 2)) for word in stream.Stream(recogniser.load(model)).feed(heard)]
    shown = [(word["label"], round(word["seconds"], 2)) for word in seen["words"]]
    delays = np.array(find_delays(seen, heard, minute, words) or [(np.nan, np.nan)])
    return {
        "sound_s": len(heard) / SAMPLE_RATE,
        "lost_s": find_loss(heard, minute),
        "lost_by_the_page_s": seen["lost_s"],
        "words": len(shown),
        "same_as_python": sum(a == b for a, b in zip(shown, python)) / max(1, len(python), len(shown)),
        "delay_median_s": float(np.median(delays[:, 0])),
        "delay_most_s": float(np.max(delays[:, 0])),
        "rule_delay_median_s": float(np.median(delays[:, 1])),
        "network_share": used.get("DedicatedWorker", 0),
        "browser_share": sum(used.values()),
    }


def main(arguments=None):
    """Measure and print."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--model",
        type=cli.path_text,
        help="run folder, or its file that keeps state (default: runs/latest, or pretrained where there is none)",
    )
    parser.add_argument("--minutes", type=cli.positive_float, default=5.0, help="to listen")
    parser.add_argument("--busy", type=int, default=0, metavar="N", help="processes that count beside it")
    options = parser.parse_args(arguments)
    keeps_state = Path(options.model or "").name == trained.STREAM
    folder = trained.find_run_of(options.model) if keeps_state else trained.find_folder(options.model)
    minute, words = make_minute()
    with tempfile.TemporaryDirectory() as scratch:
        wav = Path(scratch, "minute.wav")
        audio.write_wav(wav, minute)
        with busy(options.busy), page_of(wav, folder, keeps_state) as (page, ready_s):
            seen, used = listen(page, 60 * options.minutes)
    row = {"busy": options.busy, "ready_s": ready_s, **judge(seen, used, minute, words, options.model or folder)}
    if options.json:
        print(json.dumps(row))
    else:
        print("".join(f"{name:20} {value:.3f}\n" for name, value in row.items()), end="")


if __name__ == "__main__":
    sys.exit(cli.run(main))
