"""How the C library takes and gives back memory: what training does all day."""

from __future__ import annotations

import ctypes
import sys

# malloc.h: M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD
_SETTINGS = ((-3, 1 << 30), (-1, (1 << 31) - 1), (-2, 64 << 20))


def keep_freed_memory() -> bool:
    """Have glibc keep freed blocks instead of handing them back to the system.

    A step takes and frees the same gigabytes as the one before; every page that was handed back costs a fault and is
    wiped when it comes again (docs/training.md has the figures).

    Returns:
        Whether it was done: only glibc has these settings.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library
        return False
    results = [mallopt(name, value) for name, value in _SETTINGS]
    return all(result == 1 for result in results)
