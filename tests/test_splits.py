"""Guards: no speaker, sound or stretch of noise in two sets; recordings untouched; a killed run harmless."""

import itertools
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import KILLED, SPEAKERS, burst, dying_after, make_raw, tree

from utils import audio, corpus, leaks, prepare, splits
from utils.labels import KEYWORDS, LABELS
from utils.system import files
from utils.system.cli import CourseError


def run(raw):
    return splits.split(raw, raw.parent / "main", raw.parent / "sample")


def test_lists_decide_and_words_become_labels(raw):
    before = tree(raw)
    result = run(raw)
    main = raw.parent / "main"
    assert tree(raw) == before
    clips = corpus.list_clips(main)
    spoken = [clip for clip in clips if clip.label != "silence"]
    assert {corpus.parse_name(c.path)[0] for c in spoken if c.set == "cv"} == {SPEAKERS[0]}
    assert {corpus.parse_name(c.path)[0] for c in spoken if c.set == "test"} == {SPEAKERS[1]}
    assert {(c.label, corpus.parse_name(c.path)[1]) for c in spoken} == {
        *((word, word) for word in KEYWORDS),
        ("unknown", "bed"),
        ("unknown", "cat"),
    }
    assert result.counts["train"]["unknown"] == 16
    assert (main / "train" / "unknown" / f"{SPEAKERS[2]}_nohash_0_bed.wav").samefile(
        raw / "train" / "audio" / "bed" / f"{SPEAKERS[2]}_nohash_0.wav"
    )
    sample = corpus.count_clips(raw.parent / "sample")
    assert {name: by_label["yes"] for name, by_label in sample.items()} == {"train": 8, "cv": 1, "test": 1}
    assert {name: by_label["silence"] for name, by_label in sample.items()} == {"train": 20, "cv": 4, "test": 4}


def test_a_second_run_finds_nothing_to_do_and_a_change_is_noticed(raw):
    assert run(raw).made
    first = tree(raw.parent / "main")
    assert not run(raw).made
    assert tree(raw.parent / "main") == first
    (raw.parent / "main" / "train" / "yes" / f"{SPEAKERS[5]}_nohash_0.wav").unlink()
    assert run(raw).made
    assert tree(raw.parent / "main") == first
    audio.write_wav(raw / "train" / "audio" / "yes" / f"{SPEAKERS[5]}_nohash_1.wav", burst(77))
    assert run(raw).counts["train"]["yes"] == 9


@pytest.mark.posix
def test_recordings_that_are_relative_links_are_read(raw):
    place = raw / "train" / "audio" / "yes"
    (raw.parent / "store").mkdir()
    for path in list(place.iterdir()):
        path.rename(raw.parent / "store" / path.name)
        path.symlink_to(Path("..", "..", "..", "..", "store", path.name))
    run(raw)
    clip = raw.parent / "main" / "train" / "yes" / f"{SPEAKERS[2]}_nohash_0.wav"
    assert not clip.is_symlink()
    assert len(audio.read_wav(clip))


def test_a_file_system_without_links_gets_copies(raw, monkeypatch):
    def no_links(source, target):
        raise PermissionError(1, "no links here")

    monkeypatch.setattr("os.link", no_links)
    run(raw)
    path = raw.parent / "main" / "train" / "yes" / f"{SPEAKERS[2]}_nohash_0.wav"
    original = raw / "train" / "audio" / "yes" / path.name
    assert path.read_bytes() == original.read_bytes()
    assert not path.samefile(original)
    with pytest.raises(FileExistsError):  # as a link would
        files.link_or_copy(original, path)


def test_bad_files_are_listed_with_their_reason_and_left_out(raw):
    bad = raw / "train" / "audio" / "yes"
    (bad / "bad00001_nohash_0.wav").write_bytes(b"")
    (bad / "bad00002_nohash_0.wav").write_bytes(b"RIFF" + bytes(40))
    audio.write_wav(bad / "bad00003_nohash_0.wav", burst(1), sample_rate=8000)
    result = run(raw)
    assert dict(result.skipped) == {
        "yes/bad00001_nohash_0.wav": "empty file",
        "yes/bad00002_nohash_0.wav": "not a wav file",
        "yes/bad00003_nohash_0.wav": "8000 Hz instead of 16000",
    }
    assert (raw.parent / "main" / "skipped.csv").read_text().count("\n") == 4
    assert result.counts["train"]["yes"] == 8
    assert run(raw).skipped == result.skipped  # a run that does nothing still tells


