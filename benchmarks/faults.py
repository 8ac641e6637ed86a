"""Whether anything is lost when a command is killed, or the disk is full, locked or read-only; then it is run again.

    python -m benchmarks.faults                     50 kills of each data job, 5 of each training script, 5 of the rest
    python -m benchmarks.faults --faults killed --times 5 --jobs voices features
    python -m benchmarks.faults --json

Each job runs once undisturbed. Then, each time from the same beginning, it meets a fault and is run again:

killed          SIGKILL at a moment drawn from the time it takes
full            a disk with room for a share, drawn at random, of what it writes
filled          in training: a disk that another program fills after the second epoch
locked          folders it may not write to, for an ordinary user
read-only       a disk mounted read-only

It has survived if the result is the same (bytes for data; what the network answers, and the log, for training), no
hidden or partial file is left, and a third run writes nothing anew. A full, locked or read-only disk must end it with
one line that names the place (a full one: the space needed too), exit status 1, and all as it was before. Disks are
made in memory, which takes Linux and root.
"""

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import ROOT, make_parser
from utils import audio, recogniser, voices
from utils.system import cli

# Root may write everywhere, unless it gives up the right to.
AS_USER = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.name == "posix" and not os.getuid() else []
SEED = 0
SPEAKERS = 13
TRAINING = ("--random_data", "--random_examples", "400", "--batch_size", "40", "--epochs", "5", "--logrun", "latest")


@dataclass(frozen=True)
class Job:
    """A command, the job whose result it begins from, and the folder that it makes."""

    command: tuple
    makes: str
    begins_from: str | None = None
    kills: int = 50
    training: bool = False

    def run(self, folder, again=False, output=subprocess.DEVNULL):
        """Start it, as a user who may not write everywhere; in training, an interrupted run is gone on with."""
        begun = again and any((folder / "runs").glob(".*/config.json"))
        resume = ["--resume"] if begun else []
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            [*AS_USER, sys.executable, *self.command, *resume],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )


SPLIT = """import sys; from utils import splits; from utils.system import cli
sys.exit(cli.run(lambda _: splits.split() and 0))"""
JOBS = {
    "sources": Job(("-m", "utils.sources", "archive", "challenge.zip"), "data/raw", "archive"),
    "voices": Job(("-m", "utils.voices", "--speakers", str(SPEAKERS)), "data/raw"),
    "split": Job(("-c", SPLIT), "data", "voices"),
    "store": Job(("-m", "utils.prepare"), "data", "split"),
    "features": Job(("-m", "utils.features"), "data/sample", "store"),
    "submission": Job((str(ROOT / "predict.py"), "--submission", "out/submission.csv"), "out", "clips"),
    "train_keras": Job((str(ROOT / "train_keras.py"), *TRAINING), "runs", kills=5, training=True),
    "train_tensorflow": Job((str(ROOT / "train_tensorflow.py"), *TRAINING), "runs", kills=5, training=True),
}
OTHERS = 5  # times that each job meets a fault other than a kill
ROOM = "4g"  # of a disk with room for all


def make_archive(folder):
    """Kaggle's download in small, of built-in voices."""
    import py7zr

    voices.make_voices(folder / "made", n_speakers=SPEAKERS)
    with zipfile.ZipFile(folder / "challenge.zip", "w") as outer:
        for name in ("train", "test"):
            with py7zr.SevenZipFile(folder / f"{name}.7z", "w", filters=[{"id": py7zr.FILTER_COPY}]) as inner:
                inner.writeall(folder / "made" / name, name)
            outer.write(folder / f"{name}.7z", f"{name}.7z")
            (folder / f"{name}.7z").unlink()
    shutil.rmtree(folder / "made")


def make_clips(folder):
    """Test clips for a submission, 6,000 by hard links."""
    clips = folder / "data" / "raw" / "test" / "audio"
    clips.mkdir(parents=True)
    rng = np.random.default_rng(SEED)
    for number in range(100):
        audio.write_wav(clips / f"clip_{number}.wav", rng.normal(0, 3000, audio.CLIP_SAMPLES).astype(np.int16))
    for number in range(100, 6000):
        os.link(clips / f"clip_{number % 100}.wav", clips / f"clip_{number}.wav")


