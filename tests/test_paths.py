"""Guards: whatever path a command is given, it removes and replaces nothing that it did not make.

Every command, with every flag that takes a path, meets places where a person's own files lie: each of these is there
afterwards, byte for byte, and a refusal is one line. The networks alone are left out: what is tried is where files go.
"""

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import nbformat
import numpy as np
import pytest
from conftest import burst, make_raw, pack_challenge, tree

import predict
import train_keras
import train_tensorflow
from utils import audio, export, prepare, runs, sources, store, training, voices
from utils.labels import LABELS
from utils.system import cli, downloads, files

ROOT = Path(__file__).parents[1]
CONFIG = {"script": "train_keras.py", "model": "tc_resnet8"}


def write_run(settings, strategy, run, spare):
    """What a training does on disk, without the training."""
    run.begin(training.open_data(settings, run, spare), [], [], 1)
    run.end_epoch((1.0, 0.1), (1.0, 0.1), 0.1, [], lambda: np.eye(4))
    run.finish({})


class Deaf:
    """A recogniser that hears silence."""

    labels, fingerprint, listen, step_s = LABELS, "deaf", None, None

    def __call__(self, waveforms):
        return np.tile(np.eye(12, dtype=np.float32)[LABELS.index("silence")], (len(waveforms), 1))

    from_log_mel = __call__

    def are_sure(self, rows):
        return np.ones(len(rows), bool)


