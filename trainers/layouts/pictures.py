"""Reading the picture files of other people's folders as their trainers read them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError, TooLargeError
from engine.media.header import read_header
from engine.media.limits import Limits
from trainers.errors import PictureError
from trainers.faces import U8, resize_pixels

LIMITS: Final = Limits(smallest_side=1)
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
        path = self.paths[index]
        stored = read_stored(path, _HOW)
        if stored is None:
            raise PictureError(f"{path}: is missing or no picture; get the file again")
        rgb = np.ascontiguousarray(stored[..., ::-1], np.uint8)
        return resize_pixels(central(rgb, self.square, str(path)), self.size)


def read_stored(path: Path, how: int) -> NDArray[Any] | None:
    """What OpenCV makes of a picture file by its flags `how`; None where that is nothing. Raises PictureError for a
    picture that is too large, before a pixel of it is decoded."""
    try:
        with LIMITS.open_file(path) as file:
            data = file.read()
        header = read_header(data)
        LIMITS.check_size(path.name, header.width, header.height)
    except TooLargeError as error:
        raise PictureError(f"{path}: {error}") from error
    except InputError:
        return None
    return cv2.imdecode(np.frombuffer(data, np.uint8), how)


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
