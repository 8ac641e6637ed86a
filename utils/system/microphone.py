"""Sound from the microphone, as it comes in: ``pip install --group microphone``."""

import contextlib
import itertools
import queue

import numpy as np

from utils.audio import SAMPLE_RATE
from utils.system.cli import CourseError

BLOCK_SAMPLES = SAMPLE_RATE // 10
MOST_WAITING = 100  # blocks: ten seconds; a recogniser that falls further behind is too slow for this machine


@contextlib.contextmanager
def blocks():
    """Endless int16 blocks of 100 ms at 16 kHz, of the system's default microphone; CourseError if there is none."""
    sounddevice = _import()
    waiting = queue.Queue(MOST_WAITING)

    def keep(data, _frames, _time, _status):
        with contextlib.suppress(queue.Full):
            waiting.put_nowait(np.frombuffer(data, np.int16).copy())

    with contextlib.ExitStack() as stack:
        try:
            recording = sounddevice.RawInputStream(SAMPLE_RATE, BLOCK_SAMPLES, channels=1, dtype="int16", callback=keep)
            stack.enter_context(recording)  # which starts it
        except sounddevice.PortAudioError as error:
            raise CourseError(
                f"no microphone that records at {SAMPLE_RATE} Hz ({error.args[0]}): plug one in, or end the program "
                "that has it"
            ) from error
        yield (waiting.get() for _ in itertools.count())


def describe():
    """The default microphone's name, and the rate it records at by itself."""
    sounddevice = _import()
    try:
        device = sounddevice.query_devices(kind="input")
    except (sounddevice.PortAudioError, ValueError) as error:
        raise CourseError(f"no microphone is there ({error}): plug one in") from error
    return f"{device['name']}, {device['default_samplerate']:.0f} Hz, heard at {SAMPLE_RATE}"


def _import():
    try:
        import sounddevice
    except ModuleNotFoundError as error:
        raise CourseError("the microphone needs sounddevice: pip install --group microphone") from error
    except OSError as error:  # PortAudio, which it comes with except on Linux
        raise CourseError("the microphone needs PortAudio: on Debian or Ubuntu, apt install libportaudio2") from error
    return sounddevice
