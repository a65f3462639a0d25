"""A folder that only its user can enter, and files in it that nobody else made.

Everything goes through a handle of the folder where the system has such (all but Windows), so that what was checked is
what is used, whatever becomes of its name in the meantime. On Windows the user's profile keeps others out, and only
links and sizes are checked.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from engine.errors import PlanCacheError

_READ: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_BINARY: Final = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_OTHERS: Final = 0o077


class Untrusted(ValueError):  # noqa: N818 - a finding about a file, which its reader answers by deleting it
    """A file that is not what this user's own program wrote."""


class PrivateFolder:
    """An opened folder of mode 0700, of this user. Made where it is missing; use it in a `with`.

    emptied: it was open to others when it was found, so that what lay in it was thrown away. Raises PlanCacheError
    where it is none: a link, another's, not writable.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.emptied = False
        self._handle: int | None = None
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if stat.S_ISLNK(path.lstat().st_mode):
                raise PlanCacheError(
                    f"{path} is a link, expected a folder; remove it, or name another with --cache"
                )
            if sys.platform != "win32":
                self._handle = os.open(path, _READ | os.O_DIRECTORY | _BINARY)
                self._take_over(self._handle)
        except OSError as error:
            self.close()
            why = error.strerror or str(error)
            raise PlanCacheError(
                f"{path} cannot be used ({why}); name another folder with --cache"
            ) from error
        except PlanCacheError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def read(self, name: str, most: int) -> bytes:
        """A file's bytes. Raises FileNotFoundError, Untrusted, or OSError where it cannot be read."""
        try:
            handle = os.open(self._name(name), _READ | _BINARY, dir_fd=self._handle)
        except FileNotFoundError:
            raise
        except OSError as error:  # a link gives ELOOP, a socket ENXIO
            raise Untrusted(f"it is no plain file ({error.strerror})") from error
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(file.fileno())
            _check(status)
            if status.st_size > most:
                raise Untrusted(f"it has {status.st_size} bytes, expected {most} at most")
            if sys.platform == "win32" and (self.path / name).is_symlink():
                raise Untrusted("it is a link, expected a plain file")
            return file.read(status.st_size)

    def write(self, name: str, *parts: bytes | memoryview) -> None:
        """A file that is there whole or not at all, also after a crash, in place of one of that name.

        Raises OSError; nothing is left behind then.
        """
        unfinished = f".{name}.{secrets.token_hex(8)}.tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY
        handle = os.open(self._name(unfinished), flags, 0o600, dir_fd=self._handle)
        try:
            with os.fdopen(handle, "wb") as file:
                for part in parts:
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
            source, target = self._name(unfinished), self._name(name)
            os.replace(source, target, src_dir_fd=self._handle, dst_dir_fd=self._handle)
        except BaseException:
            self.remove(unfinished)
            raise
        self._settle()

    def remove(self, name: str) -> None:
        """Gone afterwards, whatever it was, or left where the system does not let go of it."""
        try:
            os.unlink(self._name(name), dir_fd=self._handle)
        except OSError:  # a folder, or gone already
            shutil.rmtree(self._name(name), ignore_errors=True, dir_fd=self._handle)

    def touch(self, name: str) -> None:
        """Used just now."""
        with contextlib.suppress(OSError):
            if self._handle is None:
                os.utime(self.path / name)
            else:
                os.utime(name, dir_fd=self._handle, follow_symlinks=False)

    def open_lock(self, name: str) -> int:
        """A handle of a file to be locked, which lasts. Raises OSError, Untrusted."""
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | _BINARY
        handle = os.open(self._name(name), flags, 0o600, dir_fd=self._handle)
        try:
            _check(os.fstat(handle))
        except Untrusted:
            os.close(handle)
            raise
        return handle

    def entries(self) -> Iterator[tuple[str, os.stat_result]]:
        """What lies in it, by name, with its state; links are not followed."""
        with os.scandir(self.path if self._handle is None else self._handle) as found:
            names = [entry.name for entry in found]
        for name in names:
            with contextlib.suppress(OSError):  # gone in the meantime
                if self._handle is None:
                    yield name, os.lstat(self.path / name)
                else:
                    yield name, os.stat(name, dir_fd=self._handle, follow_symlinks=False)

    def _settle(self) -> None:
        """The new name outlasts a power cut."""
        if self._handle is not None:
            with contextlib.suppress(OSError):  # some file systems do not know it for folders
                os.fsync(self._handle)

    def _take_over(self, handle: int) -> None:
        status = os.fstat(handle)
        if not _is_mine(status):
            raise PlanCacheError(
                f"{self.path} belongs to another user; remove it, or name another folder with --cache"
            )
        if stat.S_IMODE(status.st_mode) & _OTHERS:
            os.chmod(handle, 0o700)
            self.emptied = True
            for name, _ in list(self.entries()):
                self.remove(name)

    def _name(self, name: str) -> str | Path:
        return self.path / name if self._handle is None else name


def _is_mine(status: os.stat_result) -> bool:
    return sys.platform == "win32" or status.st_uid == os.geteuid()


def _check(status: os.stat_result) -> None:
    """Raises Untrusted unless a file is plain, this user's, and closed to all others."""
    if not stat.S_ISREG(status.st_mode):
        raise Untrusted("it is no plain file")
    if not _is_mine(status):
        raise Untrusted("it belongs to another user")
    if sys.platform == "win32":
        return
    if stat.S_IMODE(status.st_mode) & _OTHERS:
        raise Untrusted(f"its mode is {stat.S_IMODE(status.st_mode):o}, expected 600")
    if status.st_nlink > 1:
        raise Untrusted("it stands under two names")
