"""What outlives a run: the state's folder, and lines that are kept for good."""

from __future__ import annotations

import os
import stat
import sys
import threading
from collections.abc import Mapping
from pathlib import Path


def state_folder(environment: Mapping[str, str] | None = None, platform: str = sys.platform) -> Path:
    """Where what must outlive a run is kept: MAROTTE_STATE, else the platform's folder for it, read now."""
    environment = os.environ if environment is None else environment
    if named := environment.get("MAROTTE_STATE"):
        return Path(named)
    home = Path(environment.get("HOME") or environment.get("USERPROFILE") or Path.home())
    if platform == "win32":
        return Path(environment.get("LOCALAPPDATA") or home / "AppData" / "Local") / "marotte" / "state"
    if platform == "darwin":
        return home / "Library" / "Application Support" / "marotte"
    stated = Path(environment.get("XDG_STATE_HOME", ""))
    # The XDG rules: a relative path there is to be ignored.
    return (stated if stated.is_absolute() else home / ".local" / "state") / "marotte"


def append_line(path: Path, line: bytes) -> None:
    """Append one line (given without its end) to a file of mode 0600, and wait until it is on the disk. Blocks.

    Raises OSError; a torn older line costs none of the new one.
    """
    line += b"\n"
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
    # Whoever can plant a link or a pipe there must not have it followed, or the server wait for its other end.
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    new = not path.exists()
    file = os.open(path, flags, 0o600)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it is not a plain file")
        if hasattr(os, "fchmod") and stat.S_IMODE(status.st_mode) != 0o600:
            os.fchmod(file, 0o600)
        if status.st_size:
            os.lseek(file, -1, os.SEEK_END)
            if os.read(file, 1) != b"\n":
                line = b"\n" + line
        if os.write(file, line) != len(line):
            raise OSError("the disk took only a part of it")
        os.fsync(file)
    finally:
        os.close(file)
    if new:
        sync_folder(path.parent)


def write_whole(path: Path, data: bytes) -> None:
    """A file of mode 0600 under its name only when all of it is on the disk. Blocks. Raises OSError."""
    part = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        with os.fdopen(os.open(part, flags, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """A new file's name is the folder's; where a folder cannot be opened (Windows), the system keeps it itself."""
    if os.name != "posix":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
