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
CUTS: Final = (0.0, 0.03, 0.06, 0.09, 0.12)
"""Shares of a side that may have been cut off, for each of the four edges by itself."""
MOST_HASHES: Final = len(CUTS) ** 4

_SIDE: Final = 64
_LARGE: Final = 256  # the cuts are made of this
_FREQUENCIES: Final = 16
_LEAST_SPREAD: Final = 2.0  # of 256 grey levels
_LEAST_SIDE: Final = 16


def hashes_of(rgb: U8) -> U8:
    """Of a picture, uint8 (H, W, 3), and of what cuts would leave of it: uint8 (MOST_HASHES, 32), the whole picture's
    first; (0, 32) for what is all but one colour, or tiny, which is like every other such picture."""
    luma = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
    large = np.asarray(cv2.resize(luma, (_LARGE, _LARGE), interpolation=cv2.INTER_AREA), np.float32)
    if min(luma.shape) < _LEAST_SIDE or large.std() < _LEAST_SPREAD:
        return np.zeros((0, BYTES), np.uint8)
    rows = _rows()
    found = (rows @ large @ rows.T).reshape(-1, _FREQUENCIES, len(rows) // _FREQUENCIES, _FREQUENCIES)
    each = found.transpose(0, 2, 1, 3).reshape(-1, BITS)
    return np.packbits(each > np.median(each, axis=1, keepdims=True), axis=1)


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


@lru_cache(maxsize=1)
def _rows() -> F32:
    """For each pair of cuts at both ends of a side, nothing first, from its _LARGE values to its lowest frequencies:
    (len(CUTS)**2 * 16, _LARGE)."""
    pairs = itertools.product(CUTS, repeat=2)
    return np.concatenate([_basis() @ _areas(first, 1.0 - last) for first, last in pairs]).astype(np.float32)


def _areas(begin: float, end: float) -> F64:
    """(64, _LARGE): the means of 64 equal parts of what lies between two shares of a side."""
    edges = np.linspace(begin * _LARGE, end * _LARGE, _SIDE + 1)
    pixels = np.arange(_LARGE)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.asarray(np.clip(overlap, 0.0, None) / (edges[1] - edges[0]))


@lru_cache(maxsize=1)
def _basis() -> F64:
    """Rows 1 to 16 of the cosine transform (DCT-II) of 64 values."""
    k, x = np.arange(1, _FREQUENCIES + 1)[:, None], np.arange(_SIDE)[None]
    return np.asarray(np.sqrt(2 / _SIDE) * np.cos(np.pi * k * (2 * x + 1) / (2 * _SIDE)))
