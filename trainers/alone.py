"""One training at a time writes into a folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from trainers.errors import StorageError


class Alone:
    """Holds `folder`, which exists, for this process until it is closed or the process ends, however it ends.

    Raises StorageError where another process holds it.
    """

    def __init__(self, folder: Path) -> None:
        self._handle = _open(folder)
        try:
            _lock(self._handle)
        except (BlockingIOError, PermissionError) as error:
            self.close()
            raise StorageError(
                f"{folder}: another training writes into it; wait for its end, or name another folder"
            ) from error
        except OSError:  # a file system without locks
            pass

    def close(self) -> None:
        """Let go."""
        if self._handle >= 0:
            os.close(self._handle)
        self._handle = -1


if sys.platform == "win32":
    import msvcrt

    def _open(folder: Path) -> int:
        return os.open(folder / ".alone", os.O_RDWR | os.O_CREAT)

    def _lock(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _open(folder: Path) -> int:
        return os.open(folder, os.O_RDONLY)

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
