"""Transformation flows: for every pixel of the drawn target, where the same point of the mesh lies in a source.

Liquid Warping GAN's T (Liu et al. 2019, eq. 1): with the target's face number f and weights w at a pixel, and the
corners P of the same face in the source, T = sum_k w_k P[f, k].
"""

from __future__ import annotations

import numpy as np
from numba import types

from engine.compiled import compiled_for
from engine.errors import InputError
from engine.mesh.raster import I32, Raster
from engine.types import F32

ABSENT = -2.0
"""Either coordinate of a flow where the source has nothing to give: far enough outside to sample nothing."""


def corners_of(points: F32, faces: I32) -> F32:
    """The places (F, 3, 2) of every face's corners: columns x and y of points (V, 2 or 3), as a flow reads them."""
    return np.ascontiguousarray(points[:, :2][faces])


def flow(raster: Raster, source_points: F32, out: F32 | None = None) -> F32:
    """float32 (S, S, 2): where each pixel's point of the mesh lies in a source; ABSENT where no face is drawn.

    source_points: float32 (F, 3, 2), the source's corners of every face in a sampling grid's coordinates (x right, y
    DOWN, -1..1); ABSENT for a face that the source is not to give. out: memory for the result.
    Raises InputError when the mesh drawn has more faces than that, or the arrays are of another kind.
    """
    if source_points.ndim != 3 or source_points.shape[1:] != (3, 2) or source_points.dtype != np.float32:
        raise InputError(
            f"source points: expected (faces, 3, 2) float32, got {source_points.shape} {source_points.dtype}"
        )
    grid = _room(out, (raster.size, raster.size, 2))
    _enough(_flow(raster.index, raster.weights, np.ascontiguousarray(source_points), grid), source_points)
    return grid


def condition(raster: Raster, table: F32, out: F32 | None = None) -> F32:
    """float32 (C, S, S): the row of `table` (F + 1, C) of each pixel's face; the last row where no face is drawn.

    One colour for a whole face: the condition map is flat, as the papers' networks know it.
    """
    if table.ndim != 2 or table.dtype != np.float32:
        raise InputError(f"condition table: expected (faces + 1, C) float32, got {table.shape} {table.dtype}")
    planes = _room(out, (table.shape[1], raster.size, raster.size))
    _enough(_look_up(raster.index, np.ascontiguousarray(table), planes), table[:-1])
    return planes


def _room(out: F32 | None, shape: tuple[int, ...]) -> F32:
    if out is None:
        return np.empty(shape, np.float32)
    if out.shape != shape or out.dtype != np.float32 or not out.flags.c_contiguous:
        raise InputError(f"memory: expected {shape} float32, C-contiguous, got {out.shape} {out.dtype}")
    return out


def _enough(seen: int, rows: F32) -> None:
    if seen >= len(rows):
        raise InputError(f"faces of the mesh: face {seen} is drawn, and there are rows for {len(rows)} only")


_INDEX = types.Array(types.int32, 2, "C", readonly=True)
_CUBE = types.Array(types.float32, 3, "C", readonly=True)
_TABLE = types.Array(types.float32, 2, "C", readonly=True)


@compiled_for(types.int64(_INDEX, _CUBE, _CUBE, types.float32[:, :, ::1]))
def _flow(index: I32, weights: F32, corners: F32, grid: F32) -> int:
    """Gives the highest face seen; nothing is read for one beyond the corners."""
    absent = np.float32(-2.0)
    highest = np.int64(-1)
    for row in range(index.shape[0]):
        for column in range(index.shape[1]):
            f = index[row, column]
            highest = max(highest, np.int64(f))
            if f < 0 or f >= corners.shape[0]:
                grid[row, column, 0] = grid[row, column, 1] = absent
                continue
            w0, w1, w2 = weights[row, column, 0], weights[row, column, 1], weights[row, column, 2]
            grid[row, column, 0] = w0 * corners[f, 0, 0] + w1 * corners[f, 1, 0] + w2 * corners[f, 2, 0]
            grid[row, column, 1] = w0 * corners[f, 0, 1] + w1 * corners[f, 1, 1] + w2 * corners[f, 2, 1]
    return int(highest)


@compiled_for(types.int64(_INDEX, _TABLE, types.float32[:, :, ::1]))
def _look_up(index: I32, table: F32, planes: F32) -> int:
    highest = np.int64(-1)
    last = table.shape[0] - 1
    for row in range(index.shape[0]):
        for column in range(index.shape[1]):
            f = np.int64(index[row, column])
            highest = max(highest, f)
            if f < 0 or f > last:
                f = last
            for channel in range(planes.shape[0]):
                planes[channel, row, column] = table[f, channel]
    return int(highest)
