"""The face's own frame: a grid laid over the canonical face, read from and drawn into any picture of a face.

A texel stays on the same spot of skin while the face moves and changes its expression, because the mesh does.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from engine import canonical
from engine.compiled import compiled
from engine.types import F32, U8

SIZE = 64
"""Texels a side; one is about three millimetres of skin."""

_BORDER = 2.0  # texels left free around the face
_FACING = 0.25


class Atlas(NamedTuple):
    """The grid. places: float32 (478, 2), where the points lie, in texels. corners: int32 (M, 3) and weights: float32
    (M, 3, 1), which points each of the M texels on the face is mixed from, and how. inside: bool (SIZE, SIZE), those
    texels. triangle: int32 (M,), each one's triangle."""

    places: F32
    corners: NDArray[np.int32]
    weights: F32
    inside: NDArray[np.bool_]
    triangle: NDArray[np.int32]


@lru_cache(maxsize=1)
def atlas() -> Atlas:
    """The one grid there is."""
    flat = canonical.VERTICES[:, :2].astype(np.float64)
    mesh = flat[: canonical.MESH_POINTS]
    low, high = mesh.min(0), mesh.max(0)
    scale = (SIZE - 1 - 2 * _BORDER) / float((high - low).max())
    places = (flat - 0.5 * (low + high)) * scale + 0.5 * (SIZE - 1)
    owner = np.full((SIZE, SIZE), -1, np.int32)
    order = np.argsort(-canonical.VERTICES[canonical.TRIANGLES, 2].mean(1))  # nearest last
    for index in order:
        cv2.fillConvexPoly(owner, np.rint(places[canonical.TRIANGLES[index]]).astype(np.int32), int(index))
    inside = owner >= 0
    triangle = owner[inside]
    corners = canonical.TRIANGLES[triangle]
    rows, columns = np.nonzero(inside)
    weights = _barycentric(places[corners], np.stack([columns, rows], 1).astype(np.float64))
    return Atlas(places.astype(np.float32), corners, weights[:, :, None].astype(np.float32), inside, triangle)


def _barycentric(triangles: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights (M, 3) of the corners (M, 3, 2) at the points (M, 2), none below 0."""
    a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]
    whole = _cross(b - a, c - a)
    weights = np.stack([_cross(b - at, c - at), _cross(c - at, a - at), _cross(a - at, b - at)], 1)
    weights = np.maximum(weights / whole[:, None], 0.0)
    return np.asarray(weights / weights.sum(1, keepdims=True))


def _cross(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.asarray(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])


def where(points: F32) -> F32:
    """float32 (M, 2): the texels' places in the picture, for points (478, 2 or 3) in pixels."""
    grid = atlas()
    return np.asarray((points[grid.corners, :2] * grid.weights).sum(1), np.float32)


def facing(points: F32) -> NDArray[np.bool_]:
    """bool (M,): which texels are turned to the camera, not edge-on and not away from it."""
    grid = atlas()
    flat = points[: canonical.MESH_POINTS, :2]
    seen, own = _doubled_areas(flat), _doubled_areas(grid.places)
    share = seen / np.where(own == 0.0, 1.0, own)
    least = _FACING * float(np.median(np.abs(share)))
    return np.asarray(share[grid.triangle] > least)


def _doubled_areas(flat: F32) -> F32:
    corners = flat[canonical.TRIANGLES]
    return np.asarray(_cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), np.float32)


def read(picture: U8, places: F32) -> U8:
    """The picture's values at the texels' places, uint8 (M,) or (M, 3); the nearest border pixel outside of it."""
    x, y = (np.ascontiguousarray(places[:, axis, None]) for axis in (0, 1))
    values = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(values[:, 0], np.uint8)


def spread(values: NDArray[np.generic]) -> F32:
    """(M,) values as a float32 (SIZE, SIZE) picture, 0 off the face."""
    grid = np.zeros((SIZE, SIZE), np.float32)
    grid[atlas().inside] = values
    return grid


def draw(level: F32, points: F32, out: U8) -> None:
    """Draw a float32 (SIZE, SIZE) picture of 0..1 onto the face in `out`, uint8 (H, W), keeping what is larger."""
    flat = np.ascontiguousarray(points[: canonical.MESH_POINTS, :2], np.float32)
    _draw(np.ascontiguousarray(level, np.float32), flat, atlas().places, canonical.TRIANGLES, out)


def warm_up() -> None:
    """Compile what draws, so that no frame waits for it."""
    draw(np.zeros((SIZE, SIZE), np.float32), canonical.VERTICES, np.zeros((1, 1), np.uint8))


@compiled
def _draw(level: F32, flat: F32, places: F32, triangles: NDArray[np.int32], out: U8) -> None:
    height, width = out.shape
    for index in range(triangles.shape[0]):
        i, j, k = triangles[index, 0], triangles[index, 1], triangles[index, 2]
        ax, ay, bx, by, cx, cy = flat[i, 0], flat[i, 1], flat[j, 0], flat[j, 1], flat[k, 0], flat[k, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0.0:
            continue
        left, right = max(int(np.ceil(min(ax, bx, cx))), 0), min(int(max(ax, bx, cx)), width - 1)
        top, bottom = max(int(np.ceil(min(ay, by, cy))), 0), min(int(max(ay, by, cy)), height - 1)
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                p = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area
                q = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area
                r = 1.0 - p - q
                if p < 0.0 or q < 0.0 or r < 0.0:
                    continue
                u = p * places[i, 0] + q * places[j, 0] + r * places[k, 0]
                v = p * places[i, 1] + q * places[j, 1] + r * places[k, 1]
                column, row = int(u), int(v)
                du, dv = u - column, v - row
                above = level[row, column] * (1.0 - du) + level[row, column + 1] * du
                below = level[row + 1, column] * (1.0 - du) + level[row + 1, column + 1] * du
                value = np.uint8(255.0 * (above * (1.0 - dv) + below * dv) + 0.5)
                if value > out[y, x]:
                    out[y, x] = value
