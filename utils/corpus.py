"""Recordings on disk: what their names say, where they lie, what they sound like."""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from utils import audio
from utils.labels import LABELS, SILENCE, UNKNOWN
from utils.system import cli, files
from utils.system.cli import CourseError
from utils.system.names import compose, is_hidden

SETS = ("train", "cv", "test")
NOISE_FOLDER = "_background_noise_"
MAX_SAMPLES = 60 * audio.SAMPLE_RATE  # of the recording of a word
LISTS = {"cv": "validation_list.txt", "test": "testing_list.txt"}


class Clip(NamedTuple):
    """One clip of a split: the set it is in, its label, its file."""

    set: str
    label: str
    path: Path


class LeakError(CourseError):
    """A model would see in training what it is tested on."""


def require_prepared(folder):
    """Raise CourseError unless there is a folder of arrays."""
    if not Path(folder).is_dir():
        raise CourseError(f"{folder} is missing: run python -m utils.prepare, or check --path_to_data")


def parse_name(path):
    """Speaker and word of a training file.

    ``bed/0a7c2a8d_nohash_0.wav`` is word ``bed`` by speaker ``0a7c2a8d``; in ``unknown/`` the
    word stands at the end of the name: ``unknown/0a7c2a8d_nohash_0_bed.wav``. A piece of
    background noise, ``silence/running_tap_at_16000.wav``, has the recording for a speaker.
    """
    # Plain text work: this is called for every clip, and pathlib takes ten times as long.
    place, name = os.path.split(path)
    folder, stem = os.path.basename(place), os.path.splitext(name)[0]  # noqa: PTH119, PTH122
    if folder == SILENCE:
        return stem.rpartition("_at_")[0], SILENCE
    speaker, _, rest = stem.partition("_nohash_")
    if folder == UNKNOWN and "_" in rest:
        return speaker, rest.partition("_")[2]
    return speaker, folder


def wav_names(folder):
    """Names of the wav files in a folder, sorted; none if there is no such folder."""
    return [name for name in _list_visible(folder) if name.lower().endswith(".wav")]


def _list_visible(folder):
    try:
        return sorted(name for name in os.listdir(folder) if not is_hidden(name))
    except (FileNotFoundError, NotADirectoryError):
        return []


def list_wavs(folder):
    """Wav files of a folder by name; none if there is no such folder."""
    return [Path(folder, name) for name in wav_names(folder)]


def list_clips(folder, labels=LABELS):
    """Clips of a tree ``folder/<set>/<label>/*.wav``, in a fixed order."""
    folder = Path(folder)
    return [Clip(name, label, path) for name in SETS for label in labels for path in list_wavs(folder / name / label)]


def count_clips(folder, labels=LABELS):
    """Clips of a tree by set and label: ``{"train": {"yes": 212, ...}, ...}``."""
    return {name: {label: len(wav_names(Path(folder, name, label))) for label in labels} for name in SETS}


def find_recordings(raw):
    """Folder of the words' folders, ``raw/train/audio`` as Kaggle has it or ``raw``; CourseError if neither is."""
    raw = Path(raw)
    if (raw / "train" / "audio").is_dir():
        return raw / "train" / "audio"
    if any(_is_sound(name) for folder in _list_visible(raw) for name in _list_visible(raw / folder)):
        return raw
    raise CourseError(
        f"{raw} holds neither train/audio nor a folder of wavs for each word: run python -m utils.voices for the "
        "built-in voices, or python -m utils.sources --help for all doors"
    )


def list_recordings(folder):
    """Word and name of every sound file, also those that are passed over, in a fixed order.

    A file that is in no word's folder has the word ``""``; one in a folder inside that has ``folder/file`` for a name.
    """
    found = []
    for word in _list_visible(folder):
        place = Path(folder, word)
        names = _list_visible(place)
        sounds = [name for name in names if _is_sound(name)]
        found += [(word, name) for name in sounds]
        for inner in sorted(set(names) - set(sounds)):
            if not (place / inner).is_symlink():
                found += [(word, path.relative_to(place).as_posix()) for path in find_sounds(place / inner)]
        if _is_sound(word) and not names:
            found.append(("", word))
    return found


def _is_sound(name):
    return os.path.splitext(name)[1].lower() in (*audio.ENDINGS, *audio.OTHER_ENDINGS)  # noqa: PTH122


