"""Makes over 250 broken or odd sound files, each with what must be read from it.

python tests/odd_wavs.py FOLDER
"""

import os
import socket
import struct
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

RATE = 16_000
GUID_END = bytes.fromhex("000000001000800000aa00389b71")
TONE_HZ = 400


class Odd(NamedTuple):
    """A file, and what it gives: ``strict`` from ``read_wav`` and ``any`` from ``read_sound``, None if neither.

    Expected are samples, exactly; or the text "tone": a tone of 400 Hz at a third of full scale.
    """

    path: Path
    strict: object
    any: object


def tone(n_samples, rate=RATE):
    """A tone of 400 Hz at a third of full scale, in 16-bit counts."""
    return np.round(np.sin(2 * np.pi * TONE_HZ * np.arange(n_samples) / rate) * 32768 / 3).astype("<i2")


def chunk(name, content, size=None, pad=True):
    """A RIFF chunk; ``size`` if its header lies."""
    size = len(content) if size is None else size
    return name + struct.pack("<I", size & 0xFFFFFFFF) + content + (b"\0" if pad and len(content) % 2 else b"")


def form(tag=1, channels=1, rate=RATE, bits=16, frame_bytes=None, byte_rate=None, extra=b""):
    """Content of a fmt chunk."""
    frame_bytes = channels * bits // 8 if frame_bytes is None else frame_bytes
    byte_rate = rate * frame_bytes if byte_rate is None else byte_rate
    layout = struct.pack("<HHIIHH", tag, channels, rate, byte_rate & 0xFFFFFFFF, frame_bytes & 0xFFFF, bits)
    return layout + extra


def extensible(tag=1, end=GUID_END, **settings):
    """Content of a fmt chunk of WAVE_FORMAT_EXTENSIBLE."""
    return form(0xFFFE, extra=struct.pack("<HHIH", 22, settings.get("bits", 16), 4, tag) + end, **settings)


def riff(*chunks, size=None, mark=b"RIFF"):
    """A whole file."""
    body = b"WAVE" + b"".join(chunks)
    return mark + struct.pack("<I", len(body) if size is None else size) + body


