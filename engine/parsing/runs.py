"""Painted labels as plain numbers, to be sent beside other controls: runs of a class, row by row over a square."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Final

import numpy as np

from engine.errors import InputError
from engine.parsing.classes import CELEBAMASK, ClassTable
from engine.types import U8

KEEP: Final = 255
"""In the place of a class: nothing is painted here."""

LEAST_SIDE, MOST_SIDE, MOST_RUNS = 16, 512, 20_000

Runs = Sequence[Sequence[int]]
"""(class or KEEP, pixels), row by row."""


def encode(painted: U8) -> tuple[tuple[int, int], ...]:
    """The runs of painted labels, uint8 (P, P), KEEP where there is nothing."""
    flat = painted.ravel()
    starts = np.concatenate([[0], np.flatnonzero(np.diff(flat)) + 1, [flat.size]]).tolist()
    return tuple((int(flat[start]), end - start) for start, end in pairwise(starts))


def decode(runs: Runs, table: ClassTable = CELEBAMASK) -> U8:
    """Painted labels, uint8 (P, P), KEEP where there is nothing.

    Raises InputError for more than MOST_RUNS of them, for anything but pairs of a class of the table, or KEEP, and a
    count, and for a sum that is no square of LEAST_SIDE .. MOST_SIDE pixels a side.
    """
    if not isinstance(runs, Sequence) or isinstance(runs, (str, bytes)) or len(runs) > MOST_RUNS:
        raise InputError(f"painted: expected at most {MOST_RUNS} runs of a class")
    if not all(isinstance(run, (tuple, list)) and len(run) == 2 for run in runs):
        raise InputError("painted: expected runs as pairs of a class and a count of pixels")
    if not all(type(number) is int for number in chain.from_iterable(runs)):
        raise InputError("painted: expected whole numbers")
    classes, counts = (list(numbers) for numbers in zip(*runs)) if runs else ([], [])
    if not all(0 <= number < len(table) or number == KEEP for number in classes):
        raise InputError(f"painted: expected classes 0 .. {len(table) - 1} of {table.name}, or {KEEP}")
    # Held within bounds: Python shows no number of any length.
    total = sum(max(-1, min(count, MOST_SIDE**2 + 1)) for count in counts)
    side = math.isqrt(max(total, 0))
    if side * side != total or not LEAST_SIDE <= side <= MOST_SIDE or min(counts) < 1:
        raise InputError(
            f"painted: got runs of {str(total)[:20]} pixels, expected a square of {LEAST_SIDE} .. {MOST_SIDE} a side"
        )
    return np.repeat(np.array(classes, np.uint8), counts).reshape(side, side)
