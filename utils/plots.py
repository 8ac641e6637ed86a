"""Every figure of the course: takes data and an ``Axes`` (what has several: a figure), returns the ``Axes``.

A waveform is float32 in [-1, 1) at 16 kHz. Time is in seconds from the start of the clip, so that pictures of a clip
can share their axis; a spectrum that is handed over ready-made is of one second.
"""

import io
from itertools import cycle
from pathlib import Path

import numpy as np

from utils.audio import CLIP_SAMPLES, SAMPLE_RATE
from utils.nets.frames import FRAME_LENGTH, HOP_LENGTH

# Colours of Okabe & Ito (2008), told apart by colour-blind eyes and legible on light and dark pages.
SET_COLOURS = {"train": "#0072B2", "cv": "#E69F00", "test": "#009E73"}
SET_NAMES = {"train": "training", "cv": "validation", "test": "testing"}
LINE = SET_COLOURS["train"]
# Of lines beside what is blue or orange already, which mean said and heard there (Tol 2021, muted).
OTHER_LINES = (  # one for each of the ten keywords
    *("#117733", "#882255", "#332288", "#999933", "#AA4499"),
    *("#44AA99", "#661100", "#CC6677", "#DDAA33", "black"),
)
IMAGES = Path("imgs")

RANGE_DB = 80  # shown of a spectrum; what is weaker has the darkest colour
MEL_TICKS_HZ = (0, 250, 500, 1000, 2000, 4000, 8000)
LONG_HOP = 512  # samples from one frame to the next in librosa's features
PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


def plot_counts(ax, counts):
    """Bars of clips by label, one colour a set; ``counts`` is set -> label -> clips."""
    width = 0.8 / len(counts)
    for offset, (name, by_label) in enumerate(counts.items()):
        places = np.arange(len(by_label)) + (offset - (len(counts) - 1) / 2) * width
        ax.bar(places, list(by_label.values()), width, label=SET_NAMES[name], color=SET_COLOURS[name])
    ax.set_xticks(range(len(by_label)), by_label, rotation=45, ha="right")
    ax.set(ylabel="clips")
    ax.legend(ncols=len(counts), loc="lower center", bbox_to_anchor=(0.5, 1))
    return ax


def plot_clips_by_speaker(ax, clips_by_speaker):
    """Histogram of how many clips a speaker recorded, from a number for each speaker."""
    ax.hist(clips_by_speaker, bins=np.arange(0.5, max(clips_by_speaker) + 1.5), color=LINE)
    ax.set(xlabel="clips by one speaker", ylabel="speakers")
    return ax


def plot_silence_stretches(ax, starts_by_recording):
    """Where each set takes its silence from: recording -> set -> first samples of one-second pieces."""
    for row, starts_by_set in enumerate(starts_by_recording.values()):
        for name, starts in starts_by_set.items():
            pieces = [(start / SAMPLE_RATE, CLIP_SAMPLES / SAMPLE_RATE) for start in starts]
            label = None if row else SET_NAMES[name]
            ax.broken_barh(pieces, (row - 0.4, 0.8), color=SET_COLOURS[name], label=label)
    ax.set_yticks(range(len(starts_by_recording)), [name.replace("_", " ") for name in starts_by_recording])
    ax.set(xlabel="time in the recording (s)")
    ax.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
    return ax


def plot_spread(ax, values_by_label, ylabel):
    """Box from quarter to three quarters, line at the median, whiskers from 5 to 95 %, by label."""
    settings = {"whis": (5, 95), "patch_artist": True, "flierprops": {"markersize": 2}}
    settings |= {"boxprops": {"facecolor": "#56B4E9"}, "medianprops": {"color": "black"}}
    ax.boxplot(list(values_by_label.values()), **settings)
    ax.set_xticks(range(1, len(values_by_label) + 1), values_by_label, rotation=45, ha="right")
    ax.set(ylabel=ylabel)
    return ax


def to_db(power, reference=None):
    """Decibels of a power relative to a reference, by default its highest value; nothing is below ``-RANGE_DB``."""
    reference = max(np.max(power), np.finfo(np.float32).tiny) if reference is None else reference
    return 10 * np.log10(np.maximum(power / reference, 10 ** (-RANGE_DB / 10)))


def spectrogram(waveform, n_fft=256, hop_length=64):
    """Power (n_fft // 2 + 1, n_frames) of whole frames: the FFT's magnitude by the sum of its Hann window, squared."""
    from scipy import signal  # SciPy and librosa load only where a figure needs them

    settings = {"window": "hann", "nperseg": n_fft, "noverlap": n_fft - hop_length, "detrend": False}
    return np.square(signal.spectrogram(waveform, scaling="spectrum", mode="magnitude", **settings)[2])


