"""The built-in voices: speech made on the spot by the eSpeak NG library, laid out as Kaggle's data.

Everything in the course runs on them with no download. They are not recordings: nobody
spoke these words, and a score on them says nothing about people.

    python -m utils.voices
"""

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

from utils import audio, sources
from utils.labels import KEYWORDS, LABELS, OTHER_WORDS, SILENCE, label_of
from utils.system import cli, files
from utils.system.cli import BadUse, CourseError

SPEAKERS = 100  # in train/audio, each says all thirty words once
TEST_SPEAKERS = 30  # further ones, in test/audio
TEST_CLIPS = 300
EXAMPLE_SPEAKER = 156  # beyond the others; chosen because the network in pretrained/ understands every example
NOISE_SECONDS = 64
PEAK = 32767 / 32768  # of full scale: the largest count
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

        self._scratch = tempfile.TemporaryDirectory()
        # On Windows the library opens files by names in the system's code page.
        encoding = "mbcs" if sys.platform == "win32" else "utf-8"
        data = espeakng_loader.get_data_path()
        if len(data.encode(encoding)) > MAX_DATA_PATH:
            data = shutil.copytree(data, f"{self._scratch.name}/data")
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
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


def _room(reverberation_s, rng):
    """Impulse response of a small room: the direct sound, then noise that dies away."""
    times = np.arange(int(reverberation_s * audio.SAMPLE_RATE)) / audio.SAMPLE_RATE
    response = 0.04 * rng.standard_normal(len(times)) * 10 ** (-3 * times / reverberation_s)
    response[0] = 1.0
    return response


def _clip(spoken, sample_rate, speaker, room, rng):
    """One second, int16: the word at a random place, in its room, with its noise floor."""
    import soxr

    loud = np.flatnonzero(np.abs(spoken.astype(np.int32)) > 200)
    word = spoken[loud[0] : loud[-1] + 1].astype(np.float32)
    word = np.convolve(soxr.resample(word, sample_rate, audio.SAMPLE_RATE), room)[: audio.CLIP_SAMPLES]
    word *= 10 ** ((speaker["peak_db"] + rng.uniform(-2, 2)) / 20) / np.abs(word).max()
    clip = 10 ** (speaker["noise_db"] / 20) * rng.standard_normal(audio.CLIP_SAMPLES)
    start = rng.integers(0, audio.CLIP_SAMPLES - len(word) + 1)
    clip[start : start + len(word)] += word
    return audio.to_counts(clip * PEAK)


def _speak_block(job):
    """Write the clips of a block of speakers; runs in a process of its own."""
    folder, speakers, seed = job
    with contextlib.closing(Speech()) as speech:
        for speaker in speakers:
            rng = np.random.default_rng([seed, speaker["number"]])
            room = _room(speaker["reverberation_s"], rng)
            for word in speaker["words"]:
                spoken = speech.say(word, speaker, int(rng.integers(1, 2**31)))
                path = Path(folder) / word / f"{speaker['id']}_nohash_0.wav"
                audio.write_wav(path, _clip(spoken, speech.sample_rate, speaker, room, rng))
    return sum(len(speaker["words"]) for speaker in speakers)


def _colored_noise(rng, n_samples, slope):
    """Noise whose power falls with frequency as f ** -slope: 0 white, 1 pink, 2 brown."""
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    hz = np.fft.rfftfreq(n_samples, 1 / audio.SAMPLE_RATE)
    spectrum *= np.maximum(hz, 20) ** (-slope / 2)
    return np.fft.irfft(spectrum, n_samples)


def make_noises(rng, seconds=NOISE_SECONDS):
    """Six background recordings that are not speech: name -> int16 array."""
    n_samples = seconds * audio.SAMPLE_RATE
    times = np.arange(n_samples) / audio.SAMPLE_RATE
    hum = sum(np.sin(2 * np.pi * 50 * k * times + k) / k for k in (1, 2, 3, 5, 7))
    hum += 0.1 * rng.standard_normal(n_samples)
    clicks = 0.01 * rng.standard_normal(n_samples)
    clicks[rng.integers(0, n_samples, 4 * seconds)] += rng.uniform(-1, 1, 4 * seconds)
    taps = 0.005 * rng.standard_normal(n_samples)
    decay = np.exp(-np.arange(1600) / 200)
    for start in rng.integers(0, n_samples - 1600, 3 * seconds):
        tone = np.sin(2 * np.pi * rng.uniform(300, 1500) * times[:1600])
        taps[start : start + 1600] += rng.uniform(0.2, 1) * decay * tone
    noises = {
        "white_noise": _colored_noise(rng, n_samples, 0),
        "pink_noise": _colored_noise(rng, n_samples, 1),
        "brown_noise": _colored_noise(rng, n_samples, 2),
        "hum": hum,
        "clicks": clicks,
        "taps": taps,
    }
    # Levels as far apart as those of real background recordings.
    return {
        name: audio.to_counts(sound / np.abs(sound).max() * PEAK * 10 ** (rng.uniform(-30, -8) / 20))
        for name, sound in noises.items()
    }


