"""Guards: the course trains on anybody's words, split by anybody's speakers, and the labels travel along."""

import argparse

import numpy as np
import pytest
import soundfile
from conftest import burst, make_raw

import predict
import train_keras
from utils import audio, corpus, datasets, leaks, prepare, splits, store
from utils.labels import parse_keywords
from utils.system import cli, files
from utils.system.cli import CourseError

WORDS = ("lights", "music", "door")
PEOPLE = ("anna", "bo", "chris", "dana", "eli", "fay")


def make_own(folder, people=PEOPLE, words=WORDS, takes=2, name="{person}_{take}.wav"):
    """Own recordings: a folder for each word, the speaker in the file name, and half a minute of a room."""
    number = 0
    for word in words:
        (folder / word).mkdir(parents=True)
        for person in people:
            for take in range(takes):
                number += 1
                path = folder / word / name.format(person=person, take=take, number=number)
                audio.write_wav(path, burst(number, 12_000))
    (folder / "_background_noise_").mkdir()
    audio.write_wav(folder / "_background_noise_" / "room.wav", burst(999, 40 * audio.SAMPLE_RATE))
    return folder


def run(raw, **rules):
    rules = {"keywords": WORDS[:2], **rules}
    return splits.split(raw, raw.parent / "main", raw.parent / "sample", **rules)


def test_own_recordings_are_split_by_the_speaker_in_their_names(tmp_path):
    result = run(make_own(tmp_path / "mine"))
    clips = corpus.list_clips(tmp_path / "main", result.labels)
    spoken = [clip for clip in clips if clip.label != "silence"]
    speakers = {name: {corpus.parse_name(c.path)[0] for c in spoken if c.set == name} for name in corpus.SETS}
    assert sorted(len(people) for people in speakers.values()) == [1, 1, 4]
    assert set.union(*speakers.values()) == set(PEOPLE)
    assert {corpus.parse_name(c.path)[1] for c in spoken if c.label == "unknown"} == {"door"}
    assert len(spoken) == len(WORDS) * len(PEOPLE) * 2
    assert not result.warnings
    leaks.audit(tmp_path / "main", labels=result.labels)
    assert not run(tmp_path / "mine").made
    assert run(tmp_path / "mine", keywords=WORDS).made  # other rules, another tree
    assert sorted(p.name for p in (tmp_path / "main" / "train").iterdir()) == sorted((*WORDS, "silence", "unknown"))


def test_without_speakers_every_recording_stands_alone_and_a_warning_says_so(tmp_path):
    raw = make_own(tmp_path / "mine", name="take {number}.wav")
    with pytest.raises(CourseError, match="does not say who speaks"):
        run(raw)
    assert not (tmp_path / "main").exists() or not any((tmp_path / "main").glob("*/*/*"))
    result = run(raw, speakers=False)
    assert sum(sum(by_label.values()) for by_label in result.counts.values()) >= 36
    assert any("speakers are not known" in warning for warning in result.warnings)


@pytest.mark.parametrize(
    ("change", "rules", "reason"),
    [
        (lambda raw: None, {"keywords": ("lights", "heating")}, "heating holds no recordings"),
        (lambda raw: [p.unlink() for p in raw.glob("*/[c-f]*")], {}, "recordings of 2 speakers"),
        (lambda raw: (raw / "_background_noise_" / "room.wav").unlink(), {}, "holds no background noise"),
        (
            lambda raw: audio.write_wav(raw / "_background_noise_" / "room.wav", burst(1, 48_000)),
            {},
            "holds no background noise",
        ),
        (lambda raw: (raw / "testing_list.txt").write_text("door/anna_0.wav\n"), {}, "validation_list.txt is missing"),
    ],
)
def test_own_recordings_that_cannot_be_split_say_why(tmp_path, change, rules, reason):
    raw = make_own(tmp_path / "mine")
    change(raw)
    with pytest.raises(CourseError, match=reason) as caught:
        run(raw, **rules)
    assert "\n" not in str(caught.value)
    assert not any((tmp_path / "main").glob("*/*/*"))


def test_lists_beside_the_words_decide(tmp_path):
    raw = make_own(tmp_path / "mine", name="{person}_nohash_{take}.wav")
    for name, person in (("validation", "bo"), ("testing", "fay")):
        (raw / f"{name}_list.txt").write_text(
            "".join(f"{word}/{person}_nohash_{t}.wav\n" for word in WORDS for t in (0, 1))
        )
    result = run(raw)
    assert result.counts["cv"]["lights"] == result.counts["test"]["lights"] == 2
    clips = corpus.list_clips(tmp_path / "main", result.labels)
    assert {corpus.parse_name(c.path)[0] for c in clips if c.set == "cv" and c.label != "silence"} == {"bo"}
    with pytest.raises(CourseError, match="leave out --no-speakers"):
        run(raw, speakers=False)


