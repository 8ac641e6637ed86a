"""Guards: the front end of training and of the finished model is one and the same; augmentation is what it says."""

import librosa
import numpy as np
import pytest

from utils import audio, features, frontend


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


@pytest.mark.parametrize("bad", [np.zeros((2, 8000), np.float32), np.zeros(16000, np.float32), np.zeros((1, 16000))])
def test_other_shapes_and_types_are_refused(bad):
    with pytest.raises(ValueError, match="expected float32 of shape"):
        features.log_mel(bad)


def test_augmentation_depends_on_seed_and_moment_alone(waveforms):
    spectra = features.log_mel(waveforms)
    labels = np.eye(12, dtype=np.float32)[np.zeros(len(spectra), int)]
    augment = frontend.Augment(spectra[:3], seed=1)
    one, _ = augment(spectra, labels, (2, 3))
    again, kept = frontend.Augment(spectra[:3], seed=1)(spectra, labels, (2, 3))
    other, _ = augment(spectra, labels, (2, 4))
    np.testing.assert_array_equal(one, again)
    np.testing.assert_array_equal(kept, labels)
    assert np.abs(one - other).mean() > 0.1


def test_noise_is_mixed_at_the_ratio_asked_for(waveforms):
    spectra, noise = features.log_mel(waveforms[:20]), features.log_mel(waveforms[20:24])
    strength = frontend.Augmentation(0, 1.0, (10.0, 10.0), (0.0, 0.0), 0)
    mixed, _ = frontend.Augment(noise, 1, strength)(spectra, None, (0, 0))
    clean = np.exp(spectra).mean(axis=(1, 2))
    added = np.exp(mixed.numpy()).mean(axis=(1, 2)) - clean
    np.testing.assert_allclose(10 * np.log10(clean / added), 10.0, atol=0.1)


def test_a_shift_brings_silence_in_at_the_edge_and_masks_hide_no_more_than_allowed(waveforms):
    spectra = features.log_mel(waveforms[:64])
    plain = frontend.Augmentation(10, 0.0, (0.0, 0.0), (0.0, 0.0), 0)
    shifted = frontend.Augment(spectra[:1], 1, plain)(spectra, None, (0, 0))[0].numpy()
    for before, after in zip(spectra, shifted):
        moves = [s for s in range(-10, 11) if np.allclose(after[10:-10], before[10 + s : 88 + s], atol=1e-3)]
        assert moves
    masks = frontend.Augmentation(0, 0.0, (0.0, 0.0), (0.0, 0.0), 1)
    flat = np.zeros((500, 98, 40), np.float32)
    hidden = frontend.Augment(flat[:1], 1, masks)(flat, None, (0, 0))[0].numpy() == frontend.LOG_MEL_MEAN
    frames, mels = hidden.all(axis=2), hidden.all(axis=1)
    assert (frames.sum(axis=1).max(), mels.sum(axis=1).max()) == (20, 8)
    assert np.array_equal(hidden, frames[:, :, None] | mels[:, None, :])
