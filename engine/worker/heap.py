"""Memory that was freed, given back to the system.

glibc keeps an arena for every thread that ever allocated, and what was freed in it: some MB for every call that ended,
though nothing of it is in use.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any


def give_back() -> None:
    """Takes a few milliseconds, in which other threads may have to wait for memory. Does nothing where the C library
    is not glibc."""
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Any:
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
