"""Painted labels as runs: there and back, and nothing that could not be shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.errors import InputError
from engine.parsing.classes import Part
from engine.parsing.runs import KEEP, MOST_RUNS, decode, encode


def test_a_painting_comes_back_as_it_was() -> None:
    """Runs go on over the ends of rows; one of nothing at all is one run."""
    painted = np.full((32, 32), KEEP, np.uint8)
    assert encode(painted) == ((KEEP, 1024),)
    painted[5:9, 20:] = Part.HAIR
    painted[9, :4] = Part.HAIR
    painted[0, 0] = Part.BACKGROUND
    runs = encode(painted)
    assert runs[0] == (0, 1)
    assert (Part.HAIR, 16) in runs  # the last one of them, into the next row
    assert (decode([list(run) for run in runs]) == painted).all()


@pytest.mark.parametrize(
    ("runs", "told"),
    [
        ([[19, 1024]], "expected classes 0 .. 18"),
        ([[-1, 1024]], "expected classes 0 .. 18"),
        ([[1, 1023]], "runs of 1023 pixels"),
        ([[1, 15 * 15]], "expected a square of 16 .. 512"),
        ([[1, 10**40]], "expected a square"),
        ([[1, 10**5000]], "expected a square"),
        ([[1, -(10**5000)]], "expected a square"),
        ([[1, -1], [2, 1025]], "expected a square"),
        ([[1, 0], [2, 1024]], "expected a square"),
        ([[1, 1024.0]], "whole numbers"),
        ([[True, 1024]], "whole numbers"),
        ([[1, 2, 3]], "pairs"),
        ([], "expected a square"),
        ("11", "runs of a class"),
        ([[1, 1]] * (MOST_RUNS + 1), "at most"),
    ],
)
def test_what_is_no_painting_is_refused(runs: Any, told: str) -> None:
    """By one line, before memory is taken for it."""
    with pytest.raises(InputError, match=told):
        decode(runs)
