from __future__ import annotations

import numpy as np
import pytest

from engine.badge import Badge
from engine.media.planes import i420_of
from engine.types import U8

SIZES = [(640, 480), (720, 720), (128, 128), (480, 854), (1280, 720), (130, 962)]


def flat(size: tuple[int, int], level: int) -> U8:
    return i420_of(np.full((size[1], size[0], 3), level, np.uint8))


def luma(planes: U8) -> np.ndarray:
    return planes[: planes.shape[0] * 2 // 3].astype(np.int16)


@pytest.mark.parametrize("size", SIZES)
def test_the_badge_stands_in_the_corner_and_touches_nothing_else(size: tuple[int, int]) -> None:
    """A twelfth of the height, at least 20 pixels, top right, below the strip's rows, on even pixels."""
    planes = flat(size, 128)
    before = planes.copy()
    badge = Badge(size)
    badge.compose(planes)
    x0, y0, x1, y1 = badge.box
    assert y1 - y0 == pytest.approx(max(20, min(size[1], 2 * size[0]) / 12), abs=2)
    assert all(side % 2 == 0 for side in badge.box)
    assert size[0] / 2 < x0 < x1 < size[0]
    assert max(8, size[1] // 32) < y0 < y1 < size[1] / 3
    changed = np.argwhere(luma(planes) != luma(before))
    assert (changed.min(axis=0) >= (y0, x0)).all()
    assert (changed.max(axis=0) < (y1, x1)).all()
    chroma = np.argwhere((planes != before)[size[1] :].reshape(2, size[1] // 2, -1).any(axis=0)) * 2
    assert (chroma.min(axis=0) >= (y0, x0)).all()
    assert (chroma.max(axis=0) < (y1, x1)).all()


@pytest.mark.parametrize("level", [0, 40, 128, 220, 255])
@pytest.mark.parametrize("size", SIZES)
def test_the_letters_are_legible_on_every_ground(size: tuple[int, int], level: int) -> None:
    """White letters on a dark plate: at least 110 levels between them on black, white and grey alike."""
    planes = flat(size, level)
    badge = Badge(size)
    badge.compose(planes)
    x0, y0, x1, y1 = badge.box
    area = luma(planes)[y0:y1, x0:x1]
    letters, plate = np.percentile(area, 97), np.percentile(area, 40)
    assert letters - plate > 110
    assert 0.08 < np.mean(area > (letters + plate) / 2) < 0.4


def test_there_are_two_letters_an_a_and_an_i() -> None:
    """Across the middle the plate shows three strokes: the legs of the A, whose gap narrows upwards, and the I."""
    planes = flat((1280, 1280), 30)
    badge = Badge((1280, 1280))
    badge.compose(planes)
    x0, y0, x1, y1 = badge.box
    ink = luma(planes)[y0:y1, x0:x1] > 150
    tall = y1 - y0

    def strokes(share: float) -> list[int]:
        row = np.flatnonzero(np.diff(ink[round(tall * share)].astype(np.int8), prepend=0, append=0))
        return [int(edge) for edge in row]

    low, high = strokes(0.71), strokes(0.45)
    assert len(low) == len(high) == 6
    assert low[2] - low[1] > high[2] - high[1] > 0
    assert low[4:] == high[4:]


def test_composing_and_mixing_may_change_places() -> None:
    """A fade between two pictures with badges keeps the badge whole: it is linear in the picture."""
    bright, dark = flat((640, 480), 230), flat((640, 480), 20)
    badge = Badge((640, 480))
    mixed = ((bright.astype(int) + dark) // 2).astype(np.uint8)
    for planes in (bright, dark, mixed):
        badge.compose(planes)
    assert np.abs(mixed.astype(int) - (bright.astype(int) + dark) // 2).max() <= 2


@pytest.mark.parametrize("size", [(16, 128), (128, 16), (16, 16), (1280, 40)])
def test_the_smallest_pictures_carry_one_too(size: tuple[int, int]) -> None:
    """However narrow, there is a badge inside the picture."""
    planes = flat(size, 200)
    Badge(size).compose(planes)
    assert (planes != flat(size, 200)).any()


def test_another_size_is_refused() -> None:
    """A badge is never drawn somewhere else than it was made for."""
    with pytest.raises(ValueError, match="shape"):
        Badge((640, 480)).compose(flat((480, 640), 10))
