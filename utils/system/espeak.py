"""Who the built-in voices are, and what they say: speech by the eSpeak NG library, as clips of a second."""

import contextlib
import ctypes
import hashlib
import itertools
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from utils import audio
from utils.system import cli
from utils.system.cli import CourseError

PEAK = 32767 / 32768  # of full scale: the largest count
AUDIBLE = 200  # counts
SEED = 220788
NAME = "built-in voices"

ACCENTS = ("en-us", "en-gb-x-rp", "en-gb-scotland", "en-029", "en-us-nyc", "en-gb-x-gbclan", "en-gb-x-gbcwmd")
# The library's voice variants that sound like people; its robots, whispers and demons are left out.
VARIANTS = (
    *("Alex", "Alicia", "Andrea", "Andy", "Annie", "Denis", "Diogo", "Gene", "Gene2", "Henrique", "Hugo"),
    *("Jacky", "Lee", "Marco", "Mario", "Michael", "Mike", "Mr serious", "Nguyen", "Reed", "adam", "anika"),
    *("announcer", "antonio", "belinda", "benjamin", "boris", "caleb", "david", "ed", "edward", "f1", "f2"),
    *("f3", "f4", "f5", "grandma", "grandpa", "ian", "iven", "john", "kaukovalta", "linda", "m1", "m2", "m3"),
    *("m4", "m5", "m6", "m7", "m8", "marcelo", "max", "miguel", "norbert", "pablo", "paul", "pedro", "quincy"),
    *("rob", "robert", "sandro", "shelby", "steph", "travis", "victor", "zac"),
)
# The library keeps state from one word to the next, so a block of speakers is always
# spoken by a fresh process: the bytes do not depend on how many processes there are.
BLOCK = 13

_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4  # espeak_PARAMETER
_SYNCHRONOUS, _UTF8 = 2, 1
_RETURN_ERRORS = 0x8000  # instead of ending the process
MAX_DATA_PATH = 140  # bytes; the library cuts names of folders at 160


class Speech:
    """The eSpeak NG library of the ``espeakng-loader`` wheel, called through ctypes."""

    def __init__(self):
        import espeakng_loader  # only the processes that speak load it

        # Windows lets nobody remove a library that is loaded.
        self._scratch = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        # On Windows the library opens files by names in the system's code page.
        encoding = "mbcs" if sys.platform == "win32" else "utf-8"
        data = espeakng_loader.get_data_path()
        if len(data.encode(encoding)) > MAX_DATA_PATH:
            data = shutil.copytree(data, f"{self._scratch.name}/data")
        # A copy of its own is loaded anew, as the library keeps state of what was spoken before in this process, too.
        # That is enough for most voices; what one of a hundred says still hangs on what the process did before.
        library = shutil.copy(espeakng_loader.get_library_path(), self._scratch.name)
        self._library = ctypes.CDLL(library)
        self.sample_rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, data.encode(encoding), _RETURN_ERRORS)
        if self.sample_rate <= 0:
            raise CourseError("eSpeak NG does not start: reinstall it (pip install -r req.txt)")
        callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
        self._pieces = []
        self._callback = callback(self._receive)  # kept, or ctypes would free it
        self._library.espeak_SetSynthCallback(self._callback)

    def close(self):
        """Remove what was made to speak."""
        self._scratch.cleanup()

    def _receive(self, samples, n_samples, _events):
        if samples and n_samples > 0:
            self._pieces.append(np.ctypeslib.as_array(samples, (n_samples,)).copy())
        return 0

    def say(self, word, speaker, seed):
        """Speak one word; int16 array at ``sample_rate``."""
        self._pieces.clear()
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(seed))
        if self._library.espeak_SetVoiceByName(speaker["voice"].encode()) != 0:
            raise CourseError(f"eSpeak NG has no voice {speaker['voice']}: reinstall it (pip install -r req.txt)")
        values = {_RATE: speaker["rate"], _VOLUME: 100, _PITCH: speaker["pitch"], _RANGE: speaker["range"]}
        for parameter, value in values.items():
            self._library.espeak_SetParameter(parameter, int(value), 0)
        text = word.encode() + b"\0"
        self._library.espeak_Synth(text, len(text), 0, 0, 0, _UTF8, None, None)
        return np.concatenate(self._pieces)


