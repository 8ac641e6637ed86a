"""TensorFlow and Keras, imported without the notes on processors and GPU drivers they start with.

``TF_CPP_MIN_LOG_LEVEL=0`` in the environment shows the notes, to find out why a GPU is not used. Settings of Keras
that a person has for other work (``KERAS_BACKEND`` and its kin, ``~/.keras/keras.json``) do not count here.
"""

import os
import tempfile

from utils.system import memory
from utils.system.cli import hold_back_notes

memory.keep_freed_memory()
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # or the first notebook would take all of its memory
for name in [name for name in os.environ if name.startswith("KERAS_")]:
    del os.environ[name]
with hold_back_notes(), tempfile.TemporaryDirectory() as empty:
    # Keras reads its file while it is imported, from a folder that it may be told.
    os.environ.update(KERAS_BACKEND="tensorflow", KERAS_HOME=empty)
    import keras
    import tensorflow as tf

    del os.environ["KERAS_HOME"]
    if "TF_CONFIG" not in os.environ:  # several workers have to be told of each other first
        tf.config.list_logical_devices()  # looks for GPUs now, while the notes are held back

__all__ = ["keras", "tf"]
