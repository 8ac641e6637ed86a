"""Guards: each network is its paper's, learns, and is the same after saving."""

import functools
import json
import math

import librosa
import numpy as np
import pytest

from utils import audio, features, models
from utils.nets import architectures
from utils.system import cli
from utils.system.quiet import keras, tf

FAMILIES = ("tc_resnet8", "resnet10", "ds_cnn_s", "bc_resnet_1", "kwt_1", "conv1d")


@pytest.fixture(autouse=True)
def _fresh_names():
    keras.backend.clear_session()


@pytest.fixture(scope="module", autouse=True)
def _built_once():
    """Models that no test changes; some take seconds to build."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "build_model", functools.cache(models.build_model))
        yield


@pytest.fixture(scope="module")
def clips(voices_raw):
    """24 waveforms and their one-hot labels: two clips of each of twelve words."""
    folders = sorted(path for path in (voices_raw / "train" / "audio").glob("[a-z]*") if path.is_dir())[:12]
    paths = [path for folder in folders for path in sorted(folder.glob("*.wav"))[:2]]
    waveforms = [audio.to_waveform(audio.fit_second(audio.read_wav(path, audio.CLIP_SAMPLES))) for path in paths]
    return np.stack(waveforms), np.repeat(np.eye(12, dtype=np.float32), 2, axis=0)


@pytest.mark.parametrize("name", models.NETWORKS)
def test_parameters_and_multiplications_are_the_papers(name):
    model, entry, row = models.build_model(name), models.NETWORKS[name], models.describe(name)
    learned = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    if entry.paper_parameters:
        assert learned == pytest.approx(entry.paper_parameters, rel=0.02)
    for key in ("parameters", "macs"):
        if row[f"paper_{key}"] and abs(row[key] / row[f"paper_{key}"] - 1) > 0.02:
            assert row["note"]


@pytest.mark.parametrize("tau", [1, 2, 3, 8])
def test_multiplications_of_bc_resnet_fit_as_the_note_says(tau):
    model = models.build_model(f"bc_resnet_{tau}")
    norms = (keras.layers.BatchNormalization, architectures.SubSpectralNormalization)
    normalized = sum(
        math.prod(layer.output.shape[1:]) for layer in models.learning_part(model).layers if isinstance(layer, norms)
    )
    fitting = (models.count_macs(model) + 2 * normalized) * 101 / 98
    assert fitting == pytest.approx(models.NETWORKS[f"bc_resnet_{tau}"].paper_macs, rel=0.02)


def test_multiplications_of_a_separable_convolution_are_counted_and_of_an_unknown_layer_refused():
    inputs = keras.Input((98, 40))
    x = keras.layers.SeparableConv1D(64, 5, strides=2, padding="same")(keras.layers.BatchNormalization()(inputs))
    assert models.count_macs(keras.Model(inputs, x)) == 49 * (5 * 40 + 40 * 64)
    apart = keras.layers.DepthwiseConv1D(5, strides=2, padding="same")(inputs)
    assert models.count_macs(keras.Model(inputs, keras.layers.Conv1D(64, 1)(apart))) == 49 * (5 * 40 + 40 * 64)
    with pytest.raises(cli.CourseError, match="GRU"):
        models.count_macs(keras.Model(inputs, keras.layers.GRU(8)(inputs)))


def test_the_table_has_a_row_a_model_and_the_same_as_json(capsys):
    assert cli.run(models.main, []) == 0
    table = capsys.readouterr().out.splitlines()[1:]
    assert cli.run(models.main, ["--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["name"] for row in rows] == [line.split()[0] for line in table] == list(models.NETWORKS)
    assert all(f"{row['parameters']:,}" in line and f"{row['macs']:,}" in line for row, line in zip(rows, table))


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_network_learns_twelve_clips_by_heart(name, clips, monkeypatch):
    keras.utils.set_random_seed(1)
    monkeypatch.setitem(models.NETWORKS, "conv1d", models.Entry("conv1d", {"channels": 1}))
    model, waveforms, y = models.build_model.__wrapped__(name), *(rows[::2] for rows in clips)
    part = models.learning_part(model)
    X = features.log_mel(waveforms) if models.has_front_end(model) else waveforms
    for layer in (getattr(layer, "norm", layer) for layer in part.layers):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.5  # averages that follow within some steps: there are not many
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    part.compile(keras.optimizers.Adam(1e-3 if name == "kwt_1" else 3e-3), loss, jit_compile=False)
    for _ in range(24):
        part.fit(X, y, batch_size=24, epochs=5, verbose=0)
        if np.array_equal(np.argmax(model(waveforms), axis=1), np.argmax(y, axis=1)):
            return
    raise AssertionError(f"{name} still mistakes some of the clips it was trained on")


@pytest.mark.parametrize("name", FAMILIES[:-1])
def test_a_saved_model_is_the_same_model(name, clips, tmp_path):
    model = models.build_model(name)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_allclose(again(clips[0]), model(clips[0]), atol=1e-5)


def test_cepstrum_is_librosas_mfcc():
    log_mel = np.random.default_rng(0).normal(-6, 3, (2, 98, 40)).astype(np.float32)
    theirs = librosa.feature.mfcc(S=log_mel.transpose(0, 2, 1), n_mfcc=10).transpose(0, 2, 1)
    np.testing.assert_allclose(architectures.Cepstrum(10)(log_mel), theirs, atol=1e-4)


def test_each_band_of_each_channel_is_normalized_by_itself():
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (8, 7, 10, 3)) * rng.uniform(0.1, 9, (1, 1, 10, 1)) + rng.normal(0, 5, (1, 1, 1, 3))
    bands = x.reshape(8, 7, 5, 2, 3)
    mean, variance = bands.mean(axis=(0, 1, 3), keepdims=True), bands.var(axis=(0, 1, 3), keepdims=True)
    wanted = ((bands - mean) / np.sqrt(variance + 1e-3)).reshape(x.shape)
    layer = architectures.SubSpectralNormalization()
    np.testing.assert_allclose(layer(tf.constant(x, tf.float32), training=True), wanted, atol=1e-3)
    assert sum(math.prod(weight.shape) for weight in layer.trainable_weights) == 2 * 5 * 3
