"""How fast features are computed, beside other ways to compute the same, in one run.

    python -m benchmarks.features                 on data/main/preprocessed
    python -m benchmarks.features --json

Columns are clips a second, medians of rounds in which every way has its turn: `ours` on whole batches;
`librosa` clip by clip; `original`, the original course's way, which appends each clip's feature to a float64
array in a loop (of 800 clips); `peer`, kaldi-native-fbank where it offers the feature (pip install --group
peers); `limit`, the Fourier transforms alone, on as many cores as ours. All start from waveforms in memory.
The last rows show that time is linear in the number of clips.
"""

import itertools
import json
import os
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import librosa
import numpy as np
import scipy.fft

from benchmarks import make_parser
from utils import audio, features, store
from utils.audio import SAMPLE_RATE
from utils.system import cli

ROUNDS = 5
OURS_CLIPS = 1600
LIBROSA_CLIPS = 60
ORIGINAL_CLIPS = 800
PEER_CLIPS = 60
LINEAR_FEATURE = "mel_spectrogram"
LINEAR_CLIPS = (1000, 2000, 4000, 8000, 16_000)

LIBROSA = {
    "mfccs_1D": lambda clip: librosa.feature.mfcc(y=clip, sr=SAMPLE_RATE, n_mfcc=features.N_MFCC).mean(axis=1),
    "mfccs_2D": lambda clip: librosa.feature.mfcc(y=clip, sr=SAMPLE_RATE, n_mfcc=features.N_MFCC),
    "mel_spectrogram": lambda clip: librosa.feature.melspectrogram(y=clip, sr=SAMPLE_RATE),
    "fft": lambda clip: np.abs(np.fft.rfft(clip)),
    "tempogram": lambda clip: librosa.feature.tempogram(y=clip, sr=SAMPLE_RATE),
    "log_mel": lambda clip: np.log(
        librosa.feature.melspectrogram(
            y=np.pad(clip, (0, features.N_FFT - features.FRAME_LENGTH)),  # its frames are as long as the transform
            sr=SAMPLE_RATE,
            n_fft=features.N_FFT,
            win_length=features.FRAME_LENGTH,
            hop_length=features.HOP_LENGTH,
            center=False,
            n_mels=features.N_MELS,
            fmin=features.FMIN_HZ,
            fmax=features.FMAX_HZ,
            htk=True,
            norm=None,
        )
        + features.ENERGY_FLOOR
    ),
}
# Shapes of the transforms that a clip of each feature takes.
_STFT = ((features.LONG_FRAMES, features.LONG_FFT),)
FFTS = {
    "mfccs_1D": _STFT,
    "mfccs_2D": _STFT,
    "mel_spectrogram": _STFT,
    "fft": ((1, audio.CLIP_SAMPLES),),
    # Autocorrelation goes there and back.
    "tempogram": (*_STFT, *((features.LONG_FRAMES, 2 * features.TEMPOGRAM_LAGS),) * 2),
    "log_mel": ((features.N_FRAMES, features.N_FFT),),
}


def compute_ours(name, clips):
    """All clips at once."""
    features.FEATURES[name].compute(clips)


def compute_librosa(name, clips):
    """Clip by clip."""
    for clip in clips:
        LIBROSA[name](clip)


def compute_original(name, clips):
    """As the original course: every clip copies all before it."""
    rows = np.empty((0, *features.FEATURES[name].shape))
    for clip in clips:
        rows = np.append(rows, _match(LIBROSA[name](clip), rows)[None], axis=0)


def _match(feature, rows):
    return feature if feature.shape == rows.shape[1:] else feature.T


