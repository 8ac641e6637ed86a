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
import shlex
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np

from utils import audio, evaluation, trained, web
from utils.audio import CLIP_SAMPLES
from utils.nets import card, exported
from utils.system import cli, files
from utils.system.cli import BadUse, CourseError, hold_back_notes

NAMES = {
    "float": trained.FLOAT,
    "int8": "model_int8.tflite",
    "stream": trained.STREAM,
    "stream_int8": "model_stream_int8.tflite",
    "micro": "micro",
    "onnx": "model.onnx",
    "saved_model": "saved_model",
    "web": "web",
}
CARD_NAME = "README.md"
DATA = "data/main/preprocessed"
SAVED_MODEL = files.Kind("a SavedModel", "saved_model.pb", None, trained.SAVED_MODEL)
MICRO = files.Kind("a folder for microcontrollers", "model.h", None, trained.MICRO)
FOLDERS = {"saved_model": SAVED_MODEL, "web": web.KIND, "micro": MICRO}
STREAMS = ("stream", "stream_int8", "micro")  # of a network that keeps state
QUANTIZED = ("int8", "stream_int8", "micro")
PREDICT = "python predict.py --model {path} me.wav"
LISTEN = "python predict.py --listen --model {path}"
NEXT = {
    **dict.fromkeys(("float", "int8"), PREDICT),
    **dict.fromkeys(("stream", "stream_int8"), LISTEN),
    "micro": "read {path}/README.md",
    "web": "python -m http.server --bind 127.0.0.1 --directory {path}",
}
HEAD_BYTES = 64  # of a file, among which is what tells that it is ours
MARKS = {".tflite": b"TFL3", ".onnx": b"tf2onnx", ".md": b"# Model card: spoken commands"}
CALIBRATION_CLIPS = 512  # of the training set
ONNX_OPSET = 18
PRIZE_BYTES = 5_000_000  # of the challenge's special prize; its 200 ms were on a Raspberry Pi 3
PRIZE_MS = 200.0
PRIZE_LABELS = 12


def export(run, kind, data=DATA):
    """Write one exported file of a run, whole or not at all; its path.

    ``kind`` is one of ``NAMES``; ``data`` are arrays of which int8 takes training clips, to see what values there are.
    CourseError if the run holds no model, the data is missing, or the model cannot be converted.
    """
    run = trained.find_run(run)
    labels = trained.read_labels(run)  # raises for what is no run
    path = Path(run) / "export" / NAMES[kind]
    _require_free(path)
    _require_free(path.with_name(CARD_NAME))
    if kind == "web":
        if not trained.find_exported(run):
            export(run, "float")
        return web.write_site(path, run)
    sets = open_sets(data, run, labels) if kind in (*STREAMS, *QUANTIZED) else {}
    clips = calibration_clips(sets["train"]) if kind in QUANTIZED else None
    chosen_on = _read_set(sets["cv"]) if kind in STREAMS else None
    # Converters leak memory and talk on the error stream: each runs in a process of its own.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            pool.submit(_convert, str(run), kind, path, clips, chosen_on).result()
        except BrokenProcessPool as error:
            raise CourseError(f"{run}: its conversion to {kind} ended early, perhaps for lack of memory") from error
    return path


def _require_free(path):
    """Raise BadUse if something is in the way of what is to be made that is not of its kind."""
    if path.name in FOLDERS:
        return files.require_ours(path, FOLDERS[path.name])
    files.require_folders(path)
    if os.path.lexists(path) and not (path.is_file() and MARKS[path.suffix] in path.read_bytes()[:HEAD_BYTES]):
        raise BadUse(f"{path} is in the way, which this command has not made: move it away")


def open_sets(data, run, labels):
    """The sets of a store that has the labels of a run."""
    from utils import datasets  # imports TensorFlow

    if trained.is_taught(run):
        raise CourseError(
            f"{run} has no data to calibrate eight bits or a stream's mean by: --to float, onnx, saved_model, web"
        )
    sets = datasets.open_store(data)
    datasets.require_labels(sets["train"], labels, run, "--path_to_data names arrays of the labels that it has learned")
    return sets


