"""Follows one body through a stream, at a rate of its own that is lower than the frames'."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.errors import ConfigError
from engine.track.body_filter import BodyFilter
from engine.track.body_landmarks import Landmarks
from engine.track.body_model import BodyModel, Looker, next_region
from engine.track.region import Region
from engine.types import U8, Body, Frame

LIVE_HZ = 8.0
"""Runs a second of media time, where nothing else is asked for."""

_LONGEST_GAP_S = 1.0
_CLOCK_SLACK_S = 1e-4


class BodyTracker:
    """33 body points, followed and smoothed.

    The models run at most rate_hz times in a second of media time (every_frame: on each frame); between runs
    the last answer stands, with the time of the frame that it was measured on. A body that is lost is looked
    for in the next frame, and after that at the rate. The track begins anew when the picture's size changes,
    when time runs backwards, and after a gap of more than a second. Not for several threads at once.

    Following costs about 7 CPU ms a run on one thread, looking for a body as much again.

    Of several people the one that the detector is surest of is followed until it is lost.
    """

    def __init__(
        self,
        backend: str = "auto",
        cache: Path | None = None,
        rate_hz: float = LIVE_HZ,
        *,
        every_frame: bool = False,
        model: Looker | None = None,
    ) -> None:
        """backend, cache: as for BodyModel. model: in place of MediaPipe's.

        Raises ConfigError when the rate is not above 0.
        """
        if not rate_hz > 0:
            raise ConfigError(f"body rate: got {rate_hz} Hz, expected more than 0; leave it out for 8 Hz")
        self._model: Looker = BodyModel(backend, cache) if model is None else model
        self._interval_s = 0.0 if every_frame else 1.0 / rate_hz
        self.reset()

    def reset(self) -> None:
        """Forget the body: the next frame looks for it anew."""
        self._region: Region | None = None
        self._filter: BodyFilter | None = None
        self._body: Body | None = None
        self._size = (0, 0)
        self._run_s: float | None = None
        self._found_s = 0.0
        self._lost = False

    def track(self, frame: Frame) -> Body | None:
        """The body in this frame or in the last one that was looked at; None when nobody is seen."""
        if self._broken(frame):
            self.reset()
        if self._due(frame.time_s):
            self._size, self._run_s = frame.size, frame.time_s
            self._run(frame)
        return self._body

    def picture(self, rgb: U8) -> Body | None:
        """The body in a single picture, uint8 (H, W, 3), unfiltered; the track is left alone. time_s is 0."""
        region = self._model.find(rgb)
        found = None if region is None else self._model.read(rgb, region)
        return None if found is None else _body(found, 0.0)

    def close(self) -> None:
        """Let go of the models."""
        self._model.close()

    def _broken(self, frame: Frame) -> bool:
        """Whether this frame cannot continue the track."""
        if self._run_s is None:
            return False
        gap = frame.time_s - self._run_s
        return frame.size != self._size or gap < 0 or gap > _LONGEST_GAP_S

    def _due(self, time_s: float) -> bool:
        if self._run_s is None:
            return True
        gap = time_s - self._run_s
        return gap > 0 and (self._lost or gap >= self._interval_s - _CLOCK_SLACK_S)

    def _run(self, frame: Frame) -> None:
        followed = self._region is not None
        region = self._region or self._model.find(frame.rgb)
        found = None if region is None else self._model.read(frame.rgb, region)
        if found is None:
            self._region, self._filter, self._body, self._lost = None, None, None, followed
            return
        if self._filter is None:
            self._filter = BodyFilter()
        smooth = self._filter.step(found, frame.time_s - self._found_s)
        self._region, self._body, self._lost = next_region(smooth), _body(smooth, frame.time_s), False
        self._found_s = frame.time_s


def _body(found: Landmarks, time_s: float) -> Body:
    visibility = found.visibility[:, None]
    points = np.hstack([found.points, visibility]).astype(np.float32)
    world = np.hstack([found.world, visibility]).astype(np.float32)
    return Body(points, world, time_s)