def draw_speakers(n_speakers, seed=SEED):
    """Speakers: voice variant x accent x rate x pitch x loudness x room, each with an 8-hex id."""
    rng = np.random.default_rng(seed)
    voices = [f"{accent}+{variant}" for variant, accent in itertools.product(VARIANTS, ACCENTS)]
    rng.shuffle(voices)
    return [
        {
            "id": hashlib.sha256(f"{seed} {number}".encode()).hexdigest()[:8],
            "number": number,
            "voice": voices[number % len(voices)],
            "rate": rng.integers(140, 220),  # words a minute
            "pitch": rng.integers(25, 75),
            "range": rng.integers(30, 70),
            "peak_db": rng.uniform(-18, -3),  # of full scale
            "noise_db": rng.uniform(-65, -45),  # of full scale
            "reverberation_s": rng.uniform(0.03, 0.15),
        }
        for number in range(n_speakers)
    ]


def make_room(reverberation_s, rng):
    """Impulse response of a small room: the direct sound, then noise that dies away."""
    times = np.arange(int(reverberation_s * audio.SAMPLE_RATE)) / audio.SAMPLE_RATE
    response = 0.04 * rng.standard_normal(len(times)) * 10 ** (-3 * times / reverberation_s)
    response[0] = 1.0
    return response


def make_clip(spoken, sample_rate, speaker, room, rng):
    """One second, int16: the word at a random place, in its room, with its noise floor."""
    import soxr

    loud = np.flatnonzero(np.abs(spoken.astype(np.int32)) > AUDIBLE)
    word = spoken[loud[0] : loud[-1] + 1].astype(np.float32)
    word = np.convolve(soxr.resample(word, sample_rate, audio.SAMPLE_RATE), room)[: audio.CLIP_SAMPLES]
    word *= 10 ** ((speaker["peak_db"] + rng.uniform(-2, 2)) / 20) / np.abs(word).max()
    clip = 10 ** (speaker["noise_db"] / 20) * rng.standard_normal(audio.CLIP_SAMPLES)
    start = rng.integers(0, audio.CLIP_SAMPLES - len(word) + 1)
    clip[start : start + len(word)] += word
    return audio.to_counts(clip * PEAK)


def speak_block(job):
    """Write the clips of a block of speakers; runs in a process of its own."""
    folder, speakers, seed = job
    with contextlib.closing(Speech()) as speech:
        for speaker in speakers:
            rng = np.random.default_rng([seed, speaker["number"]])
            room = make_room(speaker["reverberation_s"], rng)
            for word in speaker["words"]:
                spoken = speech.say(word, speaker, int(rng.integers(1, 2**31)))
                if not (np.abs(spoken.astype(np.int32)) > AUDIBLE).any():
                    raise CourseError(f"the built-in voices have no sound for {word!r}: choose another word")
                path = Path(folder) / word / f"{speaker['id']}_nohash_0.wav"
                audio.write_wav(path, make_clip(spoken, speech.sample_rate, speaker, room, rng))
    return sum(len(speaker["words"]) for speaker in speakers)


def speak(groups, seed):
    """Write the clips of (folder, speakers), by a process a core."""
    jobs = [
        (folder, speakers[start : start + BLOCK], seed)
        for folder, speakers in groups
        for start in range(0, len(speakers), BLOCK)
    ]
    total = sum(len(speaker["words"]) for _, speakers in groups for speaker in speakers)
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(os.cpu_count() or 1, len(jobs)), spawn, max_tasks_per_child=1)
    with pool, cli.progress(total=total, desc=f"making the {NAME}", unit="clip") as bar:
        try:
            with _interrupts_held():
                counts = pool.map(speak_block, jobs)
            for n_clips in counts:
                bar.update(n_clips)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)  # or all would be spoken first
            raise


@contextlib.contextmanager
def _interrupts_held():
    """Let Ctrl-C, which all processes get, pass by those that are begun here: they end with their block of speakers."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
