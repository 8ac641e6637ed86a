"""Recognise spoken commands in wav files, in long recordings, or at the microphone.

    python predict.py data/main/test/yes                      every wav of a folder
    python predict.py --model runs/latest me.wav you.wav
    python predict.py --stream long.wav                       every word in it, with its time
    python predict.py --listen                                the microphone, until Ctrl-C
    python predict.py --doctor                                whether the microphone is fit
    python predict.py --submission submission.csv             data/raw/test/audio, for Kaggle
    python predict.py --check submission.csv                  whether Kaggle would accept it

Any rate and length will do: sounds are resampled to 16 kHz. Of a file without --stream, the loudest second is heard;
an answer that is not twice as probable as what speaks against it is marked "not sure". --json prints a line of JSON for
each file or word.
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

from utils import audio, corpus, doctor, evaluation, trained
from utils.labels import SILENCE
from utils.stream import STEP_S, Stream
from utils.system import cli, console, files, microphone
from utils.system.cli import BadUse, CourseError

TEST_AUDIO = Path("data/raw/test/audio")
SAMPLE_SUBMISSION = Path("data/raw/sample_submission.csv")
JOBS = ("submission", "check", "stream", "listen", "doctor")
COLUMNS = ("file", "said", "label", "probability", "sure", "error")
BESIDE = 47  # characters of a line beside the name of the file
BATCH_CLIPS = 64  # spectra of 256 would take 150 MB more, and as long


def find_wavs(paths):
    """The files among the paths and the sound files in folders (hidden ones are none), in order, each once."""
    found = []
    for path in map(Path, paths):
        if not os.path.lexists(path):
            raise CourseError(f"{path} does not exist")
        inside = corpus.find_sounds(path) if path.is_dir() else [path]
        if not inside:
            raise CourseError(f"{path} holds no sound files")
        found += inside
    return list(dict.fromkeys(found))


def recognise(recogniser, paths):
    """Path, label, its probability, whether it is sure, and None of each file, in order.

    Of one that cannot be read: path, ``silence``, NaN, True and why. Nothing at all, and a click or a knock alone, are
    ``silence`` for sure.
    """
    import numpy as np  # not before utils, which says what to do where it is missing

    remaining, cancelled = iter(paths), set()
    while batch := list(itertools.islice(remaining, BATCH_CLIPS)):
        clips, reasons = np.zeros((len(batch), audio.CLIP_SAMPLES), np.int16), [None] * len(batch)
        for index, path in enumerate(batch):
            try:
                clips[index] = audio.read_loudest_second(path, cancelled)
            except audio.WavError as reason:
                reasons[index] = str(reason)
        rows = recogniser(audio.to_waveform(clips))
        for path, clip, row, is_sure, reason in zip(batch, clips, rows, recogniser.are_sure(rows), reasons):
            label, probability = recogniser.labels[row.argmax()], float(row.max())
            if audio.is_wordless(clip):
                label, probability, is_sure = SILENCE, float("nan") if reason else 1.0, True
            yield path, label, probability, bool(is_sure), reason
    warn_of_cancelled(cancelled)


def warn_of_cancelled(paths):
    """Say once of which recordings one channel was heard alone."""
    if paths:
        cli.warn(f"{len(paths)} files have channels that cancel out, such as {min(paths)}: the loudest one was used")


def read_sample():
    """File names of Kaggle's sample submission, in order; None where there is none."""
    try:
        return [row["fname"] for row in csv.DictReader(io.StringIO(files.read_text(SAMPLE_SUBMISSION)))]
    except (FileNotFoundError, KeyError):
        return None


def submission_order(paths):
    """The clips in the order of Kaggle's sample submission, if that names the same ones."""
    by_name, names = {path.name: path for path in paths}, read_sample()
    if len(by_name) < len(paths):
        raise CourseError("two clips have the same name: a submission has one row for each name")
    if not names:
        return paths
    absent, strange = [name for name in names if name not in by_name], sorted(set(by_name) - set(names))
    for found, where in (
        (absent, f"of {len(names)} clips of {SAMPLE_SUBMISSION} are missing"),
        (strange, f"of {len(paths)} clips are not in {SAMPLE_SUBMISSION}"),
    ):
        if found:
            cli.warn(f"{len(found)} {where}, such as {found[0]}: Kaggle would not accept the submission")
    return paths if absent or strange else [by_name[name] for name in names]


def require_free(path):
    """Raise BadUse unless a submission may be written to ``path``: nothing is there, or a submission."""
    files.require_folders(path)
    if files.is_within(path, TEST_AUDIO.parents[1]):
        raise BadUse(f"{path} lies among the recordings: name a file outside of {TEST_AUDIO.parents[1]}")
    if os.path.lexists(path) and not evaluation.is_submission(path):
        raise BadUse(f"{path} is in the way, which is no submission: name another file, or move it away")


