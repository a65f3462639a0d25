"""Everything that is measured on one face of one picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from engine.crop import crop_of, cut, factor_of, inside, points_in, resized
from engine.features import action_units, landmarks68
from engine.features.shape import check_face, fit_shape
from engine.features.still import still_neutral
from engine.geometry import head_pose
from engine.parsing.draw import draw_parsing
from engine.types import F32, U8, Crop, Face, HeadPose, Neutral

EXTRACTOR, EXTRACTOR_VERSION = "marotte-geometry", 1
"""What measures the AUs, and when its numbers last changed."""

STATIC, DYNAMIC = "static", "dynamic"
MODES = (STATIC, DYNAMIC)
"""What AUs are relative to: static, the resting face guessed from the picture itself; dynamic, the person's resting
face: of a synthesised picture the one guessed from its base, in a clip the one that calibration finds."""


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """rgb: uint8 (S, S, 3), the crop. landmarks: float32 (68, 2) and points: float32 (478, 3), in its pixels. aus:
    float32 (17,), 0..1. scale: pixels of the picture per pixel of the crop. inside: share of the crop that the picture
    covers. sharpness: see `sharpness`."""

    rgb: U8
    crop: Crop
    points: F32
    landmarks: F32
    aus: F32
    pose: HeadPose
    scale: float
    inside: float
    sharpness: float


def label(
    rgb: U8, face: Face, rule: str, size: int, *, neutral: Neutral | None = None, crop: Crop | None = None
) -> Labels:
    """Measure one face. neutral: what AUs are relative to; without one, the picture's own guess. crop: to be cut by in
    place of the rule's. Raises InputError when the points are no face."""
    height, width = rgb.shape[:2]
    shape = fit_shape(face.points)
    check_face(shape, (width, height))
    crop = crop_of(rule, face.points, size) if crop is None else crop
    picture, points = cut(rgb, crop), points_in(crop, face.points)
    landmarks = landmarks68.from_points(points)
    return Labels(
        picture,
        crop,
        points,
        landmarks,
        action_units.measure(shape, neutral or still_neutral(face)),
        head_pose(shape.rotation),
        1.0 / factor_of(crop),
        inside(crop, (width, height)),
        sharpness(rgb, crop, landmarks),
    )


def parsing_of(labels: Labels, person: U8 | None) -> U8:
    """The 19 classes in the crop, uint8 (S, S). person: uint8 mask of the whole picture."""
    size = labels.crop.size
    return draw_parsing(labels.points, (size, size), None if person is None else cut(person, labels.crop))


def sharpness(rgb: U8, crop: Crop, landmarks: F32) -> float:
    """How sharp a face is: the spread of the Laplacian over the spread of the brightness, inside the landmarks' hull,
    at 64 pixels a side, so that neither contrast nor the size of the crop matters.

    rgb: the whole picture. landmarks: (68, 2) in pixels of the crop. About .2 for a blurred face, .5 to 1.3 for a sharp
    one.
    """
    side = 64
    small = cv2.cvtColor(cut(rgb, resized(crop, side)), cv2.COLOR_RGB2GRAY).astype(np.float32)
    mask = np.zeros((side, side), np.uint8)
    hull = cv2.convexHull(((landmarks + 0.5) * (side / crop.size) - 0.5).astype(np.float32))
    cv2.fillConvexPoly(mask, np.rint(hull).astype(np.int32), 1)
    inner = mask.astype(bool)
    if inner.sum() < side:
        return 0.0
    edges = cv2.Laplacian(small, cv2.CV_32F, ksize=1)
    return float(edges[inner].std() / max(1.0, float(small[inner].std())))
