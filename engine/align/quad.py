"""The square of a frame that a StyleGAN face fills, by the FFHQ rule, from 68 landmarks.

A square is three vectors of frame pixels: `centre`, `along` (from the centre to the middle of its right side) and
`down` (to the middle of its lower side, `along` turned by a quarter). As a quad it is its four corners (4, 2): top
left, bottom left, bottom right, top right. Corners are where the outermost pixels of the crop END: in a crop of S
pixels the middle of pixel i is at (i + 1/2) / S of the way, and the middles of the frame's pixels are at integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError
from engine.types import F64, Crop

LANDMARKS = 68
MOUTH_CORNERS = (48, 54)
EYES_WIDE, MOUTH_FAR, BELOW_EYES = 2.0, 1.8, 0.1
"""Half a side is EYES_WIDE eye distances or MOUTH_FAR distances from eyes to mouth, whichever is longer; the centre is
BELOW_EYES of the way from eyes to mouth. FFHQ's own figures."""

_LEAST_SIDE = 1.0  # pixels


@dataclass(frozen=True, slots=True, eq=False)
class Squares:
    """One square per frame. centre, along, down: float64 (frames, 2), frame pixels, x right and y down."""

    centre: F64
    along: F64
    down: F64

    def quads(self) -> F64:
        """Corners (frames, 4, 2): top left, bottom left, bottom right, top right."""
        c, x, y = self.centre, self.along, self.down
        return np.stack([c - x - y, c - x + y, c + x + y, c + x - y], axis=1)


def squares_of(landmarks: NDArray[np.generic], scale: float = 1.0) -> Squares:
    """The FFHQ square of every frame.

    landmarks: (frames, 68, 2) in 300-W order, frame pixels. scale: above 1 the square is larger than FFHQ's.
    Raises InputError for another shape, for points that are not finite, and for a face without a size.
    """
    points = np.asarray(landmarks, np.float64)
    if points.ndim != 3 or points.shape[1:] != (LANDMARKS, 2) or not np.isfinite(points).all():
        raise InputError(
            f"alignment: got landmarks {points.shape}, expected (frames, {LANDMARKS}, 2), finite; track the face"
        )
    right, left = points[:, 36:42].mean(1), points[:, 42:48].mean(1)
    eyes = (right + left) * 0.5
    eye_to_eye = left - right
    mouth = (points[:, MOUTH_CORNERS[0]] + points[:, MOUTH_CORNERS[1]]) * 0.5
    eye_to_mouth = mouth - eyes
    along = eye_to_eye - _quarter(eye_to_mouth)
    length = np.hypot(*along.T)
    if not (length > 1e-9).all():
        raise InputError("alignment: the landmarks lie on one spot; track the face")
    along /= length[:, None]
    longest = np.maximum(np.hypot(*eye_to_eye.T) * EYES_WIDE, np.hypot(*eye_to_mouth.T) * MOUTH_FAR)
    along *= (longest * scale)[:, None]
    return Squares(eyes + eye_to_mouth * BELOW_EYES, along, _quarter(along))


def crop_of_quad(quad: F64, size: int) -> Crop:
    """The quad as the crop that the live path cuts and pastes by: frame pixels to crop pixels.

    quad: (4, 2). A quad made by `Squares`, smoothed or not, is a square; of another one the least-squares affine map is
    taken. Raises InputError where the quad is no area of a pixel or more.
    """
    _check(quad)
    inner = np.array([[0, 0], [0, size], [size, size], [size, 0]], np.float64) - 0.5
    matrix = np.linalg.lstsq(np.column_stack([quad, np.ones(4)]), inner, rcond=None)[0].T
    return Crop(np.ascontiguousarray(matrix), size)


def side_of(quad: F64) -> float:
    """The side of the square in frame pixels."""
    return float(np.hypot(*(quad[3] - quad[0])))


def inverse_coefficients(quad: F64, size: int) -> F64:
    """The homography from frame to crop as eight numbers a..h, float64: with x and y counted from the frame's corner,
    the crop's place, counted from its own, is ((a x + b y + c) / (g x + h y + 1), (d x + e y + f) / (g x + h y + 1)).

    quad: (4, 2). size: side of the crop in pixels. Least squares over the four corners, by its normal equations: for
    a square g and h are zero but for rounding, and so rounded they are the official ones.
    """
    _check(quad)
    target = ((0.0, 0.0), (0.0, float(size)), (float(size), float(size)), (float(size), 0.0))
    return _homography(target, quad + 0.5)


def _homography(target: Sequence[tuple[float, float]], source: F64) -> F64:
    rows: list[list[float]] = []
    for (u, v), (x, y) in zip(target, source.tolist()):
        rows.append([x, y, 1.0, 0.0, 0.0, 0.0, -u * x, -u * y])
        rows.append([0.0, 0.0, 0.0, x, y, 1.0, -v * x, -v * y])
    wide = np.array(rows)
    solved = np.linalg.inv(wide.T @ wide) @ wide.T @ np.array(target).reshape(8)
    return np.asarray(solved, np.float64)


def _quarter(vectors: F64) -> F64:
    """Turned by a quarter, x to y."""
    return np.column_stack([-vectors[:, 1], vectors[:, 0]])


def _check(quad: F64) -> None:
    if quad.shape != (4, 2) or not np.isfinite(quad).all():
        raise InputError(f"alignment: got a quad {quad.shape}, expected (4, 2), finite")
    if not side_of(quad) >= _LEAST_SIDE:
        raise InputError("alignment: the face is smaller than a pixel; use a larger picture")