def make_odd_wavs(folder):
    """Write all files to ``folder``; list of Odd."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    made = []

    def add(name, content, strict=None, any=None):
        path = folder / f"{len(made):03d} {name}.wav"
        path.write_bytes(content)
        made.append(Odd(path, strict, strict if any is None else any))

    for make in (_cut, _lie, _shuffle_chunks, _lay_out, _vary_values, _mistake):
        make(add)
    _encode(folder, made)
    _name(folder, made)
    _replace_by_what_is_no_file(folder, made)
    return made


SOUND = tone(4000)
DATA = SOUND.tobytes()


def _cut(add):
    """Cut short at every byte of the header, and in the sound."""
    plain = riff(chunk(b"fmt ", form()), chunk(b"data", DATA))
    for n_bytes in [*range(45), 45, 1000, len(plain) - 2, len(plain) - 1]:
        add(f"plain cut at {n_bytes}", plain[:n_bytes])
    wide = riff(chunk(b"fmt ", extensible()), chunk(b"data", DATA))
    for n_bytes in [*range(12, 69, 3), 5000]:
        add(f"extensible cut at {n_bytes}", wide[:n_bytes])
    other = riff(chunk(b"fmt ", form(rate=44100, channels=2)), chunk(b"data", DATA))
    for n_bytes in (20, 40, 44, 46, 5000):
        add(f"44100 stereo cut at {n_bytes}", other[:n_bytes])
    deep = riff(chunk(b"fmt ", form(bits=24)), chunk(b"data", DATA[:7998]))
    add("24-bit cut", deep[:-300])


def _lie(add):
    """Sizes that are not true."""
    for size in (0, 1, len(DATA) + 2, 10**9, 2**32 - 2**16):
        add(f"data says {size}", riff(chunk(b"fmt ", form()), chunk(b"data", DATA, size)))
    for size in (len(DATA) - 1, len(DATA) + 1):  # half a sample is left out
        add(f"data says {size}", riff(chunk(b"fmt ", form()), chunk(b"data", DATA, size)), SOUND[: size // 2])
    # Written to a pipe: the header says "unknown" in one of many ways.
    for size in (2**31 - 2**12, 2**31 - 37, 2**31 - 1, 2**31, 2**32 - 37, 2**32 - 2, 2**32 - 1):
        add(f"data says {size}", riff(chunk(b"fmt ", form()), chunk(b"data", DATA, size), size=size), SOUND)
    torn = riff(chunk(b"fmt ", form()), chunk(b"data", DATA + b"\1", 2**32 - 1, pad=False), size=2**32 - 1)
    add("pipe closed within a sample", torn, SOUND)
    add("pipe closed at once", riff(chunk(b"fmt ", form()), chunk(b"data", b"", 2**32 - 1), size=2**32 - 1))
    stereo = np.repeat(tone(22_050, 44_100), 2).tobytes()
    for size in (2**31, 2**32 - 1):
        fmt = chunk(b"fmt ", form(rate=44_100, channels=2))
        add(f"44100 stereo says {size}", riff(fmt, chunk(b"data", stereo, size), size=size), None, "tone")
    add("killed recorder 44100", riff(chunk(b"fmt ", form(rate=44_100)), chunk(b"data", DATA, 0), size=0))
    add("data of 0 before a LIST", riff(chunk(b"fmt ", form()), chunk(b"data", b""), chunk(b"LIST", b"INFOabcd")))
    for size in (2, 1000):
        add(f"data says {size}", riff(chunk(b"fmt ", form()), chunk(b"data", DATA, size)), SOUND[: size // 2])
    plain = chunk(b"fmt ", form()), chunk(b"data", DATA)
    for size in (0, 4, 36, len(DATA), len(DATA) + 44, 2**32 - 1):
        add(f"riff says {size}", riff(*plain, size=size), SOUND)
    add("riff says too much", riff(*plain, size=10**6))
    for size in (0, 8, 15, 17, 40, 2**32 - 1):
        add(f"fmt says {size}", riff(chunk(b"fmt ", form(), size), chunk(b"data", DATA)))
    add("fmt of 18", riff(chunk(b"fmt ", form(extra=b"\0\0")), chunk(b"data", DATA)), SOUND)
    add("fmt of 60", riff(chunk(b"fmt ", form(extra=bytes(44))), chunk(b"data", DATA)), SOUND)
    ds64 = struct.pack("<QQQI", len(DATA) + 72, len(DATA), len(SOUND), 0)
    rf64 = (chunk(b"ds64", ds64), chunk(b"fmt ", form()), chunk(b"data", DATA, 2**32 - 1))
    add("rf64", riff(*rf64, size=2**32 - 1, mark=b"RF64"), SOUND)
    add("rf64 cut", riff(*rf64, size=2**32 - 1, mark=b"RF64")[:-10])
    add("rf64 without ds64", riff(*rf64[1:], size=2**32 - 1, mark=b"RF64"))
    for size, sound in ((0, None), (2**63 - 1, SOUND)):
        unknown = chunk(b"ds64", struct.pack("<QQQI", size, size, 0, 0))
        add(f"rf64 from a pipe {size}", riff(unknown, *rf64[1:], size=2**32 - 1, mark=b"RF64"), sound)
    add("rf64 mark on a riff", riff(chunk(b"fmt ", form()), chunk(b"data", DATA), mark=b"RF64"), SOUND)


def _shuffle_chunks(add):
    """Chunks too many, too few, or in another order."""
    fmt, data = chunk(b"fmt ", form()), chunk(b"data", DATA)
    add("LIST first", riff(chunk(b"LIST", b"INFOabcd"), fmt, data), SOUND)
    add("odd LIST", riff(chunk(b"LIST", b"abc"), fmt, data), SOUND)
    add("odd LIST without padding", riff(chunk(b"LIST", b"abc", pad=False), fmt, data))
    add("LIST last", riff(fmt, data, chunk(b"LIST", b"INFOabcd")), SOUND)
    add("fact", riff(fmt, chunk(b"fact", bytes(4)), data), SOUND)
    add("900 empty chunks", riff(chunk(b"junk", b"") * 900, fmt, data), SOUND)
    add("5000 empty chunks", riff(chunk(b"junk", b"") * 5000, fmt, data), SOUND)
    add("junk beyond the end", riff(chunk(b"junk", b"abcd", 2**31), fmt, data))
    add("data first", riff(data, fmt))
    add("no fmt", riff(data))
    add("no data", riff(fmt))
    add("two fmt", riff(chunk(b"fmt ", form(rate=8000)), fmt, data), SOUND)
    add("two data", riff(fmt, data, chunk(b"data", DATA[::-1])), SOUND)
    add("names in capitals", riff(chunk(b"FMT ", form()), chunk(b"DATA", DATA)))


def _lay_out(add):
    """Formats, true ones and impossible ones."""

    def one(name, fmt, strict=None, any=None):
        add(name, riff(chunk(b"fmt ", fmt), chunk(b"data", DATA)), strict, any)

    one("extensible", extensible(), SOUND)
    one("extensible of another company", extensible(end=bytes(14)))
    one("extensible float", extensible(tag=3))
    one("extensible without its end", form(0xFFFE, extra=struct.pack("<H", 0)))
    one("wrong byte rate", form(byte_rate=1), SOUND)
    for frame_bytes in (0, 1, 4, 65535):
        one(f"frames of {frame_bytes} bytes", form(frame_bytes=frame_bytes), SOUND)
    for rate in (0, 1, 999, 768_001, 2**32 - 1):
        one(f"{rate} Hz", form(rate=rate, byte_rate=0))
    one("12 bits", form(bits=12), SOUND)
    for bits in (0, 1, 20, 64, 65535):
        one(f"{bits} bits", form(bits=bits))
    for channels in (0, 65535):
        one(f"{channels} channels", form(channels=channels, frame_bytes=2))
    one("24 bits in 4 bytes", form(bits=24, frame_bytes=4))
    one("24 bits in 8 bytes, stereo", form(bits=24, frame_bytes=8, channels=2))
    for tag in (0, 2, 17, 85, 0x1234, 65535):
        one(f"format {tag}", form(tag))


def _vary_values(add):
    """Lengths and amplitudes at their ends."""

    def plain(name, samples):
        add(name, riff(chunk(b"fmt ", form()), chunk(b"data", samples.astype("<i2").tobytes())), samples)

    for n_samples in (1, 2, 15_999, 16_000, 16_001, 40_000):
        plain(f"{n_samples} samples", tone(n_samples) + np.int16(1))
    plain("nothing but zeros", np.zeros(16_000, np.int16))
    plain("full scale", np.resize(np.array([32767, -32768], np.int16), 16_000))
    for name, values in (
        ("nan", [0.1, np.nan, 0.2, 0.0]),
        ("infinite", [0.1, np.inf, 0.2, 0.0]),
        ("minus infinite", [0.1, -np.inf, 0.2, 0.0]),
        ("all nan", [np.nan] * 4),
    ):
        sound = np.resize(np.array(values, "<f4"), 4000).tobytes()
        add(f"{name} 16000", riff(chunk(b"fmt ", form(3, bits=32)), chunk(b"data", sound)))
        add(f"{name} 44100", riff(chunk(b"fmt ", form(3, bits=32, rate=44100)), chunk(b"data", sound)))
    loud = np.resize(np.array([1e30, -1e30, 0.5, -0.5], "<f4"), 4000)
    clipped = np.resize(np.array([32767, -32768, 16384, -16384], np.int16), 4000)
    add(
        "float beyond full scale", riff(chunk(b"fmt ", form(3, bits=32)), chunk(b"data", loud.tobytes())), None, clipped
    )


def _mistake(add):
    """What is no wav at all."""
    rng = np.random.default_rng(0)
    for name, content in (
        ("empty", b""),
        ("text", b"This is a text with the name of a wav, and it is long enough for a header.\n" * 20),
        ("html", b"<!doctype html><html><body>404: not found</body></html>" * 20),
        ("utf-16", "Ein Text".encode("utf-16") * 50),
        ("json", b'{"message": "403 forbidden"}'),
        ("zip", b"PK\x03\x04" + bytes(500)),
        ("png", b"\x89PNG\r\n\x1a\n" + bytes(500)),
        ("zeros", bytes(32_044)),
        ("RIFF alone", b"RIFF"),
        ("avi", b"RIFF" + struct.pack("<I", 500) + b"AVI LIST" + bytes(500)),
        ("m4a", b"\0\0\0\x1cftypM4A " + bytes(4000)),
        ("webm", b"\x1aE\xdf\xa3" + bytes(4000)),
        ("apple double", b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(4000)),
    ):
        add(name, content)
    for number in range(5):
        add(f"random bytes {number}", rng.bytes(4000 + number))


ENCODINGS = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")


def _encode(folder, made):
    """Every encoding at every rate; then other channels, containers and formats."""

    def write(name, rate, channels, encoding, container="WAV", strict=None):
        path = folder / f"{len(made):03d} {name}.wav"
        sound = np.repeat(tone(rate // 2, rate)[:, None], channels, axis=1)
        if encoding in ("FLOAT", "DOUBLE"):
            sound = sound / 32768
        soundfile.write(path, sound, rate, subtype=encoding, format=container)
        made.append(Odd(path, strict, "tone" if strict is None else strict))

    for encoding in ENCODINGS:
        for rate in (8000, 16_000, 22_050, 44_100, 48_000):
            for channels in (1, 2):
                challenge = (encoding, rate, channels) == ("PCM_16", RATE, 1)
                name = f"{encoding} {rate} {channels}"
                write(name, rate, channels, encoding, strict=tone(8000) if challenge else None)
    for channels in (3, 6, 8, 200):
        write(f"{channels} channels", 16_000, channels, "PCM_16")
    for rate in (1000, 11_025, 12_000, 32_000, 96_000, 192_000, 768_000):
        write(f"{rate} Hz", rate, 1, "PCM_16")
    for container in ("WAVEX", "RF64"):
        write(container, RATE, 1, "PCM_16", container, strict=tone(8000))
        write(f"{container} 24-bit stereo", 44_100, 2, "PCM_24", container)
    write("FLAC of a stream", RATE, 1, "PCM_16", "FLAC")
    content = bytearray(made[-1].path.read_bytes())
    content[21:26] = bytes([content[21] & 0xF0, 0, 0, 0, 0])  # the number of samples, 36 bits: unknown
    made[-1].path.write_bytes(content)
    for n_channels in (2, 3):
        write(f"{n_channels} channels that cancel", RATE, n_channels, "PCM_16")
        sound, _ = soundfile.read(made[-1].path)
        sound[:, 1:] *= -1 / (n_channels - 1)
        soundfile.write(made[-1].path, sound, RATE, subtype="PCM_16", format="WAV")
    for container, encoding in (("W64", "PCM_16"), ("AIFF", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")):
        write(f"{container} named wav", 16_000, 1, encoding, container)


NAMES = (
    *("with  spaces.wav", " leading space.wav", "trailing space .wav", "tab\tbed.wav", "two\nlines.wav"),
    *("überfällig.wav", "u\u0308ber.wav", "日本語.wav", "emoji 🎤.wav", "right\u202eto left.wav"),
    *("back\\slash.wav", "quote'\".wav", "per%cent%20.wav", "-dash.wav", "--model.wav", ".hidden.wav", "a.wav.wav"),
    *("CAPITALS.WAV", "x_nohash_0_nohash_1.wav", "$HOME.wav", "*.wav", "escape\x1b[31m.wav", "l" * 200 + ".wav"),
    *("{curly}.wav", "comma,semicolon;.wav"),
)


def _name(folder, made):
    """Good sound under odd names."""
    for number, name in enumerate((*NAMES, os.fsdecode(b"not utf-8 \xff\xfe.wav"))):
        path = folder / name
        samples = tone(4000 + number)
        try:
            path.write_bytes(riff(chunk(b"fmt ", form()), chunk(b"data", samples.tobytes())))
        except OSError:  # this file system cannot hold the name
            continue
        made.append(Odd(path, samples, samples))


def _replace_by_what_is_no_file(folder, made):
    """Folders, links and pipes with a wav's name: one must not wait for them."""
    (folder / "folder.wav").mkdir()
    (folder / "link to nothing.wav").symlink_to(folder / "nothing")
    (folder / "link to itself.wav").symlink_to(folder / "link to itself.wav")
    os.mkfifo(folder / "pipe.wav")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(folder)  # the path of a socket must be short
        server.bind("socket.wav")
        os.chdir(here)
    names = ("folder", "link to nothing", "link to itself", "pipe", "socket")
    made.extend(Odd(folder / f"{name}.wav", None, None) for name in names)
    good = folder / "link to a file.wav"
    good.symlink_to(folder / "with  spaces.wav")
    made.append(Odd(good, tone(4000), tone(4000)))


if __name__ == "__main__":
    print(len(make_odd_wavs(sys.argv[1])), "files")
