"""Make pretrained/ of a run: its weights in 16 bits, labels, settings, scores, and a model card.

python train_keras.py --recipe best --model resnet10_s --epochs 150 --seed 2 --logrun small
python .ci/make_pretrained.py runs/small --noises noises.zip
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from utils import datasets, export, models, recogniser, runs, trained, training
from utils.nets import card, saved
from utils.system import cli, files

HOW = """
**Made by** `python train_keras.py {flags}`, then
`python .ci/make_pretrained.py runs/{logrun} --noises noises.zip`, on the recordings above. Weights are kept in
16 bits: with them the network answers {same:.2%} of the validation clips as before. `predict.py` and `app.py` take it
where there is no run.
`model_float.tflite` is the same network for browsers, front end included: the page runs it (`python app.py`).
`embedding.tflite` and `embedding.npz` are for words that are taught (`python -m utils.enrol`): the convolutions are
Google's speech embedding, Apache License 2.0 (Lin et al. 2020, arXiv:2002.01322); the rest is made by
`.ci/make_embedding.py`.
"""
KEPT = (trained.EMBEDDING, trained.NEGATIVES)  # of .ci/make_embedding.py, whichever network is beside them
KIND = runs.KIND._replace(
    names=(*runs.KIND.names, "README.md", trained.FLOAT, trained.QUIET, *(path.name for path in KEPT))
)
DATA = "data/main/preprocessed"
ROOT = Path(__file__).parents[1]


def main(arguments=None):
    """Write the folder, whole or not at all."""
    parser = cli.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=cli.path_text, metavar="RUN", help="run folder of train_keras.py")
    parser.add_argument("--noises", type=cli.path_text, metavar="PATH", help="as of benchmarks.quiet")
    options = parser.parse_args(arguments)
    run = Path(options.run)
    model = models.load_model(run / "model.keras")
    with files.new_folder(trained.PRETRAINED, KIND) as folder:
        for name in ("labels.txt", "result.json"):
            shutil.copy(run / name, folder)
        # Where the data lay is this computer's own business.
        files.write_json(folder / "config.json", files.read_json(run / "config.json") | {"path_to_data": DATA})
        for path in KEPT:
            shutil.copy(path, folder)
        saved.save_half(folder, model)
        # For browsers, of the same weights: where nothing was trained, nothing can be exported without TensorFlow.
        export.export(folder, "float").replace(folder / trained.FLOAT)
        files.remove(folder / "export")
        cv = datasets.open_store(DATA)["cv"]
        said = [training.predict_all(recogniser.load(path), cv).argmax(axis=1) for path in (run, folder)]
        config = files.read_json(run / "config.json")
        flags = " ".join(f"--{name} {config[name]}" for name in ("recipe", "model", "epochs", "seed"))
        how = HOW.format(
            flags=f"{flags} --logrun {run.name}",
            logrun=run.name,
            same=np.mean(said[0] == said[1]),
        )
        command = [sys.executable, "-m", "benchmarks.quiet", "--json", "--model", str(folder)]
        command += ["--noises", options.noises] if options.noises else []
        measured = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
        files.write_json(folder / trained.QUIET, [json.loads(line) for line in measured.splitlines()])
        text = card.make_card(folder, [folder / trained.HALF_WEIGHTS, folder / trained.FLOAT])
        files.write_text(folder / "README.md", text.rstrip("\n") + "\n" + how)
    print("".join(f"{path.name}: {path.stat().st_size:,} bytes\n" for path in sorted(trained.PRETRAINED.iterdir())))


if __name__ == "__main__":
    sys.exit(cli.run(main))
