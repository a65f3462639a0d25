"""What a page is told of a portrait, and of the camera's picture while a call runs: docs/coach.md."""

from __future__ import annotations

import statistics
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, Final

from engine.coach.advice import Remark, Role, remarks
from engine.coach.measures import Measures
from engine.worker.interface import Delivery, SourceInfo

_WINDOW_S: Final = 4.0
_FEWEST: Final = 3
"""Looks before anything is said: one alone may have met a blink or a turn."""


def told_remark(remark: Remark) -> dict[str, Any]:
    """As a page is told of it."""
    numbers = {"value": round(remark.value, 3), "bound": remark.bound, "unit": remark.unit}
    return {"measure": remark.measure, **numbers, "text": remark.text}


def of_source(source: SourceInfo) -> tuple[Remark, ...]:
    """What is to be said of a portrait."""
    return () if source.measures is None else remarks(source.measures, Role.SOURCE, source.seen)


def further_notes(source: SourceInfo, said: tuple[Remark, ...]) -> list[str]:
    """Those of its notes that no remark says."""
    return [note for note in source.notes if not any(note.endswith(remark.text) for remark in said)]


class CameraCoach:
    """Of one session. For any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._looks: deque[tuple[float, Measures]] = deque(maxlen=32)

    def hearing(self, deliver: Callable[[Delivery], None]) -> Callable[[Delivery], None]:
        """The same for deliveries, what was measured beside which is heard first."""

        def heard(delivery: Delivery) -> None:
            if delivery.camera is not None:
                with self._lock:
                    self._looks.append((self._clock(), delivery.camera))
            deliver(delivery)

        return heard

    def report(self) -> list[dict[str, Any]]:
        """The remarks of the last seconds, by the middle of each measure; none where too little was seen."""
        return [told_remark(remark) for remark in self.remarks()]

    def remarks(self) -> tuple[Remark, ...]:
        """See report."""
        with self._lock:
            since = self._clock() - _WINDOW_S
            looks = [measures for heard_s, measures in self._looks if heard_s >= since]
        return remarks(_middle(looks), Role.CAMERA) if len(looks) >= _FEWEST else ()


def _middle(looks: list[Measures]) -> Measures:
    middles: dict[str, Any] = {}
    for one in fields(Measures):
        values = [getattr(look, one.name) for look in looks]
        middles[one.name] = (
            statistics.mode(values) if isinstance(values[0], str) else statistics.median(values)
        )
    return replace(looks[0], **middles)
