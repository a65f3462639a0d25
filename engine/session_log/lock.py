"""One writer at a time, among threads and processes; the system lets go of the lock of a process that was killed."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from engine.errors import StateError
from engine.file_lock import take

FILE: Final = "lock"
_POLL_S: Final = 0.005


@contextlib.contextmanager
def held(folder: Path, within_s: float) -> Iterator[None]:
    """Waits for the lock of this folder, and holds it. Raises StateError when it is not had in time, and OSError where
    there can be none."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    handle = os.open(folder / FILE, flags, 0o600)
    try:
        end_s = time.monotonic() + within_s
        while not take(handle):
            if time.monotonic() >= end_s:
                raise StateError(
                    f"the session log is being written by another process for more than {within_s:g} s: "
                    "end what hangs there, then try again"
                )
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(handle)  # lets go of it
