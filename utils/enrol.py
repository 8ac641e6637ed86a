"""A word of your own from a few recordings, heard by a trained network beside what it knows: no training, no data set.

    python -m utils.enrol lights --record 5           the microphone asks for the word five times
    python -m utils.enrol lights FOLDER               or recordings that you have: a folder, a zip, sound files
    python -m utils.enrol --list                      what was taught, how well, and what is near to what
    python -m utils.enrol --rename lights lamp        --remove lamp takes one away
    python -m utils.enrol --page my_words.zip         what the page kept: words taught there, clips marked *wrong?*
    python predict.py --model runs/taught --listen    hears it
    python -m utils.export runs/taught --to float web

Three to ten recordings of a word will do. They are kept in runs/taught/clips, and nothing leaves the computer.
"""

import argparse
import shutil
import sys
import time
from pathlib import Path

import numpy as np

from utils import audio, corpus, labels, trained, web
from utils.labels import SILENCE, UNKNOWN
from utils.nets import taught
from utils.system import cli, files
from utils.system.cli import BadUse, CourseError
from utils.system.names import fold
from utils.system.takes import ClipError, cut_sound, cut_word, read_folder, record

FOLDER = trained.RUNS / "taught"
FEW = 3
MOST_LEFT_OUT = 10  # recordings of a word, to see whether it is heard
NEAR = 0.1  # share of another word's recordings that lie nearer to this one: from here on it is said
KIND = files.Kind(
    "taught words",
    "config.json",
    "base_labels",
    (
        "labels.txt",
        "config.json",
        taught.BASE,
        trained.TAUGHT,
        "clips/*/[0-9]*.wav",  # as they are numbered here
        *(f"export/{name}" for name in web.EXPORTED),
    ),
)
OTHERS = "_none_of_them_"  # folder of clips that were taken for a word and were none


