"""Calls through the relay: a short one for every day, the whole matrix where there is time."""

from __future__ import annotations

import asyncio

import pytest

from tests.streaming.impairment.__main__ import SIZE, run
from tests.streaming.impairment.matrix import ROWS, SMALL
from tests.streaming.impairment.near import moving

SMALLER = (320, 240)


@pytest.mark.parametrize("row", SMALL, ids=lambda row: row.name)
def test_a_call_holds_on_a_way_that_loses(row):
    """With one packet in twenty lost both ways a picture comes, goes on coming, and none is old."""
    result = asyncio.run(run(row, moving(SMALLER), SMALLER, "vp8", seed=1))
    assert result.failed == ()


@pytest.mark.full
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_of_the_matrix_holds(row):
    """What docs/networks.md says of bad networks."""
    result = asyncio.run(run(row, moving(SIZE), SIZE, "vp8", seed=1))
    assert result.failed == (), result.cells