def calibration_clips(train):
    """Waveforms from all over the training set, and no other: shape (n, 16000)."""
    n_clips = len(train)
    keep = np.zeros(n_clips, bool)
    keep[np.linspace(0, n_clips - 1, min(CALIBRATION_CLIPS, n_clips)).astype(int)] = True
    return audio.to_waveform(np.concatenate([rows for rows, _ in train.only(keep).blocks()]))


def _read_set(clip_set):
    """Clips (n, 16000) and label indices (n,) of a set."""
    return clip_set.first(len(clip_set)), clip_set.y.argmax(axis=1)


def _convert(run, kind, path, clips, chosen_on):
    """In a process of its own."""
    from utils.system.quiet import tf

    with files.owned(path):
        model = _open(run)
        if kind == "saved_model":
            return _save_model(model, path, tf)
        if kind == "micro":
            return _to_micro(model, path, clips, chosen_on, trained.read_labels(run))

        def recognise(waveform):
            return {"probabilities": tf.nn.softmax(model.logits(tf.transpose(waveform)))[0]}

        function = tf.function(recognise, input_signature=[tf.TensorSpec((CLIP_SAMPLES, 1), tf.float32, "waveform")])
        with hold_back_notes():
            if kind in STREAMS:
                content = _to_stream(model, clips, chosen_on)
            else:
                content = _to_onnx(function) if kind == "onnx" else _to_litert(function, clips, tf)
        files.write_bytes(path, content)


def _open(run):
    """The network of a run as TensorFlow has it; taught words come with the one that hears the others."""
    from utils import recogniser

    model = recogniser.load(run).model
    if not trained.is_taught(run):
        return model
    from utils.nets import speech_embedding

    base = recogniser.load(model.base)
    if base.labels != model.base_labels:
        raise CourseError(f"{model.base} has other labels now than when the words were taught: teach one of them anew")
    return speech_embedding.Together(base.model, model)


def _save_model(model, path, tf):
    def recognise(waveforms):
        return {"probabilities": tf.nn.softmax(model.logits(waveforms))}

    whole = tf.Module()
    whole.model = getattr(model.logits, "func", model.logits)  # keeps its variables
    whole.recognise = tf.function(recognise, input_signature=[tf.TensorSpec((None, CLIP_SAMPLES), tf.float32)])
    with files.new_folder(path, SAVED_MODEL) as folder, hold_back_notes():
        tf.saved_model.save(whole, folder, signatures=whole.recognise)


def _to_stream(model, clips, chosen_on):
    from utils.nets import small

    network = _network_of_keras(model)
    module = small.make_module(network, small.choose_mean(network, *chosen_on))
    return small.to_float(module) if clips is None else small.to_int8(module, small.cut(module, clips), _front_end)


def _to_micro(model, path, clips, chosen_on, labels):
    from utils import features
    from utils.nets import microcontroller, small

    network, (words, said) = _network_of_keras(model), chosen_on
    _, firsts = np.unique(said, return_index=True)
    spoken = audio.to_waveform(words[firsts[:2]].reshape(1, -1))  # a clip of each of two labels
    frames = features.log_mel_frames(spoken)[0]
    with files.new_folder(path, MICRO) as folder, hold_back_notes():
        mean = small.choose_mean(network, words, said)
        microcontroller.write(folder, network, labels, mean, features.log_mel(clips), frames)


def _network_of_keras(model):
    """The part of a model of Keras that comes after its front end."""
    from utils import models

    if model.of_keras is None or not models.has_front_end(model.of_keras):
        raise CourseError(
            "streams and microcontrollers take a network of train_keras.py on log-mel spectrograms, which this one is "
            "not: name a run of it"
        )
    return models.learning_part(model.of_keras)


def _to_onnx(function):
    try:
        import tf2onnx
    except ModuleNotFoundError as error:
        raise CourseError("ONNX files need tf2onnx: pip install --group onnx") from error
    onnx, _ = tf2onnx.convert.from_function(function, input_signature=function.input_signature, opset=ONNX_OPSET)
    return onnx.SerializeToString()