def compute_limit(name, clips):
    """The Fourier transforms alone, on ready-made frames."""
    blocks = [np.ones((features.BATCH_CLIPS, *shape), np.float32) for shape in FFTS[name]]

    def transform(_):
        for block in blocks:
            scipy.fft.rfft(block)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(transform, range(-(-len(clips) // features.BATCH_CLIPS))))


def make_peer():
    """The features of kaldi-native-fbank, by name; none if it is not installed."""
    try:
        import kaldi_native_fbank as peer
    except ImportError:
        return {}

    def set_frames(options, length, hop, n_mels):
        options.frame_opts.frame_length_ms = 1000 * length / SAMPLE_RATE
        options.frame_opts.frame_shift_ms = 1000 * hop / SAMPLE_RATE
        options.frame_opts.window_type = "hann"
        options.frame_opts.dither = 0
        options.mel_opts.num_bins = n_mels
        return options

    def run(make, options, clip):
        computer = make(options)
        computer.accept_waveform(SAMPLE_RATE, clip)
        computer.input_finished()
        return np.stack([computer.get_frame(i) for i in range(computer.num_frames_ready)])

    log_mel = set_frames(peer.FbankOptions(), features.FRAME_LENGTH, features.HOP_LENGTH, features.N_MELS)
    mel = set_frames(peer.FbankOptions(), features.LONG_FFT, features.LONG_HOP, features.LONG_MELS)
    mel.use_log_fbank = False
    mfcc = set_frames(peer.MfccOptions(), features.LONG_FFT, features.LONG_HOP, features.LONG_MELS)
    mfcc.num_ceps = features.N_MFCC
    return {
        "log_mel": lambda clip: run(peer.OnlineFbank, log_mel, clip),
        "mel_spectrogram": lambda clip: run(peer.OnlineFbank, mel, clip),
        "mfccs_2D": lambda clip: run(peer.OnlineMfcc, mfcc, clip),
        "mfccs_1D": lambda clip: run(peer.OnlineMfcc, mfcc, clip).mean(axis=0),
    }


def measure(name, clips, peer):
    """Clips a second of every way to compute one feature."""

    def compute_peer(name, clips):
        for clip in clips:
            peer[name](clip)

    ways = {
        "ours": (compute_ours, OURS_CLIPS),
        "librosa": (compute_librosa, LIBROSA_CLIPS),
        "limit": (compute_limit, OURS_CLIPS),
    }
    if name in peer:
        ways["peer"] = (compute_peer, PEER_CLIPS)
    rates = {way: [] for way in ways}
    for compute, n_clips in ways.values():
        compute(name, clips[:n_clips])
    for _ in range(ROUNDS):
        for way, (compute, n_clips) in ways.items():
            rates[way].append(_time(compute, name, clips[:n_clips]))
    row = {way: statistics.median(values) for way, values in rates.items()}
    row["original"] = _time(compute_original, name, clips[:ORIGINAL_CLIPS])
    return {"feature": name, "clips": OURS_CLIPS} | {
        way: row.get(way) for way in ("ours", "librosa", "original", "peer", "limit")
    }


def _time(compute, name, clips):
    start = time.perf_counter()
    compute(name, clips)
    return len(clips) / (time.perf_counter() - start)


def measure_linear(clips):
    """Rows with ever more clips, whose rounds take turns too: up, then down, as the machine's speed drifts."""
    many = np.resize(clips, (max(LINEAR_CLIPS), clips.shape[1]))
    rates = {n_clips: [] for n_clips in LINEAR_CLIPS}
    for turn in range(2 * ROUNDS):
        for n_clips in LINEAR_CLIPS[:: 1 - 2 * (turn % 2)]:
            rates[n_clips].append(_time(compute_ours, LINEAR_FEATURE, many[:n_clips]))
    for n_clips, values in rates.items():
        row = {"feature": LINEAR_FEATURE, "clips": n_clips, "ours": statistics.median(values)}
        yield row | dict.fromkeys(("librosa", "original", "peer", "limit"))


def main(arguments=None):
    """Measure and print."""
    options = make_parser(__doc__, data=True).parse_args(arguments)
    array = store.open_array(Path(options.path_to_data) / "train_X.bc")
    clips = audio.to_waveform(np.resize(array[:OURS_CLIPS], (OURS_CLIPS, audio.CLIP_SAMPLES)))
    columns = ("ours", "librosa", "original", "peer", "limit")
    if not options.json:
        print(f"{'':18}{'clips':>8}" + "".join(f"{column:>10}" for column in columns) + "   times librosa")
    peer = make_peer()
    rows = (measure(name, clips, peer) for name in features.FEATURES)
    for row in itertools.chain(rows, measure_linear(clips)):
        if options.json:
            print(json.dumps(row), flush=True)
        else:
            rates = "".join(f"{row[column]:10.0f}" if row[column] else f"{'':>10}" for column in columns)
            times = f"{row['ours'] / row['librosa']:10.1f}" if row["librosa"] else ""
            print(f"{row['feature']:18}{row['clips']:8d}{rates}{times}", flush=True)


if __name__ == "__main__":
    sys.exit(cli.run(main))
