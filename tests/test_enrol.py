# ruff: noqa: F811
"""Guards: a word is taught by a few recordings and heard; what teaches nothing is said in one line; page, export and
Python hear alike."""

import os
import shutil
import zipfile

import numpy as np
import pytest
from conftest import PATIENCE, burst, check_refused
from playwright.sync_api import expect
from test_page import check_accessible, close, folder, microphone, open_page, playwright, url, write_at  # noqa: F401

import predict
from benchmarks import enrol as measured
from utils import audio, enrol, export, recogniser, trained, voices
from utils.labels import LABELS, SILENCE, UNKNOWN
from utils.nets import taught
from utils.system import cli, espeak, takes

SPEAKER = espeak.draw_speakers(401)[-1]
SAME = 0.02  # probabilities: the exported file has weights of 16 bits
# In the page: what its worker is asked to learn from.
KEEP_TAUGHT = """window.taught = []; const post = Worker.prototype.postMessage;
Worker.prototype.postMessage = function (message, transfer) {
  if (message.job === "teach") taught.push(message);
  return post.call(this, message, transfer);
};"""


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """Folders of six recordings of two words by one built-in voice."""
    place = tmp_path_factory.mktemp("spoken")
    rng = np.random.default_rng(0)
    for word in ("lights", "music"):
        (place / word).mkdir()
        for number, clip in enumerate(measured.say(espeak.Speech(), word, SPEAKER, 6, rng)):
            audio.write_wav(place / word / f"{number}.wav", clip)
    return place


@pytest.fixture(scope="module")
def lights(spoken, tmp_path_factory):
    """A folder in which one word was taught by five of them."""
    folder = tmp_path_factory.mktemp("taught") / "runs" / "taught"
    teach(folder, "lights", *(spoken / "lights" / f"{number}.wav" for number in range(5)))
    return folder


def teach(folder, *arguments):
    return cli.run(enrol.main, [*map(str, arguments), "--into", str(folder), "--model", str(trained.PRETRAINED)])


def word(n_samples, at=4000, size=16_000):
    samples = np.zeros(size, np.int16)
    samples[at : at + n_samples] = burst(1, n_samples)
    return samples


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (np.zeros(16_000, np.int16), "only silence"),
        (word(200), "a click, or silence"),
        ((word(6000) / 200).astype(np.int16), "too quiet"),
        (word(4000) + word(4000, at=24_000, size=32_000)[:16_000], None),
        (np.concatenate([word(4000), word(4000)]), "two words are in it"),
        (np.concatenate([burst(2, 30_000), np.zeros(8000, np.int16)]), "lasts 1.9 s"),
    ],
)
def test_a_recording_that_teaches_nothing_is_told(samples, reason):
    if reason is None:
        assert abs(len(takes.cut_word(samples)) - 4000) <= 160
        return
    with pytest.raises(takes.ClipError, match=reason):
        takes.cut_word(samples)


def test_few_negatives_are_taken_for_a_word_and_its_copies_are():
    rng = np.random.default_rng(0)
    negatives, centre = rng.normal(size=(1000, 20)).astype(np.float32), 6 * np.eye(20)[0]
    copies = [centre + rng.normal(size=(9, 20)) / 3 for _ in range(3)]
    words = taught.learn({"lights": copies}, negatives)
    assert np.mean(words.margins(negatives) > 0) <= 2 * taught.SHARE
    assert np.all(words(np.concatenate(copies)).argmax(axis=1) == 0)


def test_probabilities_of_both_add_up_to_one_and_alone_commands_are_unknown():
    labels, matrix = taught.arrange(LABELS, ["lights"], alone=False)
    assert labels == (*LABELS[:10], "lights", SILENCE, UNKNOWN)
    assert np.all(matrix.sum(axis=1) == 1)
    labels, matrix = taught.arrange(LABELS, ["lights"], alone=True)
    assert labels == ("lights", SILENCE, UNKNOWN)
    assert matrix[LABELS.index("go")].tolist() == [0, 0, 1]


