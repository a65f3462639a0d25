"""How far the motion of a returned picture is behind the motion of the frame whose number it carries.

Both pictures are tracked, mouth opening and head yaw are read from each, and the two courses are laid over each
other: the shift at which they fit best is the lag that smoothing, or a picture shown for the wrong frame, adds to
the glass-to-glass time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from engine.features.openness import measure
from engine.features.shape import fit_shape
from engine.geometry import head_pose
from engine.track.face import FaceTracker
from engine.types import F64, U8, Frame

NAMES = ("mouth", "yaw")
MOST_LAG_S = 0.3

_STEP_S = 0.005
_SLOW_S = 1.2
_TICKS = 90_000
_LEAST_FRAMES = 30
_LEAST_SPREAD = {"mouth": 0.02, "yaw": 1.0}


@dataclass(frozen=True, slots=True)
class Lag:
    """lag_ms: by which the received course follows the sent one at the same numbers; positive is later. correlation:
    of quick motion, at that shift. together: of all motion, without any shift."""

    lag_ms: float
    correlation: float
    together: float


def signals(pictures: Sequence[U8], tracker: FaceTracker, times_s: Sequence[float]) -> F64:
    """Mouth opening and yaw in degrees, (T, 2), of pictures in order of time; NaN where there is no face."""
    tracker.reset()
    rows = np.full((len(pictures), len(NAMES)), np.nan)
    for row, rgb, time_s in zip(rows, pictures, times_s):
        faces = tracker.track(Frame(rgb, round(time_s * _TICKS), Fraction(1, _TICKS), time_s))
        if faces:
            shape = fit_shape(faces[0].points)
            row[:] = measure(shape).mouth, head_pose(shape.rotation).yaw
    return rows


def lags(
    sent: tuple[Sequence[int], Sequence[float], F64], received: tuple[Sequence[int], F64]
) -> dict[str, Lag | None]:
    """The lag of each signal. sent: numbers, seconds and signals (T, 2). received: numbers and signals.

    None where the face was not seen for a second at least, or did not move enough to tell.
    """
    numbers, times_s, course = sent
    at = dict(zip(numbers, times_s))
    known = [k for k, number in enumerate(received[0]) if number in at]
    arrived_s = np.array([at[received[0][k]] for k in known])
    return {
        name: _lag(np.asarray(times_s), course[:, i], arrived_s, received[1][known, i], _LEAST_SPREAD[name])
        for i, name in enumerate(NAMES)
    }


def _lag(sent_s: F64, sent: F64, received_s: F64, received: F64, least: float) -> Lag | None:
    seen, shown = np.isfinite(sent), np.isfinite(received)
    if min(seen.sum(), shown.sum()) < _LEAST_FRAMES or np.nanstd(sent) < least or np.nanstd(received) == 0:
        return None
    sent_s, sent, received_s, received = sent_s[seen], sent[seen], received_s[shown], received[shown]
    edge = MOST_LAG_S + 2 * _STEP_S
    grid = np.arange(max(sent_s[0], received_s[0]) + edge, min(sent_s[-1], received_s[-1]) - edge, _STEP_S)
    if grid.size < 1 / _STEP_S:
        return None
    fixed = np.interp(grid, received_s, received)
    together = _correlation(np.interp(grid, sent_s, sent), fixed)
    fixed = _quick(fixed)
    shifts = np.arange(-MOST_LAG_S, MOST_LAG_S + _STEP_S / 2, _STEP_S)
    fit = np.array([_correlation(_quick(np.interp(grid - shift, sent_s, sent)), fixed) for shift in shifts])
    best = int(np.argmax(fit))
    return Lag(1000 * float(shifts[best] + _STEP_S * _vertex(fit, best)), float(fit[best]), together)


def _quick(course: F64) -> F64:
    """A course less its mean over about a second: a resting face that is learned on the way moves that mean."""
    width = round(_SLOW_S / _STEP_S) | 1
    padded = np.pad(course, width // 2, mode="edge")
    return np.asarray(course - np.convolve(padded, np.full(width, 1 / width), mode="valid"), np.float64)


def _correlation(a: F64, b: F64) -> float:
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else 0.0


def _vertex(values: F64, best: int) -> float:
    """Where the parabola through a peak and its neighbours stands, -.5 .. .5 steps from it."""
    if not 0 < best < len(values) - 1:
        return 0.0
    before, peak, after = values[best - 1 : best + 2]
    bend = before - 2 * peak + after
    return float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5)) if bend < 0 else 0.0


def as_plain(lag: Lag | None) -> dict[str, Any] | None:
    """For JSON."""
    if lag is None:
        return None
    return {"lag_ms": lag.lag_ms, "correlation": lag.correlation, "together": lag.together}
