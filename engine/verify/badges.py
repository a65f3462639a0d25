"""Finding the visible badge: the drawn one, laid over every place of a picture at every size it may have.

A clip's frames are averaged first: what moves is blurred, the badge stands. At each place the letters on their plate
and the picture under them are correlated, so that brightness and contrast do not matter; the rim, which changes with
the ground, and the round corners are left out. A picture may hold such letters by chance, or in somebody's own hand:
the badge is for people, and what is found proves nothing.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from engine.marks.drawing import aspect, covers
from engine.marks.wording import LANGUAGES
from engine.types import F32, U8, Mode
from engine.verify.verdict import BadgeSeen

THRESHOLD: Final = 0.75
"""Likeness from which a badge is said to be there: docs/verify.md has what it was measured on."""

_COARSE, _FINE = 180, 400
"""Shorter side, in pixels, of the picture in which it is looked for first, and in which it is placed."""
_SMALLEST, _LARGEST, _STEP = 0.05, 0.3, 0.13
"""Heights of the badge as parts of the picture's shorter side: of 0.06 .. 0.3, some of it cropped away or added."""
_INSET: Final = 0.085
"""Of the badge's height: what rim and round corners take from each side."""
_LEAST_SPREAD: Final = 4.0
_CANDIDATES: Final = 4
_DRAWN: Final = 192  # pixels of height


class MeanPicture:
    """The average of a clip's frames, made small: float32, the shorter side `_FINE` at most."""

    def __init__(self) -> None:
        self._sum: F32 | None = None
        self.frames = 0

    def add(self, luma: U8) -> None:
        """One frame's Y, uint8 (H, W), each of the same size."""
        small = _to_side(luma.astype(np.float32), _FINE)
        self._sum = small if self._sum is None else self._sum + small
        self.frames += 1

    def picture(self) -> F32:
        """float32 (h, w), 0 .. 255. Raises ValueError before the first frame."""
        if self._sum is None:
            raise ValueError("no frame was added")
        return np.asarray(self._sum / np.float32(self.frames), np.float32)


def find_badge(mean: F32) -> BadgeSeen:
    """The best place of any badge in a picture, float32 (h, w)."""
    coarse = _to_side(mean, _COARSE)
    found = [(*_best(coarse, text, share), text, share) for text in texts() for share in _shares(_step(text))]
    found.sort(key=lambda one: -one[0])
    best = (-1.0, (0, 0), (1, 1), "")
    for _, _, text, share in found[:_CANDIDATES]:
        step = _step(text) ** 0.25
        for finer in (share / step**2, share / step, share, share * step, share * step**2):
            likeness, at = _best(mean, text, finer)
            if likeness > best[0]:
                best = (likeness, at, _sides(mean, text, finer), text)
    likeness, (x, y), (wide, tall), text = best
    height, width = mean.shape
    box = (x / width, y / height, (x + wide) / width, (y + tall) / height)
    return BadgeSeen(likeness >= THRESHOLD, round(likeness, 3), text, box, _place(box))


@lru_cache(maxsize=1)
def texts() -> tuple[str, ...]:
    """What a badge may say: the label in every language, and with its words in English."""
    english = LANGUAGES["en"]
    longer = (english.text(Mode.PUPPET), english.text(Mode.EDIT))
    return (*dict.fromkeys(one.label for one in LANGUAGES.values()), *longer)


def _step(text: str) -> float:
    """From one size to the next: the longer a text, the sooner its end is off its place."""
    tall, wide = _large(text).shape
    return float(1.0 + _STEP * min(1.0, 2.0 * tall / wide))


def _shares(step: float) -> list[float]:
    count = int(np.ceil(np.log(_LARGEST / _SMALLEST) / np.log(step))) + 1
    return [_SMALLEST * step**number for number in range(count)]


def _sides(picture: F32, text: str, share: float) -> tuple[int, int]:
    tall = max(7, round(share * min(picture.shape)))
    large = _large(text).shape
    return max(9, round(large[1] / large[0] * tall)), tall


def _best(picture: F32, text: str, share: float) -> tuple[float, tuple[int, int]]:
    """Likeness and top left corner of the best place of the whole badge."""
    wide, tall = _sides(picture, text, share)
    if tall >= picture.shape[0] or wide >= picture.shape[1]:
        return -1.0, (0, 0)
    inset = max(1, round(_INSET * tall))
    letters = _letters(text, wide, tall)[inset : tall - inset, inset : wide - inset]
    likeness = cv2.matchTemplate(picture, np.ascontiguousarray(letters), cv2.TM_CCOEFF_NORMED)
    likeness[_spread(picture, letters.shape) < _LEAST_SPREAD] = -1.0
    y, x = divmod(int(likeness.argmax()), likeness.shape[1])
    return float(likeness[y, x]), (x - inset, y - inset)


def _letters(text: str, wide: int, tall: int) -> F32:
    return np.asarray(cv2.resize(_large(text), (wide, tall), interpolation=cv2.INTER_AREA), np.float32)


@lru_cache(maxsize=32)
def _large(text: str) -> F32:
    """Drawn once for all sizes."""
    return covers(text, round(aspect(text) * _DRAWN), _DRAWN)[0]


def _spread(picture: F32, shape: tuple[int, ...]) -> F32:
    """Standard deviation under the letters at every place: a flat ground correlates with anything."""
    tall, wide = shape
    mean = cv2.boxFilter(picture, -1, (wide, tall), anchor=(0, 0))
    square = cv2.boxFilter(picture * picture, -1, (wide, tall), anchor=(0, 0))
    rows, columns = picture.shape[0] - tall + 1, picture.shape[1] - wide + 1
    return np.asarray(np.sqrt(np.maximum(square - mean * mean, 0.0))[:rows, :columns], np.float32)


def _to_side(picture: F32, side: int) -> F32:
    height, width = picture.shape
    ratio = side / min(height, width)
    if ratio >= 1:
        return picture
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.float32)


def _place(box: tuple[float, float, float, float]) -> str:
    down, across = (box[1] + box[3]) / 2, (box[0] + box[2]) / 2
    return f"{'top' if down < 0.5 else 'bottom'}-{'left' if across < 0.5 else 'right'}"
