"""Where else to look in a single picture when the whole of it shows no face: turned heads, small heads."""

from __future__ import annotations

import math
from collections.abc import Iterator

from engine.track.region import Region, whole

_SMALLEST_TILE = 160
_PARTS = (2, 4)


def views(width: int, height: int) -> Iterator[list[Region]]:
    """Sets of views to try one after the other, until one shows a face.

    The detector sees 128 x 128 pixels with an upright head of at least about 1/6 of that: so first the whole
    picture turned by quarters, then overlapping tiles of half and of a quarter of the long side.
    """
    full = whole(width, height)
    yield [Region(full.x, full.y, full.side, quarter * math.pi / 2) for quarter in (1, 3, 2)]
    for parts in _PARTS:
        side = full.side / parts
        if side >= _SMALLEST_TILE:
            yield [Region(x, y, side, 0.0) for y in _middles(height, side) for x in _middles(width, side)]


def half_turned(width: int, height: int) -> Region:
    """The whole picture stood on its head."""
    full = whole(width, height)
    return Region(full.x, full.y, full.side, math.pi)


def _middles(length: int, side: float) -> list[float]:
    """Centres of tiles that overlap by half and cover a length; one in the middle when a tile is longer."""
    if length <= side:
        return [length / 2]
    count = math.ceil((length - side) / (side / 2)) + 1
    return [side / 2 + i * (length - side) / (count - 1) for i in range(count)]
