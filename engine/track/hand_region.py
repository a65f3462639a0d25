"""Where a hand is looked for: from what the palm detector found, and from the points of the last frame."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from engine.track.body_region import turn
from engine.track.region import Region

_PALM_SIZE, _PALM_SHIFT = 2.6, 0.5
_HAND_SIZE, _HAND_SHIFT = 2.0, 0.1
_STEADY = np.array([0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18])
"""Wrist, thumb, and the two lowest joints of each finger: their box does not jump when fingertips curl."""

_WRIST, _INDEX, _MIDDLE, _RING = 0, 5, 9, 13


def from_palm(
    corners: NDArray[np.floating], wrist: NDArray[np.floating], knuckle: NDArray[np.floating]
) -> Region:
    """The region of the whole hand of a detected palm, in the pixels of its arguments: the palm's box (2, 2), its
    wrist (2,) and the knuckle of its middle finger (2,), which comes to stand above the wrist."""
    wide, high = (float(v) for v in corners[1] - corners[0])
    return _grown(corners.mean(0), (wide, high), _upright(wrist, knuckle), _PALM_SIZE, _PALM_SHIFT)


def from_points(points: NDArray[np.floating]) -> Region:
    """The region in which the same hand is looked for in the next frame. points: (21, 2) pixels."""
    flat = np.asarray(points[:, :2], np.float64)
    knuckles = 0.5 * (0.5 * (flat[_INDEX] + flat[_RING]) + flat[_MIDDLE])
    angle = _upright(flat[_WRIST], knuckles)
    steady = flat[_STEADY]
    middle = 0.5 * (steady.min(0) + steady.max(0))
    own = turn(steady - middle, -angle)
    low, high = own.min(0), own.max(0)
    centre = middle + turn((0.5 * (low + high))[None], angle)[0]
    wide, tall = (float(v) for v in high - low)
    return _grown(centre, (wide, tall), angle, _HAND_SIZE, _HAND_SHIFT)


def _upright(foot: NDArray[np.floating], head: NDArray[np.floating]) -> float:
    """Radians, clockwise, by which a hand is turned from one whose `head` stands above its `foot`."""
    run, rise = (float(v) for v in head - foot)
    return math.remainder(math.pi / 2 - math.atan2(-rise, run), 2 * math.pi)


def _grown(
    centre: NDArray[np.floating], sides: tuple[float, float], angle: float, size: float, shift: float
) -> Region:
    """A square `size` times the longer side, moved towards the fingers by `shift` of the height."""
    x, y = centre + turn(np.array([[0.0, -shift * sides[1]]]), angle)[0]
    return Region(float(x), float(y), size * max(sides), angle)
