"""Where the pictures of `marotte camera` go: a virtual camera that other programs choose, a window, or a file."""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Protocol

import cv2

from engine.errors import ConfigError, MarotteError
from engine.media.video_writer import VideoWriter
from engine.types import U8, Frame

MOST_SIDE: Final = 3840
MOST_FPS: Final = 60

_TITLE: Final = "Marotte"
_ESCAPE: Final = 27
_KINDS: Final = ("camera", "window", "file")

_INSTALL: Final = "virtual camera: pyvirtualcam is not installed; run: pip install 'marotte[camera]'"
_DRIVERS: Final = {
    "linux": "install v4l2loopback and load it: sudo modprobe v4l2loopback exclusive_caps=1 card_label=Marotte",
    "darwin": "install OBS Studio, start its virtual camera once and stop it again",
    "win32": "install OBS Studio, whose virtual camera comes with it",
}


class SinkError(MarotteError):
    """The virtual camera, the window or the file takes nothing."""


class EndedError(Exception):
    """Whoever looks has ended it: no fault."""


@dataclass(frozen=True, slots=True)
class Output:
    """What leaves. kind: "camera", "window" or "file". size: (width, height) in pixels, even. fps: pictures a second,
    whatever comes in. device: the virtual camera's name, the first one where it is empty. path: of the file."""

    kind: str = "camera"
    size: tuple[int, int] = (1280, 720)
    fps: int = 30
    device: str = ""
    path: Path | None = None

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ConfigError(f"output: got {self.kind[:40]!r}, expected one of {', '.join(_KINDS)}")
        if not all(64 <= side <= MOST_SIDE and side % 2 == 0 for side in self.size):
            width, height = self.size
            raise ConfigError(f"size: got {width}x{height}, expected even sides of 64 .. {MOST_SIDE} pixels")
        if not 1 <= self.fps <= MOST_FPS:
            raise ConfigError(f"fps: got {self.fps}, expected 1 .. {MOST_FPS}")
        if (self.kind == "file") is not (self.path is not None):
            raise ConfigError("output: a file takes a path, and nothing else does")


class Sink(Protocol):
    """All but the making of it in one thread."""

    @property
    def name(self) -> str:
        """As people know it."""
        ...

    def send(self, rgb: U8, number: int) -> None:
        """One picture, uint8 (H, W, 3) of the output's size, which is not kept; number: of its time, in the output's
        rate, rising. Raises MarotteError, and EndedError where nobody wants more."""
        ...

    def close(self) -> None:
        """Let go of it; a file is whole then. More than once is allowed."""
        ...


def open_sink(output: Output) -> Sink:
    """Raises MarotteError where it cannot be had, with what to install."""
    if output.path is not None:
        return _File(output, output.path)
    return _Window() if output.kind == "window" else _VirtualCamera(output)


class _VirtualCamera:
    def __init__(self, output: Output) -> None:
        try:
            library: Any = importlib.import_module("pyvirtualcam")
        except ImportError as error:
            raise SinkError(f"{_INSTALL}; its driver: {_driver()}") from error
        width, height = output.size
        try:
            self._camera = library.Camera(
                width, height, output.fps, fmt=library.PixelFormat.RGB, device=output.device or None
            )
        except (RuntimeError, OSError, ValueError) as error:
            why = " ".join(str(error).split())[:200]
            raise SinkError(f"virtual camera: none takes {width}x{height} ({why}); {_driver()}") from error
        self.name = str(self._camera.device)

    def send(self, rgb: U8, number: int) -> None:
        try:
            self._camera.send(rgb)
        except (RuntimeError, OSError) as error:
            raise SinkError(f"virtual camera {self.name}: it takes nothing any more ({error})") from error

    def close(self) -> None:
        self._camera.close()


class _Window:
    """Opened with the first picture, in the thread that shows it. Escape, Q or its cross ends it."""

    name = "a window"

    def __init__(self) -> None:
        self._open = False
        if not cv2.currentUIFramework():
            raise SinkError(
                "window: this OpenCV has none; run: pip uninstall opencv-python-headless, pip install opencv-python"
            )
        if sys.platform == "darwin":
            raise SinkError(
                "window: macOS allows none beside the program's main thread; leave --window out for the virtual camera"
            )
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise SinkError("window: there is no display; set DISPLAY, or leave --window out")

    def send(self, rgb: U8, number: int) -> None:
        shown = self._open
        self._open = True
        try:
            if shown and cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) < 1:
                raise EndedError
            cv2.imshow(_TITLE, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
            if cv2.waitKey(1) & 0xFF in (_ESCAPE, ord("q")):
                raise EndedError
        except cv2.error as error:
            raise SinkError(f"window: it cannot be shown ({' '.join(str(error).split())[:160]})") from error

    def close(self) -> None:
        if self._open:
            self._open = False
            cv2.destroyAllWindows()


class _File:
    def __init__(self, output: Output, path: Path) -> None:
        self.name = path.name
        self._time_base = Fraction(1, output.fps)
        self._writer = VideoWriter(path, output.size, self._time_base, Fraction(output.fps))

    def send(self, rgb: U8, number: int) -> None:
        self._writer.write(Frame(rgb, number, self._time_base, 0.0))

    def close(self) -> None:
        self._writer.close()


def _driver() -> str:
    return _DRIVERS.get(sys.platform, "it has drivers for Linux, macOS and Windows alone")
