"""TensorFlow and Keras, imported without the notes on processors and GPU drivers they start with.

``TF_CPP_MIN_LOG_LEVEL=0`` in the environment shows the notes, to find out why a GPU is not used.
"""

import os

from utils import memory
from utils.cli import hold_back_notes

memory.keep_freed_memory()
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
with hold_back_notes():
    import keras
    import tensorflow as tf

    if "TF_CONFIG" not in os.environ:  # several workers have to be told of each other first
        tf.config.list_logical_devices()  # looks for GPUs now, while the notes are held back

__all__ = ["keras", "tf"]
