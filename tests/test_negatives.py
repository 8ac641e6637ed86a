"""Guards: what is made is sound, the same again, of every kind wherever one looks, and in training alone."""

import numpy as np
import pytest

from utils import audio, datasets, features, negatives, training
from utils.labels import SILENCE, UNKNOWN
from utils.nets.changes import Augmentation

KINDS = [(label, kind) for label, kinds in negatives.KINDS.items() for kind in kinds]


@pytest.fixture(scope="module")
def clips():
    """Short made words, one with its sound at the very end, and one of a few samples."""
    rng = np.random.default_rng(0)
    clips = np.zeros((8, audio.CLIP_SAMPLES), np.int16)
    for row, length in zip(clips, (16_000, 8000, 5000, 3000, 1000, 200, 8000, 8000)):
        row[-length:] = rng.normal(0, 3000, length)
    clips[-1] = 0
    clips[-1, 5] = 1
    return clips


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    datasets.write_random_store(folder, 96, 0)
    return folder


@pytest.mark.parametrize(("label", "kind"), KINDS)
def test_each_kind_is_sound_of_many_levels_and_the_same_again(label, kind, clips):
    made = np.stack([negatives.make(label, kind, clips, [1, i]) for i in range(12)])
    again = np.stack([negatives.make(label, kind, clips, [1, i]) for i in range(12)])
    assert made.dtype == np.int16
    assert made.shape == (12, audio.CLIP_SAMPLES)
    assert np.array_equal(made, again)
    assert len(np.unique(made, axis=0)) == (12 if kind != "nothing" else len(np.unique(made, axis=0)))
    if kind != "nothing":
        levels_db = 10 * np.log10(np.mean(np.square(audio.to_waveform(made)), axis=1) + 1e-12)
        assert np.ptp(levels_db) > 5
        assert levels_db.max() < 0


def test_nothing_holds_a_file_of_zeros(clips):
    assert any(not negatives.make(SILENCE, "nothing", clips, [1, i]).any() for i in range(20))


def test_any_stretch_of_what_is_made_has_every_kind_by_its_share():
    planned = negatives.plan(3000)
    assert set(planned) == set(KINDS)
    assert set(planned[1000:1400]) == set(KINDS)
    for first in (0, 1000, 2000):
        share = np.mean([label == SILENCE for label, _ in planned[first : first + 500]])
        assert share == pytest.approx(negatives.SHARES[SILENCE], abs=0.02)


def test_made_clips_are_kept_and_other_recordings_make_others(folder, tmp_path):
    recorded = datasets.open_store(folder)["train"]
    made = datasets.made_set(recorded, tmp_path, as_log_mel=False)
    manifest = (tmp_path / "train_made.bc" / "manifest.json").read_bytes()
    assert len(made) == datasets.MADE_EPOCHS * datasets.count_made(96)
    assert set(made.labels) == {SILENCE, UNKNOWN}
    datasets.made_set(recorded, tmp_path, as_log_mel=False)
    assert (tmp_path / "train_made.bc" / "manifest.json").read_bytes() == manifest
    spectrograms = datasets.made_set(recorded, tmp_path, as_log_mel=True)
    expected = features.log_mel(audio.to_waveform(made.inputs[0][0:10]))
    np.testing.assert_allclose(spectrograms.inputs[0][0:10], expected, atol=1e-4)
    assert np.array_equal(spectrograms.y, made.y)
    datasets.write_random_store(tmp_path / "other", 96, 1)
    datasets.made_set(datasets.open_store(tmp_path / "other")["train"], tmp_path, as_log_mel=False)
    assert (tmp_path / "train_made.bc" / "manifest.json").read_bytes() != manifest


def test_each_epoch_shows_all_recordings_and_other_made_clips(folder, tmp_path):
    sets = datasets.open_store(folder)
    train, cv = training.network_inputs(sets, False, folder, tmp_path, with_negatives=True)
    n_made = datasets.count_made(96)
    assert len(train) == 96 + n_made
    epochs = [np.concatenate([rows for rows, _ in train.of_epoch(epoch).blocks()]) for epoch in range(4)]
    for rows in epochs:
        assert len(rows) == len(train)
        assert np.array_equal(rows[:96], epochs[0][:96])
    made = np.concatenate([rows[96:] for rows in epochs])
    assert len(np.unique(made, axis=0)) > 3 * n_made
    assert np.array_equal(np.concatenate([rows for rows, _ in train.of_epoch(2).blocks()]), epochs[2])
    assert len(cv) == len(sets["cv"])
    assert not any("made" in name for name in cv.names)


@pytest.mark.parametrize("as_log_mel", [True, False])
def test_noise_that_is_mixed_into_words_is_made_as_well_as_recorded(as_log_mel, folder, tmp_path):
    sets = datasets.open_store(folder)
    train, _ = training.network_inputs(sets, as_log_mel, folder, tmp_path, with_negatives=True)
    n_silent = {name: of.labels.count(SILENCE) for name, of in (("recorded", train.recorded), ("made", train.made))}
    augment = training.make_augment(train, 0, Augmentation())
    assert len(augment._noise) == sum(min(n, training.NOISE_CLIPS // 2) for n in n_silent.values())
    assert min(n_silent.values()) > 0
    for X, y in datasets.training_dataset(train, 32, 0, augment=augment).take(5):
        assert np.isfinite(X).all()
        assert np.array_equal(np.sum(y, axis=1), np.ones(len(y)))


def test_a_resumed_epoch_shows_what_it_would_have_shown(folder, tmp_path):
    sets = datasets.open_store(folder)
    train, _ = training.network_inputs(sets, True, folder, tmp_path, with_negatives=True)
    n_steps = datasets.steps_per_epoch(train, 32)
    whole = [X.numpy() for X, _ in datasets.training_dataset(train, 32, seed=3).take(3 * n_steps)]
    resumed = [X.numpy() for X, _ in datasets.training_dataset(train, 32, seed=3, first_epoch=2).take(n_steps)]
    assert all(map(np.array_equal, whole[2 * n_steps :], resumed))


def test_words_of_ones_own_have_made_clips_too(tmp_path):
    labels = ("hallo", "tschüss", SILENCE, UNKNOWN)
    datasets.write_random_store(tmp_path, 64, 0, labels)
    made = datasets.made_set(datasets.open_store(tmp_path)["train"], tmp_path, as_log_mel=True)
    assert made.label_order == labels
    assert set(made.labels) == {SILENCE, UNKNOWN}
