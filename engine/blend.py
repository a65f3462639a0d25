"""Paste-back: a generated patch into its canvas."""

from __future__ import annotations

import cv2
import numpy as np

from engine.compiled import compiled
from engine.errors import PortError
from engine.geometry import apply_affine, invert_affine
from engine.types import F64, U8, Patch

_INTEGRAL = 1e-6


def paste(patch: Patch, out: U8 | None = None) -> U8:
    """A new picture: the patch's canvas with the patch in its place, uint8 (H, W, 3). out: C-contiguous memory for it,
    of the canvas's shape; it may be the canvas itself.

    A whole one is the picture itself. A patch whose crop is a shift by whole pixels is copied; any other is resampled
    bilinearly. Raises PortError when the patch's arrays do not fit each other: the kernels below trust them.
    """
    _check(patch)
    if patch.whole:
        if out is None:
            return patch.rgb.copy()
        np.copyto(out, patch.rgb)
        return out
    if out is None:
        out = patch.canvas.copy()
    elif out is not patch.canvas:
        np.copyto(out, patch.canvas)
    if not _paste_shifted(out, patch):
        _paste_warped(out, patch)
    return out


def _check(patch: Patch) -> None:
    size = patch.crop.size
    _check_array("rgb", patch.rgb, patch.canvas.shape if patch.whole else (size, size, 3))
    if patch.mask is not None:
        _check_array("mask", patch.mask, (size, size))
    _check_array("canvas", patch.canvas, (*patch.canvas.shape[:2], 3))
    if patch.crop.matrix.shape != (2, 3) or not np.isfinite(patch.crop.matrix).all():
        raise PortError(f"patch: expected a finite 2x3 crop matrix, got {patch.crop.matrix.tolist()}")


def _check_array(name: str, array: U8, shape: tuple[int, ...]) -> None:
    if array.shape != shape or array.dtype != np.uint8:
        raise PortError(f"patch {name}: expected {shape} uint8, got {array.shape} {array.dtype}")


def _paste_shifted(out: U8, patch: Patch) -> bool:
    matrix, size = patch.crop.matrix, patch.crop.size
    left, top = -matrix[0, 2], -matrix[1, 2]
    whole = abs(left - round(left)) < _INTEGRAL and abs(top - round(top)) < _INTEGRAL
    if not (whole and np.abs(matrix[:, :2] - np.eye(2)).max() < _INTEGRAL):
        return False
    x, y = round(left), round(top)
    x0, y0, x1, y1 = _clipped(out, x, y, x + size, y + size)
    if x0 < x1 and y0 < y1:
        inside = np.s_[y0 - y : y1 - y, x0 - x : x1 - x]
        _mix(out[y0:y1, x0:x1], patch.rgb[inside], None if patch.mask is None else patch.mask[inside])
    return True


def _paste_warped(out: U8, patch: Patch) -> None:
    size = patch.crop.size
    to_canvas = invert_affine(patch.crop.matrix)
    corners = np.array([[-0.5, -0.5], [size - 0.5, -0.5], [-0.5, size - 0.5], [size - 0.5, size - 0.5]])
    placed = apply_affine(to_canvas, corners)
    low, high = np.floor(placed.min(0)).astype(int), np.ceil(placed.max(0)).astype(int) + 1
    x0, y0, x1, y1 = _clipped(out, low[0], low[1], high[0], high[1])
    if x0 >= x1 or y0 >= y1:
        return
    to_patch = patch.crop.matrix.copy()
    to_patch[:, 2] += to_patch[:, :2] @ np.array([x0, y0], np.float64)
    mask = np.full((size, size), 255, np.uint8) if patch.mask is None else patch.mask
    box = (x1 - x0, y1 - y0)
    _mix(
        out[y0:y1, x0:x1],
        _warp(patch.rgb, to_patch, box, cv2.BORDER_REPLICATE),
        _warp(mask, to_patch, box, cv2.BORDER_CONSTANT),
    )


def _warp(picture: U8, to_patch: F64, box: tuple[int, int], border: int) -> U8:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(picture, to_patch, box, flags=flags, borderMode=border), np.uint8)


def _mix(ground: U8, top: U8, mask: U8 | None) -> None:
    """Write `top` over `ground` in place where `mask` says so."""
    if mask is None:
        ground[...] = top
    else:
        _mix_masked(ground, top, mask)


@compiled
def _mix_masked(ground: U8, top: U8, mask: U8) -> None:
    for y in range(ground.shape[0]):
        for x in range(ground.shape[1]):
            weight = np.int32(mask[y, x])
            if weight == 255:
                for c in range(3):
                    ground[y, x, c] = top[y, x, c]
            elif weight > 0:
                for c in range(3):
                    mixed = weight * np.int32(top[y, x, c]) + (255 - weight) * np.int32(ground[y, x, c])
                    ground[y, x, c] = (mixed + 127) // 255


def warm_up() -> None:
    """Compile before the first frame."""
    picture, mask = np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.uint8)
    for ground in (picture, np.zeros((2, 4, 3), np.uint8)[:, :2]):
        for top in (picture, np.zeros((2, 4, 3), np.uint8)[:, :2]):
            for weight in (mask, np.zeros((2, 4), np.uint8)[:, :2]):
                _mix_masked(ground, top, weight)


def _clipped(out: U8, x0: int, y0: int, x1: int, y1: int) -> tuple[int, int, int, int]:
    height, width = out.shape[:2]
    return max(0, int(x0)), max(0, int(y0)), min(width, int(x1)), min(height, int(y1))
