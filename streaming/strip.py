"""The number in a frame's first rows by which a returned picture is matched with the frame it was rendered from.

Its layout stands in docs/live.md; `static/strip.js` is the page's half of it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from engine.types import F64, U8
from engine.worker.interface import NO_MARK

CELLS = 36
NUMBERS = 1 << 24
"""Numbers are 0 .. NUMBERS - 1."""

_NUMBER_BITS, _CHECK_BITS = 24, 8
_GUARDS = np.array([0, 1, CELLS - 2, CELLS - 1])
_WHITE_GUARDS, _BLACK_GUARDS = [0, CELLS - 1], [1, CELLS - 2]
_LEAST_CONTRAST = 64
_WHITE, _BLACK, _GREY = 235, 16, 128  # BT.601, limited range
_LEAST_ROWS, _ROWS_SHARE = 8, 32
_POLYNOMIAL = 0x07
_POWERS = 1 << np.arange(_NUMBER_BITS + _CHECK_BITS - 1, -1, -1, dtype=np.int64)


def rows_of(height: int) -> int:
    """Rows of luma that the strip covers in a picture of this height."""
    return max(_LEAST_ROWS, height // _ROWS_SHARE)


def read(luma: U8) -> int:
    """The number in a frame's luma, uint8 (H, W) with any row stride, or NO_MARK."""
    height, width = luma.shape
    rows = rows_of(height)
    if height < rows or width < 2 * CELLS:
        return NO_MARK
    columns = luma[rows // 4 : rows - rows // 4].mean(axis=0, dtype=np.float64)
    starts, stops = _middles(width)
    sums = np.concatenate(([0.0], np.cumsum(columns)))
    return _decoded((sums[stops] - sums[starts]) / (stops - starts))


def draw(planes: U8, number: int) -> None:
    """Draw `number` into I420 planes, uint8 (H * 3 / 2, W), in place. Raises ValueError for one out of range."""
    if not 0 <= number < NUMBERS:
        raise ValueError(f"strip: got {number}, expected 0 .. {NUMBERS - 1}")
    height, width = planes.shape[0] * 2 // 3, planes.shape[1]
    rows = rows_of(height)
    planes[:rows] = np.where(_bits(number), np.uint8(_WHITE), np.uint8(_BLACK))[_cell_of(width)]
    chroma = planes[height:].reshape(2, height // 2, width // 2)
    chroma[:, : (rows + 1) // 2] = _GREY


def _decoded(cells: F64) -> int:
    middle = cells[_GUARDS].mean()
    if cells[_WHITE_GUARDS].mean() - cells[_BLACK_GUARDS].mean() < _LEAST_CONTRAST:
        return NO_MARK
    bits = cells > middle
    if not bits[_WHITE_GUARDS].all() or bits[_BLACK_GUARDS].any():
        return NO_MARK
    value = int(_POWERS[bits[2:-2]].sum())
    number, check = value >> _CHECK_BITS, value & 0xFF
    return number if check == _crc(number) else NO_MARK


def _bits(number: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    bits = np.zeros(CELLS, np.bool_)
    bits[_WHITE_GUARDS] = True
    bits[2:-2] = (_POWERS & (number << _CHECK_BITS | _crc(number))) != 0
    return bits


def _crc(number: int) -> int:
    crc = 0
    for byte in number.to_bytes(3, "big"):
        crc = _CRC_TABLE[crc ^ byte]
    return crc


def _crc_of_byte(crc: int) -> int:
    for _ in range(8):
        crc = (crc << 1 ^ _POLYNOMIAL if crc & 0x80 else crc << 1) & 0xFF
    return crc


_CRC_TABLE = [_crc_of_byte(byte) for byte in range(256)]


@lru_cache(maxsize=16)
def _middles(width: int) -> tuple[np.ndarray, np.ndarray]:
    """First and last (exclusive) column of each cell's middle half."""
    cells = np.arange(CELLS)
    starts = np.floor((cells + 0.25) * width / CELLS + 0.5).astype(np.intp)
    stops = np.floor((cells + 0.75) * width / CELLS + 0.5).astype(np.intp)
    return starts, np.maximum(stops, starts + 1)


@lru_cache(maxsize=16)
def _cell_of(width: int) -> np.ndarray:
    """The cell that each column stands in."""
    return (2 * np.arange(width) + 1) * CELLS // (2 * width)
