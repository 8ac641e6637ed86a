"""Recognise spoken commands in wav files, in long recordings, or at the microphone.

    python predict.py data/main/test/yes                      every wav of a folder
    python predict.py --model runs/latest me.wav you.wav
    python predict.py --stream long.wav                       every word in it, with its time
    python predict.py --listen                                the microphone, until Ctrl-C
    python predict.py --doctor                                whether the microphone is fit
    python predict.py --submission submission.csv             data/raw/test/audio, for Kaggle
    python predict.py --check submission.csv                  whether Kaggle would accept it

Any rate and length will do: sounds are resampled to 16 kHz. Of a file without --stream, the loudest second is heard;
an answer that is too improbable is marked "not sure". --json prints a line of JSON for each file or word.
"""

import argparse
import contextlib
import csv
import io
import itertools
import json
import math
import os
import sys
from pathlib import Path

import numpy as np

from utils import audio, corpus, doctor, evaluation, trained
from utils.labels import SILENCE
from utils.stream import STEP_S, Stream
from utils.system import cli, console, files, microphone
from utils.system.cli import BadUse, CourseError

TEST_AUDIO = Path("data/raw/test/audio")
SAMPLE_SUBMISSION = Path("data/raw/sample_submission.csv")
NO_USE = "Kaggle would not accept the submission"
COLUMNS = ("file", "said", "label", "probability", "sure", "error")
BESIDE = 45  # characters of a line beside the name of the file
BATCH_CLIPS = 64  # spectra of 256 would take 150 MB more, and as long


def find_wavs(paths):
    """The files among the paths and the sound files in folders (hidden ones are none), in order, each once."""
    found = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = corpus.find_sounds(path)
            if not inside:
                raise CourseError(f"{path} holds no sound files")
            found += inside
        elif path.exists() or path.is_symlink():
            found.append(path)
        else:
            raise CourseError(f"{path} does not exist")
    return list(dict.fromkeys(found))


def recognise(recogniser, paths):
    """Label and probability of each file, in order.

    Yields
    ------
    (Path, str, float, str or None)
        File, label, its probability, and why the file could not be read (then the label is
        ``silence`` and the probability NaN). Nothing at all, and a click or a knock alone, are ``silence`` for sure.
    """
    remaining, cancelled = iter(paths), set()
    while batch := list(itertools.islice(remaining, BATCH_CLIPS)):
        clips, reasons = np.zeros((len(batch), audio.CLIP_SAMPLES), np.int16), [None] * len(batch)
        for index, path in enumerate(batch):
            try:
                clips[index] = audio.read_loudest_second(path, cancelled)
            except audio.WavError as reason:
                reasons[index] = str(reason)
        probabilities = recogniser(audio.to_waveform(clips))
        for path, clip, row, reason in zip(batch, clips, probabilities, reasons):
            if audio.is_wordless(clip):
                row = np.array([float(label == SILENCE) for label in recogniser.labels])
            best = int(row.argmax())
            label = recogniser.labels[best]
            yield (path, SILENCE, float("nan"), reason) if reason else (path, label, float(row[best]), None)
    warn_of_cancelled(cancelled)


def warn_of_cancelled(paths):
    """Say once of which recordings one channel was heard alone."""
    if paths:
        cli.warn(f"{len(paths)} files have channels that cancel out, such as {min(paths)}: the loudest one was used")


def read_sample(path=SAMPLE_SUBMISSION):
    """File names of Kaggle's sample submission, in order; None where there is none."""
    try:
        return [row["fname"] for row in csv.DictReader(io.StringIO(files.read_text(path)))]
    except (FileNotFoundError, KeyError):
        return None


def submission_order(paths):
    """The clips in the order of Kaggle's sample submission, if that names the same ones."""
    by_name = {path.name: path for path in paths}
    if len(by_name) < len(paths):
        raise CourseError("two clips have the same name: a submission has one row for each name")
    names = read_sample()
    if not names:
        return paths
    absent = [name for name in names if name not in by_name]
    strange = sorted(set(by_name) - set(names))
    if absent:
        cli.warn(
            f"{len(absent)} of {len(names)} clips of {SAMPLE_SUBMISSION} are missing, such as {absent[0]}: {NO_USE}"
        )
    if strange:
        cli.warn(f"{len(strange)} of {len(paths)} clips are not in {SAMPLE_SUBMISSION}, such as {strange[0]}: {NO_USE}")
    return paths if absent or strange else [by_name[name] for name in names]


