"""Landmarks in pixels to landmarks in the network's grid, -1..1 over pixel centres of the crop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class Normalisation:
    """(x - centre x) / scale, (y - centre y) / scale, in pixels of the stored picture."""

    centre: tuple[float, float]
    scale: float

    def normalised(self, points: NDArray[np.floating]) -> F32:
        """(..., 2) in pixels to (..., 2) in -1..1, computed in float64."""
        return ((np.asarray(points, np.float64) - self.centre) / self.scale).astype(np.float32)


CELEBA_LANDMARKS = Normalisation((88.0, 108.0), 88.0)
"""The official constants for the central 178 x 178 of a 178 x 218 picture: half a pixel off, since the centres of its
border pixels are 88.5 from its middle, at (88.5, 108.5)."""

CELEBA_CENTRED = Normalisation((88.5, 108.5), 88.5)
"""The same without the half pixel."""


def of_stored(points: NDArray[np.floating], stored: int, size: int) -> F32:
    """Pixels of a square picture of side `stored` to -1..1 over the pixel centres of its resized copy of side `size`.

    Resizing keeps the borders of the pixels, not their centres: x becomes (x + 0.5) * size / stored - 0.5.
    """
    placed = (np.asarray(points, np.float64) + 0.5) * (size / stored) - 0.5
    return (2.0 * placed / (size - 1) - 1.0).astype(np.float32)
