"""Which square of the source picture moves, and the pixels in it."""

from __future__ import annotations

import cv2
import numpy as np

from engine import canonical
from engine.errors import InputError, TooSmallError
from engine.geometry import square_crop
from engine.types import F32, U8, Crop

OVALS = 2.6
"""Side of the square in lengths of the face oval, where the picture is large enough."""

LEAST_OVAL = 24.0
"""Pixels of the face oval's longer side below which there is nothing to move."""


def choose(points: F32, size: tuple[int, int], most: int) -> Crop:
    """The square around the face of `points` (478, 3) in a picture of `size` (width, height).

    It lies inside the picture where it fits, keeps the picture's resolution up to `most` pixels, and otherwise
    brings its side to `most`. Raises InputError when the points are no face, TooSmallError when it is tiny.
    """
    if points.shape != (478, 3) or not np.isfinite(points).all():
        raise InputError(
            "source face: expected 478 finite points (478, 3), got others; use a clearer picture"
        )
    oval = points[list(canonical.FACE_OVAL), :2]
    low, high = oval.min(0), oval.max(0)
    longest = float((high - low).max())
    if longest < LEAST_OVAL:
        raise TooSmallError(
            f"source face: {longest:.0f} px, expected at least {LEAST_OVAL:.0f}; use a larger picture"
        )
    side = min(round(OVALS * longest), max(size))
    corner = [_inside(0.5 * (low[k] + high[k]) - side / 2, size[k], side) for k in range(2)]
    return square_crop(np.array(corner) + (side - 1) / 2.0, side, min(side, most))


def _inside(corner: float, size: int, side: int) -> int:
    if side >= size:
        return (size - side) // 2
    return round(min(max(corner, 0.0), float(size - side)))


def cut(picture: U8, crop: Crop) -> U8:
    """The square's pixels, uint8 (S, S, C) or (S, S); what lies beyond the picture repeats its border."""
    side = round(crop.size / float(crop.matrix[0, 0]))
    left, top = (round(0.5 - float(shift + 0.5) / float(crop.matrix[0, 0])) for shift in crop.matrix[:, 2])
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = max(0, left), max(0, top), min(width, left + side), min(height, top + side)
    margins = (y0 - top, top + side - y1, x0 - left, left + side - x1)
    piece = cv2.copyMakeBorder(picture[y0:y1, x0:x1], *margins, cv2.BORDER_REPLICATE)
    if crop.size != side:
        piece = cv2.resize(piece, (crop.size, crop.size), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(piece, np.uint8)


def edge_mask(crop: Crop, size: tuple[int, int]) -> U8 | None:
    """None where the square covers the whole picture of `size` (width, height); else 255 falling to 0 along its rim,
    which hides the change of sharpness where the patch was reduced."""
    factor = float(crop.matrix[0, 0])
    covers = all(
        factor * -0.5 + crop.matrix[k, 2] >= -0.501
        and factor * (size[k] - 0.5) + crop.matrix[k, 2] <= crop.size - 0.499
        for k in range(2)
    )
    if covers:
        return None
    rim = max(2.0, 0.04 * crop.size)
    place = np.arange(crop.size, dtype=np.float32)
    ramp = np.clip((np.minimum(place, crop.size - 1 - place) + 0.5) / rim, 0.0, 1.0)
    ramp = ramp * ramp * (3 - 2 * ramp)
    return np.asarray(np.rint(255 * np.minimum(ramp[:, None], ramp[None, :])), np.uint8)