def test_the_same_audio_in_two_sets_leaves_training(raw):
    folder = raw / "train" / "audio" / "yes"
    (folder / f"{SPEAKERS[4]}_nohash_9.wav").write_bytes((folder / f"{SPEAKERS[1]}_nohash_0.wav").read_bytes())
    result = run(raw)
    assert result.skipped == [
        (f"yes/{SPEAKERS[4]}_nohash_9.wav", f"the same audio as yes/{SPEAKERS[1]}_nohash_0.wav in test")
    ]
    leaks.audit(raw.parent / "main")


def test_the_same_audio_under_two_words_is_warned_of(raw):
    source = raw / "train" / "audio" / "yes" / f"{SPEAKERS[4]}_nohash_0.wav"
    (raw / "train" / "audio" / "no" / f"{SPEAKERS[4]}_nohash_7.wav").write_bytes(source.read_bytes())
    result = run(raw)
    assert len(result.warnings) == 1
    assert "under two words" in result.warnings[0]
    assert run(raw).warnings == result.warnings


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda train: (train / "validation_list.txt").unlink(), "validation_list.txt is missing"),
        (
            lambda train: (train / "testing_list.txt").write_text(f"yes/{SPEAKERS[1]}_nohash_0.wav\n"),
            f"speaker {SPEAKERS[1]} is in two sets",
        ),
        (lambda train: (train / "testing_list.txt").write_text("yes/nobody_nohash_0.wav\n"), "do not exist"),
        (
            lambda train: (train / "testing_list.txt").write_text((train / "validation_list.txt").read_text()),
            "in both lists",
        ),
    ],
)
def test_lists_that_leak_are_refused_and_nothing_is_made(raw, change, reason):
    change(raw / "train")
    with pytest.raises(CourseError, match=reason):
        run(raw)
    assert not corpus.list_clips(raw.parent / "main")


def put(folder, path, samples):
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    audio.write_wav(folder / path, samples)


@pytest.mark.parametrize(
    ("paths", "reason"),
    [
        (("train/yes/a_nohash_0.wav", "cv/no/a_nohash_0.wav"), "speaker a is in two sets"),
        (("train/yes/a_nohash_0.wav", "test/unknown/a_nohash_0_bed.wav"), "speaker a is in two sets"),
        (("train/silence/hum_at_0.wav", "cv/silence/hum_at_16000.wav"), "less than a second apart"),
        (("train/silence/hum_at_0.wav", "cv/silence/hum_at_31999.wav"), "less than a second apart"),
    ],
)
def test_the_audit_raises_on_a_leak(tmp_path, paths, reason):
    for number, path in enumerate(paths):
        put(tmp_path, path, burst(number))
    with pytest.raises(corpus.LeakError, match=reason):
        leaks.audit(tmp_path)


def test_the_audit_raises_on_the_same_sound_in_two_sets(tmp_path):
    put(tmp_path, "train/yes/a_nohash_0.wav", burst(1))
    put(tmp_path, "test/yes/b_nohash_0.wav", burst(1))
    with pytest.raises(corpus.LeakError, match="same audio is in two sets"):
        leaks.audit(tmp_path)


def test_the_audit_lets_a_clean_tree_pass(tmp_path):
    put(tmp_path, "train/yes/a_nohash_0.wav", burst(1))
    put(tmp_path, "cv/yes/b_nohash_0.wav", burst(2))
    put(tmp_path, "train/silence/hum_at_0.wav", burst(3))
    put(tmp_path, "cv/silence/hum_at_32000.wav", burst(4))
    assert leaks.audit(tmp_path).speakers == {"train": 1, "cv": 1, "test": 0}


