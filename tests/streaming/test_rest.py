"""The face at rest that moves a puppet while a camera is off."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from engine.acting import packed, unpacked
from engine.types import AU_NAMES
from streaming.rest import RATE, Rest, resting

MINUTES = np.arange(0, 180, 1 / 30)
CLOSURE = AU_NAMES.index("AU45")


def test_it_never_makes_a_face() -> None:
    """It begins neutral; nothing but the eyes' closing acts, and the head turns by a few degrees, and does turn."""
    first = resting(0.0)
    assert np.array_equal(first.rotation, np.eye(3))
    assert not first.right.any()
    faces = [resting(time_s) for time_s in MINUTES]
    others = np.array([np.delete(face.right, CLOSURE) for face in faces])
    assert not others.any()
    angles = np.degrees([np.arccos(min(1.0, (np.trace(face.rotation) - 1) / 2)) for face in faces])
    assert 1.0 < angles.max() < 4.0


def test_it_is_not_frozen_and_does_not_leap() -> None:
    """Its eyes close now and then, and from one moment to the next it hardly moves."""
    closure = np.array([resting(time_s).right[CLOSURE] for time_s in MINUTES])
    blinks = np.count_nonzero((closure[1:] > 0.5) & (closure[:-1] <= 0.5))
    assert 20 < blinks < 60
    assert np.mean(closure > 0.1) < 0.1
    turns = np.array([resting(time_s).rotation for time_s in MINUTES])
    assert np.abs(np.diff(turns, axis=0)).max() < np.radians(0.2)


@pytest.mark.parametrize("time_s", [0.0, 1.0, 77.7, 86400.0])
def test_it_passes_as_a_tracker(time_s: float) -> None:
    """The worker takes only what is a proper rotation within bounds."""
    assert unpacked(packed(resting(time_s))) is not None


def test_it_ends() -> None:
    """Nothing is told after its end."""

    async def rest() -> tuple[int, int]:
        told: list[float] = []
        resting = Rest(lambda data, at_s: told.append(at_s))
        await asyncio.sleep(3 / RATE)
        resting.end()
        count = len(told)
        await asyncio.sleep(3 / RATE)
        return count, len(told)

    count, later = asyncio.run(rest())
    assert count >= 1
    assert later == count
