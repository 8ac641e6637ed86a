"""Guards: a wav is read right or refused with its reason; nothing else comes out."""

import struct
import wave

import numpy as np
import pytest
from conftest import burst

from utils import audio

GUID_END = bytes.fromhex("000000001000800000aa00389b71")


def write_with_wave(path, samples, rate=16000, width=2, channels=1):
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(samples)


def test_what_is_written_is_what_is_read(tmp_path):
    samples = burst(1, 12345)
    audio.write_wav(tmp_path / "a.wav", samples)
    assert np.array_equal(audio.read_wav(tmp_path / "a.wav"), samples)
    assert np.array_equal(audio.read_wav(tmp_path / "a.wav", max_samples=100), samples[:100])
    with wave.open(str(tmp_path / "a.wav")) as file:  # others read it too
        assert (file.getframerate(), file.getnframes(), file.getsampwidth()) == (16000, 12345, 2)


def test_other_chunks_before_the_sound_are_passed_over(tmp_path):
    samples = burst(2, 16000).tobytes()
    layout = struct.pack("<HHIIHH", 1, 1, 16000, 32000, 2, 16)
    extensible = struct.pack("<HHIIHH", 0xFFFE, 1, 16000, 32000, 2, 16) + struct.pack("<HHIH", 22, 16, 4, 1) + GUID_END
    for name, fmt in (("list", layout), ("extensible", extensible)):
        chunks = b"LIST\x03\x00\x00\x00abc\x00" + b"fmt " + struct.pack("<I", len(fmt)) + fmt
        body = b"WAVE" + chunks + b"data" + struct.pack("<I", len(samples)) + samples
        path = tmp_path / f"{name}.wav"
        path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
        assert audio.read_wav(path).tobytes() == samples


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.write_bytes(b""), "empty file"),
        (lambda path: path.write_bytes(b"hello, this is text and no sound at all, though long enough"), "not a wav"),
        (lambda path: write_with_wave(path, b""), "holds no sound"),
        (lambda path: write_with_wave(path, bytes(32000), rate=44100), "44100 Hz instead of 16000"),
        (lambda path: write_with_wave(path, bytes(64000), channels=2), "2 channels instead of 1"),
        (lambda path: write_with_wave(path, bytes(16000), width=1), "8-bit samples instead of 16"),
        (lambda path: write_with_wave(path, bytes(48000), width=3), "24-bit samples instead of 16"),
        (lambda path: (audio.write_wav(path, burst(3)), path.write_bytes(path.read_bytes()[:-7])), "cut short"),
        (lambda path: (audio.write_wav(path, burst(3)), path.write_bytes(path.read_bytes()[:40])), "cut short"),
    ],
)
def test_a_bad_file_is_refused_with_its_reason(tmp_path, make, reason):
    make(tmp_path / "bad.wav")
    with pytest.raises(audio.WavError, match=reason):
        audio.read_wav(tmp_path / "bad.wav")


def test_a_second_is_padded_at_the_end_or_cut():
    short, long = burst(4, 7000), burst(5, 20000)
    assert np.array_equal(audio.fit_second(short), np.concatenate([short, np.zeros(9000, np.int16)]))
    assert np.array_equal(audio.fit_second(long), long[:16000])


def test_any_rate_and_length_gives_the_loudest_second(tmp_path):
    rate = 44100
    times = np.arange(3 * rate) / rate
    tone = np.where((times > 1.5) & (times < 2.3), np.sin(2 * np.pi * 440 * times), 0) * 16000
    stereo = np.repeat(tone.astype("<i2"), 2)
    write_with_wave(tmp_path / "a.wav", stereo.tobytes(), rate=rate, channels=2)
    clip = audio.read_loudest_second(tmp_path / "a.wav").astype(float)
    spectrum = np.abs(np.fft.rfft(clip))
    assert clip.shape == (16000,)
    assert abs(np.argmax(spectrum) - 440) <= 1  # hertz, for a clip of one second
    assert np.sum(clip**2) > 0.98 * 0.8 * 16000 * 16000**2 / 2  # all of the tone's 0.8 s


@pytest.mark.parametrize("gap_s", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("before", [True, False])
def test_a_knock_is_neither_the_loudest_second_nor_a_word(gap_s, before):
    rng = np.random.default_rng(1)
    knock = (32767 * np.exp(-np.arange(1600) / 200) * rng.choice([-1, 1], 1600)).astype(np.int16)
    word, gap = burst(3, 6400) // 8, np.zeros(int(gap_s * audio.SAMPLE_RATE), np.int16)
    second = audio.loudest_second(np.concatenate([knock, gap, word, gap] if before else [gap, word, gap, knock]))
    found = np.correlate(second.astype(float), word.astype(float), "valid").max() / np.square(word, dtype=float).sum()
    assert found == pytest.approx(1, abs=1e-3)  # the whole word is in it
    assert not audio.is_wordless(second)
    assert audio.is_wordless(audio.fit_second(knock))
    assert not audio.loudest_second(np.concatenate([gap, gap, gap, knock]))[:-1600].any()  # no word is made of it
    assert audio.is_wordless(np.zeros(audio.CLIP_SAMPLES, np.int16))
