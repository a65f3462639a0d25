"""From the network's colour and attention to a patch."""

from __future__ import annotations

import numpy as np

from engine.compiled import compiled
from engine.types import F32, U8


@compiled
def paint(colour: F32, attention: F32, edge: F32, hidden: U8, covered: bool, rgb: U8, mask: U8) -> None:
    """Colour (3, S, S) in -1..1 into rgb (S, S, 3), and 1 - attention (S, S) into mask (S, S), 255 = painted.

    edge: weights (S, S) of the mask. hidden: uint8 (S, S), 255 where something stands in front of the face; it is read
    only if `covered`.
    """
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            for c in range(3):
                value = 127.5 * colour[c, y, x] + 128.0
                rgb[y, x, c] = np.uint8(min(255.0, max(0.0, value)))
            weight = (1.0 - attention[y, x]) * edge[y, x]
            if covered:
                weight *= 1.0 - hidden[y, x] / 255.0
            mask[y, x] = np.uint8(min(255.0, max(0.0, 255.0 * weight + 0.5)))


def warm_up() -> None:
    """Compile before the first frame."""
    plane = np.zeros((2, 2), np.float32)
    rgb, mask = np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.uint8)
    for covered in (False, True):
        paint(np.zeros((3, 2, 2), np.float32), plane, plane, mask, covered, rgb, mask)
