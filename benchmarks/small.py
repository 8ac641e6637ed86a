"""What small machines ask of a network: size, work, memory, and what is left of its accuracy.

    python -m utils.export RUN --to float int8 stream stream_int8 micro
    python -m benchmarks.small RUN
    python -m benchmarks.small RUN --hour          an hour of listening without TensorFlow: memory and processor time
    python -m benchmarks.small RUN --json

*micro* is the folder for microcontrollers, in tflite-micro and beside it in LiteRT's reference kernels: on how many
clips of the test set they give other bytes, or another word. :mod:`benchmarks.quiet` with ``--model FILE`` measures
what a file does where no command is said.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import ROOT, make_parser
from utils import audio, datasets, evaluation, features, models, recogniser, stream
from utils.nets import live, micro, streaming
from utils.system import cli
from utils.system.cli import CourseError, hold_back_notes

FORMS = ("model_float.tflite", "model_int8.tflite", "model_stream.tflite", "model_stream_int8.tflite", "micro")
HOUR_S = 3600
# Linux alone tells a process's own peak: what the system counts of a child begins with its parent's.
LISTENER = """
import re, time
from pathlib import Path
import predict
predict.main()
print(time.process_time(), *re.findall(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text()))
"""
WARM_FRAMES = 200  # of silence before a clip, as utils.nets.live has it


def main(arguments=None):
    """Measure and print."""
    parser = make_parser(__doc__, data=True)
    parser.add_argument("run", type=cli.path_text, metavar="RUN", help="run folder with exported files")
    parser.add_argument("--hour", action="store_true", help="measure an hour of listening")
    options = parser.parse_args(arguments)
    folder = Path(options.run, "export")
    paths = [folder / name for name in FORMS if (folder / name).exists()]
    if not paths:
        raise CourseError(f"{folder} holds no exported files: python -m utils.export {options.run} makes them")
    if options.hour:
        rows = [listen_for_an_hour(path) for path in paths if path.suffix == ".tflite"]
    else:
        test = datasets.open_store(options.path_to_data)["test"]
        clips, labels = np.concatenate([rows for rows, _ in test.blocks()]), test.y.argmax(axis=1)
        macs = count_macs(options.run)
        rows = [measure(path, clips, labels, test.names, macs) for path in paths]
    for row in rows:
        values = {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}
        print(json.dumps(row) if options.json else "  ".join(f"{name} {value}" for name, value in values.items()))


def count_macs(run):
    """Multiply-accumulates of a second of sound, by clip and by stream, without the front end."""
    network = models.learning_part(recogniser.load(run).model.of_keras)
    form = streaming.make_streaming(network)
    steps = audio.SAMPLE_RATE / (form.n_frames * live.HOP_LENGTH)
    return models.count_macs(network) / stream.STEP_S, models.count_macs(form.model) * steps


def measure(path, clips, labels, names, macs):
    """A row of the table."""
    if path.is_dir():
        return measure_micro(path, clips, labels, names, macs)
    model = recogniser.load(path)
    found = model(audio.to_waveform(clips)).argmax(axis=1)
    hear = stream.Stream(model)
    second = np.random.default_rng(0).normal(0, 300, 20 * audio.SAMPLE_RATE).astype(np.int16)
    n_steps, started = 0, time.process_time()
    for rows in hear.listen(second):
        n_steps += len(rows)
    used = time.process_time() - started
    return {
        "form": path.name,
        "bytes": path.stat().st_size,
        "macs_a_second": round(macs[bool(model.listen)]),
        "ms_a_step": used / n_steps * 1e3,
        "ms_a_second_of_sound": used / 20 * 1e3,
        **_score(found == labels, names),
    }


def _score(right, names):
    return {
        "test_accuracy": float(right.mean()),
        "interval": evaluation.accuracy_interval(right, evaluation.speakers_of(names)),
    }


def measure_micro(folder, clips, labels, names, macs):
    """The same of the folder for microcontrollers, and whether both runtimes give the same bytes."""
    from ai_edge_litert.interpreter import OpResolverType

    report, content = json.loads((folder / "report.json").read_text("utf-8")), (folder / "network.tflite").read_bytes()
    session, layout = micro.MicroSession(content), micro.Layout(content)
    beside = live.Session(content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    begin, size = beside.states, layout.n_frames
    after = round(report["delay_ms"] / 1e3 * audio.SAMPLE_RATE)
    found, differ, words, used = [], 0, 0, 0.0
    for clip in clips:
        sound = np.pad(clip, (WARM_FRAMES * live.HOP_LENGTH, after))
        frames = layout.quantize(features.log_mel_frames(audio.to_waveform(sound)[None])[0])
        session.begin()
        beside.states, same = begin, True
        for at in range(len(frames) % size, len(frames), size):
            step = frames[None, at : at + size]
            started = time.process_time()
            answer = session.step(step)
            used += time.process_time() - started
            other = beside.step(step)["probabilities"]
            same &= np.array_equal(answer, other)
        found.append(int(answer.argmax()))
        differ += not same
        words += int(other.argmax()) != found[-1]
    with tempfile.TemporaryDirectory() as spare:
        said = check_host(folder, Path(spare, "host"))
    return {
        "form": "micro",
        "bytes": report["network_bytes"],
        "front_end_bytes": report["front_end_bytes"],
        "arena": report["network_arena_bytes"],
        "front_end_arena": report["front_end_arena_bytes"],
        "macs_a_second": round(macs[1]),
        "front_end_macs_a_second": report["front_end_macs_a_second"],
        "ms_a_step": used / (len(clips) * len(range(len(frames) % size, len(frames), size))) * 1e3,
        **_score(np.array(found) == labels, names),
        "clips": len(clips),
        "clips_with_other_bytes_in_litert": differ,
        "clips_with_another_word_in_litert": words,
        "host": said,
    }


def check_host(folder, binary):
    """Compile the C parts and run the host program, whose network tflite-micro runs: what it says on its error stream.

    Raises
    ------
    CourseError
        If it does not compile, or another than a golden output comes out.
    """
    sources = [folder / name for name in ("host.c", "command.c", "model.c")]
    command = ["gcc", "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", *map(str, sources), "-lm", "-o", str(binary)]
    compiled = subprocess.run(command, capture_output=True, text=True, check=False)
    if compiled.returncode:
        raise CourseError(f"{folder}: its C does not compile: {compiled.stderr.splitlines()[0]}")
    pipe = subprocess.PIPE
    with subprocess.Popen([str(binary)], stdin=pipe, stdout=pipe, stderr=pipe) as host:
        content = host.stdout.read((folder / "network.tflite").stat().st_size)
        runtime, layout = micro.import_runtime(), micro.Layout(content)
        with hold_back_notes():
            interpreter = runtime.Interpreter.from_bytes(content, arena_size=micro.MOST_ARENA)
        while len(sent := host.stdout.read(sum(layout.input_bytes))) == sum(layout.input_bytes):
            values = np.split(np.frombuffer(sent, np.int8), np.cumsum(layout.input_bytes)[:-1])
            for place, value in enumerate(values):
                interpreter.set_input(value.reshape(interpreter.get_input_details(place)["shape"]), place)
            interpreter.invoke()
            host.stdin.write(b"".join(interpreter.get_output(i).tobytes() for i in range(len(layout.output_bytes))))
            host.stdin.flush()
        said = host.stderr.read().decode().strip()
    if host.returncode:
        raise CourseError(f"{folder}: {said}")
    return said


def listen_for_an_hour(path):
    """An hour of noise through ``predict.py --stream``, which does what ``--listen`` does, as fast as it can."""
    with tempfile.TemporaryDirectory() as spare:
        sound = np.random.default_rng(0).normal(0, 100, HOUR_S * audio.SAMPLE_RATE).astype(np.int16)
        audio.write_wav(Path(spare, "hour.wav"), sound)
        command = [sys.executable, "-c", LISTENER, "--model", path.absolute(), "--stream", Path(spare, "hour.wav")]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CourseError(f"predict.py --stream with {path} failed: {done.stderr.strip()}")
    seconds, peak_kb = map(float, done.stdout.split()[-2:])
    return {"form": path.name, "processor_s": seconds, "share_of_a_core": seconds / HOUR_S, "peak_mb": peak_kb / 1e3}


if __name__ == "__main__":
    sys.exit(cli.run(main))
