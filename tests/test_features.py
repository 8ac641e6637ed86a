"""Guards: the front end of training and of the finished model is one and the same; augmentation is what it says."""

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import librosa
import numpy as np
import pytest

from utils import audio, datasets, features, prepare, store
from utils.nets import changes, frontend
from utils.system import cli

ROOT = Path(__file__).parents[1]
# What the course's features are, clip by clip.
LIBROSA = {
    "mfccs_1D": lambda clip: librosa.feature.mfcc(y=clip, sr=16000, n_mfcc=100).mean(axis=1),
    "mfccs_2D": lambda clip: librosa.feature.mfcc(y=clip, sr=16000, n_mfcc=100),
    "mel_spectrogram": lambda clip: librosa.feature.melspectrogram(y=clip, sr=16000),
    "fft": lambda clip: np.abs(np.fft.rfft(clip.astype(np.float64))),
    "tempogram": lambda clip: librosa.feature.tempogram(y=clip, sr=16000),
}
SHAPES = {
    "mfccs_1D": (100,),
    "mfccs_2D": (100, 32),
    "mel_spectrogram": (128, 32),
    "fft": (8001,),
    "tempogram": (384, 32),
    "log_mel": (98, 40),
}


@pytest.fixture(scope="module")
def waveforms(voices_raw):
    paths = sorted((voices_raw / "train" / "audio").glob("*/*.wav"))[::10]
    clips = [audio.fit_second(audio.read_wav(path, audio.CLIP_SAMPLES)) for path in paths]
    return audio.to_waveform(np.stack([*clips, np.zeros_like(clips[0])]))


def test_mel_filters_are_librosas():
    theirs = librosa.filters.mel(sr=16000, n_fft=512, n_mels=40, fmin=20, fmax=7600, htk=True, norm=None)
    np.testing.assert_allclose(features.mel_weights(), theirs.T, atol=1e-5)


def test_numpy_and_tensorflow_agree(waveforms):
    np.testing.assert_allclose(features.log_mel(waveforms), frontend.LogMel()(waveforms).numpy(), atol=1e-4)


def check_against_librosa(name, waveforms):
    found = features.FEATURES[name].compute(waveforms)
    assert found.dtype == np.float32
    assert found.shape == (len(waveforms), *SHAPES[name])
    for clip, ours in zip(waveforms, found):
        theirs = LIBROSA[name](clip)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max() or 1e-12)


@pytest.mark.filterwarnings("ignore:n_fft=")
@pytest.mark.parametrize("name", LIBROSA)
def test_batches_give_what_librosa_gives_clip_by_clip(waveforms, name):
    quiet = waveforms[:40] * np.float32(1e-3)  # beside louder ones: a batch's loudest clip must not matter
    check_against_librosa(name, np.concatenate([waveforms[:60], quiet, waveforms[-1:]]))


@pytest.mark.recordings
@pytest.mark.parametrize("name", LIBROSA)
def test_batches_give_what_librosa_gives_on_real_clips(real_clips, name):
    check_against_librosa(name, real_clips)


@pytest.mark.parametrize("name", SHAPES)
def test_a_clip_does_not_depend_on_its_company(waveforms, name):
    compute = features.FEATURES[name].compute
    np.testing.assert_allclose(compute(waveforms[:37])[20:21], compute(waveforms[20:21]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (np.zeros((2, 8000), np.float32), r"expected float32 of shape \(n, 16000\), got float32 of \(2, 8000\)"),
        (np.zeros(16000, np.float32), "expected float32 of shape"),
        (np.zeros((1, 16000)), "got float64"),
        (np.zeros((1, 16000), np.int16), "got int16"),
        (np.zeros((0, 16000), np.float32), "one clip or more"),
        (np.pad(np.full((1, 1), np.nan, np.float32), ((1, 0), (0, 15999))), "NaN or infinite ones in clip 1"),
        (np.pad(np.full((1, 1), np.inf, np.float32), ((20, 0), (0, 15999))), "NaN or infinite ones in clip 20"),
    ],
)
def test_bad_input_is_refused_with_what_was_expected(name, bad, reason):
    with pytest.raises(ValueError, match=reason):
        features.FEATURES[name].compute(bad)


@pytest.fixture(scope="module")
def stored(voices_raw, tmp_path_factory):
    """A project folder whose sample is stored."""
    folder = tmp_path_factory.mktemp("project")
    prepare.prepare(voices_raw, folder / "data" / "main", folder / "data" / "sample")
    return folder


