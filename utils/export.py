"""A trained model as a small file for phones, boards and servers.

    python -m utils.export runs/latest --to int8              RUN/export/model_int8.tflite
    python -m utils.export runs/latest --to float int8 onnx saved_model
    python -m utils.export runs/latest --to int8 --check prize
    python -m utils.export runs/latest --to stream        RUN/export/model_stream.tflite: keeps state, hears in steps
    python -m utils.export runs/latest --to micro         RUN/export/micro/: C, sketches, a report for tflite-micro
    python -m utils.export runs/latest --to web           RUN/export/web/: a page to give away, network and all

Each file takes a waveform (float32 in [-1, 1), shape [16000, 1]; a SavedModel any number of them, [n, 16000]) and gives
probabilities: the front end is inside. A model card is written beside it.
"""

import argparse
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np

from utils import audio, datasets, evaluation, runs, trained, web
from utils.audio import CLIP_SAMPLES
from utils.nets import exported
from utils.system import cli, files
from utils.system.cli import BadUse, CourseError, hold_back_notes

NAMES = {
    "float": "model_float.tflite",
    "int8": "model_int8.tflite",
    "stream": "model_stream.tflite",
    "stream_int8": "model_stream_int8.tflite",
    "micro": "micro",
    "onnx": "model.onnx",
    "saved_model": "saved_model",
    "web": "web",
}
SAVED_MODEL = files.Kind("a SavedModel", "saved_model.pb", None, runs.SAVED_MODEL)
MICRO = files.Kind(
    "a folder for microcontrollers",
    "model.h",
    None,
    (*("*.c", "*.h", "*.tflite", "README.md", "labels.txt", "report.json"), "arduino/*", "esp_idf/*"),
)
FOLDERS = {"saved_model": SAVED_MODEL, "web": web.KIND, "micro": MICRO}
STREAMS = ("stream", "stream_int8", "micro")  # of a network that keeps state
QUANTIZED = ("int8", "stream_int8", "micro")
MARKS = {
    **dict.fromkeys(("float", "int8", "stream", "stream_int8"), b"TFL3"),
    "onnx": b"tf2onnx",
}  # near the beginning of each such file
HEAD_BYTES = 64
SPACE_SPARE = 3e6  # bytes, for the graph in a SavedModel
CALIBRATION_CLIPS = 512  # of the training set
ONNX_OPSET = 18
PRIZE_BYTES = 5_000_000  # of the challenge's special prize; its 200 ms were on a Raspberry Pi 3
PRIZE_MS = 200.0
PRIZE_LABELS = 12


def export(run, kind, data="data/main/preprocessed"):
    """Write one exported file of a run, whole or not at all.

    Parameters
    ----------
    run : str or Path
        Run folder of either script.
    kind : str
        One of ``NAMES``.
    data : str or Path
        Arrays of which int8 takes training clips, to see what values there are.

    Returns
    -------
    Path

    Raises
    ------
    CourseError
        If the run holds no model, the data is missing, or the model cannot be converted.
    """
    run = trained.find_run(run)
    labels = trained.read_labels(run)  # raises for what is no run
    path = Path(run) / "export" / NAMES[kind]
    _require_free(path, kind)
    if kind == "web":
        if not web.find_float(run):
            export(run, "float")
        return web.write_site(path, run)
    sets = open_sets(data, run, labels) if kind in (*STREAMS, *QUANTIZED) else {}
    clips = calibration_clips(sets["train"]) if kind in QUANTIZED else None
    chosen_on = _read_set(sets["cv"]) if kind in STREAMS else None
    files.require_space(path, 3 * _size(Path(run)) + SPACE_SPARE)
    # Converters leak memory and talk on the error stream: each runs in a process of its own.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            pool.submit(_convert, str(run), kind, path, clips, chosen_on).result()
        except BrokenProcessPool as error:
            raise CourseError(f"{run}: its conversion to {kind} ended early, perhaps for lack of memory") from error
    return path


def _require_free(path, kind):
    """Raise BadUse if something is in the way of an exported file or its card that is none."""
    card = path.with_name("README.md")
    if kind in FOLDERS:
        files.require_ours(path, FOLDERS[kind])
    else:
        files.require_folders(path)
        if os.path.lexists(path) and not (path.is_file() and MARKS[kind] in path.read_bytes()[:HEAD_BYTES]):
            raise BadUse(f"{path} is in the way, which is no exported model: move it away")
    if card.exists() and not (card.is_file() and card.read_text("utf-8", "replace").startswith(CARD.partition(",")[0])):
        raise BadUse(f"{card} is in the way, which is no model card: move it away")


