"""Guards: words are heard in long recordings, however these are cut; what is scored is what was said."""

import dataclasses
import json
import sys
import types

import numpy as np
import pytest

import predict
from utils import audio, features, recogniser, stream, trained, voices
from utils.labels import LABELS, SILENCE
from utils.system import cli

WORDS = ("yes", "right", "on", "left")


@pytest.fixture(scope="module")
def model():
    """The network that comes with the course."""
    return recogniser.load(trained.PRETRAINED)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """Four built-in words, two seconds apart, and a little noise."""
    paths = voices.make_examples(tmp_path_factory.mktemp("words"), WORDS)
    gap = np.random.default_rng(0).normal(0, 20, 2 * audio.SAMPLE_RATE).astype(np.int16)
    return np.concatenate([piece for path in paths for piece in (gap, audio.read_wav(path))])


class Recorder:
    """Stands in for a recogniser: keeps what it is asked."""

    labels, listen, step_s = LABELS, None, None

    def __init__(self):
        self.windows = []

    def from_log_mel(self, log_mel):
        self.windows.append(log_mel)
        return np.full((len(log_mel), len(LABELS)), 1 / len(LABELS), np.float32)


def feed(model, samples, sizes):
    heard, start = stream.Stream(model), 0
    found = []
    for size in sizes:
        found += heard.feed(samples[start : start + size])
        start += size
    found += heard.feed(samples[start:]) + heard.finish()
    return found, heard.decoder.probabilities


def test_how_samples_are_cut_changes_nothing(model, spoken):
    whole, last = feed(model, spoken, [])
    assert [word.label for word in whole]
    rng = np.random.default_rng(1)
    for sizes in ([160] * 1200, rng.integers(0, 5000, 60), [1, 479, 1, 15_519, 1, 50_000]):
        cut, cut_last = feed(model, spoken, sizes)
        assert [word[:2] for word in cut] == [word[:2] for word in whole]
        np.testing.assert_allclose([word[2] for word in cut], [word[2] for word in whole], atol=1e-5)
        np.testing.assert_allclose(cut_last, last, atol=1e-5)


def test_each_window_is_the_spectrogram_of_the_second_before(spoken):
    recorder = Recorder()
    list(stream.Stream(recorder).listen(spoken[:40_000]))
    windows = np.concatenate(recorder.windows)
    padded = np.concatenate([np.zeros(audio.CLIP_SAMPLES, np.int16), spoken[:40_000]])
    starts = np.arange(len(windows)) * stream.STEP_FRAMES * features.HOP_LENGTH
    seconds = np.stack([padded[start : start + audio.CLIP_SAMPLES] for start in starts])
    assert len(windows) == 1 + 40_000 // 800
    np.testing.assert_allclose(windows, features.log_mel(audio.to_waveform(seconds)), atol=1e-4)


def test_words_are_heard_once_at_their_time(model, spoken):
    found, _ = feed(model, spoken, [])
    for number, word in enumerate(WORDS):
        start = 3 * number + 2
        heard = [d.label for d in found if start <= d.seconds < start + 2]
        assert heard == [word]


def test_probabilities_are_averaged_and_after_a_word_nothing_is_heard_for_a_while():
    rule = stream.Rule(threshold=0.5, smoothing_s=0.2, refractory_s=0.5)
    yes, no = np.eye(len(LABELS), dtype=np.float32)[[LABELS.index("yes"), LABELS.index("no")]]
    blank = np.eye(len(LABELS), dtype=np.float32)[LABELS.index(SILENCE)]
    once = [blank] * 8 + [yes] + [blank] * 8
    assert stream.Decoder(LABELS, rule).decode(np.array(once)) == []
    rows = np.array([blank] * 4 + [yes] * 4 + [no] * 4 + [blank] * 8 + [no] * 4)
    found = stream.Decoder(LABELS, rule).decode(rows)
    # Two of four steps reach the threshold; "no" right after "yes" falls into the refractory time.
    assert [(word.label, round(word.seconds, 2)) for word in found] == [("yes", 0.25), ("no", 1.05)]
    decoder = stream.Decoder(LABELS, rule)
    assert [word for row in rows for word in decoder.decode(row[None])] == found


def test_a_word_is_as_probable_as_at_its_peak_however_the_steps_come():
    rule = stream.Rule(threshold=0.3, smoothing_s=0.2, refractory_s=1.0)
    rows = np.zeros((12, len(LABELS)), np.float32)
    rows[:, LABELS.index(SILENCE)] = 1
    rows[4:7, LABELS.index("go")] = 0.2, 0.9, 0.4
    for pieces in (1, 5, len(rows)):
        decoder = stream.Decoder(LABELS, rule)
        (word,) = [word for piece in np.array_split(rows, pieces) for word in decoder.decode(piece)]
        assert word.probability == pytest.approx(0.9)