def require_free(path):
    """Raise BadUse unless a submission may be written to ``path``: nothing is there, or a submission."""
    path, partial, raw = Path(path), files.beside(path, "rows"), TEST_AUDIO.parents[1]
    files.require_folders(path)
    if files.is_within(path, raw):
        raise BadUse(f"{path} lies among the recordings: name a file outside of {raw}")
    for there, is_ours in ((path, evaluation.is_submission), (partial, _is_begun)):
        if os.path.lexists(there) and not is_ours(there):
            raise BadUse(f"{there} is in the way, which is no submission: name another file, or move it away")


def _is_begun(partial):
    with contextlib.suppress(OSError, ValueError), open(partial, encoding="utf-8") as file:
        return set(json.loads(file.readline())) == {"model", "clips"}
    return False


def write_submission(path, recogniser, paths):
    """Write a submission, going on where a killed run of the same model and clips has stopped.

    Until it is whole, its rows lie in a hidden file beside it.

    Returns
    -------
    int
        Clips that could not be read.
    """
    path = Path(path)
    partial = files.beside(path, "rows")
    key = json.dumps({"model": recogniser.fingerprint, "clips": evaluation.hash_names(map(str, paths))}) + "\n"
    rows = read_rows(partial, key)
    # The rows so far, those to come and the table, each a name and a label.
    files.require_space(path, sum(4 * len(clip.name) + 200 for clip in paths) + 100_000)
    if rows:
        print(f"going on after {len(rows)} of {len(paths)} clips")
    files.write_text(partial, key + "".join(rows))
    remaining = paths[len(rows) :]
    with (
        open(partial, "a", encoding="utf-8", errors="surrogateescape", newline="") as file,
        cli.progress(total=len(paths), initial=len(rows), desc="recognising", unit="clip") as bar,
    ):
        for clip, label, _, reason in recognise(recogniser, remaining):
            rows.append(json.dumps([clip.name, label, reason]) + "\n")
            file.write(rows[-1])
            bar.update()
            if len(rows) % BATCH_CLIPS == 0:
                file.flush()
    answers = [json.loads(row) for row in rows]
    evaluation.write_submission(path, [(name, label) for name, label, _ in answers])
    partial.unlink()
    for name, _, reason in answers:
        if reason:
            print(cli.printable(f"{name}: not read, {reason}"), file=sys.stderr)
    print(f"{path}: {len(answers)} rows")
    return sum(reason is not None for _, _, reason in answers)


def read_rows(partial, key):
    """Whole rows of a submission that was begun with the same key."""
    try:
        with open(partial, encoding="utf-8", errors="surrogateescape", newline="") as file:
            first, *rows = file.readlines()
    except (FileNotFoundError, ValueError):
        return []
    return [row for row in rows if row.endswith("\n")] if first == key else []


def check(path):
    """Say whether Kaggle would accept a submission; 1 if not."""
    names = read_sample()
    problems = evaluation.check_submission(path, names)
    for problem in problems:
        print(cli.printable(f"{path}: {problem}"), file=sys.stderr)
    if not problems:
        known = "its names too" if names else f"but for its names: {SAMPLE_SUBMISSION} is missing"
        print(f"{path}: Kaggle would accept it ({known})")
    return 1 if problems else 0


def hear_file(recogniser, path, form):
    """Print every word in a sound file of any length, with its time; on a terminal, a line of time at the end."""
    stream, n_samples, cancelled, heard = Stream(recogniser), 0, set(), []
    show = Words(form)
    try:
        for block in audio.read_blocks(path, cancelled):
            n_samples += len(block)
            heard += show(stream.feed(block))
    except audio.WavError as reason:
        raise CourseError(f"{path}: {reason}") from reason
    heard += show(stream.finish())
    warn_of_cancelled(cancelled)
    seconds = n_samples / audio.SAMPLE_RATE
    if form == "text" and console.is_terminal():
        print("\n".join(draw_time(heard, seconds)))
    print(f"{path}: {seconds:.1f} s heard, {len(heard)} words", file=sys.stderr)