def plot_waveform(ax, waveform):
    """Amplitude over time."""
    ax.plot(np.arange(len(waveform)) / SAMPLE_RATE, waveform, color=LINE, linewidth=0.6)
    ax.set(xlabel="time (s)", ylabel="amplitude", xlim=(0, _seconds(waveform)))
    return ax


def plot_spectrogram(ax, waveform, n_fft=256, hop_length=64):
    """Level over time and frequency up to 8 kHz, from frames of 16 ms every 4 ms unless told (in samples)."""
    half_bin_hz = SAMPLE_RATE / n_fft / 2
    rows = (-half_bin_hz, SAMPLE_RATE / 2 + half_bin_hz)
    _show(ax, to_db(spectrogram(waveform, n_fft, hop_length)), hop_length, rows, first_sample=n_fft // 2)
    ax.set(ylabel="frequency (Hz)", xlim=(0, _seconds(waveform)), ylim=(0, SAMPLE_RATE / 2))
    return ax


def plot_mel_spectrogram(ax, sound, hop_length=HOP_LENGTH, reference=None):
    """Level over time and mel bins, whose frequencies are on the axis.

    Of a waveform, 64 bins from frames of 32 ms are shown; or of librosa's mel spectrogram (power), (n_mels, n_frames).
    ``reference`` is the power shown as 0 dB, where pictures are to be compared; by default the highest.
    """
    import librosa

    settings = {"sr": SAMPLE_RATE, "n_fft": 512, "hop_length": hop_length, "n_mels": 64}
    mel = librosa.feature.melspectrogram(y=sound, **settings) if sound.ndim == 1 else sound
    _show(ax, to_db(mel, reference), hop_length)
    # The bins' centres lie evenly on the mel scale, 0 Hz and 8 kHz one step beyond the outermost.
    step = librosa.hz_to_mel(SAMPLE_RATE / 2) / (len(mel) + 1)
    ax.set_yticks([librosa.hz_to_mel(hz) / step - 1 for hz in MEL_TICKS_HZ], MEL_TICKS_HZ)
    ax.set(ylabel="frequency (Hz, mel scale)", xlim=(0, _seconds(sound)), ylim=(-1, len(mel)))
    return ax


def plot_log_mel(ax, log_mel):
    """A network's input, (n_frames, n_mels) as :func:`utils.features.log_mel` gives it: logarithm of mel energies."""
    _show(ax, log_mel.T, HOP_LENGTH, first_sample=FRAME_LENGTH // 2, limits=(np.log(1e-6), 6))
    ax.set(ylabel="mel bin", xlim=(0, CLIP_SAMPLES / SAMPLE_RATE))
    return ax


def plot_mfccs(ax, mfccs, first=0):
    """Mel-frequency cepstral coefficients (n_mfcc, n_frames), from number ``first`` on; the scale is white at 0."""
    most = np.quantile(np.abs(mfccs), 0.98)  # the first coefficients are so large that they would hide the rest
    rows = (first - 0.5, first + len(mfccs) - 0.5)
    _show(ax, mfccs, LONG_HOP, rows, limits=(-most, most), colours="RdBu_r")
    ax.set(ylabel="coefficient", xlim=(0, CLIP_SAMPLES / SAMPLE_RATE))
    return ax


def plot_convolution(figure, log_mel, kernel, response, places):
    """A filter that slides over a spectrogram (n_frames, n_mels): weights, some places, answers below.

    ``kernel`` (n_kernel_frames, n_mels) has the weights of a 1-D convolution whose channels are the mel bins. Each
    ``response`` is drawn at the middle of the frames it was computed from, at ``places`` with the window of these.
    """
    axes = figure.subplots(2, 2, width_ratios=(1, 6), height_ratios=(3, 2))
    weights, upper, lower = axes[0, 0], axes[0, 1], axes[1, 1]
    axes[1, 0].axis("off")
    most = np.abs(kernel).max()
    _show(weights, kernel.T, HOP_LENGTH, None, HOP_LENGTH // 2, (-most, most), "RdBu_r")
    weights.set(title="filter", ylabel="mel bin")
    plot_log_mel(upper, log_mel).set(title="its places on the spectrogram", xlabel="")
    starts_s = (FRAME_LENGTH // 2 + (np.arange(len(response)) - 0.5) * HOP_LENGTH) / SAMPLE_RATE
    width_s = len(kernel) * HOP_LENGTH / SAMPLE_RATE
    lower.plot(starts_s + width_s / 2, response, color=LINE)
    for place, colour in zip(places, ("#D55E00", "#56B4E9", "#009E73", "#CC79A7")):
        for ax in (upper, lower):
            ax.axvspan(starts_s[place], starts_s[place] + width_s, facecolor="none", edgecolor=colour, linewidth=2)
        lower.plot(starts_s[place] + width_s / 2, response[place], "o", color=colour)
    lower.axhline(0, color="0.6", linewidth=0.8)
    lower.set(xlabel="time (s)", ylabel="answer", xlim=upper.get_xlim())
    return np.array([weights, upper, lower])


def plot_chromagram(ax, waveform):
    """Strength of the twelve pitch classes over time; the strongest of each frame is 1."""
    import librosa

    # Shorter frames than these, of 128 ms, cannot tell low semitones apart.
    settings = {"sr": SAMPLE_RATE, "n_fft": 2048, "hop_length": HOP_LENGTH, "tuning": 0.0}
    chroma = librosa.feature.chroma_stft(y=waveform, **settings)
    _show(ax, chroma, HOP_LENGTH, limits=(0, 1), colours="cividis")
    ax.set_yticks(range(12), PITCH_CLASSES)
    ax.set(ylabel="pitch class", xlim=(0, _seconds(waveform)))
    return ax


def plot_fft(ax, magnitude):
    """Level over frequency of a real FFT's magnitude, such as ``np.abs(np.fft.rfft(waveform))``."""
    hz = np.linspace(0, SAMPLE_RATE / 2, len(magnitude))
    ax.plot(hz, to_db(np.square(magnitude)), color=LINE, linewidth=0.8)
    ax.set(xlabel="frequency (Hz)", ylabel="level (dB)", xlim=(0, SAMPLE_RATE / 2))
    return ax


def plot_tempogram(ax, tempogram):
    """How alike the onset strength is to itself some time later, by that lag; (n_lags, n_frames) of librosa.

    A lag of 0.5 s is a tempo of 120 beats a minute; lags longer than the clip, in which it cannot repeat, are left out.
    """
    lag_s = LONG_HOP / SAMPLE_RATE
    rows = (-lag_s / 2, (len(tempogram) - 0.5) * lag_s)
    _show(ax, tempogram, LONG_HOP, rows, limits=(0, 1), colours="viridis")
    ax.set(ylabel="lag (s)", xlim=(0, _seconds(tempogram)), ylim=(0, _seconds(tempogram)))
    return ax


def _show(ax, values, hop_length, rows=None, first_sample=0, limits=(-RANGE_DB, 0), colours="magma"):
    """Picture of a spectrum: each column is centred on its frame, the first one on ``first_sample``.

    ``rows`` are its lower and upper edge; without them, the rows are numbered from 0.
    """
    rows = rows or (-0.5, len(values) - 0.5)
    edges = (first_sample + np.array([-0.5, values.shape[1] - 0.5]) * hop_length) / SAMPLE_RATE
    settings = {"cmap": colours, "vmin": limits[0], "vmax": limits[1], "aspect": "auto", "origin": "lower"}
    # Each value as a block of its own: what a network gets, and a file half as large.
    image = ax.imshow(values, extent=(*edges, *rows), interpolation="nearest", **settings)
    ax.set(xlabel="time (s)", facecolor=image.cmap(0.0))


def _seconds(sound):
    return (len(sound) if sound.ndim == 1 else CLIP_SAMPLES) / SAMPLE_RATE


def add_level_bar(axes):
    """What the colours of spectra mean, beside one ``Axes`` or an array of them: 0 is the loudest spot of a picture."""
    ax = np.ravel(axes)[0]
    return ax.figure.colorbar(np.ravel(axes)[-1].images[0], ax=axes, label="level (dB, loudest: 0)")


def plot_clip(figure, waveform, title=""):
    """Waveform above, mel spectrogram below, on one time axis; returns the two ``Axes``."""
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(1, 2))
    plot_waveform(upper, waveform).set_title(title)
    plot_mel_spectrogram(lower, waveform)
    upper.label_outer()
    return np.array([upper, lower])


def plot_grid(figure, sounds, titles, plot, rows=3, columns=3, **settings):
    """The same picture of several sounds, on shared axes; returns them.

    ``plot`` draws one sound on an ``Axes``, such as :func:`plot_waveform`; it gets the further settings.
    """
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for ax, sound, title in zip(axes.flat, sounds, titles):
        plot(ax, sound, **settings).set_title(title)
    for ax in axes.flat:
        ax.label_outer()
    for ax in axes.flat[len(sounds) :]:
        ax.set_axis_off()
    return axes


def plot_learning_curves(ax, rows, metric="loss"):
    """Loss or accuracy by epoch, in training and validation, from the list of rows (dicts) of a run's ``log.csv``."""
    for name in dict.fromkeys(row["split"] for row in rows):
        points = [(int(row["epoch"]), float(row[metric])) for row in rows if row["split"] == name]
        ax.plot(*zip(*points), marker="o", markersize=3, color=SET_COLOURS[name], label=SET_NAMES[name])
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set(xlabel="epoch", ylabel=metric)
    ax.legend()
    return ax


def plot_confusion(ax, counts, labels):
    """Clips by true label (rows) and by recognised label (columns), from an int array (n_labels, n_labels).

    A cell has its clips and, below, their share of the row in per cent, which is also its colour; cells without a
    clip stay empty.
    """
    counts = np.asarray(counts)
    percent = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax.imshow(percent, cmap="cividis", vmin=0, vmax=100)
    for row, column in np.argwhere(counts):
        share = percent[row, column]
        style = {"ha": "center", "va": "center", "fontsize": 9, "color": "black" if share > 50 else "white"}
        ax.text(column, row, f"{counts[row, column]}\n{share:.0f}%", **style)
    ax.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    ax.set_yticks(range(len(labels)), labels)
    ax.set(xlabel="recognised label", ylabel="true label")
    return ax


def plot_reliability(ax, bins):
    """Accuracy by confidence, as :func:`utils.evaluation.calibration` gives them; an area is a number of clips."""
    confidence, accuracy, clips = (np.array(values) for values in zip(*bins))
    ax.plot([0, 100], [0, 100], color="gray", linewidth=1, label="as sure as right")
    ax.scatter(100 * confidence, 100 * accuracy, s=20 + 300 * clips / clips.sum(), color=LINE, alpha=0.7)
    ax.set(xlabel="confidence in %", ylabel="accuracy in %", xlim=(0, 102), ylim=(0, 102))
    ax.legend(loc="lower right")
    return ax


def plot_detections(ax, waveform, words, detections):
    """A recording; above, what is said in it (stream.Word); below, each stream.Detection when it counted as heard."""
    plot_waveform(ax, waveform)
    ax.lines[0].set_color("gray")
    top = 1.15 * max(np.abs(waveform).max(), 1e-3)
    for word in words:
        ax.axvspan(word.start, word.end, color="#56B4E9", alpha=0.35, linewidth=0)
        ax.text((word.start + word.end) / 2, top, word.label, ha="center", va="bottom", fontsize=9)
    for detection in detections:
        ax.axvline(detection.seconds, color="#D55E00", linewidth=1.2)
        ax.text(detection.seconds, -top, f" {detection.label}", ha="left", va="bottom", fontsize=9, color="#D55E00")
    ax.set(ylim=(-top, top))
    return ax


def plot_probabilities(ax, rows, labels, step_s, threshold=None):
    """Probability of each label over time, from rows (n_steps, n_labels) that are ``step_s`` seconds apart.

    Labels that never reach a third are gray. A threshold is drawn as a line.
    """
    times = np.arange(len(rows)) * step_s
    for label, row, colour in zip(labels, np.transpose(rows), cycle(OTHER_LINES)):
        shown = row.max() >= 1 / 3
        style = {"label": label, "color": colour, "linewidth": 1.5} if shown else {"color": "0.8", "linewidth": 0.6}
        ax.plot(times, row, **style)
    if threshold is not None:
        ax.axhline(threshold, color="black", linestyle="--", linewidth=1)
    ax.set(xlabel="time (s)", ylabel="probability", ylim=(0, 1), xlim=(0, len(rows) * step_s))
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
    return ax


def plot_trade(ax, curves):
    """Keywords missed against false alarms an hour: a curve for each kind of stream, a point for each threshold.

    ``curves`` is name -> a list of (threshold, false alarms an hour, matched share).
    """
    style = {"fontsize": 8, "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1}}
    for index, ((name, points), colour) in enumerate(zip(curves.items(), cycle(OTHER_LINES))):
        thresholds, alarms, matched = zip(*points)
        missed = [100 * (1 - share) for share in matched]
        ax.plot(alarms, missed, marker="o", markersize=4, color=colour, label=name)
        aside = (5 + 28 * index, 5)  # in points: curves often end at one place, and then so do their labels
        for i in (0, -1):
            place = (alarms[i], missed[i])
            ax.annotate(f"{thresholds[i]:.2f}", place, xytext=aside, textcoords="offset points", color=colour, **style)
    ax.set(xlabel="false alarms an hour", ylabel="keywords missed or mistaken (%)", xlim=(0, None), ylim=(0, 100))
    ax.legend(ncols=len(curves), loc="lower center", bbox_to_anchor=(0.5, 1))
    return ax


def to_palette(png):
    """The same picture in 256 colours: less than half the bytes, and no eye sees the difference."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as picture:
        few = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    few.save(small := io.BytesIO(), "PNG", optimize=True)
    return small.getvalue()


def save(figure, name):
    """Keep a figure as ``imgs/<name>.png``, a picture that the README shows, on white whatever the page's colour."""
    IMAGES.mkdir(exist_ok=True)
    figure.savefig(png := io.BytesIO(), dpi=110, bbox_inches="tight", pad_inches=0.2, facecolor="white")
    (IMAGES / f"{name}.png").write_bytes(to_palette(png.getvalue()))
