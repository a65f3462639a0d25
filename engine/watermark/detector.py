"""The blind detector: whether a mark is in a clip, and what it says.

Frames are whitened (minus their local mean, over their local deviation) and averaged: the mark stays where it is while
the picture moves. Asked for a result, it samples the average at every scale that a chip may have, folds it to one tile,
and correlates the tile with the pilot at every place.

The test. Under the hypothesis of no mark, the picture does not depend on the pilot's signs s, which the key drew evenly.
With v the values found at the pilot's chips, z = sum(s v) / sqrt(sum(v^2)) is a sum of Rademacher variables, and
Hoeffding's inequality gives P(z >= t) <= exp(-t^2 / 2) for every picture there is. Over all `tests` scales, places
and mirrorings tried, P <= tests * exp(-t^2 / 2): `probability_of_chance`. `present` is: below LEAST_CHANCE.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from engine.errors import InputError
from engine.types import F32, U8
from engine.watermark.pattern import CHIPS_ACROSS, TILE, Key, band, drawn
from engine.watermark.payload import Payload, decode

LEAST_CHANCE: Final = 1e-7
SMALLEST, LARGEST = 1.25, 16.0
"""Pixels per chip that are searched."""
STEP: Final = 1.01
_SIDE = 2 * TILE  # samples of a folded tile, two per chip
_CLEAR = 14.0  # a z after which no other scale can be the right one
_FINER = 64.0  # places and scales tried on the way to the best one, for each of the search's own


@dataclass(frozen=True, slots=True)
class Found:
    """present: whether a mark is there by the test. probability_of_chance: at most this, that unmarked pictures look so
    (0 .. 1). payload: what it says, None where its CRC does not fit. bits_sure: the share of coded bits received as
    they were sent, 0 .. 1. frames: how many were added. scale: pixels per chip. offset: (x, y) of the tile's origin in
    pixels. mirrored: whether the picture was."""

    present: bool
    probability_of_chance: float
    payload: Payload | None
    bits_sure: float
    frames: int
    scale: float
    offset: tuple[float, float]
    mirrored: bool = False


@dataclass(frozen=True, slots=True)
class _Peak:
    z: float
    across: float  # pixels per chip
    down: float
    shift: tuple[float, float]  # x, y in chips
    mirrored: bool


class SpreadDetector:
    """Reads one clip. Frames of one size; another size raises InputError."""

    def __init__(self, key: bytes) -> None:
        self._key = drawn(key)
        self._sum: F32 | None = None
        self._frames = 0

    def add(self, luma: U8) -> None:
        """One decoded frame's Y, uint8 (H, W)."""
        if luma.ndim != 2 or luma.dtype != np.uint8:
            raise InputError(f"watermark: got a frame of {luma.dtype} {luma.shape}, expected uint8 (H, W)")
        if self._sum is not None and self._sum.shape != luma.shape:
            raise InputError(f"watermark: got a frame of {luma.shape}, the ones before are {self._sum.shape}")
        white = whitened(luma)
        self._sum = white if self._sum is None else cv2.add(self._sum, white, dst=self._sum)  # type: ignore[assignment]
        self._frames += 1

    def result(self) -> Found:
        """Of all frames added so far. Raises InputError where there is none."""
        if self._sum is None:
            raise InputError("watermark: no frame was added, expected one at least")
        mean = self._sum / np.float32(self._frames)
        best, tests = self._search(mean)
        best = self._refined(mean, best)
        chance = min(1.0, tests * _FINER * math.exp(-best.z * best.z / 2))
        bits, sure = decode(self._soft(mean, best))
        present = chance < LEAST_CHANCE
        offset = (-best.shift[0] * best.across, -best.shift[1] * best.down)
        payload = Payload.read(bits) if bits is not None and present else None
        return Found(present, chance, payload, sure, self._frames, best.across, offset, best.mirrored)

    def _search(self, mean: F32) -> tuple[_Peak, float]:
        """The best of every scale, place and mirroring, and how many were tried."""
        first = min(mean.shape) / CHIPS_ACROSS
        count = int(math.log(LARGEST / SMALLEST) / math.log(STEP))
        others = [SMALLEST * STEP**index for index in range(count)]
        scales = sorted(others, key=lambda scale: abs(math.log(scale / first)))
        best = _Peak(-1.0, first, first, (0.0, 0.0), False)
        for scale in [first, *scales]:
            for mirrored in (False, True):
                found = self._best_place(mean[:, ::-1] if mirrored else mean, scale, scale, mirrored)
                best = max(best, found, key=lambda peak: peak.z)
            if best.z > _CLEAR and abs(math.log(scale / best.across)) > 3 * math.log(STEP):
                break
        return best, 2.0 * (len(scales) + 1) * _SIDE * _SIDE

    def _best_place(self, mean: F32, across: float, down: float, mirrored: bool) -> _Peak:
        z = _scores(folded(mean, across, down), self._key)
        at = int(z.argmax())
        y, x = divmod(at, _SIDE)
        return _Peak(float(z[y, x]), across, down, (x / 2, y / 2), mirrored)

    def _refined(self, mean: F32, best: _Peak) -> _Peak:
        """Finer scales, each axis by itself, then finer places."""
        picture = mean[:, ::-1] if best.mirrored else mean
        for step in (0.005, 0.0025, 0.001, 0.0005):
            for across, down in ((1, 1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1)):
                tried = self._best_place(
                    picture, best.across * (1 + step * across), best.down * (1 + step * down), best.mirrored
                )
                best = max(best, tried, key=lambda peak: peak.z)
        tile = folded(picture, best.across, best.down)
        for step in (0.25, 0.125):
            for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1), (1, -1), (-1, 1)):
                shift = (best.shift[0] + step * x, best.shift[1] + step * y)
                values = _chips(tile, shift).reshape(-1)[self._key.pilots]
                z = _z(values, self._key.signs.reshape(-1)[self._key.pilots])
                if z > best.z:
                    best = _Peak(z, best.across, best.down, shift, best.mirrored)
        return best

    def _soft(self, mean: F32, best: _Peak) -> F32:
        tile = folded(mean[:, ::-1] if best.mirrored else mean, best.across, best.down)
        values = _chips(tile, best.shift) * self._key.signs
        return np.asarray(values.reshape(-1)[self._key.carriers].sum(axis=1), np.float32)


