"""Wav files as int16 arrays: read, check, write, resample, pad or cut to one second, play."""

import base64
import contextlib
import html
import io
import stat
import struct
import wave
from pathlib import Path

import numpy as np

SAMPLE_RATE = 16_000  # Hz
CLIP_SAMPLES = 16_000  # one second
FULL_SCALE = 32768  # int16 counts

# Writers to a pipe, who cannot know the size, give 2 or 4 GiB, or some bytes less (ffmpeg, arecord, sox, eSpeak).
_NO_SIZE = 0x7FFFF000
_EXTENSIBLE = 0xFFFE  # format numbers of a wav: 1 is PCM, 3 float
_BLOCK_VALUES = 1 << 20  # read from a sound file at a time, over all its channels
_RATES = (1000, 768_000)  # Hz; what lies outside is a damaged header
MAX_SECONDS = 4 * 3600  # of a recording in which a word is looked for
_NO_FRAMES = 1 << 62  # libsndfile counts more where a stream does not say
_CANCELLED = 0.04  # of the power that channels which know nothing of each other leave in their mean
_NO_SOUND = "holds no sound (if its recorder was killed, ffmpeg -i FILE NEW.wav mends the header)"
_TOO_LONG = f"longer than {MAX_SECONDS // 3600} hours: cut it"

_HOP = SAMPLE_RATE // 100  # samples
_HOPS = CLIP_SAMPLES // _HOP  # a second
_KNOCK_HOPS = 10  # a knock or a click is louder than any word, and over after 100 ms
_NEXT_TO_NOTHING = 1e-5  # -50 dB of the loudest 10 ms; of 6,000 recorded words the most abrupt goes down to -43 dB

# Names of sound files that soundfile reads, and of those that it does not.
ENDINGS = (".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64")
OTHER_ENDINGS = (".m4a", ".mp4", ".aac", ".webm", ".wma", ".amr", ".3gp", ".mka", ".mov", ".weba")


class WavError(ValueError):
    """Why a file cannot be read as sound."""


class OtherFormatError(WavError):
    """The file may hold sound, but not as a 16 kHz, 16-bit, mono PCM wav."""


def read_wav(path, max_samples=None):
    """Samples of a 16 kHz, 16-bit, mono PCM wav: int16 array, at most ``max_samples`` of them.

    Raises
    ------
    WavError
        With the reason, if the file is empty, cut short, of another format or no wav at all.
    """
    return _join(read_blocks(path, plain=True), max_samples)


def read_sound(path, max_samples=None, cancelled=None):
    """The same of any sound file: other rates are resampled, channels averaged.

    ``cancelled``, a set, gets the path if the channels cancel each other out: then the loudest one is read.
    """
    return _join(read_blocks(path, cancelled), max_samples)


def read_loudest_second(path, cancelled=None):
    """:func:`loudest_second` of any sound file, with only some seconds of it in memory at a time."""
    return _find_loudest(read_blocks(path, cancelled))


def _join(blocks, max_samples):
    found, n_samples = [], 0
    for block in blocks:
        found.append(block)
        n_samples += len(block)
        if max_samples is not None and n_samples >= max_samples:
            break
    return found[0][:max_samples] if len(found) == 1 else np.concatenate(found)[:max_samples]


def read_blocks(path, cancelled=None, plain=False):
    """Int16 blocks at 16 kHz of any sound file, none of them long; ``cancelled`` as in :func:`read_sound`.

    If ``plain``, all but a 16 kHz, 16-bit, mono PCM wav is an OtherFormatError.
    """
    with _open(path) as (file, size):
        clip = file.read(44 + 2 * CLIP_SAMPLES)
        # The header of a clip of the challenge is known: without this, to prepare them takes a tenth longer.
        if len(clip) == size > 44 and size % 2 == 0 and clip[:44] == _make_header(size - 44, SAMPLE_RATE):
            yield np.frombuffer(clip, "<i2", offset=44)
            return
        file.seek(0)
        try:
            sound = _open_wave(file, size)
        except OtherFormatError:
            if plain:
                raise
            sound = None
        if sound:
            yield from _read_wave(sound)
            return
    yield from _read_with_soundfile(path, cancelled, plain)


@contextlib.contextmanager
def _open(path):
    """A regular file and its size; anything else, such as a pipe that would keep us waiting, is a WavError."""
    try:
        state = Path(path).stat()
        if not stat.S_ISREG(state.st_mode):
            raise WavError("not a file")
        with open(path, "rb") as file:
            yield file, state.st_size
    except OSError as error:  # as it is opened, or read
        raise WavError(f"cannot be read ({error.strerror})") from error


