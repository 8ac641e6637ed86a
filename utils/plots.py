"""Every figure of the course: takes data and an ``Axes``, returns the ``Axes``."""

from pathlib import Path

import numpy as np

from utils.audio import CLIP_SAMPLES, SAMPLE_RATE

# Colours of Okabe & Ito (2008), told apart by colour-blind eyes and legible on light and dark pages.
SET_COLOURS = {"train": "#0072B2", "cv": "#E69F00", "test": "#009E73"}
IMAGES = Path("imgs")


def plot_counts(ax, counts):
    """Bars of clips by label, one colour a set, on a logarithmic axis.

    Parameters
    ----------
    ax : matplotlib Axes
    counts : dict
        Set -> label -> number of clips.
    """
    width = 0.8 / len(counts)
    for offset, (name, by_label) in enumerate(counts.items()):
        places = np.arange(len(by_label)) + (offset - (len(counts) - 1) / 2) * width
        ax.bar(places, list(by_label.values()), width, label=name, color=SET_COLOURS[name])
    ax.set_xticks(range(len(by_label)), by_label, rotation=45, ha="right")
    ax.set(yscale="log", ylim=(1, None), ylabel="clips (logarithmic)")
    ax.legend(ncols=len(counts), loc="lower center", bbox_to_anchor=(0.5, 1))
    return ax


def plot_clips_by_speaker(ax, clips_by_speaker):
    """Histogram of how many clips a speaker recorded.

    Parameters
    ----------
    ax : matplotlib Axes
    clips_by_speaker : sequence of int
    """
    most = max(clips_by_speaker)
    ax.hist(clips_by_speaker, bins=np.arange(0.5, most + 1.5), color=SET_COLOURS["train"])
    ax.set(xlabel="clips by one speaker", ylabel="speakers")
    return ax


def plot_silence_stretches(ax, starts_by_recording):
    """Where each set takes its silence from in the background recordings.

    Parameters
    ----------
    ax : matplotlib Axes
    starts_by_recording : dict
        Recording -> set -> first samples of one-second pieces.
    """
    for row, starts_by_set in enumerate(starts_by_recording.values()):
        for name, starts in starts_by_set.items():
            pieces = [(start / SAMPLE_RATE, CLIP_SAMPLES / SAMPLE_RATE) for start in starts]
            ax.broken_barh(pieces, (row - 0.4, 0.8), color=SET_COLOURS[name], label=name if row == 0 else None)
    ax.set_yticks(range(len(starts_by_recording)), [name.replace("_", " ") for name in starts_by_recording])
    ax.set(xlabel="time in the recording (s)")
    ax.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
    return ax


def save(figure, name):
    """Keep a figure as ``imgs/<name>.png``, the picture the README shows."""
    IMAGES.mkdir(exist_ok=True)
    figure.savefig(IMAGES / f"{name}.png", dpi=110, bbox_inches="tight", facecolor="white")
