"""Memory that one training step has used stays in the process for the next.

glibc's malloc gives large blocks back to the system as soon as they are free, and the next step has the kernel map and
clear them anew, page by page: for a small network on a CPU that takes a tenth to a third of a step (mallopt(3)).
"""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST = (2**30, 2**25)  # bytes; the second is what an older glibc takes at most. Larger blocks go back at once


def keep_freed_memory() -> None:
    """From now on blocks up to 1 GB are reused rather than returned. Nothing happens unless malloc is glibc's."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        # if it takes neither, the trim threshold stays too: setting it would end malloc's own adaption
        if hasattr(libc, "gnu_get_libc_version") and any(libc.mallopt(M_MMAP_THRESHOLD, size) for size in LARGEST):
            libc.mallopt(M_TRIM_THRESHOLD, LARGEST[0])


def give_back() -> None:
    """Return to the system what is free now."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
