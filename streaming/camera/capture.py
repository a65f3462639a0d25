"""The driver's camera, or a clip in its place, read here: frames to a session, from a thread of its own."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import av

from engine.errors import ConfigError, InputError, MarotteError
from engine.media import open_media
from engine.worker.interface import TICKS, TIME_BASE

FIRST_S: Final = 0.5
MOST_S: Final = 5.0
"""Between two attempts to open a device that went away, growing from one to the other."""

_JOIN_S = 2.0
_STILL_S = 1 / 30
_FORMATS: Final = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
_log = logging.getLogger("marotte.camera")

Arrived = Callable[[av.VideoFrame, float], None]
"""As streaming.session.Session.arrived."""


class Source(Protocol):
    """What frames come from."""

    @property
    def name(self) -> str: ...

    @property
    def endless(self) -> bool:
        """Whether an end is a fault."""
        ...

    def open(self) -> Iterator[tuple[av.VideoFrame, float]]:
        """Frames, each when it is due, with the time (perf_counter) at which it came. Raises MarotteError where there
        are none; whoever has it closes it."""
        ...


def source_of(text: str, size: tuple[int, int], fps: int, *, once: bool) -> Source:
    """A clip or picture where there is a file of this name, else a device: its number, or as the system calls it.
    once: a clip ends with its end, and does not begin again. Raises ConfigError."""
    path = Path(text)
    if path.is_file():
        return Clip(path, once=once)
    if sys.platform == "linux":
        device = f"/dev/video{text}" if text.isascii() and text.isdigit() else text
        if not device.startswith("/dev/"):
            raise ConfigError(f"driver: no file and no device is called {text[:120]!r}; {_there()}")
        return Device(device, device, size, fps)
    if sys.platform == "win32":
        return Device(text, f"video={text.removeprefix('video=')}", size, fps)
    return Device(text, text, size, fps)


@dataclass(frozen=True, slots=True)
class Clip:
    """A file in place of a camera, at its own pace."""

    path: Path
    once: bool = False

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def endless(self) -> bool:
        return not self.once

    def open(self) -> Iterator[tuple[av.VideoFrame, float]]:
        """As Source."""
        began_s = time.perf_counter()
        while True:
            last_s = 0.0
            with open_media(self.path) as media:
                for frame in media:
                    last_s = frame.time_s
                    time.sleep(max(0.0, began_s + last_s - time.perf_counter()))
                    yield av.VideoFrame.from_ndarray(frame.rgb, format="rgb24"), time.perf_counter()
                began_s += last_s + max(_STILL_S, float(1 / media.rate))
            if self.once:
                return
            began_s = max(began_s, time.perf_counter() - 1.0)  # where this machine is slower than the clip


@dataclass(frozen=True, slots=True)
class Device:
    """A camera of this machine. name: for people; address: as the system's format takes it."""

    name: str
    address: str
    size: tuple[int, int]
    fps: int
    endless: bool = True

    def open(self) -> Iterator[tuple[av.VideoFrame, float]]:
        """As Source."""
        with self._opened() as container:
            if not container.streams.video:
                raise InputError(f"camera {self.name}: it has no picture")
            stream = container.streams.video[0]
            stream.thread_type = "NONE"  # frames in threads would be late by as many
            for packet in container.demux(stream):
                came_s = time.perf_counter()
                for frame in packet.decode():
                    yield frame, came_s

    def _opened(self) -> Any:
        asked = {"video_size": "{}x{}".format(*self.size), "framerate": str(self.fps)}
        error: Exception | None = None
        for options in (asked, {}):  # one that has no such size or rate gives what it has
            try:
                return av.open(self.address, format=_FORMATS.get(sys.platform, "v4l2"), options=options)
            except (av.FFmpegError, ValueError) as failed:
                error = failed
        why = getattr(error, "strerror", None) or error
        raise InputError(f"camera {self.name}: it cannot be opened ({why}); {_there()}") from error


class Capture:
    """Gives a source's frames to a session until it is closed; a device that goes away is opened again."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.why = ""
        """Why nothing comes now; empty while it does."""
        self.over = threading.Event()
        """A source that is not endless has ended."""
        self._closed = threading.Event()
        self._begun_s = time.perf_counter()
        self._pts = -1
        self._thread: threading.Thread | None = None

    def check(self) -> None:
        """Whether it gives a picture; it is let go of again. Raises MarotteError."""
        frames = self._source.open()
        try:
            if next(frames, None) is None:
                raise InputError(f"{self._source.name}: it holds no picture")
        finally:
            _free(frames)

    def start(self, arrived: Arrived) -> None:
        """From now on."""
        self._thread = threading.Thread(
            target=self._run, args=(arrived,), name="marotte-capture", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Give nothing any more, and free the device; one that hangs is left to the end of the program."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(_JOIN_S)

    def _run(self, arrived: Arrived) -> None:
        wait_s = FIRST_S
        while not self._closed.is_set():
            came, why = self._give(arrived)
            if self._closed.is_set() or not (why or self._source.endless):
                break
            self._away(why or "it ended")
            wait_s = FIRST_S if came else min(MOST_S, 2 * wait_s)
            self._closed.wait(wait_s)
        self.over.set()

    def _give(self, arrived: Arrived) -> tuple[bool, str]:
        """Until it ends: whether anything came, and what is wrong with it."""
        frames, came = self._source.open(), False
        try:
            for frame, came_s in frames:
                if self._closed.is_set():
                    break
                if self.why:
                    _log.info("%s is back", self._source.name)
                came, self.why = True, ""
                self._pass(arrived, frame, came_s)
        except (MarotteError, av.FFmpegError, OSError) as error:
            return came, " ".join(str(error).split())[:200]
        finally:
            _free(frames)
        return came, ""

    def _pass(self, arrived: Arrived, frame: av.VideoFrame, came_s: float) -> None:
        # The device's own clock begins anew with each opening, and counts in units of its own.
        self._pts = max(self._pts + 1, int((came_s - self._begun_s) * TICKS))
        frame.pts, frame.time_base = self._pts, TIME_BASE
        arrived(frame, came_s)

    def _away(self, why: str) -> None:
        if not self.why:
            _log.warning("%s: %s; it is opened again when it is back", self._source.name, why)
        self.why = why


def _free(frames: Iterator[object]) -> None:
    """A generator's file or device."""
    if isinstance(frames, Generator):
        frames.close()


def _there() -> str:
    """What could be named instead."""
    if sys.platform != "linux":
        return "name one of this machine's cameras, or a clip"
    found = sorted(map(str, Path("/dev").glob("video*")))[:12]
    return f"there are: {', '.join(found)}" if found else "this machine has no /dev/video*; plug a camera in"
