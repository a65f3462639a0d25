"""A body that does what a driver does, frame by frame, with a fallback where nobody is seen.

Who moves keeps their own shape; pose comes from the driver, and the camera is the source's, moved and scaled as the
driver's has since its first frame (the published strategy `smooth`). Everything looks back only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

import numpy as np

from engine.body.fitter import BodyFit, BodyFitter
from engine.errors import MarotteError
from engine.fallback import Fallback, FallbackConfig
from engine.imitation.puppet import BodyPuppet
from engine.mesh.cameras import Strategy, swapped
from engine.types import F32, U8, Body, Frame, FrameReport, Outcome

_log = logging.getLogger("marotte.imitation")

NO_BODY: Final = "no body"
"""The reason of a frame in which nobody is seen."""

_GROWN: Final = 2.0
_PROOF: Final = 3
"""Somebody who is found after nobody was seen, and is more than so many times larger or smaller than who was seen last
for so many frames in a row, is believed from as many on: in an empty room trackers find small bodies for a frame or
two."""


class Follower(Protocol):
    """Follows the body of a clip, as engine.track.body does."""

    def track(self, frame: Frame) -> Body | None: ...


class BodySession:
    """From the driver's frames to the puppet's. fitter: of the driver, with the puppet's body model."""

    def __init__(
        self,
        puppet: BodyPuppet,
        tracker: Follower,
        fitter: BodyFitter,
        config: FallbackConfig | None = None,
        strategy: Strategy = Strategy.SMOOTH,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._puppet, self._tracker, self._fitter = puppet, tracker, fitter
        self._fallback = Fallback(config or FallbackConfig(), puppet.prepared.picture.rgb)
        self._strategy, self._clock = strategy, clock
        self._first: F32 | None = None
        self._size: float | None = None
        self._lost, self._run = False, 0
        self._told: set[str] = set()

    @property
    def notes(self) -> tuple[str, ...]:
        return self._puppet.prepared.notes

    def step(self, frame: Frame) -> tuple[Frame, FrameReport]:
        """One frame of the driver to one of the result, with the same pts. Never raises for what a frame may hold."""
        seconds: dict[str, float] = {}
        picture, reason = None, None
        try:
            picture, reason = self._picture(frame, seconds)
        except Exception as error:  # the frame loop: whatever fails, the fallback is shown
            reason = str(error) if isinstance(error, MarotteError) else f"{type(error).__name__}: {error}"
            if reason not in self._told:
                self._told.add(reason)
                _log.warning("a frame failed: %s", reason)
        if picture is not None:
            self._fallback.generated(picture, frame.time_s)
            outcome = Outcome.GENERATED
        else:
            picture, outcome = self._fallback.picture(frame.time_s, frame.size)
        age_s = self._clock() - frame.arrived_s
        report = FrameReport(
            frame.pts, outcome, seconds, age_s, faces=int(outcome is Outcome.GENERATED), reason=reason
        )
        return Frame(picture, frame.pts, frame.time_base, frame.arrived_s), report

    def _picture(self, frame: Frame, seconds: dict[str, float]) -> tuple[U8 | None, str | None]:
        started = self._clock()
        body = self._tracker.track(frame)
        tracked = self._clock()
        seconds["track"] = tracked - started
        self._lost = self._lost or body is None
        self._run = 0 if body is None else self._run + 1
        if body is None or not self._believed(body):
            return None, NO_BODY
        fit = self._fitter.follow(body, frame.size)
        fitted = self._clock()
        seconds["features"] = fitted - tracked
        if fit is None:
            return None, NO_BODY
        picture = self._puppet.show(fit.rotations, self._camera(fit, frame.size))
        seconds["render"] = self._clock() - fitted
        return picture, None

    def _believed(self, body: Body) -> bool:
        size, known = _size_of(body), self._size
        proved = self._run >= _PROOF
        if self._lost and known is not None and not proved and max(size / known, known / size) > _GROWN:
            return False
        self._lost = False
        self._size = size if proved else known
        return True

    def _camera(self, fit: BodyFit, size: tuple[int, int]) -> F32:
        side = float(max(size))
        camera = fit.camera.in_square(-0.5, -0.5, side)
        if self._first is None:
            self._first = camera
        return swapped(self._puppet.prepared.camera, camera, self._first, self._strategy)


def _size_of(body: Body) -> float:
    """About how many pixels a metre of them has."""
    flat, metres = body.points[:, :2], body.world[:, :2]
    spread = float(np.linalg.norm(metres - metres.mean(axis=0)))
    return max(float(np.linalg.norm(flat - flat.mean(axis=0))) / max(spread, 1e-3), 1e-3)
