"""The weak perspective camera that a body is seen by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.types import F32, F64


@dataclass(frozen=True, slots=True)
class Camera:
    """pixel = scale * (X, Y) + (x, y), of a body in metres with y down. scale: pixels a metre. Pixel centres are
    integers."""

    scale: float
    x: float
    y: float

    def seen(self, points: NDArray[np.floating]) -> F64:
        """Points (N, 3) as pixels (N, 2)."""
        return np.asarray(self.scale * points[:, :2] + np.array([self.x, self.y]), np.float64)

    def in_square(self, left: float, top: float, side: float) -> F32:
        """(s, tx, ty) of the papers: s * (X + tx), s * (Y + ty) in -1..1 across a square of the picture.

        left, top: the square's edges in pixels, where the first pixel's own are at -0.5.
        """
        factor = 2.0 / side
        s = self.scale * factor
        shift = factor * (np.array([self.x - left, self.y - top])) - 1.0
        return np.array([s, *(shift / s)], np.float32)
