"""Masks grown and shrunk by a box, as the flows' official code does it.

Masks are (..., H, W), 1 = inside; results are float32 0 or 1. A box of k x k pixels, k odd, is counted about every
pixel: a shrunken mask keeps what is full, with the outside of the picture counted as full; a grown one what sums to
one, a softly grown one what sums to half the box, with the outside counted as empty.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.errors import ConfigError
from engine.types import F32, F64


def eroded(mask: NDArray[np.floating], box: int) -> F32:
    """What stays where every pixel of the box is 1."""
    return np.asarray(_sums(mask, box, 1.0) == box * box, np.float32)


def dilated(mask: NDArray[np.floating], box: int) -> F32:
    """What has at least one in its box, parts of a soft mask added up."""
    return np.asarray(_sums(mask, box, 0.0) >= 1, np.float32)


def soft_dilated(mask: NDArray[np.floating], box: int) -> F32:
    """What has at least half its box."""
    return np.asarray(_sums(mask, box, 0.0) >= 0.5 * box * box, np.float32)


def _sums(mask: NDArray[np.floating], box: int, outside: float) -> F64:
    """Without a running sum: what has left the box leaves no rounding behind that would decide a comparison."""
    if box < 1 or box % 2 == 0:
        raise ConfigError(f"box of a mask: expected an odd number of pixels, got {box}")
    ones, half = np.ones(box), box // 2
    planes = np.asarray(mask, np.float64).reshape(-1, *mask.shape[-2:])
    sums = np.empty_like(planes)
    for plane, found in zip(planes, sums):
        wide = cv2.copyMakeBorder(plane, half, half, half, half, cv2.BORDER_CONSTANT, value=outside)
        added = cv2.sepFilter2D(wide, cv2.CV_64F, ones, ones, borderType=cv2.BORDER_CONSTANT)
        found[...] = added[half : half + plane.shape[0], half : half + plane.shape[1]]
    return sums.reshape(mask.shape)
