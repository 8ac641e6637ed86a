"""Execute notebooks in order, from fresh kernels, in the project's folder.

python .ci/run_notebooks.py 0_split_data.ipynb ...              executed copies go to course/, with players
COURSE=full python .ci/run_notebooks.py --in-place ...          what is committed, without
python .ci/run_notebooks.py --solutions ...                     the folded solutions too, which leave no trace
"""

import argparse
import base64
import hashlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from traitlets.config import Config

sys.path.insert(0, str(Path(__file__).parents[1]))

from utils import plots
from utils.system import cli

# As COURSE=fast takes on two cores: what the time that is left is reckoned from.
MINUTES = {
    **{"0_split_data": 0.9, "1_visualize": 0.9, "2_preprocess_augment": 1, "3_sample_experiments": 3},
    **{"4_full_training": 4, "5_recognize": 2, "train_jupyter_keras": 2.5},
}
# Code and outputs go between kernel and client through sockets that others on this computer could read.
ENCRYPTED = Config(KernelManager={"transport_encryption": "auto"})
MARK = "made_of"  # in the metadata of a copy: a hash of its cells


def find_solutions(notebook):
    """Code of the folded solutions of a notebook, in order."""
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    folded = re.findall(r"<details>(.*?)</details>", prose, flags=re.DOTALL)
    return [code for part in folded for code in re.findall(r"```python\n(.*?)```", part, flags=re.DOTALL)]


def strip(notebook, players):
    """Drop what bloats or dates a notebook: uncompressed players if so asked, rare colours, empty streams, times."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        kept = []
        for output in _join_streams(cell.outputs):
            if not players and "data:audio/wav" in output.get("data", {}).get("text/html", ""):
                output.data = nbformat.from_dict({"text/plain": "(a player: run the cell to listen)"})
            if "image/png" in output.get("data", {}):
                picture = plots.to_palette(base64.b64decode(output.data["image/png"]))
                output.data["image/png"] = base64.b64encode(picture).decode() + "\n"
            if output.output_type == "stream":
                # A progress bar writes over its line: what it leaves is what follows the last return.
                lines = output.text.split("\n")
                output.text = "\n".join(line.split("\r")[-1].rstrip() for line in lines)
                if not output.text.strip():
                    continue
            kept.append(output)
        cell.outputs = kept
    return notebook


def _join_streams(outputs):
    joined = []
    for output in outputs:
        if output.output_type == "stream" and joined and joined[-1].get("name") == output.name:
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def hash_cells(notebook):
    """What tells the cells of a notebook, without their outputs, from others."""
    return hashlib.sha256("\0".join(cell.source for cell in notebook.cells).encode()).hexdigest()


def is_edited(path):
    """Whether a copy in course/ is somebody's work by now."""
    if not path.exists():
        return False
    notebook = nbformat.read(path, as_version=4)
    return notebook.metadata.get(MARK) != hash_cells(notebook)


def _show(solutions):
    for number, cell in enumerate(solutions, start=1):
        print(f"solution in code, number {number}:", *(output.get("text", "") for output in cell.outputs), sep="\n")


def main():
    """Run the notebooks; stop at the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--in-place", action="store_true", help="write outputs into the notebooks themselves")
    parser.add_argument("--solutions", action="store_true", help="run the solutions after the last cell")
    options = parser.parse_args()
    course = os.environ.get("COURSE", "fast")
    if course not in ("smoke", "fast", "full"):
        parser.error(f"COURSE={course}: there are smoke (seconds, to try the code), fast and full")
    shares = [MINUTES.get(path.stem, 1) for path in options.notebooks]
    bar_format = "{percentage:3.0f} % {bar:20} {desc}{elapsed} gone, {remaining} left"
    with cli.progress(total=sum(shares), bar_format=bar_format, delay=0) as bar:
        for path, share in zip(options.notebooks, shares):
            bar.set_description(path.stem)
            if status := run(path, options, bar, share):
                return status
    return 0


def run(path, options, bar, share):
    """Execute a notebook, which moves the bar on by its share; return the exit status."""
    start = time.perf_counter()
    target = path if options.in_place else Path("course") / path.name
    if target != path and is_edited(target):
        print(f"{target} was edited, or is of an earlier version: move it away", file=sys.stderr)
        return 2
    notebook = nbformat.read(path, as_version=4)
    n_cells = len(notebook.cells)
    if options.solutions:
        notebook.cells += [nbformat.v4.new_code_cell(code) for code in find_solutions(notebook)]
    n_code = sum(cell.cell_type == "code" for cell in notebook.cells)
    client = NotebookClient(
        notebook,
        timeout=7200,
        kernel_name="python3",
        resources={"metadata": {"path": "."}},
        on_cell_executed=lambda **_: bar.update(min(share / n_code, bar.total - bar.n)),
        config=ENCRYPTED,
    )
    try:
        client.execute(stderr=subprocess.DEVNULL)  # of the kernel itself, which logs tracebacks when it is stopped
    except (KeyboardInterrupt, AssertionError) as error:
        if isinstance(error, AssertionError) and client.km is not None:  # else nbclient lost its kernel to Ctrl-C
            raise
        raise KeyboardInterrupt(f"{path} was not written") from None
    except CellExecutionError as error:
        print(f"{path} failed:\n{error}", file=sys.stderr)
        return 1
    _show(notebook.cells[n_cells:])
    del notebook.cells[n_cells:]
    if target != path:
        notebook.metadata[MARK] = hash_cells(notebook)
    target.parent.mkdir(exist_ok=True)
    nbformat.write(strip(notebook, players=not options.in_place), target)
    bar.write(f"{target}: {time.perf_counter() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(lambda _: main()))
