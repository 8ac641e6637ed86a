"""Draw what the README shows of the recordings and of a run, and no notebook draws: part of `make figures`.

Runs keras and tensorflow, of which the browser's pictures are too, are trained if they are missing.
"""

import contextlib
import csv
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections import defaultdict
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import librosa
import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from utils import audio, augment, corpus, features, plots, recogniser, runs, store, trained
from utils.system import cli, files
from utils.system.cli import CourseError

DATA, RUN = Path("data"), runs.RUNS / "keras"
WORDS = ("down", "right", "no", "left")
SNR_DB = (20, 10, 0)
ORDER = ("raw", "main", "sample", *corpus.SETS)
COLUMNS = 110  # of the terminals that are drawn
COLOURS = {"31": "#c92a2a", "32": "#2b8a3e", "33": "#a07000"}
SAID = ("yes", "no", "up", "down", "left", "right", "go", "silence", "unknown")
MAX_OPENED = 12  # folders in a folder that the tree opens


def draw_tree():
    """``data/`` after splitting; of several folders of clips that hold the same folders the first is opened."""
    rows = [("data/", ""), *_list_tree(DATA, "", set())]
    figure, ax = plt.subplots(figsize=(6, len(rows) / 6))
    width = max(len(name) for name, _ in rows) + 2
    text = "\n".join(f"{name:{width}}{note}".rstrip() for name, note in rows)
    ax.text(0, 1, text, family="monospace", fontsize=9, linespacing=1.2, va="top")
    ax.axis("off")
    return figure


def _list_tree(folder, lead, opened):
    entries = sorted((entry for entry in folder.iterdir() if entry.name[0] != "."), key=_in_order)
    for entry in entries:
        corner, line = ("└── ", "    ") if entry == entries[-1] else ("├── ", "│   ")
        name = lead + corner + entry.name + "/" * entry.is_dir()
        if entry.is_file():
            yield name, ""
        elif entry.suffix == ".bc":
            array = store.open_array(entry)
            yield name, " x ".join(f"{size:,}" for size in array.shape) + f" {array.dtype}"
        else:
            clips = {inner.name: len(corpus.wav_names(inner)) for inner in entry.iterdir() if inner.is_dir()}
            labels = frozenset(clips)
            if n_own := len(corpus.wav_names(entry)):
                yield name, f"{n_own:,} wav"
            elif len(clips) > MAX_OPENED or labels in opened:
                yield name, f"{len(clips)} folders, {sum(clips.values()):,} wav"
            else:
                if all(clips.values()):
                    opened.add(labels)
                yield name, ""
                yield from _list_tree(entry, lead + line, opened)


def _in_order(path):
    """Folders before files, in the order in which they come to be."""
    return path.is_file(), ORDER.index(path.name) if path.name in ORDER else len(ORDER), path.name


def find_speakers():
    """Clips of the words by speaker, in a fixed order: of those who said all of them loud enough, for a whole second.

    Notebook 1 takes its clips by the same rule.
    """
    found = defaultdict(dict)
    for clip in corpus.list_clips(DATA / "main"):
        if clip.set == "train" and clip.label in WORDS:
            waveform = audio.to_waveform(audio.read_wav(clip.path))
            if len(waveform) == audio.CLIP_SAMPLES and 0.3 <= np.abs(waveform).max() < 0.99:
                found[corpus.parse_name(clip.path)[0]].setdefault(clip.label, waveform)
    return [by_word for by_word in found.values() if len(by_word) == len(WORDS)]


def draw_nine(speakers, plot, height, **settings):
    """Three words (rows) by the first three speakers."""
    figure = plt.figure(figsize=(8, height), layout="constrained")
    titles = [f"{word}, speaker {number}" for word in WORDS[:3] for number in (1, 2, 3)]
    nine = [by_word[word] for word in WORDS[:3] for by_word in speakers[:3]]
    axes = plots.plot_grid(figure, nine, titles, plot, **settings)
    axes[0, 0].set_xticks((0, 0.5, 1))  # shared by all
    return figure, axes


