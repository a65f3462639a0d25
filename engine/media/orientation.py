"""Upright pixels from stored pixels: the eight ways in which a picture may lie.

The codes are those of the EXIF tag 0x0112; 1 is upright.
"""

from __future__ import annotations

import struct

import numpy as np

from engine.types import U8

_FROM_MATRIX = {
    (1, 0, 0, 1): 1,
    (-1, 0, 0, 1): 2,
    (-1, 0, 0, -1): 3,
    (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5,
    (0, 1, -1, 0): 6,
    (0, -1, -1, 0): 7,
    (0, -1, 1, 0): 8,
}


def upright(rgb: U8, code: int) -> U8:
    """Turn and mirror (H, W, C) so that it stands as EXIF `code` 1..8 asks; 5..8 swap H and W."""
    if code in (5, 6, 7, 8):
        rgb = rgb.swapaxes(0, 1)
    if code in (2, 3, 6, 7):
        rgb = rgb[:, ::-1]
    if code in (3, 4, 7, 8):
        rgb = rgb[::-1]
    return np.ascontiguousarray(rgb)


def upright_size(width: int, height: int, code: int) -> tuple[int, int]:
    """(width, height) after `upright`."""
    return (height, width) if code >= 5 else (width, height)


def code_of_matrix(matrix: bytes) -> int:
    """EXIF code of a video's display matrix (nine native int32); 1 when its angle is no multiple of 90."""
    a, b, _, c, d = struct.unpack_from("=5i", matrix)
    signs = tuple((value > 0) - (value < 0) for value in (a, b, c, d))
    return _FROM_MATRIX.get(signs, 1)
