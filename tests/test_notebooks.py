"""Guards: notebooks and solutions run; what is committed was executed, is clean and small, and is one course."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted(ROOT.glob("*.ipynb"))
ORDER = [path.stem for path in NOTEBOOKS if path.stem[0].isdigit()]
BESIDE = ("4_full_training", "train_jupyter_keras", "5_recognize")

sys.path.insert(0, str(ROOT / ".ci"))
import measure_notebooks  # noqa: E402 (no package)


def read_prose(path):
    return [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]


def find_links(text):
    """Links within the project: text and target."""
    return [link for link in re.findall(r"\[([^\]]+)\]\(([^)\s]+)\)", text) if not link[1].startswith("http")]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_outputs_are_whole_and_name_no_machine(path):
    text = path.read_text(encoding="utf-8")
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert not re.search(r"/(home|root|tmp|work|Users)/\w", text)
    assert "audio/wav" not in text  # compressed ones stay
    assert path.stat().st_size < 1e6


def test_links_lead_to_the_notebook_that_they_name_the_one_before_and_the_next():
    titles = {path.name: read_prose(path)[0].splitlines()[0].removeprefix("# ") for path in NOTEBOOKS}
    for path in NOTEBOOKS:
        prose = read_prose(path)
        for name, target in find_links("\n".join(prose)):
            assert (ROOT / target).exists(), (path.name, target)
            assert name in (titles.get(target), "notebook 0", "a notebook of its own"), (path.name, name)
        order = ORDER if path.stem in ORDER else BESIDE
        place = order.index(path.stem)
        before, after = order[max(0, place - 1) : place], order[place + 1 : place + 2]
        linked = [[Path(target).stem for _, target in find_links(text)] for text in (prose[0], prose[-1])]
        assert {*before, *after} <= set(linked[0]), path.name
        assert set(after) <= set(linked[1]), path.name


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_task_has_a_check_and_a_folded_solution(path):
    prose = "\n".join(read_prose(path))
    # Tasks stand after the idea that they try, and at the end; their numbers go on.
    sections = "\n".join(re.findall(r"(?ms)^##+ Try it.*?(?=^##? |\Z)", prose))
    tasks = re.findall(r"^(\d+)\. (.*)", sections, flags=re.MULTILINE)
    solutions = re.findall(r"(?s)<details>\n<summary>Solution (\d+)</summary>\n\n.+?\n\n</details>", sections)
    assert [int(number) for number, _ in tasks] == list(range(1, len(tasks) + 1))
    assert len(tasks) > 1
    assert solutions == [number for number, _ in tasks]
    assert not [task for _, task in tasks if "*Check:*" not in task]


def test_a_setting_that_there_is_not_runs_nothing():
    command = [sys.executable, str(ROOT / ".ci/run_notebooks.py"), "1_visualize.ipynb"]
    done = subprocess.run(command, env={**os.environ, "COURSE": "fats"}, capture_output=True, text=True, check=False)
    assert (done.returncode, "COURSE=fats: there are smoke" in done.stderr) == (2, True)


def test_cells_are_short_and_explained():
    for path in NOTEBOOKS:
        found = measure_notebooks.measure(path)
        assert found["median"] <= 6, path.name
        assert found["nine_of_ten"] <= 12, path.name
        assert found["longest"] <= 20, path.name
        assert found["prose_before"] >= 0.9, path.name
        assert found["code_run"] <= 2, path.name


@pytest.mark.slow
@pytest.mark.timeout(1500)  # seven notebooks, with another process of tests beside them
def test_notebooks_run_in_order_with_their_solutions_on_a_handful_of_built_in_voices(tmp_path):
    for name in ("utils", "imgs", ".ci", "pretrained"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in [*NOTEBOOKS, *ROOT.glob("*.py")]:
        shutil.copy(path, tmp_path)

    def start(*names):
        command = [sys.executable, ".ci/run_notebooks.py", "--solutions", *names]
        environment = {**os.environ, "COURSE": "smoke"}
        return subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    # The first three leave on disk what the others read. These spend most of their time on one core: two at a time.
    names = [path.name for path in NOTEBOOKS]
    for groups in ([names[:3]], [names[3::2], names[4::2]]):
        running = [start(*group) for group in groups]
        faults = [one.communicate()[1] for one in running]
        assert not any(one.returncode for one in running), "\n".join(faults)
