"""What this face's skin looks like, learnt slowly in the face's own frame, and what does not look like it.

Colours are compared as logarithms: lightness, and two ratios of channels that light and shadow leave alone. Each
texel keeps a mean and a variance. Covered is what differs both from what was seen on that spot and from the skin of
the whole face: a shadow, a wrinkle or a fold of skin differs from its spot alone, and so does skin that comes out
from behind a thing; brows, beard, lips and glasses differ from the skin alone.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from engine import canonical
from engine.occlusion.atlas import SIZE, atlas, spread
from engine.types import F32, U8

_OFFSET = 12.0
"""Added to the channels, so that the noise of black pixels is no colour."""

_FLOORS = np.array([0.22, 0.06, 0.06], np.float32)
"""Differences that mean nothing: of lightness (natural logarithm), of red to green, of green to blue."""

_SPREAD = np.array([0.3, 0.07, 0.07], np.float32)
"""How far the skin of one face lies around its mean."""

_DIFFERS, _UNLIKE = (2.5, 3.5), (2.0, 3.0)
_CHANGED = 2.0
_FIRST_S, _LATER_S, _COVERED_S = 0.6, 6.0, 30.0
_KNOWN_S = 0.4
_LEAST_KNOWN = 0.1
_CALM = 50  # texels
_EVERY = 3
"""Fits and medians are taken over one texel in so many."""
_LEAST_SHARE = 0.012
_FILL = 4.0  # texels
_FILLED = (0.35, 0.65)


@lru_cache(maxsize=1)
def heeded() -> NDArray[np.bool_]:
    """bool (M,): the texels whose colour says something: not eyes, lips and mouth, which change by themselves, nor the
    rim, where a slip of the mesh shows what lies behind."""
    grid = atlas()
    field = np.zeros((SIZE, SIZE), np.uint8)
    field[grid.inside] = 1
    cv2.erode(field, np.ones((5, 5), np.uint8), dst=field)
    for ring, width in (
        (canonical.RIGHT_EYE, 5),
        (canonical.LEFT_EYE, 5),
        (canonical.LIPS_OUTER, 4),
    ):
        line = np.rint(grid.places[list(ring)]).astype(np.int32)
        cv2.fillPoly(field, [line], 0)
        cv2.polylines(field, [line], True, 0, width)
    return np.asarray(field[grid.inside] > 0)


@lru_cache(maxsize=1)
def _plane() -> F32:
    """float32 (M, 3): 1, x and y of each texel, from -1 to 1."""
    rows, columns = np.nonzero(atlas().inside)
    half = 0.5 * (SIZE - 1)
    return np.stack([np.ones(len(rows)), columns / half - 1.0, rows / half - 1.0], 1).astype(np.float32)


def opponent(rgb: U8) -> F32:
    """float32 (M, 3): lightness, red to green and green to blue of colours (M, 3), as logarithms."""
    logs = _LOGS[rgb]
    red, green, blue = logs[:, 0], logs[:, 1], logs[:, 2]
    return np.stack([(red + green + blue) / 3.0, red - green, green - blue], 1)


_LOGS = np.log(np.arange(256) + _OFFSET).astype(np.float32)


def ramp(values: F32, ends: tuple[float, float]) -> F32:
    """0 below the first end, 1 above the second, straight between."""
    return np.asarray(np.clip((values - ends[0]) / (ends[1] - ends[0]), 0.0, 1.0), np.float32)


class Skin:
    """The memory of one followed face. Not for several threads at once."""

    def __init__(self) -> None:
        count = len(_plane())
        self._mean = np.zeros((count, 3), np.float32)
        self._variance = np.zeros((count, 3), np.float32)
        self._known_s = np.zeros(count, np.float32)
        self.changed = 0.0
        """Share of the face, 0..1, that differs from what was seen on its spot, whatever it looks like."""

    def covered(self, rgb: U8, facing: NDArray[np.bool_], other: NDArray[np.bool_], dt: float) -> F32:
        """How sure it is that something covers each texel, float32 (M,) of 0..1, after which the frame is learnt.

        rgb: uint8 (M, 3). facing: the texels that can be seen. other: those that are known to be covered (by a hand).
        dt: seconds since the last frame, 0 at the first.
        """
        colours = _smoothed(rgb)
        usable = facing & ~other & heeded()
        known = usable & (self._known_s >= _KNOWN_S)
        self.changed = 0.0
        if known.mean() < _LEAST_KNOWN:
            self._learn(colours, facing & ~other, np.zeros(len(rgb), np.float32), dt)
            return np.zeros(len(rgb), np.float32)
        off = colours - self._mean
        light = _light(off, known)
        off -= light
        differs = np.sqrt((off**2 / (self._variance + _FLOORS**2)).sum(1))
        self.changed = float((known & (differs > _CHANGED)).mean())
        evidence = ramp(differs, _DIFFERS) * ramp(self._unlike(colours, known, differs), _UNLIKE)
        evidence *= known
        covered = _region(evidence, known)
        self._learn(colours - light, facing & ~other, covered, dt)
        return covered

    def _unlike(self, colours: F32, known: NDArray[np.bool_], differs: F32) -> F32:
        """How far each texel is from the skin of the whole face, in its spreads."""
        calm = np.flatnonzero(known & (differs < _DIFFERS[0]))[::_EVERY]
        if len(calm) < _CALM:
            calm = np.flatnonzero(known)[::_EVERY]
        middle = np.median(colours[calm], axis=0)
        return np.asarray(np.sqrt((((colours - middle) / _SPREAD) ** 2).sum(1)), np.float32)

    def _learn(self, colours: F32, seen: NDArray[np.bool_], covered: F32, dt: float) -> None:
        first = self._known_s == 0.0
        time_s = np.clip(self._known_s, _FIRST_S, _LATER_S)
        time_s += covered * (_COVERED_S - time_s)
        share = np.where(first, 1.0, 1.0 - np.exp(-dt / time_s)).astype(np.float32)
        share *= seen
        off = colours - self._mean
        self._mean += share[:, None] * off
        spread_out = np.where(first[:, None], 0.0, (1.0 - share[:, None]) * off) ** 2
        self._variance += share[:, None] * (np.minimum(spread_out, 9.0 * _FLOORS**2) - self._variance)
        self._known_s += np.where(seen & (covered < 0.5), max(dt, 1e-3), 0.0).astype(np.float32)


def _smoothed(rgb: U8) -> F32:
    """The texels' colours as opponent, averaged with their neighbours."""
    grid = np.zeros((SIZE, SIZE, 4), np.float32)
    inside = atlas().inside
    grid[inside, :3] = opponent(rgb)
    grid[inside, 3] = 1.0
    mixed = cv2.blur(grid, (3, 3))[inside]
    return np.asarray(mixed[:, :3] / mixed[:, 3:], np.float32)


