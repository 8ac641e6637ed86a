"""Streaming networks as LiteRT files that are given their state and give it back, in float32 and in eight bits."""

import numpy as np

from utils import audio, features
from utils.audio import SAMPLE_RATE
from utils.nets import streaming
from utils.nets.frames import FRAME_LENGTH, HOP_LENGTH, N_MELS
from utils.nets.frontend import log_mel
from utils.nets.live import WARM_S, Session
from utils.system.quiet import tf

MEANS = range(3, 21)  # steps of the running mean that are tried
OVERLAP = FRAME_LENGTH - HOP_LENGTH  # samples of before that the first frame of a step needs


def choose_mean(network, clips, labels):
    """Steps over which the running mean of a stream's answers is right most often; of as good ones the fewest.

    Parameters
    ----------
    network : keras.Model
    clips : int16 array, shape (n, 16000)
        Of the validation set. Each is heard after silence and before silence.
    labels : int array, shape (n,)
        What they are.
    """
    form = streaming.make_streaming(network, len(clips))
    before, after = int(WARM_S * SAMPLE_RATE), form.delay * HOP_LENGTH
    log_mel = features.log_mel_frames(audio.to_waveform(np.pad(clips, ((0, 0), (before, after)))))
    last = log_mel.shape[1]
    first = last % form.n_frames
    hear = tf.function(lambda frames: form.model(frames, training=False))
    logits = [hear(log_mel[:, at : at + form.n_frames]) for at in range(first, last, form.n_frames)]
    right = {n: np.mean(np.mean(logits[-n:], axis=0).argmax(axis=1) == labels) for n in MEANS}
    return max(MEANS, key=right.get)


def make_module(network, n_mean, front_end=True):
    """One step of listening.

    Parameters
    ----------
    network : keras.Model
        See :func:`streaming.make_streaming`.
    n_mean : int
        Steps of the running mean.
    front_end : bool
        Whether a step takes sound, or log-mel frames.

    Returns
    -------
    tf.Module
        Its function ``hear`` takes ``samples`` (1, 1280) in [-1, 1) or ``log_mel`` (1, 8, 40), and every ``state_*``.
        It gives ``probabilities`` (1, n_labels), every ``state_*`` for the next step, and with the front end ``delay``,
        the network's look-ahead in frames.
    """
    form = streaming.make_streaming(network)
    step, specs = form.make_step(), {}
    if front_end:
        specs["samples"] = (1, form.n_frames * HOP_LENGTH)
    else:
        specs["log_mel"] = (1, form.n_frames, N_MELS)
    shapes = [(1, n_mean - 1, network.output_shape[-1]), *(state.shape for state in form.states)]
    if front_end:
        shapes.append((1, OVERLAP))
    names = [f"state_{number:02}" for number in range(len(shapes))]
    specs |= dict(zip(names, shapes))

    def hear(**inputs):
        answers, *states = (inputs[name] for name in names)
        frames, kept = inputs.get("log_mel"), []
        if front_end:
            sound = tf.concat([states.pop(), inputs["samples"]], 1)
            frames, kept = log_mel(sound), [sound[:, -OVERLAP:]]
        logits, states = step(frames, states)
        answers = tf.concat([answers, logits[:, None]], 1)
        outputs = {"probabilities": tf.nn.softmax(tf.reduce_mean(answers, 1))}
        if front_end:
            outputs["delay"] = tf.constant(form.delay)
        return outputs | dict(zip(names, [answers[:, 1:], *states, *kept]))

    module = tf.Module()
    module.n_frames = form.n_frames
    signature = {name: tf.TensorSpec(shape, tf.float32, name=name) for name, shape in specs.items()}
    module.hear = tf.function(hear)
    module.concrete = module.hear.get_concrete_function(**signature)
    return module


def make_converter(module):
    """TensorFlow's converter of a module to a LiteRT file."""
    return tf.lite.TFLiteConverter.from_concrete_functions([module.concrete], module)


def cut(module, clips):
    """Clips (n, 16000) laid end to end, in steps of a module that takes sound."""
    n_samples = module.n_frames * HOP_LENGTH
    return clips.reshape(-1)[: clips.size // n_samples * n_samples].reshape(-1, 1, n_samples)


def to_float(module):
    """The file in float32: bytes."""
    return make_converter(module).convert()


def to_int8(module, inputs, keep_float=lambda content: []):
    """The file in eight bits: bytes.

    Parameters
    ----------
    module : tf.Module
        Of :func:`make_module`.
    inputs : sequence of float32 arrays
        What steps that follow each other are given, apart from states: to see what values there are.
    keep_float : callable
        From a file in float32 to the names of its tensors that stay so.
    """
    content = to_float(module)
    (name,) = (name for name in Session(content).inputs if not name.startswith("state"))

    def calibrate():
        session = Session(content)
        for values in inputs:
            yield {name: values, **session.states}
            session.step(values)

    converter = make_converter(module)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = calibrate
    names = keep_float(content)
    if not names:
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        return converter.convert()
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=names)
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter, debug_dataset=calibrate, debug_options=options
    )
    return debugger.get_nondebug_quantized_model()
