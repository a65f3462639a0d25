"""How far a training is, how fast it goes, and when it will be done."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

WINDOW_S = 120.0
"""The speed is that of the last two minutes, because stages differ."""
LINE_S = 30.0
"""Off a terminal, a line at most so often."""


class Progress:
    """A bar on a terminal, a line now and then elsewhere, nothing when `quiet`; `tell` is for what must be seen."""

    def __init__(
        self, total: int, done: int, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total, self._clock, self._quiet = total, clock, quiet
        self._times: deque[tuple[float, int]] = deque([(clock(), done)])
        self._line_s = clock()
        self._bar: Any = None
        self._task: Any = None
        if not quiet and sys.stderr.isatty():
            self._bar, self._task = _bar(total, done)

    def step(self, done: int, scalars: Mapping[str, float]) -> None:
        """One step more is made."""
        now = self._clock()
        self._times.append((now, done))
        while len(self._times) > 2 and now - self._times[0][0] > WINDOW_S:
            self._times.popleft()
        if self._bar is not None:
            self._bar.update(self._task, completed=done, left=self.left(), speed=self.speed())
        elif not self._quiet and now - self._line_s >= LINE_S:
            self._line_s = now
            self._say(f"{self.line(done)}{_some(scalars)}")

    def speed(self) -> float:
        """Steps per second, 0 where nothing is known yet."""
        (start, first), (end, last) = self._times[0], self._times[-1]
        return (last - first) / (end - start) if end > start else 0.0

    def left(self) -> str:
        """The time left, as people say it."""
        speed = self.speed()
        return duration((self._total - self._times[-1][1]) / speed) if speed > 0 else "?"

    def line(self, done: int) -> str:
        """Step, share, speed and time left, as text."""
        share = 100 * done // max(self._total, 1)
        return f"step {done}/{self._total} ({share} %), {self.speed():.2f} steps/s, {self.left()} left"

    def tell(self, text: str) -> None:
        """A line that is always seen."""
        self._say(text)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(f"marotte: {text}", markup=False, highlight=False)
        else:
            print(f"marotte: {text}", file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """45 s, 12 min, 3 h 20 min, 2 d 4 h."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def _some(scalars: Mapping[str, float]) -> str:
    return "".join(f", {name} {value:.4g}" for name, value in list(scalars.items())[:6])


def _bar(total: int, done: int) -> tuple[Any, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        TextColumn("train"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]:.2f} steps/s, {task.fields[left]} left"),
    )
    bar = Progress(*columns, console=Console(stderr=True))
    task = bar.add_task("train", total=total, completed=done, left="?", speed=0.0)
    bar.start()
    return bar, task