@contextlib.contextmanager
def disk(folder):
    """A disk of its own, of which the folder is the root, where this system and user can have one."""
    folder.mkdir()
    if sys.platform != "linux" or os.getuid():
        yield
        return
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], capture_output=True)
    try:
        yield
    finally:
        if mounted.returncode == 0:  # a container's root may not mount
            subprocess.run(["umount", folder], check=True)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A person's folder, half full of the course's things and half of others."""
    with disk(tmp_path / "disk"), disk(tmp_path / "empty_disk"):
        yield make_project(tmp_path, monkeypatch)
        monkeypatch.undo()  # the disk is not in use any more


def make_project(tmp_path, monkeypatch):
    folder = tmp_path / "somebody" / "project"
    make_raw(folder / "data" / "raw", words=("yes", "no", "bed"), speakers=[f"{n:08x}" for n in range(4)])
    (folder / "data" / "raw" / "test" / "audio").mkdir(parents=True)
    for path in (folder / "me.wav", folder / "data/raw/test/audio/clip_1.wav"):
        audio.write_wav(path, burst(1))
    for name in ("notes.txt", "data/notes.txt", "runs/notes/notes.txt", "stranger/a/notes.txt", "stranger/split.json"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'["mine, {name}"]')
    for name in ("home/notes.txt", "disk/notes.txt", "somebody/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    run = folder / "runs" / "old"
    run.mkdir()
    files.write_json(run / "config.json", CONFIG)
    (run / "labels.txt").write_text("\n".join(LABELS))
    (folder / "link").symlink_to(folder / "data" / "raw")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "home"))
    for script in (train_keras, train_tensorflow):
        monkeypatch.setattr(script, "train", write_run)
    monkeypatch.setattr(predict, "load_recogniser", lambda folder: Deaf())
    monkeypatch.setattr(downloads, "PUBLIC", "http://127.0.0.1:9/")  # where nothing answers
    return folder


RANDOM = ("--random_data", "--logrun", "new")
# Command and what stands before the path that is tried.
FLAGS = {
    **{
        f"{name} {flag}": (script.main, (*more, flag))
        for name, script in (("train_keras", train_keras), ("train_tensorflow", train_tensorflow))
        for flag, more in (("--logdir", RANDOM), ("--path_to_data", ()), ("--teacher", RANDOM))
    },
    **{f"prepare {flag}": (prepare.main, ("--keywords", "yes", flag)) for flag in ("--raw", "--main", "--sample")},
    "voices --raw": (voices.main, ("--speakers", "3", "--raw")),
    "sources archive": (sources.main, ("archive",)),
    "sources archive --raw": (sources.main, ("archive", "stranger", "--raw")),
    "sources kaggle --raw": (sources.main, ("kaggle", "--raw")),
    "sources speech_commands --raw": (sources.main, ("speech_commands", "--raw")),
    "predict": (predict.main, ()),
    **{f"predict {flag}": (predict.main, (flag,)) for flag in ("--submission", "--check", "--stream")},
    "predict --model": (predict.main, ("me.wav", "--model")),
    "export": (export.main, ()),
    "export --path_to_data": (export.main, ("runs/old", "--path_to_data")),
}
PLACES = (
    ".",
    "..",
    "../../disk",
    "../../empty_disk",
    "~",
    "data/raw",
    "data",
    "runs",
    "runs/old",
    "link",
    "me.wav",
    "me.wav/x",
    "stranger",
)


@pytest.mark.posix
@pytest.mark.parametrize("flag", FLAGS)
def test_what_a_person_has_is_there_afterwards(flag, project, tmp_path, capsys, monkeypatch):
    main, before_path = FLAGS[flag]
    before = tree(tmp_path)
    for place in PLACES:
        if flag == "export" and place == "runs/old":
            continue  # has no model, which another process would find out in some seconds
        status = cli.run(main, [*before_path, place])
        shown = capsys.readouterr().err
        after = tree(tmp_path)
        changed = [path for path, content in before.items() if after.get(path) != content]
        assert changed == [], (flag, place, changed)
        assert status in (0, 1, 2)
        if status:
            told = [line for line in shown.splitlines() if "warning: " not in line]
            assert len(told) == 1, (flag, place, shown)
        assert not [path for path in after if path.endswith((".lock", ".partial"))]


@pytest.mark.parametrize(
    ("main", "arguments", "line"),
    [
        (train_keras.main, ["--random_data", "--logdir", ".", "--logrun", "data"], "data holds notes.txt"),
        (
            train_tensorflow.main,
            ["--random_data", "--logdir", "..", "--logrun", "project"],
            "the run folder runs",
        ),
        (
            train_keras.main,
            ["--random_data", "--logdir", "runs", "--logrun", "old"],
            "is the folder of its",
        ),
        (
            train_keras.main,
            ["--random_data", "--logdir", "runs/../runs", "--logrun", "old"],
            "is the folder of its",
        ),
        (train_keras.main, ["--random_data", "--logrun", "notes"], "runs/notes holds notes.txt"),
        (
            train_keras.main,
            ["--path_to_data", "runs/old/data", "--logrun", "old"],
            "lies in the run folder runs/old",
        ),
        (
            train_keras.main,
            ["--random_data", "--teacher", "runs/old", "--logrun", "old"],
            "is the run folder",
        ),
        (prepare.main, ["--raw", "data/raw", "--main", "link"], "raw data/raw is main link"),
        (prepare.main, ["--raw", "data/raw", "--sample", "data/raw/"], "raw data/raw is sample data/raw"),
        (prepare.main, ["--main", "data"], "raw data/raw lies in main data"),
        (prepare.main, ["--main", "data/raw/train/main"], "main data/raw/train/main lies in raw data/raw"),
        (prepare.main, ["--main", "data/x", "--sample", "data/y/../x"], "main data/x is sample data/y/../x"),
        (prepare.main, ["--main", "data/x", "--sample", "data/x/sample"], "lies in main data/x"),
        (prepare.main, ["--keywords", "yes", "--main", "stranger"], "which this command did not make"),
        (predict.main, ["--submission", "me.wav"], "me.wav is in the way, which is no submission"),
        (predict.main, ["--submission", "stranger"], "stranger is in the way"),
        (predict.main, ["--submission", "link/s.csv"], "link/s.csv lies among the recordings"),
        (voices.main, ["--raw", "stranger"], "stranger already holds"),
        (sources.main, ["archive", "data/raw", "--raw", "link"], "the archive data/raw is raw link"),
        (export.main, ["runs/old", "--to", "saved_model"], "saved_model holds mine.txt"),
    ],
)
def test_what_is_in_the_way_is_named_in_one_line_with_status_2(main, arguments, line, project, capsys, tmp_path):
    files.write_text(project / "runs" / "old" / "export" / "saved_model" / "mine.txt", "mine")
    before = tree(tmp_path)
    assert cli.run(main, arguments) == 2
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1
    assert tree(tmp_path) == before


@pytest.mark.parametrize("place", ["train/yes/mine_nohash_0.wav", "train/yes/notes.txt", "cv/mine/a.wav"])
def test_a_file_that_was_put_into_a_split_is_kept(place, project, capsys):
    arguments = ["--keywords", "yes"]
    assert cli.run(prepare.main, arguments) == 0
    mine = project / "data" / "main" / place
    mine.parent.mkdir(exist_ok=True)
    audio.write_wav(mine, burst(7))
    audio.write_wav(project / "data/raw/train/audio/yes/00000003_nohash_1.wav", burst(8))  # all is to be made anew
    before = tree(project)
    assert cli.run(prepare.main, arguments) == 2
    assert f"data/main holds {place}, which this command did not make" in capsys.readouterr().err
    assert tree(project) == before
    mine.unlink()
    assert cli.run(prepare.main, arguments) == 0


def test_a_recording_that_is_written_anew_is_no_stranger_in_its_split(project):
    """The split's clip is a hard link to it, and changes with it."""
    assert cli.run(prepare.main, ["--keywords", "yes"]) == 0
    audio.write_wav(project / "data/raw/train/audio/yes/00000003_nohash_0.wav", burst(9, 3000))
    assert cli.run(prepare.main, ["--keywords", "yes"]) == 0


