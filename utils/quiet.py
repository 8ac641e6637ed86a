"""TensorFlow and Keras, imported without the notes on processors and GPU drivers they start with.

``TF_CPP_MIN_LOG_LEVEL=0`` in the environment shows the notes, to find out why a GPU is not used.
"""

import os
import sys
import tempfile
from contextlib import contextmanager

from utils import memory


@contextmanager
def hold_back_notes():
    """Hold back what TensorFlow's C++ code writes to the error stream; show it if the block fails."""
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as notes:
        os.dup2(notes.fileno(), 2)
        try:
            yield
        except BaseException:
            notes.seek(0)
            os.write(kept, notes.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


memory.keep_freed_memory()
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
with hold_back_notes():
    import keras
    import tensorflow as tf

    if "TF_CONFIG" not in os.environ:  # several workers have to be told of each other first
        tf.config.list_logical_devices()  # looks for GPUs now, while the notes are held back

__all__ = ["hold_back_notes", "keras", "tf"]