def test_other_rates_are_passed_over_or_resampled(tmp_path):
    raw = make_own(tmp_path / "mine")
    times = np.arange(44_100 * 2) / 44_100
    stereo = np.repeat(np.sin(2 * np.pi * 1000 * times)[:, None], 2, axis=1) / 2
    soundfile.write(raw / "lights" / "anna_9.wav", stereo, 44_100)
    assert run(raw).skipped == [("lights/anna_9.wav", "2 channels instead of 1")]
    result = run(raw, resample=True)
    assert not result.skipped
    assert any("longer than a second, such as lights/anna_9.wav" in warning for warning in result.warnings)
    (path,) = (tmp_path / "main").glob("*/lights/anna_nohash_9.wav")
    samples = audio.read_wav(path)
    assert len(samples) == 32_000
    assert np.abs(np.fft.rfft(samples[:16_000].astype(float))).argmax() == 1000


def test_a_word_without_unknown_words_is_warned_of(tmp_path):
    result = run(make_own(tmp_path / "mine"), keywords=WORDS)
    assert result.warnings == ["no clip of 'unknown' in train, cv, test"]


def test_names_that_would_be_the_same_in_the_split_do_not_hide_each_other(tmp_path):
    raw = make_own(tmp_path / "mine")
    audio.write_wav(raw / "lights" / "anna_nohash_0.wav", burst(5000))
    result = run(raw)
    assert result.skipped == [("lights/anna_nohash_0.wav", "another file is already named anna_nohash_0.wav")]


def test_keywords_choose_other_words_of_the_challenge(tmp_path):
    raw = make_raw(tmp_path / "raw")
    result = run(raw, keywords=("bed", "yes"))
    assert result.labels == ("bed", "yes", "silence", "unknown")
    assert result.counts["train"]["bed"] == 8
    assert result.counts["train"]["unknown"] == 10 * 8
    prepare.prepare(raw, raw.parent / "main", raw.parent / "sample", keywords=("bed", "yes"))
    y = store.open_array(raw.parent / "main" / "preprocessed" / "train_y.bc")
    assert y.settings["labels"] == ["bed", "yes", "silence", "unknown"]
    assert y.shape[1] == 4
    assert {name.split("/")[0] for name in y.names} == set(result.labels)


@pytest.mark.parametrize(
    "text", ["", "a,,b", "a,b,A", "silence", "yes,unknown", "a/b", "../a", "_background_noise_", "a\nb"]
)
def test_what_is_no_keyword_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError):
        parse_keywords(text)


def test_from_own_recordings_to_an_answer(tmp_path, monkeypatch, capsys, tiny):
    raw = make_own(tmp_path / "mine", words=("grün", "声", "door"))
    monkeypatch.chdir(tmp_path)
    common = ["--raw", str(raw), "--main", "data/main", "--sample", "data/sample", "--keywords", "grün, 声"]
    assert cli.run(prepare.main, common) == 0
    assert cli.run(train_keras.main, ["--keywords", "声,grün", "--epochs", "1"]) == 1
    assert "was prepared for grün,声,silence,unknown" in capsys.readouterr().err
    assert cli.run(train_keras.main, ["--keywords", "grün,声", "--epochs", "1", "--batch_size", "4"]) == 0
    run_folder = tmp_path / "runs" / "latest"
    assert (run_folder / "labels.txt").read_text(encoding="utf-8") == "grün\n声\nsilence\nunknown\n"
    result = files.read_json(run_folder / "result.json")
    assert list(result["per_label"]) == ["grün", "声", "silence", "unknown"]
    assert np.shape(result["confusion"]) == (4, 4)
    assert files.read_json(run_folder / "config.json")["keywords"] == ["grün", "声"]
    assert cli.run(train_keras.main, ["--resume", "--epochs", "2", "--keywords", "grün,声"]) == 0
    capsys.readouterr()
    assert cli.run(predict.main, [str(raw / "grün")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12
    assert {line.removesuffix("  not sure").split()[-2] for line in lines} <= {"grün", "声", "silence", "unknown"}


def test_random_data_takes_keywords_too(tmp_path, monkeypatch, tiny):
    monkeypatch.chdir(tmp_path)
    flags = ["--random_data", "--random_examples", "64", "--keywords", "a,b", "--max_steps", "2"]
    assert cli.run(train_keras.main, flags) == 0
    assert (tmp_path / "runs/random/labels.txt").read_text().split() == ["a", "b", "silence", "unknown"]


def test_arrays_of_different_labels_are_not_mixed(tmp_path, capsys):
    datasets.write_random_store(tmp_path, 16, 0)
    other = tmp_path / "other"
    datasets.write_random_store(other, 16, 0, ("a", "silence", "unknown"))
    (tmp_path / "cv_X.bc").rename(tmp_path / "old_X")
    (tmp_path / "cv_y.bc").rename(tmp_path / "old_y")
    (other / "cv_X.bc").rename(tmp_path / "cv_X.bc")
    (other / "cv_y.bc").rename(tmp_path / "cv_y.bc")
    assert cli.run(train_keras.main, ["--path_to_data", str(tmp_path), "--epochs", "1"]) == 1
    assert "other labels than each other" in capsys.readouterr().err
