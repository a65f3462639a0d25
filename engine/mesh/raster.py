"""Triangles to pixels: which face is seen where, and with which weights of its three corners.

The rules are those of the neural mesh renderer's index map (Kato et al. 2018), in float32 and in its order of
operations, so that its pictures come out the same to the last face:

- pixel i of S lies at (2 i + 1 - S) / S; x right, y up, and row 0 of the maps is the top;
- a face whose corners run clockwise on the screen is not drawn, nor is one without an area;
- a pixel is inside when no edge function is negative, so a border belongs to both sides;
- weights are barycentric on the screen, clamped to 0..1 and brought to a sum of 1;
- depth is 1 / sum(w / z); of two faces the nearer one is seen, and of equally near ones the lower number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import types
from numpy.typing import NDArray

from engine.compiled import compiled_for
from engine.errors import InputError
from engine.types import F32

I32 = NDArray[np.int32]

NONE = -1
"""The face number of a pixel that no face covers."""
NEAR = 0.1
FAR = 100.0


@dataclass(frozen=True, slots=True)
class Raster:
    """A drawn mesh, C-contiguous; row 0 is the top.

    index: int32 (S, S), the face seen, NONE for none. weights: float32 (S, S, 3) of its corners, 0 where there is none.
    depth: float32 (S, S), the far end where there is none. centres: float32 (S,), where the pixels of a row lie.
    """

    index: I32
    weights: F32
    depth: F32
    centres: F32

    @property
    def size(self) -> int:
        return int(self.index.shape[0])


def blank(size: int) -> Raster:
    """Memory for `rasterise`, with nothing drawn in it."""
    if size < 1:
        raise InputError(f"size of a raster: expected 1 or more, got {size}")
    steps = np.arange(size, dtype=np.float32) * np.float32(2.0)
    return Raster(
        np.full((size, size), NONE, np.int32),
        np.zeros((size, size, 3), np.float32),
        np.full((size, size), FAR, np.float32),
        (steps + np.float32(1.0) - np.float32(size)) / np.float32(size),
    )


def rasterise(
    points: F32, faces: I32, size: int, out: Raster | None = None, *, near: float = NEAR, far: float = FAR
) -> Raster:
    """Draw faces (F, 3), numbers of points (V, 3), into a square of `size` pixels.

    points: float32, C-contiguous; x and y in -1..1 with y UP, z the distance from the eye, seen between near and far.
    Faces run counter-clockwise as they are seen; every one is drawn by the rules above. Points may lie outside the
    square, and a face with one that is not finite is left out.
    out: memory of an earlier drawing of the same size, drawn over and given back; nothing is allocated then.
    Raises InputError for arrays of another kind, and for a face that names a point which is not there.
    """
    _check("points", points, np.float32)
    _check("faces", faces, np.int32)
    if out is None:
        out = blank(size)
    elif out.size != size:
        raise InputError(f"raster: expected memory for {size} pixels, got {out.size}")
    bad = _draw(points, faces, out.centres, near, far, out.index, out.weights, out.depth)
    if bad != NONE:
        raise InputError(
            f"face {bad} of the mesh: expected numbers of {len(points)} points, got {faces[bad].tolist()}"
        )
    return out


def _check(name: str, array: NDArray[np.generic], dtype: type[np.generic]) -> None:
    if array.ndim != 2 or array.shape[1] != 3 or array.dtype != dtype or not array.flags.c_contiguous:
        raise InputError(
            f"{name} of the mesh: expected (n, 3) {np.dtype(dtype).name}, C-contiguous, got {array.shape} {array.dtype}"
        )


_DRAW = types.int64(
    types.Array(types.float32, 2, "C", readonly=True),
    types.Array(types.int32, 2, "C", readonly=True),
    types.Array(types.float32, 1, "C", readonly=True),
    types.float32,
    types.float32,
    types.int32[:, ::1],
    types.float32[:, :, ::1],
    types.float32[:, ::1],
)


@compiled_for(_DRAW)
def _draw(
    points: F32, faces: I32, centres: F32, near: float, far: float, index: I32, weights: F32, depth: F32
) -> int:
    """Every face in turn over what is nearer so far. Gives the first face with a point out of range, or -1."""
    size = index.shape[0]
    s = np.float32(size)
    zero, one, half = np.float32(0.0), np.float32(1.0), np.float32(0.5)
    slack = np.float32(1e-3)
    infinite = np.float32(np.inf)
    index[:] = -1
    weights[:] = zero
    depth[:] = far
    count = points.shape[0]
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        if min(a, b, c) < 0 or max(a, b, c) >= count:
            return f
        x0, y0 = points[a, 0], points[a, 1]
        x1, y1 = points[b, 0], points[b, 1]
        x2, y2 = points[c, 0], points[c, 1]
        if not ((y2 - y0) * (x1 - x0) >= (y1 - y0) * (x2 - x0)):
            continue
        # the corners in pixels, and between which rows and columns pixel centres can be inside
        u0, v0 = half * (x0 * s + s - one), half * (y0 * s + s - one)
        u1, v1 = half * (x1 * s + s - one), half * (y1 * s + s - one)
        u2, v2 = half * (x2 * s + s - one), half * (y2 * s + s - one)
        left = max(np.ceil(min(u0, u1, u2) - slack), zero)
        right = min(np.floor(max(u0, u1, u2) + slack), s - one)
        low = max(np.ceil(min(v0, v1, v2) - slack), zero)
        high = min(np.floor(max(v0, v1, v2) + slack), s - one)
        if not (left <= right and low <= high):
            continue
        area = u2 * (v0 - v1) + u0 * (v1 - v2) + u1 * (v2 - v0)
        if not (area > zero and area < infinite):
            continue
        p0, q0, r0 = (v1 - v2) / area, (u2 - u1) / area, (u1 * v2 - u2 * v1) / area
        p1, q1, r1 = (v2 - v0) / area, (u0 - u2) / area, (u2 * v0 - u0 * v2) / area
        p2, q2, r2 = (v0 - v1) / area, (u1 - u0) / area, (u0 * v1 - u1 * v0) / area
        z0, z1, z2 = points[a, 2], points[b, 2], points[c, 2]
        if not (abs(z0) < infinite and abs(z1) < infinite and abs(z2) < infinite):
            continue
        for row in range(np.int64(low), np.int64(high) + 1):
            y = centres[row]
            v = np.float32(row)
            e0, e1, e2 = (y - y0) * (x1 - x0), (y - y1) * (x2 - x1), (y - y2) * (x0 - x2)
            t0, t1, t2 = q0 * v, q1 * v, q2 * v
            line = size - 1 - row
            met = False
            for column in range(np.int64(left), np.int64(right) + 1):
                x = centres[column]
                if e0 < (x - x0) * (y1 - y0) or e1 < (x - x1) * (y2 - y1) or e2 < (x - x2) * (y0 - y2):
                    if met:  # the inside of a triangle is one piece of every row
                        break
                    continue
                met = True
                u = np.float32(column)
                w0 = min(max(p0 * u + t0 + r0, zero), one)
                w1 = min(max(p1 * u + t1 + r1, zero), one)
                w2 = min(max(p2 * u + t2 + r2, zero), one)
                total = w0 + w1 + w2
                w0, w1, w2 = w0 / total, w1 / total, w2 / total
                z = one / (w0 / z0 + w1 / z1 + w2 / z2)
                if z > near and z < depth[line, column]:
                    index[line, column] = f
                    depth[line, column] = z
                    weights[line, column, 0] = w0
                    weights[line, column, 1] = w1
                    weights[line, column, 2] = w2
    return -1
