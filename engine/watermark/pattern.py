"""The watermark's pattern: a tile of chips, drawn from a key, repeated over the picture.

TILE x TILE chips of +1 or -1; a keyed share of them is known (the pilot, by which the detector finds scale and place
and says whether a mark is there), the others carry the coded bits, five chips each. The chips are limited to a band of
frequencies: low ones are a picture's own, and the highest are what codecs throw away first.

A chip's side is the picture's shorter side / CHIPS_ACROSS, so that every size of a picture carries the same pattern and
a smaller copy of it is nothing new to the detector.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.types import F32, U8
from engine.watermark.payload import CODED

PUBLIC_KEY: Final = b"marotte watermark, public key 1"
"""With this key anybody can read the mark, and anybody can write it: it says what a picture is to those who ask, and
proves nothing against those who lie."""
TILE: Final = 48
CHIPS_ACROSS: Final = 176.0
CHIPS_PER_BIT: Final = 5
PILOTS: Final = TILE * TILE - CODED * CHIPS_PER_BIT
LOW, HIGH = 0.22, 0.5
"""Cycles per chip between which the pattern has its energy."""
_FINE = 16  # samples per chip of the tile from which a picture's pattern is sampled
LEVEL: Final = 32.0
"""The int8 pattern's value of one standard deviation."""


@dataclass(frozen=True, slots=True)
class Key:
    """What follows from a key. signs: float32 (TILE, TILE) of +1 and -1. pilots: flat places of the pilot's chips
    (PILOTS,). carriers: those of each coded bit's chips (CODED, CHIPS_PER_BIT)."""

    signs: F32
    pilots: NDArray[np.int64]
    carriers: NDArray[np.int64]

    def chips(self, coded: U8) -> F32:
        """float32 (TILE, TILE): the tile that carries these coded bits, uint8 (CODED,)."""
        tile = self.signs.reshape(-1).copy()
        tile[self.carriers] *= (2.0 * coded - 1.0).astype(np.float32)[:, None]
        return tile.reshape(TILE, TILE)


@lru_cache(maxsize=16)
def drawn(key: bytes) -> Key:
    """Signs and places, from SHAKE-256 of the key."""
    count = TILE * TILE
    data = hashlib.shake_256(b"marotte watermark 1\0" + key).digest(9 * count)
    signs = (np.frombuffer(data[:count], np.uint8) & 1).astype(np.float32) * 2.0 - 1.0
    order = np.argsort(np.frombuffer(data[count:], "<u8"), kind="stable")
    return Key(signs.reshape(TILE, TILE), order[:PILOTS], order[PILOTS:].reshape(CODED, CHIPS_PER_BIT))


@lru_cache(maxsize=4)
def band(per_chip: int) -> F32:
    """How strong each frequency of a tile with `per_chip` samples per chip is: float32 (n, n // 2 + 1), for rfft2."""
    side = TILE * per_chip
    down = np.fft.fftfreq(side) * per_chip
    across = np.fft.rfftfreq(side) * per_chip
    radius = np.hypot(down[:, None], across[None, :])
    rising = np.clip((radius - LOW / 2) / (LOW / 2), 0.0, 1.0)
    falling = np.clip((HIGH + 0.1 - np.maximum(np.abs(down)[:, None], across[None, :])) / 0.2, 0.0, 1.0)
    return np.asarray(np.sin(rising * np.pi / 2) ** 2 * np.sin(falling * np.pi / 2) ** 2, np.float32)


def pattern(size: tuple[int, int], chips: F32) -> NDArray[np.int8]:
    """int8 (H, W), LEVEL for one standard deviation: the tile repeated over a picture of (width, height)."""
    side = TILE * _FINE
    spread = np.zeros((side, side), np.float32)
    spread[::_FINE, ::_FINE] = chips
    fine = np.fft.irfft2(np.fft.rfft2(spread) * band(_FINE), (side, side)).astype(np.float32)
    width, height = size
    step = CHIPS_ACROSS / min(size)
    rows, columns = (
        np.mod(((np.arange(pixels, dtype=np.float64) + 0.5) * step - 0.5) * _FINE, side)
        for pixels in (height, width)
    )
    wrapped = np.pad(fine, ((0, 2), (0, 2)), mode="wrap")
    grid = np.meshgrid(columns.astype(np.float32), rows.astype(np.float32))
    sampled = np.asarray(cv2.remap(wrapped, grid[0], grid[1], cv2.INTER_LINEAR), np.float32)
    sampled *= np.float32(LEVEL / np.sqrt(np.mean(np.square(sampled))))
    return np.clip(np.rint(sampled), -127, 127).astype(np.int8)