def test_features_are_kept_beside_the_waveforms_in_the_same_order(stored, monkeypatch, capsys):
    monkeypatch.chdir(stored)
    assert cli.run(features.main, ["--set", "sample", "--features", "fft", "mfccs_1D"]) == 0
    folder = stored / "data" / "sample" / "preprocessed"
    sets = datasets.open_store(folder)
    for name, clip_set in sets.items():
        array = store.open_array(folder / f"{name}_X_mfccs_1D.bc")
        assert array.names == clip_set.names
        expected = features.mfccs_1D(audio.to_waveform(clip_set.inputs[0][:]))
        np.testing.assert_allclose(array[:], expected, rtol=1e-4, atol=1e-4)
    capsys.readouterr()
    assert cli.run(features.main, ["--set", "sample", "--features", "fft"]) == 0
    assert capsys.readouterr().out.count("nothing to do") == 3


@pytest.mark.slow
def test_a_killed_run_goes_on_with_what_was_not_finished(tmp_path):
    folder = tmp_path / "data" / "main" / "preprocessed"
    datasets.write_random_store(folder, 12 * features.TASK_CLIPS, seed=1)  # enough for several processes
    command = [sys.executable, "-m", "utils.features", "--set", "main", "--features", "log_mel", "tempogram"]
    settings = {"env": {**os.environ, "PYTHONPATH": str(ROOT)}, "cwd": tmp_path, "stdout": subprocess.DEVNULL}
    process = subprocess.Popen(command, **settings)
    wait_for(folder / ".train_X_tempogram.bc.partial")
    process.kill()
    process.wait()
    assert not (folder / "train_X_tempogram.bc").exists()
    before = (folder / "train_X_log_mel.bc").stat().st_ino
    subprocess.run(command, check=True, **settings)
    assert (folder / "train_X_log_mel.bc").stat().st_ino == before
    waveforms = audio.to_waveform(store.open_array(folder / "train_X.bc")[:])
    found = store.open_array(folder / "train_X_tempogram.bc")
    np.testing.assert_allclose(found[:], features.tempogram(waveforms), rtol=1e-4, atol=1e-5)
    assert not list(folder.glob(".*"))


@pytest.mark.slow
def test_processes_that_have_nothing_to_do_end(tmp_path):
    """A process that started them, and was itself started by ``multiprocessing``, waited five minutes for them."""
    datasets.write_random_store(tmp_path, 2 * features.TASK_CLIPS, seed=1)
    process = multiprocessing.get_context("spawn").Process(target=compute, args=(tmp_path,))
    process.start()
    process.join(200)
    try:
        assert process.exitcode == 0
    finally:
        process.kill()
    assert (tmp_path / "train_X_log_mel.bc").exists()


def compute(folder):
    features.persist([store.open_array(folder / "train_X.bc")], folder / "train_X_log_mel.bc", "log_mel")


def wait_for(path):
    for _ in range(2000):
        if path.exists():
            return
        time.sleep(0.02)
    raise AssertionError(f"{path} never came")


def test_augmentation_depends_on_seed_and_moment_alone(waveforms):
    spectra = features.log_mel(waveforms)
    labels = np.eye(12, dtype=np.float32)[np.zeros(len(spectra), int)]
    augment = changes.Augment(spectra[:3], seed=1)
    one, _ = augment(spectra, labels, (2, 3))
    again, kept = changes.Augment(spectra[:3], seed=1)(spectra, labels, (2, 3))
    other, _ = augment(spectra, labels, (2, 4))
    np.testing.assert_array_equal(one, again)
    np.testing.assert_array_equal(kept, labels)
    assert np.abs(one - other).mean() > 0.1


def test_noise_is_mixed_at_the_ratio_asked_for(waveforms):
    spectra, noise = features.log_mel(waveforms[:20]), features.log_mel(waveforms[20:24])
    strength = changes.Augmentation(0, 1.0, (10.0, 10.0), (0.0, 0.0), 0)
    mixed, _ = changes.Augment(noise, 1, strength)(spectra, None, (0, 0))
    clean = np.exp(spectra).mean(axis=(1, 2))
    added = np.exp(mixed.numpy()).mean(axis=(1, 2)) - clean
    np.testing.assert_allclose(10 * np.log10(clean / added), 10.0, atol=0.1)


