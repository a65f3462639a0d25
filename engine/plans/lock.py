"""One builder per plan, across threads and processes; the system lets go of the lock of a process that was killed."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from typing import Final

from engine.errors import PlanCancelled
from engine.file_lock import take
from engine.plans.folder import PrivateFolder

_POLL_S: Final = 0.1


@contextlib.contextmanager
def held(folder: PrivateFolder, name: str, cancel: threading.Event | None = None) -> Iterator[None]:
    """Waits for the lock of that name, and holds it. Raises PlanCancelled once `cancel` is set while it waits, OSError
    or folder.Untrusted where there can be none."""
    handle = folder.open_lock(name)
    try:
        while not take(handle):
            if cancel is not None and cancel.wait(_POLL_S):
                raise PlanCancelled("the wait for another process that builds the same plan was ended")
            if cancel is None:
                time.sleep(_POLL_S)
        yield
    finally:
        os.close(handle)  # lets go of it


def is_free(folder: PrivateFolder, name: str) -> bool:
    """Whether nobody holds it at this moment."""
    handle = folder.open_lock(name)
    try:
        return take(handle)
    finally:
        os.close(handle)
