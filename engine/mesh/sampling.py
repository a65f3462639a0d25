"""Pictures read at the places of a flow: bilinear, zeros outside, edges of the picture at -1 and 1.

That is torch's grid_sample with its defaults (align_corners=False): x lies in column ((x + 1) W - 1) / 2, so pixel
centres keep half a pixel from the edges.
"""

from __future__ import annotations

import numpy as np
from numba import types

from engine.compiled import compiled_for
from engine.errors import InputError
from engine.types import F32


def sampled(picture: F32, grid: F32, out: F32 | None = None) -> F32:
    """float32 (C, h, w): picture (C, H, W) at the places (x, y) of grid (h, w, 2), y down. out: memory for it.

    A corner outside the picture counts as 0, so what lies half outside is half as strong.
    """
    if picture.ndim != 3 or grid.ndim != 3 or grid.shape[2] != 2:
        raise InputError(
            f"sampling: expected a picture (C, H, W) and a grid (h, w, 2), got {picture.shape} and {grid.shape}"
        )
    shape = (picture.shape[0], *grid.shape[:2])
    if out is None:
        out = np.empty(shape, np.float32)
    elif out.shape != shape or out.dtype != np.float32 or not out.flags.c_contiguous:
        raise InputError(f"memory: expected {shape} float32, C-contiguous, got {out.shape} {out.dtype}")
    _sample(np.ascontiguousarray(picture, np.float32), np.ascontiguousarray(grid, np.float32), out)
    return out


_CUBE = types.Array(types.float32, 3, "C", readonly=True)


@compiled_for(types.void(_CUBE, _CUBE, types.float32[:, :, ::1]))
def _sample(picture: F32, grid: F32, out: F32) -> None:
    channels, height, width = picture.shape
    zero, one, half = np.float32(0.0), np.float32(1.0), np.float32(0.5)
    wide, high = np.float32(width), np.float32(height)
    for row in range(out.shape[1]):
        for column in range(out.shape[2]):
            x = ((grid[row, column, 0] + one) * wide - one) * half
            y = ((grid[row, column, 1] + one) * high - one) * half
            if not (x > -one and x < wide and y > -one and y < high):
                for c in range(channels):
                    out[c, row, column] = zero
                continue
            left, top = int(np.floor(x)), int(np.floor(y))
            right, bottom = left + 1, top + 1
            to_right, down = x - np.float32(left), y - np.float32(top)
            to_left, up = np.float32(right) - x, np.float32(bottom) - y
            has_left, has_right = left >= 0, right < width
            has_top, has_bottom = top >= 0, bottom < height
            nw = to_left * up if has_left and has_top else zero
            ne = to_right * up if has_right and has_top else zero
            sw = to_left * down if has_left and has_bottom else zero
            se = to_right * down if has_right and has_bottom else zero
            left, top = max(left, 0), max(top, 0)
            right, bottom = min(right, width - 1), min(bottom, height - 1)
            for c in range(channels):
                out[c, row, column] = (
                    nw * picture[c, top, left]
                    + ne * picture[c, top, right]
                    + sw * picture[c, bottom, left]
                    + se * picture[c, bottom, right]
                )
