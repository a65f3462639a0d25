"""Which square of a picture a network sees: the rules by which faces are cut, in training and live alike.

- ``face``: of the rigid fit. Roll removed, CENTRE_CM of the canonical face in the middle, SIDE_CM across. It does
  not move with the expression, and a turned head stays turned.
- ``celeba``: as CelebA is aligned: the least-squares 2-D similarity of eye centres, nose tip and mouth corners onto
  CELEBA_POINTS in 178 x 218 pixels, of which the central 178 x 178 (20 rows less at the top) are kept.
- ``celeba-hq``: as CelebA-HQ and FFHQ are aligned, MaskGAN's pictures among them: a turned square, its axis the eye
  line corrected by the line to the mouth, its middle a tenth of the way from the eyes to the mouth, half its side the
  larger of 2 eye distances and 1.8 distances from eyes to mouth. Hair and neck are in it.
- ``bust``: the upright square of BUST_SIDE_CM about BUST_CENTRE_CM of the rigid fit, with hair and shoulders. Taken
  once of a picture or clip, so that the background stands still in it, and kept in the picture (`kept_inside`).
- ``box``: the upright square around the mesh, centred on its box, with its longer side: GANimation's tight crop.

A rule is written into the data that is cut by it and is carried from there into checkpoints and bundles. Pixel
centres are integers on both sides: the left edge of a picture is at -.5.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from engine import canonical
from engine.config import known
from engine.errors import ConfigError, InputError
from engine.features.shape import fit_shape
from engine.geometry import apply_affine, fit_similarity_2d, head_pose, invert_affine, square_crop
from engine.types import F32, F64, FACE_POINTS, U8, Crop, FaceShape

RULES = ("face", "celeba", "celeba-hq", "bust", "box")

CENTRE_CM: F64 = np.array([0.0, 0.4, 0.0])
"""Middle of the `face` crop on the canonical face: between eyes and mouth, lower by what an opening jaw needs."""

SIDE_CM = 20.0
"""Side of the `face` crop in canonical centimetres, at the face's own scale. The oval is 13.8 wide and 16.5 high."""

CELEBA_POINTS: F64 = np.array([(69.0, 111.0), (108.0, 111.0), (88.0, 136.0), (71.0, 152.0), (106.0, 152.0)])
"""Means of CelebA's aligned landmarks in 178 x 218 pixels: the picture's left eye, its right eye, the tip of the
nose, the picture's left and right corner of the mouth."""

CELEBA_SIDE, CELEBA_TOP = 178, 20

BUST_CENTRE_CM: F64 = np.array([0.0, 1.0, 4.0])
BUST_SIDE_CM = 30.0
LEAST_OF_BUST = 2.0 / 3.0
"""Share of its side to which a bust is narrowed to stay within its picture."""

_NOSE_TIP, _MOUTH_CORNERS = 4, (61, 291)
_LEAST_SIDE = 1.0  # pixels
_MOST_SUPERSAMPLING = 16


def crop_of(rule: str, points: F32, size: int) -> Crop:
    """The crop of one face, frame pixels to crop pixels.

    rule: one of RULES. points: float32 (478, 3), pixels of the frame. size: side of the crop in pixels.
    Raises ConfigError for another rule or a size below 1, InputError when the points are not 478 finite ones of a
    face that has a size.
    """
    known(rule, RULES, "crop")
    if points.shape != (FACE_POINTS, 3) or not np.isfinite(points).all():
        raise InputError(
            f"crop: got points {points.shape}, expected ({FACE_POINTS}, 3), finite; track the face"
        )
    if not np.ptp(points[:, :2], axis=0).max() > 0.0:
        raise InputError("crop: the face's points lie on one spot; track the face")
    if rule == "face":
        return face_crop(fit_shape(points), size)
    if rule == "bust":
        return bust_crop(fit_shape(points), size)
    return _checked({"celeba": _celeba, "celeba-hq": _celeba_hq, "box": _box}[rule](points, size))


def face_crop(shape: FaceShape, size: int) -> Crop:
    """The crop of rule ``face`` from a fit that is at hand, a smoothed one say. Raises as crop_of does."""
    middle = shape.scale * (shape.rotation @ CENTRE_CM) + shape.translation
    roll = math.radians(head_pose(shape.rotation).roll)
    cosine, sine = math.cos(roll), math.sin(roll)
    turn = np.array([[cosine, sine], [-sine, cosine]])
    factor = size / max(SIDE_CM * shape.scale, 1e-9)
    return _checked(_placed(factor * turn, middle[:2], size))


def bust_crop(shape: FaceShape, size: int) -> Crop:
    """The crop of rule ``bust`` from a fit that is at hand. Raises as crop_of does."""
    middle = shape.scale * (shape.rotation @ BUST_CENTRE_CM) + shape.translation
    return _checked(square_crop(middle, max(BUST_SIDE_CM * shape.scale, 1e-9), size))


def kept_inside(crop: Crop, size: tuple[int, int], least: float = LEAST_OF_BUST) -> Crop:
    """An upright square narrowed, to `least` of its side at most, and moved, so that as much of it as can be lies in a
    picture of `size` (width, height)."""
    side = crop.size / factor_of(crop)
    kept = max(min(side, float(min(size))), least * side)
    middle = apply_affine(invert_affine(crop.matrix), np.full((1, 2), 0.5 * (crop.size - 1)))[0]
    low, high = 0.5 * kept - 0.5, np.array(size) - 0.5 - 0.5 * kept
    inner = np.where(high >= low, np.clip(middle, low, np.maximum(high, low)), 0.5 * (low + high))
    return square_crop(inner, kept, crop.size)