def begin(name, bases):
    """Folder that a job begins from, made once."""
    if name not in bases:
        folder = bases["root"] / name
        if name in JOBS:
            before = JOBS[name].begins_from
            copy(begin(before, bases) if before else None, folder)
            finish(JOBS[name].run(folder))
        else:
            folder.mkdir()
            {"archive": make_archive, "clips": make_clips}[name](folder)
        bases[name] = folder
    return bases[name]


def copy(base, folder):
    """A folder as the job finds it; hard links stay hard links."""
    folder.mkdir(exist_ok=True)
    if base:
        subprocess.run(["cp", "-a", f"{base}/.", str(folder)], check=True)


@contextlib.contextmanager
def disk(folder):
    """A disk in memory at ``folder``: a function that mounts it anew with other options."""
    folder.mkdir()

    def mount(*options):
        subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)], check=True)

    mount(f"size={ROOM}")
    try:
        yield lambda *options: mount("remount", *options)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def count_used(folder):
    """Bytes used of a disk."""
    return shutil.disk_usage(folder).used


def finish(process):
    """Wait for a job that must end well; the seconds it took."""
    started = time.perf_counter()
    _, error = process.communicate()
    if process.returncode:
        raise cli.CourseError(f"{' '.join(process.args[1:])} ended with {process.returncode}: {error.strip()}")
    return time.perf_counter() - started


def outcome(job, folder):
    """What must be the same: content by path, or answers and log of a trained network."""
    if not job.training:
        made = folder / job.makes
        return {str(path.relative_to(made)): path.read_bytes() for path in sorted(made.rglob("*")) if path.is_file()}
    run = folder / "runs" / "latest"
    rng = np.random.default_rng(SEED)
    answers = recogniser.load(run)(rng.uniform(-0.5, 0.5, (8, audio.CLIP_SAMPLES)).astype(np.float32))
    lines = (run / "log.csv").read_text(encoding="utf-8").splitlines()
    log = [line.rsplit(",", 1)[0] for line in lines]  # without the seconds
    return {"answers": answers.tobytes(), "log": "\n".join(log).encode()}


def left_over(folder):
    """Hidden files, which only work in progress has."""
    return [str(path.relative_to(folder)) for path in folder.rglob(".*")]


