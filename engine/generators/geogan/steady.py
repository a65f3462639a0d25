"""Maps of the face's own square, smoothed over time: otherwise an attribute swims on the skin.

One-Euro, as in engine/smooth.py, with one cutoff for all planes of a map: it opens when the map changes as a whole and
closes while it only trembles.
"""

from __future__ import annotations

import math

import numpy as np

from engine.smooth import alpha
from engine.types import F32

MIN_CUTOFF = 1.5
"""Hz while nothing changes."""
BETA = 12.0
"""Hz gained per unit of the map's RMS change per second."""
SPEED_CUTOFF = 3.0
LONGEST_GAP_S = 0.5
"""After a longer pause the filter starts anew."""


class SteadyMap:
    """One map (C, S, S) float32 over time. `reset` when it is about something else from now on."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self._value, self._raw, self._speed, self._change = (np.zeros(shape, np.float32) for _ in range(4))
        self._time_s: float | None = None

    def reset(self) -> None:
        """Forget the past: the next map passes unchanged."""
        self._time_s = None

    def smooth(self, raw: F32, time_s: float) -> F32:
        """The map as smoothed up to `time_s`, in memory that the next call overwrites."""
        dt = math.inf if self._time_s is None else time_s - self._time_s
        self._time_s = time_s
        if not 0.0 < dt <= LONGEST_GAP_S:
            np.copyto(self._value, raw)
            self._speed[...] = 0.0
        else:
            self._step(raw, dt)
        np.copyto(self._raw, raw)
        return self._value

    def _step(self, raw: F32, dt: float) -> None:
        change = self._change
        np.subtract(raw, self._raw, out=change)
        change /= np.float32(dt)
        change -= self._speed
        change *= np.float32(alpha(SPEED_CUTOFF, dt))
        self._speed += change
        flat = self._speed.ravel()
        rms = math.sqrt(float(flat @ flat) / flat.size)
        np.subtract(raw, self._value, out=change)
        change *= np.float32(alpha(MIN_CUTOFF + BETA * rms, dt))
        self._value += change
