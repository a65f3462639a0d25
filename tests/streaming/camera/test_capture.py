"""A driver's device or clip: opened again when it went away, with times that rise."""

from __future__ import annotations

import itertools
import queue
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import av
import numpy as np
import pytest

from engine.errors import ConfigError, InputError
from engine.media.video_writer import VideoWriter
from engine.types import Frame
from streaming.camera import capture as captures
from streaming.camera.capture import Capture, Clip, Device, source_of

WAIT_S = 10.0


@dataclass
class Camera:
    """Each opening gives so many frames and then fails."""

    openings: list[int]
    endless: bool = True
    name: str = "a camera"
    opened: int = 0
    freed: int = field(default=0)

    def open(self) -> Iterator[tuple[av.VideoFrame, float]]:
        number, self.opened = self.opened, self.opened + 1
        if number >= len(self.openings):
            raise InputError("no such device")
        try:
            for _ in range(self.openings[number]):
                made = av.VideoFrame(96, 64, "yuv420p")
                made.pts = 7  # a device's clock is its own
                yield made, time.perf_counter()
            if self.endless:
                raise OSError(19, "No such device")
        finally:
            self.freed += 1


def taken(capture: Capture, frames: int) -> list[tuple[int, float]]:
    heard: queue.Queue[tuple[int, float]] = queue.Queue()
    capture.start(lambda frame, came_s: heard.put((int(frame.pts or 0), came_s)))
    return [heard.get(timeout=WAIT_S) for _ in range(frames)]


def test_a_device_that_went_away_is_opened_again(monkeypatch, caplog):
    """It is told once, its frames go on, and their times rise although its clock began anew; each opening is freed."""
    monkeypatch.setattr(captures, "FIRST_S", 0.01)
    camera = Camera([3, 0, 4])
    capture = Capture(camera)
    with caplog.at_level("INFO", "marotte.camera"):
        frames = taken(capture, 7)
    capture.close()
    assert all(earlier[0] < later[0] for earlier, later in itertools.pairwise(frames))
    assert camera.freed == 3
    assert sum("opened again" in message for message in caplog.messages) <= 2
    assert any("is back" in message for message in caplog.messages)


def test_what_is_away_is_said(monkeypatch):
    """As long as it is away, why stands there; that is no end."""
    monkeypatch.setattr(captures, "FIRST_S", 0.01)
    capture = Capture(Camera([1]))
    taken(capture, 1)
    end_s = time.monotonic() + WAIT_S
    while not capture.why and time.monotonic() < end_s:
        time.sleep(0.01)
    assert "No such device" in capture.why or "no such device" in capture.why
    assert not capture.over.is_set()
    capture.close()
    assert capture.over.is_set()


def test_a_clip_that_is_played_once_ends():
    """And says so, with everything given."""
    capture = Capture(Camera([2], endless=False))
    taken(capture, 2)
    assert capture.over.wait(WAIT_S)
    capture.close()


def test_the_first_look_says_what_is_wrong():
    """Before an engine is started for it, and the device is let go of."""
    camera = Camera([1])
    Capture(camera).check()
    assert camera.freed == 1
    with pytest.raises(InputError, match="no such device"):
        Capture(camera).check()
    with pytest.raises(InputError, match="no picture"):
        Capture(Camera([0], endless=False)).check()


def test_a_clip_has_its_own_pace_and_begins_again(tmp_path):
    """Its frames are given when they are due, and the first one follows the last."""
    path, rate = tmp_path / "clip.mp4", 20
    with VideoWriter(path, (96, 64), Fraction(1, rate), Fraction(rate)) as writer:
        for number in range(3):
            writer.write(Frame(np.full((64, 96, 3), 80 * number, np.uint8), number, Fraction(1, rate), 0.0))
    began_s = time.perf_counter()
    came = [came_s for (_, came_s), _ in zip(Clip(path).open(), range(5))]
    assert all(at_s - began_s >= number / rate - 0.001 for number, at_s in enumerate(came))
    assert len(list(Clip(path, once=True).open())) == 3


@pytest.mark.skipif("lavfi" not in av.formats_available, reason="this FFmpeg has no made pictures")
def test_a_device_gives_frames_as_they_are(monkeypatch):
    """Through FFmpeg's devices, here one that makes its pictures; one that knows no sizes is opened without."""
    monkeypatch.setitem(captures._FORMATS, sys.platform, "lavfi")
    frames = Device("made", "testsrc=size=96x64:rate=30", (640, 480), 30).open()
    (first, first_s), (second, second_s) = next(frames), next(frames)
    frames.close()
    assert (first.width, first.height) == (96, 64)
    assert second_s >= first_s
    assert second.pts > first.pts


def test_drivers_are_named(tmp_path, monkeypatch):
    """A file is a clip; a number and a path are devices; anything else is said, with what there is."""
    monkeypatch.setattr(sys, "platform", "linux")
    clip = tmp_path / "a.mp4"
    clip.touch()
    assert source_of(str(clip), (640, 480), 30, once=True) == Clip(clip, once=True)
    assert source_of("2", (640, 480), 30, once=False) == Device("/dev/video2", "/dev/video2", (640, 480), 30)
    with pytest.raises(ConfigError, match=r"nothing\.mp4"):
        source_of("nothing.mp4", (640, 480), 30, once=False)
    with pytest.raises(InputError, match="/dev/video999"):
        next(source_of("999", (640, 480), 30, once=False).open())
    monkeypatch.setattr(sys, "platform", "win32")
    assert source_of("Integrated Camera", (640, 480), 30, once=False).address == "video=Integrated Camera"