def _make_test(raw, spoken, sounds, n_clips, rng):
    """Make ``test/audio`` of the further speakers' clips and of silences."""
    clips = [(path, label_of(path.parent.name)) for path in sorted(spoken.rglob("*.wav"))]
    for number in range(n_clips // len(LABELS)):
        sound = sounds[number % len(sounds)]
        start = rng.integers(0, len(sound) - audio.CLIP_SAMPLES)
        path = spoken / f"{number}.wav"
        audio.write_wav(path, sound[start : start + audio.CLIP_SAMPLES])
        clips.append((path, SILENCE))
    sources.hide_labels(clips, raw, "voices_solution.csv", rng)
    files.remove(spoken)


def make_voices(raw="data/raw", n_speakers=SPEAKERS, n_test_clips=TEST_CLIPS, seed=SEED):
    """Make the built-in voices in Kaggle's layout; same arguments, same bytes.

    Parameters
    ----------
    raw : str or Path
        Gets all that Kaggle's archives hold, and ``voices_solution.csv``, the truth of ``test/audio``.
    n_speakers : int, at least 3
        In ``train/audio``; each says the thirty words once.
    n_test_clips : int, at least 12
        In ``test/audio``, all twelve labels alike, by further speakers.

    Returns
    -------
    bool
        False if exactly these voices were there already; something else there is a CourseError.
    """
    raw = Path(raw)
    settings = {"speakers": n_speakers, "test_clips": n_test_clips, "seed": seed, "version": 1}
    if next(files.list_paths(raw), None):
        there = files.read_json(raw / "source.json")
        if isinstance(there, dict) and there.get("voices") == settings:
            return False
        what = sources.describe_source(raw)["name"]
        raise BadUse(
            f"{raw} already holds {what}: move it away to make the {NAME} (an archive that you have downloaded is "
            "unpacked by python -m utils.sources archive PATH)"
        )
    rng = np.random.default_rng([seed, 1])
    words = (*KEYWORDS, *OTHER_WORDS)
    speakers = [{**s, "words": words} for s in draw_speakers(n_speakers + min(TEST_SPEAKERS, n_test_clips), seed)]
    training, testing = speakers[:n_speakers], speakers[n_speakers:]
    _deal_test_words(testing, n_test_clips, rng)
    with files.new_folder(raw, files.NOTHING) as work:
        train, spoken = work / "train" / "audio", work / "spoken"
        for folder, word in itertools.product((train, spoken), words):
            (folder / word).mkdir(parents=True)
        noises = make_noises(rng)
        (train / "_background_noise_").mkdir()
        for name, sound in noises.items():
            audio.write_wav(train / "_background_noise_" / f"{name}.wav", sound)
        _speak([(train, training), (spoken, testing)], seed)
        # As in Kaggle's, about a tenth of the speakers is for validation, and a tenth for testing.
        tenth = max(1, n_speakers // 10)
        for name, group in (("validation", training[:tenth]), ("testing", training[tenth : 2 * tenth])):
            lines = sorted(f"{word}/{speaker['id']}_nohash_0.wav\n" for speaker in group for word in words)
            files.write_text(work / "train" / f"{name}_list.txt", "".join(lines))
        _make_test(work, spoken, list(noises.values()), n_test_clips, rng)
        files.write_json(work / "source.json", {"name": NAME, "parts": {}, "voices": settings})
    return True


def make_examples(folder, words, seed=SEED):
    """One clip of each word, by a speaker who is not among those of :func:`make_voices`: their paths."""
    speaker = draw_speakers(EXAMPLE_SPEAKER + 1, seed)[-1]
    paths = [Path(folder) / word / f"{speaker['id']}_nohash_0.wav" for word in words]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    _speak_block((folder, [{**speaker, "words": words}], seed))
    return paths


def _deal_test_words(speakers, n_clips, rng):
    """Deal out the words of test/audio: the ten keywords and ``unknown`` in equal numbers."""
    hands = [set() for _ in speakers]
    for number in range(n_clips - n_clips // len(LABELS)):
        hand = hands[number % len(speakers)]
        turn = number % (len(KEYWORDS) + 1)
        others = [word for word in OTHER_WORDS if word not in hand]
        hand.add(KEYWORDS[turn] if turn < len(KEYWORDS) else str(rng.choice(others)))
    for speaker, hand in zip(speakers, hands):
        speaker["words"] = sorted(hand)


def _speak(groups, seed):
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
                counts = pool.map(_speak_block, jobs)
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


def main(arguments=None):
    """Command line of ``python -m utils.voices``."""
    parser = cli.Parser(prog="python -m utils.voices", description=f"Make the {NAME} in data/raw.")
    parser.add_argument("--raw", type=cli.path_text, default="data/raw", help="folder to make")
    parser.add_argument("--speakers", type=cli.positive_int, default=SPEAKERS, help="speakers in train/audio")
    parser.add_argument("--seed", type=cli.seed, default=SEED, help="same seed, same bytes")
    options = parser.parse_args(arguments)
    if options.speakers < 3:
        parser.error("--speakers: at least 3, one each for training, validation and testing")
    new = make_voices(options.raw, options.speakers, seed=options.seed)
    made = f"{NAME}, {options.speakers} speakers" + ("" if new else ", nothing to do")
    then = () if options.raw == "data/raw" else ("--raw", options.raw)
    cli.tell_result(options.raw, made, "-m", "utils.prepare", *then)


if __name__ == "__main__":
    sys.exit(cli.run(main))
