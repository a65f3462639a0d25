"""A body kept on its ground for a whole clip: what its lowest point does, and a camera that takes out all but jumps.

Needs the clip from its first to its last frame, so it is for files; y is down, so a jump makes the lowest point's y
smaller.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.types import F32, F64

Real = TypeVar("Real", F32, F64)

RISE: Final = 0.2
"""How far the lowest point has to go up in one piece for a jump to begin, in the body's units (metres)."""
LANDED: Final = 0.1
"""How near it has to come to where it started for the jump to end."""


def jumps(lowest: Real) -> list[tuple[int, int]]:
    """The jumps of a clip, as first and last frame, both within it. lowest: (n,) y of the lowest point as it is seen.

    The clip is taken apart where the point turns. A piece that rises by more than RISE starts a jump, at its first
    frame above the ground of the clip's first frame; the jump ends with the first piece after it that ends within
    LANDED of that start or below, or with the clip.
    """
    found: list[tuple[int, int]] = []
    start: int | None = None
    turns = _turns(lowest)
    for before, after in pairwise(turns):
        risen = float(lowest[before]) - float(lowest[after])
        if risen > RISE:
            start = _lift_off(lowest, before, after)
        elif start is not None and float(lowest[start]) - float(lowest[after]) <= LANDED:
            found.append((start, after))
            start = None
    if start is not None:
        found.append((start, len(lowest) - 1))
    return found


def _turns(lowest: Real) -> list[int]:
    steps = np.diff(lowest)
    inner: list[int] = (np.flatnonzero(steps[:-1] * steps[1:] < 0) + 1).tolist()
    return [0, *inner, len(lowest) - 1]


def _lift_off(lowest: Real, before: int, after: int) -> int:
    """The first frame of a rising piece that is above the ground, or where the piece begins."""
    above = np.flatnonzero(lowest[before:after] < lowest[0])
    return before + (int(above[0]) if len(above) else 0)


def jumping(lowest: Real) -> NDArray[np.float64]:
    """(n,), 1 in the frames of a jump and 0 elsewhere."""
    mask = np.zeros(len(lowest))
    for first, last in jumps(lowest):
        mask[first : last + 1] = 1.0
    return mask


def stabilised(cameras: Real, lowest: Real) -> Real:
    """Cameras (n, 3) that hold the lowest point where it is in the first frame: scale 1, tx 0, and ty that takes out
    what it does, but in a jump no more than the camera did itself.

    lowest: (n,) y of the posed body's lowest point before any camera. Horizontal travel and zoom are given up.
    """
    steady = np.zeros_like(cameras)
    steady[:, 0] = 1.0
    down = cameras[:, 2]
    steady[:, 2] = down[0] + (lowest[0] - lowest)
    for first, last in jumps(lowest + down):
        part = slice(first, last + 1)
        steady[part, 2] = np.minimum(down[part], steady[part, 2])
    return steady
