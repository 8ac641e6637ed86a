"""Recordings that teach a word: from the microphone, a folder, a zip or sound files, and what is said in each."""

import contextlib
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np

from utils import audio, corpus, doctor
from utils.audio import SAMPLE_RATE
from utils.system import microphone
from utils.system.cli import BadUse, CourseError

MOST_BYTES = 200_000_000  # of a zip, unpacked
RECORD_S = 2.0
TRIES = 3  # at a recording
_HOP = SAMPLE_RATE // 100
_GAP_HOPS = 25  # of quiet between two words; the gap before a t is shorter
_LEAST_HOPS = 8  # of a word: a click is shorter


class ClipError(ValueError):
    """Why a recording teaches nothing, in words for who made it."""


def cut_word(samples):
    """What is said in a recording of one word: int16 array of at most a second.

    Parameters
    ----------
    samples : int16 array, shape (n_samples,)

    Raises
    ------
    ClipError
        If nothing is said, hardly anything can be heard, or two words are.
    """
    hops = samples[: len(samples) // _HOP * _HOP].reshape(-1, _HOP).astype(np.float64)
    if not samples.any():
        raise ClipError("only silence was recorded: is the microphone muted?")
    loudest_db = doctor.measure(np.pad(samples, (0, doctor.BLOCK))).loudest_db
    if audio.is_wordless(audio.loudest_second(samples)) or len(hops) < _LEAST_HOPS:
        raise ClipError("no word is in it: a click, or silence")
    if loudest_db < doctor.LEAST_DB:
        raise ClipError(f"too quiet ({loudest_db:.0f} dB): come nearer, or speak louder")
    power = np.square(hops).mean(axis=1)
    floor = np.quantile(power, 0.2)
    level = max(power.max() * 10**-2.5, min(4 * floor, power.max() * 10**-1.5))  # a clip cut tightly has no floor
    loud = np.flatnonzero(power >= level)
    groups = np.split(loud, np.flatnonzero(np.diff(loud) > _GAP_HOPS) + 1)
    groups = [group for group in groups if len(group) >= _LEAST_HOPS and power[group].max() > power.max() / 100]
    if not groups:
        raise ClipError("no word stands out from the noise: find a quieter place")
    if len(groups) > 1:
        seconds = " and ".join(f"{group[0] * _HOP / SAMPLE_RATE:.1f} s" for group in groups[:2])
        raise ClipError(f"two words are in it (at {seconds}): one word a recording")
    first, last = groups[0][0] * _HOP, (groups[0][-1] + 1) * _HOP
    if last - first > 1.5 * SAMPLE_RATE:
        raise ClipError(f"what is said lasts {(last - first) / SAMPLE_RATE:.1f} s: a second is heard at a time")
    return samples[first : min(last, first + audio.CLIP_SAMPLES)]


def cut_sound(samples):
    """What is heard in a recording of anything: a word, or else its loudest second."""
    try:
        return cut_word(samples)
    except ClipError:
        return audio.loudest_second(samples)


def read_folder(path):
    """Recordings of a folder, a zip or sound files: dict of name -> int16 array, and (name, reason) of what is none."""
    found, passed = {}, []
    with contextlib.ExitStack() as stack:
        folder = Path(path)
        if not folder.exists():
            raise BadUse(f"{path} does not exist: name a folder, a zip or a sound file with recordings of the word")
        if not (folder.is_dir() or folder.is_file()):  # a pipe would keep us waiting
            raise BadUse(f"{path} is no folder, zip or sound file")
        if zipfile.is_zipfile(folder):
            folder = _unpack(folder, stack)
        for sound in corpus.find_sounds(folder) if folder.is_dir() else [folder]:
            name = str(sound.relative_to(folder)) if folder.is_dir() else sound.name
            try:
                found[name] = audio.read_sound(sound, corpus.MAX_SAMPLES)
            except audio.WavError as reason:
                passed.append((name, str(reason)))
    if not found and not passed:
        raise CourseError(f"{path} holds no sound files")
    return found, passed


def _unpack(path, stack):
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > MOST_BYTES:
                raise BadUse(f"{path} holds more than {MOST_BYTES / 1e6:.0f} MB: give the recordings of one word")
            archive.extractall(folder)  # nosec B202 # zipfile itself keeps names inside
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as reason:
        # Damaged; a name that is file and folder; with a password; packed in a way that Python does not know.
        raise CourseError(f"{path} cannot be unpacked: save it again as a plain zip, or unpack it yourself") from reason
    return folder


def record(word, n_recordings):
    """Record a word some times, with a countdown; each again that teaches nothing: dict of name -> int16 array."""
    found = {}
    with microphone.blocks() as blocks:
        for number in range(1, n_recordings + 1):
            for attempt in range(TRIES):
                for count in (3, 2, 1):
                    print(f'\r{number} of {n_recordings}: say "{word}" in {count} ', end="", flush=True)
                    for _ in range(5):  # half a second
                        next(blocks)
                print("\r" + f"{number} of {n_recordings}: now" + " " * 40, end="", flush=True)
                samples = np.concatenate([_show_level(next(blocks)) for _ in range(round(RECORD_S * 10))])
                print()
                try:
                    cut_word(samples)
                    cut_word(audio.loudest_second(samples))  # which is kept
                except ClipError as reason:
                    print(f"  again: {reason}")
                    if attempt == TRIES - 1:
                        raise CourseError(
                            f"{TRIES} times {reason}; python predict.py --doctor looks at the microphone"
                        ) from reason
                    continue
                found[f"recording {number}"] = samples
                break
    return found


def _show_level(block):
    level_db = 10 * np.log10(np.mean(np.square(audio.to_waveform(block))) + 1e-10)
    print("\r  " + "#" * round(max(0, min(40, (level_db + 70) * 0.8))) + " " * 8, end="", flush=True)
    return block
