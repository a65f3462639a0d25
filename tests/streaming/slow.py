"""A worker's tools whose tracker takes its time."""

from __future__ import annotations

import time

from engine.puppet import Opening
from engine.types import Face, Frame
from engine.worker.tools import ClosableTracker, Tools


class SlowTools(Tools):
    """Every driver's frame takes `seconds` longer to track."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def tracker(self, opening: Opening) -> ClosableTracker:
        return _Slow(super().tracker(opening), self.seconds)


class _Slow:
    def __init__(self, inner: ClosableTracker, seconds: float) -> None:
        self._inner, self._seconds = inner, seconds

    def track(self, frame: Frame) -> tuple[Face, ...]:
        time.sleep(self._seconds)
        return self._inner.track(frame)

    def __getattr__(self, name: str):
        return getattr(self._inner, name)
