"""Guards: the course's code stays one house: what stands where, imports one way, TensorFlow only where it computes."""

import ast
import graphlib
import json
import re
import subprocess
import sys
from pathlib import Path

import utils

ROOT = Path(__file__).parents[1]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in (ROOT / "utils").rglob("*.py")
    if path.stem != "__init__"
}
SCRIPTS = sorted(ROOT.glob("*.py"))
# What computes with TensorFlow, or writes TensorBoard's files with it.
WITH_TENSORFLOW = re.compile(r"utils\.(datasets|models|training|runs|recogniser|export|nets\.\w+|system\.quiet)")
LIGHT = [
    *("labels", "audio", "corpus", "sources", "voices", "splits", "leaks", "prepare", "store"),
    *("features", "augment", "negatives", "models", "settings", "stream", "enrol", "trained", "export", "web"),
    "plots",
]


def read_imports(source, known):
    """Modules of ours that a source imports."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found & set(known)


def read(path):
    return path.read_text(encoding="utf-8")


def read_cells(path):
    cells = json.loads(read(path))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return "\n".join(re.sub(r"(?m)^[%!].*", "", cell) for cell in code)


def find_names():
    """Modules of utils/ that a notebook, a script or a command of the README names."""
    named = {
        f"utils.{name}"
        for name in re.findall(
            r"python -m utils\.(\w+)", "".join(map(read, [ROOT / "README.md", *ROOT.glob("docs/*.md")]))
        )
    }
    for source in (*map(read, SCRIPTS), *map(read_cells, ROOT.glob("*.ipynb"))):
        named |= read_imports(source, MODULES)
    return named


def test_imports_run_one_way():
    graph = {module: read_imports(read(path), MODULES) - {module} for module, path in MODULES.items()}
    list(graphlib.TopologicalSorter(graph).static_order())  # or a CycleError


def test_nothing_that_users_run_imports_benchmarks_or_tests():
    benchmarks = {"benchmarks", *(f"benchmarks.{path.stem}" for path in (ROOT / "benchmarks").glob("*.py"))}
    for path in (*MODULES.values(), *SCRIPTS):
        assert not read_imports(read(path), {*benchmarks, "tests", "conftest"}), path.name


def test_a_module_stands_on_top_only_if_a_reader_meets_it():
    tops = {module for module in MODULES if module.count(".") == 1}
    assert sorted(tops - find_names()) == []


def test_no_module_is_too_long_to_read_in_one_sitting():
    lengths = {module: len(read(path).splitlines()) for module, path in MODULES.items()}
    assert {module: length for module, length in lengths.items() if length > 350} == {}


def test_the_map_of_utils_names_each_module_once():
    named = re.findall(r"(?m)^    (\w+) +\w.+$", utils.__doc__)
    assert sorted(named) == sorted(path.stem for path in (ROOT / "utils").glob("[a-z]*.py"))


def test_tensorflow_is_imported_only_where_it_computes():
    ours = {"utils.system.quiet", "utils.system.quiet.tf", "utils.system.quiet.keras"}
    for module, path in MODULES.items():
        if not WITH_TENSORFLOW.fullmatch(module):
            found = read_imports(read(path), {*ours, "tensorflow", "keras"})
            assert not found, module


def test_what_needs_no_tensorflow_loads_none_and_imports_print_nothing():
    code = "import importlib, sys\nsys.argv = ['no', '--flags']\n"
    code += "".join(f"importlib.import_module({module!r})\n" for module in sorted(MODULES))
    first = "".join(f"importlib.import_module('utils.{name}')\n" for name in LIGHT)
    code = code.replace("\n", "\n" + first + "assert 'tensorflow' not in sys.modules\n", 1)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_help_and_wrong_flags_are_answered_without_what_is_slow_to_import():
    commands = [("run_path", path.name) for path in SCRIPTS]
    commands += [("run_module", module) for module, path in MODULES.items() if "__main__" in read(path)]
    code = f"""
import contextlib, io, runpy, sys
for call, command in {sorted(commands)}:
    for flag, status in (("--help", 0), ("--wrong", 2)):
        sys.argv = [command, flag]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            try:
                getattr(runpy, call)(command, run_name="__main__")
            except SystemExit as end:
                assert end.code == status, (command, flag, end.code)
        slow = {{"tensorflow", "keras", "pandas", "sklearn", "librosa", "matplotlib"}} & set(sys.modules)
        assert not slow, (command, flag, slow)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
