"""What a board needs, as C files: a network in eight bits, its front end, golden pairs, sketches, a report."""

import math
import shutil
from pathlib import Path

import numpy as np

from utils import models, stream
from utils.audio import SAMPLE_RATE
from utils.labels import UNKNOWN
from utils.nets import micro, small, streaming
from utils.nets.frames import FRAME_LENGTH, HOP_LENGTH, N_MELS
from utils.system import files

SAME = Path(__file__).with_name("board_files")  # C that is the same for all networks
SKETCHES = {"arduino.ino": "arduino/arduino.ino", "esp_idf.cc": "esp_idf/main.cc"}
GOLDEN = 16  # pairs


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
        Log-mel frames of which the golden pairs are made: 16 steps of them, from the start again where they end.

    Returns
    -------
    dict
        What ``report.json`` holds.
    """
    module = small.make_module(network, n_mean, front_end=False)
    size = module.n_frames
    steps = np.concatenate(calibration)
    content = small.to_int8(module, steps[: len(steps) // size * size].reshape(-1, 1, size, N_MELS))
    front = micro.make_front_end()
    session = micro.MicroSession(content)
    layout = session.layout
    inputs = layout.quantize(np.resize(clip, (GOLDEN, 1, size, N_MELS)))
    outputs = [session.step(values).copy() for values in inputs]
    operations = micro.find_operations(content, front)
    macs = models.count_macs(streaming.make_streaming(network).model)
    report = {
        "network_bytes": len(content),
        "front_end_bytes": len(front),
        "flash_bytes": len(content) + len(front),
        "network_arena_bytes": micro.least_arena(content),
        "front_end_arena_bytes": micro.least_arena(front),
        "operations": operations,
        "macs_a_second": round(macs * SAMPLE_RATE / (size * HOP_LENGTH)),
        "front_end_macs_a_second": round(micro.FRONT_END_MACS * SAMPLE_RATE / HOP_LENGTH),
        "step_ms": size * HOP_LENGTH / SAMPLE_RATE * 1e3,
        "delay_ms": streaming.make_streaming(network).delay * HOP_LENGTH / SAMPLE_RATE * 1e3,
        "mean_steps": n_mean,
    }
    files.write_bytes(folder / "network.tflite", content)
    files.write_bytes(folder / "front_end.tflite", front)
    files.write_text(folder / "labels.txt", "".join(f"{label}\n" for label in labels))
    files.write_json(folder / "report.json", report)
    files.write_text(folder / "model.h", _header(layout, labels, report))
    files.write_text(folder / "model.c", _source(layout, labels, content, front))
    files.write_text(folder / "golden.h", _golden(inputs, outputs))
    files.write_text(folder / "operations.h", _operations(operations))
    for path in SAME.iterdir():
        target = folder / SKETCHES.get(path.name, path.name)
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)
    return report


def _header(layout, labels, report):
    rule, step_s = stream.STATEFUL, report["step_ms"] / 1e3
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