def find_sounds(folder):
    """Every sound file in a folder and in those inside it, by its ending, in a fixed order; hidden ones are none."""
    found = []
    for place, inside, names in os.walk(folder):
        inside[:] = [name for name in inside if not is_hidden(name)]
        found += [Path(place, name) for name in names if _is_sound(name) and not is_hidden(name)]
    return sorted(found, key=Path.as_posix)


def list_folder(recordings):
    """Where the official lists belong: beside ``audio`` as Kaggle has it, or beside the words."""
    return recordings.parent if recordings.name == "audio" else recordings


def read_list(path):
    """Names in a ``validation_list.txt`` or ``testing_list.txt``, such as ``bed/0a7c2a8d_nohash_0.wav``."""
    path = Path(path)
    if not path.is_file():
        raise CourseError(f"{path} is missing: the split needs it (unpack the whole archive, see docs/data.md)")
    lines = [line.strip().replace("\\", "/").removeprefix("./") for line in files.read_text(path).splitlines()]
    return [line for line in lines if line]


def check_lists(raw):
    """Set of every listed clip: ``{"bed/0a7c2a8d_nohash_0.wav": "cv"}``; LeakError if one is in both or missing."""
    recordings = find_recordings(raw)
    there = {compose(f"{word}/{name}"): f"{word}/{name}" for word, name in list_recordings(recordings)}
    folder, listed = list_folder(recordings), {}
    for name, file in LISTS.items():
        for clip in read_list(folder / file):
            clip = there.get(compose(clip), clip)
            if listed.setdefault(clip, name) != name:
                raise LeakError(f"{clip} is in both lists: take it out of one of {folder}/*_list.txt")
    missing = sorted(set(listed) - set(there.values()))
    if missing:
        raise LeakError(f"{len(missing)} listed clips do not exist, {missing[0]} for one: unpack the recordings again")
    return listed


class Listener:
    """Reads recordings and tells equal sounds by a hash; a file is read once, whatever links lead to it.

    With ``resample``, other rates, channels and formats are taken as well.
    """

    def __init__(self, resample=False):
        self.long = []  # recordings of more than a second, of which a clip is the loudest
        self.other_format = set()  # recordings that are not 16 kHz, 16-bit and mono
        self.cancelled = set()  # recordings whose channels cancel each other out, of which the loudest is taken
        self._resample, self._hashes = resample, {}

    def read(self, path, max_samples=None):
        """Samples of a recording; WavError with the reason if it is not one to use."""
        if self._resample:
            return audio.read_sound(path, max_samples, self.cancelled)
        return audio.read_wav(path, max_samples)

    def find_fault(self, word, name):
        """Why a file of :func:`list_recordings` is passed over unread; nothing if it is not."""
        ending = os.path.splitext(name)[1].lower()  # noqa: PTH122
        if not word:
            return "in no word's folder"
        if "/" in name:
            return "in a folder inside the word's folder"
        if ending in audio.OTHER_ENDINGS:
            return f"{ending[1:]} instead of wav: convert it with ffmpeg -i FILE FILE.wav"
        if ending != ".wav" and not self._resample:
            return f"{ending[1:]} instead of wav: --resample takes it"
        return ""

    def hash_all(self, paths, description):
        """Hash of each file's sound, whatever the file is called: None if all is zero, or the WavError."""
        for path in cli.progress(paths, desc=description, unit="clip"):
            identity = path
            try:
                state = path.stat()
                if state.st_ino:  # some file systems have no numbers
                    identity = state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns
            except OSError:  # the reader says what is wrong with it
                pass
            if identity not in self._hashes:
                try:
                    self._hashes[identity] = self._hash(path)
                except audio.WavError as reason:
                    self._hashes[identity] = reason
            yield self._hashes[identity]

    def _hash(self, path):
        try:
            samples = audio.read_wav(path, MAX_SAMPLES + 1)
        except audio.OtherFormatError:
            if not self._resample:
                raise
            samples = audio.read_sound(path, MAX_SAMPLES + 1, self.cancelled)
            self.other_format.add(path)
        if len(samples) > MAX_SAMPLES:
            raise audio.WavError(f"longer than {MAX_SAMPLES // audio.SAMPLE_RATE} seconds: not one word")
        if len(samples) > audio.CLIP_SAMPLES:
            self.long.append(path)
        return hashlib.sha256(samples).digest() if samples.any() else None
