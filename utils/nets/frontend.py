"""The log-mel front end in TensorFlow: the first layer of the networks."""

from utils import features
from utils.nets.frames import ENERGY_FLOOR, FRAME_LENGTH, HOP_LENGTH, N_FFT
from utils.system.quiet import keras, tf

# About the mean and the spread of log-mel values of speech: the networks' input is (x - mean) / scale.
LOG_MEL_MEAN, LOG_MEL_SCALE = -4.0, 4.0


def log_mel(waveforms):
    """Log-mel spectrograms (batch, 98, 40) of waveforms (batch, 16000) in [-1, 1), or of other whole hops.

    The TensorFlow form of :func:`utils.features.log_mel`; both agree to 1e-4.
    """
    # A frame is three hops: cutting hops and joining three neighbours frames without a gather.
    n_hops = FRAME_LENGTH // HOP_LENGTH
    hops = tf.reshape(waveforms, (-1, waveforms.shape[1] // HOP_LENGTH, HOP_LENGTH))
    n_frames = hops.shape[1] - n_hops + 1
    frames = tf.concat([hops[:, i : i + n_frames] for i in range(n_hops)], axis=2)
    spectra = tf.signal.rfft(frames * features.hann_window(FRAME_LENGTH), [N_FFT])
    power = tf.square(tf.abs(spectra))  # of the ways to write it, the one that ONNX files can hold
    mels = [tf.matmul(power[..., low:high], weights) for low, high, weights in features.mel_groups()]
    return tf.math.log(tf.concat(mels, axis=2) + ENERGY_FLOOR)


@keras.saving.register_keras_serializable(package="course")
class LogMel(keras.layers.Layer):
    """First layer of the networks, without weights: :func:`log_mel`."""

    def call(self, waveforms):
        """Log-mel spectrograms of float32 amplitudes in [-1, 1)."""
        return log_mel(waveforms)
