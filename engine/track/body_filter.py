"""Smoothing of body points over time: One-Euro filters in seconds, and a low pass for visibility."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from engine.track.body_landmarks import Landmarks
from engine.types import F64


def smoothing(cutoff: F64 | float, seconds: float) -> F64:
    """Weight in 0..1 of the new value, for a low pass of cutoff hertz and samples that lie seconds apart."""
    turns = 2 * math.pi * np.asarray(cutoff, np.float64) * seconds
    return turns / (1.0 + turns)


class PointFilter:
    """One-Euro filter on every coordinate of a set of points.

    min_cutoff: hertz at rest. beta: hertz per unit of speed, a unit being one body size (or metre) a second.
    """

    _SPEED_CUTOFF = 1.0

    def __init__(self, min_cutoff: float, beta: float) -> None:
        self._min_cutoff = min_cutoff
        self._beta = beta
        self._raw: F64 | None = None
        self._speed: F64 = np.zeros(0)
        self._value: F64 = np.zeros(0)

    def step(self, value: F64, seconds: float, size: float) -> F64:
        """The next filtered value. seconds: since the last. size: of the body, in the values' unit."""
        if self._raw is None:
            self._raw, self._value, self._speed = value, value, np.zeros_like(value)
            return value
        speed = (value - self._raw) / (size * seconds)
        weight = smoothing(self._SPEED_CUTOFF, seconds)
        self._speed = weight * speed + (1.0 - weight) * self._speed
        weight = smoothing(self._min_cutoff + self._beta * np.abs(self._speed), seconds)
        self._raw, self._value = value, weight * value + (1.0 - weight) * self._value
        return self._value


@dataclass(slots=True)
class _Visibility:
    """Low pass that lets 10 % of a change through in every 1/30 s, however far the samples lie apart."""

    value: F64 | None = None

    def step(self, value: F64, seconds: float) -> F64:
        weight = 1.0 - 0.9 ** (30.0 * seconds)
        self.value = value if self.value is None else weight * value + (1.0 - weight) * self.value
        return self.value


class BodyFilter:
    """The filters of one followed body.

    The alignment points are held stiller than the others, so that the region rests while the body does.
    """

    def __init__(self) -> None:
        self._points = PointFilter(0.05, 80.0)
        self._alignment = PointFilter(0.01, 10.0)
        self._world = PointFilter(0.1, 40.0)
        self._visibility = _Visibility()

    def step(self, found: Landmarks, seconds: float) -> Landmarks:
        """The filtered landmarks. seconds: since the last step, more than 0; the first step ignores it."""
        size = max(2.0 * float(np.hypot(*(found.alignment[1] - found.alignment[0]))), 1e-6)
        return Landmarks(
            points=self._points.step(found.points, seconds, size),
            alignment=self._alignment.step(found.alignment, seconds, size),
            world=self._world.step(found.world, seconds, 1.0),
            visibility=self._visibility.step(found.visibility, seconds),
        )
