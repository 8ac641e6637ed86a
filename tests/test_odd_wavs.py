"""Guards: 300 broken and odd files are read right or refused with a reason, and cost little; fuzzing finds no more."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import hypothesis.extra.numpy as arrays
import numpy as np
import odd_wavs
import pytest
from conftest import PEAK, burst
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import predict
from utils import audio, corpus, datasets, models, prepare
from utils.system import cli

pytestmark = pytest.mark.posix  # links, pipes and a socket are among the files
ROOT = Path(__file__).parents[1]
MAX_MEMORY_MB = 200


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    return odd_wavs.make_odd_wavs(tmp_path_factory.mktemp("odd") / "words" / "odd")


def is_tone(samples):
    middle = samples[len(samples) // 4 : 3 * len(samples) // 4].astype(float)
    peak_hz = np.argmax(np.abs(np.fft.rfft(middle))) * audio.SAMPLE_RATE / len(middle)
    level = middle.std() / (32768 / 3 / np.sqrt(2))
    return abs(len(samples) - 8000) <= 2 and abs(peak_hz - odd_wavs.TONE_HZ) <= 4 and abs(level - 1) < 0.02


def check(path, read, expected):
    if expected is None:
        with pytest.raises(audio.WavError):
            read(path)
    elif isinstance(expected, str):
        assert is_tone(read(path)), path
    else:
        assert np.array_equal(read(path), expected), path


def test_each_file_is_read_right_or_refused(odd):
    assert len(odd) >= 200
    assert sum(one.any is None for one in odd) >= 100
    assert sum(one.any is not None for one in odd) >= 100
    for one in odd:
        check(one.path, audio.read_wav, one.strict)
        check(one.path, audio.read_sound, one.any)
        second = None if one.any is None else "tone" if isinstance(one.any, str) else audio.loudest_second(one.any)
        if isinstance(second, str):
            samples = audio.read_loudest_second(one.path)
            assert samples.shape == (16_000,)
            assert is_tone(samples[:8000]), one.path
        else:
            check(one.path, audio.read_loudest_second, second)


@pytest.mark.parametrize("resample", [False, True])
def test_prepare_lists_what_it_passes_over_and_stores_the_rest(odd, tmp_path, resample):
    raw = tmp_path / "words"
    for name, seconds in (("good", 0.3), ("_background_noise_", 30)):
        (raw / name).mkdir(parents=True)
        for number in range(6):
            audio.write_wav(raw / name / f"{number}.wav", burst(number, int(seconds * 16_000)))
    (raw / "odd").symlink_to(odd[0].path.parent)
    main, sample = tmp_path / "main", tmp_path / "sample"
    result, _ = prepare.prepare(raw, main, sample, keywords=("odd", "good"), speakers=False, resample=resample)
    odd = [one for one in odd if not one.path.name.startswith(".")]  # hidden ones are none
    expected = {f"odd/{one.path.name}": one.any if resample else one.strict for one in odd}
    skipped = dict(result.skipped)
    assert {name for name, samples in expected.items() if samples is None} <= set(skipped)
    in_tree = {clip.path.name: clip.path for clip in corpus.list_clips(main, result.labels) if clip.label == "odd"}
    for name, samples in expected.items():
        file_name = f"odd-{Path(name).stem}_nohash_0.wav"
        if name in skipped:
            same = "the same audio as" in skipped[name] or "already named" in skipped[name]
            assert (samples is None) != same, (name, skipped[name])
            assert file_name not in in_tree or "already named" in skipped[name]
        elif isinstance(samples, str):
            assert is_tone(audio.read_wav(in_tree[file_name]))
        else:
            assert np.array_equal(audio.read_wav(in_tree[file_name]), samples)
    with open(main / "skipped.csv", encoding="utf-8", errors="surrogateescape", newline="") as file:
        assert [(row["file"], row["reason"]) for row in csv.DictReader(file)] == result.skipped
    sets = datasets.open_store(main / "preprocessed")
    assert sets["train"].label_order == ("odd", "good", "silence", "unknown")
    assert sum(label == "odd" for clip_set in sets.values() for label in clip_set.labels) == len(in_tree)
    assert not prepare.prepare(raw, main, sample, keywords=("odd", "good"), speakers=False, resample=resample)[1]


def test_predict_answers_for_each_and_names_the_unreadable_on_a_line_each(odd, tmp_path, monkeypatch, capsys):
    run = tmp_path / "runs" / "latest"
    run.mkdir(parents=True)
    models.build_model().save(run / "model.keras")
    (run / "labels.txt").write_text("\n".join(datasets.LABELS) + "\n")
    monkeypatch.chdir(tmp_path)
    assert cli.run(predict.main, [str(odd[0].path.parent), "--submission", "out.csv"]) == 1
    with open("out.csv", encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = dict(list(csv.reader(file))[1:])
    # A folder is looked into, and hidden files are none.
    wanted = [one for one in odd if one.path.name not in ("folder.wav", ".hidden.wav")]
    assert set(rows) == {one.path.name for one in wanted}
    lines = capsys.readouterr().err.splitlines()
    unread = [line for line in lines if "not read, " in line]
    bad = [one for one in wanted if one.any is None]
    assert len(unread) == len(bad)
    assert all(any(f"{one.path.name}: not read" in line for line in unread) for one in bad)
    assert all(rows[one.path.name] == "silence" for one in bad)


LONG = f"""{PEAK}
import time
import numpy as np, soundfile, soxr
from utils import audio, corpus
soxr.resample(np.zeros(100, np.float32), 44100, 16000)
before = peak()
for path in sys.argv[1:]:
    start = time.perf_counter()
    second = audio.read_loudest_second(path)
    heard = np.abs(np.fft.rfft(second.astype(float))).argmax()
    digest = next(iter(corpus.Listener(resample=True).hash_all([corpus.Path(path)], "")))
    print(heard, round(time.perf_counter() - start, 1), repr(str(digest)), sep=";")
