"""Networks for microcontrollers: eight bits, C files, and the check in TensorFlow's own runtime for them."""

import json
import math
import shutil
import subprocess
from pathlib import Path

import numpy as np

from utils import features, models, stream
from utils.audio import SAMPLE_RATE
from utils.labels import UNKNOWN
from utils.nets import small, streaming
from utils.nets.frames import ENERGY_FLOOR, FRAME_LENGTH, HOP_LENGTH, N_FFT, N_MELS
from utils.system import files
from utils.system.cli import CourseError, hold_back_notes
from utils.system.quiet import tf

BOARD = Path(__file__).with_name("board")  # C that is the same for all networks
SKETCHES = {"arduino.ino": "arduino/arduino.ino", "esp_idf.cc": "esp_idf/main.cc"}
GOLDEN = 16  # pairs
MOST_ARENA = 1_000_000  # bytes, with which the search begins
ARENA_STEP = 16  # bytes to which arenas are aligned
ROWS, COLUMNS = 16, 32  # of which the Fourier transform is made: 16 x 32 = 512


def front_end(samples):
    """Log-mel values (1, 40) of the 480 samples (1, 480) of a frame, in operations that tflite-micro has.

    It has no Fourier transform. Two products with small matrices do it (Cooley and Tukey 1965): one over every 32nd
    sample, one over what comes of these; in one product the matrix would have nearly a megabyte.
    """
    rows, columns = np.arange(ROWS), np.arange(COLUMNS)
    first = np.exp(-2j * np.pi * np.outer(rows, rows) / ROWS)
    turns = np.exp(-2j * np.pi * np.outer(rows, columns) / N_FFT)  # (frequency of the first product, column)
    second = np.exp(-2j * np.pi * np.outer(columns, rows) / COLUMNS)  # up to half the sample rate
    windowed = tf.pad(samples * features.hann_window(FRAME_LENGTH), ((0, 0), (0, N_FFT - FRAME_LENGTH)))
    columns_first = tf.transpose(tf.reshape(windowed, (ROWS, COLUMNS)))
    real, imaginary = (tf.transpose(_product(columns_first, part)) for part in (first.real, first.imag))
    real, imaginary = (
        real * _constant(turns.real) - imaginary * _constant(turns.imag),
        real * _constant(turns.imag) + imaginary * _constant(turns.real),
    )
    both = tf.concat([real, imaginary], 1)
    power = tf.square(_product(both, np.concatenate([second.real, -second.imag]))) + tf.square(
        _product(both, np.concatenate([second.imag, second.real]))
    )
    # Bin f + 16 k lies at (f, k). The last bin, half the sample rate, is above the highest filter.
    weights = features.mel_weights()[: N_FFT // 2].reshape(ROWS, ROWS, N_MELS).transpose(1, 0, 2)
    energies = _product(tf.reshape(power, (1, -1)), weights.reshape(-1, N_MELS))
    return tf.math.log(energies + ENERGY_FLOOR)


def _constant(values):
    return tf.constant(values, tf.float32)


def _product(values, matrix):
    return tf.matmul(values, _constant(matrix))


class MicroSession:
    """A file in eight bits in tflite-micro, with the state it has.

    Parameters
    ----------
    content : bytes
    arena : int
        Bytes of memory that it may use.

    Raises
    ------
    CourseError
        If the runtime is not installed.
    """

    def __init__(self, content, arena=MOST_ARENA):
        runtime = _import_runtime()
        with hold_back_notes():
            self._interpreter = runtime.Interpreter.from_bytes(content, arena_size=arena)
        self.layout = Layout(content)
        self.begin()

    def begin(self):
        """Forget what was heard."""
        for state in self.layout.states:
            self._interpreter.set_input(np.full(state.shape, state.zero_point, np.int8), state.input)

    def step(self, log_mel):
        """Probabilities, int8 (1, n_labels), of the int8 log-mel frames (1, 8, 40) of a step."""
        self._interpreter.set_input(log_mel, self.layout.input)
        self._interpreter.invoke()
        # All outputs first: inputs lie in the same memory.
        outputs = [self._interpreter.get_output(place) for place in range(len(self.layout.output_bytes))]
        for state in self.layout.states:
            self._interpreter.set_input(outputs[state.output], state.input)
        return outputs[self.layout.output]


def _import_runtime():
    try:
        from tflite_micro.python.tflite_micro import runtime
    except ModuleNotFoundError as error:
        raise CourseError("it takes tflite-micro to check it, for Linux: pip install --group micro") from error
    return runtime


class State:
    """Where a state goes in and comes out, how large it is, and what stands for 0."""

    def __init__(self, taken, given, place_in, place_out):
        self.shape, self.zero_point = tuple(taken["shape"]), int(taken["quantization"][1])
        self.input, self.output, self.bytes = place_in, place_out, int(np.prod(taken["shape"]))
        if taken["quantization"] != given["quantization"]:
            raise CourseError(f"state {taken['name']} goes in and comes out in different scales: export it anew")


class Layout:
    """Order, size and scale of what a file in eight bits takes and gives."""

    def __init__(self, content):
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
        run = interpreter.get_signature_runner()
        taken, given = run.get_input_details(), run.get_output_details()
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        places = [[tensor["index"] for tensor in side] for side in (inputs, outputs)]
        self.input = places[0].index(taken["log_mel"]["index"])
        self.output = places[1].index(given["probabilities"]["index"])
        self.states = [
            State(
                taken[name], given[name], places[0].index(taken[name]["index"]), places[1].index(given[name]["index"])
            )
            for name in sorted(taken.keys() - {"log_mel"})
        ]
        self.n_frames = int(taken["log_mel"]["shape"][1])
        scale, zero_point = taken["log_mel"]["quantization"]
        self.scale, self.zero_point = float(scale), int(zero_point)
        self.input_bytes = [int(np.prod(one["shape"])) for one in inputs]
        self.output_bytes = [int(np.prod(one["shape"])) for one in outputs]

    def quantize(self, log_mel):
        """Log-mel values in eight bits."""
        return np.clip(np.rint(log_mel / self.scale) + self.zero_point, -128, 127).astype(np.int8)


def find_operations(*contents):
    """Names of the operations of files."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    found = set()
    for content in contents:
        # Without its delegate, which hides what it does.
        interpreter = Interpreter(model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
        found |= {step["op_name"] for step in interpreter._get_ops_details()}
    return sorted(found)


def least_arena(content):
    """Bytes of memory that a file needs in tflite-micro: on this computer, whose pointers are twice as wide."""
    runtime, low, high = _import_runtime(), 0, MOST_ARENA
    with hold_back_notes():
        while high - low > ARENA_STEP:
            middle = (low + high) // 2 // ARENA_STEP * ARENA_STEP
            try:
                runtime.Interpreter.from_bytes(content, arena_size=middle).invoke()
                high = middle
            except RuntimeError:
                low = middle
    return high


def make_front_end():
    """The front end as a file in float32: bytes."""
    module = tf.Module()
    module.hear = tf.function(lambda samples: {"log_mel": front_end(samples)})
    module.concrete = module.hear.get_concrete_function(tf.TensorSpec((1, FRAME_LENGTH), tf.float32, name="samples"))
    return small.to_float(module)


def write(folder, network, labels, n_mean, calibration, clip):
    """All that a board needs, in a folder, and a report of how large and how fast it is.

    Parameters
    ----------
    folder : Path
    network : keras.Model
        See :func:`streaming.make_streaming`.
    labels : sequence of str
    n_mean : int
        Steps of the running mean.
    calibration : float32 array, shape (n, 98, 40)
        Log-mel spectrograms that show what values there are.
    clip : float32 array, shape (n, 40)
        Log-mel frames of which the golden pairs are made: 16 steps of them.

    Returns
    -------
    dict
        What ``report.json`` holds.
    """
    module = small.make_module(network, n_mean, front_end=False)
    size = module.n_frames
    steps = np.concatenate(calibration)
    content = small.to_int8(module, steps[: len(steps) // size * size].reshape(-1, 1, size, N_MELS))
    front = make_front_end()
    session = MicroSession(content)
    layout = session.layout
    inputs = [layout.quantize(clip[None, at : at + size]) for at in range(0, GOLDEN * size, size)]
    outputs = [session.step(values).copy() for values in inputs]
    operations = find_operations(content, front)
    macs = models.count_macs(streaming.make_streaming(network).model)
    report = {
        "network_bytes": len(content),
        "front_end_bytes": len(front),
        "flash_bytes": len(content) + len(front),
        "network_arena_bytes": least_arena(content),
        "front_end_arena_bytes": least_arena(front),
        "operations": operations,
        "macs_a_second": round(macs * SAMPLE_RATE / (size * HOP_LENGTH)),
        "front_end_macs_a_second": round(FRONT_END_MACS * SAMPLE_RATE / HOP_LENGTH),
        "step_ms": size * HOP_LENGTH / SAMPLE_RATE * 1e3,
        "delay_ms": streaming.make_streaming(network).delay * HOP_LENGTH / SAMPLE_RATE * 1e3,
        "mean_steps": n_mean,
    }
    files.write_bytes(folder / "network.tflite", content)
    files.write_bytes(folder / "front_end.tflite", front)
    files.write_text(folder / "labels.txt", "".join(f"{label}\n" for label in labels))
    files.write_text(folder / "report.json", json.dumps(report, indent=1) + "\n")
    files.write_text(folder / "model.h", _header(layout, labels, report))
    files.write_text(folder / "model.c", _source(layout, labels, content, front))
    files.write_text(folder / "golden.h", _golden(inputs, outputs))
    files.write_text(folder / "operations.h", _operations(operations))
    for path in BOARD.iterdir():
        target = folder / SKETCHES.get(path.name, path.name)
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)
    return report


def _header(layout, labels, report):
    rule, step_s = stream.Rule(), report["step_ms"] / 1e3
    numbers = {
        "LABELS": len(labels),
        "KEYWORDS": len(labels) - 2,  # silence and unknown come last
        "UNKNOWN": labels.index(UNKNOWN),
        "FRAMES": layout.n_frames,
        "MELS": N_MELS,
        "WINDOW": FRAME_LENGTH,
        "HOP": HOP_LENGTH,
        "STATES": len(layout.states),
        "STATE_BYTES": sum(state.bytes for state in layout.states),
        "INPUT": layout.input,
        "OUTPUT": layout.output,
        "INPUT_SCALE": f"{layout.scale!r}f",
        "INPUT_ZERO_POINT": layout.zero_point,
        "INPUT_BYTES": sum(layout.input_bytes),
        "OUTPUT_BYTES": sum(layout.output_bytes),
        "SMOOTHED_STEPS": max(1, round(rule.smoothing_s / step_s)),
        "VETO_STEPS": max(1, round(max(rule.smoothing_s, rule.veto_s) / step_s)),
        "VETO": f"{rule.veto!r}f",
        "THRESHOLD": f"{rule.threshold!r}f",
        "REFRACTORY_STEPS": math.ceil(rule.refractory_s / step_s),
        "NETWORK_BYTES": report["network_bytes"],
        "FRONT_END_BYTES": report["front_end_bytes"],
        # Pointers of a board are half as wide as those that were counted: this is enough.
        "NETWORK_ARENA": report["network_arena_bytes"],
        "FRONT_END_ARENA": report["front_end_arena_bytes"],
        "OPERATIONS": len(report["operations"]),
        "GOLDEN": GOLDEN,
    }
    lines = "\n".join(f"#define COMMAND_{name} {value}" for name, value in numbers.items())
    return HEADER.format(numbers=lines)


def _source(layout, labels, content, front):
    states = ",\n".join(f"    {{{s.input}, {s.output}, {s.bytes}, {s.zero_point}}}" for s in layout.states)
    return SOURCE.format(
        labels=", ".join(f'"{label}"' for label in labels),
        states=states,
        input_bytes=_list(layout.input_bytes),
        output_bytes=_list(layout.output_bytes),
        network=_list(content),
        front_end=_list(front),
    )


def _golden(inputs, outputs):
    pairs = [",\n".join(f"    {{{_list(values.ravel())}}}" for values in side) for side in (inputs, outputs)]
    return GOLDEN_PAIRS.format(inputs=pairs[0], outputs=pairs[1])


def _list(numbers):
    return ",".join(str(int(number)) for number in numbers)


def _operations(names):
    lines = "".join(f" ||\n      to->Add{_camel(name)}() != kTfLiteOk" for name in names)
    return OPERATIONS.format(lines=lines.removeprefix(" ||\n      "))


def _camel(name):
    return "".join(part[:1] + part[1:].lower() for part in name.split("_")).replace("2d", "2D")


def check_host(folder, binary):
    """Compile the C parts and run the host program, whose network tflite-micro runs: what it says on its error stream.

    Raises
    ------
    CourseError
        If it does not compile, or another than a golden output comes out.
    """
    sources = [folder / name for name in ("host.c", "command.c", "model.c")]
    command = ["gcc", "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", *map(str, sources), "-lm", "-o", str(binary)]
    compiled = subprocess.run(command, capture_output=True, text=True, check=False)
    if compiled.returncode:
        raise CourseError(f"{folder}: its C does not compile: {compiled.stderr.splitlines()[0]}")
    pipe = subprocess.PIPE
    with subprocess.Popen([str(binary)], stdin=pipe, stdout=pipe, stderr=pipe) as host:
        content = host.stdout.read((folder / "network.tflite").stat().st_size)
        runtime, layout = _import_runtime(), Layout(content)
        with hold_back_notes():
            interpreter = runtime.Interpreter.from_bytes(content, arena_size=MOST_ARENA)
        while len(sent := host.stdout.read(sum(layout.input_bytes))) == sum(layout.input_bytes):
            values = np.split(np.frombuffer(sent, np.int8), np.cumsum(layout.input_bytes)[:-1])
            for place, value in enumerate(values):
                interpreter.set_input(value.reshape(interpreter.get_input_details(place)["shape"]), place)
            interpreter.invoke()
            host.stdin.write(b"".join(interpreter.get_output(i).tobytes() for i in range(len(layout.output_bytes))))
            host.stdin.flush()
        said = host.stderr.read().decode().strip()
    if host.returncode:
        raise CourseError(f"{folder}: {said}")
    return said


# Products of two numbers in a frame's front end.
FRONT_END_MACS = 2 * COLUMNS * ROWS * ROWS + 4 * ROWS * COLUMNS + 2 * ROWS * 2 * COLUMNS * ROWS + N_FFT // 2 * N_MELS
HEADER = """/* Made by python -m utils.export RUN --to micro. */
#ifndef MODEL_H_
#define MODEL_H_

#include <stdint.h>

{numbers}

#ifdef __cplusplus
extern "C" {{
#endif

/* Where a state goes in and comes out, its size, and the byte that stands for 0. */
typedef struct {{
  int input, output, bytes, zero_point;
}} command_state;

extern const command_state command_states[COMMAND_STATES];
extern const int command_input_bytes[COMMAND_STATES + 1], command_output_bytes[COMMAND_STATES + 1];
extern const char *const command_labels[COMMAND_LABELS];
extern const unsigned char command_network[COMMAND_NETWORK_BYTES];
extern const unsigned char command_front_end[COMMAND_FRONT_END_BYTES];

#ifdef __cplusplus
}}
#endif
#endif
"""
SOURCE = """/* Made by python -m utils.export RUN --to micro. */
#include "model.h"

#include <stdalign.h>

const char *const command_labels[COMMAND_LABELS] = {{{labels}}};
const command_state command_states[COMMAND_STATES] = {{
{states}}};
const int command_input_bytes[COMMAND_STATES + 1] = {{{input_bytes}}};
const int command_output_bytes[COMMAND_STATES + 1] = {{{output_bytes}}};
alignas(16) const unsigned char command_network[COMMAND_NETWORK_BYTES] = {{{network}}};
alignas(16) const unsigned char command_front_end[COMMAND_FRONT_END_BYTES] = {{{front_end}}};
"""
GOLDEN_PAIRS = """/* Made by python -m utils.export RUN --to micro: steps of a sound, and what tflite-micro answers. */
#include "model.h"

static const int8_t command_golden_inputs[COMMAND_GOLDEN][COMMAND_FRAMES * COMMAND_MELS] = {{
{inputs}}};
static const int8_t command_golden_outputs[COMMAND_GOLDEN][COMMAND_LABELS] = {{
{outputs}}};
"""
OPERATIONS = """/* Made by python -m utils.export RUN --to micro: the operations of both networks, for tflite-micro. */
#ifndef OPERATIONS_H_
#define OPERATIONS_H_

template <typename Resolver>
bool command_add_operations(Resolver *to) {{
  return !({lines});
}}

#endif
"""