def test_a_split_of_an_earlier_version_is_up_to_date_and_kept(project, capsys):
    assert cli.run(prepare.main, ["--keywords", "yes"]) == 0
    main, sample = project / "data" / "main", project / "data" / "sample"
    note = files.read_json(main / "split.json")
    del note["clips"]
    files.write_json(main / "split.json", note)  # as it was written before it listed the clips, and in main alone
    (sample / "split.json").unlink()
    before = tree(project)
    capsys.readouterr()
    assert cli.run(prepare.main, ["--keywords", "yes"]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert cli.run(prepare.main, ["--keywords", "no"]) == 2
    assert tree(project) == before


def test_words_called_train_and_test_are_words(project):
    clips = itertools.product(("train", "test", "cv", "_background_noise_"), ("ann", "ben", "cyd"))
    for seed, (word, person) in enumerate(clips):
        path = project / "words" / word / f"{person}_1.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        audio.write_wav(path, burst(seed, 24 * audio.SAMPLE_RATE if word.startswith("_") else 1600))
    before = tree(project / "words")
    arguments = ["--raw", "words", "--keywords", "test,train"]
    assert cli.run(prepare.main, [*arguments, "--main", "words"]) == 2
    assert cli.run(prepare.main, [*arguments, "--main", "split", "--sample", "small"]) == 0
    assert tree(project / "words") == before
    assert sorted(os.listdir("split/test")) == ["silence", "test", "train", "unknown"]


def test_curves_of_a_finished_run_are_kept_until_the_new_one_has_ended(project, monkeypatch):
    assert cli.run(train_keras.main, ["--random_data", "--logrun", "latest"]) == 0
    curves = tree(project / "tf_logs" / "latest")
    assert len(curves) == 3  # the run's, and of training and validation

    def fail(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(runs.Run, "finish", fail)
        assert cli.run(train_keras.main, ["--random_data", "--logrun", "latest"]) == 130
    assert tree(project / "runs/latest/curves") == curves
    with monkeypatch.context() as patch:  # nor by a run that was to go on with it, and then another
        patch.setattr(runs.Run, "finish", fail)
        assert cli.run(train_keras.main, ["--resume", "--epochs", "9"]) == 130
        assert cli.run(train_keras.main, ["--random_data", "--logrun", "latest"]) == 130
    assert tree(project / "runs/latest/curves") == curves
    assert cli.run(train_keras.main, ["--random_data", "--logrun", "latest"]) == 0
    assert not (project / "runs/latest/curves").exists()
    assert len(tree(project / "tf_logs" / "latest")) == 3


HOLDS = """
import sys
from utils.system import files
with files.owned(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("target", "main", "arguments"),
    [
        ("runs/latest", train_keras.main, ["--random_data", "--logrun", "latest"]),
        ("tf_logs/latest", train_tensorflow.main, ["--random_data", "--logrun", "latest"]),
        ("data/main/tree", prepare.main, ["--keywords", "yes"]),
        ("data/sample/tree", prepare.main, ["--keywords", "yes"]),
        ("other/raw", voices.main, ["--raw", "other/raw", "--speakers", "3"]),
        ("data/new", sources.main, ["archive", "data/raw", "--raw", "data/new"]),
        ("submission.csv", predict.main, ["--submission", "submission.csv"]),
    ],
)
def test_what_another_process_makes_is_left_to_it_until_it_dies(target, main, arguments, project, capsys):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDS, target], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with other:
        other.stdout.readline()
        before = tree(project)
        assert cli.run(main, arguments) == 1
        error = capsys.readouterr().err
        assert f"is being made by process {other.pid} (-c {target})" in error
        assert error.count("\n") == 1
        assert tree(project) == before
        partial = files.beside(target, "partial")
        if main in (prepare.main, voices.main, sources.main):  # others have no such folder, or it is a run
            partial.mkdir()
            (partial / "half.txt").write_text("of the dead process")
        other.kill()
    assert cli.run(main, arguments) == 0
    assert not partial.exists()
    assert not files.beside(target, "lock").exists()


def leave_behind(target, folder):
    """What a process leaves that was killed while it made something: its lock, and a half-filled folder."""
    files.beside(target, "lock").parent.mkdir(parents=True, exist_ok=True)
    files.beside(target, "lock").write_text("process 1 (another)")
    files.beside(target, folder).mkdir()
    (files.beside(target, folder) / "__attrs__").write_text("half")


def test_what_a_killed_process_left_is_cleared_after_a_run_that_failed(project):
    leave_behind("data/main/tree", "partial")
    assert cli.run(prepare.main, ["--keywords", "nope"]) == 1
    assert cli.run(prepare.main, ["--keywords", "yes"]) == 0
    leave_behind("data/main/tree", "partial")
    assert cli.run(prepare.main, ["--keywords", "yes"]) == 0  # nothing to do
    assert cli.run(prepare.main, ["--keywords", "no"]) == 0
    assert not list(project.rglob(".*.lock")) + list(project.rglob(".*.partial"))


def test_a_kill_while_an_old_array_is_removed_keeps_nobody_out(project):
    assert cli.run(prepare.main, ["--keywords", "yes"]) == 0
    leave_behind("data/main/preprocessed/train_X.bc", "old")
    store.open_array("data/main/preprocessed/train_X.bc")[:]
    assert cli.run(prepare.main, ["--keywords", "no"]) == 0
    assert not list(project.rglob(".*.old"))


@pytest.mark.parametrize("resume", [[], ["--resume"]])
def test_a_run_that_was_killed_while_it_began_keeps_nobody_out(resume, project):
    assert cli.run(train_keras.main, ["--random_data", "--logrun", "latest"]) == 0
    work = project / "runs" / ".latest.partial"
    (work / "last").mkdir(parents=True)
    (work / "labels.txt").write_text("half")  # config.json is written last
    (project / "runs" / "latest" / "export" / ".saved_model.partial").mkdir(parents=True)
    (project / "runs" / "latest" / "export" / ".saved_model.partial" / "x").write_text("half")
    assert cli.run(train_keras.main, resume or ["--random_data", "--logrun", "latest"]) == 0
    assert not work.exists()


def test_curves_of_another_project_are_kept(project, capsys):
    events = project / "tf_logs" / "latest" / "events.out.tfevents.1.theirs"
    files.write_text(events, "theirs")
    assert cli.run(train_keras.main, ["--random_data", "--logrun", "latest"]) == 2
    assert "tf_logs/latest holds the curves of another run than runs/latest" in capsys.readouterr().err
    assert events.read_text() == "theirs"


def test_a_teacher_that_cannot_teach_costs_no_checkpoint(project, monkeypatch):
    monkeypatch.undo()
    monkeypatch.chdir(project)
    work = project / "runs" / ".latest.partial"
    files.write_json(work / "config.json", CONFIG)
    files.write_text(work / "last" / "checkpoint.npz", "of hours")
    flags = ["--random_data", "--random_examples", "16", "--teacher", "runs/old"]
    assert cli.run(train_keras.main, flags) == 1
    assert (work / "last" / "checkpoint.npz").read_text() == "of hours"


def test_what_is_read_may_lie_together_and_above_what_is_written(project):
    from utils import datasets

    datasets.write_random_store(".", 16, 0)
    assert cli.run(train_keras.main, ["--path_to_data", "."]) == 0


def test_a_folder_without_a_note_is_not_judged_by_another_s(project):
    assert cli.run(prepare.main, ["--keywords", "yes"]) == 0
    shutil.copytree("data/main/train", "mine/train")
    before = tree(project / "mine")
    assert cli.run(prepare.main, ["--keywords", "yes", "--sample", "mine"]) == 2
    assert tree(project / "mine") == before


def test_a_reader_beside_a_writer_disturbs_nobody(project):
    """The lock decides who tidies up."""

    def write(value):
        store.write_array("a.bc", [np.full((8, 1), value, np.int16)], (1,), np.int16)

    write(0)
    stop, faults = threading.Event(), []

    def read():
        while not stop.is_set():
            try:
                store.open_array("a.bc")
            except cli.CourseError:
                pass  # between two renames
            except Exception as error:
                faults.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for value in range(20):
            write(value)
    finally:
        stop.set()
        reader.join()
    assert store.open_array("a.bc")[:1] == 19
    assert not faults


@pytest.mark.parametrize(
    "name",
    ["notes.txt", "README.md", "best/mine.txt", "last/a/b.txt", "saved_model/thesis.txt", "export/model_mine.tflite"],
)
def test_a_person_s_file_in_a_run_keeps_the_run(name, project, capsys):
    files.write_text(project / "runs" / "old" / name, "mine")
    assert cli.run(train_keras.main, ["--random_data", "--logrun", "old"]) == 2
    assert f"runs/old holds {name}, which is not of a run" in capsys.readouterr().err
    assert (project / "runs" / "old" / name).read_text() == "mine"


def test_own_words_in_raw_stay_when_a_missing_part_is_brought_again(project, tmp_path):
    challenge, _ = pack_challenge(tmp_path)
    arguments = ["archive", str(challenge), "--raw", "data/new"]
    assert cli.run(sources.main, arguments) == 0
    mine = project / "data/new/train/audio/lights/anna_1.wav"
    files.write_text(mine, "mine")
    (project / "data/new/sample_submission.csv").unlink()
    assert cli.run(sources.main, arguments) == 0
    assert mine.read_text() == "mine"
    assert (project / "data/new/sample_submission.csv").exists()


@pytest.mark.parametrize("name", ["model_float.tflite", "model_int8.tflite", "model.onnx", "README.md"])
def test_a_person_s_file_is_not_exported_over(name, project):
    files.write_text(project / "runs/old/export" / name, "mine")
    kind = {"model_float.tflite": "float", "model.onnx": "onnx"}.get(name, "int8")
    assert cli.run(export.main, ["runs/old", "--to", kind]) == 2
    assert (project / "runs/old/export" / name).read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "main", "arguments"),
    [
        ("data/main/skipped.csv/mine.txt", prepare.main, ["--keywords", "yes"]),
        ("data/.new.old/mine.txt", voices.main, ["--raw", "data/new", "--speakers", "3"]),
        (".submission.csv.lock", predict.main, ["--submission", "submission.csv"]),
    ],
)
def test_a_person_s_file_under_a_name_of_ours_is_kept(name, main, arguments, project, capsys):
    files.write_text(project / name, "mine")
    before = tree(project)
    assert cli.run(main, arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert tree(project) == before


@pytest.mark.parametrize("text", ["[]", '{"inputs": 1}', '{"inputs": 1, "clips": 5}', "{"])
def test_a_note_that_is_not_ours_is_a_stranger_s(text, project, capsys):
    for name in ("data/main/split.json", "runs/.latest.partial/config.json"):
        files.write_text(project / name, text)
    for main, arguments in ((prepare.main, ["--keywords", "yes"]), (train_keras.main, ["--resume"])):
        assert cli.run(main, arguments) in (1, 2)
        assert capsys.readouterr().err.count("\n") == 1
    assert (project / "data/main/split.json").read_text() == text


@pytest.mark.posix
def test_a_pipe_keeps_nobody_waiting_and_a_name_that_is_no_text_is_taken(project, capsys):
    os.mkfifo("pipe")
    for main, arguments in (
        (predict.main, ["--check", "pipe"]),
        (predict.main, ["--submission", "pipe"]),
        (sources.main, ["archive", "pipe"]),
    ):
        assert cli.run(main, arguments) in (1, 2)
    assert cli.run(prepare.main, ["--keywords", "yes", "--main", os.fsdecode(b"m\xff"), "--sample", "s"]) == 0


@pytest.mark.posix
def test_a_link_to_another_disk_stays_and_what_is_made_lies_there(project, tmp_path):
    for link, main, arguments in (
        ("runs/mine", train_keras.main, ["--random_data", "--logrun", "mine"]),
        ("voices/raw", voices.main, ["--raw", "voices/raw", "--speakers", "3"]),
        ("words/tree", prepare.main, ["--keywords", "yes", "--main", "words/tree", "--sample", "words/sample"]),
    ):
        target = tmp_path / "disk" / Path(link).name
        target.mkdir(parents=True)
        Path(link).parent.mkdir(exist_ok=True)
        Path(link).symlink_to(target)
        for _ in range(2):
            assert cli.run(main, arguments) == 0
            assert Path(link).is_symlink()
            assert any(target.iterdir())
    assert not [name for name in os.listdir(tmp_path / "disk") if name.startswith(".")]


def test_arrays_that_a_training_reads_are_not_replaced_under_it(project, monkeypatch, capsys):
    assert cli.run(prepare.main, ["--keywords", "yes"]) == 0
    before = tree(project / "data" / "main" / "preprocessed")
    (project / "data/main/preprocessed/.reader_1.lock").write_text("process 1 (dead)")

    def train(settings, strategy, run, spare):
        run.begin(training.open_data(settings, run, spare), [], [], 1)
        code = "from utils import prepare; from utils.system import cli\n"
        code += "raise SystemExit(cli.run(prepare.main, ['--keywords', 'no']))"
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        other = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert other.returncode == 1
        assert f"data/main/preprocessed is being read by process {os.getpid()}" in other.stderr
        raise KeyboardInterrupt

    monkeypatch.setattr(train_keras, "train", train)
    assert cli.run(train_keras.main, []) == 130
    assert "interrupted; no epoch has ended yet" in capsys.readouterr().err
    assert tree(project / "data" / "main" / "preprocessed") == before
    assert cli.run(prepare.main, ["--keywords", "no"]) == 0


def test_a_hidden_folder_that_nobody_left_is_not_cleared(project, capsys):
    (project / "data" / ".new.partial").mkdir()
    (project / "data" / ".new.partial" / "mine.txt").write_text("mine")
    assert cli.run(voices.main, ["--raw", "data/new", "--speakers", "3"]) == 2
    assert ".new.partial is in the way, which no command has left there" in capsys.readouterr().err
    assert (project / "data" / ".new.partial" / "mine.txt").exists()


@pytest.mark.slow
def test_two_trainings_share_the_data_and_compute_its_spectrograms_once(project):
    from utils import datasets, features

    datasets.write_random_store("store", 64, 0)
    clip_set = datasets.open_store("store")["train"]
    code = "from utils import datasets; datasets.log_mel_set(datasets.open_store('store')['train'], 'store')"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    path = Path("store/train_X_log_mel.bc")
    with files.owned(path):
        other = subprocess.Popen([sys.executable, "-c", code], env=environment)
        features.persist(clip_set.inputs, path, "log_mel")
        stamp = (path / "manifest.json").stat().st_mtime_ns
    assert other.wait(timeout=120) == 0
    assert (path / "manifest.json").stat().st_mtime_ns == stamp


def test_a_copy_in_course_that_was_edited_is_kept(project):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Mine")])
    (project / "course").mkdir()
    for path in ("x.ipynb", "course/x.ipynb"):
        nbformat.write(notebook, path)
    before = tree(project)
    ran = subprocess.run([sys.executable, ROOT / ".ci" / "run_notebooks.py", "x.ipynb"], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1)
    assert "course/x.ipynb was edited, or is of an earlier version" in ran.stderr
    assert tree(project) == before
