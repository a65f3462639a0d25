"""How much is read before a picture or video is refused."""

from __future__ import annotations

import io
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from engine.errors import DecodeError, InputError, TooLargeError, TooSmallError
from engine.media.wording import one_line


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one input, all checked before any pixel is decoded.

    pixels: most pixels (width times height). side: longest side in pixels. smallest_side: shortest side
    in pixels, below which no face can be animated. file_bytes: largest file.
    """

    pixels: int = 64_000_000
    side: int = 16_384
    smallest_side: int = 64
    file_bytes: int = 128 << 20

    def check_size(self, name: str, width: int, height: int) -> None:
        """Raise TooLargeError or TooSmallError when a picture of this size is not to be decoded."""
        if width * height > self.pixels or max(width, height) > self.side:
            raise TooLargeError(
                f"{name} is {width}x{height} pixels; at most {self.pixels / 1e6:g} megapixels and "
                f"{self.side} pixels a side are read: scale it down first"
            )
        if min(width, height) < self.smallest_side:
            raise TooSmallError(
                f"{name} is {width}x{height} pixels; at least {self.smallest_side} a side are needed: "
                "give a larger one"
            )

    def open_file(self, path: Path) -> BinaryIO:
        """Open for reading. Raises InputError when `path` is no plain file that can be read, DecodeError when
        it is empty, TooLargeError when it has too many bytes.
        """
        try:
            # Looked at before it is opened: opening a pipe would wait for its other end.
            status = path.stat()
            file = path.open("rb") if stat.S_ISREG(status.st_mode) else None
        except (OSError, ValueError) as error:
            words = getattr(error, "strerror", None) or error
            raise InputError(f"{str(path)!r} cannot be read ({words}): check the path") from error
        if file is None:
            raise InputError(f"{one_line(path)} is not a plain file: give a picture or video file")
        try:
            self.check_bytes(one_line(path.name), status.st_size)
        except InputError:
            file.close()
            raise
        return file

    def open_bytes(self, data: bytes, name: str) -> BinaryIO:
        """The same for bytes that are at hand. Raises DecodeError or TooLargeError by their number."""
        self.check_bytes(one_line(name), len(data))
        return io.BytesIO(data)

    def check_bytes(self, name: str, count: int) -> None:
        """Raise DecodeError when there is nothing, TooLargeError when there is too much to be read."""
        if count == 0:
            raise DecodeError(f"{name} is empty: give a picture or video file that holds data")
        if count > self.file_bytes:
            raise TooLargeError(
                f"{name} has {count} bytes; at most {self.file_bytes} are read: give a smaller file"
            )


PICTURE_LIMITS = Limits()
VIDEO_LIMITS = Limits(pixels=8192 * 4320, side=8192, file_bytes=1 << 40)
