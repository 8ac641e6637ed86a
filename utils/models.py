"""The zoo, by name: raw waveforms (16000,) in, a logit for each label out.

python -m utils.models

Names and tables are there at once; Keras is imported when a model is built or read.
"""

import contextlib
import dataclasses
import json
import math
import sys
from dataclasses import dataclass

import numpy as np

from utils.audio import CLIP_SAMPLES
from utils.labels import LABELS
from utils.nets.frames import NETWORK
from utils.system import cli, files

DEFAULT = "tc_resnet8_1.2"
N_LABELS = len(LABELS)


@dataclass(frozen=True)
class Entry:
    """A model of the zoo, and what its paper says of it with twelve labels."""

    architecture: str  # function of utils/nets/architectures.py
    arguments: dict = dataclasses.field(default_factory=dict)
    paper_parameters: float = None
    paper_macs: float = None
    note: str = ""


_HELLO = "frames of 30 ms instead of 40; the paper gives memory, not parameters"
_BC = (
    "the paper leaves the running averages of normalization out of its parameters, and its multiplications fit "
    "101 frames and two for each normalized value"
)
_TC = {"channels": (20, 28, 40, 58), "dropout": 0.3}
_S = {"channels": 64, "n_blocks": 4, "frequency_stride": 2, "block_stride": 1}
_L = {"channels": 276, "n_blocks": 5, "frequency_stride": 1, "block_stride": 2}
NETWORKS = {
    DEFAULT: Entry("tc_resnet", _TC, note="ours: TC-ResNet8, 1.2 times as wide"),
    "tc_resnet8_1.2_causal": Entry(
        "tc_resnet",
        {**_TC, "causal": True},
        note="ours: the same for streams, which hears nothing of what follows",
    ),
    "tc_resnet8": Entry("tc_resnet", {"channels": (16, 24, 32, 48)}, 66e3, 1.5e6),
    "tc_resnet14": Entry("tc_resnet", {"channels": (16, 24, 24, 32, 32, 48, 48)}, 137e3, 3.05e6),
    "resnet10": Entry("resnet", {"channels": (16, 16, 32, 64, 96)}, note="ours: a narrow ResNet-10"),
    "resnet10_s": Entry("resnet", {"channels": (16, 16, 24, 40, 56)}, note="ours: narrower still"),
    "ds_cnn_s": Entry("ds_cnn", _S, None, 2.7e6, _HELLO),
    "ds_cnn_l": Entry("ds_cnn", _L, None, 28.45e6, _HELLO),
    "bc_resnet_1": Entry("bc_resnet", {"tau": 1}, 9.2e3, 3.1e6, _BC),
    "bc_resnet_2": Entry("bc_resnet", {"tau": 2}, 27.3e3, 8.5e6, _BC),
    "bc_resnet_3": Entry("bc_resnet", {"tau": 3}, 54.2e3, 16.2e6, _BC),
    "bc_resnet_8": Entry("bc_resnet", {"tau": 8}, 321e3, 89.1e6, _BC),
    "kwt_1": Entry("kwt", {}, 607e3, note="40 mel bins instead of 80 under the 40 coefficients"),
    "conv1d": Entry("conv1d", {}, 28_366_616, 2.43e9, "the original course's; for a GPU"),
}


def build_model(name=DEFAULT, n_labels=N_LABELS):
    """Build a model with fresh weights: float32 waveforms (batch, 16000) in [-1, 1) to logits (batch, n_labels).

    Of a model with a front end, the layer called ``network`` is the part that learns.

    Raises
    ------
    ValueError
        If ``name`` is none of ``NETWORKS``.
    """
    from utils.nets import architectures
    from utils.nets.frontend import LogMel
    from utils.system.quiet import keras

    if name not in NETWORKS:
        raise ValueError(f"no model {name!r}: there are {', '.join(NETWORKS)}")
    entry = NETWORKS[name]
    network = getattr(architectures, entry.architecture)(n_labels, **entry.arguments)
    if network.name != NETWORK:
        return network
    inputs = keras.Input((CLIP_SAMPLES,), name="waveform")
    return keras.Model(inputs, network(LogMel(name="front_end")(inputs)), name=name.replace(".", "_"))


@contextlib.contextmanager
def reading(path):
    """What goes wrong while a model or checkpoint is read, in one line that names it."""
    try:
        yield
    except cli.CourseError:
        raise
    except Exception as error:  # the libraries raise many types for what is damaged, and for what they refuse
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise cli.CourseError(f"{path} is damaged or not safe to read: {reason}") from error


