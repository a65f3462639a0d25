"""A face's measures, read from its points and from the 64 x 64 texels of its own frame (engine/occlusion/atlas.py),
which lie mirrored about the middle of the face. docs/coach.md says what a reading costs.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from engine import canonical
from engine.coach.measures import Measures
from engine.crop import crop_of, cut
from engine.errors import InputError
from engine.features.doubts import covered_eyes
from engine.features.hidden import covered_points
from engine.features.shape import fit_shape
from engine.geometry import eye_distance, head_pose
from engine.occlusion import atlas
from engine.types import F32, U8

_MOST_SIDE = 256  # pixels of the crop whose sharpness is measured; nobody sees a face larger
_LEAST_SIDE = 48
_LEAST_FACE = 300.0  # pixels that a face keeps when it is reduced before it is cut: still finer than the crop
_REBLUR = 9
_WHITE = 250


def measure(rgb: U8, points: F32, occlusion: U8 | None = None) -> Measures:
    """Of the face with these points, float32 (478, 3) in pixels of the picture uint8 (H, W, 3). occlusion: uint8
    (H, W), as engine.types.Features has it. Raises InputError where the points are not those of a face."""
    if not np.isfinite(points).all() or eye_distance(points[:, :2]) < 1.0:
        raise InputError("face: expected its points, got some that are none, or all in one place")
    shape = fit_shape(points)
    pose = head_pose(shape.rotation)
    near, places = _near(rgb, points)
    texels = atlas.read(near, atlas.where(places))
    seen = atlas.facing(places)
    light, burnt, one_sided = _light(texels, seen)
    return Measures(
        float(eye_distance(points[:, :2])),
        pose.yaw,
        pose.pitch,
        pose.roll,
        _blur(near, places),
        light,
        burnt,
        one_sided,
        _margin(rgb, points),
        _strange(texels, seen),
        covered_eyes(near, places, shape),
        0.0 if occlusion is None else float(covered_points(points, occlusion).mean()),
    )


def _near(rgb: U8, points: F32) -> tuple[U8, F32]:
    """The part around a large face, reduced by a whole number, and the points in it: a crop out of the whole would cost
    many times as much, and show no more."""
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    longest = float((high - low).max())
    step = int(longest / _LEAST_FACE)
    if step < 2:
        return rgb, points
    x0, y0 = np.maximum(0, low - 0.5 * longest).astype(int).tolist()
    x1, y1 = np.minimum(rgb.shape[1::-1], high + 0.5 * longest).astype(int).tolist()
    width, height = (x1 - x0) // step, (y1 - y0) // step
    if width < 1 or height < 1:  # it lies outside of the picture
        return rgb, points
    part = rgb[y0 : y0 + height * step, x0 : x0 + width * step]
    reduced = np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    centred = (points - (x0 - 0.5, y0 - 0.5, 0.0)) / step
    return reduced, np.asarray(centred - (0.5, 0.5, 0.0), np.float32)


def _light(texels: U8, seen: NDArray[np.bool_]) -> tuple[float, float, float]:
    luma = texels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    if not seen.any():
        return 0.0, 0.0, 0.0
    both = seen & seen[_mirrored()] & _skin()
    linear = (luma / 255.0) ** 2.2
    left, right = linear[both & _left()], linear[both & ~_left()]
    stops = 0.0
    if left.size and right.size:
        stops = abs(float(np.log2((left.mean() + 1e-3) / (right.mean() + 1e-3))))
    return float(np.percentile(luma[seen], 95)), float((luma[seen] >= _WHITE).mean()), stops


def _blur(rgb: U8, points: F32) -> float:
    side = int(np.clip(np.ptp(points[:, :2], axis=0).max() * 1.2, _LEAST_SIDE, _MOST_SIDE))
    grey = cv2.cvtColor(cut(rgb, crop_of("face", points, side)), cv2.COLOR_RGB2GRAY).astype(np.float32)
    rows = range(side // 6, side - side // 6)
    inner = grey[rows.start : rows.stop, rows.start : rows.stop]
    return max(_blur_along(inner, (_REBLUR, 1)), _blur_along(inner, (1, _REBLUR)))


def _blur_along(grey: F32, size: tuple[int, int]) -> float:
    axis = 1 if size[0] > 1 else 0
    again = cv2.blur(grey, size)
    sharp, soft = np.abs(np.diff(grey, axis=axis)), np.abs(np.diff(again, axis=axis))
    lost = np.maximum(0.0, sharp - soft).sum()
    whole = sharp.sum()
    return float((whole - lost) / whole) if whole > 0 else 1.0


def _margin(rgb: U8, points: F32) -> float:
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    height, width = rgb.shape[:2]
    nearest = min(low[0], low[1], width - 1 - high[0], height - 1 - high[1])
    return float(nearest / max(1.0, high[1] - low[1]))


def _strange(texels: U8, seen: NDArray[np.bool_]) -> float:
    """Colour without brightness: shadows are none."""
    skin = seen & _skin()
    if skin.sum() < 100:
        return 0.0
    rgb = texels[skin].astype(np.float32) + 8.0
    chroma = np.log(rgb[:, :2] / rgb[:, 2:])
    away = chroma - np.median(chroma, axis=0)
    spread = 1.4826 * np.median(np.abs(away), axis=0) + 0.05
    return float((np.abs(away / spread).max(1) > 4.0).mean())


@lru_cache(maxsize=1)
def _mirrored() -> NDArray[np.intp]:
    """For each texel on the face, the one across the middle; itself where that is off the face."""
    inside = atlas.atlas().inside
    index = np.full(inside.shape, -1, np.intp)
    index[inside] = np.arange(int(inside.sum()))
    across = index[:, ::-1][inside]
    return np.where(across >= 0, across, np.arange(len(across)))


@lru_cache(maxsize=1)
def _left() -> NDArray[np.bool_]:
    inside = atlas.atlas().inside
    return np.broadcast_to(np.arange(atlas.SIZE) >= atlas.SIZE // 2, inside.shape)[inside]


@lru_cache(maxsize=1)
def _skin() -> NDArray[np.bool_]:
    """Which texels show skin on a bare face: not eyes, brows, lips and what opens between them."""
    grid = atlas.atlas()
    off = np.zeros(grid.inside.shape, np.uint8)
    for ring in (
        canonical.RIGHT_EYE,
        canonical.LEFT_EYE,
        canonical.LIPS_OUTER,
        canonical.RIGHT_BROW,
        canonical.LEFT_BROW,
    ):
        hull = cv2.convexHull(np.rint(grid.places[list(ring)]).astype(np.int32))
        cv2.fillConvexPoly(off, hull, 255)
    off = np.asarray(cv2.dilate(off, np.ones((5, 5), np.uint8)), np.uint8)
    return np.asarray(off[grid.inside] == 0)
