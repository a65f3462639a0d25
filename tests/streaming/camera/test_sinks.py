"""Where pictures go: a virtual camera of a made library, a window of a made OpenCV, a file."""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import av
import cv2
import numpy as np
import pytest

from engine.errors import ConfigError
from streaming.camera.sinks import EndedError, Output, SinkError, open_sink


class PixelFormat(enum.Enum):
    RGB = "raw "


class Camera:
    """As pyvirtualcam.Camera: it takes pictures of its size alone."""

    made: ClassVar[list[Camera]] = []
    refuses = ""

    def __init__(self, width: int, height: int, fps: float, *, fmt: PixelFormat, device: str | None) -> None:
        if self.refuses:
            raise RuntimeError(self.refuses)
        self.shape, self.fps, self.fmt = (height, width, 3), fps, fmt
        self.device, self.sent, self.closed, self.gone = device or "/dev/video10", [], 0, False
        self.made.append(self)

    def send(self, frame: np.ndarray) -> None:
        if self.gone:
            raise RuntimeError("write failed")
        assert frame.shape == self.shape
        assert frame.dtype == np.uint8
        self.sent.append(frame.copy())

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> type[Camera]:
    """A pyvirtualcam that has one camera."""
    made = ModuleType("pyvirtualcam")
    kept = type("Kept", (Camera,), {"made": [], "refuses": ""})
    made.Camera, made.PixelFormat = kept, PixelFormat  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyvirtualcam", made)
    return kept


def picture(output: Output, value: int = 0) -> np.ndarray:
    return np.full((output.size[1], output.size[0], 3), value, np.uint8)


def test_a_virtual_camera_gets_pictures_of_its_size(library):
    """In RGB, of the size and rate that were asked for, and it is let go of."""
    output = Output(size=(320, 240), fps=25, device="/dev/video7")
    sink = open_sink(output)
    sink.send(picture(output, 9), 0)
    sink.close()
    (camera,) = library.made
    assert (sink.name, camera.fps, camera.fmt) == ("/dev/video7", 25, PixelFormat.RGB)
    assert camera.sent[0].max() == camera.sent[0].min() == 9
    assert camera.closed == 1


@pytest.mark.parametrize(
    ("platform", "says"), [("linux", "v4l2loopback"), ("darwin", "OBS"), ("win32", "OBS")]
)
def test_what_is_to_be_installed_is_said(monkeypatch, platform, says):
    """Without the library: how it is installed, and the system's driver, in one line."""
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(SinkError, match=r"marotte\[camera\].*" + says) as told:
        open_sink(Output())
    assert "\n" not in str(told.value)


def test_a_missing_driver_is_said(library):
    """The library is there and finds no device: its own words in one line, and what to install."""
    library.refuses = "'v4l2loopback' backend: No such device\n'other' backend: no"
    with pytest.raises(SinkError, match=r"1280x720.*No such device") as told:
        open_sink(Output())
    assert "\n" not in str(told.value)


def test_a_virtual_camera_that_fails_is_a_fault_of_its_own(library):
    """Its driver was unloaded: a line, and not the library's traceback."""
    output = Output(size=(64, 64))
    sink = open_sink(output)
    library.made[0].gone = True
    with pytest.raises(SinkError, match="write failed"):
        sink.send(picture(output), 0)


def test_a_window_that_cannot_be_is_said(monkeypatch):
    """OpenCV without windows, macOS, and no display, each with the next step."""
    monkeypatch.setattr(cv2, "currentUIFramework", lambda: "")
    with pytest.raises(SinkError, match="pip install opencv-python"):
        open_sink(Output("window"))
    monkeypatch.setattr(cv2, "currentUIFramework", lambda: "GTK3")
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SinkError, match="macOS"):
        open_sink(Output("window"))
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SinkError, match="DISPLAY"):
        open_sink(Output("window"))


class Windows:
    """What OpenCV does to a window."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shown: list[Any] = []
        self.key, self.there = -1, 1.0
        monkeypatch.setenv("DISPLAY", ":9")
        monkeypatch.setattr(sys, "platform", "linux")
        for name, what in {
            "currentUIFramework": lambda: "GTK3",
            "imshow": lambda name, bgr: self.shown.append(bgr),
            "waitKey": lambda ms: self.key,
            "getWindowProperty": lambda name, which: self.there,
            "destroyAllWindows": lambda: self.shown.clear(),
        }.items():
            monkeypatch.setattr(cv2, name, what, raising=False)


def test_a_window_shows_and_is_ended_by_whoever_looks(monkeypatch):
    """Pictures in OpenCV's order of colours; Q and the window's cross end it."""
    windows, output = Windows(monkeypatch), Output("window", (64, 64))
    sink, red = open_sink(output), picture(output)
    red[..., 0] = 255
    sink.send(red, 0)
    assert windows.shown[0][0, 0].tolist() == [0, 0, 255]
    windows.there = 0.0
    with pytest.raises(EndedError):
        sink.send(red, 1)
    windows.there, windows.key = 1.0, ord("q")
    with pytest.raises(EndedError):
        sink.send(red, 2)


def test_a_file_keeps_the_times(tmp_path):
    """A picture that was left out leaves its time empty: the file is as long as what was seen."""
    output = Output("file", (64, 64), 10, path=tmp_path / "a.mp4")
    sink = open_sink(output)
    for number in (0, 1, 5):
        sink.send(picture(output, 40 * number), number)
    sink.close()
    with av.open(str(output.path)) as file:
        assert [round(frame.time, 3) for frame in file.decode(video=0)] == [0.0, 0.1, 0.5]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"size": (641, 480)}, "641x480"),
        ({"size": (16, 16)}, "16x16"),
        ({"fps": 0}, "fps"),
        ({"kind": "screen"}, "screen"),
        ({"kind": "file"}, "path"),
        ({"path": Path("a.mp4")}, "path"),
    ],
)
def test_wrong_outputs_are_refused(wrong, says):
    """Each names what it got."""
    with pytest.raises(ConfigError, match=says):
        Output(**wrong)