print(peak() - before)
"""


def make_long(path, hours, rate, channels, tone_hz=500):
    """A sparse file of silence with a second of tone five sixths through it."""
    n_frames = int(hours * 3600 * rate)
    fmt = odd_wavs.chunk(b"fmt ", odd_wavs.form(channels=channels, rate=rate))
    header = odd_wavs.riff(fmt, b"data" + (n_frames * channels * 2).to_bytes(4, "little"), size=0)
    times = np.arange(rate) / rate
    tone = np.repeat((np.sin(2 * np.pi * tone_hz * times) * 9000).astype("<i2"), channels)
    with open(path, "wb") as file:
        file.write(header)
        file.truncate(len(header) + n_frames * channels * 2)
        file.seek(len(header) + n_frames * 5 // 6 * channels * 2)
        file.write(tone.tobytes())


@pytest.mark.slow
def test_two_hours_are_heard_in_little_memory_and_are_not_one_word(tmp_path):
    make_long(tmp_path / "plain.wav", 2, 16_000, 1)
    make_long(tmp_path / "stereo.wav", 2, 48_000, 2)
    command = [sys.executable, "-c", LONG, str(tmp_path / "plain.wav"), str(tmp_path / "stereo.wav")]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert result.returncode == 0, result.stderr
    *lines, memory = result.stdout.splitlines()
    for line in lines:
        peak_hz, _, digest = line.split(";")
        assert int(peak_hz) == 500
        assert "longer than 60 seconds" in digest
    assert float(memory) < MAX_MEMORY_MB


def test_five_hours_are_refused(tmp_path):
    make_long(tmp_path / "day.wav", 5, 16_000, 1)
    with pytest.raises(audio.WavError, match="longer than 4 hours"):
        audio.read_loudest_second(tmp_path / "day.wav")


@pytest.mark.slow
def test_all_odd_files_together_cost_little_memory(odd):
    code = (
        f"{PEAK}\n"
        "import json, soundfile, soxr, numpy\n"
        "from utils import audio\n"
        "before = peak()\n"
        "for path in json.load(sys.stdin):\n"
        "    try: audio.read_loudest_second(path)\n"
        "    except audio.WavError: pass\n"
        "print(peak() - before)\n"
    )
    paths = json.dumps([os.fspath(one.path) for one in odd])
    result = subprocess.run(
        [sys.executable, "-c", code], input=paths, capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert float(result.stdout) < MAX_MEMORY_MB


SAMPLES = arrays.arrays(np.int16, st.integers(1, 40_000))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(samples=SAMPLES, max_samples=st.none() | st.integers(1, 50_000))
def test_what_is_written_is_what_is_read(tmp_path, samples, max_samples):
    path = tmp_path / "a.wav"
    audio.write_wav(path, samples)
    assert np.array_equal(audio.read_wav(path, max_samples), samples[:max_samples])
    assert np.array_equal(audio.read_sound(path, max_samples), samples[:max_samples])
    second = audio.read_loudest_second(path)
    assert np.array_equal(second, audio.loudest_second(samples))
    if len(samples) <= 16_000:
        assert np.array_equal(second, np.pad(samples, (0, 16_000 - len(samples))))


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), samples=arrays.arrays(np.int16, st.integers(16_001, 60_000)))
def test_blocks_find_the_same_second_as_the_whole(data, samples):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(samples)), max_size=8)))
    blocks = np.split(samples, cuts)
    assert np.array_equal(audio._find_loudest(blocks), audio.loudest_second(samples))


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_changed_bytes_give_samples_or_a_reason(tmp_path, data):
    whole = bytearray(
        odd_wavs.riff(odd_wavs.chunk(b"fmt ", odd_wavs.extensible()), odd_wavs.chunk(b"data", bytes(600)))
    )
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, 90))] = data.draw(st.integers(0, 255))
    path = tmp_path / "a.wav"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    for read in (audio.read_wav, audio.read_sound, audio.read_loudest_second):
        try:
            samples = read(path)
        except audio.WavError as reason:
            assert str(reason)
        else:
            assert samples.dtype == np.int16
            assert samples.ndim == 1
            assert len(samples)
