"""Guards: every picture has true axes: a second is a second, 1 kHz lies at 1 kHz, units are named."""

import matplotlib as mpl

mpl.use("Agg")

import librosa
import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from utils import evaluation, features, plots, stream
from utils.labels import KEYWORDS

SECOND = np.arange(16_000) / 16_000


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


@pytest.fixture
def tone():
    """1 kHz in the second half of a second."""
    return np.where(SECOND > 0.5, np.sin(2 * np.pi * 1000 * SECOND) / 2, 0).astype(np.float32)


def brightest(ax):
    """Time and height of the brightest block of a picture, in the units of its axes."""
    image = ax.images[0]
    values, (left, right, low, high) = np.asarray(image.get_array()), image.get_extent()
    row, column = np.unravel_index(values.argmax(), values.shape)
    width, height = (right - left) / values.shape[1], (high - low) / values.shape[0]
    return left + (column + 0.5) * width, low + (row + 0.5) * height


def test_a_waveform_lasts_as_long_as_it_is(ax, tone):
    plots.plot_waveform(ax, tone[:8000])
    times, amplitudes = ax.lines[0].get_data()
    assert ax.get_xlim() == (0, 0.5)
    assert times[-1] == pytest.approx(0.5, abs=1e-4)
    np.testing.assert_array_equal(amplitudes, tone[:8000])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time (s)", "amplitude")


def test_a_spectrogram_shows_1_khz_at_1_khz_and_when(ax, tone):
    plots.plot_spectrogram(ax, tone)
    seconds, hz = brightest(ax)
    assert seconds > 0.5
    assert hz == pytest.approx(1000, abs=16_000 / 256 / 2)
    assert ax.get_xlim() == (0, 1)
    assert ax.get_ylim() == (0, 8000)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time (s)", "frequency (Hz)")
    values = np.asarray(ax.images[0].get_array())
    assert values.max() == pytest.approx(0)
    assert values.min() == pytest.approx(-plots.RANGE_DB)


@pytest.mark.parametrize("ready_made", [False, True])
def test_mel_bins_have_their_frequencies_on_the_axis(ax, tone, ready_made):
    if ready_made:
        plots.plot_mel_spectrogram(ax, features.mel_spectrogram(tone[None])[0], hop_length=512)
    else:
        plots.plot_mel_spectrogram(ax, tone)
    seconds, height = brightest(ax)
    ticks = dict(zip(plots.MEL_TICKS_HZ, ax.get_yticks()))
    assert seconds > 0.5
    assert height == pytest.approx(ticks[1000], abs=0.6)
    assert ticks[500] < ticks[1000] < ticks[2000]
    assert [int(text.get_text()) for text in ax.get_yticklabels()] == list(plots.MEL_TICKS_HZ)
    assert ax.get_xlim() == (0, 1)
    assert "Hz" in ax.get_ylabel()


def test_a_networks_input_has_time_along_the_axis(ax, tone):
    plots.plot_log_mel(ax, features.log_mel(tone[None])[0])
    seconds, mel_bin = brightest(ax)
    assert seconds > 0.5
    centres = librosa.mel_frequencies(42, fmin=20, fmax=7600, htk=True)[1:-1]
    assert mel_bin == pytest.approx(np.abs(centres - 1000).argmin(), abs=1)
    assert ax.get_ylabel() == "mel bin"


def test_a_filters_answer_lies_under_the_frames_it_was_computed_from(tone):
    log_mel = features.log_mel(tone[None])[0]
    kernel = np.repeat([-1.0, 1.0], 4)[:, None] * np.ones(40)
    response = np.array([(kernel * log_mel[start : start + 8]).sum() for start in range(91)])
    figure = plt.figure()
    weights, upper, lower = plots.plot_convolution(figure, log_mel, kernel, response, [int(response.argmax())])
    times, answers = lower.lines[0].get_data()
    np.testing.assert_array_equal(answers, response)
    assert times[response.argmax()] == pytest.approx(0.5, abs=0.02)  # where the tone begins
    window = upper.patches[-1].get_extents().transformed(upper.transData.inverted())
    assert (window.x0 + window.x1) / 2 == pytest.approx(times[response.argmax()])
    assert window.x1 - window.x0 == pytest.approx(0.08)
    assert upper.get_xlim() == lower.get_xlim() == (0, 1)
    assert lower.get_xlabel() == "time (s)"
    assert np.asarray(weights.images[0].get_array()).shape == (40, 8)
    plt.close(figure)


def test_mfccs_are_shown_from_the_first_given(ax, tone):
    plots.plot_mfccs(ax, features.mfccs_2D(tone[None])[0][1:20], first=1)
    _, _, low, high = ax.images[0].get_extent()
    assert (low, high) == (0.5, 19.5)
    vmin, vmax = ax.images[0].get_clim()
    assert vmin == -vmax


def test_a_chromagram_names_the_pitch(ax):
    plots.plot_chromagram(ax, (np.sin(2 * np.pi * 440 * SECOND) / 2).astype(np.float32))
    assert plots.PITCH_CLASSES[round(brightest(ax)[1])] == "A"
    assert [text.get_text() for text in ax.get_yticklabels()] == list(plots.PITCH_CLASSES)


def test_an_fft_peaks_where_the_tone_is(ax, tone):
    plots.plot_fft(ax, features.fft(tone[None])[0])
    hz, level_db = ax.lines[0].get_data()
    assert hz[level_db.argmax()] == pytest.approx(1000, abs=1)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("frequency (Hz)", "level (dB)")


