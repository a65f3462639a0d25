"""How far a still picture may be moved before it tears."""

from __future__ import annotations

import math

import numpy as np

from engine.geometry import head_pose, pose_rotation
from engine.types import F64, HeadPose

YAW, PITCH, ROLL = (38.0, 58.0), (30.0, 45.0), (40.0, 60.0)
"""Degrees from frontal: up to the first the motion is exact, the second is never passed."""
REVEAL = (28.0, 3.0, 0.9)
"""Degrees by which a source may turn its further cheek to the camera: when it looks straight, at least, and less by
this much per degree that it looks aside, for the less of that cheek there is in the picture."""
SCALE = (0.25, 0.45)
"""Natural logarithm of the change in size."""
SHIFT = (0.55, 0.9)
"""Translation in face widths."""

_TREMOR = 0.5
"""Degrees of yaw and pitch that the tracker alone makes."""


def soft(value: float, limits: tuple[float, float]) -> float:
    """The value itself up to the first limit; beyond, it approaches the second without a jump in slope."""
    knee, most = limits
    size = abs(value)
    if size <= knee:
        return value
    return math.copysign(knee + (most - knee) * math.tanh((size - knee) / (most - knee)), value)


def limit_rotation(wanted: F64, source: F64) -> F64:
    """A rotation near `wanted` that a picture taken at rotation `source` can show, relative to looking straight."""
    goal, start = head_pose(wanted), head_pose(source)
    return pose_rotation(
        HeadPose(
            _axis(goal.yaw, start.yaw, YAW, reveal(start.yaw)),
            _axis(goal.pitch, start.pitch, PITCH, PITCH),
            start.roll + soft(_wrapped(goal.roll - start.roll), ROLL),
        )
    )


def reveal(yaw: float) -> tuple[float, float]:
    """The limits for turning back a source that looks aside by `yaw` degrees."""
    knee = max(REVEAL[1], REVEAL[0] - REVEAL[2] * abs(yaw))
    return knee, 1.6 * knee


def _axis(goal: float, start: float, limits: tuple[float, float], back: tuple[float, float]) -> float:
    knee, most = max(limits[0], abs(start)), max(limits[1], abs(start) + 5.0)
    turn = goal - start
    turn *= turn * turn / (turn * turn + _TREMOR**2)
    turn = soft(start + turn, (knee, most)) - start
    if turn * start < 0:  # back over the middle: the side that the source hides comes into view
        turn = soft(turn, back)
    return start + turn


def _wrapped(degrees: float) -> float:
    return (degrees + 180.0) % 360.0 - 180.0


def limit_shift(shift: F64, face_width: float) -> F64:
    """A translation (x, y) in pixels, shortened where it is longer than the picture can follow."""
    length = float(np.linalg.norm(shift)) / face_width
    return shift if length <= SHIFT[0] else shift * (soft(length, SHIFT) / length)
