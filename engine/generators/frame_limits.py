"""How large a frame and how small its square may be for a frame graph; what lies beyond runs without one."""

from __future__ import annotations

import math
from typing import Final

from engine.crop import factor_of
from engine.types import Crop

MOST_SIDE: Final = 1920
"""Longest side of a frame, in pixels."""
MOST_PIXELS: Final = 1920 * 1088
"""Most pixels of one: 1080p, lying or standing."""
DONOR_SIDE: Final = 1152
"""Side of the memory for a donor's square, in pixels."""
ANEW: Final = 1e6
"""Seconds since the frame before, where nothing of it may count."""
_MOST_SHRINK: Final = 16  # of engine.crop.cut
_USUAL_SIDE: Final = 1088


def most_shrink(size: int) -> int:
    """Frame pixels per pixel of a square of `size`, at most: as many as fill the height of a 1080p frame."""
    return min(_MOST_SHRINK, math.ceil(_USUAL_SIDE / size))


def fits(width: int, height: int, crop: Crop, shrink: float) -> bool:
    """Whether a frame and its crop lie within what a frame graph computes as `cut` does. shrink: frame pixels per pixel
    of the square, at most, that the graph was written for."""
    small = max(width, height) <= MOST_SIDE and width * height <= MOST_PIXELS
    return small and factor_of(crop) * shrink >= 1.0