def load_model(path):
    """A model that Keras saved, read in its safe mode: what holds code of its own is refused.

    Raises
    ------
    CourseError
        If it is refused or damaged.
    """
    from utils.nets import architectures, frontend  # noqa: F401 whose layers it may have
    from utils.system.quiet import keras

    with reading(path):
        return keras.saving.load_model(path, compile=False, safe_mode=True)


def write_variables(path, variables, others=None):
    """Keep variables in one file of numpy's, and other values by name.

    Not in Keras's HDF5, which crashes where the disk is full.
    """
    arrays = {f"variable_{index}": variable.numpy() for index, variable in enumerate(variables)}
    with files.new_file(path) as file:
        np.savez(file, **(others or {}), **arrays)


def read_variables(path, variables):
    """Set variables from a file of :func:`write_variables`, in the same order; the other values by name."""
    with reading(path), np.load(path, allow_pickle=False) as saved:
        others = {name: saved[name] for name in saved.files if not name.startswith("variable_")}
        n_saved = len(saved.files) - len(others)
        if n_saved != len(variables):
            raise cli.CourseError(f"{path} holds {n_saved} variables and the network has {len(variables)}: begin anew")
        for index, variable in enumerate(variables):
            variable.assign(saved[f"variable_{index}"])
        return others


def learning_part(model):
    """The part of a model that training changes: its network after the front end, or all of it."""
    return model.get_layer(NETWORK) if has_front_end(model) else model


def has_front_end(model):
    """Whether a model computes log-mel spectrograms first."""
    return any(layer.name == NETWORK for layer in model.layers)


def count_macs(model):
    """Multiply-accumulates for one clip, of convolutions, dense layers and attention.

    The front end is left out, as in the papers' tables.

    Raises
    ------
    CourseError
        If a layer has weights and nothing is known of how often it multiplies by them.
    """
    from utils.nets.architectures import Cepstrum, SubSpectralNormalization, Tokens, layers
    from utils.nets.streaming import RingBuffer

    convolutions = (layers.Conv1D, layers.Conv2D, layers.DepthwiseConv1D, layers.DepthwiseConv2D)
    separable = (layers.SeparableConv1D, layers.SeparableConv2D)
    uncounted = (layers.Normalization, layers.BatchNormalization, layers.LayerNormalization, SubSpectralNormalization)
    macs = 0
    for layer in learning_part(model).layers:
        if isinstance(layer, (layers.Dense, *convolutions)):
            macs += math.prod(layer.output.shape[1:-1]) * math.prod(layer.kernel.shape)
        elif isinstance(layer, separable):
            kernels = layer.depthwise_kernel, layer.pointwise_kernel
            macs += math.prod(layer.output.shape[1:-1]) * sum(math.prod(kernel.shape) for kernel in kernels)
        elif isinstance(layer, layers.Dot):
            macs += math.prod(layer.output.shape[1:]) * layer.input[0].shape[layer.axes[0]]
        elif isinstance(layer, Cepstrum):
            macs += math.prod(layer.output.shape[1:]) * layer.input.shape[-1]
        elif layer.weights and not isinstance(layer, (*uncounted, Tokens, RingBuffer)):
            raise cli.CourseError(f"multiplications of {type(layer).__name__} are not counted: add it to count_macs")
    return macs


def describe(name):
    """What ``python -m utils.models`` says of a model, by name of the column."""
    model, entry = build_model(name), NETWORKS[name]
    return {
        "name": name,
        "parameters": model.count_params(),
        "macs": count_macs(model),
        "paper_parameters": entry.paper_parameters,
        "paper_macs": entry.paper_macs,
        "note": entry.note,
    }


def main(arguments=None):
    """Command line of ``python -m utils.models``."""
    parser = cli.Parser(prog="python -m utils.models", description="List the models, beside what their papers say.")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args(arguments)
    if not options.json:
        print(f"{'name':22}{'parameters':>12}{'paper':>12}{'macs':>15}{'paper':>15}  note")
    for name in NETWORKS:
        row = describe(name)
        if options.json:
            print(json.dumps(row), flush=True)
            continue
        paper = [f"{row[key]:,.0f}" if row[key] else "-" for key in ("paper_parameters", "paper_macs")]
        numbers = f"{row['parameters']:12,}{paper[0]:>12}{row['macs']:15,}{paper[1]:>15}"
        print(f"{name:22}{numbers}  {row['note']}", flush=True)


if __name__ == "__main__":
    sys.exit(cli.run(main))