def open_sets(data, run, labels):
    """The sets of a store that has the labels of a run."""
    sets = datasets.open_store(data)
    datasets.require_labels(sets["train"], labels, run, "--path_to_data names arrays of the labels that it has learned")
    return sets


def calibration_clips(train):
    """Waveforms from all over the training set, and no other: shape (n, 16000)."""
    n_clips = len(train)
    wanted = np.unique(np.linspace(0, n_clips - 1, min(CALIBRATION_CLIPS, n_clips)).astype(int))
    keep = np.zeros(n_clips, bool)
    keep[wanted] = True
    return audio.to_waveform(np.concatenate([rows for rows, _ in train.only(keep).blocks()]))


def _read_set(clip_set):
    """Clips (n, 16000) and label indices (n,) of a set."""
    return np.concatenate([rows for rows, _ in clip_set.blocks()]), clip_set.y.argmax(axis=1)


def _convert(run, kind, path, clips, chosen_on):
    """In a process of its own."""
    with files.owned(path):
        _write(run, kind, path, clips, chosen_on)


def _write(run, kind, path, clips, chosen_on):
    from utils import recogniser
    from utils.system.quiet import tf

    model = recogniser.load(run).model
    if kind == "saved_model":
        with files.new_folder(path, SAVED_MODEL) as folder, hold_back_notes():
            _save_model(model, folder, tf)
        return

    if kind == "micro":
        with files.new_folder(path, MICRO) as folder, hold_back_notes():
            _to_micro(model, clips, chosen_on, folder, trained.read_labels(run))
        return

    def recognise(waveform):
        return {"probabilities": tf.nn.softmax(model.logits(tf.transpose(waveform)))[0]}

    one_clip = tf.TensorSpec((CLIP_SAMPLES, 1), tf.float32, name="waveform")
    with hold_back_notes():
        if kind.startswith("stream"):
            content = _to_stream(model, clips, chosen_on)
        elif kind == "onnx":
            content = _to_onnx(recognise, one_clip, tf)
        else:
            content = _to_litert(tf.function(recognise).get_concrete_function(one_clip), clips, tf)
    files.write_bytes(path, content)


def _save_model(model, folder, tf):
    waveforms = tf.TensorSpec((None, CLIP_SAMPLES), tf.float32, name="waveforms")

    class Exported(tf.Module):
        def __init__(self):
            super().__init__()
            self.model = getattr(model.logits, "func", model.logits)  # keeps its variables

        @tf.function(input_signature=[waveforms])
        def recognise(self, waveforms):
            return {"probabilities": tf.nn.softmax(model.logits(waveforms))}

    exported = Exported()
    tf.saved_model.save(exported, folder, signatures=exported.recognise)


def _to_stream(model, clips, chosen_on):
    from utils.nets import small

    network = _network_of_keras(model)
    module = small.make_module(network, small.choose_mean(network, *chosen_on))
    return small.to_float(module) if clips is None else small.to_int8(module, small.cut(module, clips), _front_end)


def _to_micro(model, clips, chosen_on, folder, labels):
    from utils import features
    from utils.nets import boards, small

    network, (words, said) = _network_of_keras(model), chosen_on
    word = audio.to_waveform(np.concatenate([words[np.flatnonzero(said == label)[0]] for label in (0, 1)]))
    frames = features.log_mel_frames(word[None])[0]
    mean = small.choose_mean(network, words, said)
    boards.write(folder, network, labels, mean, features.log_mel(clips), frames)


def _network_of_keras(model):
    """The part of a model of Keras that comes after its front end."""
    from utils import models

    network = getattr(model.logits, "func", None)
    if network is None or not models.has_front_end(network):
        raise CourseError("streams and microcontrollers take a network of train_keras.py on log-mel spectrograms")
    return models.learning_part(network)


def _to_onnx(recognise, one_clip, tf):
    try:
        import tf2onnx
    except ModuleNotFoundError as error:
        raise CourseError("ONNX files need tf2onnx: pip install --group onnx") from error
    onnx, _ = tf2onnx.convert.from_function(tf.function(recognise), input_signature=[one_clip], opset=ONNX_OPSET)
    return onnx.SerializeToString()


