"""What the camera's picture is worth, looked at beside the frames: twice a second, in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from engine.coach.measures import Measures
from engine.coach.reading import measure
from engine.errors import InputError
from engine.types import F32, U8
from engine.worker.latest import Latest

PERIOD_S = 0.5


class _Look(NamedTuple):
    rgb: U8
    points: F32
    occlusion: U8 | None


class Watching:
    """Of one session. The frame's own thread gives it a picture by name, and takes what was found in an earlier one:
    neither waits. clock: seconds."""

    def __init__(self, name: str, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock, self._next_s = clock, 0.0
        self._given: Latest[_Look] = Latest()
        self._found: Measures | None = None
        self.thread = threading.Thread(target=self._run, name=f"marotte-coach-{name[:8]}", daemon=True)
        self.thread.start()

    def look(self, rgb: U8, points: F32, occlusion: U8 | None = None) -> None:
        """As engine.coach.measure takes it; most of the time nothing is done. The arrays are not to be written to
        any more."""
        now = self._clock()
        if now >= self._next_s:
            self._next_s = now + PERIOD_S
            self._given.put(_Look(rgb, points, occlusion))

    def take(self) -> Measures | None:
        """What was found since the last time."""
        found, self._found = self._found, None
        return found

    def close(self) -> None:
        """End the thread; more than once is allowed."""
        self._given.close()

    def _run(self) -> None:
        while (given := self._given.take()) is not None:
            try:
                self._found = measure(*given)
            except InputError:  # points that are no face's: the next look may be at one
                self._found = None
