"""Guards: an array is read back as written, or named as broken; a store streams every row once."""

import json
import subprocess
import sys
import time

import bcolz
import numpy as np
import pytest
from conftest import tree

from utils import datasets, features, store
from utils.labels import LABELS, one_hot
from utils.system.cli import CourseError


def write(path, rows, names=(), settings=None):
    blocks = (rows[start : start + 100] for start in range(0, len(rows), 100))
    store.write_array(path, blocks, rows.shape[1:], rows.dtype, settings, names)
    return path


@pytest.fixture
def rows():
    return np.random.default_rng(0).integers(-3000, 3000, (333, 1000)).astype(np.int16)


def test_rows_names_and_settings_come_back(tmp_path, rows):
    names = [f"yes/{i}.wav" for i in range(len(rows))]
    array = store.open_array(write(tmp_path / "a.bc", rows, names, {"seed": 1}))
    assert np.array_equal(array[:], rows)
    assert np.array_equal(array[100:201], rows[100:201])
    assert (array.names, array.settings, array.dtype) == (names, {"seed": 1}, np.int16)
    assert np.array_equal(bcolz.open(str(tmp_path / "a.bc"), "r")[:], rows)  # others read it as bcolz
    assert store.is_done(tmp_path / "a.bc", {"seed": 1})
    assert not store.is_done(tmp_path / "a.bc", {"seed": 2})


def test_a_truncated_or_altered_array_is_named_and_not_read(tmp_path, rows):
    write(tmp_path / "a.bc", rows)
    chunk = tmp_path / "a.bc" / "data" / "__2.blp"
    content = chunk.read_bytes()
    chunk.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    array = store.open_array(tmp_path / "a.bc")
    assert np.array_equal(array.read_chunk(1), rows[64:128])
    with pytest.raises(store.StoreError, match=r"__2.blp was altered"):
        array.read_chunk(2)
    with pytest.raises(store.StoreError, match=r"__2.blp was altered"):
        array[:]
    chunk.unlink()
    with pytest.raises(store.StoreError, match=r"a.bc is incomplete"):
        store.open_array(tmp_path / "a.bc")


def test_an_array_without_manifest_or_with_a_false_one_is_refused(tmp_path, rows):
    path = write(tmp_path / "a.bc", rows)
    manifest = json.loads((path / "manifest.json").read_text())
    for change in ({"shape": [332, 1000]}, {"dtype": "int32"}, {"shape": None}):
        (path / "manifest.json").write_text(json.dumps(manifest | change))
        with pytest.raises(store.StoreError, match=r"a.bc"):
            store.open_array(path)
    (path / "manifest.json").unlink()
    with pytest.raises(store.StoreError, match="never finished"):
        store.open_array(path)
    with pytest.raises(store.StoreError, match="is missing"):
        store.open_array(tmp_path / "b.bc")


def test_an_array_of_pickled_objects_is_not_opened(tmp_path):
    bcolz.carray(np.array([{"a": 1}] * 10, dtype=object), rootdir=str(tmp_path / "a.bc"), mode="w").flush()
    with pytest.raises(store.StoreError, match="not numbers"):
        store.open_array(tmp_path / "a.bc")


