"""Where a face lies in the square that is drawn."""

from __future__ import annotations

import math

import cv2
import numpy as np

from engine import canonical
from engine.crop import factor_of
from engine.generators.motion.limits import soft
from engine.types import F64, U8, Crop, FaceShape, Layout

SHIFT = (0.2, 0.35)
"""Translation of a portrait's head in face widths: exact up to the first, never past the second. The square that is
drawn ends there, and hair has to follow within it."""


def placed(shape: FaceShape, crop: Crop) -> FaceShape:
    """A frame's face in the crop's pixels."""
    factor = factor_of(crop)
    turn = np.eye(3)
    turn[:2, :2] = crop.matrix[:, :2] / factor
    flat = crop.matrix[:, :2] @ shape.translation[:2] + crop.matrix[:, 2]
    translation = np.array([*flat, factor * shape.translation[2]])
    return FaceShape(shape.local, turn @ shape.rotation, factor * shape.scale, translation)


def labels_in(labels: U8, crop: Crop) -> U8:
    """A picture's labels (H, W) in the crop, uint8 (S, S): the nearest one, for they are numbers."""
    return _warped(labels, crop.matrix, crop.size, cv2.INTER_NEAREST)


def seen_from(view: F64, layout: Layout) -> Layout:
    """The same in another square of its size. view: (2, 3), from its pixels to those of the other."""
    size = len(layout.labels)
    rgb = _warped(layout.rgb, view, size, cv2.INTER_LINEAR)
    return Layout(rgb, _warped(layout.labels, view, size, cv2.INTER_NEAREST))


def _warped(picture: U8, matrix: F64, size: int, how: int) -> U8:
    warped = cv2.warpAffine(picture, matrix, (size, size), flags=how, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.uint8)


def kept(shape: FaceShape, own: FaceShape, size: int) -> FaceShape:
    """The face moved back towards where the portrait has it, and into the square, which stays where it is."""
    away = (shape.translation - own.translation)[:2]
    width = own.scale * float(np.linalg.norm(canonical.VERTICES[234] - canonical.VERTICES[454]))
    length = float(np.hypot(*away)) / width
    if not math.isfinite(length):
        return shape
    if length > SHIFT[0]:
        back = np.append(away * (soft(length, SHIFT) / length - 1.0), 0.0)
        shape = FaceShape(shape.local, shape.rotation, shape.scale, shape.translation + back)
    return _inside(shape, size)


def _inside(shape: FaceShape, size: int) -> FaceShape:
    points = shape.points()[:, :2]
    low, high = points.min(0).astype(np.float64), points.max(0).astype(np.float64)
    shift = np.maximum(-low, 0.0) - np.maximum(high - (size - 1), 0.0)
    if not shift.any():
        return shape
    return FaceShape(shape.local, shape.rotation, shape.scale, shape.translation + np.append(shift, 0.0))
