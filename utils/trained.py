"""Where trained models lie, and what they are called: known without loading TensorFlow."""

from pathlib import Path

from utils.system import files
from utils.system.cli import CourseError

RUNS = Path("runs")
LATEST = RUNS / "latest"
RANDOM_RUN = "random"  # of random data: not "latest", which predict.py and the page take
PRETRAINED = Path(__file__).parents[1] / "pretrained"  # trained on real recordings; see its README.md
HALF_WEIGHTS = "weights.npz"  # the weights alone, in 16 bits: half as large as model.keras
EMBEDDING = PRETRAINED / "embedding.tflite"  # where words lie, for those that are taught: utils.enrol
NEGATIVES = PRETRAINED / "embedding.npz"  # its weights, and places of sounds that are no taught word
QUIET = "quiet.json"  # in a model's folder: what benchmarks.quiet has measured of it, a list of rows
TAUGHT = "taught.npz"  # in a folder of taught words: what hears them
MODELS = ("model.keras", "saved_model", HALF_WEIGHTS, TAUGHT)
FLOAT = "model_float.tflite"  # the same network for LiteRT: in pretrained/, and in export/ of a run
STREAM = "model_stream.tflite"  # the same network, which keeps its state: in export/ of a run
# All files of a SavedModel.
SAVED_MODEL = ("saved_model.pb", "fingerprint.pb", "variables/variables.index", "variables/variables.data-*-of-*")
# All files of an export for microcontrollers.
MICRO = (
    *("network.tflite", "front_end.tflite", "labels.txt", "report.json", "README.md"),
    *("model.h", "model.c", "golden.h", "operations.h", "command.c", "command.h", "listen.h", "host.c"),
    *("arduino/arduino.ino", "esp_idf/main.cc"),
)
# An answer that is not so many times as probable as what speaks against it is told as *not sure*, see
# Recogniser.are_sure. Chosen on validation, by benchmarks.quiet --choose.
SURE = 2.0


def find_model(folder):
    """The model in a run folder; None where there is none."""
    return next((Path(folder, name) for name in MODELS if Path(folder, name).exists()), None)


def is_taught(folder):
    """Whether the model of a run folder is one of taught words."""
    path = find_model(folder)
    return path is not None and path.name == TAUGHT


def find_exported(folder):
    """The exported float file of a run folder; None where there is none."""
    return next((path for path in (Path(folder, FLOAT), Path(folder, "export", FLOAT)) if path.exists()), None)


def find_stream(folder):
    """The exported float file of a run folder that keeps its state; None where there is none."""
    path = Path(folder, "export", STREAM)
    return path if path.exists() else None


def find_run_of(path):
    """The folder that has the labels of an exported file: its own, or the one above it."""
    if not Path(path).is_file():
        raise CourseError(f"{path} does not exist: python -m utils.export RUN makes such files")
    for folder in Path(path).absolute().parents[:2]:
        if (folder / "labels.txt").exists():
            return folder
    raise CourseError(f"{path} has no labels.txt beside it: copy that of its run there")


def find_run(path):
    """The run folder that a path means: itself, or that of a model in it."""
    path = Path(path)
    is_model = path.is_file() or path.name == "saved_model"
    return path.parent if is_model and (path.parent / "labels.txt").exists() else path


def find_folder(folder=None):
    """The folder named, or that of the model named, else the run ``latest``, else the network of the course."""
    if folder:
        run = find_run(folder)
        if not run.is_dir():
            raise no_model(run)
        return run
    return LATEST if find_model(LATEST) else PRETRAINED


def list_folders():
    """All folders that hold a model: runs, the latest first (one of random data last), then the course's own."""
    found = [path for path in RUNS.glob("[!.]*") if find_model(path)]
    found.sort(key=lambda path: (path.name == RANDOM_RUN, -path.stat().st_mtime))
    return [*found, *([PRETRAINED] if PRETRAINED.exists() else [])]


def no_model(folder):
    """The error of a folder that holds no model; it names the runs that there are."""
    folder = Path(folder)
    for meant in (RUNS / folder, *folder.parents):
        if meant != folder and (meant / "labels.txt").exists():
            return CourseError(f"{folder} holds no model: did you mean {meant}?")
    found = sorted(str(path.parent) for path in RUNS.glob("[!.]*/labels.txt"))
    hint = f"name another run folder ({', '.join(found)}), or " if found else ""
    return CourseError(f"{folder} holds no model: {hint}train one first (python train_keras.py)")


def read_labels(folder):
    """The labels of a run folder, in the order of its model's answers."""
    path = Path(folder) / "labels.txt"
    if not path.exists():
        raise no_model(folder)
    return files.read_text(path).splitlines()


def require_outputs(folder, labels, n_outputs):
    """Raise CourseError unless the model of a run folder has an output for each label."""
    if n_outputs != len(labels):
        raise CourseError(f"{folder}/labels.txt lists {len(labels)} labels, the model has {n_outputs}")
