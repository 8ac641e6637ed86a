"""Google's speech embedding, written out in TensorFlow: from a second of sound to where what is said lies.

A network that learned from many hours of speech where sounds lie that words are made of (Lin et al. 2020, *Training
Keyword Spotters with Limited and Synthesized Speech Data*, arXiv:2002.01322); its weights are Google's, under the
Apache License 2.0. ``.ci/make_embedding.py`` takes them over and adds a last matrix, after which all directions differ
as much between recordings of one word.
"""

import numpy as np

from utils import audio, features
from utils.system.quiet import tf

PAD = 6400  # zeros before and after a second, so that it matters little where in it the word is
FRAME, HOP, N_FFT, N_MELS = 400, 160, 512, 32
FMIN_HZ, FMAX_HZ = 60.0, 3800.0
LEAST, RANGE_DB = 1e-10, 80.0
SLOPE, FLOOR = 0.2, -0.4  # of what is below zero after a convolution; and where that ends
POOLS = {2: (2, 2), 6: (1, 2), 10: (2, 2), 14: (1, 2), 18: (2, 2)}  # after which convolution time and mels are halved
N_CONVOLUTIONS = 20


def mel_decibels(waveforms):
    """Mel spectrograms (n, n_frames, 32) as that network takes them: decibels of int16 power, / 10 + 2."""
    counts = tf.pad(waveforms * audio.FULL_SCALE, ((0, 0), (PAD, PAD)))
    frames = tf.signal.frame(counts, N_FFT, HOP)
    window = np.pad(features.hann_window(FRAME), (N_FFT - FRAME) // 2)
    power = tf.square(tf.abs(tf.signal.rfft(frames * window, [N_FFT])))
    mels = tf.matmul(power, features.slaney_mel_weights(FMIN_HZ, FMAX_HZ, N_MELS, N_FFT))
    decibels = tf.math.log(tf.maximum(mels, LEAST)) * np.float32(10 / np.log(10))
    loudest = tf.reduce_max(decibels, axis=(1, 2), keepdims=True)
    return tf.maximum(decibels, loudest - RANGE_DB) / 10 + 2


def embed(waveforms, weights):
    """Places (n, n_dims) of waveforms (n, 16000) in [-1, 1); weights by name, as ``embedding.npz`` has them."""
    x = tf.pad(mel_decibels(waveforms)[..., None], ((0, 0), (0, 0), (1, 1), (0, 0)))
    for index in range(N_CONVOLUTIONS):
        kernel = weights[f"kernel_{index}"].astype(np.float32)
        if index and kernel.shape[1] == 3:
            x = tf.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))
        x = tf.nn.conv2d(x, kernel, 1, "VALID") + weights[f"bias_{index}"].astype(np.float32)
        if index < N_CONVOLUTIONS - 1:
            x = tf.maximum(tf.nn.leaky_relu(x, SLOPE), FLOOR)
        if index in POOLS:
            x = tf.nn.max_pool2d(x, POOLS[index], POOLS[index], "VALID")
    pooled = tf.reduce_mean(x, axis=(1, 2))
    return tf.matmul(pooled, weights["matrix"].astype(np.float32)) + weights["shift"].astype(np.float32)


class Together:
    """Taught words and the network that hears the others, as one: what an exported file holds.

    Parameters
    ----------
    base : saved.Network
    words : taught.Taught
    """

    def __init__(self, base, words):
        self._base, self._words = base, words
        with np.load(words.embedding.stored, allow_pickle=False) as stored:
            self._weights = {name: stored[name] for name in stored.files}

    def logits(self, waveforms):
        """Logarithms of probabilities (n, n_labels), tensors."""
        weights = self._words.words.weights.astype(np.float32)
        said = tf.nn.softmax(tf.matmul(embed(waveforms, self._weights), weights[:-1]) + weights[-1])
        both = tf.concat([tf.nn.softmax(self._base.logits(waveforms)) * said[:, -1:], said[:, :-1]], axis=1)
        return tf.math.log(tf.maximum(tf.matmul(both, self._words.matrix.astype(np.float32)), LEAST))
