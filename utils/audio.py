"""Wav files as int16 arrays: read, check, write, resample, pad or cut to one second, play."""

import os
import stat
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np

SAMPLE_RATE = 16_000  # Hz
CLIP_SAMPLES = 16_000  # one second

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
# What follows the two bytes of a format number in WAVE_FORMAT_EXTENSIBLE.
_GUID_END = bytes.fromhex("000000001000800000aa00389b71")
# A wav of the challenge starts with these 44 bytes: format in the first 36, size of the data in the last 4.
_PLAIN_FORMAT = struct.pack("<HHIIHH", _PCM, 1, SAMPLE_RATE, 2 * SAMPLE_RATE, 2, 16)
_MAX_CHUNKS = 1000  # before the sound; a file of empty chunks would keep us busy for hours
_UNKNOWN_SIZE = 0xFFFFFFFF  # RF64: the size stands in the ds64 chunk instead
# What writers to a pipe, who cannot know, give for the size: -1 (ffmpeg), 2 or almost 2 GiB (arecord, sox, eSpeak),
# some less the header's bytes; where RF64 has 64 bits, the same in these.
_NO_SIZES = (range(0x7FFFF000, 0x80000001), range(0xFFFFF000, 0x100000000), range(0x7FFFFFFFFFFFF000, 1 << 64))

_BLOCK_VALUES = 1 << 20  # read from a sound file at a time, over all its channels
_RATES = (1000, 768_000)  # Hz; what lies outside is a damaged header
MAX_SECONDS = 4 * 3600  # of a recording in which a word is looked for
_NO_FRAMES = 1 << 62  # libsndfile counts more where a stream does not say
_CANCELLED = 0.04  # of the power that channels which know nothing of each other leave in their mean

_HOP = SAMPLE_RATE // 100  # samples
_HOPS = CLIP_SAMPLES // _HOP  # a second
_KNOCK_HOPS = 10  # a knock or a click is louder than any word, and over after 100 ms
_NEXT_TO_NOTHING = 1e-5  # -50 dB of the loudest 10 ms; of 6,000 recorded words the most abrupt goes down to -43 dB

# Names of sound files that soundfile reads, and of those that it does not.
ENDINGS = (".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64")
OTHER_ENDINGS = (".m4a", ".mp4", ".aac", ".webm", ".wma", ".amr", ".3gp", ".mka", ".mov", ".weba")


class WavError(ValueError):
    """Why a file cannot be read as a 16 kHz, 16-bit, mono wav."""


class OtherFormatError(WavError):
    """The file may hold sound, but in another form."""


class _Layout(NamedTuple):
    format: bytes  # content of the fmt chunk
    start: int  # of the sound, in bytes
    n_bytes: int  # of the sound


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
    with _open(path) as file:
        head = file.read(44 + 2 * CLIP_SAMPLES)  # a clip of the challenge in one go
        if (
            len(head) >= 44
            and head[:4] == b"RIFF"
            and head[8:20] == b"WAVEfmt \x10\x00\x00\x00"
            and head[20:40] == _PLAIN_FORMAT + b"data"
        ):
            start, n_bytes = 44, int.from_bytes(head[40:44], "little")
            if 0 < n_bytes <= len(head) - start and n_bytes % 2 == 0:
                wanted = n_bytes // 2 if max_samples is None else min(n_bytes // 2, max_samples)
                return np.frombuffer(head, "<i2", wanted, start)
        start, n_bytes = _find_plain_sound(file)
        wanted = n_bytes // 2 if max_samples is None else min(n_bytes // 2, max_samples)
        file.seek(start)
        return np.frombuffer(file.read(2 * wanted), "<i2")


def _find_plain_sound(file):
    """Where the sound of a wav begins, and its bytes; OtherFormatError unless it is as a clip of the challenge."""
    layout = _find_sound(file)
    _check_plain(layout.format)
    n_bytes = _measure_sound(file, layout.start, layout.n_bytes, 2)
    if n_bytes % 2:
        raise WavError("its sound ends within a sample")
    return layout.start, n_bytes


def _open(path):
    """Open a regular file; anything else, such as a pipe that would keep us waiting, is a WavError."""
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise WavError("not a file")
        return open(path, "rb", buffering=0)
    except OSError as error:
        raise WavError(f"cannot be opened ({error.strerror})") from error


