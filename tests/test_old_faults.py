"""Guards: what was wrong in the original course stays right; tests/README.md says which test guards what."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from conftest import PEAK, make_raw

import train_keras
import train_tensorflow
from utils import audio, corpus, features, models, prepare
from utils.nets import plain
from utils.settings import RECIPES, Settings

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted(ROOT.glob("*.ipynb"))
PYTHON = [*ROOT.glob("*.py"), *(ROOT / "utils").glob("*.py")]


def read_cells(path, kind):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == kind]


def test_the_loss_takes_logits_and_applies_the_softmax_once():
    part, settings = models.learning_part(models.build_model()), Settings()
    train_keras.compile_part(part, RECIPES["original"], settings, steps=1)
    network = plain.make_network(settings.model, 12)
    spectra = np.random.default_rng(0).normal(-6, 3, (8, 98, 40)).astype(np.float32)
    for answers in (part(spectra).numpy(), network(spectra).numpy()):
        assert answers.min() < 0  # a softmax would give shares of one
    y, logits = np.eye(12, dtype=np.float32), np.random.default_rng(1).normal(0, 5, (12, 12)).astype(np.float32)
    by_hand = np.mean(np.log(np.exp(logits).sum(axis=1)) - logits.diagonal())
    for loss in (part.loss(y, logits), tf.reduce_mean(train_tensorflow.cross_entropy(y, logits, 0.0))):
        assert float(loss) == pytest.approx(by_hand, rel=1e-4)


def test_a_batch_is_learned_once_and_scored_by_the_same_forward_pass():
    settings = Settings()
    trainer = train_tensorflow.Trainer(settings, tf.distribute.get_strategy(), 12, total_steps=10)
    network, answers = trainer.network, []

    def watched(*inputs):
        answers.append(network(*inputs))
        return answers[-1]

    watched.trainable_variables = network.trainable_variables
    trainer.network = watched
    rng = np.random.default_rng(0)
    X = tf.constant(rng.normal(-6, 3, (32, 98, 40)), tf.float32)
    y = tf.one_hot(rng.integers(0, 12, 32), 12)
    loss, hits, n_clips = trainer._learn(X, y)
    (logits,) = answers
    assert int(trainer.optimizer.step) == 1
    assert float(loss) == float(tf.reduce_sum(train_tensorflow.cross_entropy(y, logits, 0.1)))
    assert float(hits) == float(train_tensorflow.count_hits(y, logits))
    assert float(n_clips) == 32


# An epoch of 2,048 clips, then of four times as many: in memory 200 MB more as int16, and 800 as float64.
EPOCHS = f"""{PEAK}
import numpy as np
from utils import datasets, store
block = np.random.default_rng(0).integers(-3000, 3000, (64, 16000)).astype(np.int16)
peaks = []
for n_blocks in (32, 128):
    store.write_array(f"{{n_blocks}}.bc", (block for _ in range(n_blocks)), (16000,), np.int16)
    rows = store.open_array(f"{{n_blocks}}.bc")
    clip_set = datasets.ClipSet("train", [rows], np.zeros((len(rows), 12), np.uint8))
    kinds = {{(X.dtype.name, len(X)) for X, _ in datasets.epoch_batches(clip_set, 64, np.random.default_rng(0))}}
    assert kinds == {{("int16", 64)}}, kinds
    peaks.append(peak())
print(peaks[1] - peaks[0])
"""


@pytest.mark.posix
@pytest.mark.slow
def test_memory_does_not_grow_with_the_set(tmp_path):
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{EPOCHS}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 60  # MB


def test_every_clip_is_the_recording_and_silence_a_stretch_of_it(tmp_path):
    raw = make_raw(tmp_path / "raw", words=("yes", "bed"))
    prepare.prepare(raw, tmp_path / "main", tmp_path / "sample", keywords=("yes",))
    noise = {path.stem: audio.read_wav(path) for path in (raw / "train" / "audio" / "_background_noise_").iterdir()}
    spoken = {path.read_bytes() for path in (raw / "train" / "audio").glob("[by]*/*.wav")}
    clips = [clip for folder in ("main", "sample") for clip in corpus.list_clips(tmp_path / folder)]
    assert {(clip.set, clip.label) for clip in clips} >= {(name, "silence") for name in corpus.SETS}
    for clip in clips:
        if clip.label == "silence":
            recording, _, start = clip.path.stem.rpartition("_at_")
            samples = audio.read_wav(clip.path)
            assert np.array_equal(samples, noise[recording][int(start) : int(start) + audio.CLIP_SAMPLES])
        else:
            assert clip.path.read_bytes() in spoken


def test_the_magnitude_of_a_tone_does_not_depend_on_its_phase():
    seconds = np.arange(16_000) / 16_000
    waves = [np.cos(2 * np.pi * 440 * seconds + phase) for phase in (0, np.pi / 2)]
    cosine, sine = features.fft(np.array(waves, np.float32))
    assert cosine.argmax() == sine.argmax() == 440
    assert cosine[440] == pytest.approx(8000, rel=1e-3)
    assert sine[440] == pytest.approx(cosine[440], rel=1e-3)  # the real part alone is 0


# Shell commands; paths by text, separator or system; a name cut by the position of its characters.
NOT_ON_EVERY_SYSTEM = re.compile(
    r"^\s*[!%]|os\.(system|popen|sep|name)\b|os\.path\.(join|split)|subprocess|sys\.platform|"
    r"\b\w*(path|file|name|wav|folder)s?\[-?\d*:-?\d*\]|str\([^)]*\)\[-?\d*:-?\d*\]",
    re.MULTILINE | re.IGNORECASE,
)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_use_what_every_system_has(path):
    found = [match.group() for cell in read_cells(path, "code") for match in NOT_ON_EVERY_SYSTEM.finditer(cell)]
    assert found == []


def test_chance_is_one_in_twelve():
    notebook = ROOT / "3_sample_experiments.ipynb"
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    printed = "".join("".join(output.get("text", "")) for cell in cells for output in cell.get("outputs", ()))
    assert re.search(r"chance.* 8\.33 ?%", printed)
    told = [text for path in NOTEBOOKS for text in read_cells(path, "markdown") if re.search(r"\b0\.83\b", text)]
    assert all("original" in text for text in told)  # that it was wrong there


def test_nothing_is_left_of_tensorflow_1():
    old = re.compile(r"feed_dict|tf\.placeholder|compat\.v1|tf\.Session")
    texts = {path.name: path.read_text(encoding="utf-8") for path in PYTHON}
    texts |= {path.name: "\n".join(read_cells(path, "code")) for path in NOTEBOOKS}
    assert [name for name, text in texts.items() if old.search(text)] == []


def test_each_fault_has_a_test_that_exists():
    lines = (ROOT / "tests" / "README.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| ")][2:]
    assert len(rows) == 14
    for row in rows:
        named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", row.split(" | ")[-1])
        assert named, row
        for file, name in named:
            assert f"def {name}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), (file, name)
