"""Features of whole batches of clips, in numpy."""

from functools import cache

import numpy as np
import scipy.fft

from utils.audio import CLIP_SAMPLES, SAMPLE_RATE

# The networks' log-mel: 30 ms frames every 10 ms, 40 bins, as in BC-ResNet and its peers.
FRAME_LENGTH = 480  # samples
HOP_LENGTH = 160  # samples
N_FFT = 512
N_MELS = 40
FMIN_HZ, FMAX_HZ = 20.0, 7600.0
N_FRAMES = 1 + (CLIP_SAMPLES - FRAME_LENGTH) // HOP_LENGTH  # 98
ENERGY_FLOOR = 1e-6  # added before the logarithm: about the energy of int16 rounding

BATCH_CLIPS = 64  # clips worked on at once: their spectra stay in the processor's cache


def hann_window(n_samples):
    """Periodic Hann window, float32."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_samples) / n_samples)).astype(np.float32)


def hz_to_mel(hz):
    """Mel scale of O'Shaughnessy (1987), as in HTK and TensorFlow: 2595 log10(1 + f / 700)."""
    return 2595.0 * np.log10(1.0 + np.asarray(hz) / 700.0)


@cache
def mel_weights():
    """Triangular filters from FFT bins to mel bins.

    Returns
    -------
    float32 array, shape (N_FFT // 2 + 1, N_MELS)
        Each filter rises from its left neighbour's centre to its own, and falls to the
        next; its peak is 1.
    """
    bin_hz = np.linspace(0, SAMPLE_RATE / 2, N_FFT // 2 + 1)[:, None]
    edges_mel = np.linspace(hz_to_mel(FMIN_HZ), hz_to_mel(FMAX_HZ), N_MELS + 2)
    edges_hz = 700.0 * (10.0 ** (edges_mel / 2595.0) - 1.0)
    left, centre, right = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    rising = (bin_hz - left) / (centre - left)
    falling = (right - bin_hz) / (right - centre)
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


def log_mel(waveforms):
    """Log-mel spectrograms, the input of the networks.

    Parameters
    ----------
    waveforms : float32 array, shape (n, 16000)
        Amplitudes in [-1, 1) at 16 kHz.

    Returns
    -------
    float32 array, shape (n, 98, 40)
        Natural logarithm of mel energies, time first.

    Raises
    ------
    ValueError
        If the waveforms have another shape or type.
    """
    waveforms = np.asarray(waveforms)
    if waveforms.ndim != 2 or waveforms.shape[1] != CLIP_SAMPLES or waveforms.dtype != np.float32:
        raise ValueError(f"expected float32 of shape (n, {CLIP_SAMPLES}), got {waveforms.dtype} of {waveforms.shape}")
    result = np.empty((len(waveforms), N_FRAMES, N_MELS), np.float32)
    window = hann_window(FRAME_LENGTH)
    for start in range(0, len(waveforms), BATCH_CLIPS):
        batch = waveforms[start : start + BATCH_CLIPS]
        frames = np.lib.stride_tricks.sliding_window_view(batch, FRAME_LENGTH, axis=1)[:, ::HOP_LENGTH]
        spectra = scipy.fft.rfft(frames * window, N_FFT, axis=-1)
        power = np.square(spectra.real) + np.square(spectra.imag)
        result[start : start + BATCH_CLIPS] = np.log(power @ mel_weights() + np.float32(ENERGY_FLOOR))
    return result