def test_a_word_is_heard_again_only_after_it_has_ended():
    rule = stream.Rule(threshold=0.5, smoothing_s=0.05, refractory_s=0.5)
    yes, no, blank = np.eye(len(LABELS), dtype=np.float32)[[LABELS.index(label) for label in ("yes", "no", SILENCE)]]
    long = [blank] * 4 + [yes] * 40 + [blank] + [yes] * 4 + [blank] * 8 + [no] * 30 + [yes] * 4
    for pieces in (1, 13, len(long)):
        decoder = stream.Decoder(LABELS, rule)
        found = [word for piece in np.array_split(long, pieces) for word in decoder.decode(piece)]
        assert [(word.label, round(word.seconds, 2)) for word in found] == [
            *[("yes", 0.2), ("yes", 2.25), ("no", 2.85), ("yes", 4.35)]
        ]


def test_a_word_among_unknown_ones_is_not_heard():
    rule = stream.Rule(threshold=0.3, smoothing_s=0.6, refractory_s=1.0, veto=1.0)
    rows = np.zeros((36, len(LABELS)), np.float32)
    rows[:, LABELS.index(SILENCE)] = 1
    for step in range(12, 20):
        rows[step] = np.eye(len(LABELS))[LABELS.index("yes")]
    assert [word.label for word in stream.Decoder(LABELS, rule).decode(rows)] == ["yes"]
    rows[:12] = rows[20:] = np.eye(len(LABELS))[LABELS.index("unknown")]
    assert stream.Decoder(LABELS, rule).decode(rows[:18]) == []
    without = dataclasses.replace(rule, veto=0.0)
    assert [word.label for word in stream.Decoder(LABELS, without).decode(rows[:18])] == ["yes"]


def test_a_word_said_a_second_ago_casts_doubt_for_as_long_as_the_veto_reaches():
    rows = np.zeros((40, len(LABELS)), np.float32)
    rows[:, LABELS.index(SILENCE)] = 1
    rows[:10] = np.eye(len(LABELS))[LABELS.index("unknown")]
    rows[24:32] = np.eye(len(LABELS))[LABELS.index("yes")]
    for veto_s, heard in ((0.4, ["yes"]), (1.5, [])):
        rule = stream.Rule(threshold=0.6, smoothing_s=0.4, refractory_s=1.0, veto=2.0, veto_s=veto_s)
        for pieces in (1, 7, len(rows)):
            decoder = stream.Decoder(LABELS, rule)
            found = [word.label for piece in np.array_split(rows, pieces) for word in decoder.decode(piece)]
            assert found == heard


def test_a_made_stream_has_its_words_where_it_says(tmp_path):
    clips = np.stack([audio.read_wav(path) for path in voices.make_examples(tmp_path, WORDS)])
    noise = np.random.default_rng(0).normal(0, 300, (5, audio.CLIP_SAMPLES)).astype(np.int16)
    samples, words = stream.make_stream(clips, WORDS, noise, 20.0, np.random.default_rng(1))
    assert sorted(word.label for word in words) == sorted(WORDS)
    waveform = audio.to_waveform(samples)
    inside = np.zeros(len(samples), bool)
    for word in words:
        inside[int(word.start * audio.SAMPLE_RATE) : int(word.end * audio.SAMPLE_RATE)] = True
        assert 0.1 < word.end - word.start <= 1.0
    near = np.convolve(inside, np.ones(2 * audio.SAMPLE_RATE), "same") > 0
    noise_power = np.mean(waveform[~near] ** 2)
    assert np.mean(waveform[inside] ** 2) > 50 * noise_power
    assert 10 * np.log10(np.mean(audio.to_waveform(clips) ** 2) / noise_power) == pytest.approx(20, abs=0.5)


def test_detections_are_scored_as_matched_wrong_or_false_alarms():
    words = [stream.Word(*word) for word in (("yes", 1, 1.5), ("no", 4, 4.5), ("unknown", 7, 7.5), ("go", 9, 9.4))]
    heard = [("yes", 1.75), ("yes", 2.2), ("on", 4.6), ("up", 7.2), ("left", 12.0)]
    scores = stream.score_stream([stream.Detection(t, label, 0.9) for label, t in heard], words, 1800)
    assert scores["keywords"] == 3
    assert (scores["matched"], scores["wrong"]) == pytest.approx((1 / 3, 1 / 3))
    assert (scores["false_alarms"], scores["false_alarms_per_hour"]) == (3, 6)  # once more, unknown, nothing said
    assert scores["latency_s"] == pytest.approx(0.25)


