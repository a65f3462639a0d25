"""A body that does what a driver does, frame by frame, with a fallback where nobody is seen.

Who moves keeps their own shape; pose comes from the driver, and the camera is the source's, moved and scaled as the
driver's has since its first frame (the published strategy `smooth`). Everything looks back only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import numpy as np

from engine.body.fitter import BodyFit, BodyFitter
from engine.fallback import Fallback, FallbackConfig
from engine.imitation.puppet import BodyPuppet
from engine.mesh.cameras import Strategy, swapped
from engine.pipeline import step_together
from engine.plug import Ports
from engine.scene import Drawn
from engine.staged import Timed
from engine.types import F32, U8, Body, Controls, Frame, FrameReport, Outcome

_log = logging.getLogger("marotte.imitation")

NO_BODY: Final = "no body"
"""The reason of a frame in which nobody is seen."""
HIDDEN: Final = f"{NO_BODY}: the shoulders are not seen"
"""Of one in which too little of somebody is seen to be moved by it."""

_MOST_TOLD: Final = 16
_GROWN: Final = 2.0
_PROOF: Final = 3
"""Somebody who is found after nobody was seen, and is more than so many times larger or smaller than who was seen last
for so many frames in a row, is believed from as many on: in an empty room trackers find small bodies for a frame or
two."""


class Follower(Protocol):
    """Follows the body of a clip, as engine.track.body does."""

    def track(self, frame: Frame) -> Body | None: ...


@dataclass(frozen=True, slots=True, eq=False)
class BodyWork:
    """One frame on its way. moved: pose (24, 3, 3) and camera (3,) of the crop; None where nobody moves."""

    frame: Frame
    moved: tuple[F32, F32] | None
    ports: tuple[Ports, ...]
    seconds: dict[str, float]
    reason: str | None
    filter_lag_s: float


class BodySession:
    """From the driver's frames to the puppet's: an engine.staged.Staged.

    fitter: of the driver, with the puppet's body model. reuse: pictures are drawn into two arrays by turns, for callers
    who have done with one when they ask for the next. smoothing: as in engine.pipeline.Session; nothing heeds the
    controls.
    """

    def __init__(
        self,
        puppet: BodyPuppet,
        tracker: Follower,
        fitter: BodyFitter,
        config: FallbackConfig | None = None,
        strategy: Strategy = Strategy.SMOOTH,
        clock: Callable[[], float] = time.perf_counter,
        *,
        reuse: bool = False,
    ) -> None:
        self._puppet, self._tracker, self._fitter = puppet, tracker, fitter
        self._fallback = Fallback(config or FallbackConfig(), puppet.prepared.picture.rgb)
        self._strategy, self._clock, self._drawn = strategy, clock, Drawn(reuse)
        self.controls, self.smoothing = Controls(), 1.0
        self._told: set[str] = set()
        self._first: F32 | None = None
        self._size: float | None = None
        self._lost, self._run = False, 0

    @property
    def notes(self) -> tuple[str, ...]:
        return self._puppet.prepared.notes

    def step(self, frame: Frame) -> tuple[Frame, FrameReport]:
        """One frame of the driver to one of the result, with the same pts. Never raises for what a frame may hold."""
        return step_together([self], [frame], self._puppet.runner)[0]

    def measure(self, frame: Frame, seconds: dict[str, float] | None = None) -> BodyWork:
        """The driver's body in a frame, and the camera that it gives the puppet."""
        seconds = {} if seconds is None else seconds
        try:
            with Timed(seconds, "track", self._clock):
                body = self._tracker.track(frame)
            with Timed(seconds, "features", self._clock):
                moved, reason = self._moved(body, frame.size)
        except Exception as error:  # the frame loop: whatever fails, the fallback is shown
            moved, reason = None, self._reason(error)
        lag_s = 0.0 if moved is None else self._fitter.lag_s
        return BodyWork(frame, moved, (), seconds, reason, lag_s)

    def feed(self, work: BodyWork) -> BodyWork:
        """The mesh, drawn in the pose that was measured."""
        if work.moved is None:
            return work
        try:
            with Timed(work.seconds, "inputs", self._clock):
                ports = self._puppet.ports(*work.moved)
        except Exception as error:
            return replace(work, moved=None, reason=self._reason(error), filter_lag_s=0.0)
        return replace(work, ports=(ports,))

    def show(
        self, work: BodyWork, outputs: Sequence[Ports | Exception], render_s: float
    ) -> tuple[Frame, FrameReport]:
        """From the graph's output to the picture that leaves, and its report."""
        frame, picture, reason = work.frame, None, work.reason
        if work.ports:
            work.seconds["render"] = render_s
            with Timed(work.seconds, "paste", self._clock):
                try:
                    picture = self._picture(outputs)
                except Exception as error:
                    reason = self._reason(error)
        if picture is not None:
            self._fallback.generated(picture, frame.time_s)
            outcome = Outcome.GENERATED
        else:
            picture, outcome = self._fallback.picture(frame.time_s, frame.size)
        report = FrameReport(
            frame.pts,
            outcome,
            work.seconds,
            self._clock() - frame.arrived_s,
            work.filter_lag_s,
            faces=int(outcome is Outcome.GENERATED),
            reason=reason,
        )
        return Frame(picture, frame.pts, frame.time_base, frame.arrived_s), report

    def recalibrate(self) -> None:
        """Where the driver stands next is where the puppet stands in its picture, and their shape is measured anew."""
        self._fitter.reset()
        self._first = None

    def follow(self, tracker: Follower) -> None:
        """Another driver from the next frame on: nothing of the last one colours its motion."""
        self._tracker = tracker
        self._forget()

    def _forget(self) -> None:
        self._fitter.reset()
        self._first, self._size = None, None
        self._lost, self._run = False, 0

    def _moved(self, body: Body | None, size: tuple[int, int]) -> tuple[tuple[F32, F32] | None, str | None]:
        """Pose and camera of the puppet, or why there are none."""
        if body is not None and not (np.isfinite(body.points).all() and np.isfinite(body.world).all()):
            body = None
        self._lost = self._lost or body is None
        self._run = 0 if body is None else self._run + 1
        if body is None or not self._believed(body):
            return None, NO_BODY
        self._fitter.strength = self.smoothing
        fit = self._fitter.follow(body, size)
        if fit is None or fit.time_s != body.time_s:  # what is told is what was seen before
            return None, HIDDEN
        return (fit.rotations, self._camera(fit, size)), None

    def _picture(self, outputs: Sequence[Ports | Exception]) -> U8:
        (answer,) = outputs
        if isinstance(answer, Exception):
            raise answer
        room = self._drawn.room(self._puppet.prepared.picture.rgb.shape, self._fallback.last)
        return self._puppet.picture(answer, room)

    def _reason(self, error: Exception) -> str:
        """Told in full, and logged once."""
        reason = f"{type(error).__name__}: {error}"
        if reason not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(reason)
            _log.warning("a frame failed and was replaced by the fallback: %s", error)
        return reason

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
