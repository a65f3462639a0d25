"""The badge's shapes: how much of each pixel its letters, its rim and its plate cover."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import cv2
import numpy as np

from engine.types import F32

_SHARP: Final = 4  # drawn so many times larger, then averaged down
_LETTER_SHARE: Final = 0.74  # type size of the plate's height
_SIDE_SHARE: Final = 0.38  # free plate beside the text, of its height
_LEAST_ASPECT: Final = 1.5
_WEIGHT: Final = 700
_REFERENCE: Final = 200  # pixels of type by which a text is measured


def aspect(text: str) -> float:
    """Width of the badge with this text over its height."""
    wide = _measured(text, _REFERENCE)[2]
    return max(_LEAST_ASPECT, wide / _REFERENCE * _LETTER_SHARE + 2 * _SIDE_SHARE)


@lru_cache(maxsize=16)
def covers(text: str, wide: int, tall: int) -> tuple[F32, F32, F32]:
    """Letters, rim and plate, float32 (tall, wide) in 0 .. 1; read only."""
    size = (tall * _SHARP, wide * _SHARP)
    unit = float(size[0])
    plate = _rounded(size, 0.0, 0.28 * unit)
    rim = plate - _rounded(size, max(_SHARP, 0.045 * unit), 0.28 * unit)
    return averaged(_letters(text, size), wide, tall), averaged(rim, wide, tall), averaged(plate, wide, tall)


def averaged(large: F32, wide: int, tall: int) -> F32:
    """Brought to fewer pixels."""
    return np.asarray(cv2.resize(large, (wide, tall), interpolation=cv2.INTER_AREA), np.float32)


def _rounded(size: tuple[int, int], inset: float, radius: float) -> F32:
    """A rectangle with round corners, `inset` from the edges: 1 inside, 0 outside."""
    half = np.array([size[1] / 2, size[0] / 2]) - inset
    radius -= inset
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32) + 0.5
    across = np.maximum(np.abs(x - size[1] / 2) - (half[0] - radius), 0.0)
    down = np.maximum(np.abs(y - size[0] / 2) - (half[1] - radius), 0.0)
    inside: F32 = (np.hypot(across, down) <= radius).astype(np.float32)
    return inside


def _letters(text: str, size: tuple[int, int]) -> F32:
    """The text in the middle, 0 .. 1."""
    tall, wide = size
    pixels = max(4, round(_LETTER_SHARE * tall))
    left, top, across, down = _measured(text, pixels)
    at = (round((wide - across) / 2 - left), round((tall - down) / 2 - top))
    ink = np.zeros((tall, wide, 3), np.uint8)
    cv2.putText(ink, text, at, (255, 255, 255), _face(), pixels, _WEIGHT)
    if _is_thin(text):  # scripts of which there is no bold face
        thicker = max(1, round(0.014 * tall))
        ink = np.asarray(cv2.dilate(ink, np.ones((2, 2), np.uint8), iterations=thicker), np.uint8)
    return np.asarray(ink[..., 0], np.float32) / 255.0


def _measured(text: str, pixels: int) -> tuple[int, int, int, int]:
    """What the ink takes in pixels: left and top from the start of its line, width and height."""
    side = pixels * (len(text) + 2)
    ink = np.zeros((3 * pixels, side, 3), np.uint8)
    cv2.putText(ink, text, (pixels, 2 * pixels), (255, 255, 255), _face(), pixels, _WEIGHT)
    x, y, wide, tall = cv2.boundingRect(ink[..., 0])
    return x - pixels, y - 2 * pixels, wide, tall


def _is_thin(text: str) -> bool:
    return any("\u0370" <= letter <= "\u03ff" or letter >= "\u3000" for letter in text)


@lru_cache(maxsize=1)
def _face() -> Any:
    return cv2.FontFace("sans")
