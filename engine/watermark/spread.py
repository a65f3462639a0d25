"""The embedder that is always there: a spread-spectrum pattern added to luma, as strong as each place hides it."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import types
from numpy.typing import NDArray

from engine.compiled import compiled_for
from engine.errors import ConfigError
from engine.types import F32, U8
from engine.watermark.pattern import LEVEL, drawn, pattern
from engine.watermark.payload import Payload, encode

I8 = NDArray[np.int8]
CELL: Final = 8
LEAST, MOST, SLOPE = 1.0, 4.0, 0.35
"""Levels of luma, and how many of them one level of gradient allows."""
DARK, BRIGHTER = 0.4, 0.005
"""The part of that which black takes, and how much more each level of luma does: in the dark less is seen sooner."""
RMS: Final = 1.85
"""At most so many levels over a whole picture: 42.7 dB with the rounding."""
HALVINGS: Final = 12
"""Of the range in which the cap is looked for that keeps to that."""


class SpreadEmbedder:
    """Adds `strength` * gain * pattern to the Y plane. size: (width, height), even. Gains are of cells of 8 x 8 pixels:
    LEAST + SLOPE * the least mean gradient in the 3 x 3 cells about it, so that what stands beside an edge is not
    taken for texture; at most MOST; times DARK + BRIGHTER * the cell's mean, at most 1. Where their root mean square
    is more than RMS, the largest ones are cut to one cap: a busy cloth takes nothing from the face beside it.

    Raises ConfigError for a size or strength that cannot be. One thread at a time.
    """

    def __init__(self, size: tuple[int, int], payload: Payload, strength: float, key: bytes) -> None:
        width, height = size
        if width < CELL or height < CELL or width % 2 or height % 2:
            raise ConfigError(f"watermark: size {width}x{height}, expected even sides from {CELL} on")
        if not 0.0 < strength <= 2.0:
            raise ConfigError(f"watermark: strength {strength}, expected more than 0, at most 2")
        self._shape = (height * 3 // 2, width)
        self._height = height
        self._strength = strength
        self.pattern = pattern(size, drawn(key).chips(encode(payload.bits())))
        """int8 (H, W), 32 for one standard deviation."""
        cells = (-(-height // CELL), -(-width // CELL))
        self._gradients, self._means = np.zeros(cells, np.float32), np.zeros(cells, np.float32)
        self._gains = np.zeros(cells, np.float32)
        self._row = np.zeros(cells[1] * CELL, np.float32)
        self._sums = np.zeros((2, cells[1] * CELL), np.int32)

    def embed(self, planes: U8) -> None:
        """Mark I420 planes in place: uint8 (H * 3 / 2, W), C-contiguous. Raises ValueError for another size."""
        if planes.shape != self._shape or planes.dtype != np.uint8 or not planes.flags.c_contiguous:
            raise ValueError(f"watermark: got planes {planes.dtype} {planes.shape}, expected {self._shape}")
        luma = planes[: self._height]
        measure(luma, self._gradients, self._means, self._sums)
        allow(self._gradients, self._means, self._gains, np.float32(self._strength))
        _add(luma, self.pattern, self._gains, self._row)


_LUMA = types.uint8[:, ::1]
_CELLS = types.float32[:, ::1]


@compiled_for(types.void(_LUMA, _CELLS, _CELLS, types.int32[:, ::1]))
def measure(luma: U8, gradients: F32, means: F32, sums: NDArray[np.int32]) -> None:
    """Each cell's mean of |next to the right - pixel| + |next below - pixel|, 0 beyond the edges, and its mean. A cell
    that the edges cut counts as whole, and black beyond them."""
    height, width = luma.shape
    for row in range(gradients.shape[0]):
        sums[:] = 0
        for y in range(row * 8, min(row * 8 + 8, height)):
            below = min(y + 1, height - 1)
            for x in range(width - 1):
                here = np.int32(luma[y, x])
                sums[0, x] += abs(np.int32(luma[y, x + 1]) - here) + abs(np.int32(luma[below, x]) - here)
                sums[1, x] += here
            last = np.int32(luma[y, width - 1])
            sums[0, width - 1] += abs(np.int32(luma[below, width - 1]) - last)
            sums[1, width - 1] += last
        for column in range(gradients.shape[1]):
            change, level = np.int32(0), np.int32(0)
            for x in range(column * 8, column * 8 + 8):
                change += sums[0, x]
                level += sums[1, x]
            gradients[row, column] = np.float32(change) * np.float32(1 / 64)
            means[row, column] = np.float32(level) * np.float32(1 / 64)


@compiled_for(types.void(_CELLS, _CELLS, _CELLS, types.float32))
def allow(gradients: F32, means: F32, gains: F32, strength: np.float32) -> None:
    """Levels of luma per standard deviation of the pattern, for each cell."""
    rows, columns = gradients.shape
    for row in range(rows):
        for column in range(columns):
            least = gradients[row, column]
            for y in range(max(row - 1, 0), min(row + 2, rows)):
                for x in range(max(column - 1, 0), min(column + 2, columns)):
                    least = min(least, gradients[y, x])
            light = min(np.float32(DARK) + np.float32(BRIGHTER) * means[row, column], np.float32(1.0))
            gain = min(np.float32(LEAST) + np.float32(SLOPE) * least, np.float32(MOST))
            gains[row, column] = gain * light * strength
    low, high = np.float32(0.0), np.float32(MOST) * strength
    for _ in range(HALVINGS):
        middle = (low + high) * np.float32(0.5)
        energy = np.float64(0.0)
        for row in range(rows):
            for column in range(columns):
                gain = min(gains[row, column], middle)
                energy += gain * gain
        if energy > RMS * RMS * rows * columns:
            high = middle
        else:
            low = middle
    for row in range(rows):
        for column in range(columns):
            gains[row, column] = min(gains[row, column], low)


@compiled_for(types.void(_LUMA, types.Array(types.int8, 2, "C", readonly=True), _CELLS, types.float32[::1]))
def _add(luma: U8, chips: I8, gains: F32, wide: F32) -> None:
    height, width = luma.shape
    for row in range(gains.shape[0]):
        for column in range(gains.shape[1]):
            gain = gains[row, column] * np.float32(1 / LEVEL)
            for x in range(column * 8, column * 8 + 8):
                wide[x] = gain
        for y in range(row * 8, min(row * 8 + 8, height)):
            for x in range(width):
                value = np.float32(luma[y, x]) + wide[x] * np.float32(chips[y, x]) + np.float32(0.5)
                luma[y, x] = np.uint8(np.int32(min(max(value, np.float32(0.0)), np.float32(255.0))))
