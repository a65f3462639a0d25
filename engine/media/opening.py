"""One door for pictures and videos: readers and writers that a caller need not tell apart."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from engine.errors import ConfigError, DecodeError
from engine.media.header import kind_of
from engine.media.limits import PICTURE_LIMITS, VIDEO_LIMITS, Limits
from engine.media.marking import Marking
from engine.media.picture import PICTURE_SUFFIXES, read_picture, write_picture
from engine.media.unfinished import Seal
from engine.media.video_reader import DEFAULT_RATE, VideoReader
from engine.media.video_writer import VideoWriter
from engine.media.wording import one_line
from engine.types import Frame

_MAGIC_BYTES = 32


class MediaReader(Protocol):
    """What `open_media` gives: frames of one size, to be iterated once and closed."""

    @property
    def name(self) -> str: ...

    @property
    def still(self) -> bool:
        """A picture: one frame."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels of every frame."""
        ...

    @property
    def time_base(self) -> Fraction: ...

    @property
    def rate(self) -> Fraction:
        """Frames per second."""
        ...

    @property
    def duration_s(self) -> float | None: ...

    @property
    def frame_count(self) -> int | None:
        """As far as the file states it; for a progress bar."""
        ...

    @property
    def dropped(self) -> int:
        """Damaged frames left out until now."""
        ...

    def __iter__(self) -> Iterator[Frame]: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def close(self) -> None: ...


class MediaWriter(Protocol):
    """What `open_writer` gives. As a context it closes, also when interrupted, and discards on an error."""

    @property
    def frames(self) -> int:
        """Frames written until now."""
        ...

    @property
    def notes(self) -> list[str]:
        """What had to be left out, in words for the user."""
        ...

    def write(self, frame: Frame) -> None: ...

    def close(self) -> None:
        """Make what was written whole and give it its name; without a frame nothing is left behind."""
        ...

    def discard(self) -> None:
        """Remove what was written; an older file of that name stays."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class PictureReader:
    """A picture as a stream of one frame at time 0."""

    still = True
    dropped = 0
    rate = DEFAULT_RATE
    time_base = 1 / DEFAULT_RATE
    frame_count = 1
    duration_s = float(time_base)

    def __init__(self, path: str | os.PathLike[str], limits: Limits = PICTURE_LIMITS) -> None:
        self.path = Path(path)
        self.name = one_line(self.path.name)
        self._rgb = read_picture(path, limits)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self._rgb.shape[1], self._rgb.shape[0]

    def __iter__(self) -> Iterator[Frame]:
        yield Frame(self._rgb, 0, self.time_base, 0.0)

    def close(self) -> None:
        """Nothing is held open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class PictureWriter:
    """A picture file that takes exactly one frame. Raises ConfigError on a second one."""

    def __init__(
        self, path: str | os.PathLike[str], seal: Seal | None = None, marks: Marking | None = None
    ) -> None:
        self.path = Path(path)
        self._seal, self._marks = seal, marks
        self.frames = 0
        self.notes: list[str] = []

    def write(self, frame: Frame) -> None:
        """Write the file at once."""
        if self.frames:
            raise ConfigError(
                f"{one_line(self.path.name)} is a picture and holds one frame: name an .mp4 for a video"
            )
        rgb = frame.rgb if self._marks is None else self._marks.compose_rgb(frame.rgb)
        write_picture(self.path, rgb, self._seal)
        self.frames = 1

    def close(self) -> None:
        """The file is whole since it was written."""

    def discard(self) -> None:
        """Keep the file, which is whole, if it was written."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_media(
    path: str | os.PathLike[str], pictures: Limits = PICTURE_LIMITS, videos: Limits = VIDEO_LIMITS
) -> MediaReader:
    """Open a picture or a video, told by its content. Raises what PictureReader and VideoReader raise."""
    if "://" in os.fspath(path):
        raise DecodeError(
            f"{one_line(os.fspath(path))} is an address; expected the path of a file on this machine"
        )
    path = Path(path)
    with videos.open_file(path) as file:
        picture = kind_of(file.read(_MAGIC_BYTES)) is not None
    return PictureReader(path, pictures) if picture else VideoReader(path, videos)


def open_writer(
    path: str | os.PathLike[str],
    size: tuple[int, int],
    time_base: Fraction,
    rate: Fraction,
    audio_from: str | os.PathLike[str] | None = None,
    seal: Seal | None = None,
    marks: Marking | None = None,
) -> MediaWriter:
    """Open a file to write frames to, a picture or a video by its suffix. Parameters as in VideoWriter."""
    if Path(path).suffix.lower() in PICTURE_SUFFIXES:
        return PictureWriter(path, seal, marks)
    return VideoWriter(path, size, time_base, rate, audio_from, seal, marks)
