"""Where a crop lies in its frame, pixel by pixel: what generators share that paint at the frame's own resolution."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from engine.compiled import compiled
from engine.geometry import apply_affine, invert_affine
from engine.types import F32, F64, U8, Crop

LEAST = 1.0 / 510.0
"""Of a mask, below which 8 bits say nothing."""


class Box(NamedTuple):
    """An upright square of whole frame pixels: its first column and row, and its side."""

    left: int
    top: int
    side: int

    @property
    def crop(self) -> Crop:
        """The square as a crop, frame pixels to its own: a shift, which paste-back copies and does not resample."""
        return Crop(np.array([[1.0, 0.0, -self.left], [0.0, 1.0, -self.top]]), self.side)


def box_around(crop: Crop, size: tuple[int, int]) -> Box:
    """The box that holds a crop, as far as it lies in a frame of `size` (width, height)."""
    end = crop.size - 0.5
    corners = np.array([[-0.5, -0.5], [end, -0.5], [-0.5, end], [end, end]])
    in_frame = apply_affine(invert_affine(crop.matrix), corners)
    low = np.clip(np.floor(in_frame.min(0)), 0, size).astype(int)
    high = np.clip(np.ceil(in_frame.max(0)) + 1, 0, size).astype(int)
    return Box(int(low[0]), int(low[1]), max(1, int((high - low).max())))


class PatchMemory:
    """Memory for patches of changing sides; it grows when it has to."""

    def __init__(self) -> None:
        self._rgb, self._mask = np.empty(0, np.uint8), np.empty(0, np.uint8)

    def of(self, side: int) -> tuple[U8, U8]:
        """rgb (side, side, 3) and mask (side, side), C-contiguous, whatever they hold."""
        if self._mask.size < side * side:
            self._rgb, self._mask = np.empty(3 * side * side, np.uint8), np.empty(side * side, np.uint8)
        return (
            self._rgb[: 3 * side * side].reshape(side, side, 3),
            self._mask[: side * side].reshape(side, side),
        )


@compiled
def placed(matrix: F64, x: float, y: float) -> tuple[float, float]:
    """(x, y) through a 2x3 matrix."""
    return (
        matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2],
        matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2],
    )


@compiled
def within(u: float, v: float, size: int) -> bool:
    """Whether (u, v) lies in a square of `size` pixels, whose centres are at integers."""
    return -0.5 <= u <= size - 0.5 and -0.5 <= v <= size - 0.5


@compiled
def between(plane: F32 | U8, x: float, y: float) -> float:
    """A plane (H, W) at (x, y), bilinear; its border goes on beyond it."""
    height, width = plane.shape
    x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
    left, top = int(x), int(y)
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    a, b = x - left, y - top
    upper = (1.0 - a) * plane[top, left] + a * plane[top, right]
    lower = (1.0 - a) * plane[bottom, left] + a * plane[bottom, right]
    return float((1.0 - b) * upper + b * lower)


@compiled
def all_between(planes: F32, x: float, y: float, out: F32) -> None:
    """Planes (H, W, N) at (x, y) into out (N,), likewise."""
    height, width, count = planes.shape
    x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
    left, top = int(x), int(y)
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    a, b = np.float32(x - left), np.float32(y - top)
    one = np.float32(1.0)
    wa, wb, wc, wd = (one - a) * (one - b), a * (one - b), (one - a) * b, a * b
    for k in range(count):
        out[k] = (
            wa * planes[top, left, k]
            + wb * planes[top, right, k]
            + wc * planes[bottom, left, k]
            + wd * planes[bottom, right, k]
        )