def _open_wave(file, size):
    """A ``wave.Wave_read`` of a clip like the challenge's; None if soundfile has to look at it."""
    head = file.read(36)
    file.seek(0)
    if not head:
        raise WavError("empty file")
    if head[:4] not in (b"RIFF", b"RF64") or head[8:12] != b"WAVE":
        raise OtherFormatError("not a wav file")
    # Both libraries would take what there is of a wav that is cut short.
    promised = int.from_bytes(head[4:8] if head[:4] == b"RIFF" else head[20:28], "little")
    if size < promised < _NO_SIZE:
        raise WavError(f"cut short: its header promises {promised} bytes")
    sound = None
    if size - 8 <= promised <= size:
        with contextlib.suppress(wave.Error, EOFError, RuntimeError):
            sound = wave.open(file)  # noqa: SIM115
    if (not sound or sound.getsampwidth() != 2) and len(head) == 36 and head[12:16] == b"fmt ":
        _check_frames(*struct.unpack("<HHIIHH", head[20:]))
    if sound:
        _check_plain(f"{8 * sound.getsampwidth()}-bit", sound.getnchannels(), sound.getframerate())
    return sound


def _check_frames(number, channels, _rate, _byte_rate, frame_bytes, bits):
    """Raise if samples are no whole bytes side by side, as 24 bits in 4 bytes: both libraries would misread them."""
    if number in (1, 3, _EXTENSIBLE) and frame_bytes != channels * -(-bits // 8):
        form = "S24_LE" if (bits, frame_bytes) == (24, 4 * channels) else "its header contradicts itself"
        raise WavError(f"{channels} x {bits} bits in {frame_bytes} bytes ({form}): record it as S16_LE or S32_LE")


def _check_plain(kind, channels, rate):
    """Raise unless a wav is as a clip of the challenge."""
    if kind != "16-bit":
        raise OtherFormatError(f"{kind} samples instead of 16-bit")
    if channels != 1:
        raise OtherFormatError(f"{channels} channels instead of 1")
    if rate != SAMPLE_RATE:
        raise OtherFormatError(f"{rate} Hz instead of {SAMPLE_RATE}")


def _read_wave(sound):
    left = sound.getnframes()
    if not left:
        raise WavError(_NO_SOUND)
    if left > MAX_SECONDS * SAMPLE_RATE:
        raise WavError(_TOO_LONG)
    while left:
        n_samples = min(left, _BLOCK_VALUES)
        data = sound.readframes(n_samples)
        if len(data) < 2 * n_samples:
            raise WavError(f"cut short: {left} samples are missing")
        yield np.frombuffer(data, np.int16)
        left -= n_samples


def _read_with_soundfile(path, cancelled, plain):
    import soundfile  # both only where a file needs them
    import soxr

    class Forwards(soundfile.SoundFile):
        """Sound read to its end, wherever its header says that is: soundfile else looks for that place first."""

        def seekable(self):
            return False

    found = 0
    try:
        with Forwards(path) as file:
            if plain:
                _check_plain("16-bit" if file.subtype == "PCM_16" else file.subtype, file.channels, file.samplerate)
            if not _RATES[0] <= file.samplerate <= _RATES[1]:
                raise WavError(f"{file.samplerate} Hz is no rate for sound")
            n_most = MAX_SECONDS * file.samplerate
            if file.samplerate == SAMPLE_RATE:
                resample = lambda waveform, last=False: waveform  # noqa: E731
            else:
                resample = soxr.ResampleStream(file.samplerate, SAMPLE_RATE, 1, "float32").resample_chunk
            # Not file.blocks(): that trusts the length in the header, however long it is.
            n_frames = max(1, _BLOCK_VALUES // file.channels)
            if n_most < file.frames < _NO_FRAMES:
                raise WavError(_TOO_LONG)
            while len(frames := file.read(n_frames, "float32", always_2d=True)):
                mono, is_one = _mix(frames)
                if not np.isfinite(mono).all():
                    raise WavError("holds values that are no sound (NaN or infinite)")
                if is_one and cancelled is not None:
                    cancelled.add(path)
                found += len(mono)
                if found > n_most:
                    raise WavError(_TOO_LONG)
                yield to_counts(resample(mono))
            yield to_counts(resample(np.empty(0, np.float32), last=True))
    except RuntimeError as error:
        reason = f"damaged ({str(error).rpartition(': ')[2]})"
        raise WavError(reason if found else _explain_unread(path, reason)) from error
    if not found:
        raise WavError(_NO_SOUND)


def _mix(frames):
    """The mean of some channels, or the loudest one where they cancel each other out; whether it is one."""
    mono = frames.mean(axis=1)
    powers = np.einsum("ij,ij->j", frames, frames, dtype=np.float64)
    left = np.einsum("i,i->", mono, mono, dtype=np.float64) * frames.shape[1] ** 2  # all of it, of one channel
    if left < _CANCELLED * powers.sum():
        return frames[:, powers.argmax()], True
    return mono, False


def _explain_unread(path, reason):
    """Why libsndfile does not know what is in a file: its own ``reason`` if that is a wav."""
    with open(path, "rb") as file:
        head = file.read(12)
    ending = Path(path).suffix.lower()
    if ending in OTHER_ENDINGS or head[4:8] == b"ftyp" or head[:4] == b"\x1aE\xdf\xa3":
        kind = ending[1:] if ending in OTHER_ENDINGS else "m4a" if head[4:8] == b"ftyp" else "webm"
        return f"{kind} instead of wav: convert it with ffmpeg -i FILE FILE.wav"
    return reason if head[8:] == b"WAVE" else "not a sound file"


def to_waveform(samples):
    """Float32 amplitudes in [-1, 1) of int16 counts: the one scale of features and models."""
    return np.asarray(samples, np.float32) / np.float32(FULL_SCALE)


def to_counts(waveform):
    """Int16 counts of amplitudes in [-1, 1); what lies beyond full scale is clipped."""
    return np.clip(np.round(waveform * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def write_wav(path, samples, sample_rate=SAMPLE_RATE):
    """Write int16 samples as :func:`make_wav` has them."""
    Path(path).write_bytes(make_wav(samples, sample_rate))


def make_wav(samples, sample_rate=SAMPLE_RATE):
    """Bytes of a mono wav of int16 samples (n_samples,), with the plain 44-byte header of the challenge's clips."""
    samples = np.asarray(samples)
    if samples.dtype != np.int16 or samples.ndim != 1:
        raise ValueError(f"expected int16 of one dimension, got {samples.dtype} of {samples.ndim}")
    data = samples.astype("<i2").tobytes()
    return _make_header(len(data), sample_rate) + data


def _make_header(n_bytes, sample_rate):
    form = struct.pack("<IHHIIHH", 16, 1, 1, sample_rate, 2 * sample_rate, 2, 16)
    return struct.pack("<4sI8s20s4sI", b"RIFF", 36 + n_bytes, b"WAVEfmt ", form, b"data", n_bytes)


def fit_second(samples):
    """Exactly one second: zeros at the end of a shorter clip, a longer one cut."""
    clip = np.zeros(CLIP_SAMPLES, samples.dtype)
    clip[: len(samples)] = samples[:CLIP_SAMPLES]
    return clip


def loudest_second(samples):
    """The second with the most energy, found to 10 ms; a shorter clip is padded with zeros.

    The loudest 100 ms of each second do not count: a knock has no more, and a word has.
    """
    return fit_second(samples) if len(samples) <= CLIP_SAMPLES else _find_loudest([samples])


def is_wordless(clip):
    """Whether a second holds nothing, or a knock or a click alone: all but its loudest 100 ms is next to nothing."""
    if clip.min() == clip.max():
        return True
    energy = np.square(clip.reshape(-1, _HOP), dtype=np.int64).sum(axis=1)
    energy.sort()
    return bool(energy[-1 - _KNOCK_HOPS] < _NEXT_TO_NOTHING * energy[-1])


def _find_loudest(blocks):
    """The loudest second of a recording that comes in blocks."""
    best, most, left = None, -1, np.empty(0, np.int16)
    for block in blocks:
        left = np.concatenate([left, block]) if len(left) else block
        if len(left) < CLIP_SAMPLES or (best is None and len(left) == CLIP_SAMPLES):
            continue
        hops = left[: len(left) // _HOP * _HOP].reshape(-1, _HOP)
        energy = np.square(hops, dtype=np.int64).sum(axis=1)  # whole numbers: how blocks are cut changes nothing
        seconds = np.lib.stride_tricks.sliding_window_view(energy, _HOPS)
        energies = np.partition(seconds, _HOPS - _KNOCK_HOPS, axis=1)[:, : _HOPS - _KNOCK_HOPS].sum(axis=1)
        start = int(np.argmax(energies))
        if energies[start] > most:
            best, most = left[start * _HOP : start * _HOP + CLIP_SAMPLES], energies[start]
        left = left[len(energies) * _HOP :]
    return fit_second(left) if best is None else best


def play(samples, sample_rate=SAMPLE_RATE):
    """Player for a notebook; loudness is left as it was recorded."""
    from IPython.display import Audio  # only in a notebook

    return Audio(to_waveform(samples), rate=sample_rate, normalize=False)


def play_each(sounds, sample_rate=SAMPLE_RATE):
    """Players for a notebook, one a line, of names and int16 samples: MP3, a tenth of the size of :func:`play`'s."""
    import soundfile
    from IPython.display import HTML  # only in a notebook

    rows = []
    for name, samples in sounds.items():
        file = io.BytesIO()
        soundfile.write(file, to_waveform(samples), sample_rate, format="MP3")
        source = "data:audio/mpeg;base64," + base64.b64encode(file.getvalue()).decode()
        name = html.escape(name)
        player = f'<audio controls preload="none" aria-label="{name}" src="{source}"></audio>'
        rows.append(f"<tr><td>{name}</td><td>{player}</td></tr>")
    return HTML(f"<table>{''.join(rows)}</table>")
