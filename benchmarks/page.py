"""What the page stands: many requests at once, for a minute.

    python -m benchmarks.page                 the model that predict.py takes
    python -m benchmarks.page --json

It asks a server of its own on this computer and prints, every ten seconds, what was answered and the server's memory.
"""

import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import numpy as np

from benchmarks import make_parser
from utils import cli, recogniser, voices

AT_ONCE = 50
SECONDS = 60
EVERY = 10


def memory_mb(pid):
    """Resident memory of a process (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1e3


def wait_for(url, process):
    """Until the server answers."""
    for _ in range(120):
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url):  # nosec B310 # our own page
                return
        except OSError:
            time.sleep(0.5)
    raise cli.CourseError("the page did not start")


def crowd(url, model, sound, report):
    """Ask from many threads until the time is over; ``report`` gets seconds, latencies, failures."""
    import gradio_client

    latencies, failures, lock, ends = [], [], threading.Lock(), time.perf_counter() + SECONDS

    def ask():
        client = gradio_client.Client(url, verbose=False)
        while (started := time.perf_counter()) < ends:
            try:
                client.predict(gradio_client.handle_file(sound), model, api_name="/recognise")
            except Exception as error:  # whatever it was, it is counted
                failures.append(str(error))
            with lock:
                latencies.append(time.perf_counter() - started)

    threads = [threading.Thread(target=ask) for _ in range(AT_ONCE)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        time.sleep(EVERY)
        with lock:
            report(time.perf_counter() - started, list(latencies), list(failures))


def main(arguments=None):
    """Measure and print."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--model", type=cli.path_text, help="run folder (default: runs/latest, or pretrained where there is none)"
    )
    options = parser.parse_args(arguments)
    model = str(recogniser.find_folder(options.model))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "app.py", "--port", str(port), "--model", model], stdout=subprocess.DEVNULL
    )

    def report(seconds, latencies, failures):
        row = {
            "seconds": seconds,
            "answers": len(latencies),
            "errors": len(failures),
            "median_s": float(np.median(latencies)) if latencies else None,
            "memory_mb": memory_mb(process.pid),
        }
        if options.json:
            print(json.dumps(row), flush=True)
        else:
            print(
                f"{seconds:5.0f} s {row['answers']:6d} answers {row['errors']:4d} errors  "
                f"median {row['median_s'] or 0:5.2f} s  {row['memory_mb']:6.0f} MB",
                flush=True,
            )

    try:
        wait_for(url, process)
        with tempfile.TemporaryDirectory() as folder:
            (sound,) = voices.make_examples(folder, ["right"])
            crowd(url, model, str(sound), report)
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    sys.exit(cli.run(main))