def draw_spectra(speakers, plot, label, **settings):
    """The same of their spectra, with the frequency axis named once and a bar that says what the colours mean."""
    figure, axes = draw_nine(speakers, plot, 5.6, **settings)
    for ax, text in zip(axes[:, 0], ("", label, "")):
        ax.set_ylabel(text)
    plots.add_level_bar(axes)
    return figure


def draw_chromagrams(speakers):
    """The same of their pitch classes."""
    figure, axes = draw_nine(speakers, plots.plot_chromagram, 5.6)
    axes[0, 0].set_yticks(range(0, 12, 2), plots.PITCH_CLASSES[::2])
    figure.colorbar(axes[0, 0].images[0], ax=axes, label="strength (strongest class of a frame: 1)")
    return figure


def draw_noise(clip):
    """A clip as it is, and with the loudest background recording mixed in at several SNRs, all on one scale."""
    folder = corpus.find_recordings(DATA / "raw") / corpus.NOISE_FOLDER
    recordings = [audio.to_waveform(audio.read_wav(path)) for path in corpus.list_wavs(folder)]
    noise = max(recordings, key=lambda recording: np.mean(np.square(recording)))
    rng = np.random.default_rng(0)
    sounds = [clip, *(augment.mix_background_noise(clip, noise, snr_db, rng) for snr_db in SNR_DB)]
    settings = {"n_fft": 512, "hop_length": 160, "n_mels": 64}
    mels = [librosa.feature.melspectrogram(y=sound, sr=audio.SAMPLE_RATE, **settings) for sound in sounds]
    layout = {"height_ratios": (2, 3), "layout": "constrained"}
    titles = ("the word left", *(f"{snr_db} dB SNR" for snr_db in SNR_DB))
    figure, axes = plt.subplots(2, 4, figsize=(8, 4.4), sharex=True, sharey="row", **layout)
    for (upper, lower), sound, mel, title in zip(axes.T, sounds, mels, titles):
        plots.plot_waveform(upper, sound).set_title(title)
        plots.plot_mel_spectrogram(lower, mel, reference=np.max(mels)).set(xlabel="time (s)", xticks=(0, 0.5))
        upper.label_outer()
        lower.label_outer()
    plots.add_level_bar(axes[1])
    return figure


