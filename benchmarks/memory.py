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
        for place, (part, array) in enumerate({"X": clip_set.inputs[0], "y": clip_set.y}.items()):
            blocks = _first_rows(clip_set, n_wanted, place)
            store.write_array(folder / f"{name}_{part}.bc", blocks, array.shape[1:], array.dtype, settings)


def _first_rows(clip_set, n_rows, place):
    """Blocks of X (place 0) or y (1), again and again, until there are ``n_rows``."""
    for block in itertools.chain.from_iterable(clip_set.blocks() for _ in itertools.count()):
        yield block[place][:n_rows]
        n_rows -= len(block[place])
        if n_rows <= 0:
            return


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
