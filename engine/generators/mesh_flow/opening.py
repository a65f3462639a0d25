"""An opening between two contours that share their ends: the inside of an eye or of the mouth.

It is described over the line between its ends: `u` runs from 0 to 1 along it, heights are pixels below it.
A frame is float32 (5,): the left end (x, y), the unit axis (x, y) towards the right end, and their distance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.compiled import compiled
from engine.types import F32, U8

SAMPLES = 33
"""Points on each contour."""

STEPS = np.linspace(0.0, 1.0, SAMPLES)


def frame_between(left: F32, right: F32) -> F32:
    """The frame on two ends (2,)."""
    axis = right - left
    width = max(1.0, float(np.hypot(axis[0], axis[1])))
    return np.array([left[0], left[1], axis[0] / width, axis[1] / width, width], np.float32)


def over(frame: F32, points: F32) -> tuple[F32, F32]:
    """u and height of points (N, 2 or 3)."""
    offset = points[:, :2] - frame[:2]
    along = (offset @ frame[2:4]) / frame[4]
    return along, offset[:, 1] * frame[2] - offset[:, 0] * frame[3]


def contours(points: F32, upper: NDArray[np.intp], lower: NDArray[np.intp], frame: F32) -> F32:
    """Heights of two contours, numbers of `points` from the left end to the right, float32 (2, SAMPLES)."""
    out = np.empty((2, SAMPLES), np.float32)
    for k, contour in enumerate((upper, lower)):
        along, height = over(frame, points[contour])
        along[0], along[-1] = 0.0, 1.0
        out[k] = np.interp(STEPS, np.maximum.accumulate(along), height)
    return out


@compiled
def onto(row: F32, x: int, y: int) -> tuple[float, float]:
    """u and height of pixel (x, y) over the frame that `row` starts with."""
    dx, dy = x - row[0], y - row[1]
    return (dx * row[2] + dy * row[3]) / row[4], dy * row[2] - dx * row[3]


@compiled
def place_of(frame: F32, u: float, height: float) -> tuple[float, float]:
    """The pixel place (x, y) of u and height: the inverse of `onto`."""
    along = u * frame[4]
    return frame[0] + along * frame[2] - height * frame[3], frame[1] + along * frame[3] + height * frame[2]


@compiled
def height_at(heights: F32, k: int, u: float) -> float:
    """Contour k of `heights` (K, SAMPLES) at u in 0..1."""
    place = u * (heights.shape[1] - 1)
    i = min(int(place), heights.shape[1] - 2)
    height: float = heights[k, i] + (place - i) * (heights[k, i + 1] - heights[k, i])
    return height


@compiled
def bilinear(picture: U8, x: float, y: float, channel: int) -> float:
    """One channel of `picture` (H, W, C) at a place between its pixels; beyond its border, the border."""
    x = min(max(x, 0.0), picture.shape[1] - 1.001)
    y = min(max(y, 0.0), picture.shape[0] - 1.001)
    i, j = int(y), int(x)
    a, b = y - i, x - j
    top = picture[i, j, channel] + b * (np.float64(picture[i, j + 1, channel]) - picture[i, j, channel])
    below = picture[i + 1, j, channel] + b * (
        np.float64(picture[i + 1, j + 1, channel]) - picture[i + 1, j, channel]
    )
    value: float = top + a * (below - top)
    return value


@compiled
def ramp(x: float) -> float:
    """x held within 0..1."""
    return min(1.0, max(0.0, x))


@compiled
def mix(out: U8, y: int, x: int, channel: int, value: float, share: float) -> None:
    """Move one byte of `out` by `share` of the way to `value`."""
    mixed = out[y, x, channel] + share * (value - out[y, x, channel]) + 0.5
    out[y, x, channel] = np.uint8(min(255.0, max(0.0, mixed)))


@compiled
def box(row: F32, heights: F32, size: int) -> tuple[int, int, int, int]:
    """First and last column, first and last row that the opening between heights[0] and heights[1] may touch; the
    last column is -1 when it is shut. row starts with a frame."""
    x0, y0, ax, ay, width = row[0], row[1], row[2], row[3], row[4]
    lowest, highest, widest = heights[0, 0], heights[1, 0], np.float32(0.0)
    for i in range(heights.shape[1]):
        lowest, highest = min(lowest, heights[0, i]), max(highest, heights[1, i])
        widest = max(widest, heights[1, i] - heights[0, i])
    if widest < 0.2:
        return 0, -1, 0, -1
    left = x0 + min(0.0, width * ax) - max(lowest * ay, highest * ay)
    right = x0 + max(0.0, width * ax) - min(lowest * ay, highest * ay)
    top = y0 + min(0.0, width * ay) + min(lowest * ax, highest * ax)
    bottom = y0 + max(0.0, width * ay) + max(lowest * ax, highest * ax)
    return (
        max(0, int(left) - 1),
        min(size - 1, int(right) + 2),
        max(0, int(top) - 1),
        min(size - 1, int(bottom) + 2),
    )
