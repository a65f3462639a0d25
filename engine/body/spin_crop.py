"""What SPIN sees of a picture: a square about a body's box, whose longer side is 200 of 224 pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError
from engine.types import F32, U8

SIDE: Final = 224
LONGER: Final = 200
_SMALLEST: Final = 1.0
_LARGEST: Final = 8192


@dataclass(frozen=True, slots=True, eq=False)
class SpinCrop:
    """image: float32 (3, 224, 224), RGB in 0..1, before normalisation; black beyond the picture.

    scale: pixels of the crop per pixel of the picture. corner: int64 (2,), x and y of the crop in the picture resized
    by `scale`, with SIDE pixels of margin before it; `mesh.cameras.from_crop` takes both. centre: int64 (2,).
    """

    image: F32
    scale: float
    corner: NDArray[np.int64]
    centre: NDArray[np.int64]


def spin_crop(rgb: U8, box: tuple[float, float, float, float]) -> SpinCrop:
    """The crop of one body. rgb: uint8 (H, W, 3). box: left, top, right, bottom in pixels.

    Raises InputError for a box that is no body's: under a pixel, not finite, or so small beside the picture that this
    would have to become larger than 8192 pixels.
    """
    left, top, right, bottom = box
    longer = max(right - left, bottom - top)
    if not np.isfinite(box).all() or longer < _SMALLEST or min(right - left, bottom - top) < 0:
        raise InputError(f"body box: got {box}, expected left, top, right, bottom of a body in pixels")
    scale = LONGER / longer
    height, width = (int(side * scale) for side in rgb.shape[:2])
    if not (1 <= width <= _LARGEST and 1 <= height <= _LARGEST):
        raise InputError(
            f"body box: the picture would be resized to {width}x{height}; expected a body that fills more of it"
        )
    resized = cv2.resize(rgb, (width, height))
    # height's factor goes with x, as in the official code; they differ by the rounding to whole pixels alone
    factors = np.array([height / rgb.shape[0], width / rgb.shape[1]])
    middle = np.array([(left + right) / 2, (top + bottom) / 2])
    corner = np.round(middle * factors).astype(np.int64) + SIDE - SIDE // 2
    wide = cv2.copyMakeBorder(resized, SIDE, SIDE, SIDE, SIDE, cv2.BORDER_CONSTANT)
    if not (0 <= corner[0] <= width + SIDE and 0 <= corner[1] <= height + SIDE):
        raise InputError(f"body box: got {box}, expected its middle inside the picture")
    cut = wide[corner[1] : corner[1] + SIDE, corner[0] : corner[0] + SIDE]
    image = np.ascontiguousarray(cut.transpose(2, 0, 1), np.float32) / np.float32(255)
    return SpinCrop(image, scale, corner, np.full(2, SIDE // 2, np.int64))
