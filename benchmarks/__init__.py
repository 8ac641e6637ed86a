"""Measurements, run by hand: each module prints a table, with ``--json`` one object a line."""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from utils.system import cli

ROOT = Path(__file__).parents[1]


def make_parser(description, data=False):
    """What the modules share of a command line; with ``data``, the folder of the arrays too."""
    parser = cli.Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if data:
        folder = "data/main/preprocessed"
        parser.add_argument("--path_to_data", type=cli.path_text, default=folder, help=f"arrays (default: {folder})")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser


def measure(command, folder):
    """Peak memory in MB, and seconds, of a command of ours that runs in ``folder`` and must end well."""
    started = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise cli.CourseError(f"{' '.join(map(str, command))} ended with status {process.returncode}")
    return peak_mb(usage), time.perf_counter() - started


def peak_mb(usage):
    """Most memory at once, of what the system has counted: in kilobytes, on macOS in bytes."""
    return usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
