"""The blind detector: whether a mark is in a clip, and what it says.

Frames are whitened (`whitened`) and averaged: the mark stays where it is while the picture moves. Asked for a result,
it samples the average at every scale that a chip may have, folds it to one tile, evens out its spectrum, and correlates
it with the pilot at every place.

The test. Under the hypothesis of no mark, the picture does not depend on the pilot's signs s, which the key drew
evenly. With v the values found at the pilot's chips, z = sum(s v) / sqrt(sum(v^2)) is a sum of Rademacher variables,
and Hoeffding's inequality gives P(z >= t) <= exp(-t^2 / 2) for every picture there is. Five families of hypotheses are
tried, and each is given a fifth of the chance: the whole picture at whatever size; any place and mirroring at its
scale; at any scale; whatever the refinement can come to from there; and, of the chips that carry the payload in place
of the pilot's, any of 2^64 payloads at such a place. With n hypotheses in a family, P <= 5 n exp(-t^2 / 2), and the
least of the five is `probability_of_chance`. `present` is: below LEAST_CHANCE.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError
from engine.types import F32, U8
from engine.watermark.found import LEAST_CHANCE, Found, check_luma
from engine.watermark.pattern import CHIPS_ACROSS, TILE, Key, band, drawn
from engine.watermark.payload import BITS, Payload, decode, encode

SMALLEST, LARGEST = 1.0, 16.0
"""Pixels per chip that are searched."""
STEP: Final = 1.008
_SIDE = 2 * TILE  # samples of a folded tile, two per chip
_WAYS = ((1, 1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1), (1, -1), (-1, 1))
_SCALES_APART, _SHIFTS_APART = (0.004, 0.002, 0.001, 0.0005), (0.25, 0.125)
_NOTHING = 1e-12
_STRAIGHT, _SLANTED, _ABOUT = 0.8, 0.55, 0.9  # chips
_LEAST_CHANGE = 0.4  # levels
_LOUDEST = 0.7
_REGION = 48  # samples: a quarter of a tile
_LEAST_POWER = 1e-3
_Part = tuple[slice, slice]
_CLEAR = 14.0  # a z after which no other scale can be the right one
_FAMILIES = 5
_LOOKS = 8  # at the payload: on two tiles, at the best place of four families


@dataclass(frozen=True, slots=True)
class _Peak:
    z: float
    tests: float  # hypotheses of its family
    across: float  # pixels per chip
    down: float
    shift: tuple[float, float]  # x, y in chips
    mirrored: bool
    tile: F32

    @property
    def chance(self) -> float:
        return min(1.0, _FAMILIES * self.tests * math.exp(-(max(self.z, 0.0) ** 2) / 2))


class SpreadDetector:
    """Reads one clip. It keeps one picture, whatever the clip's length."""

    def __init__(self, key: bytes) -> None:
        self._key = drawn(key)
        self._pilot = Pilot(self._key)
        self._sum: F32 | None = None
        self._frames = 0

    def add(self, luma: U8) -> None:
        """One decoded frame's Y, uint8 (H, W)."""
        check_luma(luma, None if self._sum is None else self._sum.shape)
        white = whitened(luma)
        self._sum = white if self._sum is None else cv2.add(self._sum, white, dst=self._sum)  # type: ignore[assignment]
        self._frames += 1

    def result(self) -> Found:
        """Of all frames added so far. Raises InputError where there is none."""
        if self._sum is None:
            raise InputError("watermark: no frame was added, expected one at least")
        mean = self._sum / np.float32(self._frames)
        peaks = [self._whole(mean), *self._search(mean)]
        peaks.append(self._refined(mean, peaks[-1]))
        best = min(peaks, key=lambda peak: peak.chance)
        tile = best.tile
        bits, sure = decode(self._soft(tile, best))
        if bits is None:
            tile = self._weighted(mean, best)
            bits, sure = decode(self._soft(tile, best))
        chance = best.chance if bits is None else min(best.chance, self._chance_of(bits, tile, best))
        present = chance < LEAST_CHANCE
        payload = Payload.read(bits) if bits is not None and present else None
        offset = (-best.shift[0] * best.across, -best.shift[1] * best.down)
        return Found(present, chance, payload, sure, self._frames, best.across, offset, best.mirrored)

    def _values(self, tile: F32, best: _Peak) -> F32:
        """What is found at each coded bit's chips, times their signs: float32 (CODED, CHIPS_PER_BIT)."""
        return np.asarray((_chips(tile, best.shift) * self._key.signs).reshape(-1)[self._key.carriers])

    def _soft(self, tile: F32, best: _Peak) -> F32:
        return np.asarray(self._values(tile, best).sum(axis=1), np.float32)

    def _chance_of(self, bits: U8, tile: F32, best: _Peak) -> float:
        """By the chips that carry these bits, of all the 2^64 there are."""
        values = self._values(tile, best)
        signs = 2.0 * encode(bits).astype(np.float64) - 1.0
        z = float(signs @ values.sum(axis=1)) / math.sqrt(max(float(np.sum(values * values)), _NOTHING))
        return min(1.0, _FAMILIES * _LOOKS * best.tests * 2.0**BITS * math.exp(-(max(z, 0.0) ** 2) / 2))

    def _weighted(self, mean: F32, best: _Peak) -> F32:
        """The tile once more, each place of the picture by how much of the pilot is found about it, over its power:
        where an encoder had no bits for the mark there is only noise. The bits' own chips have no say in that."""
        picture = np.ascontiguousarray(mean[:, ::-1]) if best.mirrored else mean
        scales = best.across, best.down
        spread = sampled(_smoothed(picture, *scales), *scales, picture.shape)
        pilot = np.tile(self._pilot.seen(best.shift), [side // _SIDE for side in spread.shape])
        found = cv2.blur(spread * pilot, (_REGION, _REGION))
        power = cv2.blur(spread * spread, (_REGION, _REGION))
        weight = np.maximum(found, 0.0) / (power + np.float32(_LEAST_POWER))
        return _even(_summed(np.asarray(spread * weight, np.float32)))

    def _whole(self, mean: F32) -> _Peak:
        """At the scale and place of a picture that was not cut."""
        first = min(mean.shape) / CHIPS_ACROSS
        tile = folded(_smoothed(mean, first, first), first, first, mean.shape)
        return _Peak(float(self._pilot.scores(tile)[0, 0]), 1, first, first, (0.0, 0.0), False, tile)

    def _search(self, mean: F32) -> tuple[_Peak, _Peak]:
        """The best place at that scale, and the best of all scales."""
        first = min(mean.shape) / CHIPS_ACROSS
        count = math.ceil(math.log(LARGEST / SMALLEST) / math.log(STEP))
        others = (SMALLEST * STEP**index for index in range(count))
        scales = [first, *sorted(others, key=lambda scale: abs(math.log(scale / first)))]
        halves = [mean]
        tests = 2 * _SIDE * _SIDE
        near = best = _Peak(
            -1.0, tests, first, first, (0.0, 0.0), False, np.zeros((_SIDE, _SIDE), np.float32)
        )
        for scale in scales:
            tile = folded(_halved(halves, scale), scale, scale, mean.shape)
            for mirrored in (False, True):
                turned = tile[:, ::-1] if mirrored else tile
                z, *shift = self._pilot.best(turned)
                if z > best.z:
                    best = _Peak(z, tests, scale, scale, (shift[0], shift[1]), mirrored, turned)
            if scale is first:
                near = best
            if best.z > _CLEAR and abs(math.log(scale / best.across)) > 3 * math.log(STEP):
                break
        return near, replace(best, tests=tests * len(scales))

    def _refined(self, mean: F32, start: _Peak) -> _Peak:
        """Finer scales, of each axis by itself, then finer places."""
        picture = np.ascontiguousarray(mean[:, ::-1]) if start.mirrored else mean
        tests = start.tests * (1 + len(_WAYS)) ** (len(_SCALES_APART) + len(_SHIFTS_APART))
        best = replace(start, z=-1.0, tests=tests)
        for step in (0.0, *_SCALES_APART):
            begun = best
            for across, down in _WAYS if step else ((0, 0),):
                scales = begun.across * (1 + step * across), begun.down * (1 + step * down)
                tile = folded(_smoothed(picture, *scales), *scales, picture.shape)
                z, *shift = self._pilot.best(tile)
                if z > best.z:
                    best = _Peak(z, tests, *scales, (shift[0], shift[1]), best.mirrored, tile)
        for step in _SHIFTS_APART:
            begun = best
            for x, y in _WAYS:
                place = (begun.shift[0] + step * x, begun.shift[1] + step * y)
                z = self._pilot.at(_chips(best.tile, place))
                if z > best.z:
                    best = replace(best, z=z, shift=place)
        return best


class Pilot:
    """The known chips, correlated with tiles."""

    def __init__(self, key: Key) -> None:
        signs, known = (np.zeros((_SIDE, _SIDE), np.float32) for _ in range(2))
        chips, mask = (np.zeros(TILE * TILE, np.float32) for _ in range(2))
        chips[key.pilots], mask[key.pilots] = key.signs.reshape(-1)[key.pilots], 1.0
        signs[::2, ::2], known[::2, ::2] = chips.reshape(TILE, TILE), mask.reshape(TILE, TILE)
        self._chips, self._places = chips[key.pilots], key.pilots
        self._signs, self._known = np.conj(np.fft.rfft2(signs)), np.conj(np.fft.rfft2(known))

    def best(self, tile: F32) -> tuple[float, float, float]:
        """The largest z of all places half a chip apart; x and y of the tile's origin there, in chips."""
        z = self.scores(tile)
        y, x = divmod(int(z.argmax()), _SIDE)
        return float(z[y, x]), x / 2, y / 2

    def scores(self, tile: F32) -> F32:
        """z at every place half a chip apart: (2 TILE, 2 TILE) by rows y and columns x of the tile's origin."""
        hits = np.fft.irfft2(np.fft.rfft2(tile) * self._signs, tile.shape)
        power = np.fft.irfft2(np.fft.rfft2(tile * tile) * self._known, tile.shape)
        return np.asarray(hits / np.sqrt(np.maximum(power, _NOTHING)), np.float32)

    def seen(self, shift: tuple[float, float]) -> F32:
        """float32 (2 TILE, 2 TILE): how the pilot looks in a picture whose tile begins at (x, y) chips."""
        waves = np.conj(self._signs) * band(2) * _turn((-shift[0], -shift[1]))
        return np.fft.irfft2(waves, (_SIDE, _SIDE)).astype(np.float32)

    def at(self, chips: F32) -> float:
        """z of the values found at the tile's chips."""
        values = chips.reshape(-1)[self._places]
        return float(values @ self._chips / math.sqrt(max(float(values @ values), _NOTHING)))


def whitened(luma: U8) -> F32:
    """float32 (H, W): what of a picture its neighbourhood does not tell.

    Differences between pixels most of a chip apart, in four directions, each over its own mean size thereabouts and
    within -LOUDEST .. LOUDEST, added to the one pixel and taken from the other: an edge silences the differences
    across it alone, and what stands out counts no more than the rest.
    """
    chip = min(luma.shape) / CHIPS_ACROSS
    straight, slanted = max(1, round(_STRAIGHT * chip)), max(1, round(_SLANTED * chip))
    about = 2 * max(1, round(_ABOUT * chip)) + 1
    picture = luma.astype(np.float32)
    white = np.zeros_like(picture)
    for down, across in ((0, straight), (straight, 0), (slanted, slanted), (slanted, -slanted)):
        one, other = _apart(picture.shape, down, across)
        change = picture[one] - picture[other]
        change /= cv2.blur(np.abs(change), (about, about)) + np.float32(_LEAST_CHANGE)
        np.clip(change, -_LOUDEST, _LOUDEST, out=change)
        white[one] += change
        white[other] -= change
    return white


def _apart(shape: tuple[int, ...], down: int, across: int) -> tuple[_Part, _Part]:
    """Two parts of a picture, the first of which lies so many pixels below and to the right of the second."""
    height, width = shape
    left, right = (
        slice(max(across, 0), width + min(across, 0)),
        slice(max(-across, 0), width + min(-across, 0)),
    )
    return (slice(down, height), left), (slice(0, height - down), right)


def folded(picture: F32, across: float, down: float, shape: tuple[int, ...]) -> F32:
    """float32 (2 TILE, 2 TILE): two samples per chip, all tiles summed, through the pattern's band.

    across, down: pixels per chip of a picture of `shape`, of which `picture` is a copy of that or a smaller size.
    """
    return _even(_summed(sampled(picture, across, down, shape)))


def sampled(picture: F32, across: float, down: float, shape: tuple[int, ...]) -> F32:
    """Two samples per chip, in whole tiles, 0 beyond the picture; arguments as of `folded`."""
    height, width = shape
    ratio = picture.shape[1] / width, picture.shape[0] / height
    fine = 2 / (across * ratio[0]), 2 / (down * ratio[1])
    move = np.array([[fine[0], 0, fine[0] / 2 - 1], [0, fine[1], fine[1] / 2 - 1]], np.float64)
    size = math.ceil(width / across * 2 / _SIDE) * _SIDE, math.ceil(height / down * 2 / _SIDE) * _SIDE
    tiles = cv2.warpAffine(picture, move, size, flags=cv2.INTER_LINEAR, borderValue=(0.0,))
    return np.asarray(tiles, np.float32)


def _summed(tiles: F32) -> F32:
    down, across = (side // _SIDE for side in tiles.shape)
    return np.asarray(tiles.reshape(down, _SIDE, across, _SIDE).sum(axis=(0, 2)), np.float32)


def _even(tile: F32) -> F32:
    """With as much power at every radius of frequency, and only in the pattern's band."""
    waves = np.fft.rfft2(tile)
    rings, sizes = _rings()
    power = np.bincount(rings.reshape(-1), (waves.real**2 + waves.imag**2).reshape(-1), len(sizes)) / sizes
    shape = band(2) / np.sqrt(power + _NOTHING)[rings]
    return np.fft.irfft2(waves * shape, tile.shape).astype(np.float32)


@lru_cache(maxsize=1)
def _rings() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each frequency of a folded tile: which ring it is in; and how many there are in each."""
    radius = np.hypot(np.fft.fftfreq(_SIDE)[:, None], np.fft.rfftfreq(_SIDE)[None, :])
    rings = (radius * (_SIDE / 2)).astype(np.int64)
    return rings, np.bincount(rings.reshape(-1))


def _halved(halves: list[F32], scale: float) -> F32:
    """The smallest of the picture's copies, each of half the last one's size, with two samples per chip at least."""
    level = max(0, math.floor(math.log2(scale / 2)))
    while len(halves) <= level:
        height, width = halves[-1].shape
        size = max(1, width // 2), max(1, height // 2)
        halves.append(np.asarray(cv2.resize(halves[-1], size, interpolation=cv2.INTER_AREA), np.float32))
    return halves[level]


def _smoothed(picture: F32, across: float, down: float) -> F32:
    """Without what two samples per chip cannot hold."""
    if min(across, down) <= 2.0:
        return picture
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.2 * across, sigmaY=0.2 * down), np.float32)


def _chips(tile: F32, shift: tuple[float, float]) -> F32:
    """float32 (TILE, TILE): the folded tile's values at the chips, its origin at (x, y) chips."""
    return np.fft.irfft2(np.fft.rfft2(tile) * _turn(shift), (_SIDE, _SIDE))[::2, ::2].astype(np.float32)


def _turn(shift: tuple[float, float]) -> NDArray[np.complex128]:
    """What a spectrum is multiplied by to bring what stands at (x, y) chips to the origin."""
    down, across = np.fft.fftfreq(_SIDE)[:, None], np.fft.rfftfreq(_SIDE)[None, :]
    return np.asarray(np.exp(2j * np.pi * (across * shift[0] * 2 + down * shift[1] * 2)), np.complex128)
