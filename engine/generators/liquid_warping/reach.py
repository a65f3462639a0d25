"""How far a head may turn that several pictures show: as far as they look, and a stretch beyond."""

from __future__ import annotations

from collections.abc import Sequence

from engine.generators.motion.limits import PITCH, ROLL, soft
from engine.generators.motion.transfer import Limit
from engine.geometry import head_pose, pose_rotation
from engine.types import F64, HeadPose

BEYOND = (25.0, 45.0)
"""Degrees of yaw past the pictures' own: exact up to the first, never past the second."""


def reach_of(rotations: Sequence[F64]) -> Limit:
    """What brings a wanted rotation, and the source's, to one that pictures with these rotations can show."""
    low, high = span_of(rotations)
    middle, half = 0.5 * (low + high), 0.5 * (high - low)
    sides = (half + BEYOND[0], half + BEYOND[1])

    def limit(wanted: F64, source: F64) -> F64:
        goal, start = head_pose(wanted), head_pose(source)
        return pose_rotation(
            HeadPose(
                middle + soft(goal.yaw - middle, sides),
                start.pitch + soft(goal.pitch - start.pitch, PITCH),
                start.roll + soft((goal.roll - start.roll + 180.0) % 360.0 - 180.0, ROLL),
            )
        )

    return limit


def span_of(rotations: Sequence[F64]) -> tuple[float, float]:
    """Degrees of yaw between which pictures with these rotations look."""
    yaws = [head_pose(rotation).yaw for rotation in rotations]
    return min(yaws), max(yaws)
