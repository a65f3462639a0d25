"""The driver's light on the source's skin, on request: folds and shadows that a flow over a still picture cannot make.

The driver's luma is read on the face's own surface, now and in a frame near rest, smoothed, and their ratio multiplies
the source's skin. Slow changes over the whole face come from turning in the driver's room and not from its expression:
they are halved. Nothing is done inside eyes and mouth, at the rim of the face, or where the driver wears glasses.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engine import canonical
from engine.compiled import compiled
from engine.generators.mesh_flow.opening import bilinear
from engine.generators.motion.flow import rasterise
from engine.types import F32, U8

TEXELS = 96
"""Side of the surface map."""

_CM = 17.0 / TEXELS
LOWEST, HIGHEST = 0.78, 1.28
_STRENGTH = 0.9
_SOFT = 1.2
"""Texels of blur: what is finer belongs to the driver's skin."""
_SLOW = 0.5
"""Share of the plane through the change that is taken out."""
GRID = 128
"""Cells of the patch per side at which the light is placed."""
_FLOOR = 8.0
"""Luma added to both sides of the ratio, so that dark skin does not flicker."""

_GLASSES = 0.12
"""Contrast of a bar across the bridge of the nose from which on it is a frame."""


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """The face unrolled by its frontal view. places: float32 (478, 2), texels. corners: int32 (N, N, 3) and weights:
    float32 (N, N, 3), the triangle behind each texel. mask: float32 (N, N).
    basis: float32 (N * N, 3) and solver: float32 (3, N * N), which fit a plane to a map where the mask is."""

    places: F32
    triangles: NDArray[np.int32]
    corners: NDArray[np.int32]
    weights: F32
    mask: F32
    basis: F32
    solver: F32


def unroll() -> Surface:
    """The surface map of the canonical face."""
    places = (canonical.VERTICES[:, :2] / _CM + 0.5 * (TEXELS - 1)).astype(np.float32)
    corners = np.zeros((TEXELS, TEXELS, 3), np.int32)
    weights = np.zeros((TEXELS, TEXELS, 3), np.float32)
    depth = np.full((TEXELS, TEXELS), np.float32(3e38))
    _locate(places, canonical.VERTICES[:, 2].copy(), canonical.TRIANGLES.copy(), corners, weights, depth)
    mask: U8 = np.zeros((TEXELS, TEXELS), np.uint8)
    _fill(mask, places, canonical.FACE_OVAL, 1)
    inner = np.ones((9, 9), np.uint8)
    mask = np.asarray(cv2.erode(mask, inner, borderType=cv2.BORDER_CONSTANT, borderValue=0), np.uint8)
    openings: U8 = np.zeros_like(mask)
    for ring in (canonical.RIGHT_EYE, canonical.LEFT_EYE, canonical.LIPS_INNER):
        _fill(openings, places, ring, 1)
    openings = np.asarray(cv2.dilate(openings, np.ones((3, 3), np.uint8)), np.uint8)
    soft = cv2.GaussianBlur((mask * (1 - openings)).astype(np.float32), (0, 0), 1.5)
    rows, columns = np.mgrid[:TEXELS, :TEXELS] / TEXELS - 0.5
    basis = np.column_stack([np.ones(TEXELS**2), columns.ravel(), rows.ravel()])
    weighted = basis.T * soft.ravel()
    solver = np.linalg.solve(weighted @ basis, weighted)
    return Surface(
        places,
        canonical.TRIANGLES.copy(),
        corners,
        weights,
        np.asarray(soft, np.float32),
        basis.astype(np.float32),
        solver.astype(np.float32),
    )


def _fill(mask: U8, places: F32, ring: tuple[int, ...], value: int) -> None:
    cv2.fillPoly(mask, [np.rint(places[list(ring)]).astype(np.int32)], value)


