"""Calls through the relay: a short one for every day, the whole matrix where there is time."""

from __future__ import annotations

import asyncio

import pytest

from tests.streaming.impairment.__main__ import SIZE, run
from tests.streaming.impairment.lane import Impairment
from tests.streaming.impairment.matrix import ROWS
from tests.streaming.impairment.near import PATIENCE_S, Seen, moving, watch
from tests.streaming.impairment.relay import Relay

SMALLER = (320, 240)


ENOUGH = 40


def test_a_call_holds_on_a_way_that_loses():
    """With one packet in twenty lost both ways a picture comes, goes on coming, and both ends end well."""

    async def call() -> Seen:
        lossy = [(0.0, Impairment(loss=0.05, delay_s=0.01))]
        async with Relay(lossy, lossy, seed=1) as relay:
            return await watch(relay, PATIENCE_S, moving(SMALLER), SMALLER, enough=ENOUGH)

    seen = asyncio.run(call())
    assert len(seen.shown_s) >= ENOUGH
    assert seen.received >= ENOUGH / 2
    assert not seen.failed


@pytest.mark.full
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_of_the_matrix_holds(row):
    """What docs/networks.md says of bad networks."""
    result = asyncio.run(run(row, moving(SIZE), SIZE, "vp8", seed=1))
    assert result.failed == (), result.cells