class Teacher:
    """A folder of taught words, and what is learned of the recordings in it.

    Parameters
    ----------
    folder : str or Path
    model : str or Path, optional
        Run whose network hears the other words; that of the folder stays where there is one.
    alone : bool, optional
        The taught words instead of those of the network.
    """

    def __init__(self, folder=FOLDER, model=None, alone=None):
        self.folder = Path(folder)
        files.require_ours(self.folder, KIND)
        kept = files.read_json(self.folder / "config.json") or {}
        self.base = Path(model or kept.get("base") or trained.find_folder())
        if trained.find_run(self.base).resolve() == self.folder.resolve():
            self.base = trained.PRETRAINED
        self.alone = kept.get("alone", False) if alone is None else alone
        self.labels = trained.read_labels(self.base)
        self.embedding = taught.Embedding()

    @property
    def clips(self):
        """Recordings by word: dict of str -> list of Path."""
        found = sorted(path for path in (self.folder / "clips").glob("*") if path.is_dir())
        return {path.name: corpus.list_wavs(path) for path in found if path.name != OTHERS}

    @property
    def commands(self):
        """Words that are heard besides."""
        return [] if self.alone else [label for label in self.labels if label not in (SILENCE, UNKNOWN)]

    def require_new(self, word):
        """Raise BadUse for a word that is one of the network's."""
        if fold(word) in map(fold, self.commands):
            raise BadUse(f"{word} is a command already: teach another word, or give --alone to hear taught words alone")

    def add(self, word, recordings):
        """Keep recordings of a word.

        Parameters
        ----------
        word : str
        recordings : dict of str -> int16 array
            By what they are called in a message.

        Returns
        -------
        list of (str, str)
            Name and reason of each one that was passed over.
        """
        place = self.folder / "clips" / word
        cut = cut_sound if word == OTHERS else cut_word
        there = {_read_clip(path, cut).tobytes(): path.name for path in corpus.list_wavs(place)}
        passed = []
        for name, samples in recordings.items():
            try:
                cut(samples)
                clip = audio.loudest_second(samples)
                content = cut(clip).tobytes()  # of what is kept: all of it is read again
                if (same := there.get(content)) is not None:
                    raise ClipError(f"the same recording as {same}: another one teaches more")
            except ClipError as reason:
                passed.append((name, str(reason)))
                continue
            there[content] = name
            if not (self.folder / "config.json").exists():  # which tells the folder from a stranger's
                self._write_config()
            place.mkdir(parents=True, exist_ok=True)
            number = 1 + max((int(path.stem) for path in place.glob("*.wav") if path.stem.isdecimal()), default=0)
            files.write_bytes(place / f"{number}.wav", audio.make_wav(clip))
        return passed

    def find(self, word):
        """A taught word, however its case is written; None if there is none."""
        return next((name for name in self.clips if fold(name) == fold(word)), None)

    def _require(self, word):
        if found := self.find(word):
            return found
        raise BadUse(f"{word} was not taught: there are {', '.join(self.clips) or 'none yet'}")

    def rename(self, word, new):
        """Call a word otherwise; a renaming that was interrupted before it was learned counts as done."""
        if self._is_known(word) and not self.find(word) and self.find(new):
            return
        word = self._require(word)
        self.require_new(new)
        if self.find(new) not in (None, word):
            raise BadUse(f"{new} was taught already: choose another name, or remove it first")
        files.replace(self.folder / "clips" / word, self.folder / "clips" / new)

    def remove(self, word):
        """Forget a word and its recordings; of a removal that was interrupted, only what was learned is left."""
        if self.find(word) or not self._is_known(word):
            files.remove(self.folder / "clips" / self._require(word))
        if not self.clips:
            files.remove(self.folder)

    def _is_known(self, word):
        """Whether the network that was learned last hears a word."""
        path = self.folder / "labels.txt"
        return path.exists() and fold(word) in map(fold, files.read_text(path).splitlines())

    @property
    def is_stale(self):
        """Whether there are recordings of which nothing was learned, as after an interruption."""
        learned = self.folder / trained.TAUGHT
        clips = (self.folder / "clips").glob("*/*.wav")
        return not learned.exists() or any(path.stat().st_mtime > learned.stat().st_mtime for path in clips)

    def describe(self):
        """What was taught, a dict by word: its recordings, how many are heard when left out, the nearest other word."""
        return self._describe(*self._read())

    def _read(self):
        """Places of the recordings of each word, and of those that are none."""
        places = {word: [self._places(path) for path in paths] for word, paths in self.clips.items()}
        if not places:
            raise CourseError(f"{self.folder} holds no word: teach one with python -m utils.enrol WORD FOLDER")
        return places, [self._places(path, cut_sound) for path in corpus.list_wavs(self.folder / "clips" / OTHERS)]

    def learn(self):
        """Learn all words from their recordings, write what hears them, and tell as :meth:`describe` does."""
        places, others = self._read()
        for word in places:  # the commands may be others than when it was taught
            self.require_new(word)
        words = taught.learn(places, self.embedding.negatives, others)
        names, _ = taught.arrange(self.labels, words.names, self.alone)
        web.export_float(self.base)
        files.remove(self.folder / "export")  # which is of the words of before
        shutil.copyfile(trained.find_exported(self.base), self.folder / taught.BASE)
        with files.new_file(self.folder / trained.TAUGHT) as file:
            np.savez(file, weights=words.weights, names=np.array(words.names))
        files.write_text(self.folder / "labels.txt", "\n".join(names) + "\n")
        self._write_config()
        return self._describe(places, others)

    def _write_config(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        files.write_json(
            self.folder / "config.json",
            {"base": str(self.base), "base_labels": list(self.labels), "alone": self.alone, "model": "taught"},
        )

    def _places(self, path, cut=cut_word):
        return self.embedding(taught.make_copies(_read_clip(path, cut)))

    def _describe(self, places, others):
        points = {word: np.array([found.mean(axis=0) for found in recordings]) for word, recordings in places.items()}
        for command in self.commands:
            of = self.embedding.negatives[[said == command for said in self.embedding.said]]
            if len(of):
                points[command] = of
        centres = {word: found.mean(axis=0) for word, found in points.items()}
        table = {}
        for word, recordings in places.items():
            heard, n_tried = 0, min(len(recordings), MOST_LEFT_OUT) if len(recordings) > 1 else 0
            for index in range(n_tried):
                rest = {**places, word: recordings[:index] + recordings[index + 1 :]}
                answer = taught.learn(rest, self.embedding.negatives, others)(recordings[index])
                heard += bool(answer.mean(axis=0).argmax() == list(places).index(word))
            near = {
                other: np.mean(
                    np.linalg.norm(points[other] - centres[word], axis=1)
                    < np.linalg.norm(points[other] - centres[other], axis=1)
                )
                for other in centres
                if other != word
            }
            nearest = max(near, key=near.get) if near else None
            table[word] = {
                "recordings": len(recordings),
                "heard": heard,
                "left_out": n_tried,
                "nearest": nearest,
                "near": float(near[nearest]) if nearest else 0.0,
            }
        return table


def _read_clip(path, cut):
    """What is said in a recording that was kept; CourseError if it was damaged since."""
    try:
        return cut(audio.read_wav(path))
    except (audio.WavError, ClipError) as reason:
        raise CourseError(f"{path}: {reason}; remove this file, and run the same command again") from reason


def parse_word(text):
    """Argument type: one word that can be taught."""
    word = text.strip()
    labels.parse_keywords(word)
    if "," in word:
        raise argparse.ArgumentTypeError(f"{word!r} is more than one word: teach one at a time")
    return word


def take_page(teacher, path):
    """What the page kept, each clip as what it was: words are taught, all else is none of them."""
    by_word, passed = {}, []
    found, unread = read_folder(path)
    for name, samples in found.items():
        word = Path(name).parent.name
        is_word = word and word != "other" and fold(word) not in map(fold, teacher.labels)
        by_word.setdefault(word if is_word else OTHERS, {})[name] = samples
    for word, recordings in by_word.items():
        try:
            passed += teacher.add(word if word == OTHERS else parse_word(word), recordings)
        except argparse.ArgumentTypeError as reason:
            passed += [(name, str(reason)) for name in recordings]
    return passed + unread


def print_table(table):
    """What was taught, a word a line, and what is too near to what."""
    for word, row in table.items():
        heard = f"; left out one at a time, {row['heard']} of {row['left_out']} are heard" if row["left_out"] else ""
        print(f"{word}: {row['recordings']} recording{'s' * (row['recordings'] > 1)}{heard}")
        if row["left_out"] and not row["heard"]:
            cli.warn(f"{word} is not heard: record it in a quiet place, or choose a word that no other one is like")
        if row["recordings"] < FEW:
            cli.warn(f"{word} has fewer than {FEW} recordings: some more teach it much better")
        if row["near"] >= NEAR:
            cli.warn(
                f"{word} is near to {row['nearest']}: {row['near']:.0%} of the recordings of {row['nearest']} "
                f"lie nearer to it than to their own kind. Choose a word that sounds less like it, or record more"
            )


def main(arguments=None):
    """Command line of ``python -m utils.enrol``."""
    parser = cli.Parser(
        prog="python -m utils.enrol", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("word", nargs="?", type=parse_word, metavar="WORD", help="the word, as it is to be called")
    parser.add_argument("path", nargs="*", type=cli.path_text, metavar="PATH", help="recordings of it")
    parser.add_argument("--record", type=cli.positive_int, metavar="N", help="record it so many times")
    parser.add_argument("--list", action="store_true", help="the words that were taught")
    parser.add_argument("--rename", nargs=2, type=parse_word, metavar=("WORD", "NEW"), help="call a word otherwise")
    parser.add_argument("--remove", metavar="WORD", help="take a word away, with its recordings")
    parser.add_argument("--page", type=cli.path_text, metavar="ZIP", help="take what the page kept")
    parser.add_argument("--model", type=cli.path_text, help="run that hears the other words (default: as predict.py)")
    parser.add_argument(
        "--alone", action=argparse.BooleanOptionalAction, default=None, help="instead of the words of that run"
    )
    parser.add_argument("--into", type=cli.path_text, default=FOLDER, metavar="RUN", help=f"folder (default: {FOLDER})")
    options = parser.parse_args(arguments)
    given = [bool(options.word), options.list, bool(options.rename), bool(options.remove), bool(options.page)]
    if sum(given) != 1:
        parser.error("name a word to be taught, or one of --list, --rename, --remove, --page")
    if options.word and bool(options.path) == bool(options.record):
        parser.error("name recordings of the word, or give --record N")
    with files.owned(options.into):
        teach(Teacher(options.into, options.model, options.alone), options)


def teach(teacher, options):
    """What the command line asks for."""
    if options.word:
        word = teacher.find(options.word) or options.word
        teacher.require_new(word)
        if options.record:
            recordings = record(word, options.record)
        else:
            recordings = {}
            for path in options.path:
                found, unread = read_folder(path)
                recordings |= {name if name not in recordings else f"{path}, {name}": found[name] for name in found}
                _tell(unread)
        passed = teacher.add(word, recordings)
        _tell(passed)
        if len(passed) == len(recordings) and not teacher.is_stale:
            raise CourseError(f"nothing new was learned of {word}: give or record others")
    elif options.page:
        _tell(take_page(teacher, options.page))
    elif options.rename:
        teacher.rename(*options.rename)
    elif options.remove:
        teacher.remove(options.remove)
        if not teacher.clips:
            print("no taught word is left")
            return
    started = time.perf_counter()
    print_table(teacher.describe() if options.list else teacher.learn())
    if not options.list:
        learned = f"learned in {time.perf_counter() - started:.1f} s"
        cli.tell_result(teacher.folder, learned, "predict.py", "--model", teacher.folder, "--listen")


def _tell(passed):
    """One line for each recording that taught nothing."""
    for name, reason in passed:
        cli.warn(f"{name}: {reason}")


if __name__ == "__main__":
    sys.exit(cli.run(main))
