"""A source's picture continued beyond its outline, so that nothing of the background flows with the body.

The official step finds edges of a 0/1 silhouette by comparing numbers that are equal up to rounding, blends the three
nearest ones with weights that grow with their distance, and builds a table of all ring pixels against all edge pixels:
its result depends on the convolution at hand, its memory grows with the square of the outline. Here a pixel of the ring
takes the mean colour about the nearest trusted pixel: exact distances, fixed ties, one pass over columns and rows.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from engine.compiled import compiled_for
from engine.errors import InputError
from engine.mesh.raster import I32
from engine.types import F32


def continued(picture: F32, trusted: F32, wanted: F32) -> F32:
    """float32 (C, H, W): the picture where `trusted`, filled where only `wanted`, 0 elsewhere.

    picture: float32 (C, H, W). trusted, wanted: (H, W), 0 or 1. A filled pixel is the mean of the trusted ones in the
    3 x 3 pixels about the trusted pixel nearest to it; of equally near ones the upper, then the left one. Where nothing
    is trusted, nothing is filled.
    """
    height, width = picture.shape[1:]
    if trusted.shape != (height, width) or wanted.shape != (height, width):
        raise InputError(f"fill: expected masks {(height, width)}, got {trusted.shape} and {wanted.shape}")
    picture = np.ascontiguousarray(picture, np.float32)
    known = np.ascontiguousarray(trusted > 0.5)
    ring = np.ascontiguousarray((wanted > 0.5) & ~known)
    filled = np.ascontiguousarray(picture * known)
    if known.any() and ring.any():
        _spread(picture, known, ring, nearest(known), filled)
    return filled


def nearest(known: NDArray[np.bool_]) -> I32:
    """int32 (H, W, 2): row and column of the nearest True of `known` (H, W), itself where it is one.

    Exact Euclidean distances; of equally near ones the upper, then the left one. -1 where nothing is known.
    """
    found = np.full((*known.shape, 2), -1, np.int32)
    if known.any():
        _nearest(np.ascontiguousarray(known), found)
    return found


_FLAGS = types.Array(types.boolean, 2, "C", readonly=True)
_PICTURE = types.Array(types.float32, 3, "C", readonly=True)
_PLACES = types.Array(types.int32, 3, "C", readonly=True)


@compiled_for(types.int64(types.int64[:, ::1], types.int64, types.int64, types.int64, types.int64))
def _last(closest: NDArray[np.int64], base: int, row: int, left: int, right: int) -> int:
    """The last column of the row at which the candidate of column `left` comes before that of column `right`."""
    a, b = closest[row, left], closest[row, right]
    width = closest.shape[1]
    first = base * (left * left + (row - a) * (row - a)) + a * width + left
    second = base * (right * right + (row - b) * (row - b)) + b * width + right
    return int((second - first) // (2 * base * (right - left)))


@compiled_for(types.void(_FLAGS, types.int32[:, :, ::1]))
def _nearest(known: NDArray[np.bool_], found: I32) -> None:
    """Nearest in each column first, then the lower envelope of their parabolas along each row (Meijster 2000)."""
    height, width = known.shape
    closest = np.full((height, width), -1, np.int64)  # row of the nearest one in the same column
    for column in range(width):
        last = -1
        for row in range(height):
            if known[row, column]:
                last = row
            closest[row, column] = last
        last = -1
        for row in range(height - 1, -1, -1):
            if known[row, column]:
                last = row
            above = closest[row, column]
            if last >= 0 and (above < 0 or last - row < row - above):
                closest[row, column] = last
    base = height * width  # orders equal distances by row and column: no two candidates tie
    kept, until = np.empty(width, np.int64), np.empty(width, np.int64)
    for row in range(height):
        top = -1
        for column in range(width):
            if closest[row, column] < 0:
                continue
            while top >= 1 and until[top - 1] >= _last(closest, base, row, kept[top], column):
                top -= 1
            top += 1
            kept[top] = column
            if top >= 1:
                until[top - 1] = _last(closest, base, row, kept[top - 1], column)
        at = 0
        for column in range(width):
            while at < top and column > until[at]:
                at += 1
            found[row, column, 0] = closest[row, kept[at]]
            found[row, column, 1] = kept[at]


@compiled_for(types.void(_PICTURE, _FLAGS, _FLAGS, _PLACES, types.float32[:, :, ::1]))
def _spread(picture: F32, known: NDArray[np.bool_], ring: NDArray[np.bool_], places: I32, out: F32) -> None:
    channels, height, width = picture.shape
    for row in range(height):
        for column in range(width):
            if not ring[row, column]:
                continue
            y, x = int(places[row, column, 0]), int(places[row, column, 1])
            top, bottom = max(y - 1, 0), min(y + 2, height)
            left, right = max(x - 1, 0), min(x + 2, width)
            for c in range(channels):
                total, count = np.float32(0.0), np.float32(0.0)
                for v in range(top, bottom):
                    for u in range(left, right):
                        if known[v, u]:
                            total += picture[c, v, u]
                            count += np.float32(1.0)
                out[c, row, column] = total / count
