"""Guards: what is wrong with a microphone is told in plain words, fault by fault; nothing is, where all is well."""

import contextlib
import itertools
import sys
import types

import numpy as np
import pytest

import predict
from utils import audio, doctor, voices
from utils.system import cli

WORDS = doctor.WORDS


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """A second of each word, by a built-in voice."""
    paths = voices.make_examples(tmp_path_factory.mktemp("said"), WORDS)
    return [audio.fit_second(audio.read_wav(path)) for path in paths]


def examine(sound, monkeypatch):
    """``predict.py --doctor`` at a stand-in for PortAudio that plays ``sound``."""

    class PortAudio:
        def __init__(self, rate, blocksize, channels, dtype, callback):
            self._blocks, self._callback = sound[: len(sound) // blocksize * blocksize].reshape(-1, blocksize), callback

        def __enter__(self):
            for block in self._blocks:
                self._callback(block.tobytes(), len(block), None, None)

        def __exit__(self, *failure):
            pass

    device = {"name": "a stand-in", "default_samplerate": 44_100.0}
    module = types.SimpleNamespace(
        RawInputStream=PortAudio, PortAudioError=RuntimeError, query_devices=lambda kind: device
    )
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    monkeypatch.setattr("utils.system.microphone.MOST_WAITING", 1000)
    return cli.run(predict.main, ["--doctor"])


def lay(clips, gain=1.0, noise=10.0):
    """Three seconds of noise, then each clip at the beginning of its time."""
    places = [int((doctor.QUIET_S + number * doctor.WORD_S + 0.5) * audio.SAMPLE_RATE) for number in range(len(clips))]
    sound = np.random.default_rng(0).normal(0, noise, int(11 * audio.SAMPLE_RATE))
    for place, clip in zip(places, clips):
        sound[place : place + len(clip)] += gain * clip
    return np.clip(sound, -32768, 32767).astype(np.int16)


def test_all_is_well_where_three_words_are_heard(spoken, monkeypatch, capsys):
    assert examine(lay(spoken), monkeypatch) == 0
    out = capsys.readouterr().out
    assert "a stand-in, 44100 Hz" in out
    assert "all is well: 3 of 3 words" in out


@pytest.mark.parametrize(
    ("gain", "noise", "line"),
    [
        (0.0, 0.0, "only zeros come"),
        (60.0, 10.0, "is cut off: turn the input level down"),
        (0.01, 1.0, "very quiet"),
        (1.0, 3000.0, "hardly louder than the noise"),
        (0.0, 400.0, "not heard: yes, stop, left"),
    ],
)
def test_each_fault_is_told(gain, noise, line, spoken, monkeypatch, capsys):
    assert examine(lay(spoken, gain, noise), monkeypatch) == 1
    assert line in capsys.readouterr().out


def test_it_asks_for_words_that_the_network_knows(monkeypatch, capsys):
    class Deaf:
        labels = ("lights", "silence", "unknown")

        def __call__(self, waveforms):
            return np.eye(3)[[1]]

    microphone = types.SimpleNamespace(
        describe=lambda: "a stand-in", blocks=lambda: contextlib.nullcontext(itertools.repeat(np.ones(1600, np.int16)))
    )
    assert doctor.examine(Deaf(), microphone) == 1
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if line.startswith("say")] == ["say: lights"]


def test_a_microphone_that_another_program_has_is_one_line(monkeypatch, capsys):
    class Busy:
        def __init__(self, *settings, **more):
            pass

        def __enter__(self):
            raise RuntimeError("Device unavailable")

        def __exit__(self, *failure):
            pass

    device = {"name": "a stand-in", "default_samplerate": 44_100.0}
    module = types.SimpleNamespace(RawInputStream=Busy, PortAudioError=RuntimeError, query_devices=lambda kind: device)
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    assert cli.run(predict.main, ["--doctor"]) == 1
    assert "Device unavailable" in capsys.readouterr().err


def test_no_microphone_is_one_line(monkeypatch, capsys):
    def query(kind):
        raise ValueError("No input device matching")

    monkeypatch.setitem(sys.modules, "sounddevice", types.SimpleNamespace(query_devices=query, PortAudioError=OSError))
    assert cli.run(predict.main, ["--doctor"]) == 1
    assert "no microphone is there" in capsys.readouterr().err