def stamps(folder):
    """When each file was written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def content(folder):
    """All that is there, by path."""
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def refused(process, folder, before, pattern):
    """Wait for a job that cannot be done: why it was not refused as it should be, or None."""
    _, error = process.communicate()
    lines = [line for line in error.splitlines() if "pretrained/" not in line]  # which network answers
    if process.returncode != 1 or len(lines) != 1 or str(folder) not in lines[0] or not re.search(pattern, lines[0]):
        return f"ended with {process.returncode}: {error.strip()[-500:]}"
    if lost := before.items() - content(folder).items():
        return f"not as it was before: {min(lost)[0].relative_to(folder)}"
    return None


def kill(job, folder, seconds, rng):
    """Kill it at a moment of the time it takes."""
    process = job.run(folder)
    try:
        process.wait(rng.uniform(0, seconds))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def find_full(job, folder, n_bytes, rng, remount):
    """Run it where there is room for a share of what it writes."""
    before = content(folder)
    remount(f"size={count_used(folder) + int(rng.uniform(0, n_bytes))}")
    reason = refused(job.run(folder), folder, before, "MB are needed|no space left")
    remount(f"size={ROOM}")
    return reason


def fill(job, folder, n_bytes, rng, remount):
    """Fill the disk when it has trained for two epochs."""
    remount(f"size={count_used(folder) + 4 * n_bytes + 100_000_000}")
    process = job.run(folder, output=subprocess.PIPE)
    for line in process.stdout:
        if line.startswith("epoch   2"):
            break
    filler = folder / "filler"
    with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
    reason = refused(process, folder, {}, "the disk is full.*--resume")
    filler.unlink()
    return reason


def lock(job, folder, n_bytes, rng, remount):
    """Run it where it may not write."""
    before = content(folder)
    subprocess.run(["chmod", "-R", "a-w", str(folder)], check=True)
    reason = refused(job.run(folder), folder, before, "no permission for")
    subprocess.run(["chmod", "-R", "u+w", str(folder)], check=True)
    return reason


def make_read_only(job, folder, n_bytes, rng, remount):
    """Run it on a disk that is mounted read-only."""
    before = content(folder)
    remount("ro")
    reason = refused(job.run(folder), folder, before, "no permission for")
    remount("rw")
    return reason


DISK_FAULTS = {"full": find_full, "filled": fill, "locked": lock, "read-only": make_read_only}


def find_loss(job, folder, wanted):
    """Run a job again after a fault: what was lost, or None."""
    finish(job.run(folder, again=True))
    found = outcome(job, folder)
    if found != wanted:
        different = [name for name in {*found, *wanted} if found.get(name) != wanted.get(name)]
        return f"another result: {sorted(different)[:3]} of {len(different)}"
    if left := left_over(folder):
        return f"left behind: {left[:3]}"
    if not job.training and job.makes != "out":
        before = stamps(folder / job.makes)
        finish(job.run(folder))
        if changed := [path for path, stamp in stamps(folder / job.makes).items() if before.get(path) != stamp]:
            return f"written once more: {changed[0].relative_to(folder)} and {len(changed) - 1} others"
    return None


def try_kills(job, base, folder, times, rng):
    """Kill a job so often: what was lost each time, or None."""
    copy(base, folder)
    seconds = finish(job.run(folder))
    wanted = outcome(job, folder)
    for _ in range(times):
        shutil.rmtree(folder)
        copy(base, folder)
        kill(job, folder, seconds, rng)
        yield find_loss(job, folder, wanted)
    shutil.rmtree(folder)


def try_disks(job, base, folder, times, rng, strike):
    """Let a job meet a fault of the disk so often: what was lost each time, or None."""
    with disk(folder):
        copy(base, folder)
        before = count_used(folder)
        finish(job.run(folder))
        wanted, n_bytes = outcome(job, folder), count_used(folder) - before
    for _ in range(times):
        folder.rmdir()
        with disk(folder) as remount:
            copy(base, folder)
            yield strike(job, folder, n_bytes, rng, remount) or find_loss(job, folder, wanted)
    folder.rmdir()


def try_fault(fault, name, times, bases, rng):
    """A row of the table, and why a job did not survive, each time."""
    job = JOBS[name]
    base = begin(job.begins_from, bases) if job.begins_from else None
    place = base, bases["root"] / "place", times, rng
    tries = try_kills(job, *place) if fault == "killed" else try_disks(job, *place, DISK_FAULTS[fault])
    reasons = [reason for reason in cli.progress(tries, total=times, desc=f"{fault}: {name}", unit="time") if reason]
    lost = len(reasons)
    return {"fault": f"{fault}: {name}", "tried": times, "survived": times - lost, "lost": lost}, reasons


def main(arguments=None):
    """Try and print; 1 if anything was lost."""
    parser = make_parser(__doc__)
    faults = ("killed", *DISK_FAULTS)
    parser.add_argument("--faults", nargs="+", choices=faults, default=faults, help="which (default: all)")
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS), help="which (default: all)")
    parser.add_argument("--times", type=cli.positive_int, help="each (default: 50 kills, 5 of training; 5 of the rest)")
    options = parser.parse_args(arguments)
    rng, lost = np.random.default_rng(SEED), 0
    with tempfile.TemporaryDirectory() as root:
        bases = {"root": Path(root)}
        for fault, name in itertools.product(options.faults, options.jobs):
            if fault == "filled" and not JOBS[name].training:
                continue
            times = options.times or (JOBS[name].kills if fault == "killed" else OTHERS)
            row, reasons = try_fault(fault, name, times, bases, rng)
            lost += row["lost"]
            if options.json:
                print(json.dumps(row), flush=True)
            else:
                print(f"{row['fault']:28} {row['tried']:3} tried {row['survived']:3} survived {row['lost']:3} lost")
            for reason in reasons:
                print(f"  {row['fault']}: {reason}", file=sys.stderr, flush=True)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
