"""A perceptual hash of a picture: 256 bits that stay nearly the same when it is scaled, coded anew, cut a little, or
mirrored.

It follows the public description of PDQ (Facebook, 2019, "The TMK+PDQF video-hashing algorithm and the PDQ
image-hashing algorithm"): luma, 64 x 64, the 16 x 16 lowest frequencies of the cosine transform without the constant
ones, each bit whether its coefficient lies above their median. It is not PDQ bit by bit: the picture is reduced by
areas and not by a tent filter run twice, so these hashes are not to be exchanged with other programs.

Two pictures that have nothing to do with each other differ in about 128 bits. What was cut off moves everything that is
left, so a picture is known by the hashes of what such cuts would leave of it, too.
"""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from engine.types import F32, F64, U8

BYTES: Final = 32
BITS: Final = 8 * BYTES
MOST_APART: Final = 38
"""Bits in which two pictures may differ and be one."""
CUTS: Final = (0.0, 0.04, 0.08, 0.12)
"""Shares of a side that may have been cut off, for each of the four edges by itself."""
MOST_HASHES: Final = len(CUTS) ** 4

_SIDE: Final = 64
_LARGE: Final = 4 * _SIDE
_FREQUENCIES: Final = 16
_LEAST_SPREAD: Final = 2.0  # of 256 grey levels
_LEAST_SIDE: Final = 16


def hashes_of(rgb: U8) -> U8:
    """Of a picture, uint8 (H, W, 3), and of what cuts would leave of it: uint8 (N, 32), the whole picture's first; none
    of what is all but one colour, which is like every other such picture."""
    luma = _once_reduced(np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8))
    whole = _hash(luma)
    if whole is None:
        return np.zeros((0, BYTES), np.uint8)
    cut = (_hash(_cut(luma, edges)) for edges in itertools.islice(itertools.product(CUTS, repeat=4), 1, None))
    return np.stack([whole, *(one for one in cut if one is not None)])


def mirrored(hashes: U8) -> U8:
    """The hashes of the same pictures with left and right exchanged, (N, 32)."""
    bits = np.unpackbits(hashes, axis=1).reshape(-1, _FREQUENCIES, _FREQUENCIES)
    # Mirroring turns the sign of every odd frequency in x, the first one being odd; and the coefficients' median is so
    # near 0 that a sign is a bit.
    bits[:, :, 0::2] ^= 1
    return np.packbits(bits.reshape(len(hashes), BITS), axis=1)


def distance(one: U8, other: U8) -> int:
    """Bits in which two pictures differ, (N, 32) and (M, 32) as `hashes_of` gives them: the least of either one whole
    against the other one cut, mirrored or not; BITS where one has none."""
    if not len(one) or not len(other):
        return BITS
    ways = (one[:1], other), (other[:1], one)
    return min(
        int(_ONES[np.concatenate((whole, mirrored(whole)))[:, None] ^ cut].sum(2).min())
        for whole, cut in ways
    )


_ONES: Final = np.array([byte.bit_count() for byte in range(256)], np.uint16)


def _cut(luma: F32, edges: tuple[float, ...]) -> F32:
    height, width = luma.shape
    left, top, right, bottom = edges
    return luma[
        round(top * height) : height - round(bottom * height),
        round(left * width) : width - round(right * width),
    ]


def _hash(luma: F32) -> U8 | None:
    if min(luma.shape) < _LEAST_SIDE:
        return None
    small = np.asarray(cv2.resize(luma, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.float64)
    if small.std() < _LEAST_SPREAD:
        return None
    basis = _basis()
    found = basis @ small @ basis.T
    return np.packbits((found > np.median(found)).ravel())


def _once_reduced(luma: U8) -> F32:
    """To a size whose cuts cost little."""
    height, width = luma.shape
    share = _LARGE / min(height, width)
    if share < 1.0:
        size = (max(1, round(width * share)), max(1, round(height * share)))
        luma = np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.uint8)
    return luma.astype(np.float32)


@lru_cache(maxsize=1)
def _basis() -> F64:
    """Rows 1 to 16 of the cosine transform (DCT-II) of 64 values."""
    k, x = np.arange(1, _FREQUENCIES + 1)[:, None], np.arange(_SIDE)[None]
    return np.asarray(np.sqrt(2 / _SIDE) * np.cos(np.pi * k * (2 * x + 1) / (2 * _SIDE)))
