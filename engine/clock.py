"""Time as an argument, for what waits: tests give a clock that they set."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """What tells the time and waits for it. `wait` is called with the condition's lock held, as Condition.wait is."""

    def now(self) -> float:
        """Seconds that never run back."""
        ...

    def wait(self, changed: threading.Condition, seconds: float | None) -> None:
        """Until the condition is notified or so many seconds have passed; None is for ever."""
        ...


class MonotonicClock:
    """time.perf_counter, the clock of Frame.arrived_s."""

    def now(self) -> float:
        return time.perf_counter()

    def wait(self, changed: threading.Condition, seconds: float | None) -> None:
        changed.wait(seconds)
