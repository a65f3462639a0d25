"""Tests of engine/track/search.py."""

from __future__ import annotations

import numpy as np
import pytest

from engine.track.search import views


def test_first_the_whole_picture_is_turned() -> None:
    """A picture of a head that lies on its side is found by turning it by quarters."""
    first = next(views(640, 480))
    assert [round(np.degrees(view.angle)) for view in first] == [90, 270, 180]
    assert {view.side for view in first} == {640.0}


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (700, 2000), (1024, 1024), (1001, 333)])
def test_tiles_cover_the_picture_and_overlap_by_half(width: int, height: int) -> None:
    """Every face smaller than half a tile lies whole in some tile."""
    for tiles in list(views(width, height))[1:]:
        side = tiles[0].side
        for x, y in np.random.default_rng(0).uniform((0, 0), (width, height), (200, 2)):
            reach = [max(abs(tile.x - x), abs(tile.y - y)) for tile in tiles]
            assert min(reach) <= side / 4 + 1e-9 or near_border(x, y, width, height, side)


def near_border(x: float, y: float, width: int, height: int, side: float) -> bool:
    return min(x, y, width - x, height - y) <= side / 4


def test_small_pictures_are_not_cut_into_tiles() -> None:
    """A tile of fewer pixels than the detector sees would show nothing new."""
    assert len(list(views(200, 200))) == 1
    assert len(list(views(400, 300))) == 2
