"""Guards: what is written for microcontrollers runs in tflite-micro, and its C compiles and gives the same bytes."""

import ctypes
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import small
from utils import features, stream, trained
from utils.labels import LABELS
from utils.nets import architectures, live, micro, microcontroller
from utils.system import cli

pytestmark = pytest.mark.skipif(sys.platform != "linux" or not shutil.which("gcc"), reason="tflite-micro is for Linux")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a network of few weights."""
    pytest.importorskip("tflite_micro")
    rng = np.random.default_rng(0)
    network = architectures.tc_resnet(12, (8, 12, 16, 20), causal=True)
    spectrograms = rng.normal(-6, 3, (4, 98, 40)).astype(np.float32)
    target = tmp_path_factory.mktemp("micro")
    clip = spectrograms[0]  # shorter than all golden pairs together
    report = microcontroller.write(target, network, list(LABELS), 6, spectrograms, clip)
    assert len(clip) < microcontroller.GOLDEN * report["step_ms"] / 10
    return target


def test_what_is_written_is_known_as_ours(folder):
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert written <= set(trained.MICRO), written - set(trained.MICRO)  # else --to micro would refuse its own folder


def test_the_front_end_is_that_of_the_course():
    rng = np.random.default_rng(0)
    for level in (1e-3, 0.3):
        samples = rng.normal(0, level, (1, 480)).astype(np.float32)
        np.testing.assert_allclose(micro.front_end(samples), features.log_mel_frames(samples)[0], atol=1e-4)


def test_the_front_end_runs_in_tflite_micro(folder):
    from tflite_micro.python.tflite_micro import runtime

    samples = np.random.default_rng(1).normal(0, 0.1, (1, 480)).astype(np.float32)
    interpreter = runtime.Interpreter.from_file(str(folder / "front_end.tflite"), arena_size=100_000)
    interpreter.set_input(samples, 0)
    interpreter.invoke()
    np.testing.assert_allclose(interpreter.get_output(0), features.log_mel_frames(samples)[0], atol=1e-4)


def test_the_network_gives_the_bytes_of_litert_and_is_all_in_eight_bits(folder):
    from ai_edge_litert.interpreter import OpResolverType

    content, report = (folder / "network.tflite").read_bytes(), json.loads((folder / "report.json").read_text("utf-8"))
    assert "DEQUANTIZE" not in report["operations"]
    ours = micro.MicroSession(content, report["network_arena_bytes"])
    litert = live.Session(content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    for values in np.random.default_rng(2).integers(-128, 128, (30, 1, 8, 40)).astype(np.int8):
        np.testing.assert_array_equal(ours.step(values), litert.step(values)["probabilities"])


def test_the_c_compiles_and_the_golden_pairs_come_out(folder, tmp_path):
    assert small.check_host(folder, tmp_path / "host") == "all 16 golden pairs come out"


def test_a_wrong_golden_pair_is_told(folder, tmp_path):
    wrong = tmp_path / "wrong"
    shutil.copytree(folder, wrong)
    golden = (wrong / "golden.h").read_text("utf-8")
    wrong_golden = re.sub(r"(golden_outputs.*\n    \{)-?\d+", r"\g<1>127", golden)
    (wrong / "golden.h").write_text(wrong_golden, "utf-8")
    with pytest.raises(cli.CourseError, match="golden pair 0 differs"):
        small.check_host(wrong, tmp_path / "host")


def test_words_are_heard_by_the_same_rule_in_c(folder, tmp_path):
    library = tmp_path / "command.so"
    sources = [folder / "command.c", folder / "model.c"]
    subprocess.run(["gcc", "-Wall", "-Werror", "-shared", "-fPIC", *sources, "-lm", "-o", library], check=True)
    command, decoder = ctypes.CDLL(str(library)), ctypes.create_string_buffer(8192)
    command.command_decoder_begin(decoder)
    rng, decoders = np.random.default_rng(3), stream.Decoder(LABELS, stream.STATEFUL, step_s=0.08)
    # Words of some steps, each sure of a label, between steps that are sure of nothing.
    steps = np.concatenate([np.full(rng.integers(3, 20), rng.integers(0, 12)) for _ in range(80)])
    rows = np.clip(np.rint(rng.dirichlet(np.ones(12) / 4, len(steps)) * 100), 0, 255)
    rows[np.arange(len(steps)), steps] = 150
    bytes_of_rows = (rows - 128).astype(np.int8)
    heard = [command.command_decode(decoder, row.ctypes.data_as(ctypes.c_void_p)) for row in bytes_of_rows]
    expected = np.full(len(steps), -1)
    for word in decoders.decode((rows / 256).astype(np.float32)):
        expected[round(word.seconds / 0.08)] = LABELS.index(word.label)
    assert (expected >= 0).sum() > 10
    np.testing.assert_array_equal(heard, expected)
