"""Guards: an augmented clip is changed by what was asked for, and by nothing else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from utils import audio, augment, features
from utils.nets import changes

CLIPS = arrays(np.float32, st.integers(1, 300), elements=st.floats(-1, 127 / 128, width=32))
EASY = settings(deadline=None)  # the machine may be busy


@pytest.fixture(scope="module")
def clips(voices_raw):
    paths = sorted((voices_raw / "train" / "audio").glob("[a-z]*/*.wav"))[::15]
    return [audio.to_waveform(audio.fit_second(audio.read_wav(path, audio.CLIP_SAMPLES))) for path in paths]


@pytest.fixture(scope="module")
def noises(voices_raw):
    paths = sorted((voices_raw / "train" / "audio" / "_background_noise_").glob("*.wav"))
    return [audio.to_waveform(audio.read_wav(path)) for path in paths]


def power_db(waveform):
    return 10 * np.log10(np.mean(np.square(waveform, dtype=np.float64)))


def tone(hz, n_samples=16000):
    return np.sin(2 * np.pi * hz * np.arange(n_samples) / 16000).astype(np.float32) / 2


def check_ratios(clips, noises):
    rng = np.random.default_rng(0)
    for clip in clips:
        noise = noises[rng.integers(len(noises))]
        for snr_db in (-10, 0, 20.5, 40):
            for mixed in (
                augment.mix_background_noise(clip, noise, snr_db, rng),
                augment.add_white_noise(clip, snr_db, rng),
            ):
                assert mixed.dtype == np.float32 and mixed.shape == clip.shape
                assert power_db(clip) - power_db(mixed - clip) == pytest.approx(snr_db, abs=0.1)


def test_the_ratio_asked_for_is_the_ratio_got(clips, noises):
    check_ratios(clips, noises)


@pytest.mark.recordings
def test_the_ratio_asked_for_is_the_ratio_got_on_real_clips(real_clips, real_raw):
    paths = sorted((real_raw / "train" / "audio" / "_background_noise_").glob("*.wav"))
    check_ratios(real_clips, [audio.to_waveform(audio.read_wav(path)) for path in paths])


def test_every_stretch_of_the_noise_can_come_in_and_as_it_is():
    noise = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    quiet = np.zeros(3, np.float32)
    rng = np.random.default_rng(0)
    got = {tuple(augment.mix_lowered(quiet, noise, 0, rng).tolist()) for _ in range(50)}
    assert got == {tuple(noise[:3].tolist()), tuple(noise[1:].tolist())}


def test_lowered_noise_is_that_much_lower_whatever_the_clip(clips, noises):
    rng = np.random.default_rng(0)
    second = noises[0][: len(clips[0])]
    for clip in (clips[0], clips[0] / 100):
        added = augment.mix_lowered(clip, second, 20, rng) - clip
        assert power_db(second) - power_db(added) == pytest.approx(20, abs=0.01)


@pytest.mark.parametrize("counts", [200, 1000])
def test_white_noise_in_counts(counts):
    added = augment.add_white_counts(np.zeros(100_000, np.float32), counts, np.random.default_rng(0))
    assert np.std(added) * 32768 == pytest.approx(counts, rel=0.01)
    spectrum = np.square(np.abs(np.fft.rfft(added))).reshape(-1)[:50_000].reshape(10, -1).mean(axis=1)
    assert spectrum.max() / spectrum.min() < 1.1  # white


@given(CLIPS, st.integers(-400, 400))
@EASY
def test_a_shift_brings_silence_in_and_loses_only_what_leaves(clip, n_samples):
    moved = augment.shift(clip, n_samples)
    assert moved.dtype == np.float32 and moved.shape == clip.shape
    wanted = np.array([clip[i - n_samples] if 0 <= i - n_samples < len(clip) else 0 for i in range(len(clip))])
    np.testing.assert_array_equal(moved, wanted)


@given(CLIPS, st.integers(0, 2**32))
@EASY
def test_what_asks_for_no_change_makes_none_and_nothing_changes_its_input(clip, seed):
    rng, before = np.random.default_rng(seed), clip.copy()
    for same in (
        augment.shift(clip, 0),
        augment.change_gain(clip, 0),
        augment.stretch(clip, 1.0),
        augment.add_white_counts(clip, 0, rng),
    ):
        np.testing.assert_array_equal(same, clip)
        same[:] = 7
        np.testing.assert_array_equal(clip, before)


@given(CLIPS, st.floats(-40, 40))
@EASY
def test_nothing_is_clipped_before_to_counts_and_how_much_is_can_be_asked(clip, gain_db):
    louder = augment.change_gain(clip, gain_db)
    np.testing.assert_allclose(louder, clip.astype(float) * 10 ** (gain_db / 20), rtol=1e-5, atol=1e-37)
    counts, n_clipped = audio.to_counts(louder), augment.count_clipped(louder)
    exact = np.round(louder.astype(float) * 32768)
    assert counts.dtype == np.int16
    assert n_clipped == np.count_nonzero((exact > 32767) | (exact < -32768))
    np.testing.assert_array_equal(counts, np.clip(exact, -32768, 32767))


def test_counts_come_back_as_they_were():
    counts = np.arange(-32768, 32768).astype(np.int16)
    waveform = audio.to_waveform(counts)
    np.testing.assert_array_equal(audio.to_counts(waveform), counts)
    assert augment.count_clipped(waveform) == 0


@pytest.mark.parametrize("rate", [0.7, 1.2, 2.0, 1e6])
def test_a_stretched_clip_keeps_its_pitch_and_length(rate):
    stretched = augment.stretch(tone(440), rate)
    assert stretched.dtype == np.float32 and stretched.shape == (16000,)
    end = min(16000, round(16000 / rate))
    assert not stretched[end:].any()
    if end > 4000:
        spectrum = np.abs(np.fft.rfft(stretched[1000 : end - 1000]))
        assert np.argmax(spectrum) * 16000 / (end - 2000) == pytest.approx(440, abs=5)


def test_masks_hide_no_more_than_allowed_and_reach_everywhere():
    rng = np.random.default_rng(0)
    spectrogram = rng.normal(-6, 3, (98, 40)).astype(np.float32)
    hidden = np.array([augment.mask_spectrogram(spectrogram, rng, 1, 20, 0) != spectrogram for _ in range(500)])
    assert np.array_equal(hidden.any(axis=2), hidden.all(axis=2))
    assert hidden.any(axis=2).sum(axis=1).min() == 0 and hidden.any(axis=2).sum(axis=1).max() == 20
    assert hidden.any(axis=(0, 2)).all()
    hidden = np.array([augment.mask_spectrogram(spectrogram, rng, 1, 0, 8) != spectrogram for _ in range(500)])
    assert np.array_equal(hidden.any(axis=1), hidden.all(axis=1))
    assert hidden.any(axis=1).sum(axis=1).max() == 8 and hidden.any(axis=(0, 1)).all()
    masked = augment.mask_spectrogram(spectrogram, rng, 2, 98, 40)
    np.testing.assert_allclose(masked[masked != spectrogram], spectrogram.mean())


def test_mixup_mixes_inputs_and_labels_alike(clips):
    inputs, labels = features.log_mel(np.stack(clips[:4])), np.eye(12, dtype=np.float32)[:4]
    unchanged = augment.mixup(inputs, labels, inputs[::-1], labels[::-1], 1)
    np.testing.assert_array_equal(unchanged[0], inputs)
    np.testing.assert_array_equal(unchanged[1], labels)
    mixed, mixed_labels = augment.mixup(inputs, labels, inputs[::-1], labels[::-1], 0.25)
    np.testing.assert_allclose(mixed[1], 0.25 * inputs[1] + 0.75 * inputs[2], rtol=1e-5)
    np.testing.assert_allclose(mixed_labels[1, [1, 2]], [0.25, 0.75])
    assert mixed.dtype == mixed_labels.dtype == np.float32


def test_the_same_generator_gives_the_same_clip(clips, noises):
    for change in (
        lambda rng: augment.mix_background_noise(clips[0], noises[0], 5, rng),
        lambda rng: augment.mix_lowered(clips[0], noises[0], 20, rng),
        lambda rng: augment.add_white_noise(clips[0], 5, rng),
        lambda rng: augment.add_white_counts(clips[0], 200, rng),
    ):
        one, again, other = (change(np.random.default_rng(seed)) for seed in (1, 1, 2))
        np.testing.assert_array_equal(one, again)
        assert not np.array_equal(one, other)


def in_training(clips, noises, seed=1, moment=(2, 3), **strength):
    """Clips as the waveform form of ``--augment`` makes them; what is not asked for is left out."""
    plain = {"shift_frames": 0, "noise_probability": 0.0, "snr_db": (0.0, 0.0), "gain_db": (0.0, 0.0)}
    change = changes.WaveformAugment(noises, seed, changes.Augmentation(**{**plain, **strength}))
    return change(np.stack(clips), None, moment)[0].numpy()


@pytest.fixture(scope="module")
def seconds(noises):
    return np.stack([noise[:16000] for noise in noises])


def test_in_training_what_asks_for_no_change_makes_none(clips, seconds):
    np.testing.assert_array_equal(in_training(clips, seconds), clips)


def test_in_training_a_shift_brings_silence_in(clips, seconds):
    sound = [clip + 0.01 for clip in clips]  # nowhere exactly zero
    moves = []
    for before, after in zip(sound, in_training(sound, seconds, shift_frames=10)):
        start, end = np.argmax(after != 0), np.argmax(after[::-1] != 0)
        assert start == 0 or end == 0
        moves.append(int(start - end))
        np.testing.assert_array_equal(after, augment.shift(before, moves[-1]))
    assert min(moves) < -800 < 800 < max(moves) and max(np.abs(moves)) <= 1600


def test_in_training_noise_comes_in_at_the_ratio_asked_for(clips, seconds):
    mixed = in_training(clips, seconds, noise_probability=1.0, snr_db=(10.0, 10.0))
    ratios = [power_db(clip) - power_db(after - clip) for clip, after in zip(clips, mixed)]
    np.testing.assert_allclose(ratios, 10, atol=0.1)
    untouched = np.all(in_training(clips, seconds, noise_probability=0.5) == np.stack(clips), axis=1)
    assert 0 < untouched.sum() < len(clips)
    silent = np.zeros((1, 16000), np.float32)
    np.testing.assert_array_equal(in_training(clips, silent, noise_probability=1.0), clips)
    np.testing.assert_array_equal(in_training(clips, silent[:0], noise_probability=1.0), clips)


def test_in_training_gains_lie_in_their_range(clips, seconds):
    louder = in_training(clips, seconds, gain_db=(-12.0, 6.0))
    gains = [power_db(after) - power_db(clip) for clip, after in zip(clips, louder)]
    assert -12.01 < min(gains) < -6 < 0 < max(gains) < 6.01


def test_in_training_seed_and_moment_alone_decide(clips, seconds):
    strength = {"shift_frames": 10, "noise_probability": 0.8, "gain_db": (-12.0, 6.0)}
    one = in_training(clips, seconds, **strength)
    np.testing.assert_array_equal(in_training(clips, seconds, **strength), one)
    for other in ({"seed": 2}, {"moment": (3, 3)}, {"moment": (2, 4)}):
        assert not np.array_equal(in_training(clips, seconds, **other, **strength), one)


SOUND, RNG = tone(440, 100), np.random.default_rng(0)


@pytest.mark.parametrize(
    "change",
    [
        lambda clip: augment.mix_background_noise(clip, SOUND, 10, RNG),
        lambda clip: augment.mix_lowered(clip, SOUND, 10, RNG),
        lambda clip: augment.add_white_noise(clip, 10, RNG),
        lambda clip: augment.add_white_counts(clip, 200, RNG),
        lambda clip: augment.shift(clip, 1),
        lambda clip: augment.stretch(clip, 1.2),
        lambda clip: augment.change_gain(clip, 3),
        augment.count_clipped,
    ],
)
@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (SOUND[None], "expected a waveform .n_samples,. of float32, not empty, got float32 of shape .1, 100."),
        (SOUND[:0], "not empty"),
        ((SOUND * 32767).astype(np.int16), "of float32, not empty, got int16"),
        (SOUND.astype(float), "got float64"),
        (np.array([0, np.nan], np.float32), "finite values"),
        (np.array([0, np.inf], np.float32), "finite values"),
    ],
)
def test_a_bad_waveform_is_refused(change, bad, said):
    with pytest.raises(ValueError, match=said):
        change(bad)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda: augment.mix_background_noise(SOUND, SOUND[:99], 10, RNG), "at least the clip's 100 samples, got 99"),
        (lambda: augment.mix_background_noise(SOUND, SOUND * np.float32("nan"), 10, RNG), "expected noise"),
        (lambda: augment.mix_background_noise(SOUND, 0 * SOUND, 10, RNG), "got a silent stretch of noise"),
        (lambda: augment.mix_background_noise(0 * SOUND, SOUND, 10, RNG), "got a silent clip"),
        (lambda: augment.add_white_noise(0 * SOUND, 10, RNG), "got a silent clip"),
        (lambda: augment.add_white_noise(SOUND, np.nan, RNG), "finite number .dB."),
        (lambda: augment.add_white_counts(SOUND, -1, RNG), "0 or more counts"),
        (lambda: augment.mix_lowered(SOUND, SOUND, np.inf, RNG), "finite number .dB."),
        (lambda: augment.shift(SOUND, 0.5), "whole number of samples"),
        (lambda: augment.stretch(SOUND, 0), "rate above 0"),
        (lambda: augment.change_gain(SOUND, np.nan), "finite number .dB."),
        (lambda: augment.mask_spectrogram(SOUND, RNG), "expected a log-mel spectrogram"),
        (lambda: augment.mask_spectrogram(SOUND.reshape(10, 10), RNG), "masks of 0 to 10 frames, got 20"),
        (lambda: augment.mixup(SOUND, SOUND[:5], SOUND, SOUND[:5], 1), "two batches of equal shapes"),
        (lambda: augment.mixup(SOUND, SOUND, SOUND, SOUND, 1.1), "weight from 0 to 1"),
    ],
)
def test_bad_values_are_refused_with_what_was_expected(change, said):
    with pytest.raises(ValueError, match=said):
        change()
