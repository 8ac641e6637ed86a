"""Words that a network has never heard: some of the other words are kept from training, then said to it.

    python -m benchmarks.withheld                                      default recipe, some eight minutes
    python -m benchmarks.withheld -- --recipe best --model resnet10_s --epochs 150
    python -m benchmarks.withheld --json

All recordings of the words are asked about, whoever speaks. *Sure* leaves out what ``predict.py`` calls *not sure*.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import ROOT, make_parser, quiet
from utils import audio, corpus, prepare, recogniser
from utils.system import cli

WORDS = ("bed", "nine", "tree", "wow")


def read_clips(recordings, word):
    """All recordings of a word: int16 (n, 16000)."""
    paths = sorted((recordings / word).glob("*.wav"))
    return np.stack([audio.loudest_second(audio.read_wav(path)) for path in paths])


def main(arguments=None):
    """Prepare the data without the words, train on it, and ask about the words."""
    parser = make_parser(__doc__)
    parser.add_argument("--raw", type=cli.path_text, default="data/raw", help="recordings, Kaggle's layout")
    parser.add_argument("flags", nargs="*", help="of train_keras.py, after --")
    options = parser.parse_args(arguments)
    recordings = corpus.find_recordings(Path(options.raw))
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        shutil.copytree(recordings, scratch / "raw/train/audio", ignore=shutil.ignore_patterns(*WORDS))
        for name in corpus.LISTS.values():
            lines = (corpus.list_folder(recordings) / name).read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if line.split("/")[0] not in WORDS]
            (scratch / "raw/train" / name).write_text("".join(kept), encoding="utf-8")
        prepare.prepare(scratch / "raw", scratch / "main", scratch / "sample")
        command = [sys.executable, ROOT / "train_keras.py", "--path_to_data", scratch / "main/preprocessed"]
        subprocess.run([*command, "--logrun", "withheld", *options.flags], cwd=scratch, stdout=sys.stderr, check=True)
        model = recogniser.load(scratch / "runs/withheld")
    clips = [read_clips(recordings, word) for word in WORDS]
    words = np.repeat(WORDS, [len(of) for of in clips])
    row = quiet.share("a word it was not taught", "real words", quiet.call(model, np.concatenate(clips)), words)
    bounds = "({:.3f} to {:.3f})".format(*row["interval"])
    told = (
        f"called a command {row['called_a_command']:.3f} {bounds} of {row['clips']}, sure {row['called_and_sure']:.3f}"
    )
    by_word = ", ".join(f"{word} {share:.2f}" for word, share in row["by_kind"].items())
    print(json.dumps(row) if options.json else f"{told}; {by_word}")


if __name__ == "__main__":
    sys.exit(cli.run(main))
