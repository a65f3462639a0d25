"""The donor's light brought to the face's, so that what is laid over it has the same skin.

Per channel one factor (von Kries): how much brighter the face is than what is laid over it, read along the edge of the
mask, where skin meets skin. Teeth and lips follow, as they would under that light. A mask without an edge says nothing.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from engine.types import F32, U8

MOST = 1.8
"""Factor up or down at which a tone is cut off."""

SETTLE_S = 0.25
"""Time constant with which a changed light is followed."""
SLIGHT = 0.3  # share of the mask's steepest slope below which it is no edge
FAINT = 0.02  # slope per pixel below which a mask has no edge at all
DARK = 12.0  # levels that both sides are raised by, so that darkness gives no large factors


class Tone:
    """One donor's factors over time, for squares of `size` pixels. `reset` when it is about something else."""

    def __init__(self, size: int) -> None:
        self._y, self._x = np.mgrid[:size, :size].astype(np.float32)
        self._half = 0.5 * (size - 1)
        self.reset()

    def reset(self) -> None:
        """Forget the past: the next factors are taken as they are."""
        self._logs, self._time_s = np.zeros(3, np.float32), -math.inf

    def match(self, face: U8, donor: U8, maps: F32, time_s: float) -> F32:
        """The factors, float32 (3,), for what is laid over the face.

        face, donor: uint8 (S, S, 3). maps: (6, S, S), flow x and y in grid units, mask, residual r, g, b in -2..2.
        """
        across, down = (cv2.Sobel(maps[2], cv2.CV_32F, dx, dy, scale=0.125) for dx, dy in ((1, 0), (0, 1)))
        slope = np.hypot(across, down)
        steepest = float(slope.max())
        if steepest > FAINT:
            weight = np.maximum(slope - SLIGHT * steepest, 0.0)
            warped = cv2.remap(
                donor,
                self._x + self._half * maps[0],
                self._y + self._half * maps[1],
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
            laid = np.clip(warped + 127.5 * maps[3:].transpose(1, 2, 0), 0.0, 255.0)
            here, there = (np.tensordot(weight, one, 2) / weight.sum() for one in (face, laid))
            self._follow(np.log((here + DARK) / (there + DARK)), time_s)
        return np.exp(self._logs).astype(np.float32)

    def _follow(self, logs: F32, time_s: float) -> None:
        limit, passed = math.log(MOST), time_s - self._time_s
        share = 1.0 - math.exp(-passed / SETTLE_S) if passed > 0.0 else 1.0
        self._logs = self._logs + np.float32(share) * (np.clip(logs, -limit, limit) - self._logs)
        self._time_s = time_s