def write_submission(path, recogniser, paths):
    """Write a submission, going on where a killed run of the same model and clips has stopped.

    Until it is whole, its rows lie in a hidden file beside it. Returns how many clips could not be read.
    """
    partial = files.beside(path, "rows")
    key = json.dumps({"model": recogniser.fingerprint, "clips": evaluation.hash_names(map(str, paths))}) + "\n"
    rows = read_rows(partial, key)
    if rows:
        print(f"going on after {len(rows)} of {len(paths)} clips")
    files.write_text(partial, key + "".join(rows))
    with (
        open(partial, "a", 1, "utf-8", "surrogateescape", newline="") as file,  # 1: a line at a time
        cli.progress(total=len(paths), initial=len(rows), desc="recognising", unit="clip") as bar,
    ):
        for clip, label, *_, reason in recognise(recogniser, paths[len(rows) :]):
            rows.append(json.dumps([clip.name, label, reason]) + "\n")
            file.write(rows[-1])
            bar.update()
    answers = [json.loads(row) for row in rows]
    files.write_csv(path, evaluation.HEADER, [(name, label) for name, label, _ in answers])
    partial.unlink()
    unread = [(name, reason) for name, _, reason in answers if reason]
    for name, reason in unread:
        print(cli.printable(f"{name}: not read, {reason}"), file=sys.stderr)
    print(f"{path}: {len(answers)} rows")
    return len(unread)


def read_rows(partial, key):
    """Whole rows of a submission that was begun with the same key; BadUse if the file is none that was begun."""
    try:
        with open(partial, encoding="utf-8", errors="surrogateescape", newline="") as file:
            first, *rows = file.readlines() or [""]
    except FileNotFoundError:
        return []
    if not first.startswith('{"model": '):
        raise BadUse(f"{partial} is in the way, which no submission has left there: move it away")
    return list(itertools.takewhile(_is_row, rows)) if first == key else []


def _is_row(line):
    """Whether a line was written whole; after a power cut it may hold anything."""
    with contextlib.suppress(ValueError):
        return line.endswith("\n") and len(json.loads(line)) == 3
    return False


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
    try:
        for block in audio.read_blocks(path, cancelled):
            n_samples += len(block)
            heard += print_words(stream.feed(block), form)
    except audio.WavError as reason:
        raise CourseError(f"{path}: {reason}") from reason
    heard += print_words(stream.finish(), form)
    warn_of_cancelled(cancelled)
    seconds = n_samples / audio.SAMPLE_RATE
    if form == "text" and console.is_terminal():
        per_s = 6 if console.width() >= 70 else 3
        print("\n".join(draw_time(heard, seconds, per_s=per_s)))
    print(cli.printable(f"{path}: {seconds:.1f} s heard, {len(heard)} word{'s' * (len(heard) != 1)}"), file=sys.stderr)


def hear_microphone(recogniser, form):
    """Print every word said into the microphone, until it is interrupted."""
    stream = Stream(recogniser)
    with contextlib.suppress(KeyboardInterrupt), microphone.blocks() as blocks:
        print(f"listening for {', '.join(recogniser.labels[:-2])}; Ctrl-C ends", file=sys.stderr)
        for block in blocks:
            print_words(stream.feed(block), form)


def print_words(words, form):
    """Print words that are heard, a line each, at once; and give them back."""
    for seconds, label, probability in words:
        line = f"{seconds:9.2f} s  {label:<8}  {probability:.3f}"
        if form == "json":
            line = json.dumps({"seconds": round(seconds, 3), "label": label, "probability": probability})
        elif form == "csv":
            line = f"{seconds:.2f},{label},{probability:.3f}"
        elif console.is_terminal():
            line = f"{seconds:9.2f} s  {label:<8} {console.draw_bar(probability)} {probability:4.0%}"
        print(line, flush=True)
    return words


def draw_time(words, seconds, row_s=10, per_s=6):
    """Lines of time, ten seconds each, with each word where it was heard."""
    end = max(seconds, *(word.seconds + STEP_S for word in words), STEP_S)  # a word may be heard after the sound's end
    for start in range(0, math.ceil(end), row_s):
        line = ""
        for word in words:
            if start <= word.seconds < start + row_s:
                line = line.ljust(int((word.seconds - start) * per_s), "·") + word.label
        yield f"{start // 60:3d}:{start % 60:02d} {line.ljust(row_s * per_s, '·')}"


def parse(arguments):
    """Options of the command line, and among them the ``form`` of the answers and the ``job``, None for files."""
    parser = cli.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    model = "run folder, or .tflite file exported from one (default: runs/latest, or pretrained where there is none)"
    path, flag = {"type": cli.path_text}, {"action": "store_true"}
    parser.add_argument("paths", **path, nargs="*", metavar="WAV_OR_FOLDER", help="any sounds: wav, flac, mp3, ...")
    parser.add_argument("--model", **path, help=model)
    parser.add_argument("--said", **flag, help="add what was said: the name of the clip's folder")
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--json", **flag, help="a line of JSON for each file or word")
    forms.add_argument("--csv", **flag, help="a table: a header, then a row for each file or word")
    jobs = parser.add_mutually_exclusive_group()
    jobs.add_argument("--submission", **path, metavar="CSV", help=f"write fname,label rows (default: of {TEST_AUDIO})")
    jobs.add_argument("--check", **path, metavar="CSV", help="say whether Kaggle would accept a submission")
    jobs.add_argument("--stream", **path, metavar="FILE", help="find every word in a recording of any length")
    jobs.add_argument("--listen", **flag, help="find every word said into the microphone")
    jobs.add_argument("--doctor", **flag, help="whether the microphone is fit: level, noise, three words")
    options = parser.parse_args(arguments)
    form = options.form = "json" if options.json else "csv" if options.csv else "text"
    job = options.job = next((job for job in JOBS if getattr(options, job)), None)
    if form != "text" and job in ("submission", "check", "doctor"):
        parser.error(f"--{form} is for answers: --{job} has a form of its own")
    if options.said and job:
        parser.error("--said is for files whose folders say what was said")
    if options.paths and job not in (None, "submission"):
        parser.error(f"--{job} takes no further files: {options.paths[0]}")
    return options


