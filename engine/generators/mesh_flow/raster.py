"""Person over background."""

from __future__ import annotations

import numpy as np

from engine.compiled import compiled
from engine.types import U8


@compiled
def composite(foreground: U8, background: U8, out: U8) -> None:
    """Lay `foreground` (S, S, 4), straight alpha, over `background` (S, S, 3) into `out` (S, S, 3)."""
    height, width = out.shape[0], out.shape[1]
    for y in range(height):
        for x in range(width):
            alpha = np.int32(foreground[y, x, 3])
            if alpha == 255:
                for k in range(3):
                    out[y, x, k] = foreground[y, x, k]
            elif alpha == 0:
                for k in range(3):
                    out[y, x, k] = background[y, x, k]
            else:
                for k in range(3):
                    over, under = np.int32(foreground[y, x, k]), np.int32(background[y, x, k])
                    out[y, x, k] = np.uint8((over * alpha + under * (255 - alpha) + 127) // 255)