def _to_litert(function, clips, tf):
    def converter():
        # Without its second argument it freezes the variables, which calibration needs.
        return tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])

    if clips is None:
        return converter().convert()
    quantizing = converter()
    quantizing.optimizations = [tf.lite.Optimize.DEFAULT]
    quantizing.representative_dataset = lambda: ([clip[:, None]] for clip in clips)
    # Mel energies span nine powers of ten, of which eight bits would keep two: the front end stays in float32. Of all
    # that TensorFlow offers, the debugger alone leaves some operations as they are.
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=_front_end(converter().convert()))
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=quantizing, debug_dataset=quantizing.representative_dataset, debug_options=options
    )
    return debugger.get_nondebug_quantized_model()


def _front_end(content):
    """Names of what is computed up to the logarithm of mel energies; none in a model without a front end."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content)
    (graph,) = model.subgraphs
    kinds = [model.operatorCodes[step.opcodeIndex].builtinCode for step in graph.operators]
    last = max((i for i, kind in enumerate(kinds) if kind == schema.BuiltinOperator.LOG), default=-1)
    return [graph.tensors[index].name.decode() for step in graph.operators[: last + 1] for index in step.outputs]


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
    truth = test.y.argmax(axis=1)
    before, after = (
        training.predict_all(lambda X, r=r: r(np.asarray(X)), test).argmax(axis=1) for r in (model, exported)
    )
    score = evaluation.score(truth, after, test.names, test.label_order)
    n_bytes, milliseconds = path.stat().st_size, exported.measure_ms()
    taken, given = exported.input["shape"].tolist(), exported.output["shape"].tolist()
    checks = [
        (n_bytes < PRIZE_BYTES, f"size {n_bytes:,} bytes (under {PRIZE_BYTES:,})"),
        (taken == [CLIP_SAMPLES, 1], f"input {taken} (waveform, [{CLIP_SAMPLES}, 1])"),
        (given == [PRIZE_LABELS], f"output {given} (probabilities, [{PRIZE_LABELS}])"),
        (milliseconds < PRIZE_MS, f"latency {milliseconds:.2f} ms a clip on one thread (under {PRIZE_MS:.0f})"),
    ]
    lines = [("ok    " if holds else "FAILS ") + text for holds, text in checks]
    low, high = score["interval"]
    lines.append(
        f"test accuracy {score['accuracy']:.4f} on {len(test)} clips (95 % interval {low:.3f} to {high:.3f}); "
        f"before export {np.mean(before == truth):.4f}"
    )
    return lines, all(holds for holds, _ in checks)


def main(arguments=None):
    """Command line of ``python -m utils.export``."""
    parser = cli.Parser(
        prog="python -m utils.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=cli.path_text, metavar="RUN", help="run folder")
    parser.add_argument("--to", nargs="+", choices=NAMES, default=["int8"], help="what to make (default: int8)")
    data = f"arrays int8 is calibrated on (default: {DATA})"
    parser.add_argument("--path_to_data", type=cli.path_text, default=DATA, help=data)
    parser.add_argument("--check", choices=["prize"], help="measure the LiteRT files by the special prize's rules")
    options = parser.parse_args(arguments)
    if options.check and not {"float", "int8"} & set(options.to):
        parser.error("--check prize measures the files of --to float and --to int8")
    run, all_hold, made = trained.find_run(options.run), True, []
    for kind in sorted(dict.fromkeys(options.to), key="web".__eq__):  # last: the page takes what else there is
        path = export(run, kind, options.path_to_data)
        made.append(path)
        print(f"{path}: {card.count_bytes(path):,} bytes")
        if options.check and kind in ("float", "int8"):
            lines, holds = check_prize(run, path, options.path_to_data)
            print("\n".join(f"  {line}" for line in lines))
            all_hold &= holds
    folder = path.parent
    there = [folder / name for name in NAMES.values() if (folder / name).exists()]
    files.write_text(folder / CARD_NAME, card.make_card(run, there))
    then = NEXT.get(kind, "read {card}").format(path=shlex.quote(str(path)), card=folder / CARD_NAME)
    print(f"{folder}: {', '.join(file.name for file in made)}, {CARD_NAME}; next: {then}")
    return 0 if all_hold else 1


if __name__ == "__main__":
    from utils.export import main  # the process that converts finds its functions under this name

    sys.exit(cli.run(main))
