"""The driver on the way in: a camera's frames from aiortc's decoder thread, or what an external tracker saw, to the
worker, and nowhere else."""

from __future__ import annotations

import logging
import time

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from engine.types import U8
from engine.worker.interface import NO_MARK, TICKS, DriverKind, Stamp, State, Worker
from streaming import strip
from streaming.outlet import Outlet
from streaming.pacing import Thinning
from streaming.reports import Tally

MOST_SIDES = (1280, 720)
"""Longer and shorter side in pixels of what the worker gets; larger frames are reduced."""

_QUIET_S = 0.5
_LUMA_FIRST = ("yuv420p", "yuvj420p")
_log = logging.getLogger(__name__)


class Intake:
    """Converts and posts one session's frames. `driver`, `measuring`, `paused` and `mirror` may be set from any thread.

    driver: who drives; what others send is let fall. measuring: read the strip. mirror: post the camera's frames as
    mirror images; the worker recalibrates with the first one on the other side. thinning: which frames are used; all
    without one.
    """

    def __init__(
        self,
        session: str,
        worker: Worker,
        outlet: Outlet,
        tally: Tally,
        *,
        driver: DriverKind,
        thinning: Thinning | None = None,
    ) -> None:
        self.driver = driver
        self.measuring = False
        self.paused = False
        self.mirror = False
        self._mirrored = False  # the last frame was
        self._session = session
        self._worker = worker
        self._outlet = outlet
        self._tally = tally
        self._reformatter = VideoReformatter()
        self._thinning = thinning or Thinning()
        self._last_s = -np.inf
        self._told = False
        self._stopped = False

    def arrived(self, frame: av.VideoFrame, first_packet_s: float) -> None:
        """Take one decoded frame, in the decoder's thread. Never raises and never waits."""
        try:
            if not self._stopped:
                self._take(frame, first_packet_s)
        except Exception as error:
            self._tally.frame_dropped("refused")
            if not self._told:
                self._told = True
                _log.error("session %s: a frame of the driver was dropped: %r", self._session, error)

    def acted(self, told: U8, arrived_s: float) -> None:
        """Take what an external tracker saw (see Worker.post), in any one thread. Never raises and never waits.

        arrived_s: when its packet came, by perf_counter.
        """
        if self._stopped or self.driver is not DriverKind.TRACKER:
            return
        self._last_s = read = time.perf_counter()
        self._tally.frame_received()
        if self.paused:
            self._tally.frame_dropped("paused")
            return
        if not self._thinning.takes(arrived_s):
            self._tally.frame_dropped("paced")
            return
        stages = {"decode": read - arrived_s, "convert": 0.0, "post": 0.0}
        self._post(told, Stamp(round(arrived_s * TICKS), arrived_s), stages, read)

    def stop(self) -> None:
        """Take nothing from now on."""
        self._stopped = True

    def why(self) -> str:
        """Why no picture comes out of the worker, in one of few words."""
        if self._worker.status().state is not State.READY:
            return "worker away"
        quiet = time.perf_counter() - self._last_s > _QUIET_S
        return "no frames" if self.driver is not DriverKind.DEMO and quiet else "no picture"

    def _take(self, frame: av.VideoFrame, first_packet_s: float) -> None:
        decoded = time.perf_counter()
        self._last_s = decoded
        self._tally.frame_received()
        if self.driver is not DriverKind.CAMERA:
            return
        if self.paused:
            self._tally.frame_dropped("paused")
            return
        if not self._thinning.takes(first_packet_s):
            self._tally.frame_dropped("paced")
            return
        mark = strip.read(_luma(frame)) if self.measuring and frame.format.name in _LUMA_FIRST else NO_MARK
        rgb, mirrored = self._converted(frame), self.mirror
        if mirrored:
            rgb = np.asarray(cv2.flip(rgb, 1), np.uint8)
        converted = time.perf_counter()
        stamp = Stamp(frame.pts or 0, first_packet_s, mark)
        stages = {"decode": decoded - first_packet_s, "convert": converted - decoded, "post": 0.0}
        self._post(rgb, stamp, stages, converted)
        if mirrored != self._mirrored:  # after the post: the one that waited before was on the other side
            self._mirrored = mirrored
            self._worker.change(self._session, {"recalibrate": True})

    def _post(self, told: U8, stamp: Stamp, stages: dict[str, float], since_s: float) -> None:
        self._outlet.entered(stamp.arrived_s, stages)
        if self._worker.post(self._session, told, stamp) and self._worker.status().state is not State.READY:
            self._outlet.turned_away(stamp.arrived_s)
            self._tally.frame_dropped("worker away")
        stages["post"] = time.perf_counter() - since_s

    def _converted(self, frame: av.VideoFrame) -> U8:
        """uint8 (H, W, 3), reduced where it is larger than MOST_SIDES; not copied where its rows have no padding."""
        longer, shorter = max(frame.width, frame.height), min(frame.width, frame.height)
        share = min(1.0, MOST_SIDES[0] / longer, MOST_SIDES[1] / shorter)
        width, height = max(2, round(frame.width * share)), max(2, round(frame.height * share))
        rgb = self._reformatter.reformat(
            frame,
            width,
            height,
            "rgb24",
            interpolation=Interpolation.AREA if share < 1.0 else None,
            threads=1,
        )
        plane = rgb.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(height, plane.line_size)
        packed: U8 = np.ascontiguousarray(rows[:, : width * 3])
        return packed.reshape(height, width, 3)


def _luma(frame: av.VideoFrame) -> U8:
    plane = frame.planes[0]
    rows: U8 = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return rows[: frame.height, : frame.width]
