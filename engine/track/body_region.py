"""From alignment points to a region, and from region points back to the picture."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from engine.track.region import Region
from engine.types import F64


def aligned(centre: NDArray[np.floating], rim: NDArray[np.floating], margin: float) -> Region:
    """The region that two points (2,) span, in pixels: its centre, and the middle of its upper side.

    margin: factor on the side, which is twice their distance when margin is 1.
    """
    x, y = float(centre[0]), float(centre[1])
    across, up = float(rim[0]) - x, y - float(rim[1])
    angle = math.remainder(math.pi / 2 - math.atan2(up, across), 2 * math.pi)
    return Region(x, y, 2 * margin * math.hypot(across, up), angle)


def turn(points: NDArray[np.floating], angle: float) -> F64:
    """(n, 2) turned by angle radians (clockwise in the picture) about the origin, as float64 (n, 2)."""
    cos, sin = math.cos(angle), math.sin(angle)
    turned: F64 = np.asarray(points, np.float64) @ np.array([[cos, sin], [-sin, cos]])
    return turned


def place(points: NDArray[np.floating], region: Region) -> F64:
    """Region points (n, 2), 0..1 across the square, as picture points, float64 (n, 2) in pixels."""
    centre = np.array([region.x, region.y])
    placed: F64 = turn(np.asarray(points, np.float64) - 0.5, region.angle) * region.side + centre
    return placed
