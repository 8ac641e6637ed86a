"""What every command of the course shares: one-line errors, exit statuses, progress bars, the result line."""

import argparse
import difflib
import errno
import io
import os
import shlex
import shutil
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

from utils.system.names import find_fault

MAX_INT = 2**32 - 1  # of a seed, and of what is counted
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
        super().__init__(**{"allow_abbrev": False, "formatter_class": _Help, **settings})

    def error(self, message):
        """End with one line and status 2; an unknown flag is met with the nearest known one."""
        unknown = message.removeprefix("unrecognized arguments: ").split()
        if unknown and unknown[0].startswith("--") and message.startswith("unrecognized"):
            name = unknown[0].split("=")[0]
            near = difflib.get_close_matches(name, self._option_string_actions, n=1)
            message = f"unknown flag {name}" + (f", did you mean {near[0]}?" if near else "")
        self.exit(2, f"{self.prog}: error: {message} (--help explains every flag)\n")


def positive_int(text):
    """Argument type: a whole number above zero that numpy and TensorFlow can count to."""
    if (number := _above_zero(int, text, "a whole number")) > MAX_INT:
        raise argparse.ArgumentTypeError(f"{text!r} is too large: at most {MAX_INT}")
    return number


def positive_float(text):
    """Argument type: a finite number above zero."""
    return _above_zero(float, text, "a number")


def _above_zero(convert, text, kind):
    with suppress(ValueError):
        if 0 < (number := convert(text)) < float("inf"):
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is not {kind} above zero")


def path_text(text):
    """Argument type: a path, with ~ for one's home."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is no path")
    return os.path.expanduser(text)  # noqa: PTH111


def seed(text):
    """Argument type: a whole number that every random generator takes."""
    if not text.isdecimal() or int(text) > MAX_INT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {MAX_INT}")
    return int(text)


def how_to_install():
    """What to do where a package is missing. Most have it, by make, and call another Python."""
    venv, install = Path(__file__).parents[2] / ".venv", "python -m pip install --requirement req.txt"
    if not venv.is_dir() or Path(sys.prefix).resolve() == venv.resolve():
        return install
    with suppress(OSError, ValueError):  # a folder that is gone, or on another disk
        venv = Path(os.path.relpath(venv))
    activate = venv / "Scripts" / "activate" if os.name == "nt" else f"source {shlex.quote(f'{venv}/bin/activate')}"
    return f"{activate}, if make has installed the course; else {install}"


def run(main, arguments=None):
    """Call ``main(arguments)`` and return its exit status; expected failures become one line.

    0 success, 1 a failed job, 2 a bad call (from the parser), 130 interrupted.
    """
    name = Path(sys.argv[0]).name
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a console or file that lacks a character gets its number instead
            stream.reconfigure(errors="backslashreplace")
    try:
        return main(arguments) or 0
    except CourseError as error:
        message, status = str(error), 2 if isinstance(error, BadUse) else 1
    except ModuleNotFoundError as error:
        message, status = f"{error.name} is not installed: {how_to_install()}", 1
    except KeyboardInterrupt as error:
        hint = str(error) or "run the same command again"
        print(f"\n{name}: interrupted; {hint}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # who reads has gone: what is left to be written at the end goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError as error:
        message, status = f"not enough memory ({error}): ask for less, or close other programs", 1
    except OSError as error:
        message, status = _explain(error), 1
        if not message:
            raise
    print(printable(f"{name}: error: {message}"), file=sys.stderr)
    return status


def _explain(error):
    """What a disk refuses, where, and what to do; nothing for other errors of the system."""
    path, on_windows = str(error.filename or "the disk"), sys.platform == "win32"
    place = path if os.path.lexists(path) or not error.filename else Path(path).absolute().parent
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space left in {place}: free some and run the same command again"
    if on_windows and isinstance(error, PermissionError):  # also for a file that is open, if it is to be replaced
        path = error.filename2 or path
        return f"{path} cannot be written: close it if another program has it open, or choose another folder"
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return f"no permission for {place}: choose a folder that you may write to"
    if on_windows and len(os.path.abspath(path)) > MAX_WINDOWS_PATH:  # noqa: PTH100
        return f"{path} is longer than the {MAX_WINDOWS_PATH} characters that Windows allows: rename it"
    if fault := find_fault(Path(path).name):
        return f"{path} {fault}: rename it, or choose a folder on another disk"
    if error.filename and error.strerror:
        return f"{path} cannot be used ({error.strerror.lower()}): choose another place"
    return ""


def warn(message):
    """One line on stderr."""
    print(printable(f"warning: {message}"), file=sys.stderr)


def tell_result(place, result, *then):
    """Last line of a command: where its result is, what it is, and what to give Python next."""
    print(printable(f"{place}: {result}; next: python {shlex.join(map(str, then))}"))


def printable(text):
    """Text on one line, whatever a file name holds: line breaks and the like are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def progress(items=None, **settings):
    """Progress bar that appears after a second, on a terminal or in a notebook, and leaves none behind.

    Takes what :class:`tqdm.tqdm` takes. In a pipe or a log file nothing is written.
    """
    from tqdm import tqdm  # an answer to one file needs none

    in_notebook = "ipykernel" in sys.modules
    screen = {"disable": False, "file": sys.stdout} if in_notebook else {"disable": None, "file": sys.stderr}
    # In a terminal that does not tell its size tqdm by itself would draw nothing.
    size = {"ncols": shutil.get_terminal_size().columns, "nrows": 24}
    return tqdm(items, **{"delay": 1, "leave": False, **size, **screen, **settings})


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
        except Exception:  # not an interruption
            notes.seek(0)
            os.write(kept, notes.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
