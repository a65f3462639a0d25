"""The square, possibly turned, part of a picture that a face model looks at, and how it is cut out.

Convention: image points are in pixels, x right, y down, pixel centres at integers. Region points are
normalised: 0..1 across the square in its own axes. Pixel i of a cut n pixels wide lies at i / n of the region
without a half-pixel shift, is mixed from its four neighbours in 1/32 pixel steps, and is rounded to 8 bits, as
in the reference. Half a pixel of shift would show as an offset of every landmark, and the rounding alone is
worth .05 pixel of a face 150 pixels between the eyes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numba import types
from numpy.typing import NDArray

from engine.compiled import compiled_for
from engine.types import F32, F64, U8


@dataclass(frozen=True, slots=True)
class Region:
    """x, y: centre in pixels. side: pixels. angle: radians, clockwise in the picture."""

    x: float
    y: float
    side: float
    angle: float

    def valid(self) -> bool:
        """Whether every number is finite and the square has an area."""
        return self.side > 0 and all(map(math.isfinite, (self.x, self.y, self.side, self.angle)))

    def matrix(self) -> F64:
        """float64 (2, 3): region points (0..1) to picture pixels."""
        cos, sin = self.side * math.cos(self.angle), self.side * math.sin(self.angle)
        return np.array([[cos, -sin, self.x - 0.5 * (cos - sin)], [sin, cos, self.y - 0.5 * (sin + cos)]])


def whole(width: int, height: int) -> Region:
    """The smallest upright square around a picture of width x height pixels, with the same centre."""
    return Region(0.5 * width, 0.5 * height, float(max(width, height)), 0.0)


def around(points: NDArray[np.floating], left: int, right: int, margin: float) -> Region:
    """The upright bounding box of points (n, 2 or more), made square by its long side and scaled by margin.

    It is turned so that the line from point `left` to point `right` runs along its x axis.
    """
    x0, y0 = (float(v) for v in points[:, :2].min(0))
    x1, y1 = (float(v) for v in points[:, :2].max(0))
    run, rise = (float(v) for v in points[right, :2] - points[left, :2])
    return Region((x0 + x1) / 2, (y0 + y1) / 2, margin * max(x1 - x0, y1 - y0), math.atan2(rise, run))


def overlap(a: Region, b: Region) -> float:
    """Intersection over union, 0..1, of two regions as if both stood upright."""
    shared = _shared(a, b)
    return shared / (a.side**2 + b.side**2 - shared)


def cover(a: Region, b: Region) -> float:
    """Share of the smaller one, 0..1, that lies in the other, as if both stood upright."""
    return _shared(a, b) / min(a.side, b.side) ** 2


def _shared(a: Region, b: Region) -> float:
    """Area of the intersection in square pixels."""
    wide = min(a.x + a.side / 2, b.x + b.side / 2) - max(a.x - a.side / 2, b.x - b.side / 2)
    high = min(a.y + a.side / 2, b.y + b.side / 2) - max(a.y - a.side / 2, b.y - b.side / 2)
    return max(0.0, wide) * max(0.0, high)


def cut(rgb: U8, region: Region, out: F32, low: float, high: float, *, black_outside: bool) -> None:
    """Fills out, float32 (n, n, 3), with the region: low for 0, high for 255.

    rgb: uint8 (H, W, 3), C-contiguous. Outside of the picture: black, or else the nearest border pixel.
    """
    _sample(rgb, _homography(region, out.shape[0]), out, (high - low) / 255.0, low, black_outside)


def _homography(region: Region, size: int) -> F64:
    """float64 (3, 3): cut pixels to picture pixels.

    It is affine, and found as a homography all the same: where a sample falls midway between two 1/32 pixel
    steps, as on every fourth column of some picture widths, the last bit of that solution decides, and with
    it .05 pixel of a small face.
    """
    corners = cv2.boxPoints(((region.x, region.y), (region.side, region.side), math.degrees(region.angle)))
    square = np.array([[0, size], [0, 0], [size, 0], [size, size]], np.float32)
    return np.asarray(cv2.invert(cv2.getPerspectiveTransform(corners, square))[1], np.float64)


_PICTURE = types.Array(types.uint8, 3, "C", readonly=True)
_STEPS = types.void(types.float64[:, ::1], types.int64, types.int32[::1], types.int32[::1])
_SAMPLE = types.void(
    _PICTURE, types.float64[:, ::1], types.float32[:, :, ::1], types.float32, types.float32, types.boolean
)
_TOUCH = types.int64(
    types.Array(types.uint8, 1, "C", readonly=True),
    types.float64[:, ::1],
    types.int64,
    types.int64,
    types.int64,
)
_BLOCK = 64
_CACHE_LINE = 64
_SPARSE = 16  # picture pixels per pixel of the cut from which most cache lines are not needed


@compiled_for(_STEPS)
def _steps(m: F64, row: int, xs: NDArray[np.int32], ys: NDArray[np.int32]) -> None:
    """Where the pixels of one row of the cut come from, in 1/32 pixels, halves to even."""
    for start in range(0, xs.shape[0], _BLOCK):  # the order of additions counts, see _homography
        x0 = m[0, 0] * start + m[0, 1] * row + m[0, 2]
        y0 = m[1, 0] * start + m[1, 1] * row + m[1, 2]
        w0 = m[2, 0] * start + m[2, 1] * row + m[2, 2]
        dx, dy, dw = m[0, 0], m[1, 0], m[2, 0]
        count = min(_BLOCK, xs.shape[0] - start)
        x_block, y_block = xs[start : start + count], ys[start : start + count]
        for i in range(count):
            w = 32.0 / (w0 + dw * i)
            x_block[i] = np.int32(np.rint((x0 + dx * i) * w))
            y_block[i] = np.int32(np.rint((y0 + dy * i) * w))


@compiled_for(_TOUCH)
def _touch(values: NDArray[np.uint8], m: F64, size: int, width: int, height: int) -> int:
    """Reads one byte of every cache line under a cut, row by row: the turned walk of _sample defeats prefetching."""
    x = np.array([m[0, 0] * u + m[0, 1] * v + m[0, 2] for u in (0, size) for v in (0, size)])
    y = np.array([m[1, 0] * u + m[1, 1] * v + m[1, 2] for u in (0, size) for v in (0, size)])
    start, stop = max(0, int(x.min())), min(width, int(x.max()) + 2)
    top, bottom = max(0, int(y.min())), min(height, int(y.max()) + 2)
    total = 0
    if (stop - start) * (bottom - top) > _SPARSE * size * size:
        return total
    for row in range(top, bottom):
        for at in range(3 * (row * width + start), 3 * (row * width + stop), _CACHE_LINE):
            total += values[at]
    return total


@compiled_for(_SAMPLE)
def _sample(rgb: U8, m: F64, out: F32, gain: float, bias: float, black_outside: bool) -> None:
    height, width, count = rgb.shape[0], rgb.shape[1], out.shape[1]
    values = rgb.reshape(-1)
    xs, ys, mixed = np.empty(count, np.int32), np.empty(count, np.int32), np.empty(3 * count, np.int32)
    mixed[0] = _touch(values, m, count, width, height)
    # Unsigned, so that Numba needs no test for negative indices.
    three, line = np.uint64(3), np.uint64(3 * width)
    for row in range(out.shape[0]):
        _steps(m, row, xs, ys)
        for column in range(count):
            x0, y0 = xs[column] >> 5, ys[column] >> 5
            x1, y1 = x0 + 1, y0 + 1
            right, down = xs[column] & 31, ys[column] & 31
            left, up = 32 - right, 32 - down
            if x0 < 0 or x1 >= width or y0 < 0 or y1 >= height:
                if black_outside:
                    left *= 0 <= x0 < width
                    right *= 0 <= x1 < width
                    up *= 0 <= y0 < height
                    down *= 0 <= y1 < height
                x0, x1 = min(max(x0, 0), width - 1), min(max(x1, 0), width - 1)
                y0, y1 = min(max(y0, 0), height - 1), min(max(y1, 0), height - 1)
            a = np.uint64(y0) * line + np.uint64(x0) * three
            b = np.uint64(y0) * line + np.uint64(x1) * three
            c = np.uint64(y1) * line + np.uint64(x0) * three
            d = np.uint64(y1) * line + np.uint64(x1) * three
            for channel in range(3):
                k = np.uint64(channel)
                above = left * np.int32(values[a + k]) + right * np.int32(values[b + k])
                below = left * np.int32(values[c + k]) + right * np.int32(values[d + k])
                mixed[np.uint64(column) * three + k] = (up * above + down * below + 512) >> 10
        line_out = out[row].reshape(-1)
        for i in range(3 * count):
            line_out[i] = np.float32(mixed[i]) * gain + bias