def main(arguments=None):
    """Print a line for each file or word, or write a submission; 1 if a file could not be read."""
    options = parse(arguments)
    job, form = options.job, options.form
    if job == "check":
        return check(options.check)
    if not (job or options.paths):
        return explain()
    if job == "stream" and not Path(options.stream).exists():
        raise CourseError(f"{options.stream} does not exist")
    if job == "submission":
        require_free(options.submission)
    if job in (None, "submission"):
        paths = find_wavs(options.paths or [TEST_AUDIO])
        paths = submission_order(paths) if job else paths
    recogniser = load_recogniser(options.model)
    if job == "doctor":
        return doctor.examine(recogniser, microphone)
    if job in ("stream", "listen"):
        if form == "csv":
            print("seconds,label,probability")
        return hear_file(recogniser, options.stream, form) if job == "stream" else hear_microphone(recogniser, form)
    if job == "submission":
        try:
            with files.owned(options.submission):
                unread = write_submission(options.submission, recogniser, paths)
        except OSError as error:  # that of a full disk does not say where
            error.filename = error.filename or options.submission
            raise
    else:
        unread = print_answers(recogniser, paths, options.said, form)
    if unread:
        what = " and count as silence" if job else ""
        print(f"{unread} of {len(paths)} clips could not be read{what}", file=sys.stderr)
    return 1 if unread else 0


def load_recogniser(folder):
    """The model of a run folder; which one it is, if none was named and there is no run."""
    from utils import recogniser  # LiteRT or TensorFlow, neither of which is needed to refuse a bad call

    if not folder and trained.find_folder() == trained.PRETRAINED:
        own = ", ".join(f"--model {path}" for path in trained.list_folders()[:-1] if path.name != trained.RANDOM_RUN)
        own = f" (yours: {own})" if own else ""
        print(f"no run in runs/latest: the network in pretrained/ answers, see its README.md{own}", file=sys.stderr)
    return recogniser.load(folder, exported_first=True)


def print_answers(recogniser, paths, said, form):
    """A line for each file, as ``form`` (``text``, ``json`` or ``csv``); how many could not be read."""
    names = [path.name for path in paths]
    names = names if len(set(names)) == len(paths) else map(str, paths)
    names = console.fit(map(cli.printable, names), BESIDE) if console.is_terminal() else paths
    table = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    if form == "csv":
        table.writeheader()
    unread, right = 0, 0
    for name, (path, label, probability, is_sure, reason) in zip(names, recognise(recogniser, paths)):
        folder = path.absolute().parent.name
        unread += reason is not None
        right += label == folder and reason is None
        answer = {"file": str(path), **({"said": folder} if said else {})}
        answer |= {"error": reason} if reason else {"label": label, "probability": probability, "sure": is_sure}
        if form == "csv":
            table.writerow(answer)
        else:
            print(json.dumps(answer) if form == "json" else draw_answer(name, answer))
    if said and form == "text":
        print(f"{right} of {len(paths)} right")
    return unread


def draw_answer(name, answer):
    """An answer as a line, with colours and a bar on a terminal."""
    said = f"{answer['said']:<10}" if "said" in answer else ""
    if "error" in answer:
        return cli.printable(f"{name}  {said}") + console.paint(cli.printable(f"not read: {answer['error']}"), "red")
    label, probability, is_sure = answer["label"], answer["probability"], answer["sure"]
    if not console.is_terminal():
        return cli.printable(f"{name}  {said}{label:<8}  {probability:.3f}{'' if is_sure else '  not sure'}")
    is_right = answer.get("said") == label
    colour = ("green" if is_right else "red") if said else ("green" if is_sure else "yellow")
    mark = console.paint("✓ " if is_right else "✗ ", colour) if said else ""
    bar = console.paint(console.draw_bar(probability, 10 if console.width() >= 60 else 0), colour)
    return f"{name}  {said}{mark}{label:<8} {bar} {probability:4.0%}{'' if is_sure else ' not sure'}"


def explain():
    """What can be done, for who gave nothing to do, with an example that works here."""
    example = next((str(folder) for folder in sorted(Path("data/main/test").glob("[a-z]*"))), None)
    print(__doc__.split("\n\n")[1], file=sys.stderr)
    print(f"\nFor example: python predict.py {example + ' --said' if example else 'me.wav'}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(cli.run(main))
