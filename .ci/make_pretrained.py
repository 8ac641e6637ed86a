"""Make pretrained/ of a run: its weights in 16 bits, labels, settings, scores, and a model card.

python train_keras.py --recipe best --model tc_resnet8_1.2 --logrun small
python .ci/make_pretrained.py runs/small
"""

import shutil
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from utils import cli, datasets, export, files, models, recogniser, runs, training, web

HOW = """
**Made by** `python train_keras.py {flags}`, then
`python .ci/make_pretrained.py runs/{logrun}`, on the recordings above. Weights are kept in 16 bits: with them the
network answers {same:.2%} of the validation clips as before. `predict.py` and `app.py` take it where there is no run.
`model_float.tflite` is the same network for browsers, front end included: the page runs it (`python app.py`).
"""
KIND = runs.KIND._replace(names=(*runs.KIND.names, "README.md", web.FLOAT, "quiet.json"))


def main(arguments=None):
    """Write the folder, whole or not at all."""
    parser = cli.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=cli.path_text, metavar="RUN", help="run folder of train_keras.py")
    run = Path(parser.parse_args(arguments).run)
    model = models.load_model(run / "model.keras")
    with files.new_folder(recogniser.PRETRAINED, KIND) as folder:
        for name in ("config.json", "labels.txt", "result.json"):
            shutil.copy(run / name, folder)
        recogniser.save_half(folder, model)
        # For browsers, of the same weights: where nothing was trained, nothing can be exported without TensorFlow.
        export.export(folder, "float").replace(folder / web.FLOAT)
        files.remove(folder / "export")
        cv = datasets.open_store("data/main/preprocessed")["cv"]
        said = [training.predict_labels(recogniser.load(path), cv) for path in (run, folder)]
        config = files.read_json(run / "config.json")
        how = HOW.format(
            flags=f"--recipe {config['recipe']} --model {config['model']} --logrun {run.name}",
            logrun=run.name,
            same=np.mean(said[0] == said[1]),
        )
        card = export.make_card(run, [folder / recogniser.HALF_WEIGHTS, folder / web.FLOAT])
        files.write_text(folder / "README.md", card.rstrip("\n") + "\n" + how)
    print("".join(f"{path.name}: {path.stat().st_size:,} bytes\n" for path in sorted(recogniser.PRETRAINED.iterdir())))


if __name__ == "__main__":
    sys.exit(cli.run(main))
