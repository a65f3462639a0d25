"""One face's alignment, frame after frame: the causal square, and its pixels in memory that is kept."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.align.quad import crop_of_quad, squares_of
from engine.align.smoothing import SquareSmoother, SquareSmoothing
from engine.crop import factor_of
from engine.errors import ConfigError
from engine.types import U8, Crop

_MOST_SUPERSAMPLING = 8


class FaceAligner:
    """Follows one face and cuts its square. `reset` when the track changes.

    size: side of the crops. scale: of the FFHQ square, as the bundle was enrolled with. The crops that `follow` gives
    are what `engine.blend.paste` brings the picture back by.
    """

    def __init__(self, size: int, scale: float = 1.0, config: SquareSmoothing | None = None) -> None:
        if size < 1:
            raise ConfigError(f"alignment: a crop of {size} px, expected 1 or more")
        self._size, self._scale = size, scale
        self._smoother = SquareSmoother(config)
        self._out: U8 = np.empty((size, size, 3), np.uint8)
        self._fine: U8 = np.empty((0, 0, 3), np.uint8)

    @property
    def lag_s(self) -> float:
        """Seconds by which the last crop is late."""
        return self._smoother.lag_s

    def reset(self) -> None:
        """Forget the past: the next square passes unchanged."""
        self._smoother.reset()

    def follow(self, landmarks: NDArray[np.generic], time_s: float) -> Crop:
        """The square of this frame. landmarks: (68, 2), frame pixels. time_s: media time.

        Raises InputError as `squares_of` does; the filter is as it was then.
        """
        squares = squares_of(np.asarray(landmarks)[None], self._scale)
        return crop_of_quad(self._smoother.smooth(squares, time_s).quads()[0], self._size)

    def cut(self, picture: U8, crop: Crop) -> U8:
        """The crop's pixels out of uint8 (H, W, 3), black outside of it: (size, size, 3), this object's own memory,
        good until the next call. A crop that shrinks averages over the area of its pixels."""
        times = min(_MOST_SUPERSAMPLING, max(1, math.ceil(1.0 / factor_of(crop) - 1e-6)))
        if times == 1:
            return _warped(picture, crop, self._out)
        if self._fine.shape[0] != times * self._size:
            self._fine = np.empty((times * self._size, times * self._size, 3), np.uint8)
        matrix = crop.matrix * times
        matrix[:, 2] += 0.5 * times - 0.5
        _warped(picture, Crop(matrix, times * self._size), self._fine)
        cv2.resize(self._fine, (self._size, self._size), dst=self._out, interpolation=cv2.INTER_AREA)
        return self._out


def _warped(picture: U8, crop: Crop, out: U8) -> U8:
    cv2.warpAffine(
        picture,
        crop.matrix,
        (crop.size, crop.size),
        dst=out,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
    )
    return out
