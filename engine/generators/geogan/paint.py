"""From flow, mask and residual to pixels, at the resolution of the face in its frame."""

from __future__ import annotations

import numpy as np

from engine.compiled import compiled
from engine.types import F32, U8

_LEAST = 1.0 / 510.0  # of a mask of 8 bits


@compiled
def lay(maps: F32, weight: F32, donor: U8, first: bool, rgb: U8, mask: U8) -> None:
    """A donor over what is in rgb (P, P, 3) and mask (P, P), 255 = generated; in place of it if `first`.

    maps: (6, S, S), flow x and y (grid units: 2 / (S - 1) a pixel), mask, residual r, g, b in -2..2, bilinear between
    their pixels. weight: (S, S), by which the mask is multiplied. donor: (P, P, 3), its own square.
    """
    size, small = mask.shape[0], maps.shape[1]
    step = small / size
    reach = 0.5 * (small - 1) / step  # pixels of the patch per grid unit
    seen = np.empty(6, np.float32)
    for y in range(size):
        for x in range(size):
            u, v = (x + 0.5) * step - 0.5, (y + 0.5) * step - 0.5
            share = _between(maps[2], u, v) * _between(weight, u, v)
            if share < _LEAST:
                if first:
                    mask[y, x] = 0
                    rgb[y, x, 0] = rgb[y, x, 1] = rgb[y, x, 2] = 0
                continue
            for plane in range(6):
                seen[plane] = _between(maps[plane], u, v)
            old = 0.0 if first else mask[y, x] / 255.0 * (1.0 - share)
            total = share + old
            for c in range(3):
                value = _between(donor[:, :, c], x + reach * seen[0], y + reach * seen[1])
                value = min(255.0, max(0.0, value + 127.5 * seen[3 + c]))
                rgb[y, x, c] = np.uint8((share * value + old * rgb[y, x, c]) / total + 0.5)
            mask[y, x] = np.uint8(255.0 * total + 0.5)


@compiled
def lift(change: F32, weight: F32, face: U8, rgb: U8, mask: U8) -> None:
    """face (P, P, 3) changed by `change` (3, S, S) in -2..2 into rgb, and `weight` (S, S) into mask; bilinear."""
    size, small = mask.shape[0], weight.shape[0]
    step = small / size
    for y in range(size):
        for x in range(size):
            u, v = (x + 0.5) * step - 0.5, (y + 0.5) * step - 0.5
            share = _between(weight, u, v)
            mask[y, x] = np.uint8(255.0 * min(1.0, share) + 0.5)
            for c in range(3):
                value = face[y, x, c] + 127.5 * _between(change[c], u, v) + 0.5
                rgb[y, x, c] = np.uint8(min(255.0, max(0.0, value)))


@compiled
def _between(plane: F32 | U8, x: float, y: float) -> float:
    """A plane at (x, y), bilinear; its border goes on beyond it."""
    height, width = plane.shape
    x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
    left, top = int(x), int(y)
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    a, b = x - left, y - top
    upper = (1.0 - a) * plane[top, left] + a * plane[top, right]
    lower = (1.0 - a) * plane[bottom, left] + a * plane[bottom, right]
    return float((1.0 - b) * upper + b * lower)


def warm_up() -> None:
    """Compile before the first frame."""
    planes, weight = np.ones((6, 2, 2), np.float32), np.ones((2, 2), np.float32)
    picture, mask = np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.uint8)
    for first in (True, False):
        lay(planes, weight, picture, first, picture.copy(), mask)
    lift(planes[:3], weight, picture, picture.copy(), mask)