@pytest.mark.parametrize("seconds", [8, 61, 95])
@pytest.mark.parametrize("wanted", [1, 12, 300])
def test_silence_is_cut_from_separate_stretches_without_copies(seconds, wanted):
    n_samples = seconds * 16000 + 123
    starts = splits.silence_starts(n_samples, dict.fromkeys(corpus.SETS, wanted))
    spans = [(min(s), max(s) + 16000) for s in starts.values() if s]
    assert all(after[0] - before[1] >= 16000 for before, after in itertools.pairwise(spans))
    assert max(max(s, default=0) for s in starts.values()) + 16000 <= n_samples
    for name, chosen in starts.items():
        assert len(set(chosen)) == len(chosen)
        if seconds > 60:
            assert len(chosen) >= wanted
            assert len(chosen) >= {"train": 43, "cv": 7, "test": 7}[name]


def test_balance_brings_unknown_and_silence_to_the_median_keyword():
    clips = [corpus.Clip("train", word, f"{word}/{i}_nohash_0.wav") for word in KEYWORDS for i in range(20)]
    clips += [corpus.Clip("train", "unknown", f"unknown/{i}_nohash_0_bed.wav") for i in range(90)]
    clips += [corpus.Clip("train", "unknown", f"unknown/{i}_nohash_0_cat.wav") for i in range(8)]
    clips += [corpus.Clip("train", "silence", f"silence/hum_at_{i}.wav") for i in range(50)]
    chosen = prepare.balance(clips)
    assert Counter(clip.label for clip in chosen) == dict.fromkeys(LABELS, 20)
    words = Counter(corpus.parse_name(clip.path)[1] for clip in chosen if clip.label == "unknown")
    assert words == {"bed": 12, "cat": 8}  # a rare word is kept whole
    assert len(set(chosen)) == len(chosen)


@pytest.mark.parametrize("moved", [0, 1, 2, 3])
def test_a_run_that_dies_between_two_moves_then_run_again_gives_the_same_tree(raw, tmp_path, monkeypatch, moved):
    other = make_raw(tmp_path / "other" / "raw")
    run(other)
    with dying_after(moved, monkeypatch):
        run(raw)
    run(raw)
    for name in ("main", "sample"):
        found, wanted = tree(raw.parent / name), tree(other.parent / name)
        assert found.keys() == wanted.keys()
        assert all(found[path] == wanted[path] for path in wanted if path.endswith(".wav"))


@pytest.mark.slow
def test_a_run_killed_at_any_moment_then_run_again_gives_the_same_tree(tmp_path):
    raw = make_raw(tmp_path / "data" / "raw", speakers=[f"{n:08x}" for n in range(60)], seconds=60)
    start = time.perf_counter()
    run(raw)
    seconds = time.perf_counter() - start
    whole = {name: tree(raw.parent / name) for name in ("main", "sample")}
    places = ", ".join(repr(str(raw.parent / name)) for name in ("raw", "main", "sample"))
    code = f"from utils import splits; print('ready', flush=True); splits.split({places})"
    killed = 0
    for share in np.linspace(0, 0.9, 8):
        note = json.loads((raw.parent / "main" / "split.json").read_text())
        (raw.parent / "main" / "split.json").write_text(json.dumps({**note, "inputs": None}))  # to be made anew
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(share * seconds)
        process.kill()
        killed += process.wait() == KILLED
        process.stdout.close()
    assert killed >= 2
    run(raw)
    assert {name: tree(raw.parent / name) for name in ("main", "sample")} == whole


def test_the_split_names_its_data(raw):
    (raw / "source.json").write_text(json.dumps({"name": "built-in voices", "parts": {}}))
    run(raw)
    assert json.loads((raw.parent / "main" / "split.json").read_text())["dataset"] == "built-in voices"


def test_silence_names_carry_their_recording():
    assert corpus.parse_name("silence/running_tap_at_16000.wav") == ("running_tap", "silence")


def test_the_audit_raises_on_a_listed_clip_that_does_not_exist(raw):
    run(raw)
    leaks.audit(raw.parent / "main", raw)
    (raw / "train" / "audio" / "yes" / f"{SPEAKERS[0]}_nohash_0.wav").unlink()
    with pytest.raises(corpus.LeakError, match="1 listed clips do not exist"):
        leaks.audit(raw.parent / "main", raw)
