"""Whether anything is lost when a command is killed: at random moments, then run again.

    python -m benchmarks.faults                     50 kills of each data job, 5 of each training script
    python -m benchmarks.faults --kills 5 --jobs voices features
    python -m benchmarks.faults --json

Each job runs once undisturbed. Then, each time from the same beginning, it is killed (SIGKILL) at a moment drawn from
the time it takes, and run again. It has survived if the result is the same (bytes for data; what the network answers,
and the log, for training), no hidden or partial file is left, and a third run writes nothing anew.
"""

import json
import os
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

from benchmarks import make_parser
from utils import audio, cli, recogniser, voices

ROOT = Path(__file__).parents[1]
SEED = 0
SPEAKERS = 13
TRAINING = ("--random_data", "--random_examples", "2000", "--batch_size", "100", "--epochs", "6")


@dataclass(frozen=True)
class Job:
    """A command, the job whose result it begins from, and the folder that it makes."""

    command: tuple
    makes: str
    begins_from: str | None = None
    kills: int = 50
    training: bool = False

    def run(self, folder, again=False):
        """Start it; in training, an interrupted run is gone on with."""
        begun = again and any((folder / "runs").glob(".*/config.json"))
        resume = ["--resume"] if begun else []
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            [sys.executable, *self.command, *resume],
            cwd=folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )


SPLIT = "from utils import splits; splits.split()"
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
    """A new folder as the job finds it; hard links stay hard links."""
    if base is None:
        folder.mkdir()
    else:
        subprocess.run(["cp", "-a", str(base), str(folder)], check=True)


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
    log = [line.rsplit(",", 1)[0] for line in (run / "log.csv").read_text().splitlines()]  # without the seconds
    return {"answers": answers.tobytes(), "log": "\n".join(log).encode()}


def left_over(folder):
    """Hidden files, which only work in progress has."""
    return [str(path.relative_to(folder)) for path in folder.rglob(".*")]


def stamps(folder):
    """When each file was written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def survives(job, base, folder, seconds, wanted):
    """Kill a job after some seconds and run it again: why it did not survive, or None; None too early to be killed."""
    copy(base, folder)
    process = job.run(folder)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    finish(job.run(folder, again=True))
    found = outcome(job, folder)
    if found != wanted:
        different = [name for name in {*found, *wanted} if found.get(name) != wanted.get(name)]
        return f"another result after {seconds:.2f} s: {sorted(different)[:3]} of {len(different)}"
    if left := left_over(folder):
        return f"left behind after {seconds:.2f} s: {left[:3]}"
    if not job.training and job.makes != "out":
        before = stamps(folder / job.makes)
        finish(job.run(folder))
        if changed := [path for path, stamp in stamps(folder / job.makes).items() if before.get(path) != stamp]:
            return f"written once more: {changed[0].relative_to(folder)} and {len(changed) - 1} others"
    return None


def try_job(name, kills, bases, rng):
    """Kill a job so often: how often it survived, and why not."""
    job = JOBS[name]
    base = begin(job.begins_from, bases) if job.begins_from else None
    folder = bases["root"] / "undisturbed"
    copy(base, folder)
    seconds = finish(job.run(folder))
    wanted = outcome(job, folder)
    shutil.rmtree(folder)
    reasons = []
    for number in cli.progress(range(kills), desc=name, unit="kill"):
        folder = bases["root"] / f"{name}_{number}"
        reason = survives(job, base, folder, rng.uniform(0, seconds), wanted)
        reasons += [reason] if reason else []
        shutil.rmtree(folder)
    return {
        "fault": f"killed in {name}",
        "tried": kills,
        "survived": kills - len(reasons),
        "lost": len(reasons),
    }, reasons


def main(arguments=None):
    """Kill and print; 1 if anything was lost."""
    parser = make_parser(__doc__)
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS), help="which (default: all)")
    parser.add_argument("--kills", type=cli.positive_int, help="of each (default: 50, and 5 of a training script)")
    options = parser.parse_args(arguments)
    rng, lost = np.random.default_rng(SEED), 0
    with tempfile.TemporaryDirectory() as root:
        bases = {"root": Path(root)}
        for name in options.jobs:
            row, reasons = try_job(name, options.kills or JOBS[name].kills, bases, rng)
            lost += row["lost"]
            if options.json:
                print(json.dumps(row), flush=True)
            else:
                print(f"{row['fault']:28} {row['tried']:3} tried {row['survived']:3} survived {row['lost']:3} lost")
            for reason in reasons:
                print(f"  {name}: {reason}", file=sys.stderr, flush=True)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