def test_a_taught_word_is_heard_beside_the_commands(lights, spoken, tmp_path, capsys):
    yes = voices.make_examples(tmp_path, ("yes",))[0]
    paths = [spoken / "lights" / "5.wav", spoken / "music" / "0.wav", yes]
    assert cli.run(predict.main, ["--model", str(lights), "--json", *map(str, paths)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert ['"label": "lights"' in line for line in said] == [True, False, False]
    assert '"label": "yes"' in said[2]


def test_words_are_added_renamed_listed_and_removed(lights, spoken, tmp_path, capsys):
    folder = tmp_path / "taught"
    shutil.copytree(lights, folder)
    with zipfile.ZipFile(tmp_path / "my_words.zip", "w") as archive:  # as the page packs it
        for number in range(3):
            archive.write(spoken / "music" / f"{number}.wav", f"music/0badcafe_nohash_t{number}.wav")
        archive.write(spoken / "music" / "4.wav", "other/0badcafe_nohash_1.wav")
    assert teach(folder, "--page", tmp_path / "my_words.zip") == 0
    assert "music: 3 recordings; left out one at a time" in capsys.readouterr().out
    assert len(list((folder / "clips" / enrol.OTHERS).iterdir())) == 1
    assert teach(folder, "--rename", "music", "Radio") == 0
    assert teach(folder, "--remove", "lights") == 0
    capsys.readouterr()
    assert teach(folder, "--list") == 0
    assert capsys.readouterr().out.startswith("Radio: 3 recordings")
    assert trained.read_labels(folder) == [*LABELS[:10], "Radio", SILENCE, UNKNOWN]
    assert teach(folder, "--remove", "radio") == 0
    assert not folder.exists()


def test_what_somebody_keeps_beside_the_exports_is_not_removed(lights, spoken, tmp_path, capsys):
    folder = shutil.copytree(lights, tmp_path / "runs" / "taught")
    for place in ("export/mine.txt", "export/web/mine/too.txt"):
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine", encoding="utf-8")
        assert teach(folder, "music", spoken / "music") == 2
        assert f"holds {place}, which is not of taught words" in capsys.readouterr().err
        assert path.read_text(encoding="utf-8") == "mine"
        path.unlink()


def test_one_recording_twice_counts_once(lights, spoken, tmp_path, capsys):
    folder = tmp_path / "taught"
    shutil.copytree(lights, folder)
    assert teach(folder, "lights", spoken / "lights" / "0.wav") == 1
    error = capsys.readouterr().err
    assert "the same recording as 1.wav" in error
    assert "nothing new was learned of lights" in error


def test_a_name_that_stays_and_files_of_one_name_lose_nothing(lights, spoken, tmp_path, capsys):
    folder = shutil.copytree(lights, tmp_path / "taught")
    assert teach(folder, "--rename", "lights", "lights") == 0
    assert sorted(path.name for path in (folder / "clips").iterdir()) == ["lights"]
    for place, numbers in (("a", (0, 1)), ("b", (2, 3))):
        (tmp_path / place).mkdir()
        for name, number in enumerate(numbers):
            shutil.copy(spoken / "music" / f"{number}.wav", tmp_path / place / f"{name}.wav")
        (tmp_path / place / "bad.wav").write_text("no sound", encoding="utf-8")
        (tmp_path / place / "worse.wav").write_text("no sound", encoding="utf-8")
    assert teach(folder, "music", tmp_path / "a", tmp_path / "b") == 0  # learned, though as many are none
    assert "music: 4 recordings" in capsys.readouterr().out


def test_what_an_interruption_left_is_learned_by_the_same_command(lights, spoken, tmp_path, capsys):
    folder = shutil.copytree(lights, tmp_path / "taught")
    enrol.Teacher(folder).add("music", {str(n): audio.read_wav(spoken / "music" / f"{n}.wav") for n in range(3)})
    assert teach(folder, "music", *(spoken / "music" / f"{number}.wav" for number in range(3))) == 0
    assert "music" in trained.read_labels(folder)


def test_what_is_taken_can_be_read_again_and_a_damaged_clip_is_named(lights, spoken, tmp_path, capsys):
    folder = shutil.copytree(lights, tmp_path / "taught")
    # One word over noise; but in the loudest second of it, which is kept, a piece of the noise stands apart.
    samples = np.concatenate([burst(1, 8000), np.zeros(4800, np.int16), burst(2, 22_400) // 7])
    assert len(takes.cut_word(samples)) == 8000
    passed = enrol.Teacher(folder).add("lights", {"odd": samples})
    assert [(name, reason[:14]) for name, reason in passed] == [("odd", "two words are ")]
    (folder / "clips" / "lights" / "2.wav").write_bytes(audio.make_wav(samples)[:100])
    assert teach(folder, "music", spoken / "music") == 1
    assert f"{folder / 'clips' / 'lights' / '2.wav'}: cut short" in capsys.readouterr().err
    (folder / trained.TAUGHT).write_bytes((folder / trained.TAUGHT).read_bytes()[:500])
    with pytest.raises(cli.CourseError, match="damaged"):
        recogniser.load(folder)


def test_a_renaming_and_a_removal_that_were_interrupted_are_finished(lights, spoken, tmp_path, capsys, monkeypatch):
    folder = shutil.copytree(lights, tmp_path / "taught")
    assert teach(folder, "music", spoken / "music") == 0

    def interrupt(teacher):
        raise KeyboardInterrupt

    for change in (("--rename", "lights", "lamp"), ("--remove", "music")):
        with monkeypatch.context() as patch:
            patch.setattr(enrol.Teacher, "learn", interrupt)
            assert teach(folder, *change) == 130
        assert teach(folder, *change) == 0
    assert trained.read_labels(folder) == [*LABELS[:10], "lamp", SILENCE, UNKNOWN]
    assert teach(folder, "--rename", "lights", "lamp") == 2
    assert teach(folder, "--rename", "lamp", "lamp post\n") == 0
    assert "lamp post" in recogniser.load(folder).labels
    shutil.rmtree(folder / "clips" / "lamp post")  # as a removal that was interrupted leaves the last word
    assert teach(folder, "--remove", "lamp post") == 0
    assert not folder.exists()


@pytest.mark.posix
def test_names_that_no_word_can_have_cost_the_others_nothing_and_a_pipe_is_refused(lights, spoken, tmp_path, capsys):
    folder = shutil.copytree(lights, tmp_path / "taught")
    with zipfile.ZipFile(tmp_path / "my_words.zip", "w") as archive:
        for number, name in enumerate(("music", "music", "aux", "_none_", "a,b")):
            archive.write(spoken / "music" / f"{number}.wav", f"{name}/{number}.wav")
    assert teach(folder, "--page", tmp_path / "my_words.zip") == 0
    captured = capsys.readouterr()
    assert "music: 2 recordings" in captured.out
    assert captured.err.count("warning: aux/2.wav") == captured.err.count("warning: a,b/4.wav") == 1
    os.mkfifo(tmp_path / "pipe")
    assert teach(folder, "radio", tmp_path / "pipe") == 2


@pytest.mark.parametrize("held", ["config.json", "labels.txt", "clips/kitchen/mine.wav", "clips/kitchen/1.wav"])
def test_a_folder_of_somebody_else_is_refused_whole(held, spoken, tmp_path, capsys):
    path = tmp_path / "mine" / held
    path.parent.mkdir(parents=True)
    path.write_text('{"mine": 1}', encoding="utf-8")
    for arguments in (["lights", spoken / "lights"], ["--remove", "kitchen"]):
        assert teach(tmp_path / "mine", *arguments) == 2
        assert f"holds {held}, which is not of taught words" in capsys.readouterr().err
        assert path.read_text(encoding="utf-8") == '{"mine": 1}'


def test_a_zip_that_cannot_be_unpacked_is_told(lights, spoken, tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "broken.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(spoken / "music" / "0.wav", "0.wav")
    content = bytearray((tmp_path / "broken.zip").read_bytes())
    content[200:260] = bytes(60)
    (tmp_path / "broken.zip").write_bytes(content)
    folder = shutil.copytree(lights, tmp_path / "taught")
    assert teach(folder, "music", tmp_path / "broken.zip") == 1
    assert "cannot be unpacked" in capsys.readouterr().err
    assert not (folder / "clips" / "music").exists()


@pytest.mark.parametrize(
    ("name", "line"),
    [("Right", "is a command already"), ("a/b", "has a slash"), ("silence", "a label of its own"), ("con", "Windows")],
)
def test_names_that_cannot_be_taught_are_refused(name, line, spoken, tmp_path, capsys):
    arguments = [name, str(spoken / "lights"), "--into", str(tmp_path / "taught"), "--model", str(trained.PRETRAINED)]
    if line == "is a command already":
        assert cli.run(enrol.main, arguments) == 2
        assert line in capsys.readouterr().err
    else:
        check_refused(enrol.main, arguments, line, capsys)
    assert not (tmp_path / "taught").exists()


def test_a_word_near_to_another_is_said_with_a_figure(lights, spoken, tmp_path, capsys):
    folder = tmp_path / "taught"
    shutil.copytree(lights, folder)
    assert teach(folder, "lamp", *(spoken / "lights" / f"{number}.wav" for number in (4, 5))) == 0
    assert "% of the recordings of" in capsys.readouterr().err


@pytest.mark.slow
def test_an_exported_file_has_the_words_inside(lights, spoken):
    clip = audio.to_waveform(audio.read_wav(spoken / "lights" / "5.wav"))[None]
    before = recogniser.load(lights)(clip)
    path = export.export(lights, "float")
    np.testing.assert_allclose(export.open_exported(path)(clip), before, atol=SAME)
    assert predict.load_recogniser(lights).path == path


@pytest.mark.slow
def test_the_page_teaches_a_word_and_hears_it_said_by_another_clip(url, playwright, spoken, tmp_path):
    rng = np.random.default_rng(0)
    clips = [audio.read_wav(spoken / "lights" / f"{number}.wav") for number in range(6)]
    floor = 32768 * 10 ** (SPEAKER["noise_db"] / 20)
    pieces = [part for clip in clips for part in (rng.normal(0, floor, 20_000).astype(np.int16), clip)]
    wav = write_at(tmp_path / "said.wav", np.concatenate(pieces), 44_100)
    with microphone(playwright, wav) as browser:
        page = open_page(browser, url, script=KEEP_TAUGHT)
        page.get_by_role("button", name="Teach").click()
        for name, line in (("up", "is a command"), ("a/b", "name of a file")):
            page.locator("#teach_word").fill(name)
            page.locator("#teach_go").click()
            expect(page.locator("#teach_problem")).to_contain_text(line)
        page.locator("#teach_word").fill("lights")
        page.locator("#teach_go").click()
        expect(page.locator("#teach_done")).to_contain_text("was learned", timeout=3000 * PATIENCE)
        expect(page.locator("#teach_words .take")).to_have_count(5)
        check_accessible(page, "taught")
        expect(page.locator("#kept_enrol")).to_be_visible()
        expect(page.locator("#kept_train")).to_be_hidden()  # training would learn the word as unknown
        page.get_by_role("button", name="Live").click()
        page.locator("#microphone").click()
        expect(page.locator("#log .heard").nth(5)).to_be_visible(
            timeout=3000 * PATIENCE
        )  # of six clips one was not among the five
        page.locator("#microphone").click()
        expect(page.locator("#state")).to_have_text("Ready")
        assert set(page.locator("#log .heard .what").all_inner_texts()) == {"lights"}
        # A false alarm is marked, and the next listening begins with learning from it.
        page.locator("#log .heard .wrong", has_text="wrong?").last.click()
        page.get_by_role("button", name="no word at all").click()
        expect(page.locator("#log .wrong", has_text="kept")).to_be_visible()
        page.locator("#microphone").click()
        expect(page.locator("#state")).to_have_text("Learning")
        expect(page.locator("#state")).to_have_text("Listening", timeout=3000 * PATIENCE)
        words = page.evaluate("taught.at(-1).recordings.map(({ word }) => word)")
        assert words == ["lights"] * 5 + [None]
        page.locator("#microphone").click()
        page.reload()  # it is kept
        expect(page.locator("#tiles")).to_contain_text("lights")
        close(page)
