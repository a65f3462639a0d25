"""How much a session asks the engine for, so that its pictures stay in time: fewer of the driver's frames first, then
smaller pictures, where its bundle can make them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streaming.ladder import PACES, Pace, Pacer

STEP_S = 1.0
"""Between two looks."""


class Pacing:
    """Holds one session's frame ages to a target. target_s: 95th percentile of them, in seconds; 0 asks for all
    whatever it takes."""

    def __init__(self, target_s: float) -> None:
        self._pacer = Pacer(target_s) if target_s else None

    @property
    def pace(self) -> Pace:
        """What is asked for now."""
        return self._pacer.pace if self._pacer is not None else PACES[0]

    def look(self, age_s: float | None, now: float) -> bool:
        """Whether another pace is in force after one more look. age_s: of the last two seconds, None without any."""
        before = self.pace
        return self._pacer is not None and self._pacer.step(age_s, now) is not before

    def output_size(self, outputs: Sequence[int], asked: int) -> int:
        """What Controls.output_size is to be. outputs: the bundle's sides, the finest first. asked: by whoever drives,
        0 for the finest; it gets no more than that."""
        if not outputs or self.pace.side_share >= 1.0:
            return asked
        most = self.pace.side_share * outputs[0]
        largest = next((side for side in outputs if side <= most), outputs[-1])
        return min(asked or largest, largest)

    def report(self) -> dict[str, Any] | None:
        """What stands of it in the session's report; None while all is asked for."""
        if self.pace is PACES[0]:
            return None
        return {"fps": self.pace.fps, "side_share": self.pace.side_share}


class Thinning:
    """Which of the driver's frames are used: at most `fps` a second, evenly. Times in seconds."""

    def __init__(self) -> None:
        self.fps = PACES[0].fps
        """All of them at this rate or above."""
        self._due_s = -float("inf")

    def takes(self, at_s: float) -> bool:
        """Whether the frame of this time is one of them; times rise."""
        if self.fps >= PACES[0].fps:
            return True
        if at_s < self._due_s:
            return False
        step_s = 1.0 / self.fps
        self._due_s = max(self._due_s, at_s - _EARLY * step_s) + step_s
        return True


_EARLY = 0.25  # frames never come quite evenly
