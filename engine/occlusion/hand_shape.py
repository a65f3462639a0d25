"""The silhouette of a hand from its 21 points: fingers as capsules, the palm as a widened polygon."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.types import F32, U8

_FINGERS = ((1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16), (17, 18, 19, 20))
_PALM = (0, 1, 2, 5, 9, 13, 17)
_FINGER, _THUMB = 0.11, 0.12
"""Radius of a finger over the length of the palm, with a little more than its skin: a rim of finger left in the mask's
gap would be painted over."""
_WRIST, _FOREARM = 0.26, 0.8
_FRACTION = 3  # bits of a pixel


def palm_length(points: F32) -> float:
    """Pixels from the wrist to the knuckles, also of a hand that points at the camera: its width tells then."""
    long = float(np.linalg.norm(points[9] - points[0]))
    wide = float(np.linalg.norm(points[17] - points[5]))
    return max(long, 1.15 * wide, 1.0)


def draw_hand(mask: U8, points: F32) -> None:
    """Draw a hand as 255 into the mask, uint8 (H, W). points: float32 (21, 2) in pixels."""
    palm = palm_length(points)
    for number, finger in enumerate(_FINGERS):
        radius = palm * (_FINGER if number else _THUMB)
        _capsules(mask, points[list(finger)], radius)
    ring = np.asarray(cv2.convexHull(points[list(_PALM)])[:, 0], np.float32)
    cv2.fillConvexPoly(mask, _fixed(ring), 255, shift=_FRACTION)
    _capsules(mask, np.concatenate([ring, ring[:1]]), palm * _FINGER)
    back = points[0] - points[[5, 9, 13, 17]].mean(0)
    reach = back / max(float(np.linalg.norm(back)), 1e-6) * palm
    _capsules(mask, np.stack([points[0], points[0] + _FOREARM * reach]), palm * _WRIST)


def _capsules(mask: U8, line: F32, radius: float) -> None:
    cv2.polylines(mask, [_fixed(line)], False, 255, max(1, round(2.0 * radius)), shift=_FRACTION)


def _fixed(points: F32) -> NDArray[np.int32]:
    return np.asarray(np.rint(np.clip(points, -1e5, 1e5) * 2**_FRACTION), np.int32)
