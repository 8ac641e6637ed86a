"""Measure how long the notebooks' cells are and how much is said about them, as a table in Markdown.

python .ci/measure_notebooks.py         the table in contribute.md, below what is usual in good courses
"""

import argparse
import re
import statistics
from itertools import groupby, pairwise
from pathlib import Path

import nbformat

COLUMNS = (
    "notebook",
    "prose / code cells",
    "median lines",
    "nine of ten up to",
    "longest",
    "prose just before",
    "code cells in a row",
    "words a line",
)
# Measured on courses by TensorFlow, scikit-learn, NumPy, AudioLabs Erlangen and others.
USUAL = ("usual", "30 to 70 in all", "3 to 6", "15 to 20", "30", "65 to 100 %", "at most 4", "4 to 35")


def count_words(text):
    """Words of prose: without solutions, code, tags and the addresses of links."""
    text = re.sub(r"<details>.*?</details>|```.*?```", " ", text, flags=re.DOTALL)
    text = re.sub(r"\]\([^)]*\)|<[^>]+>", " ", text)
    return len(re.findall(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", text))


def measure(path):
    """Figures of one notebook.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    dict
        Numbers of cells, of code lines that are not blank (median, nine of ten cells, longest cell), the share of code
        cells that follow prose, the most code cells in a row, and words of prose a line of code.
    """
    cells = nbformat.read(path, as_version=4).cells
    kinds = [cell.cell_type for cell in cells]
    lines = [len([line for line in cell.source.splitlines() if line.strip()]) for cell in cells]
    code = sorted(n for n, kind in zip(lines, kinds) if kind == "code")
    words = sum(count_words(cell.source) for cell in cells if cell.cell_type == "markdown")
    return {
        "prose_cells": kinds.count("markdown"),
        "code_cells": len(code),
        "median": statistics.median(code),
        "nine_of_ten": code[-(-9 * len(code) // 10) - 1],
        "longest": code[-1],
        "prose_before": sum(pair == ("markdown", "code") for pair in pairwise(kinds)) / len(code),
        "code_run": max(len(list(run)) for kind, run in groupby(kinds) if kind == "code"),
        "words_a_line": words / sum(code),
    }


def main():
    """Print a row for each notebook."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, default=sorted(Path(__file__).parents[1].glob("*.ipynb")))
    print("| " + " | ".join(COLUMNS) + " |")
    print("| --- |" + " ---: |" * (len(COLUMNS) - 1))
    print("| *" + "* | *".join(USUAL) + "* |")
    for path in parser.parse_args().notebooks:
        row = measure(path)
        print(
            f"| {path.stem} | {row['prose_cells']} / {row['code_cells']} | {row['median']:g} | {row['nine_of_ten']} | "
            f"{row['longest']} | {100 * row['prose_before']:.0f} % | {row['code_run']} | {row['words_a_line']:.0f} |"
        )


if __name__ == "__main__":
    main()