def _light(off: F32, known: NDArray[np.bool_]) -> F32:
    """What exposure, white balance and the direction of light make of the differences (M, 3): a plane per channel,
    fitted to most of the known texels."""
    sample = np.flatnonzero(known)[::_EVERY]
    plane, own = _plane(), off[sample]
    axes = plane[sample]
    fit = np.zeros((3, 3), np.float32)
    fit[0] = np.median(own, axis=0)
    for _ in range(2):
        left = ((own - axes @ fit) / _FLOORS) ** 2
        weight = 1.0 / (1.0 + left.sum(1)) ** 2
        weighted = axes * weight[:, None]
        fit = np.linalg.solve(weighted.T @ axes + 1e-3 * np.eye(3, dtype=np.float32), weighted.T @ own)
    return np.asarray(plane @ fit, np.float32)


def _region(evidence: F32, known: NDArray[np.bool_]) -> F32:
    """Evidence as whole regions: specks are dropped, and what is not heeded takes after its surroundings."""
    if not (evidence > 0.5).mean() >= _LEAST_SHARE:
        return np.zeros_like(evidence)
    inside = atlas().inside
    field = np.stack([spread(evidence), spread(known.astype(np.float32))], 2)
    around = np.asarray(cv2.GaussianBlur(field, (0, 0), _FILL)[inside], np.float32)
    nearby = np.asarray(around[:, 0] / np.maximum(around[:, 1], 0.05), np.float32)
    filled = np.where(known, evidence, ramp(nearby, _FILLED))
    marks = (spread(filled) > 0.5).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(marks, connectivity=4)
    large = stats[:, cv2.CC_STAT_AREA] >= _LEAST_SHARE * len(evidence)
    large[0] = False
    kept = cv2.dilate(large[labels].astype(np.uint8), np.ones((3, 3), np.uint8))[inside]
    return np.asarray(np.maximum(filled, 0.0) * (kept > 0), np.float32)