def _to_litert(function, clips, tf):
    def converter():
        # Without its second argument it freezes the variables, which calibration needs.
        return tf.lite.TFLiteConverter.from_concrete_functions([function])

    if clips is None:
        return converter().convert()
    quantizing = converter()
    quantizing.optimizations = [tf.lite.Optimize.DEFAULT]
    quantizing.representative_dataset = lambda: ([clip[:, None]] for clip in clips)
    # Mel energies span nine powers of ten, of which eight bits would keep two: the front end stays in float32.
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=_front_end(converter().convert()))
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=quantizing, debug_dataset=quantizing.representative_dataset, debug_options=options
    )
    return debugger.get_nondebug_quantized_model()


def _front_end(content):
    """Names of what is computed up to the logarithm of mel energies; none in a model without a front end."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    names = {tensor["index"]: tensor["name"] for tensor in interpreter.get_tensor_details()}
    steps = interpreter._get_ops_details()
    last = max((i for i, step in enumerate(steps) if step["op_name"] == "LOG"), default=-1)
    return [names[index] for step in steps[: last + 1] for index in step["outputs"]]


def open_exported(path):
    """Function from waveforms (n, 16000) to probabilities (n, n_labels) of a ``.tflite`` or ``.onnx`` file."""
    path = Path(path)
    if path.suffix == ".tflite":
        return exported.LiteFile(path)
    if path.suffix == ".onnx":
        return exported.OnnxFile(path)
    # A SavedModel's graph may hold any operation, to write files for one.
    raise CourseError(
        f"{path} is neither .tflite nor .onnx: a SavedModel that you made yourself is opened by tf.saved_model.load"
    )


def check_prize(run, path, data):
    """What the challenge's special prize asked for, measured: lines to print, and whether all holds.

    The test set is opened, for an accuracy beside that of the model before export.
    """
    from utils import recogniser, training

    model = recogniser.load(run)
    test, exported = open_sets(data, run, model.labels)["test"], open_exported(path)
    before, after = (
        evaluation.score(
            test.y.argmax(axis=1),
            training.predict_labels(lambda X, r=r: r(np.asarray(X)), test),
            test.names,
            test.label_order,
        )
        for r in (model, exported)
    )
    n_bytes, milliseconds = path.stat().st_size, exported.measure_ms()
    shapes = exported.input["shape"].tolist(), exported.output["shape"].tolist()
    low, high = after["interval"]
    checks = [
        (n_bytes < PRIZE_BYTES, f"size {n_bytes:,} bytes (under {PRIZE_BYTES:,})"),
        (shapes[0] == [CLIP_SAMPLES, 1], f"input {shapes[0]} (waveform, [{CLIP_SAMPLES}, 1])"),
        (shapes[1] == [PRIZE_LABELS], f"output {shapes[1]} (probabilities, [{PRIZE_LABELS}])"),
        (milliseconds < PRIZE_MS, f"latency {milliseconds:.2f} ms a clip on one thread (under {PRIZE_MS:.0f})"),
    ]
    lines = [("ok    " if holds else "FAILS ") + text for holds, text in checks]
    lines.append(
        f"test accuracy {after['accuracy']:.4f} on {len(test)} clips (95 % interval {low:.3f} to {high:.3f}); "
        f"before export {before['accuracy']:.4f}"
    )
    return lines, all(holds for holds, _ in checks)


def write_card(run):
    """``RUN/export/README.md``: what the exported files are, what they were trained on, how good, for what not."""
    folder = Path(run) / "export"
    made = [folder / name for name in NAMES.values() if (folder / name).exists()]
    files.write_text(folder / "README.md", make_card(run, made))
    return folder / "README.md"


def make_card(run, made):
    """Model card (Mitchell et al. 2019, arXiv:1810.03993) of files that were made of a run."""
    run = Path(run)
    config, result = files.read_json(run / "config.json") or {}, files.read_json(run / "result.json") or {}
    unknown = float("nan")
    low, high = result.get("test_interval", (unknown, unknown))
    return CARD.format(
        model=result.get("model", "unknown"),
        parameters=result.get("parameters", 0),
        macs=result.get("macs", 0) / 1e6,
        dataset=result.get("dataset", "unknown"),
        dataset_hash=result.get("dataset_hash", "unknown"),
        script=config.get("script", "unknown"),
        recipe=config.get("recipe", "unknown"),
        epochs=result.get("epochs", "unknown"),
        cv=result.get("cv_accuracy", unknown),
        test=result.get("test_accuracy", unknown),
        low=low,
        high=high,
        labels=", ".join(trained.read_labels(run)),
        files="\n".join(f"| `{path.name}` | {_size(path):,} |" for path in made),
        sure=trained.SURE,
        quiet=_quiet_table(files.read_json(run / trained.QUIET)),
        scores="\n".join(
            f"| {label} | {score['precision']:.3f} | {score['recall']:.3f} |"
            for label, score in result.get("per_label", {}).items()
        ),
    )


def _quiet_table(rows):
    """What :mod:`benchmarks.quiet` has measured of a network, as a table; or that it has not."""
    if not rows:
        return ": not measured for this network."
    lines = [":\n\n| | of | | 95 % interval |\n| --- | --- | --- | --- |"]
    for row in rows:
        if (key := next((key for key in QUIET_NUMBERS if key in row), None)) and "curve" not in row:
            low, high = row.get("interval") or (None, None)
            interval = "" if low is None else f"{low:.3f} to {high:.3f}"
            lines.append(f"| {row['row']} | {row['material']} | {row[key]:.3f} {QUIET_NUMBERS[key]} | {interval} |")
    return "\n".join(lines)


def _size(path):
    inside = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in inside if file.is_file())


QUIET_NUMBERS = {  # what a row has, and what it is
    "called_a_command": "called a command",
    "matched": "matched",
    "false_alarms_per_hour": "false alarms an hour",
    "accuracy": "right",
}
CARD = """# Model card: spoken commands, `{model}`

