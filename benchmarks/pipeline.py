"""How fast the way from recordings to batches is, and how much memory it takes.

    python -m benchmarks.pipeline                 on data/raw, which is left as it is
    python -m benchmarks.pipeline --json

Every row runs in a process of its own, so that its peak memory is its own.
"""

import json
import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import make_parser, peak_mb
from utils import audio
from utils.system import cli

ROWS = 100_000  # of the memory test, made by repetition
STREAM_EPOCHS = 4  # after one in which hashes are checked


def split_fresh(raw, folder):
    """Split and audit; clips."""
    from utils import splits

    _restart_clock()
    result = splits.split(raw, folder / "main", folder / "sample")
    return sum(sum(by_label.values()) for by_label in result.counts.values())


def split_again(raw, folder):
    """A second run, with nothing to do; clips."""
    return split_fresh(raw, folder)


def prepare_fresh(raw, folder):
    """From recordings to arrays of main and sample; clips read."""
    from utils import prepare

    _restart_clock()
    return prepare.prepare(raw, folder / "other", folder / "other_sample")[1]


def write_rows(raw, folder):
    """Write rows of 16,000 int16 to an array; rows."""
    from utils import store

    paths = sorted((raw / "train" / "audio").glob("[a-z]*/*.wav"))[:512]
    rows = np.stack([audio.fit_second(audio.read_wav(path, audio.CLIP_SAMPLES)) for path in paths])
    blocks = (rows[: ROWS - start] for start in range(0, ROWS, len(rows)))
    store.write_array(folder / "rows.bc", blocks, (audio.CLIP_SAMPLES,), np.int16)
    return ROWS


def stream_store(raw, folder):
    """Shuffled float32 batches of waveforms through tf.data; clips."""
    from utils import datasets

    clip_set = datasets.open_store(folder / "other" / "preprocessed")["train"]
    steps = datasets.steps_per_epoch(clip_set, 64) * STREAM_EPOCHS
    batches = iter(datasets.training_dataset(clip_set, 64, seed=0))
    for _ in range(datasets.steps_per_epoch(clip_set, 64)):
        next(batches)
    _restart_clock()
    return sum(int(X.shape[0]) for X, _ in (next(batches) for _ in range(steps)))


def stream_rows(raw, folder):
    """The same from the array of the memory test; clips."""
    from utils import datasets, store

    array = store.open_array(folder / "rows.bc")
    y = np.zeros((len(array), 12), np.uint8)
    y[:, 0] = 1
    clip_set = datasets.ClipSet("train", [array], y)
    batches = iter(datasets.training_dataset(clip_set, 64, seed=0))
    next(batches)
    _restart_clock()
    return sum(len(X) for X, _ in (next(batches) for _ in range(datasets.steps_per_epoch(clip_set, 64))))


def compute_log_mel(raw, folder):
    """Log-mel spectrograms of the training set, stored; clips."""
    from utils import datasets

    clip_set = datasets.open_store(folder / "other" / "preprocessed")["train"]
    _restart_clock()
    return len(datasets.log_mel_set(clip_set, folder))


def recognise_files(raw, folder):
    """Wav files to labels with an untrained default model; clips."""
    import predict
    from utils import models, recogniser
    from utils.labels import LABELS

    models.build_model().save(folder / "model.keras")
    (folder / "labels.txt").write_text("\n".join(LABELS))
    paths = sorted((raw / "train" / "audio").glob("[a-z]*/*.wav"))[:4096]
    model = recogniser.load(folder)
    list(predict.recognise(model, paths[:256]))
    _restart_clock()
    return len(list(predict.recognise(model, paths)))


ROWS_OF_TABLE = {
    "split and audit": split_fresh,
    "split again": split_again,
    "prepare": prepare_fresh,
    "write 100,000 rows": write_rows,
    "stream 100,000 rows": stream_rows,
    "stream the training set": stream_store,
    "compute and store log-mel": compute_log_mel,
    "recognise wav files": recognise_files,
}

_clock = [0.0]


def _restart_clock():
    """Leave what came before (imports, tracing) out of the measurement."""
    _clock[0] = time.perf_counter()


def _measure(name, raw, folder, answers):
    _restart_clock()
    clips = ROWS_OF_TABLE[name](raw, folder)
    seconds = time.perf_counter() - _clock[0]
    peak = peak_mb(resource.getrusage(resource.RUSAGE_SELF))
    answers.put({"what": name, "clips": clips, "seconds": seconds, "clips/s": clips / seconds, "peak_mb": peak})


def main(arguments=None):
    """Measure and print."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--raw", type=cli.path_text, default="data/raw", help="recordings in Kaggle's layout (default: data/raw)"
    )
    options = parser.parse_args(arguments)
    raw = Path(options.raw)
    if not (raw / "train" / "audio").is_dir():
        raise cli.CourseError(f"{raw}/train/audio is missing: python -m utils.voices makes built-in voices")
    context = multiprocessing.get_context("spawn")
    if not options.json:
        print(f"{'':28}{'clips':>9}{'seconds':>9}{'clips/s':>9}{'peak MB':>9}")
    # Beside the recordings, so that hard links work.
    with tempfile.TemporaryDirectory(dir=raw.parent, prefix=".benchmark") as folder:
        for name in ROWS_OF_TABLE:
            answers = context.Queue()
            process = context.Process(target=_measure, args=(name, raw, Path(folder), answers))
            process.start()
            row = answers.get(timeout=600)
            process.join()
            if options.json:
                print(json.dumps(row), flush=True)
            else:
                print(
                    f"{name:28}{row['clips']:9d}{row['seconds']:9.2f}{row['clips/s']:9.0f}{row['peak_mb']:9.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    sys.exit(cli.run(main))