def test_words_less_than_a_second_apart_are_each_scored_as_themselves():
    words = [stream.Word(*word) for word in (("yes", 1, 1.4), ("no", 1.6, 2), ("go", 2.2, 2.6), ("go", 2.8, 3.2))]

    def score(*heard):
        scores = stream.score_stream([stream.Detection(t, label, 0.9) for label, t in heard], words, 3600)
        return round(4 * scores["matched"]), round(4 * scores["wrong"]), scores["false_alarms"]

    assert score(("yes", 1.5), ("no", 2.1), ("go", 2.7), ("go", 3.3)) == (4, 0, 0)
    assert score(("no", 2.1), ("go", 3.3)) == (2, 0, 0)  # the first word was missed, the second is no mistake
    assert score(("yes", 1.5), ("yes", 1.9), ("no", 2.2)) == (2, 0, 1)  # once more for the same word
    assert score(("yes", 1.5), ("left", 2.1), ("up", 5.0)) == (1, 1, 1)


def test_a_stream_without_keywords_has_false_alarms_alone():
    words = [stream.Word("unknown", 1.0, 1.5)]
    for found in ([], [stream.Detection(1.6, "yes", 0.9)]):
        scores = stream.score_stream(found, words, 60)
        assert scores["keywords"] == 0
        assert np.isnan([scores["matched"], scores["wrong"], scores["latency_s"]]).all()
        assert scores["false_alarms_per_hour"] == 60 * len(found)


def test_predict_prints_each_word_of_a_long_recording_with_its_time(tmp_path, monkeypatch, capsys, spoken):
    monkeypatch.chdir(tmp_path)  # where there is no run
    audio.write_wav("long.wav", spoken)
    assert cli.run(predict.main, ["--stream", "long.wav"]) == 0
    out, err = capsys.readouterr()
    assert [line.split()[2] for line in out.splitlines()] == list(WORDS)
    assert "pretrained" in err
    assert "12.0 s heard" in err
    assert cli.run(predict.main, ["--stream", "long.wav", "--json"]) == 0
    words = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [word["label"] for word in words] == list(WORDS)
    assert all(set(word) == {"seconds", "label", "probability"} for word in words)


@pytest.mark.parametrize(("name", "line"), [("none.wav", "does not exist"), ("text.wav", "not a sound file")])
def test_what_is_no_sound_is_one_line(name, line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.wav").write_text("not sound " * 100)
    assert cli.run(predict.main, ["--stream", name, "--model", str(trained.PRETRAINED)]) == 1
    error = capsys.readouterr().err
    assert f"{name}" in error
    assert line in error
    assert error.count("\n") == 1


def test_the_microphone_is_heard_block_by_block(tmp_path, monkeypatch, capsys, spoken):
    """With a stand-in for PortAudio, which plays the words and is then unplugged by Ctrl-C."""

    class PortAudio:
        def __init__(self, rate, blocksize, channels, dtype, callback):
            assert (rate, channels, dtype) == (audio.SAMPLE_RATE, 1, "int16")
            self._blocks, self._callback = np.array_split(spoken, len(spoken) // blocksize), callback

        def __enter__(self):
            for block in self._blocks[:90]:
                self._callback(block.tobytes(), len(block), None, None)

        def __exit__(self, *failure):
            pass

    module = types.SimpleNamespace(RawInputStream=PortAudio, PortAudioError=RuntimeError)
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    said = []

    def keep(words, form):
        said.extend(words)
        if len(said) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(predict, "print_words", keep)
    monkeypatch.chdir(tmp_path)
    assert cli.run(predict.main, ["--listen"]) == 0  # Ctrl-C is how it ends
    assert [word.label for word in said] == list(WORDS[:2])
    assert "listening for yes, no" in capsys.readouterr().err


def test_without_a_microphone_one_line_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert cli.run(predict.main, ["--listen", "--model", str(trained.PRETRAINED)]) == 1
    assert "pip install --group microphone" in capsys.readouterr().err


@pytest.mark.recordings
def test_most_words_of_real_speakers_are_heard(model, real_raw):
    """Speakers of the test list, over a real background recording."""
    train = real_raw / "train"
    names = (train / "testing_list.txt").read_text().split()
    names = [name for name in names if name.split("/")[0] in LABELS][:120]
    clips = np.stack([audio.fit_second(audio.read_wav(train / "audio" / name)) for name in names])
    noise = audio.read_wav(next((train / "audio" / "_background_noise_").glob("exercise*.wav")))
    noise = noise[: len(noise) // audio.CLIP_SAMPLES * audio.CLIP_SAMPLES].reshape(-1, audio.CLIP_SAMPLES)
    said = [name.split("/")[0] for name in names]
    samples, words = stream.make_stream(clips, said, noise, 20.0, np.random.default_rng(0))
    heard = stream.Stream(model)
    scores = stream.score_stream(heard.feed(samples) + heard.finish(), words, len(samples) / audio.SAMPLE_RATE)
    assert scores["matched"] > 0.7
    assert scores["wrong"] < 0.15
