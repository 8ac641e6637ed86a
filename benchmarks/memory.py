"""How much memory training takes, however many clips there are.

    python -m benchmarks.memory                   on data/main/preprocessed, repeated to 10,000 and 100,000 rows
    python -m benchmarks.memory --json

Both scripts, one epoch each, in processes of their own. Takes 6 GB of disk in the folder for temporary files.
"""

import itertools
import json
import sys
import tempfile
from pathlib import Path

from benchmarks import ROOT, make_parser, measure
from utils import datasets, store
from utils.system import cli

SIZES = (10_000, 100_000)
SCRIPTS = ("train_keras.py", "train_tensorflow.py")


def repeat(sets, n_rows, folder):
    """A store whose training set has ``n_rows`` rows: the same clips again and again. The other sets stay."""
    for name, clip_set in sets.items():
        n_wanted = n_rows if name == "train" else len(clip_set)
        settings = {"dataset": f"{n_rows} rows", "labels": list(clip_set.label_order)}
        X_path, y_path = folder / f"{name}_X.bc", folder / f"{name}_y.bc"
        with (
            store.ArrayWriter(X_path, clip_set.inputs[0].shape[1:], clip_set.inputs[0].dtype, settings) as X_writer,
            store.ArrayWriter(y_path, clip_set.y.shape[1:], clip_set.y.dtype, settings) as y_writer,
        ):
            n_left = n_wanted
            for X, y in itertools.chain.from_iterable(clip_set.blocks() for _ in itertools.count()):
                X_writer.append(X[:n_left])
                y_writer.append(y[:n_left])
                n_left -= len(X)
                if n_left <= 0:
                    break


def train(script, store_folder, folder):
    """Peak memory in MB and seconds of one epoch."""
    flags = ["--path_to_data", store_folder, "--epochs", "1", "--logdir", folder / "logs"]
    return measure([sys.executable, ROOT / script, *flags], folder)


def main(arguments=None):
    """Measure and print."""
    options = make_parser(__doc__, data=True).parse_args(arguments)
    sets = datasets.open_store(options.path_to_data)
    if not options.json:
        print(f"{'':24}{'rows':>9}{'peak MB':>9}{'seconds':>9}")
    for n_rows in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            repeat(sets, n_rows, folder / "store")
            for script in SCRIPTS:
                peak_mb, seconds = train(script, folder / "store", folder)
                row = {"script": script, "rows": n_rows, "peak_mb": peak_mb, "seconds": seconds}
                if options.json:
                    print(json.dumps(row), flush=True)
                else:
                    print(f"{script:24}{n_rows:9,}{peak_mb:9.0f}{seconds:9.0f}", flush=True)


if __name__ == "__main__":
    sys.exit(cli.run(main))
