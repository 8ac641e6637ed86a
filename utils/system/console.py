"""What a terminal shows beyond plain text: colour, bars, names that fit. In a pipe or a file, none of it."""

import os
import shutil
import sys

COLOURS = {"green": 32, "red": 31, "yellow": 33}
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def is_terminal():
    """Whether a person watches what is printed."""
    return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def paint(text, colour):
    """Text in a colour where a terminal shows it; NO_COLOR in the environment forbids it (no-color.org)."""
    is_old = sys.platform == "win32" and "WT_SESSION" not in os.environ  # a console that shows the codes themselves
    if not is_terminal() or is_old or os.environ.get("NO_COLOR"):
        return text
    return f"\033[{COLOURS[colour]}m{text}\033[0m"


def draw_bar(share, width=10):
    """A bar of a share from 0 to 1, to an eighth of a character."""
    eighths = round(share * width * 8)
    bar = _EIGHTHS[8] * (eighths // 8) + _EIGHTHS[eighths % 8] * (eighths % 8 > 0)
    return bar.ljust(width)


def width():
    """Characters of a line of the terminal."""
    return shutil.get_terminal_size().columns


def fit(names, beside):
    """Names padded to one width that leaves ``beside`` characters of the line; where they do not fit, their end."""
    most = max(12, width() - beside)
    shown = [name if len(name) <= most else "…" + name[1 - most :] for name in names]
    return [name.ljust(max(map(len, shown))) for name in shown]
