"""A file that gets its name only when it is whole."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import Self

from engine.errors import ConfigError, InputError


class Unfinished:
    """A temporary file in the folder of `target`, renamed to it by `finish`, removed by `discard`.

    An older file of that name stays until then. As a context it finishes, or discards on any exception.
    Raises ConfigError when the folder is missing or cannot be written to, or `target` is a folder.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        if target.is_dir():
            raise ConfigError(f"{target} is a folder: name a file in it")
        self.path = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        try:
            self.path.open("xb").close()
        except OSError as error:
            raise ConfigError(
                f"{target} cannot be written ({error.strerror}): name a file in a folder of yours"
            ) from error

    def write(self, data: bytes) -> None:
        """Set the whole content. Raises InputError when the disk does not take it."""
        try:
            self.path.write_bytes(data)
        except OSError as error:
            raise self.failed(error.strerror) from error

    def failed(self, strerror: str | None) -> InputError:
        """The error to raise when a write to this file failed."""
        return InputError(
            f"{self.target.name} could not be written ({strerror}): free some space or choose another folder"
        )

    def finish(self) -> None:
        """Give the file its name, in place of an older one."""
        try:
            os.replace(self.path, self.target)
        except OSError as error:
            self.discard()
            raise self.failed(error.strerror) from error

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