def test_a_shift_brings_silence_in_at_the_edge_and_masks_hide_no_more_than_allowed(waveforms):
    spectra = features.log_mel(waveforms[:64])
    plain = changes.Augmentation(10, 0.0, (0.0, 0.0), (0.0, 0.0), 0)
    shifted = changes.Augment(spectra[:1], 1, plain)(spectra, None, (0, 0))[0].numpy()
    for before, after in zip(spectra, shifted):
        moves = [s for s in range(-10, 11) if np.allclose(after[10:-10], before[10 + s : 88 + s], atol=1e-3)]
        assert moves
    masks = changes.Augmentation(0, 0.0, (0.0, 0.0), (0.0, 0.0), 1)
    flat = np.zeros((500, 98, 40), np.float32)
    hidden = changes.Augment(flat[:1], 1, masks)(flat, None, (0, 0))[0].numpy() == frontend.LOG_MEL_MEAN
    frames, mels = hidden.all(axis=2), hidden.all(axis=1)
    assert (frames.sum(axis=1).max(), mels.sum(axis=1).max()) == (20, 8)
    assert np.array_equal(hidden, frames[:, :, None] | mels[:, None, :])


def only(**strength):
    """Augmentation that does this alone."""
    nothing = {"shift_frames": 0, "noise_probability": 0.0, "gain_db": (0.0, 0.0), "masks": 0}
    return changes.Augmentation(**{**nothing, **strength})


@pytest.mark.parametrize(("axis", "fixed", "change"), [(1, 48.5, "time_warp"), (2, 0.0, "mel_warp")])
def test_a_warp_moves_what_lies_off_its_fixed_place_and_nothing_else(axis, fixed, change):
    places = np.arange((98, 40)[axis - 1], dtype=np.float32)
    spectra = np.broadcast_to(np.expand_dims(places / 10, 2 - axis), (200, 98, 40)).astype(np.float32)
    warped = 10 * changes.Augment(spectra[:0], 1, only(**{change: 0.2}))(spectra, None, (0, 0))[0].numpy()
    lines = np.moveaxis(warped, axis, 1)[:, :, 0]  # each clip's way along the axis
    shares = (lines[:, 60 * 40 // 98] - fixed) / (places[60 * 40 // 98] - fixed) - 1
    assert -0.201 < shares.min() < -0.15 < 0.15 < shares.max() < 0.201
    wanted = np.clip(fixed + (places - fixed) * (1 + shares[:, None]), 0, places[-1])
    np.testing.assert_allclose(lines, wanted, atol=0.02)


def test_mixup_weighs_clips_and_labels_alike(waveforms):
    spectra = features.log_mel(waveforms[:24])
    labels = np.eye(24, dtype=np.float32)
    mixed, weights = (x.numpy() for x in changes.Augment(spectra[:0], 1, only(mixup=1.0))(spectra, labels, (0, 0)))
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)
    assert np.all(np.diag(weights) >= 0.5)
    assert len(np.unique(np.diag(weights).round(3))) > 12
    np.testing.assert_allclose(mixed, np.einsum("ij,jkl->ikl", weights, spectra), atol=2e-3)


def test_endless_noise_is_the_same_noise_from_another_step_on_and_silence_is_treated_like_it(waveforms):
    spectra = features.log_mel(waveforms)
    labels = np.eye(2, dtype=np.float32)[np.arange(len(spectra)) % 2]  # every second clip is silence
    change = changes.Augment(spectra[:0], 1, only(endless_noise=True), silence=1)
    turned, _ = change(spectra, labels, (0, 0))
    np.testing.assert_allclose(turned[::2], spectra[::2], atol=1e-3)
    for before, after in zip(spectra[1::2], turned.numpy()[1::2]):
        assert any(np.allclose(np.roll(before, -steps, axis=0), after, atol=1e-3) for steps in range(98))
    assert not np.allclose(turned[1::2], spectra[1::2], atol=1e-3)


def test_a_tone_is_one_smooth_curve_for_all_frames_of_a_clip():
    flat = np.zeros((200, 98, 40), np.float32)
    coloured, _ = changes.Augment(flat[:0], 1, only(tone_db=6.0))(flat, None, (0, 0))
    curves_db = 10 / np.log(10) * coloured.numpy()
    assert np.ptp(curves_db, axis=1).max() < 1e-3
    assert 10 < np.abs(curves_db).max() <= 18
    assert np.abs(np.diff(curves_db, axis=2)).max() < 3
    assert len(np.unique(curves_db[:, 0, 0].round(2))) > 150