def cut(picture: U8, crop: Crop) -> U8:
    """The crop's pixels out of a picture (H, W, 3) or (H, W): uint8, square, C-contiguous.

    A crop that shrinks averages over the area of its pixels, one that enlarges is bilinear. What lies beyond the
    picture repeats its border.
    """
    return _resampled(picture, crop, cv2.BORDER_REPLICATE)


def inside(crop: Crop, size: tuple[int, int]) -> float:
    """The share of the crop's area that lies in a picture of `size` (width, height), 0..1."""
    whole = np.full((size[1], size[0]), 255, np.uint8)
    grid = 64
    return float(_warped(whole, resized(crop, grid).matrix, grid, cv2.BORDER_CONSTANT).mean()) / 255.0


def resized(crop: Crop, size: int) -> Crop:
    """The same square of the frame, brought to another number of pixels."""
    return Crop(_scaled(crop.matrix, size / crop.size), size)


def points_in(crop: Crop, points: F32) -> F32:
    """Points (N, 2) or (N, 3) of the frame in crop pixels; depth is scaled along. float32."""
    placed = apply_affine(crop.matrix, points)
    if points.shape[1] == 2:
        return placed
    return np.column_stack([placed, points[:, 2] * factor_of(crop)]).astype(np.float32)


def factor_of(crop: Crop) -> float:
    """Crop pixels per frame pixel."""
    return math.sqrt(abs(float(np.linalg.det(crop.matrix[:, :2]))))


def _celeba(points: F32, size: int) -> Crop:
    flat = points[:, :2].astype(np.float64)
    seen = np.array([*_eyes(flat), flat[_NOSE_TIP], *flat[list(_MOUTH_CORNERS)]])
    matrix = fit_similarity_2d(seen, CELEBA_POINTS)
    matrix[1, 2] -= CELEBA_TOP
    return Crop(_scaled(matrix, size / CELEBA_SIDE), size)


def _celeba_hq(points: F32, size: int) -> Crop:
    flat = points[:, :2].astype(np.float64)
    eyes = _eyes(flat)
    across, middle = eyes[1] - eyes[0], 0.5 * (eyes[0] + eyes[1])
    down = flat[list(_MOUTH_CORNERS)].mean(0) - middle
    axis = across + np.array([down[1], -down[0]])
    axis /= max(math.hypot(*axis), 1e-9)
    half = max(2.0 * math.hypot(*across), 1.8 * math.hypot(*down), 1e-9)
    turn = np.array([axis, (-axis[1], axis[0])])
    return _placed(0.5 * size / half * turn, middle + 0.1 * down, size)


def _eyes(flat: F64) -> list[F64]:
    """Their centres, the one further left in the picture first."""
    return [
        flat[list(corners)].mean(0) for corners in (canonical.RIGHT_EYE_CORNERS, canonical.LEFT_EYE_CORNERS)
    ]


def _box(points: F32, size: int) -> Crop:
    mesh = points[: canonical.MESH_POINTS, :2].astype(np.float64)
    low, high = mesh.min(0), mesh.max(0)
    side = float((high - low).max())
    return square_crop(0.5 * (low + high), max(side, 1e-9), size)


def _placed(linear: F64, middle: F64, size: int) -> Crop:
    """`middle` of the frame goes to the middle of the crop."""
    shift = 0.5 * (size - 1) - linear @ middle
    return Crop(np.column_stack([linear, shift]), size)


def _scaled(matrix: F64, factor: float) -> F64:
    """The matrix into a crop that has `factor` times as many pixels a side."""
    larger = factor * matrix
    larger[:, 2] += 0.5 * factor - 0.5
    return larger


def _checked(crop: Crop) -> Crop:
    if crop.size < 1:
        raise ConfigError(f"crop: got a size of {crop.size} px, expected 1 or more")
    if not np.isfinite(crop.matrix).all() or not crop.size / max(factor_of(crop), 1e-12) < 1e9:
        raise InputError("crop: the face's points lie on one spot; track the face")
    if crop.size / factor_of(crop) < _LEAST_SIDE:
        raise InputError("crop: the face is smaller than a pixel; use a larger picture")
    return crop


def _resampled(picture: U8, crop: Crop, border: int) -> U8:
    """Finer by a whole number of times first, so that every pixel of the picture counts, then averaged."""
    times = min(_MOST_SUPERSAMPLING, max(1, math.ceil(1.0 / factor_of(crop) - 1e-6)))
    if times == 1:
        return _warped(picture, crop.matrix, crop.size, border)
    fine = _warped(picture, _scaled(crop.matrix, float(times)), times * crop.size, border)
    return np.ascontiguousarray(
        cv2.resize(fine, (crop.size, crop.size), interpolation=cv2.INTER_AREA), np.uint8
    )


def _warped(picture: U8, matrix: F64, size: int, border: int) -> U8:
    warped = cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=border)
    return np.ascontiguousarray(warped, np.uint8)
