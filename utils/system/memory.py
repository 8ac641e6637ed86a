"""How freed memory is kept for the arrays that come next."""

import ctypes
import sys
from functools import cache

KEPT_BYTES = 64 * 2**20  # by each thread
_M_TOP_PAD = -2  # glibc's number for it


@cache
def keep_freed_memory():
    """Have each thread keep the memory of a freed array, so that the next one need not fetch it page by page.

    On Linux the C library gives large arrays back to the system at once. Half of the time of a
    feature, and of a batch of training data, went into fetching them anew. Elsewhere it does nothing.
    """
    c_library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if hasattr(c_library, "mallopt"):  # musl, the other C library of Linux, has none
        c_library.mallopt(_M_TOP_PAD, KEPT_BYTES)