Says which of these a second of sound is: {labels}.

| file | bytes |
| --- | --- |
{files}

**Input**: waveform, float32 in [-1, 1) (16-bit counts divided by 32,768), mono, 16 kHz, one second: `[16000, 1]`,
in a SavedModel `[n, 16000]`. **Output**: probabilities in the order of the labels above. The front end is inside.

**Network**: {parameters:,} parameters, {macs:.1f} M multiply-accumulates a clip. Made by `{script}`, recipe `{recipe}`,
{epochs} epochs.

**Data**: {dataset}; files {dataset_hash}. No speaker is both in training and in test. Recordings of the TensorFlow
Speech Recognition Challenge are Speech Commands v0.01 by Pete Warden, Google (arXiv:1804.03209), under Creative
Commons BY 4.0: volunteers, mostly speakers of English, on their own laptops and phones.

**Scores** (of the model before export): validation accuracy {cv:.4f}; test accuracy {test:.4f} (95 % interval
{low:.3f} to {high:.3f}). What eight bits cost, `python -m utils.export RUN --to int8 --check prize` measures.

| label | precision | recall |
| --- | --- | --- |
{scores}

**Not sure**: an answer with a probability below {sure} is to be taken as *not sure*, as `predict.py` and the page do.

**Where no command is said** (`python -m benchmarks.quiet`){quiet}

**Limits**: single words of that data's kind: English, one second, one speaker close to a microphone. Far speech and
other languages were not measured. Words that sound like a command, such as *guess* and *load*, are often taken for it.
Not for anything where a mistake could do harm.

**Licence**: code GPL-3.0. Weights learned from recordings under CC BY 4.0: keep this credit.
"""


def main(arguments=None):
    """Command line of ``python -m utils.export``."""
    parser = cli.Parser(
        prog="python -m utils.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=cli.path_text, metavar="RUN", help="run folder")
    parser.add_argument("--to", nargs="+", choices=NAMES, default=["int8"], help="what to make (default: int8)")
    data = "data/main/preprocessed"
    parser.add_argument(
        "--path_to_data", type=cli.path_text, default=data, help=f"arrays int8 is calibrated on (default: {data})"
    )
    parser.add_argument("--check", choices=["prize"], help="measure the LiteRT files by the special prize's rules")
    options = parser.parse_args(arguments)
    run, all_hold = trained.find_run(options.run), True
    for kind in dict.fromkeys(options.to):
        path = export(run, kind, options.path_to_data)
        print(f"{path}: {_size(path):,} bytes")
        if options.check and kind in ("float", "int8"):
            lines, holds = check_prize(run, path, options.path_to_data)
            print("\n".join(f"  {line}" for line in lines))
            all_hold &= holds
    print(write_card(run))
    return 0 if all_hold else 1


if __name__ == "__main__":
    from utils.export import main  # the process that converts finds its functions under this name

    sys.exit(cli.run(main))
