"""In place of a session that cannot be begun: a bundle that refuses the source, say."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from engine.fallback import Fallback, FallbackConfig
from engine.pipeline import Work
from engine.types import U8, Controls, Frame, FrameReport

_NO_SCENE: Any = None


class Resting:
    """Takes frames as an engine.pipeline.Session does, and answers each with what is safe, and the reason.

    still: the portrait of a puppet; None where the driver is edited, and then plain grey is shown.
    """

    def __init__(self, still: U8 | None, reason: str) -> None:
        self.controls, self.smoothing = Controls(), 1.0
        self._fallback = Fallback(FallbackConfig(), still)
        self._still, self._reason = still, reason

    def measure(self, frame: Frame, seconds: dict[str, float] | None = None) -> Work:
        """Nothing is measured on the driver."""
        return Work(frame, _NO_SCENE, (), (), {} if seconds is None else seconds, self._reason, 0.0)

    def feed(self, work: Work) -> Work:
        return work

    def show(self, work: Work, outputs: Sequence[object], render_s: float) -> tuple[Frame, FrameReport]:
        """What is safe, in the frame's place."""
        frame = work.frame
        picture, outcome = self._fallback.picture(frame.time_s, frame.size)
        age_s = time.perf_counter() - frame.arrived_s
        report = FrameReport(frame.pts, outcome, work.seconds, age_s, reason=work.reason)
        return Frame(picture, frame.pts, frame.time_base, frame.arrived_s), report

    def recalibrate(self) -> None:
        """There is nothing to take anew."""

    def follow(self, tracker: object) -> None:
        """Nobody is followed."""
