"""The system's own lock of a file, among threads and processes."""

from __future__ import annotations

import os
import sys


def take(handle: int) -> bool:
    """Lock an open file for this handle alone, without waiting; False where another one has it. Closing the handle, or
    the end of its process, lets go of it. Raises OSError where the file cannot be locked."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(handle, 0, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True
