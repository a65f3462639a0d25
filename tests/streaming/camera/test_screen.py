"""Pictures at a fixed size and rate, whatever comes in."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator

import av
import numpy as np
import pytest

from engine.errors import MarotteError
from engine.marks.badge import Badge
from engine.media.planes import i420_of
from engine.types import U8
from streaming.camera import screen as screens
from streaming.camera.screen import Screen
from streaming.camera.sinks import EndedError, Output, SinkError

WAIT_S = 10.0
OUTPUT = Output(size=(128, 64), fps=60)


class Kept:
    """A sink that keeps what it gets; `fault` is raised by the next."""

    name = "kept"

    def __init__(self) -> None:
        self.got: queue.Queue[tuple[U8, int]] = queue.Queue()
        self.fault: Exception | None = None

    def send(self, rgb: U8, number: int) -> None:
        if self.fault is not None:
            raise self.fault
        self.got.put((rgb.copy(), number))

    def close(self) -> None:
        """Nothing is held."""

    def until(self, wanted: Callable[[U8], bool]) -> U8:
        end_s = time.monotonic() + WAIT_S
        while time.monotonic() < end_s:
            rgb, _ = self.got.get(timeout=WAIT_S)
            if wanted(rgb):
                return rgb
        raise AssertionError("it never came")


@pytest.fixture
def sink() -> Kept:
    return Kept()


@pytest.fixture
def ended() -> queue.Queue[MarotteError | None]:
    return queue.Queue()


@pytest.fixture
def screen(sink: Kept, ended: queue.Queue[MarotteError | None]) -> Iterator[Screen]:
    made = Screen(sink, OUTPUT, ended.put)
    yield made
    made.end()
    made.join()


def frame(value: int, size: tuple[int, int] = (128, 64)) -> av.VideoFrame:
    rgb = np.full((size[1], size[0], 3), value, np.uint8)
    return av.VideoFrame.from_ndarray(i420_of(rgb), format="yuv420p")


def is_white(rgb: U8) -> bool:
    return bool(rgb[32, 64].min() > 240)


def test_the_last_picture_is_repeated(screen, sink):
    """Grey before anything came; then one picture again and again, at rising numbers, counted as fresh once."""
    screen.start()
    first, _ = sink.got.get(timeout=WAIT_S)
    assert first.min() == first.max()
    assert not is_white(first)
    left = threading.Event()
    screen.show(frame(255), left.set)
    sink.until(is_white)
    assert left.wait(WAIT_S)
    numbers = [sink.got.get(timeout=WAIT_S) for _ in range(4)]
    assert all(is_white(rgb) for rgb, _ in numbers)
    assert all(earlier < later for (_, earlier), (_, later) in itertools.pairwise(numbers))
    assert screen.fresh == 1


def test_the_newest_wins(screen, sink):
    """Of two that come between two ticks the older one never leaves, and whoever gave it hears that."""
    left = []
    assert not screen.show(frame(0), lambda: left.append("old"))
    assert screen.show(frame(255), lambda: left.append("new"))
    screen.start()
    sink.until(is_white)
    assert left in ([], ["new"])  # it is told after the sink has it


def test_all_of_a_picture_is_shown(screen, sink):
    """One of another shape is shown whole, black beside it: the badge in its corner stays on."""
    planes = i420_of(np.full((400, 400, 3), 90, np.uint8))
    Badge((400, 400)).compose(planes)
    screen.show(av.VideoFrame.from_ndarray(planes, format="yuv420p"))
    screen.start()
    shown = sink.until(lambda rgb: rgb[60, 64].min() > 60)
    assert shown[:, :31].max() == shown[:, 97:].max() == 0
    assert shown[:, 33:95].min() < 60
    assert shown[:32, 64:96].max() > 150


def test_what_is_stale_turns_grey(screen, sink, monkeypatch):
    """A picture that nobody renews is not left standing; a new one is shown again."""
    monkeypatch.setattr(screens, "STALE_S", 0.1)
    screen.start()
    for _ in range(2):
        screen.show(frame(255))
        sink.until(is_white)
        grey = sink.until(lambda rgb: not is_white(rgb))
        assert grey.min() == grey.max()


def test_nothing_leaves_after_the_end(screen, sink):
    """Not even what waits."""
    screen.show(frame(255))
    screen.end()
    screen.start()
    screen.join()
    assert sink.got.empty()
    assert not screen.show(frame(255))


@pytest.mark.parametrize(
    ("fault", "told"),
    [(SinkError("gone"), "gone"), (EndedError(), None), (ZeroDivisionError("odd"), "ZeroDivisionError")],
)
def test_its_end_is_told(screen, sink, ended, fault, told):
    """A sink that fails ends it with a line, whoever looks without one."""
    sink.fault = fault
    screen.start()
    why = ended.get(timeout=WAIT_S)
    assert (why is None) if told is None else (told in str(why))