@compiled
def _locate(
    places: F32,
    heights: F32,
    triangles: NDArray[np.int32],
    corners: NDArray[np.int32],
    weights: F32,
    depth: F32,
) -> None:
    """For every texel the nearest triangle over it, and its weights there."""
    size = depth.shape[0]
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay = places[a, 0], places[a, 1]
        bx, by = places[b, 0] - ax, places[b, 1] - ay
        cx, cy = places[c, 0] - ax, places[c, 1] - ay
        area = bx * cy - by * cx
        if abs(area) < 1e-9:
            continue
        for y in range(max(0, int(ay + min(0.0, by, cy))), min(size - 1, int(ay + max(0.0, by, cy)) + 1) + 1):
            for x in range(
                max(0, int(ax + min(0.0, bx, cx))), min(size - 1, int(ax + max(0.0, bx, cx)) + 1) + 1
            ):
                wb = ((x - ax) * cy - (y - ay) * cx) / area
                wc = ((y - ay) * bx - (x - ax) * by) / area
                if wb < -1e-4 or wc < -1e-4 or wb + wc > 1.0001:
                    continue
                z = heights[a] + wb * (heights[b] - heights[a]) + wc * (heights[c] - heights[a])
                if z < depth[y, x]:
                    depth[y, x] = z
                    corners[y, x, 0], corners[y, x, 1], corners[y, x, 2] = a, b, c
                    weights[y, x, 0], weights[y, x, 1], weights[y, x, 2] = 1.0 - wb - wc, wb, wc


@compiled
def read_light(rgb: U8, points: F32, corners: NDArray[np.int32], weights: F32, light: F32) -> None:
    """The luma of `rgb` (H, W, 3) on the surface of the face at `points` (478, 2 or 3), into `light` (N, N)."""
    size = light.shape[0]
    for v in range(size):
        for u in range(size):
            x, y = 0.0, 0.0
            for k in range(3):
                x += weights[v, u, k] * points[corners[v, u, k], 0]
                y += weights[v, u, k] * points[corners[v, u, k], 1]
            light[v, u] = (
                0.299 * bilinear(rgb, x, y, 0)
                + 0.587 * bilinear(rgb, x, y, 1)
                + 0.114 * bilinear(rgb, x, y, 2)
            )


def wears_glasses(light: F32) -> bool:
    """Whether a frame crosses the bridge of the nose: a level bar, across a centimetre, that is darker or lighter than
    the skin above and below it. Rimless glasses are not seen."""
    height = float(canonical.VERTICES[list(canonical.OUTER_EYE_CORNERS), 1].mean())
    top, bottom, left, right = (
        round(cm / _CM + 0.5 * (TEXELS - 1)) for cm in (height - 0.9, height + 0.9, -0.55, 0.55)
    )
    strip = light[top - 2 : bottom + 2, left:right]
    local = cv2.blur(strip, (9, 9))[2:-2] + _FLOOR
    bar = (strip[2:-2] - 0.5 * (strip[4:] + strip[:-4])) / local
    return bool(np.abs(bar.mean(1)).max() > _GLASSES)


def ratio(now: F32, rest: F32, surface: Surface) -> F32:
    """What multiplies the source's skin, float32 (N, N): 1 where nothing changes. now, rest: luma maps."""
    smooth_now, smooth_rest = (cv2.GaussianBlur(light, (0, 0), _SOFT) + _FLOOR for light in (now, rest))
    change = np.log(smooth_now / smooth_rest).ravel()
    change -= _SLOW * (surface.basis @ (surface.solver @ change))
    gain = np.clip(np.exp(_STRENGTH * change), LOWEST, HIGHEST).reshape(now.shape)
    return np.asarray(1.0 + surface.mask * (gain - 1.0), np.float32)


def onto_patch(gain: F32, target: F32, surface: Surface, size: int) -> F32:
    """`gain` (N, N) carried from the surface onto the face at `target` (478, 3) in a patch of `size`: (S, S)."""
    grid = GRID
    flow_x, flow_y, depth = (np.empty((grid, grid), np.float32) for _ in range(3))
    rasterise(target, surface.places, surface.triangles, size / grid, flow_x, flow_y, depth)
    placed = cv2.remap(
        gain, flow_x, flow_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=1.0
    )
    placed[depth > 1e38] = 1.0
    return np.asarray(cv2.resize(placed, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)


@compiled
def shade(out: U8, gain: F32) -> None:
    """Multiply `out` (S, S, 3) by `gain` (S, S) in place."""
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            g = gain[y, x]
            if g != 1.0:
                for k in range(3):
                    out[y, x, k] = np.uint8(min(255.0, out[y, x, k] * g + 0.5))
