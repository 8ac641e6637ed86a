"""Forms of a depthwise convolution of three frames, forward and back, beside PyTorch's.

    pip install --group peers                     what this needs beside req.txt
    python -m benchmarks.depthwise
    python -m benchmarks.depthwise --json

The input is as large as BC-ResNet-1's first: 64 clips, 98 frames, 20 bins, 16 channels. All forms have the
same kernel; their answers and gradients are compared with those of the layer that the networks use. They take
turns; medians over the turns.
"""

import json
import sys
import time

import numpy as np
import torch

from benchmarks import make_parser
from utils.system import cli
from utils.system.quiet import tf

SHAPE = (64, 98, 20, 16)
TURNS = 50
SEED = 0


def depthwise(x, kernel):
    """The networks' layer: channels last, every frame beside its neighbours."""
    return tf.nn.depthwise_conv2d(x, kernel[:, None, :, None], (1, 1, 1, 1), "SAME")


def grouped(x, kernel):
    """An ordinary convolution with as many groups as channels."""
    return tf.nn.conv2d(x, kernel[:, None, None, :], 1, "SAME")


def diagonal(x, kernel):
    """An ordinary convolution whose kernel is zero between different channels."""
    return tf.nn.conv2d(x, tf.linalg.diag(kernel)[:, None], 1, "SAME")


def banded(x, kernel):
    """A product with a matrix for each channel, of frames by frames."""
    neighbours = np.stack([np.eye(x.shape[1], k=1 - tap, dtype=np.float32) for tap in range(3)])
    return tf.einsum("ctu,bufc->btfc", tf.einsum("put,pc->ctu", neighbours, kernel), x)


def sliced(x, kernel):
    """Three shifted copies, each times its weights, added."""
    padded = tf.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)))
    return tf.add_n([padded[:, tap : tap + x.shape[1]] * kernel[tap] for tap in range(3)])


FORMS = (depthwise, grouped, diagonal, banded, sliced)


def make_tensorflow(form, x, kernel, upstream):
    """A function that gives answers and both gradients of a form."""

    def forth_and_back(x, kernel, upstream):
        with tf.GradientTape() as tape:
            tape.watch((x, kernel))
            answers = form(x, kernel)
        return answers, *tape.gradient(answers, (x, kernel), upstream)

    tensors = [tf.constant(values) for values in (x, kernel, upstream)]
    step = tf.function(forth_and_back).get_concrete_function(*tensors)
    return lambda: [values.numpy() for values in step(*tensors)]


def make_torch(layout, x, kernel, upstream):
    """The same of PyTorch's grouped convolution."""
    channels = len(kernel[0])
    x, upstream = (
        torch.from_numpy(values).permute(0, 3, 1, 2).contiguous(memory_format=layout) for values in (x, upstream)
    )
    kernel = torch.from_numpy(np.ascontiguousarray(kernel.T))[:, None, :, None]
    x.requires_grad_()
    kernel.requires_grad_()

    def step():
        answers = torch.nn.functional.conv2d(x, kernel, padding=(1, 0), groups=channels)
        by_x, by_kernel = torch.autograd.grad(answers, (x, kernel), upstream)
        pictures = [values.detach().permute(0, 2, 3, 1).numpy() for values in (answers, by_x)]
        return *pictures, by_kernel[:, 0, :, 0].numpy().T

    return step


def main(arguments=None):
    """Measure and print."""
    options = make_parser(__doc__).parse_args(arguments)
    rng = np.random.default_rng(SEED)
    data = [rng.normal(size=shape).astype(np.float32) for shape in (SHAPE, (3, SHAPE[-1]), SHAPE)]
    steps = {form.__name__: make_tensorflow(form, *data) for form in FORMS}
    for name in ("contiguous_format", "channels_last"):
        steps[f"torch, {name}"] = make_torch(getattr(torch, name), *data)

    reference = steps["depthwise"]()
    milliseconds = {what: [] for what in steps}
    for _ in range(TURNS):
        for what, step in steps.items():
            started = time.perf_counter()
            step()
            milliseconds[what].append(1000 * (time.perf_counter() - started))
    if not options.json:
        print(f"{'':26}{'ms':>8}{'difference':>12}")
    for what, step in steps.items():
        # Relative to the largest value, as sums over all clips and frames are large.
        difference = max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(step(), reference, strict=True))
        row = {"what": what, "ms": float(np.median(milliseconds[what])), "difference": difference}
        print(json.dumps(row) if options.json else f"{what:26}{row['ms']:8.1f}{difference:12.0e}", flush=True)


if __name__ == "__main__":
    sys.exit(cli.run(main))