def _measure_sound(file, start, n_bytes, frame_bytes):
    """Bytes of sound from ``start`` on, of which the header promises ``n_bytes``: to the end where it does not know."""
    there = os.fstat(file.fileno()).st_size - start
    if n_bytes == 0 and _is_sound(file, start, there):
        raise WavError("its header was never finished, as when a recorder is killed: ffmpeg -i FILE NEW.wav mends it")
    if n_bytes > there and any(n_bytes in sizes for sizes in _NO_SIZES):
        n_bytes = there - there % max(1, frame_bytes)
    if n_bytes == 0:
        raise WavError("holds no sound")
    if n_bytes > there:
        raise WavError(f"cut short: its header promises {n_bytes} bytes of sound")
    return n_bytes


def _is_sound(file, start, n_bytes):
    """Whether what follows an empty data chunk is sound, and not the next chunk."""
    file.seek(start)
    header = file.read(8)
    return n_bytes > 0 and not (
        len(header) == 8 and header[:4].isascii() and int.from_bytes(header[4:], "little") <= n_bytes - 8
    )


def _find_sound(file):
    """Walk the chunks of a wav (RIFF or RF64) up to its sound."""
    file.seek(0)
    riff = file.read(12)
    if not riff:
        raise WavError("empty file")
    if b"RIFF".startswith(riff[:4]) and len(riff) < 12:
        raise WavError("cut short: no sound after its header")
    if len(riff) < 12 or riff[:4] not in (b"RIFF", b"RF64") or riff[8:] != b"WAVE":
        raise OtherFormatError("not a wav file")
    form, long_size = b"", None
    for _ in range(_MAX_CHUNKS):
        header = file.read(8)
        if len(header) < 8:
            break
        name, n_bytes = header[:4], int.from_bytes(header[4:], "little")
        if name == b"data":
            if not form:
                raise WavError("its sound comes before its format")
            return _Layout(form, file.tell(), long_size if long_size and n_bytes == _UNKNOWN_SIZE else n_bytes)
        end = file.tell() + n_bytes + n_bytes % 2
        if name == b"fmt ":
            form = file.read(min(n_bytes, 40))
            if len(form) < 16:
                raise WavError("cut short: half a header")
        elif name == b"ds64" and riff[:4] == b"RF64":
            long_size = int.from_bytes(file.read(16)[8:], "little")
        file.seek(end)
    raise WavError("cut short: no sound after its header")


