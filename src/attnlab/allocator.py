"""What the C library does with memory that is freed."""

from __future__ import annotations

import ctypes
import os

# Numbers of glibc's malloc.h.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
LARGE = 2**31 - 1  # bytes; mallopt takes no more


def keep_freed_memory() -> None:
    """Let the next step have the memory of the last, as the caches of GPUs do.

    glibc hands large blocks back to the system as they are freed, and the system clears every
    page that it gives out again: a seventh of the time of a small Transformer on a CPU. Who has
    set MALLOC_... in the environment has decided; other C libraries are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt and not any(name.startswith("MALLOC_") for name in os.environ):
        mallopt(MMAP_THRESHOLD, LARGE)
        mallopt(TRIM_THRESHOLD, LARGE)
