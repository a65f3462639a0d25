"""What may look odd when a face is given another expression: said beforehand, in sentences for the user."""

from __future__ import annotations

import cv2
import numpy as np

from engine import canonical
from engine.crop import crop_of, cut, points_in
from engine.features import openness
from engine.features.shape import fit_shape
from engine.geometry import head_pose
from engine.types import F32, U8, Face, FaceShape

MOST_YAW = 30.0
"""Degrees of yaw beyond which half of the face is hardly seen."""

_SIDE = 192  # pixels of the crop that is looked at
_OPEN = 0.1  # openness from which on an eye shows iris and white
_ONE_EYE = 0.35  # share of the other eye's contrast; glare on glasses leaves .43
_BOTH_EYES = 0.8  # share of the face's own contrast; half-hidden eyes keep 1.5


def doubts(rgb: U8, face: Face, name: str) -> tuple[str, ...]:
    """Sentences about the face of one picture (H, W, 3), empty where nothing is in doubt: a head turned far aside, an
    eye that something covers (a patch, hair), two that something does (dark glasses)."""
    shape = fit_shape(face.points)
    yaw, covered = head_pose(shape.rotation).yaw, covered_eyes(rgb, face.points, shape)
    found = [turned_aside(yaw)] if abs(yaw) > MOST_YAW else []
    return tuple(f"{name}: {sentence}" for sentence in (*found, *([eye_covered(covered)] if covered else ())))


def turned_aside(yaw: float) -> str:
    """What is said of such a head."""
    return f"the head is turned {abs(yaw):.0f} degrees aside; within {MOST_YAW:.0f} it looks better"


def eye_covered(which: str) -> str:
    """What is said of such eyes. which: as covered_eyes says it."""
    if which == "both":
        return "both eyes seem to be covered; around them an expression may look odd"
    return f"the {which} eye seems to be covered; around it an expression may look odd"


def covered_eyes(rgb: U8, points: F32, shape: FaceShape) -> str:
    """Which of a face's eyes something covers: "", "right", "left" or "both". Closed ones are not told from covered
    ones, and count as neither."""
    opened = openness.measure(shape)
    if min(opened.right_eye, opened.left_eye) < _OPEN:
        return ""
    right, left, skin = _contrasts(rgb, points)
    if max(right, left) < _BOTH_EYES * skin:
        return "both"
    if min(right, left) < _ONE_EYE * max(right, left):
        return "right" if right < left else "left"
    return ""


def _contrasts(rgb: U8, points: F32) -> tuple[float, float, float]:
    """Levels between dark and light in the right and the left eye, and the spread over the face."""
    crop = crop_of("face", points, _SIDE)
    luma = cv2.cvtColor(cut(rgb, crop), cv2.COLOR_RGB2GRAY)
    seen = points_in(crop, points[:, :2])
    eyes = [
        np.subtract(*np.percentile(luma[_hull(seen[list(ring)], widened=3)], (95, 5)))
        for ring in (canonical.RIGHT_EYE, canonical.LEFT_EYE)
    ]
    face = luma[_hull(seen[list(canonical.FACE_OVAL)], widened=0)]
    return float(eyes[0]), float(eyes[1]), float(face.std())


def _hull(points: F32, widened: int) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    mask = np.zeros((_SIDE, _SIDE), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(points).astype(np.int32)), 255)
    if widened:
        mask = np.asarray(cv2.dilate(mask, np.ones((widened, widened), np.uint8)), np.uint8)
    return mask > 0
