"""Measurements, run by hand: each module prints a table, with ``--json`` one object a line."""

import argparse

from utils import cli


def make_parser(description, data=False):
    """What the modules share of a command line; with ``data``, the folder of the arrays too."""
    parser = cli.Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if data:
        folder = "data/main/preprocessed"
        parser.add_argument("--path_to_data", default=folder, help=f"arrays (default: {folder})")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser
