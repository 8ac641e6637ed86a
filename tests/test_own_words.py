"""Guards: own recordings under any names and in any form are used, listed with a reason, or refused in one line."""

import unicodedata

import numpy as np
import pytest
import soundfile
from conftest import burst, make_raw, tree
from test_keywords import PEOPLE, WORDS, make_own, run

import predict
from utils import audio, corpus, datasets, evaluation, labels, leaks, prepare, recogniser, store, training, voices
from utils.labels import LABELS
from utils.system import cli, files
from utils.system.cli import CourseError


@pytest.fixture
def mine(tmp_path):
    return make_own(tmp_path / "mine", takes=1)


def find_sets(folder, result):
    """Sets of each speaker in a split tree, as the names say it."""
    found = {}
    for clip in corpus.list_clips(folder, result.labels):
        if clip.label != labels.SILENCE:
            found.setdefault(corpus.parse_name(clip.path)[0], set()).add(clip.set)
    return found


def check_nothing_made(tmp_path, raw, reason, **rules):
    before = tree(tmp_path)
    with pytest.raises(CourseError, match=reason) as caught:
        run(raw, **rules)
    assert "\n" not in str(caught.value)
    assert tree(tmp_path) == before
    return str(caught.value)


def test_hidden_files_and_folders_are_no_recordings(mine, tmp_path):
    for path in list(mine.rglob("*.wav")):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\26\7" + bytes(4000))
    (mine / ".trash").mkdir()
    audio.write_wav(mine / ".trash" / "old_1.wav", burst(1))
    (mine / "lights" / ".old").mkdir()
    audio.write_wav(mine / "lights" / ".old" / "old_1.wav", burst(2))
    result = run(mine)
    assert not result.skipped
    assert set(find_sets(tmp_path / "main", result)) == set(PEOPLE)
    assert len(predict.find_wavs([mine])) == len(PEOPLE) * len(WORDS) + 1


def test_speakers_are_dealt_when_what_cannot_be_read_is_out(tmp_path):
    raw = make_own(tmp_path / "mine", people=("anna", "bo", "chris"))
    for number in range(40):  # any of these, dealt to a set, would leave it empty
        (raw / "lights" / f"nobody{number}_1.wav").write_bytes(b"")
        (raw / "music" / f"without speaker {number}.wav").write_bytes(b"RIFF")
    result = run(raw)
    assert len(result.skipped) == 80
    assert sorted(map(sorted, find_sets(tmp_path / "main", result).values())) == [["cv"], ["test"], ["train"]]


def test_an_empty_set_is_an_error_before_anything_is_written_and_names_the_reason(mine, tmp_path):
    for path in [*mine.glob("lights/*"), *mine.glob("music/*")]:
        if not path.name.startswith(("anna", "bo")):  # four more say no keyword that can be read
            soundfile.write(path, burst(1), 44_100)
    said = check_nothing_made(tmp_path, mine, "no clip of a keyword for ")
    assert "(8 files passed over, 8 of them: 44100 Hz instead of 16000, which --resample takes)" in said
    for number, word in enumerate(("lights", "music")):  # whoever it is, each set has one
        soundfile.write(mine / word / "fay_0.wav", burst(2 + number), audio.SAMPLE_RATE)
    sets = find_sets(tmp_path / "main", run(mine))
    assert sorted(map(sorted, (sets[name] for name in ("anna", "bo", "fay")))) == [["cv"], ["test"], ["train"]]


def test_a_keyword_without_a_training_clip_is_an_error(tmp_path):
    raw = make_raw(tmp_path / "raw")
    for path in (raw / "train/audio/yes").iterdir():
        if not path.name.startswith(("00000000", "00000001")):  # who validates and tests
            path.unlink()
    check_nothing_made(tmp_path, raw, "no clip of 'yes' for training", keywords=labels.KEYWORDS)


def test_a_store_with_an_empty_set_is_not_opened(tmp_path):
    datasets.write_random_store(tmp_path, 16, 0)
    for name, shape, dtype in (("X", (audio.CLIP_SAMPLES,), np.int16), ("y", (12,), np.uint8)):
        store.write_array(tmp_path / f"test_{name}.bc", [], shape, dtype)
    with pytest.raises(CourseError, match="test holds no clips"):
        datasets.open_store(tmp_path)


@pytest.mark.parametrize("names", [("anna", "Anna"), tuple(unicodedata.normalize(f, "zoë") for f in ("NFC", "NFD"))])
def test_one_person_written_in_two_ways_is_one_person(tmp_path, names):
    for turn in range(4):  # whatever set the person is dealt to
        raw = make_own(tmp_path / str(turn) / "mine", people=(names[0], *PEOPLE[1 : 3 + turn]))
        for word in WORDS:
            (raw / word / f"{names[0]}_1.wav").rename(raw / word / f"{names[1]}_1.wav")
        sets = find_sets(raw.parent / "main", run(raw))
        assert sets[names[0]] == sets[names[1]]
        assert len(sets[names[0]]) == 1
    for part, name in zip(("train", "test"), names):
        path = tmp_path / "leak" / part / "yes" / f"{name}_nohash_0.wav"
        path.parent.mkdir(parents=True)
        audio.write_wav(path, burst(len(part)))
    with pytest.raises(corpus.LeakError, match="is in two sets"):
        leaks.audit(tmp_path / "leak")


@pytest.mark.parametrize(
    "form",
    [
        "{word}_{person}_{take}",
        "{word}-{person}_{take}",
        "{WORD}_{person}_{take}",
        "{person}_{word}_{take}",
        "{number}_{person}_{take}",
        "{person}-{number}_{take}",
        "{word}_{take}",
        "{word}_{take}_{person}",
    ],
)
def test_names_that_say_the_word_and_not_the_speaker_are_refused(mine, tmp_path, form):
    for number, word in enumerate(WORDS):
        (mine / word).rename(mine / f"turn {word}")
        for take, path in enumerate(sorted((mine / f"turn {word}").iterdir())):
            spoken, person = f"turn_{word}", path.name.split("_")[0]
            name = form.format(word=spoken, WORD=spoken.upper(), person=person, take=take, number=number)
            path.rename(path.with_name(f"{name}.wav"))
    keywords = ("turn lights", "turn music")
    said = check_nothing_made(tmp_path, mine, "one person would be in several sets", keywords=keywords)
    assert "name it like anna_1.wav, or use --no-speakers" in said
    assert run(mine, keywords=keywords, speakers=False).made


def test_names_of_one_folder_that_say_the_word_are_refused_too(mine, tmp_path):
    """lights_eva would be somebody else than eva, who says the other words."""
    for path in (mine / "lights").iterdir():
        path.rename(path.with_name(f"lights_{path.name}"))
    check_nothing_made(tmp_path, mine, "names here say the word")


def test_names_that_may_not_say_who_speaks_are_warned_of(mine):
    for word in WORDS:
        for number in range(3):
            audio.write_wav(mine / word / f"{word}_{number}.wav", burst(2000 + len(word) * 10 + number))
    (warning,) = [line for line in run(mine).warnings if "--no-speakers" in line]
    assert "9 names say their word, such as door/door_0.wav" in warning


@pytest.mark.parametrize(
    ("form", "warning"), [("{number:08x}_0.wav", "say one word only"), ("{take}_{person}.wav", "stands at the end")]
)
def test_speakers_who_may_be_none_are_warned_of(tmp_path, form, warning):
    raw = make_own(tmp_path / "mine", takes=4, name=form)
    assert [line for line in run(raw).warnings if warning in line and "--no-speakers" in line]


FORMATS = {".flac": "FLAC", ".ogg": "OGG", ".mp3": "MP3", ".AIFF": "AIFF", ".au": "AU", ".wave": "WAV"}


