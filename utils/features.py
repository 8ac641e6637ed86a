"""Features of whole batches of clips, in numpy, on all cores; as arrays beside the waveforms.

A feature takes float32 waveforms, shape (n, 16000), with amplitudes in [-1, 1) at 16 kHz, and gives float32, a row
for each clip. Waveforms of another shape or type, none, or some that are not finite are a ValueError.

python -m utils.features --set main --features mfccs_2D mel_spectrogram
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache, wraps
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy  # its Fourier transforms are slow to import, and come with the first of them
from threadpoolctl import threadpool_limits

from utils import audio, store
from utils.audio import CLIP_SAMPLES, SAMPLE_RATE
from utils.corpus import SETS
from utils.nets.frames import ENERGY_FLOOR, FMAX_HZ, FMIN_HZ, FRAME_LENGTH, HOP_LENGTH, N_FFT, N_FRAMES, N_MELS
from utils.system import cli, files, memory

# The course's other features have librosa's defaults, at 16 kHz.
LONG_FFT = 2048
LONG_HOP = 512
LONG_MELS = 128
LONG_FRAMES = 1 + CLIP_SAMPLES // LONG_HOP  # 32, of a clip padded by half a frame at both ends
N_MFCC = 100
TEMPOGRAM_LAGS = 384
MIN_POWER, TOP_DB = 1e-10, 80.0  # a clip's decibels end 80 below its loudest
MEL_GROUPS = 8  # filters are narrow: each group of them only meets the FFT bins that it needs

BATCH_CLIPS = 16  # worked on at once by a thread: their spectra stay in the processor's cache
TASK_CLIPS = 128  # handed to a process at a time
TASKS_AHEAD = 4  # for each process, so that memory does not grow with the number of clips
IDLE_S = 5  # until a process ends that has nothing to do: each holds 80 MB, and who started it waits for it
VERSION = 2  # of what is computed: arrays of another version are made anew


def _in_batches(compute):
    """Make what computes a small batch a feature of any number of clips, checked, by a thread a core."""

    @wraps(compute)
    def feature(waveforms):
        waveforms = np.asarray(waveforms)
        if waveforms.ndim != 2 or waveforms.shape[1] != CLIP_SAMPLES or waveforms.dtype != np.float32:
            found = f"{waveforms.dtype} of {waveforms.shape}"
            raise ValueError(f"expected float32 of shape (n, {CLIP_SAMPLES}), got {found}")
        if not len(waveforms):
            raise ValueError("expected one clip or more, got none")

        def work(start):
            batch = waveforms[start : start + BATCH_CLIPS]
            if not np.isfinite(batch.sum()):
                clip = start + int(np.flatnonzero(~np.isfinite(batch.sum(axis=1)))[0])
                raise ValueError(f"expected finite amplitudes, got NaN or infinite ones in clip {clip}")
            return compute(batch)

        starts = range(0, len(waveforms), BATCH_CLIPS)
        if len(starts) == 1:
            return np.ascontiguousarray(work(0))
        memory.keep_freed_memory()
        # All cores, or as many as the caller set: joblib sets one for each of its processes.
        n_threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
        # Our threads share the cores: those of the matrix products would only be in their way.
        with threadpool_limits(1, "blas"), ThreadPoolExecutor(n_threads) as pool:
            results = pool.map(work, starts)
            first = next(results)
            features = np.empty((len(waveforms), *first.shape[1:]), np.float32)
            features[: len(first)] = first
            for start, result in zip(starts[1:], results):
                features[start : start + BATCH_CLIPS] = result
        return features

    return feature


def hann_window(n_samples):
    """Periodic Hann window, float32."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_samples) / n_samples)).astype(np.float32)


@cache
def mel_weights():
    """Triangular filters from FFT bins to mel bins, each with a peak of 1: float32, shape (257, 40).

    On the mel scale of O'Shaughnessy (1987), as in HTK and TensorFlow: 2595 log10(1 + f / 700).
    """
    ends_mel = 2595.0 * np.log10(1.0 + np.array([FMIN_HZ, FMAX_HZ]) / 700.0)
    edges_mel = np.linspace(*ends_mel, N_MELS + 2)
    return _triangles(700.0 * (10.0 ** (edges_mel / 2595.0) - 1.0), N_FFT)


