"""What a change did, as pure functions of readings and pictures. The definitions stand in docs/evaluation.md."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from engine import canonical
from engine.canonical import EYE_DISTANCE_CM
from engine.evaluate.metrics import LIPS, oval_mask
from engine.geometry import apply_affine, eye_distance, invert_affine
from engine.types import F32, F64, U8, Crop, FaceShape

Mask = NDArray[np.bool_]

UPPER_AUS = ("AU01", "AU02", "AU04", "AU05", "AU45")
LOWER_AUS = ("AU10", "AU12", "AU15", "AU25")
"""AUs whose leak is judged: the upper ones are to leave the mouth, the lower ones eyes and brows."""

LIDS = canonical.RIGHT_EYE + canonical.LEFT_EYE
UPPER_POINTS = LIDS + canonical.RIGHT_BROW + canonical.LEFT_BROW
LOWER_POINTS = LIPS

OVAL_MARGIN = 0.15
"""By how much the face oval is dilated before what lies outside it is compared, in distances of the eye corners."""
_REGION_MARGIN = 0.06


def spearman(asked: Sequence[float], measured: Sequence[float]) -> float | None:
    """Rank correlation, equal values sharing their mean rank; 0 where nothing measured changes.

    None with fewer than three values, or where all that was asked is one value.
    """
    if len(asked) < 3 or np.ptp(asked) == 0:
        return None
    if np.ptp(measured) == 0:
        return 0.0
    return float(np.corrcoef(_ranks(asked), _ranks(measured))[0, 1])


def _ranks(values: Sequence[float]) -> F64:
    array = np.asarray(values, np.float64)
    below = (array[:, None] > array[None]).sum(1)
    return np.asarray(below + 0.5 * ((array[:, None] == array[None]).sum(1) - 1), np.float64)


def slope(asked: Sequence[float], measured: Sequence[float]) -> float | None:
    """AU measured per AU asked, by least squares; None as for spearman."""
    if len(asked) < 3 or np.ptp(asked) == 0:
        return None
    return float(np.polyfit(np.asarray(asked, np.float64), np.asarray(measured, np.float64), 1)[0])


def shift(now: FaceShape, before: FaceShape, points: Sequence[int]) -> float:
    """Mean distance that `points` moved in the face's own frontal view, over the eye distance."""
    apart = now.local[list(points), :2] - before.local[list(points), :2]
    return float(np.linalg.norm(apart, axis=1).mean()) / EYE_DISTANCE_CM


def is_upper(au: str) -> bool:
    """Whether an AU moves eyes and brows; the others move the mouth (nose and cheeks count as it)."""
    return au in ("AU01", "AU02", "AU04", "AU05", "AU06", "AU07", "AU45")


def own_and_other(au: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Points of the region that an AU moves, and of the one that it is to leave."""
    return (UPPER_POINTS, LOWER_POINTS) if is_upper(au) else (LOWER_POINTS, UPPER_POINTS)


def region_masks(points: F32, shape: tuple[int, int]) -> tuple[Mask, Mask]:
    """Pixels of eyes and brows, and of the mouth: hulls with a margin. points (478, 3); shape: (height, width)."""
    rings = (
        (canonical.RIGHT_EYE + canonical.RIGHT_BROW, canonical.LEFT_EYE + canonical.LEFT_BROW),
        (LIPS,),
    )
    upper, lower = (_hulls(points, hulls, shape) for hulls in rings)
    return upper, lower


def _hulls(points: F32, rings: Sequence[Sequence[int]], shape: tuple[int, int]) -> Mask:
    mask = np.zeros(shape, np.uint8)
    for ring in rings:
        hull = cv2.convexHull(np.rint(points[list(ring), :2]).astype(np.int32))
        cv2.fillConvexPoly(mask, hull, 1)
    return dilated(mask, _REGION_MARGIN * eye_distance(points[:, :2]))


def dilated(mask: NDArray[np.generic], by: float) -> Mask:
    """A mask grown by so many pixels."""
    size = 2 * max(0, round(by)) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return np.asarray(cv2.dilate(np.asarray(mask, np.uint8), disc), np.uint8).astype(bool)


def pixel_change(now: U8, before: U8, mask: Mask) -> float:
    """Mean absolute difference over the pixels of `mask` and the channels, 0..255."""
    return float(np.abs(now[mask].astype(np.int16) - before[mask].astype(np.int16)).mean())


def put_back(now: U8, before: U8, mask: Mask, soft: float) -> U8:
    """`now` with `before` inside the mask, faded over about `soft` pixels outside it."""
    size = 2 * max(1, round(soft)) + 1
    share = cv2.blur(dilated(mask, soft).astype(np.float32), (size, size))[:, :, None]
    mixed = now + share * (before.astype(np.float32) - now)
    return np.asarray(np.rint(mixed), np.uint8)


def inside_crop(crop: Crop, shape: tuple[int, int]) -> Mask:
    """Pixels of a picture that the crop covers."""
    s = crop.size - 0.5
    corners = np.array([[-0.5, -0.5], [s, -0.5], [s, s], [-0.5, s]])
    mask = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(mask, np.rint(apply_affine(invert_affine(crop.matrix), corners)).astype(np.int32), 1)
    return mask.astype(bool)


def surroundings(points: F32, crop: Crop, shape: tuple[int, int]) -> Mask:
    """Inside the crop but outside the dilated face oval."""
    oval = dilated(oval_mask(points, shape), OVAL_MARGIN * eye_distance(points[:, :2]))
    return np.asarray(inside_crop(crop, shape) & ~oval)


def squared_error(now: U8, before: U8, mask: Mask) -> float:
    """Mean over the pixels of `mask` and the channels; 0 for an empty mask."""
    if not mask.any():
        return 0.0
    difference = now[mask].astype(np.float32) - before[mask].astype(np.float32)
    return float(np.mean(difference * difference))


def decibels(error: float, ceiling: float = 60.0) -> float:
    """PSNR of a mean squared error of 8-bit values, at most `ceiling`."""
    return ceiling if error <= 0 else min(ceiling, 10 * float(np.log10(255.0**2 / error)))