def test_every_format_counts_and_what_is_left_out_is_listed(mine, tmp_path):
    expected = {}
    for number, (ending, form) in enumerate(FORMATS.items()):
        sound = burst(500 + number, 16_000)
        soundfile.write(mine / "lights" / f"guest_{number}{ending}", sound, audio.SAMPLE_RATE, format=form)
        expected[f"lights/guest_{number}{ending}"] = f"{ending[1:].lower()} instead of wav: --resample takes it"
    soundfile.write(mine / "_background_noise_" / "hall.flac", burst(7, 40 * 16_000), audio.SAMPLE_RATE)
    soundfile.write(mine / "_background_noise_" / "deep.wav", burst(8, 40 * 8000), 8000)
    expected["_background_noise_/hall.flac"] = "flac instead of wav: --resample takes it"
    expected["_background_noise_/deep.wav"] = "8000 Hz instead of 16000"
    always = {
        "lights/more/inside/anna_7.wav": "in a folder inside the word's folder",
        "_background_noise_/more/anna_7.wav": "in a folder inside the word's folder",
        "anna_7.wav": "in no word's folder",
        "music/anna_7.m4a": "m4a instead of wav: convert it with ffmpeg -i FILE FILE.wav",
    }
    for name in always:
        (mine / name).parent.mkdir(parents=True, exist_ok=True)
        audio.write_wav(mine / name, burst(3))
    (mine / "music" / "notes.txt").write_text("no sound")
    assert dict(run(mine).skipped) == {**expected, **always}
    result = run(mine, resample=True)
    assert dict(result.skipped) == always
    lights = list((tmp_path / "main").glob("*/lights/guest_*.wav"))
    assert len(lights) == len(FORMATS)
    assert all(len(audio.read_wav(path)) >= 15_900 for path in lights)
    assert {path.name.split("_at_")[0] for path in (tmp_path / "main" / "train" / "silence").iterdir()} == {
        *("room", "hall", "deep")
    }
    heard = {path.name for path in predict.find_wavs([mine])}
    assert heard == {path.name for path in mine.rglob("*") if path.is_file()} - {"notes.txt"}


@pytest.mark.parametrize(
    ("folder", "write", "reason"),
    [
        ("_background_noise_", lambda path: soundfile.write(path, burst(1, 40 * 8000), 8000), "8000 Hz instead of"),
        ("lights", lambda path: path.rename(path.with_suffix(".flac")), "flac instead of wav: --resample takes it"),
        ("lights", lambda path: path.rename(path.with_suffix(".m4a")), "m4a instead of wav: convert it with ffmpeg"),
        ("lights", lambda path: path.write_bytes(b""), "6 of them: empty file"),
    ],
)
def test_a_failing_job_says_why_most_files_were_passed_over(mine, tmp_path, folder, write, reason):
    for path in sorted((mine / folder).iterdir()):
        write(path)
    check_nothing_made(tmp_path, mine, reason)


def test_m4a_and_webm_under_any_name_are_told_how_to_convert(tmp_path):
    for name, content in (("a.m4a", b"?" * 99), ("b.wav", b"\0\0\0\x20ftypisom" + bytes(99)), ("c.webm", b"")):
        (tmp_path / name).write_bytes(content)
    for name, reason in (
        ("a.m4a", "m4a instead of wav: convert"),
        ("b.wav", "m4a instead of wav"),
        ("c.webm", "empty"),
    ):
        with pytest.raises(audio.WavError, match=reason):
            audio.read_loudest_second(tmp_path / name)


@pytest.mark.parametrize("name", ["silence", "Silence", "_silence_", "_background_noise", "Background-Noise"])
def test_a_folder_of_silence_is_told_where_it_belongs(mine, tmp_path, name):
    (mine / "door").rename(mine / name)
    assert "_background_noise_" in check_nothing_made(tmp_path, mine, f"{name} is no word")


@pytest.mark.parametrize("name", ["unknown", "_unknown_", "silent", "noise"])
def test_other_words_stay_words(mine, name):
    (mine / "door").rename(mine / name)
    assert sum(by_label["unknown"] for by_label in run(mine).counts.values()) == len(PEOPLE)


def write_marked(path, text):
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())


def test_lists_of_other_systems_are_read_and_other_encodings_are_one_line(tmp_path, capsys):
    raw = make_raw(tmp_path / "raw")
    expected = corpus.check_lists(raw)
    for path in (raw / "train").glob("*.txt"):
        write_marked(path, path.read_text().replace("/", "\\").replace("bed", ".\\bed"))
    assert corpus.check_lists(raw) == expected
    (raw / "train" / "testing_list.txt").write_text("yes/é.wav", encoding="utf-16")
    arguments = ["--raw", str(raw), "--main", str(tmp_path / "main"), "--sample", str(tmp_path / "sample")]
    assert cli.run(prepare.main, arguments) == 1
    error = capsys.readouterr().err
    assert "testing_list.txt is no text in UTF-8" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("marked", [(), ("sample",), ("mine",), ("sample", "mine")])