def draw_learning_curve():
    """Loss and accuracy of a run by epoch."""
    with open(RUN / "log.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    for ax, metric in zip(axes, ("loss", "accuracy")):
        plots.plot_learning_curves(ax, rows, metric)
    return figure


def draw_confusion(result):
    """What the run's network heard in the test clips."""
    figure, ax = plt.subplots(figsize=(8, 7.5), layout="constrained")
    clips = np.sum(result["confusion"])
    title = f"{result['model']}, {clips} test clips"
    plots.plot_confusion(ax, result["confusion"], list(result["per_label"])).set_title(title)
    return figure


def watch(*command):
    """What a command of ours writes on a terminal of ``COLUMNS``, as one text with its colours and carriage returns."""
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    process = subprocess.Popen([sys.executable, *command], stdin=end, stdout=end, stderr=end)
    os.close(end)
    written = b""
    with contextlib.suppress(OSError):  # Linux, when the command has ended
        while part := os.read(terminal, 4096):
            written += part
    os.close(terminal)
    if process.wait():
        raise CourseError(f"{command[0]} failed: {written.decode()}")
    return written.decode().replace("\r\n", "\n")


def draw_terminal(lines):
    """Lines of a terminal, in the colours that they have."""
    figure = plt.figure(figsize=(COLUMNS * 0.085, len(lines) * 0.2))
    ax = figure.add_axes((0.015, 0.02, 0.97, 0.96), xlim=(0, COLUMNS), ylim=(len(lines), 0))
    ax.axis("off")
    for row, line in enumerate(lines):
        column = 0
        for number, text in re.findall(r"(?:\033\[(\d+)m)?([^\033]+)(?:\033\[0m)?", line):
            colour = COLOURS.get(number, "#222222")
            for place, letter in enumerate(text, start=column):  # a letter a place, as on a terminal
                ax.text(place, row + 0.5, letter, color=colour, family="monospace", fontsize=9, va="center")
            column += len(text)
    return figure


def draw_strip(clip):
    """What happens to a clip: waveform, log-mel spectrogram, and what the network in pretrained/ answers."""
    hear, labels = recogniser.load(trained.PRETRAINED), trained.read_labels(trained.PRETRAINED)
    figure, axes = plt.subplots(1, 3, figsize=(8, 2.2), layout="constrained")
    plots.plot_waveform(axes[0], clip).set_title("a second of sound: 16,000 numbers", fontsize=9)
    log_mel = features.log_mel(clip[np.newaxis])[0]
    axes[1].imshow(log_mel.T, origin="lower", aspect="auto", extent=(0, 1, 0, log_mel.shape[1]))
    axes[1].set_title("its log-mel spectrogram: 98 x 40", fontsize=9)
    axes[1].set(xlabel="time (s)", ylabel="mel bin")
    axes[2].barh(labels, hear(clip[np.newaxis])[0])
    axes[2].invert_yaxis()
    axes[2].set(xlabel="probability", xlim=(0, 1))
    axes[2].tick_params(axis="y", labelsize=7)
    axes[2].set_title("the network's answer: 12 probabilities", fontsize=9)
    return figure


def train(name):
    """Run a training script with its defaults; what it wrote."""
    command = (f"train_{name}.py", "--logrun", name)
    written = watch(*command)
    print(written.split("\r")[-1])
    return written


def draw_training(written):
    """What a training script shows while it runs, at three fifths of its way, and at its end."""
    head, *bars = written.split("\r")
    bar = bars[3 * len(bars) // 5].rstrip()
    end = bars[-1].strip("\n").split("\n")
    return draw_terminal(["$ python train_keras.py --logrun keras", *head.strip("\n").split("\n"), bar, "", *end])


def draw_answers():
    """What predict.py shows of test clips, the first of some labels."""
    clips = [sorted((DATA / "main" / "test" / label).iterdir())[0] for label in SAID]
    answers = watch("predict.py", "--said", "--model", str(RUN), *map(str, clips))
    return draw_terminal([f"$ python predict.py --said --model {RUN} ...", *answers.strip("\n").split("\n")])


def main(arguments=None):
    """Draw all of them into imgs/."""
    cli.Parser(description=__doc__.splitlines()[0]).parse_args(arguments)
    note = files.read_json(DATA / "main" / "split.json")
    if note is None:
        raise CourseError("data/main is missing: run python -m utils.prepare")
    if not note["dataset"].startswith("recordings"):
        raise CourseError(
            f"data/main holds {note['dataset']}, and these pictures are of recordings: "
            "python -m utils.sources --help says where they come from"
        )
    written = {}
    for name in ("keras", "tensorflow"):
        if not (runs.RUNS / name / "result.json").exists() or not (Path("tf_logs") / name).exists():
            written[name] = train(name)
    result = files.read_json(RUN / "result.json")
    if not result["dataset"].startswith(note["dataset"]):
        raise CourseError(f"{RUN} is of {result['dataset']}: remove it, and it is trained again")
    speakers = find_speakers()
    drawn = {
        "folder_tree": draw_tree(),
        "waveforms": draw_nine(speakers, plots.plot_waveform, 4.2)[0],
        "spectrograms": draw_spectra(speakers, plots.plot_spectrogram, "frequency (Hz)", hop_length=128),
        "mel_spectrograms": draw_spectra(speakers, plots.plot_mel_spectrogram, "frequency (Hz, mel scale)"),
        "chromagrams": draw_chromagrams(speakers),
        "strip": draw_strip(speakers[0]["left"]),
        "noise_mixing": draw_noise(speakers[0]["left"]),
        "learning_curve": draw_learning_curve(),
        "confusion_matrix": draw_confusion(result),
        "terminal_answers": draw_answers(),
        **({"terminal_training": draw_training(written["keras"])} if "keras" in written else {}),
    }
    for name, figure in drawn.items():
        plots.save(figure, name)
        print(f"imgs/{name}.png: {(plots.IMAGES / f'{name}.png').stat().st_size:,} bytes")


if __name__ == "__main__":
    sys.exit(cli.run(main))
