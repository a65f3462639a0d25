"""A file that gets its name only when it is whole."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from engine.errors import ConfigError, InputError, MarotteError
from engine.media.wording import one_line

Seal = Callable[[Path], None]
"""What is done to a whole file before it takes its name, such as signing it. Raises MarotteError."""

_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


def is_full(error: Exception) -> bool:
    """Whether a write failed because the disk, the quota or the largest size of a file is used up."""
    return getattr(error, "errno", None) in _FULL


class Unfinished:
    """A temporary file in the folder of `target`, renamed to it by `finish`, removed by `discard`.

    An older file of that name stays until then, and hands on its permissions; a link stays, what it points to
    is replaced. As a context it finishes, or discards on any exception.
    Raises ConfigError when the folder is missing or cannot be written to, or `target` is a folder,
    a device or a pipe.
    """

    def __init__(self, target: Path) -> None:
        shown = one_line(target)
        try:
            self.target = target.resolve()
            self._mode = _mode_of(self.target, shown)
            self.path = self.target.with_name(f".{self.target.name}.{secrets.token_hex(4)}.part")
            self.path.open("xb").close()
        except (OSError, RuntimeError, ValueError) as error:
            words = getattr(error, "strerror", None) or error
            raise ConfigError(
                f"{shown} cannot be written ({words}): name a file in a folder of yours"
            ) from error

    def write(self, data: bytes) -> None:
        """Set the whole content. Raises InputError when the disk does not take it."""
        try:
            self.path.write_bytes(data)
        except OSError as error:
            raise self.failed(error) from error

    def failed(self, error: Exception) -> InputError:
        """The error to raise when a write to this file failed with `error`."""
        words = getattr(error, "strerror", None) or error
        way = "free some space or choose another folder" if is_full(error) else "try another folder or input"
        return InputError(f"{one_line(self.target.name)} could not be written ({words}): {way}")

    def seal(self, seal: Seal | None) -> None:
        """Seal the whole file, then give it its name. What cannot be sealed is not lost and does not take that name: it
        is kept beside it as NAME.unsigned, and the error says so."""
        if seal is not None:
            try:
                seal(self.path)
            except BaseException as error:
                self.target = _free(self.target)
                self.finish()
                if isinstance(error, MarotteError):
                    kept = f"what was made is kept as {one_line(self.target)}"
                    raise type(error)(f"{error}; {kept}") from error
                raise
        self.finish()

    def finish(self) -> None:
        """Give the file its name, in place of an older one."""
        try:
            if self._mode is not None:
                with contextlib.suppress(OSError):  # some file systems have no modes
                    self.path.chmod(self._mode)
            os.replace(self.path, self.target)
        except OSError as error:
            self.discard()
            raise self.failed(error) from error

    def discard(self) -> None:
        """Remove what was written; an older file of the target's name stays."""
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()
        else:
            self.discard()


def _free(target: Path) -> Path:
    """A name like it that no file has."""
    beside = target.with_name(f"{target.stem}.unsigned{target.suffix}")
    while beside.exists():
        beside = target.with_name(f"{target.stem}.unsigned-{secrets.token_hex(2)}{target.suffix}")
    return beside


def _mode_of(target: Path, shown: str) -> int | None:
    """Permission bits of the file that is to be replaced, None when there is none."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise ConfigError(f"{shown} is a folder: name a file in it")
    if not stat.S_ISREG(mode):
        raise ConfigError(f"{shown} is no plain file (a device or a pipe): name a file")
    return stat.S_IMODE(mode)