def hear_microphone(recogniser, form):
    """Print every word said into the microphone, until it is interrupted."""
    stream, show = Stream(recogniser), Words(form)
    with contextlib.suppress(KeyboardInterrupt), microphone.blocks() as blocks:
        print(f"listening for {', '.join(recogniser.labels[:-2])}; Ctrl-C ends", file=sys.stderr)
        for block in blocks:
            show(stream.feed(block))


class Words:
    """Prints the words that are heard, a line each, at once."""

    def __init__(self, form):
        self._form = form
        if form == "csv":
            print("seconds,label,probability")

    def __call__(self, detections):
        """Print some words, and give them back."""
        for seconds, label, probability in detections:
            if self._form == "json":
                line = json.dumps({"seconds": seconds, "label": label, "probability": probability})
            elif self._form == "csv":
                line = f"{seconds:.2f},{label},{probability:.3f}"
            elif console.is_terminal():
                line = f"{seconds:9.2f} s  {label:<8} {console.draw_bar(probability)} {probability:4.0%}"
            else:
                line = f"{seconds:9.2f} s  {label:<8}  {probability:.3f}"
            print(line, flush=True)
        return detections


def draw_time(words, seconds, row_s=10, per_s=6):
    """Lines of time, ten seconds each, with each word where it was heard."""
    end = max(seconds, *(word.seconds + STEP_S for word in words), STEP_S)  # a word may be heard after the sound's end
    for start in range(0, math.ceil(end), row_s):
        line = ""
        for word in words:
            if start <= word.seconds < start + row_s:
                line = line.ljust(int((word.seconds - start) * per_s), "·") + word.label
        yield f"{start // 60:3d}:{start % 60:02d} {line.ljust(row_s * per_s, '·')}"


def main(arguments=None):
    """Print a line for each file or word, or write a submission; 1 if a file could not be read."""
    parser = cli.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = "what to recognise: wav, flac, mp3, ..."
    parser.add_argument("paths", nargs="*", type=cli.path_text, metavar="WAV_OR_FOLDER", help=what)
    parser.add_argument(
        "--model",
        type=cli.path_text,
        help="run folder, or .tflite file exported from one (default: runs/latest, or pretrained where there is none)",
    )
    parser.add_argument("--said", action="store_true", help="add what was said: the name of the clip's folder")
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="a line of JSON for each file or word")
    forms.add_argument("--csv", action="store_true", help="a table: a header, then a row for each file or word")
    jobs = parser.add_mutually_exclusive_group()
    jobs.add_argument(
        "--submission", type=cli.path_text, metavar="CSV", help=f"write fname,label rows (of {TEST_AUDIO} by default)"
    )
    jobs.add_argument("--check", type=cli.path_text, metavar="CSV", help="say whether Kaggle would accept a submission")
    jobs.add_argument(
        "--stream", type=cli.path_text, metavar="FILE", help="find every word in a recording of any length"
    )
    jobs.add_argument("--listen", action="store_true", help="find every word said into the microphone")
    jobs.add_argument("--doctor", action="store_true", help="whether the microphone is fit: level, noise, three words")
    options = parser.parse_args(arguments)
    form = "json" if options.json else "csv" if options.csv else "text"
    if form != "text" and (options.submission or options.check):
        parser.error(f"--{form} is for answers: a submission has a form of its own")
    if options.said and (options.submission or options.check or options.stream or options.listen or options.doctor):
        parser.error("--said is for files whose folders say what was said")
    if form != "text" and options.doctor:
        parser.error(f"--{form} is for answers: the doctor speaks to people")
    if options.check and options.paths:
        parser.error(f"--check takes no further files: {options.paths[0]}")
    if options.check:
        return check(options.check)
    if not (options.paths or options.submission or options.stream or options.listen or options.doctor):
        return explain()
    if options.paths and (options.stream or options.listen or options.doctor):
        parser.error(f"--stream, --listen and --doctor take no further files: {options.paths[0]}")
    paths = []
    if options.submission:
        require_free(options.submission)
    if options.stream and not Path(options.stream).exists():
        raise CourseError(f"{options.stream} does not exist")
    if not (options.stream or options.listen or options.doctor):
        paths = find_wavs(options.paths or [TEST_AUDIO])
    if options.submission:
        paths = submission_order(paths)
    recogniser = load_recogniser(options.model)
    if options.stream:
        return hear_file(recogniser, options.stream, form)
    if options.listen:
        return hear_microphone(recogniser, form)
    if options.doctor:
        return doctor.examine(recogniser, microphone)
    if options.submission:
        with files.owned(options.submission):
            unread = write_submission(options.submission, recogniser, paths)
    else:
        unread = print_answers(recogniser, paths, options.said, form)
    if unread:
        what = " and count as silence" if options.submission else ""
        print(f"{unread} of {len(paths)} clips could not be read{what}", file=sys.stderr)
    return 1 if unread else 0


