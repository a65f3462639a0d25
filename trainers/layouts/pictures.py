"""Reading the picture files of other people's folders as their trainers read them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from trainers.errors import PictureError
from trainers.faces import U8, resize_pixels

_HOW = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION  # they store upright pictures, and ignore EXIF


@dataclass(frozen=True)
class PictureFiles:
    """Index to uint8 (size, size, 3) RGB. square: cut out the central pixels of this side first; 0 expects a square.

    Raises PictureError for a file that is missing, damaged or of another shape.
    """

    paths: tuple[Path, ...]
    size: int
    square: int = 0

    def __call__(self, index: int) -> U8:
        path = str(self.paths[index])
        stored = cv2.imread(path, _HOW)
        if stored is None:
            raise PictureError(f"{path}: is missing or no picture; get the file again")
        rgb = np.ascontiguousarray(stored[..., ::-1], np.uint8)
        return resize_pixels(central(rgb, self.square, path), self.size)


def central(rgb: U8, square: int, name: str) -> U8:
    """The central square of this side, as torchvision's CenterCrop rounds; 0: the picture itself, if square."""
    height, width = rgb.shape[:2]
    if square == 0:
        if height != width:
            raise PictureError(f"{name}: is {width}x{height}, expected a square picture")
        return rgb
    if min(height, width) < square:
        raise PictureError(f"{name}: is {width}x{height}, expected at least {square} a side")
    top, left = round((height - square) / 2), round((width - square) / 2)
    return np.ascontiguousarray(rgb[top : top + square, left : left + square])