def test_a_tempogram_names_the_lag(ax, tone):
    plots.plot_tempogram(ax, features.tempogram(tone[None])[0])
    assert brightest(ax)[1] == pytest.approx(0, abs=1e-6)  # most like itself at no lag
    assert ax.get_ylim() == (0, 1)
    assert ax.get_ylabel() == "lag (s)"


def test_a_bar_twice_as_long_has_twice_as_many_clips(ax):
    plots.plot_counts(ax, {"train": {"yes": 20, "no": 40}, "cv": {"yes": 5, "no": 10}})
    lengths = [bar.get_window_extent().height for bar in ax.patches]
    assert lengths == pytest.approx(lengths[0] * np.array([1, 2, 0.25, 0.5]))
    assert ax.get_ylabel() == "clips"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["training", "validation"]


def test_a_grid_labels_its_clips_and_shares_axes(tone):
    figure = plt.figure()
    axes = plots.plot_grid(figure, [tone] * 6, list("abcdef"), plots.plot_waveform, rows=2)
    assert [ax.get_title() for ax in axes.flat] == list("abcdef")
    assert axes.shape == (2, 3)
    assert axes[0, 0].get_xlabel() == ""
    assert axes[1, 0].get_xlabel() == "time (s)"
    plt.close(figure)


def test_confusion_has_true_labels_in_rows(ax):
    plots.plot_confusion(ax, [[3, 1], [0, 2]], ("yes", "no"))
    texts = {text.get_position(): text.get_text() for text in ax.texts}
    assert texts == {(0, 0): "3\n75%", (1, 0): "1\n25%", (1, 1): "2\n100%"}  # (column, row)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("recognised label", "true label")
    assert [text.get_text() for text in ax.get_yticklabels()] == ["yes", "no"]


def test_learning_curves_are_those_of_the_log(ax):
    rows = [
        {"epoch": str(epoch), "split": split, "loss": str(loss), "accuracy": "0.5"}
        for epoch, split, loss in ((1, "train", 2.0), (1, "cv", 2.5), (2, "train", 1.0), (2, "cv", 1.5))
    ]
    plots.plot_learning_curves(ax, rows)
    curves = {line.get_label(): [list(values) for values in line.get_data()] for line in ax.lines}
    assert curves == {"training": [[1, 2], [2.0, 1.0]], "validation": [[1, 2], [2.5, 1.5]]}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "loss")


def test_how_sure_stands_beside_how_often_right(ax):
    # Sure to 95 % and right 9 times of 10; sure to 55 % and never right.
    confidence = np.array([0.95] * 10 + [0.55] * 5)
    correct = np.array([True] * 9 + [False] * 6)
    bins = evaluation.calibration(confidence, correct)
    assert [clips for *_, clips in bins] == [5, 10]
    assert evaluation.calibration_error(confidence, correct) == pytest.approx((5 * 0.55 + 10 * 0.05) / 15)
    plots.plot_reliability(ax, bins)
    np.testing.assert_allclose(ax.collections[0].get_offsets(), [(55, 0), (95, 90)])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("confidence in %", "accuracy in %")


def test_a_confidence_of_one_belongs_to_the_last_bin():
    assert evaluation.calibration([0.91, 1.0], [True, False]) == [(pytest.approx(0.955), 0.5, 2)]


def test_words_and_detections_stand_at_their_seconds(ax):
    words, heard = [stream.Word("yes", 1.0, 1.5)], [stream.Detection(1.8, "no", 0.9)]
    plots.plot_detections(ax, np.sin(np.arange(48_000) / 10).astype(np.float32), words, heard)
    assert [text.get_text().strip() for text in ax.texts] == ["yes", "no"]
    assert ax.texts[0].get_position()[0] == pytest.approx(1.25)
    assert ax.lines[-1].get_xdata()[0] == pytest.approx(1.8)
    assert ax.get_xlim() == pytest.approx((0, 3))


def test_probabilities_over_time_name_the_labels_that_matter(ax):
    rows = np.zeros((40, 3))
    rows[20, 1] = 0.9
    plots.plot_probabilities(ax, rows, ("a", "b", "c"), 0.05, threshold=0.5)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["b"]
    assert ax.lines[1].get_xdata()[20] == pytest.approx(1.0)
    assert "probability" in ax.get_ylabel()


def test_each_of_the_ten_keywords_has_a_colour_of_its_own(ax):
    plots.plot_probabilities(ax, np.eye(10), KEYWORDS, 0.05)
    assert len({line.get_color() for line in ax.lines}) == len(KEYWORDS)


def test_the_trade_off_is_in_per_cent_and_alarms_an_hour(ax):
    plots.plot_trade(ax, {"quiet": [(0.3, 40.0, 0.9), (0.9, 2.0, 0.5)]})
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[40, 10], [2, 50]])
    assert [text.get_text() for text in ax.texts] == ["0.30", "0.90"]


def test_a_picture_is_kept_in_256_colours_on_white(ax, tone, tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "IMAGES", tmp_path / "imgs")
    plots.plot_spectrogram(ax, tone)
    ax.figure.set_facecolor("black")
    plots.save(ax.figure, "tone")
    with Image.open(tmp_path / "imgs" / "tone.png") as picture:
        assert picture.mode == "P"
        assert picture.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)
