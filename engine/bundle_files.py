"""The plain files of a bundle's folder: no links, no pipes, no more bytes than were stated."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from engine.errors import BundleError, ChecksumError

_MOST_FILES: Final = 64


def names_in(folder: Path) -> set[str]:
    """What lies there. Raises BundleError for a folder that cannot be read, or with too much in it."""
    names = set()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                names.add(entry.name)
                if len(names) > _MOST_FILES:
                    raise BundleError("there are too many files in the folder; name the bundle's own")
    except OSError as error:
        raise BundleError(f"it cannot be read ({error.strerror})") from error
    return names


def plain_file(path: Path, most: int) -> bytes:
    """A plain file of at most so many bytes: its size is asked for before anything is read."""
    try:
        if stat.S_ISLNK(path.lstat().st_mode):
            raise BundleError(f"{path.name} is a link, expected a plain file; copy the bundle again, whole")
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        handle = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise BundleError(f"{path.name} is not a plain file; copy the bundle again, whole")
            if status.st_size > most:
                raise ChecksumError(f"{path.name} has {status.st_size} bytes, expected {most} at most")
            return file.read(most + 1)
    except FileNotFoundError as error:
        raise BundleError(f"{path.name} is not there; copy the bundle again, whole") from error
    except OSError as error:
        raise BundleError(f"{path.name} cannot be read ({error.strerror})") from error
