"""Networks in tflite-micro, TensorFlow's runtime for microcontrollers: front end, state, memory."""

import numpy as np

from utils import features
from utils.nets import small
from utils.nets.frames import ENERGY_FLOOR, FRAME_LENGTH, N_FFT, N_MELS
from utils.system.cli import CourseError, hold_back_notes
from utils.system.quiet import tf

MOST_ARENA = 1_000_000  # bytes, with which the search begins
ARENA_STEP = 16  # bytes to which arenas are aligned
ROWS, COLUMNS = 16, 32  # of which the Fourier transform is made: 16 x 32 = 512
# Products of two numbers in a frame's front end.
FRONT_END_MACS = 2 * COLUMNS * ROWS * ROWS + 4 * ROWS * COLUMNS + 2 * ROWS * 2 * COLUMNS * ROWS + N_FFT // 2 * N_MELS


def front_end(samples):
    """Log-mel values (1, 40) of the 480 samples (1, 480) of a frame, in operations that tflite-micro has.

    TensorFlow's Fourier transform is not among them. Two products with small matrices do it (Cooley and Tukey 1965):
    one over every 32nd sample, one over what comes of these. In one product the matrix would have nearly a megabyte.
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
        runtime = import_runtime()
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


def import_runtime():
    """tflite-micro's Python module."""
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

        with hold_back_notes():
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
    runtime, low, high = import_runtime(), 0, MOST_ARENA
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