def load_recogniser(folder):
    """The model of a run folder; which one it is, if none was named and there is no run."""
    from utils import recogniser  # LiteRT or TensorFlow, neither of which is needed to refuse a bad call

    if not folder and trained.find_folder() == trained.PRETRAINED:
        own = next((f" (--model {path} is yours)" for path in trained.list_folders()[:-1]), "")
        print(f"no run in runs/latest: the network in pretrained/ answers, see its README.md{own}", file=sys.stderr)
    return recogniser.load(folder, exported_first=True)


def print_answers(recogniser, paths, said, form):
    """A line for each file, as ``form`` (``text``, ``json`` or ``csv``); how many could not be read."""
    shorts = [path.name for path in paths]
    shorts = shorts if len(set(shorts)) == len(paths) else map(str, paths)
    names = dict(zip(paths, console.fit([cli.printable(short) for short in shorts], BESIDE)))
    table = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n") if form == "csv" else None
    if table:
        table.writeheader()
    unread, right = 0, 0
    for path, label, probability, reason in recognise(recogniser, paths):
        folder, is_sure = path.absolute().parent.name, probability >= trained.SURE
        unread += reason is not None
        right += label == folder and reason is None
        answer = {"file": str(path), **({"said": folder} if said else {})}
        answer |= {"error": reason} if reason else {"label": label, "probability": probability, "sure": is_sure}
        if table:
            table.writerow(answer)
        elif form == "json":
            print(json.dumps(answer))
        elif console.is_terminal():
            print(_show(names[path], answer))
        else:
            print(cli.printable(f"{path}  {_say(answer)}"))
    if said and form == "text":
        print(f"{right} of {len(paths)} right")
    return unread


def _say(answer):
    """An answer without its file, for a pipe or a file."""
    said = f"{answer['said']:<10}" if "said" in answer else ""
    if "error" in answer:
        return f"{said}not read: {answer['error']}"
    mark = "" if answer["sure"] else "  not sure"
    return f"{said}{answer['label']:<8}  {answer['probability']:.3f}{mark}"


def _show(name, answer):
    """A line for a terminal."""
    said = f"{answer['said']:<10}" if "said" in answer else ""
    if "error" in answer:
        return f"{name}  {said}{console.paint('not read: ' + cli.printable(answer['error']), 'red')}"
    is_right = answer.get("said") == answer["label"]
    colour = ("green" if is_right else "red") if said else ("green" if answer["sure"] else "yellow")
    mark = console.paint("✓ " if is_right else "✗ ", colour) if said else ""
    probability = f"{answer['probability']:4.0%}" + ("" if answer["sure"] else " not sure")
    bar = console.paint(console.draw_bar(answer["probability"]), colour)
    return f"{name}  {said}{mark}{answer['label']:<8} {bar} {probability}"


def explain():
    """What can be done, for who gave nothing to do, with an example that works here."""
    example = next((str(folder) for folder in sorted(Path("data/main/test").glob("[a-z]*"))), None)
    print(__doc__.split("\n\n")[1], file=sys.stderr)
    print(f"\nFor example: python predict.py {example + ' --said' if example else 'me.wav'}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(cli.run(main))
