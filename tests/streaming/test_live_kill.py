"""The kill switch of a real server, with every session busy: no packet of picture is later than one frame interval and
50 ms, whatever else the server does."""

from __future__ import annotations

import asyncio

import pytest

from tests.streaming.figures_kill import MOST_S, WAYS, measure

pytestmark = [pytest.mark.alone, pytest.mark.full]


@pytest.mark.parametrize("way", WAYS)
def test_nothing_leaves_later_than_an_interval_and_50_ms(models: None, way: str) -> None:
    """Three sessions with a viewer each, all of them sending until the word is given."""
    found = asyncio.run(measure(way, 3))
    assert min(found.rates) > 5, found
    assert found.after == 0, found
    assert max(found.last_s) <= MOST_S, found