def _parse_format(form):
    """Format number, channels, rate, bytes a second, bytes a frame, bits."""
    tag, channels, rate, byte_rate, frame_bytes, bits = struct.unpack("<HHIIHH", form[:16])
    if tag == _EXTENSIBLE and form[26:40] == _GUID_END:
        tag = int.from_bytes(form[24:26], "little")
    if (bits, frame_bytes) == (24, 4 * channels):
        raise WavError("24 bits in 4 bytes (S24_LE): record it as S16_LE, S24_3LE or S32_LE")
    if tag in (_PCM, _FLOAT) and (not bits or frame_bytes != channels * -(-bits // 8)):
        raise WavError(f"its header contradicts itself: {channels} x {bits} bits in {frame_bytes} bytes")
    return tag, channels, rate, byte_rate, frame_bytes, bits


def _check_plain(form):
    """Raise unless a fmt chunk says what a clip of the challenge's says."""
    tag, channels, rate, _, _, bits = _parse_format(form)
    if tag != _PCM:
        raise OtherFormatError(f"its samples are not plain PCM (format {tag})")
    if bits != 16:
        raise OtherFormatError(f"{bits}-bit samples instead of 16")
    if channels != 1:
        raise OtherFormatError(f"{channels} channels instead of 1")
    if rate != SAMPLE_RATE:
        raise OtherFormatError(f"{rate} Hz instead of {SAMPLE_RATE}")


def read_sound(path, max_samples=None, cancelled=None):
    """Samples at 16 kHz of any sound file: other rates are resampled, channels averaged.

    Parameters
    ----------
    path : str or Path
    max_samples : int, optional
        Read no more than this many.
    cancelled : set, optional
        Gets the path if the channels cancel each other out: then the loudest one is read.

    Returns
    -------
    int16 array, shape (n_samples,)

    Raises
    ------
    WavError
        With the reason, if the file is empty, cut short or holds no sound that can be read.
    """
    try:
        return read_wav(path, max_samples)
    except OtherFormatError:
        blocks, n_samples = [], 0
        for block in read_blocks(path, cancelled):
            blocks.append(block)
            n_samples += len(block)
            if max_samples is not None and n_samples >= max_samples:
                break
        return np.concatenate(blocks)[:max_samples]


def read_loudest_second(path, cancelled=None):
    """One second at 16 kHz of any sound file: the clip that a model hears; see :func:`loudest_second`.

    However long a recording is, only some seconds of it are in memory at a time.

    Parameters
    ----------
    path : str or Path
    cancelled : set, optional
        As in :func:`read_sound`.

    Raises
    ------
    WavError
        With the reason, if the file holds no sound that can be read.
    """
    try:
        samples = read_wav(path, _BLOCK_VALUES + 1)
    except OtherFormatError:
        samples = None
    if samples is None or len(samples) > _BLOCK_VALUES:
        return _find_loudest(read_blocks(path, cancelled))
    return loudest_second(samples)


def read_blocks(path, cancelled=None):
    """Int16 blocks at 16 kHz of any sound file, none of them long; ``cancelled`` as in :func:`read_sound`."""
    try:
        yield from _read_plain(path)
        return
    except OtherFormatError:
        pass
    import soundfile  # both only where a file needs them
    import soxr

    class Forwards(soundfile.SoundFile):
        """Sound read to its end, wherever its header says that is: soundfile else looks for that place first."""

        def seekable(self):
            return False

    _check_whole(path)
    found = 0
    try:
        with Forwards(path) as file:
            if not _RATES[0] <= file.samplerate <= _RATES[1]:
                raise WavError(f"{file.samplerate} Hz is no rate for sound")
            n_most = MAX_SECONDS * file.samplerate
            if file.samplerate == SAMPLE_RATE:
                resample = lambda waveform, last=False: waveform  # noqa: E731
            else:
                resample = soxr.ResampleStream(file.samplerate, SAMPLE_RATE, 1, "float32").resample_chunk
            # Not file.blocks(): that trusts the length in the header, however long it is.
            n_frames = max(1, _BLOCK_VALUES // file.channels)
            while found <= n_most and not n_most < file.frames < _NO_FRAMES:
                frames = file.read(n_frames, "float32", always_2d=True)
                if not len(frames):
                    break
                mono, is_one = _mix(frames)
                if not np.isfinite(mono).all():
                    raise WavError("holds values that are no sound (NaN or infinite)")
                if is_one and cancelled is not None:
                    cancelled.add(path)
                found += len(mono)
                yield _to_counts(resample(mono))
            else:
                raise WavError(f"longer than {MAX_SECONDS // 3600} hours: cut it")
            yield _to_counts(resample(np.empty(0, np.float32), last=True))
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise WavError(f"damaged ({error})" if found else _explain_unread(path)) from error
    if not found:
        raise WavError("holds no sound")


def _read_plain(path):
    """Blocks of a 16 kHz, 16-bit, mono PCM wav; OtherFormatError before the first if it is none."""
    with _open(path) as file:
        start, n_bytes = _find_plain_sound(file)
        if n_bytes > 2 * SAMPLE_RATE * MAX_SECONDS:
            raise WavError(f"longer than {MAX_SECONDS // 3600} hours: cut it")
        file.seek(start)
        for done in range(0, n_bytes, 2 * _BLOCK_VALUES):
            yield np.frombuffer(file.read(min(2 * _BLOCK_VALUES, n_bytes - done)), "<i2")


def _mix(frames):
    """The mean of some channels, or the loudest one where they cancel each other out; whether it is one."""
    mono = frames.mean(axis=1)
    if frames.shape[1] == 1:
        return mono, False
    powers = np.einsum("ij,ij->j", frames, frames, dtype=np.float64)
    left = np.einsum("i,i->", mono, mono, dtype=np.float64) * frames.shape[1] ** 2
    if left < _CANCELLED * powers.sum():
        return frames[:, powers.argmax()], True
    return mono, False


def _explain_unread(path):
    """Why libsndfile does not know what is in a file."""
    with _open(path) as file:
        head = file.read(12)
    ending = Path(path).suffix.lower()
    if ending in OTHER_ENDINGS or head[4:8] == b"ftyp" or head[:4] == b"\x1aE\xdf\xa3":
        kind = ending[1:] if ending in OTHER_ENDINGS else "m4a" if head[4:8] == b"ftyp" else "webm"
        return f"{kind} instead of wav: convert it with ffmpeg -i FILE FILE.wav"
    return "not a sound file"


def _check_whole(path):
    """Raise if a wav of any format ends before its sound does: other readers take what there is."""
    with _open(path) as file:
        try:
            layout = _find_sound(file)
        except OtherFormatError:
            return  # not a wav
        frame_bytes = _parse_format(layout.format)[4]
        _measure_sound(file, layout.start, layout.n_bytes, frame_bytes)


def _to_counts(waveform):
    return np.clip(np.round(waveform * 32768), -32768, 32767).astype(np.int16)


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
        left = np.concatenate([left, block])
        if len(left) < CLIP_SAMPLES:
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
    import base64
    import html
    import io

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