def _triangles(edges_hz, n_fft):
    """Filters that rise from their left neighbour's centre to their own, and fall to the next."""
    bin_hz = np.linspace(0, SAMPLE_RATE / 2, n_fft // 2 + 1)[:, None]
    left, centre, right = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    rising = (bin_hz - left) / (centre - left)
    falling = (right - bin_hz) / (right - centre)
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


def _group(weights):
    """Filters in groups, which take a seventh of the room: (first FFT bin, last + 1, weights)."""
    groups = []
    for part in np.split(weights, MEL_GROUPS, axis=1):
        bins = np.flatnonzero(part.any(axis=1))
        low, high = bins[0], bins[-1] + 1
        groups.append((low, high, np.ascontiguousarray(part[low:high])))
    return groups


@cache
def mel_groups():
    """The filters of :func:`mel_weights` in groups: (first FFT bin, last + 1, weights)."""
    return _group(mel_weights())


@cache
def slaney_mel_weights(fmin_hz, fmax_hz, n_mels, n_fft):
    """Librosa's mel filters (Slaney 1998: linear to 1 kHz, then logarithmic; area 1): (FFT bins, n_mels)."""
    step, log_step = 200 / 3, np.log(6.4) / 27  # hertz a mel below 1 kHz = 15 mel, factor a mel above

    def to_mel(hz):
        return hz / step if hz < 1000 else 15 + np.log(hz / 1000) / log_step

    mels = np.linspace(to_mel(fmin_hz), to_mel(fmax_hz), n_mels + 2)
    edges_hz = np.where(mels < 15, step * mels, 1000 * np.exp(log_step * (mels - 15)))
    return _triangles(edges_hz, n_fft) * (2 / (edges_hz[2:] - edges_hz[:-2])).astype(np.float32)


@cache
def _long_mel_groups():
    """The same of the course's mel spectrograms, up to half the rate, in groups."""
    return _group(slaney_mel_weights(0, SAMPLE_RATE / 2, LONG_MELS, LONG_FFT))


@cache
def _cosines():
    """The first rows of the orthonormal DCT-II, shape (128, 100)."""
    return scipy.fft.dct(np.eye(LONG_MELS), norm="ortho")[:, :N_MFCC].astype(np.float32)


def _power_spectra(batch, window, hop_length, n_fft):
    frames = np.lib.stride_tricks.sliding_window_view(batch, len(window), axis=1)[:, ::hop_length]
    return _square(scipy.fft.rfft(frames * window, n_fft, axis=-1))


def _square(spectra):
    power = np.square(spectra.real)
    power += np.square(spectra.imag)
    return power


def log_mel_frames(waveforms):
    """Log-mel spectrograms of waveforms of any length, without the checks: shape (n, n_frames, 40)."""
    power = _power_spectra(waveforms, hann_window(FRAME_LENGTH), HOP_LENGTH, N_FFT)
    return np.log(power @ mel_weights() + np.float32(ENERGY_FLOOR))


@_in_batches
def log_mel(waveforms):
    """Log-mel spectrograms, the input of the networks: natural logarithm, time first, shape (n, 98, 40)."""
    return log_mel_frames(waveforms)


def _mel_power(batch):
    padded = np.pad(batch, ((0, 0), (LONG_FFT // 2, LONG_FFT // 2)))
    power = _power_spectra(padded, hann_window(LONG_FFT), LONG_HOP, LONG_FFT)
    mels = np.empty((len(batch), LONG_FRAMES, LONG_MELS), np.float32)
    for part, (low, high, weights) in zip(np.split(mels, MEL_GROUPS, axis=-1), _long_mel_groups()):
        part[:] = power[..., low:high] @ weights
    return mels


def _mel_decibels(batch):
    decibels = np.log(np.maximum(_mel_power(batch), np.float32(MIN_POWER)))
    decibels *= np.float32(10 / np.log(10))
    # Clip by clip: the loudest of a whole batch would change with the company a clip is in.
    return np.maximum(decibels, decibels.max(axis=(1, 2), keepdims=True) - np.float32(TOP_DB))


@_in_batches
def mel_spectrogram(waveforms):
    """Mel spectrograms, as ``librosa.feature.melspectrogram``'s: power, mel bins first, shape (n, 128, 32)."""
    return _mel_power(waveforms).transpose(0, 2, 1)


@_in_batches
def mfccs_2D(waveforms):
    """Mel-frequency cepstral coefficients, as ``librosa.feature.mfcc``'s: shape (n, 100, 32).

    Davis & Mermelstein (1980), IEEE Transactions on ASSP 28(4).
    """
    return (_mel_decibels(waveforms) @ _cosines()).transpose(0, 2, 1)


@_in_batches
def mfccs_1D(waveforms):
    """Mean over time of the mel-frequency cepstral coefficients: shape (n, 100)."""
    # The mean of the cosine transform is the transform of the mean.
    return _mel_decibels(waveforms).mean(axis=1) @ _cosines()


@_in_batches
def fft(waveforms):
    """Magnitude of the real Fourier transform, a bin a hertz: shape (n, 8001)."""
    return np.sqrt(_square(scipy.fft.rfft(waveforms)))


def onset_strength(waveforms):
    """Mean rise of the mel spectrogram in decibels, frame by frame: float32, shape (n, 32)."""
    decibels = _mel_decibels(waveforms)
    rise = np.maximum(decibels[:, 1:] - decibels[:, :-1], 0).mean(axis=2)
    # One frame for the difference; two because a frame hears an onset when its middle is a frame's half before.
    late = 1 + LONG_FFT // (2 * LONG_HOP)
    return np.pad(rise, ((0, 0), (late, 0)))[:, :LONG_FRAMES]


@_in_batches
def tempogram(waveforms):
    """Tempograms, as ``librosa.feature.tempogram``'s: shape (n, 384, 32), the largest value of each frame is 1.

    Autocorrelation of how strongly the sound sets in, in windows of 384 frames around each frame; Grosche, Müller &
    Kurth (2010), Cyclic tempogram, ICASSP.
    """
    onsets, half = onset_strength(waveforms), TEMPOGRAM_LAGS // 2
    # A straight line from the last value down to nothing; before the first value (zero) there is nothing.
    ramp = onsets[:, -1:] * np.linspace(1, 0, half + 1, dtype=np.float32)[1:]
    padded = np.concatenate([np.zeros((len(onsets), half), np.float32), onsets, ramp], axis=1)
    power = _power_spectra(padded, hann_window(TEMPOGRAM_LAGS), 1, 2 * TEMPOGRAM_LAGS)[:, :LONG_FRAMES]
    lags = scipy.fft.irfft(power, axis=-1)[..., :TEMPOGRAM_LAGS]
    largest = np.abs(lags).max(axis=-1, keepdims=True)
    return (lags / np.where(largest < np.finfo(np.float32).tiny, 1, largest)).transpose(0, 2, 1)


class Feature(NamedTuple):
    """What a feature is made by, and the shape of a clip of it."""

    compute: object
    shape: tuple


FEATURES = {
    "mfccs_1D": Feature(mfccs_1D, (N_MFCC,)),
    "mfccs_2D": Feature(mfccs_2D, (N_MFCC, LONG_FRAMES)),
    "mel_spectrogram": Feature(mel_spectrogram, (LONG_MELS, LONG_FRAMES)),
    "fft": Feature(fft, (CLIP_SAMPLES // 2 + 1,)),
    "tempogram": Feature(tempogram, (TEMPOGRAM_LAGS, LONG_FRAMES)),
    "log_mel": Feature(log_mel, (N_FRAMES, N_MELS)),
}


def persist(inputs, path, name):
    """Write one of ``FEATURES`` as an array; one that is there from the same waveforms stays, and the answer is False.

    ``inputs`` is a list of stored arrays: the waveforms in parts.
    """
    settings = {"feature": name, "version": VERSION, "of": [part.fingerprint for part in inputs]}
    # Two trainings may begin on the same data: the second waits for the first, and finds the array done.
    with files.owned(path, wait=True):
        if store.is_done(path, settings):
            return False
        names = [file for part in inputs for file in part.names] if all(part.names for part in inputs) else []
        blocks = _compute_blocks(inputs, name)
        store.write_array(path, blocks, FEATURES[name].shape, np.float32, settings, names, "computing")
    return True


def _compute_blocks(inputs, name):
    """Blocks of a feature in row order, by a process a core."""
    import joblib  # slow to import, and only needed here

    starts = [(part, start) for part in inputs for start in range(0, len(part), TASK_CLIPS)]
    blocks = (part[start : start + TASK_CLIPS] for part, start in starts)
    n_jobs = joblib.cpu_count() if len(starts) > 1 else 1  # one task is not worth starting processes
    with joblib.Parallel(n_jobs, idle_worker_timeout=IDLE_S) as parallel:
        while group := list(islice(blocks, n_jobs * TASKS_AHEAD)):
            yield from parallel(joblib.delayed(_compute_block)(name, block) for block in group)


def _compute_block(name, samples):
    """A feature of int16 counts, or of the original course's float64 ones."""
    return FEATURES[name].compute(audio.to_waveform(samples))


def main(arguments=None):
    """Command line of ``python -m utils.features``."""
    parser = cli.Parser(prog="python -m utils.features", description="Compute features of the stored waveforms.")
    parser.add_argument("--set", choices=("main", "sample"), default="sample", help="the full data, or the sample")
    which = f"which (default: all): {', '.join(FEATURES)}"
    parser.add_argument("--features", nargs="+", choices=FEATURES, metavar="NAME", help=which)
    options = parser.parse_args(arguments)
    folder = Path("data") / options.set / "preprocessed"
    for name in SETS:
        waveforms = store.open_array(folder / f"{name}_X.bc")
        for feature in options.features or FEATURES:
            path = folder / f"{name}_X_{feature}.bc"
            made = persist([waveforms], path, feature)
            print(f"{path}: {(len(waveforms), *FEATURES[feature].shape)}" + ("" if made else ", nothing to do"))


if __name__ == "__main__":
    from utils.features import main  # other processes find its functions under this name, not under __main__

    sys.exit(cli.run(main))
