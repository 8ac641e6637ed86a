"""Wav files as int16 arrays: read, check, write, pad or cut to one second, play."""

import os
import struct
from pathlib import Path

import numpy as np

SAMPLE_RATE = 16_000  # Hz
CLIP_SAMPLES = 16_000  # one second

_PCM, _EXTENSIBLE = 1, 0xFFFE
# A wav of the challenge starts with these 44 bytes: format in the first 36, size of the data in the last 4.
_PLAIN_FORMAT = struct.pack("<HHIIHH", _PCM, 1, SAMPLE_RATE, 2 * SAMPLE_RATE, 2, 16)


class WavError(ValueError):
    """Why a file cannot be read as a 16 kHz, 16-bit, mono wav."""


def read_wav(path, max_samples=None):
    """Samples of a 16 kHz, 16-bit, mono PCM wav.

    Parameters
    ----------
    path : str or Path
    max_samples : int, optional
        Read no more than this many.

    Returns
    -------
    int16 array, shape (n_samples,)

    Raises
    ------
    WavError
        With the reason, if the file is empty, cut short, of another format or no wav at all.
    """
    with open(path, "rb", buffering=0) as file:
        head = file.read(44 + 2 * CLIP_SAMPLES)  # a clip of the challenge in one go
        if (
            len(head) >= 44
            and head[:4] == b"RIFF"
            and head[8:16] == b"WAVEfmt "
            and head[20:40] == _PLAIN_FORMAT + b"data"
        ):
            start, n_bytes = 44, int.from_bytes(head[40:44], "little")
        else:
            n_bytes = _find_data(file)
            start, head = file.tell(), b""
        if n_bytes < 2:
            raise WavError("holds no sound")
        wanted = n_bytes // 2 if max_samples is None else min(n_bytes // 2, max_samples)
        if start + n_bytes <= len(head):
            return np.frombuffer(head, "<i2", wanted, start)
        if os.fstat(file.fileno()).st_size - start < n_bytes:
            raise WavError(f"cut short: its header promises {n_bytes} bytes of sound")
        file.seek(start)
        data = file.read(2 * wanted)
    return np.frombuffer(data, "<i2")


def _find_data(file):
    """Walk the chunks of a wav up to its sound; return the sound's size in bytes."""
    file.seek(0)
    riff = file.read(12)
    if not riff:
        raise WavError("empty file")
    if len(riff) < 12 or riff[:4] != b"RIFF" or riff[8:] != b"WAVE":
        raise WavError("not a wav file")
    format_seen = False
    while len(header := file.read(8)) == 8:
        name, n_bytes = header[:4], int.from_bytes(header[4:], "little")
        if name == b"data":
            if not format_seen:
                raise WavError("its sound comes before its format")
            return n_bytes
        if name == b"fmt ":
            _check_format(file.read(min(n_bytes, 40)))
            format_seen = True
            n_bytes -= min(n_bytes, 40)
        file.seek(n_bytes + n_bytes % 2, 1)
    raise WavError("cut short: no sound after its header")


def _check_format(content):
    if len(content) < 16:
        raise WavError("cut short: half a header")
    tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", content[:16])
    if tag == _EXTENSIBLE and len(content) >= 26:
        tag = int.from_bytes(content[24:26], "little")
    if tag != _PCM:
        raise WavError(f"its samples are not plain PCM (format {tag})")
    if bits != 16:
        raise WavError(f"{bits}-bit samples instead of 16")
    if channels != 1:
        raise WavError(f"{channels} channels instead of 1")
    if rate != SAMPLE_RATE:
        raise WavError(f"{rate} Hz instead of {SAMPLE_RATE}")


def write_wav(path, samples, sample_rate=SAMPLE_RATE):
    """Write int16 samples as a mono wav with the plain 44-byte header of the challenge's clips."""
    samples = np.asarray(samples)
    if samples.dtype != np.int16 or samples.ndim != 1:
        raise ValueError(f"expected int16 of one dimension, got {samples.dtype} of {samples.ndim}")
    data = samples.astype("<i2").tobytes()
    layout = struct.pack("<HHIIHH", _PCM, 1, sample_rate, 2 * sample_rate, 2, 16)
    header = b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + struct.pack("<I", 16)
    Path(path).write_bytes(header + layout + b"data" + struct.pack("<I", len(data)) + data)


def to_waveform(samples):
    """Float32 amplitudes in [-1, 1) of int16 samples: the one scale of features and models."""
    return np.asarray(samples, np.float32) / np.float32(32768)


def fit_second(samples):
    """Exactly one second: zeros at the end of a shorter clip, a longer one cut."""
    clip = np.zeros(CLIP_SAMPLES, samples.dtype)
    clip[: len(samples)] = samples[:CLIP_SAMPLES]
    return clip


def loudest_second(samples):
    """The second with the most energy, found to 10 ms; a shorter clip is padded with zeros."""
    hop = SAMPLE_RATE // 100
    if len(samples) <= CLIP_SAMPLES:
        return fit_second(samples)
    energy = np.cumsum(np.concatenate([[0.0], np.square(samples, dtype=np.float64)]))
    starts = np.arange(0, len(samples) - CLIP_SAMPLES + 1, hop)
    start = starts[np.argmax(energy[starts + CLIP_SAMPLES] - energy[starts])]
    return samples[start : start + CLIP_SAMPLES]


def read_any(path):
    """One second of int16 samples at 16 kHz from any sound file: the clip that a model hears.

    Other rates are resampled, channels averaged, and the loudest second of a longer
    recording is taken.

    Raises
    ------
    WavError
        With the reason, if the file holds no sound that can be read.
    """
    try:
        return loudest_second(read_wav(path))
    except WavError as reason:
        if "cut short" in str(reason) or "no sound" in str(reason) or "empty" in str(reason):
            raise
    import soundfile  # both only where a file needs them
    import soxr

    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise WavError(f"not a sound file ({error})") from error
    samples = np.nan_to_num(soxr.resample(samples.mean(axis=1), rate, SAMPLE_RATE))
    if not len(samples):
        raise WavError("holds no sound")
    return loudest_second(np.clip(np.round(samples * 32768), -32768, 32767).astype(np.int16))


def play(samples, sample_rate=SAMPLE_RATE):
    """Player for a notebook; loudness is left as it was recorded."""
    from IPython.display import Audio  # only in a notebook

    return Audio(to_waveform(samples), rate=sample_rate, normalize=False)
