"""The driver for those without a camera: frames that hold nothing, and the performance in the tracker's place."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np

from engine.sample.demo import demo_face
from engine.types import U8, Face, Frame
from engine.worker.interface import TICKS, Stamp

RATE = 30
_SIDE = 512

BLANK: U8 = np.zeros((_SIDE, _SIDE, 3), np.uint8)
"""Shared by every frame of the demo: it holds no pixel of anybody."""
BLANK.setflags(write=False)


class Performer:
    """A tracker that sees the demo's performer in every frame, from the performance's start on."""

    main_id = 1

    def __init__(self) -> None:
        self._began_s: float | None = None

    def track(self, frame: Frame) -> tuple[Face, ...]:
        """The performer as long after the first frame as this one is."""
        if self._began_s is None:
            self._began_s = frame.time_s
        return (demo_face(frame.time_s - self._began_s, frame.size),)


class Ticker:
    """Posts the stamp of a blank frame 30 times a second from a thread of its own, until it is stopped."""

    def __init__(self, post: Callable[[Stamp], None], name: str) -> None:
        self._post = post
        self._stopped = threading.Event()
        self.thread = threading.Thread(target=self._tick, name=name, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """End soon; at most one more frame is posted."""
        self._stopped.set()

    def _tick(self) -> None:
        began_s = time.perf_counter()
        number = 0
        while not self._stopped.is_set():
            now = time.perf_counter()
            self._post(Stamp(number * TICKS // RATE, now))
            # A tick that is late is left out: the performance keeps its time.
            number = max(number + 1, int((now - began_s) * RATE) + 1)
            self._stopped.wait(max(0.0, began_s + number / RATE - time.perf_counter()))
