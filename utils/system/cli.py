"""What every command of the course shares: one-line errors, exit statuses, progress bars."""

import argparse
import difflib
import errno
import io
import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from utils.system.names import find_fault

NO_ACCESS = (5, 32, 33)  # Windows: denied, which an open file is too if it is to be replaced; shared; locked
MAX_SEED = 2**32 - 1
MAX_WINDOWS_PATH = 259  # unless a setting of Windows allows more


class CourseError(Exception):
    """A failed job, told to a person in one line: what is wrong, where, what to do."""


class BadUse(CourseError):
    """A bad call, told in one line; exit status 2."""


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the default of each flag, but of those that are off, or told by their text, until they are given."""

    def _get_help_string(self, action):
        told = action.default is None or isinstance(action.default, bool)
        return action.help if told else super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """Argument parser that shows defaults and ends a bad call with one line and exit status 2."""

    def __init__(self, **settings):
        settings.setdefault("formatter_class", _Help)
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message):
        """End with one line and status 2; an unknown flag is met with the nearest known one."""
        unknown = message.removeprefix("unrecognized arguments: ").split()
        if unknown and unknown[0].startswith("--") and message.startswith("unrecognized"):
            name = unknown[0].split("=")[0]
            near = difflib.get_close_matches(name, self._option_string_actions, n=1)
            message = f"unknown flag {name}" + (f", did you mean {near[0]}?" if near else "")
        self.exit(2, f"{self.prog}: error: {message} (--help explains every flag)\n")


def positive_int(text):
    """Argument type: a whole number above zero."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero")
    return number


def positive_float(text):
    """Argument type: a finite number above zero."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above zero")
    return number


def path_text(text):
    """Argument type: a path, with ~ for one's home."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is no path")
    return os.path.expanduser(text)  # noqa: PTH111


def seed(text):
    """Argument type: a whole number that every random generator takes."""
    if not text.isdecimal() or int(text) > MAX_SEED:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {MAX_SEED}")
    return int(text)


def run(main, arguments=None):
    """Call ``main(arguments)`` and return its exit status; expected failures become one line.

    0 success, 1 a failed job, 2 a bad call (from the parser), 130 interrupted.
    """
    name = Path(sys.argv[0]).name
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a console or file that lacks a character gets its number instead
            stream.reconfigure(errors="backslashreplace")
    status = 1
    try:
        return main(arguments) or 0
    except BadUse as error:
        message, status = str(error), 2
    except CourseError as error:
        message = str(error)
    except ModuleNotFoundError as error:
        message = f"{error.name} is not installed: python -m pip install --requirement req.txt"
    except KeyboardInterrupt as error:
        hint = str(error) or "run the same command again to go on"
        print(f"\n{name}: interrupted; {hint}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # who reads has gone: what is left to be written at the end goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message = f"no space left in {_place(error)}: free some and run the same command again"
        elif getattr(error, "winerror", None) in NO_ACCESS:
            message = (
                f"{error.filename2 or error.filename} cannot be written: close it if another program has it open, "
                "or choose a folder that you may write to"
            )
        elif isinstance(error, PermissionError) or error.errno == errno.EROFS:
            message = f"no permission for {_place(error)}: choose a folder that you may write to"
        elif fault := _find_name_fault(error.filename):
            message = f"{error.filename} {fault}: rename it, or choose a folder on another disk"
        elif error.filename is not None and error.strerror:
            message = f"{error.filename} cannot be used ({error.strerror.lower()}): choose another place"
        else:
            raise
    print(printable(f"{name}: error: {message}"), file=sys.stderr)
    return status


def _find_name_fault(path):
    """What is wrong with the path of an error, if that explains it."""
    if not isinstance(path, str):
        return ""
    if sys.platform == "win32" and len(os.path.abspath(path)) > MAX_WINDOWS_PATH:  # noqa: PTH100
        return f"is longer than the {MAX_WINDOWS_PATH} characters that Windows allows"
    return find_fault(Path(path).name)


def nearest_folder(path):
    """The folder that a path is in or will be: the first one above it that is there."""
    folder = Path(path).absolute()
    while not os.path.isdir(folder):  # noqa: PTH112 where one may not look, pathlib raises
        if folder == folder.parent:
            raise CourseError(f"{path}: there is no {folder}: choose a folder on another disk")
        folder = folder.parent
    return folder


def _place(error):
    """Where an error of the disk is: the file if there is one, else the folder it was to be in."""
    if error.filename is None:
        return "the disk"
    there = os.path.lexists(error.filename)
    return error.filename if there else nearest_folder(error.filename)


def warn(message):
    """One line on stderr."""
    print(printable(f"warning: {message}"), file=sys.stderr)


def printable(text):
    """Text on one line, whatever a file name holds: line breaks and the like are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def progress(items=None, **settings):
    """Progress bar that appears after a second, on a terminal or in a notebook, and leaves none behind.

    Takes what :class:`tqdm.tqdm` takes. In a pipe or a log file nothing is written.
    """
    from tqdm import tqdm  # an answer to one file needs none

    in_notebook = "ipykernel" in sys.modules
    settings = {"delay": 1, "leave": False, "dynamic_ncols": True, **settings}
    return tqdm(
        items,
        disable=False if in_notebook else None,
        file=sys.stdout if in_notebook else sys.stderr,
        **settings,
    )


@contextmanager
def hold_back_notes():
    """Hold back what TensorFlow's and LiteRT's C++ code writes to the error stream; show it if the block fails."""
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as notes:
        os.dup2(notes.fileno(), 2)
        try:
            yield
        except BaseException:
            notes.seek(0)
            os.write(kept, notes.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
