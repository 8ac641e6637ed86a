"""Guards: a network that keeps state answers as it does on clips, in Keras, in LiteRT files, and in words heard."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import predict
from utils import models, recogniser, stream, trained
from utils.labels import LABELS
from utils.nets import architectures, live, small, streaming
from utils.system import cli
from utils.system.quiet import keras, tf

NETWORKS = [  # model, frames of a long sound that are strided as those of a second, frames of sound for one in the end
    ("tc_resnet8", 250, 8),
    ("bc_resnet_1", 208, 1),
    ("resnet10", 194, 16),
]


def build_network(name):
    entry = models.NETWORKS[name]
    return getattr(architectures, entry.architecture)(12, **entry.arguments)


def build(name, n_frames=98):
    """The network of a model on so many frames, with statistics that are not those of the beginning."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(architectures, "N_FRAMES", n_frames)
        network = build_network(name)
    rng = np.random.default_rng(0)
    for weight in network.weights:
        if "kernel" not in weight.path:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    for weight in network.weights:
        if "kernel" in weight.path:
            weight.assign(rng.normal(0, 1 / np.sqrt(np.prod(weight.shape[:-1])), weight.shape))
    return network


def frame_logits(network, log_mel):
    """Logits of each frame before their mean over time."""
    (pooling,) = (layer for layer in network.layers if isinstance(layer, streaming.POOLING))
    frames = np.array(keras.Model(network.input, pooling.input)(log_mel, training=False))
    frames = frames.mean(2) if frames.ndim == 4 else frames
    kernel, bias = network.get_layer("logits").get_weights()
    return frames @ kernel + bias


def hear(form, log_mel):
    for state in form.states:
        state.assign(tf.zeros_like(state))
    starts = range(0, log_mel.shape[1] - form.n_frames + 1, form.n_frames)
    return np.stack([np.array(form.model(log_mel[:, at : at + form.n_frames])) for at in starts], axis=1)


@pytest.mark.parametrize(("name", "n_frames", "hop"), NETWORKS)
def test_a_stream_is_the_clip_where_both_are_defined(name, n_frames, hop):
    log_mel = np.random.default_rng(1).normal(-4, 4, (2, n_frames, 40)).astype(np.float32)
    expected, form = frame_logits(build(name, n_frames), log_mel), streaming.make_streaming(build(name), 2)
    found = hear(form, log_mel)
    late, size = form.delay // hop, form.n_frames // hop
    compared = 0
    for step in range(found.shape[1]):
        first = step * size - late
        if (step + 1) * form.n_frames - 2 * form.delay - 40 > 0 and first >= 0:  # no zeros from before the sound
            clip = expected[:, first : first + size].mean(axis=1)
            np.testing.assert_allclose(found[:, step], clip, atol=1e-5)
            compared += 1
    assert compared >= 3


def test_a_causal_network_is_the_clip_from_its_first_frame_on_and_waits_for_nothing():
    network = build("tc_resnet8_1.2_causal")
    log_mel = np.random.default_rng(1).normal(-4, 4, (2, 98, 40)).astype(np.float32)
    form = streaming.make_streaming(network, 2)
    assert form.delay == 0
    found = hear(form, np.concatenate([log_mel[:, -architectures.PAST_FRAMES :], log_mel], axis=1))
    np.testing.assert_allclose(found[:, -12:].mean(axis=1), network(log_mel, training=False), atol=1e-5)