def test_a_submission_is_checked_whether_it_has_a_mark_or_not(tmp_path, monkeypatch, capsys, marked):
    monkeypatch.chdir(tmp_path)
    predict.SAMPLE_SUBMISSION.parent.mkdir(parents=True)
    text = "fname,label\n" + "".join(f"clip_{number}.wav,silence\n" for number in range(7))
    for name, path in (("sample", predict.SAMPLE_SUBMISSION), ("mine", tmp_path / "mine.csv")):
        write_marked(path, text) if name in marked else path.write_text(text)
    assert cli.run(predict.main, ["--check", "mine.csv"]) == 0
    assert "its names too" in capsys.readouterr().out
    (tmp_path / "mine.csv").write_text(text.replace("clip_3.wav,silence\n", ""))
    assert cli.run(predict.main, ["--check", "mine.csv"]) == 1
    assert "1 of 7 clips have no row" in capsys.readouterr().err
    predict.SAMPLE_SUBMISSION.write_text("fname,label\né.wav,yes\n", encoding="latin-1")
    assert cli.run(predict.main, ["--check", "mine.csv"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_training_hears_the_second_that_predict_hears(mine, tmp_path):
    """The word in the second second, after a knock as loud as it gets."""
    for number, path in enumerate(sorted(mine.glob("[dlm]*/*.wav"))):
        knock = np.concatenate([np.full(900, 32767, np.int16), np.zeros(22_000, np.int16)])
        audio.write_wav(path, np.concatenate([knock, burst(number, 9000 + 100 * number)]))
    rules = {"keywords": WORDS[:2]}
    result, _ = prepare.prepare(mine, tmp_path / "main", tmp_path / "sample", **rules)
    assert any("the second with the most sound is used" in warning for warning in result.warnings)
    for folder in ("main", "sample"):
        for name, clip_set in datasets.open_store(tmp_path / folder / "preprocessed").items():
            for row, file in zip(clip_set.inputs[0][:], clip_set.names):
                path = tmp_path / folder / name / file
                assert np.array_equal(row, audio.read_loudest_second(path))
                assert row.max() < 32767


def test_digital_silence_is_warned_of_by_folder_and_set(mine, tmp_path):
    for path in (mine / "music").iterdir():
        audio.write_wav(path, np.zeros(16_000, np.int16))
    result = run(mine)
    assert "6 of 6 recordings in the folder music hold nothing but zeros: record again" in result.warnings
    sets = find_sets(tmp_path / "main", result)
    tested = next(name for name, found in sets.items() if found == {"test"})
    for path in mine.glob(f"*/{tested}_*"):
        audio.write_wav(path, np.zeros(16_000, np.int16))
    assert "3 of 3 recordings in the set test hold nothing but zeros: record again" in run(mine).warnings


def test_channels_that_cancel_are_one_channel_and_it_is_said_once(mine, tmp_path, capsys, monkeypatch):
    for number, path in enumerate(sorted((mine / "lights").iterdir())):
        sound = burst(300 + number, 16_000)
        soundfile.write(path, np.stack([sound // 2, -(sound // 2) - 1], axis=1), audio.SAMPLE_RATE)
    result = run(mine, resample=True)
    (warning,) = [line for line in result.warnings if "cancel" in line]
    assert warning.startswith("6 recordings have channels that cancel each other out, such as lights/anna_0.wav")
    assert all(np.abs(audio.read_wav(path)).max() > 2000 for path in (tmp_path / "main").glob("*/lights/*.wav"))

    model = recogniser.Recogniser("runs/mine", None, LABELS, lambda waveforms: np.ones((len(waveforms), 12)) / 12)
    list(predict.recognise(model, predict.find_wavs([mine / "lights"])))
    assert capsys.readouterr().err.count("6 files have channels that cancel") == 1


def test_an_empty_folder_for_the_voices_is_no_recordings(tmp_path, monkeypatch):
    (tmp_path / "raw").mkdir()
    monkeypatch.setattr(voices, "speak", lambda *_: pytest.fail("speaking"))
    with pytest.raises(pytest.fail.Exception, match="speaking"):
        voices.make_voices(tmp_path / "raw", n_speakers=3, n_test_clips=12)
    (tmp_path / "raw" / "mine.txt").write_text("mine")
    with pytest.raises(CourseError, match="already holds recordings"):
        voices.make_voices(tmp_path / "raw", n_speakers=3, n_test_clips=12)


def test_people_who_say_one_word_most_of_the_time_are_no_words(tmp_path):
    raw = make_own(tmp_path / "mine", people=("anna", "ben", "carl"))
    for word, person in (("lights", "anna"), ("music", "ben")):
        for take in range(100, 140):
            audio.write_wav(raw / word / f"{person}_{take}.wav", burst(hash((word, take)) % 10_000, 4000))
    (raw / "anna").mkdir()
    audio.write_wav(raw / "anna" / "anna_0.wav", burst(77, 4000))  # who says her name, once
    assert run(raw).made


def test_a_name_that_is_too_long_is_passed_over(mine):
    long = mine / "lights" / f"anna_{'x' * 230}.wav"
    audio.write_wav(long, burst(5, 4000))
    assert dict(run(mine).skipped) == {f"lights/{long.name}": f"anna_nohash_{'x' * 230}.wav would be too long a name"}


def test_a_split_whose_list_of_what_was_passed_over_is_lost_is_made_anew(mine, tmp_path):
    assert run(mine).made
    (tmp_path / "main" / "skipped.csv").unlink()
    assert run(mine).made
    assert not run(mine).made


def names_of(speakers, n_clips):
    return [f"yes/{speaker:04}_nohash_{take}.wav" for speaker in range(speakers) for take in range(n_clips)]


@pytest.mark.parametrize("speakers", [1, 4, 10, 75])
def test_an_interval_at_the_ends_has_the_width_that_so_many_speakers_give(speakers):
    of = evaluation.speakers_of(names_of(speakers, 20))
    right = np.ones(len(of), bool)
    assert evaluation.accuracy_interval(right, of) == pytest.approx((0.025 ** (1 / speakers), 1.0))
    assert evaluation.accuracy_interval(~right, of) == pytest.approx((0.0, 1 - 0.025 ** (1 / speakers)))
    half = np.arange(len(of)) % 2 == 0  # all alike, and none right or wrong throughout
    low, high = evaluation.accuracy_interval(half, of)
    assert low < 0.5 < high
    assert high - low > 0.9 / np.sqrt(speakers)
    assert evaluation.accuracy_interval(half.astype(float) - half, of) == (0.0, 0.0)  # a difference is no share


def test_too_few_speakers_are_reported_however_many_rooms_there_are(capsys):
    names = names_of(2, 30) + [f"silence/room{room}_at_{start}.wav" for room in range(20) for start in (0, 16_000)]
    y = np.array([0] * 60 + [10] * 40)
    found = np.where(np.arange(100) % 10, y, 11)
    scores = evaluation.score(y, found, names)
    assert scores["interval"][0] < 0.3
    clip_set = type("Some", (list,), {"names": names, "label_order": LABELS})([0])
    result = {
        **{"dataset": "mine", "dataset_hash": "0", "model": "m", "parameters": 1, "macs": 1.0, "cv_accuracy": 1.0},
        **{"test_accuracy": 0.9, "test_interval": scores["interval"], "confusion": scores["confusion"]},
    }
    training.report(result, {"cv": clip_set, "test": clip_set})
    assert "2 speaker(s): too few speakers for an interval" in capsys.readouterr().out
    clip_set.names = names_of(5, 2)
    training.report(result, {"cv": clip_set, "test": clip_set})
    assert "95 % interval" in capsys.readouterr().out


def test_text_that_people_edit_is_read_with_a_mark(tmp_path):
    write_marked(tmp_path / "labels.txt", "yes\nno\n")
    assert files.read_text(tmp_path / "labels.txt") == "yes\nno\n"