def whitened(luma: U8) -> F32:
    """float32 (H, W): minus its mean and over its mean deviation of the neighbourhood, within -2 .. 2."""
    reach = 2 * max(2, round(min(luma.shape) / CHIPS_ACROSS)) + 1
    picture = luma.astype(np.float32)
    flat = picture - cv2.blur(picture, (reach, reach))
    deviation = cv2.blur(np.abs(flat), (2 * reach + 1, 2 * reach + 1)) + 1.0
    return np.asarray(np.clip(flat / deviation, -2.0, 2.0), np.float32)


def folded(picture: F32, across: float, down: float) -> F32:
    """float32 (2 TILE, 2 TILE): two samples per chip, all tiles summed, through the pattern's band."""
    height, width = picture.shape
    size = (max(1, round(width / across * 2)), max(1, round(height / down * 2)))
    move = np.array([[size[0] / width, 0, 0], [0, size[1] / height, 0]], np.float64)
    exact = (2 / across, 2 / down)
    if exact[0] < 1.0:
        picture = cv2.GaussianBlur(picture, (0, 0), 0.4 / exact[0], sigmaY=0.4 / exact[1])
    move = np.array([[exact[0], 0, exact[0] / 2 - 0.5], [0, exact[1], exact[1] / 2 - 0.5]], np.float64)
    small = cv2.warpAffine(picture, move, size, flags=cv2.INTER_LINEAR)
    padded = cv2.copyMakeBorder(
        small, 0, -size[1] % _SIDE, 0, -size[0] % _SIDE, cv2.BORDER_CONSTANT, value=(0.0,)
    )
    tile = padded.reshape(padded.shape[0] // _SIDE, _SIDE, padded.shape[1] // _SIDE, _SIDE).sum(axis=(0, 2))
    return np.fft.irfft2(np.fft.rfft2(tile) * band(2), (_SIDE, _SIDE)).astype(np.float32)


def _scores(tile: F32, key: Key) -> F32:
    """z at every place, half a chip apart: float32 (2 TILE, 2 TILE) by rows y and columns x of the tile's origin."""
    signs, mask = (np.zeros((TILE, TILE), np.float32) for _ in range(2))
    signs.reshape(-1)[key.pilots] = key.signs.reshape(-1)[key.pilots]
    mask.reshape(-1)[key.pilots] = 1.0
    hits, power = (_correlated(values, known) for values, known in ((tile, signs), (tile * tile, mask)))
    return np.asarray(hits / np.sqrt(np.maximum(power, 1e-12)), np.float32)


def _correlated(values: F32, known: F32) -> F32:
    wide = np.zeros((_SIDE, _SIDE), np.float32)
    wide[::2, ::2] = known
    product = np.fft.rfft2(values) * np.conj(np.fft.rfft2(wide))
    return np.fft.irfft2(product, (_SIDE, _SIDE)).astype(np.float32)


def _chips(tile: F32, shift: tuple[float, float]) -> F32:
    """float32 (TILE, TILE): the folded tile's values at the chips, its origin at (x, y) chips."""
    down, across = np.fft.fftfreq(_SIDE)[:, None], np.fft.rfftfreq(_SIDE)[None, :]
    turn = np.exp(2j * np.pi * (across * shift[0] * 2 + down * shift[1] * 2))
    return np.fft.irfft2(np.fft.rfft2(tile) * turn, (_SIDE, _SIDE))[::2, ::2].astype(np.float32)


def _z(values: F32, signs: F32) -> float:
    return float(values @ signs / math.sqrt(max(float(values @ values), 1e-12)))