def test_what_needs_the_whole_second_is_told_in_one_line():
    with pytest.raises(cli.CourseError, match=r"network cannot stream: its layer .* needs the whole second"):
        streaming.make_streaming(build_network("kwt_1"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder with a network of few weights as a file that keeps state, in float32 and in eight bits."""
    folder = tmp_path_factory.mktemp("run")
    shutil.copy(trained.PRETRAINED / "labels.txt", folder)
    network = architectures.tc_resnet(12, (8, 12, 16, 20))
    module = small.make_module(network, 5)
    (folder / "model_stream.tflite").write_bytes(small.to_float(module))
    return folder, network


def test_a_file_that_keeps_state_answers_as_keras(run):
    folder, network = run
    sound = np.random.default_rng(2).normal(0, 0.1, (1, 12 * 1280)).astype(np.float32)
    session = live.Session((folder / "model_stream.tflite").read_bytes())
    found = [session.step(sound[:, at : at + 1280])["probabilities"] for at in range(0, sound.shape[1], 1280)]
    from utils.nets.frontend import log_mel

    # The file begins without sound: two hops of zeros.
    frames = np.array(log_mel(np.pad(sound, ((0, 0), (small.OVERLAP, 0)))))
    logits = hear(streaming.make_streaming(network), frames)[0]
    for step in range(4, 12):
        expected = np.exp(logits[step - 4 : step + 1].mean(axis=0))
        np.testing.assert_allclose(found[step][0], expected / expected.sum(), atol=1e-5)


def test_how_sound_is_cut_changes_nothing_and_times_are_those_of_the_sound(run, capsys):
    model = recogniser.load(run[0] / "model_stream.tflite")
    sound = np.random.default_rng(3).normal(0, 3000, 30_000).astype(np.int16)
    whole, pieces = stream.Stream(model), stream.Stream(model)
    expected = np.concatenate(list(whole.listen(sound)))
    found = [rows for at in range(0, len(sound), 777) for rows in pieces.listen(sound[at : at + 777])]
    np.testing.assert_array_equal(np.concatenate(found), expected)
    assert len(expected) == 1 + len(sound) // 1280  # the first row is that of the silence before
    rows = np.zeros((30, 12), np.float32)
    rows[10:, 2] = 1
    rule = stream.Rule(threshold=0.26, smoothing_s=0.6)
    heard = stream.Decoder(model.labels, rule, model.step_s).decode(rows)
    assert [word.label for word in heard] == ["up"]
    assert heard[0].seconds == pytest.approx(0.08 * 12)  # three steps of eight pass the threshold
    rows[10:, 2] = 0.35  # enough by the rule of seconds heard anew, and not by that of files that keep state
    assert stream.Decoder(model.labels, step_s=model.step_s).decode(rows)
    assert not stream.make_decoder(model).decode(rows)


def test_a_clip_alone_is_read_at_its_end_as_where_the_mean_over_time_was_chosen(run):
    """Not up to a step later, when the mean has lost what the clip began with."""
    model, form = recogniser.load(run[0] / "model_stream.tflite"), streaming.make_streaming(run[1])
    n_after = form.delay * 160
    n_before = -(16_000 + n_after) % 1280
    assert n_before > 0  # else there would be nothing to tell
    clip = np.random.default_rng(4).normal(0, 3000, 16_000).astype(np.int16)
    heard = model.listen()(np.pad(clip, (n_before, n_after)))
    np.testing.assert_allclose(model(clip[None] / np.float32(32768))[0], heard[-1], atol=1e-6)


def test_a_word_at_the_very_end_is_heard_by_a_network_that_looks_far_ahead():
    """Nothing follows it: silence has to, for as long as the network waits."""
    step, waits = 1280, 10

    def listen():
        last = np.zeros(waits, bool)

        def hear(samples):
            nonlocal last
            loud = np.concatenate([last, np.abs(samples.reshape(-1, step)).max(axis=1) > 0])
            last = loud[len(loud) - waits :]
            return np.eye(12, dtype=np.float32)[np.where(loud[:-waits], 2, 10)]

        return hear

    file = SimpleNamespace(step_samples=step, look_ahead=waits * step)
    heard = stream.Stream(SimpleNamespace(labels=LABELS, listen=listen, step_s=step / 16_000, model=file))
    sound = np.r_[np.zeros(20 * step), np.ones(6 * step - 300)].astype(np.int16)
    assert heard.feed(sound) == []
    assert [word.label for word in heard.finish()] == ["up"]


def test_a_file_that_is_none_is_told_in_one_line(run, tmp_path, capsys):
    shutil.copy(run[0] / "labels.txt", tmp_path)
    shutil.copy(trained.PRETRAINED / "model_float.tflite", tmp_path / "model_stream.tflite")
    Path(tmp_path, "no.wav").write_bytes(b"")
    assert (
        cli.run(predict.main, ["--stream", str(tmp_path / "no.wav"), "--model", str(tmp_path / "model_stream.tflite")])
        == 1
    )
    assert "is no file made by --to stream" in capsys.readouterr().err