def test_a_failed_or_killed_writer_leaves_the_old_array(tmp_path, rows):
    write(tmp_path / "a.bc", rows)
    with pytest.raises(ValueError, match="takes rows of int16"):
        store.write_array(tmp_path / "a.bc", [rows.astype(float)], (1000,), np.int16)
    code = f"""
import numpy as np
from utils import store

def blocks():
    print("started", flush=True)
    while True:
        yield np.zeros((100, 1000), np.int16)

store.write_array(r'{tmp_path / "a.bc"}', blocks(), (1000,), np.int16)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    process.stdout.readline()
    time.sleep(0.2)
    process.kill()
    process.wait()
    process.stdout.close()
    assert np.array_equal(store.open_array(tmp_path / "a.bc")[:], rows)
    write(tmp_path / "a.bc", rows[:10])
    assert [p.name for p in tmp_path.iterdir()] == ["a.bc"]


def make_store(folder, n_rows=700):
    """Waveforms whose first sample is their row number, in the layout of ``prepare``."""
    rng = np.random.default_rng(1)
    for name in ("train", "cv", "test"):
        n = n_rows if name == "train" else 50
        X = rng.integers(-3000, 3000, (n, 16000)).astype(np.int16)
        X[:, 0] = np.arange(n)
        labels = [LABELS[i % 12] for i in range(n)]
        names = [f"{label}/{i:08x}_nohash_0.wav" for i, label in enumerate(labels)]
        write(folder / f"{name}_X.bc", X, names)
        write(folder / f"{name}_y.bc", one_hot(labels), names)
    return folder


def order(clip_set, seed, batch_size=64):
    batches = list(datasets.epoch_batches(clip_set, batch_size, np.random.default_rng(seed)))
    numbers = np.concatenate([X[:, 0] for X, _ in batches])
    assert all(np.array_equal(y.argmax(axis=1), X[:, 0] % 12) for X, y in batches)  # labels stay with rows
    assert [len(X) for X, _ in batches[:-1]] == [batch_size] * (len(batches) - 1)
    return numbers


def test_an_epoch_has_every_row_once_in_an_order_that_the_seed_gives(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "BUFFER_CHUNKS", 4)
    clip_set = datasets.open_store(make_store(tmp_path))["train"]
    first = order(clip_set, 1)
    assert sorted(first) == list(range(700))
    assert np.array_equal(first, order(clip_set, 1))
    assert not np.array_equal(first, order(clip_set, 2))
    assert np.abs(np.diff(first.astype(int))).mean() > 50  # far from the order on disk
    assert len(np.unique(first[:64] // 64)) >= 3  # a batch mixes chunks


def test_some_clips_of_two_sets_are_an_epoch_of_their_own(tmp_path):
    sets = datasets.open_store(make_store(tmp_path, 200))
    is_kept = np.arange(250) % 3 > 0
    some = sets["train"].joined(sets["cv"]).only(is_kept)
    wanted = np.append(np.arange(200), np.arange(50))[is_kept]
    assert len(some) == len(some.names) == is_kept.sum()
    assert sorted(order(some, 1)) == sorted(wanted)
    is_even = wanted % 2 == 0
    rows = np.concatenate([X[:, 0] for X, _ in some.only(is_even).blocks()])
    assert np.array_equal(rows, wanted[is_even])
    train = sets["train"].joined(sets["cv"]).only(np.arange(250) < 200)
    assert train.names == sets["train"].names  # though nothing is left of cv
    relabelled = some.with_labels(np.roll(some.y, 1, axis=1))
    for X, y in relabelled.blocks():
        assert np.array_equal(y.argmax(axis=1), (X[:, 0] + 1) % len(LABELS))
    assert some.only(is_even).names == [name for name in some.names if int(name.split("/")[1][:8], 16) % 2 == 0]


def test_the_pipeline_scales_to_one_and_starts_at_any_epoch(tmp_path):
    clip_set = datasets.open_store(make_store(tmp_path, 130))["train"]
    batches = [X.numpy() for X, _ in datasets.training_dataset(clip_set, 64, seed=3).take(6)]
    assert batches[0].dtype == np.float32
    assert np.abs(batches[0]).max() < 0.1
    second = [X.numpy() for X, _ in datasets.training_dataset(clip_set, 64, seed=3, first_epoch=1).take(3)]
    assert all(np.array_equal(a, b) for a, b in zip(batches[3:], second))


def test_published_seven_part_files_are_read(tmp_path):
    rng = np.random.default_rng(2)
    n_rows = 12
    for name, parts in (("train", range(1, 8)), ("cv", [""]), ("test", [""])):
        for part in parts:
            rows = rng.integers(-32768, 32767, (n_rows, 16000)).astype(np.float64)
            bcolz.carray(rows, rootdir=str(tmp_path / f"{name}_X{part}.bc"), mode="w").flush()
        extra = 6 if name == "train" else 0
        y = np.eye(12)[rng.integers(0, 12, n_rows * len(list(parts)) + extra)]
        bcolz.carray(y, rootdir=str(tmp_path / f"{name}_y.bc"), mode="w").flush()
    sets = datasets.open_store(tmp_path)
    assert [len(sets[name]) for name in ("train", "cv", "test")] == [84, 12, 12]
    assert sets["train"].names == []
    X = np.concatenate([rows for rows, _ in sets["train"].blocks()])
    assert X.shape == (84, 16000)
    batch = next(iter(datasets.evaluation_dataset(sets["train"], 84)))[0].numpy()
    assert np.abs(batch).max() <= 1  # counts on disk, one scale in the model
    spectra = datasets.log_mel_set(sets["train"], tmp_path / "features")
    assert spectra.inputs[0].shape == (84, features.N_FRAMES, features.N_MELS)


def test_log_mel_is_computed_once_and_anew_when_the_clips_change(tmp_path):
    clip_set = datasets.open_store(make_store(tmp_path, 80))["train"]
    path = tmp_path / "train_X_log_mel.bc" / "manifest.json"
    datasets.log_mel_set(clip_set, tmp_path)
    made = path.stat().st_mtime_ns
    datasets.log_mel_set(clip_set, tmp_path)
    assert path.stat().st_mtime_ns == made
    changed = datasets.open_store(make_store(tmp_path, 81))["train"]
    assert len(datasets.log_mel_set(changed, tmp_path).inputs[0]) == 81


def test_labels_of_other_clips_are_refused(tmp_path):
    make_store(tmp_path, 80)
    write(tmp_path / "cv_y.bc", one_hot(["yes"] * 50), [f"yes/{i}.wav" for i in range(50)])
    with pytest.raises(CourseError, match="belongs to other clips"):
        datasets.open_store(tmp_path)
    with pytest.raises(CourseError, match="is missing"):
        datasets.open_store(tmp_path / "nowhere")


def test_the_same_rows_give_the_same_bytes(tmp_path):
    rows = np.random.default_rng(0).normal(0, 300, (256, 16_000)).astype(np.int16)
    written = [tree(write(tmp_path / name, rows)) for name in "abc"]
    assert written[0] == written[1] == written[2]
