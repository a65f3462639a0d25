"""Parsing masks that do not flicker: every pixel keeps the class that most of the last moments gave it.

A network that is fed hard classes shows each pixel that changes its mind. Masks are compared pixel by pixel, so they
have to be of one crop that moves with the face; in a frame's own pixels a moving head would be smeared.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.compiled import compiled
from engine.errors import InputError
from engine.parsing.classes import ClassTable, Parsing
from engine.types import F32, U8

_GAP_S = 0.5
"""A longer pause is a new beginning."""


class SteadyProbabilities:
    """A moving mean of each pixel's class probabilities, of which the largest is shown.

    lag_s: time constant of the mean in seconds; 0 shows each mask as it is. hold: what a new class has to lead by
    before it takes a pixel over, 0..1; by .3 a pixel that alternates at 25 or more frames a second stands still. A
    change that lasts is shown after lag_s * ln(2 / (1 - hold)), 1.05 lag_s here.
    For one face of one session; not for several threads at once.
    """

    def __init__(self, table: ClassTable, lag_s: float = 0.06, hold: float = 0.3) -> None:
        if not (math.isfinite(lag_s) and lag_s >= 0.0 and 0.0 <= hold < 1.0):
            raise ValueError(
                f"lag_s {lag_s!r} and hold {hold!r}: expected 0 or more, and 0 or more and below 1"
            )
        self._table, self._lag_s, self._hold = table, lag_s, hold
        self._mean: F32 | None = None
        self._shown: U8 | None = None
        self._time_s = -math.inf

    def reset(self) -> None:
        """Another face: nothing of the one before is kept."""
        self._mean, self._shown, self._time_s = None, None, -math.inf

    def update(self, found: Parsing | F32, time_s: float) -> Parsing:
        """The steady mask after one more: labels, or probabilities float32 (classes, H, W) that add up to 1.

        time_s: media time. A step back, a pause above .5 s and another size begin anew. Raises InputError for labels of
        another table, other shapes and numbers that are not finite.
        """
        passed = time_s - self._time_s
        share = np.float32(1.0 if self._lag_s == 0.0 else -math.expm1(-max(passed, 0.0) / self._lag_s))
        labels: U8 | None = None
        if isinstance(found, Parsing):
            labels = found.of(self._table)
            shape: tuple[int, ...] = (len(self._table), *labels.shape)
        else:
            shape = found.shape
        lasts = self._mean is not None and self._mean.shape == shape and 0.0 <= passed <= _GAP_S
        if labels is not None and lasts and self._mean is not None and self._shown is not None:
            shown = self._shown.copy()  # what was given away stays as it is
            _follow(labels, share, np.float32(self._lead()), self._mean, shown)
            self._shown = shown
        else:
            now = self._probabilities(found)
            if self._mean is not None and lasts:
                self._mean += share * (now - self._mean)
                self._shown = self._taken_over()
            else:
                self._mean, self._shown = now.copy(), np.argmax(now, 0).astype(np.uint8)
        self._time_s = time_s
        return Parsing(self._shown, self._table)

    def _lead(self) -> float:
        return self._hold if self._lag_s > 0.0 else 0.0

    def _taken_over(self) -> U8:
        assert self._mean is not None
        assert self._shown is not None
        best = np.argmax(self._mean, 0)[None]
        lead = np.take_along_axis(self._mean, best, 0) - np.take_along_axis(
            self._mean, self._shown[None].astype(np.intp), 0
        )
        return np.where(lead[0] > np.float32(self._lead()), best[0], self._shown).astype(np.uint8)

    def _probabilities(self, found: Parsing | F32) -> F32:
        if isinstance(found, Parsing):
            return one_hot(found.of(self._table), len(self._table))
        if found.ndim != 3 or len(found) != len(self._table) or not np.isfinite(found).all():
            raise InputError(
                f"parsing: got probabilities {found.shape}, expected ({len(self._table)}, H, W), finite"
            )
        return np.asarray(found, np.float32)


@compiled
def _follow(labels: U8, share: np.float32, hold: np.float32, mean: F32, shown: U8) -> None:
    """One mask of hard labels into the mean (classes, H, W), and into what is shown, in place: as by probabilities, in
    one pass over memory."""
    classes, height, width = mean.shape
    best, which = np.empty(width, np.float32), np.empty(width, np.uint8)
    zero, one = np.float32(0.0), np.float32(1.0)
    for y in range(height):
        best[:] = np.float32(-1.0)
        for c in range(classes):
            for x in range(width):
                value = mean[c, y, x]
                value += share * ((one if labels[y, x] == c else zero) - value)
                mean[c, y, x] = value
                if value > best[x]:
                    best[x], which[x] = value, c
        for x in range(width):
            if best[x] - mean[shown[y, x], y, x] > hold:
                shown[y, x] = which[x]


class SteadyMajority:
    """What most of the last masks of a crop say.

    frames: how many of them at most, an odd number; a change that lasts is shown after half of them. Of classes that
    are equally many the later one is taken.
    """

    def __init__(self, table: ClassTable, frames: int = 5) -> None:
        if frames < 1 or frames % 2 == 0:
            raise ValueError(f"frames: got {frames}, expected an odd number")
        self._table = table
        self._last: deque[U8] = deque(maxlen=frames)

    def reset(self) -> None:
        """Another face: nothing of the one before is kept."""
        self._last.clear()

    def update(self, found: Parsing) -> Parsing:
        """The majority after one more. Another size begins anew."""
        labels = found.of(self._table)
        if self._last and self._last[-1].shape != labels.shape:
            self.reset()
        self._last.append(labels)
        return Parsing(majority(list(self._last), len(self._table)), self._table)


def majority(masks: Sequence[U8], classes: int) -> U8:
    """Per pixel the class of most masks, each uint8 (H, W); of equally many that of the later mask."""
    votes = np.zeros((classes, *masks[0].shape), np.int32)
    last = np.zeros_like(votes)
    for order, mask in enumerate(masks, 1):
        np.put_along_axis(votes, mask[None].astype(np.intp), _add(votes, mask), 0)
        np.put_along_axis(last, mask[None].astype(np.intp), np.int32(order), 0)
    winner: U8 = np.argmax(votes * (len(masks) + 1) + last, 0).astype(np.uint8)
    return winner


def _add(votes: NDArray[np.int32], mask: U8) -> NDArray[np.int32]:
    return np.take_along_axis(votes, mask[None].astype(np.intp), 0) + 1


def one_hot(labels: U8, classes: int) -> F32:
    """float32 (classes, H, W), 1 where the pixel has the class."""
    hot: F32 = (labels[None] == np.arange(classes, dtype=np.uint8)[:, None, None]).astype(np.float32)
    return hot
