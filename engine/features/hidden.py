"""Which action units cannot be seen because something stands before the skin that shows them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from engine import canonical
from engine.features.au_basis import basis
from engine.types import AU_NAMES, F32, U8

COVERED = 0.35
"""Share of an AU's motion on covered skin from which on its reading is not believed."""


def covered_points(points: F32, occlusion: U8) -> NDArray[np.bool_]:
    """Which of the 468 mesh points lie under something: points (478, 3) pixels, occlusion uint8 (H, W)."""
    height, width = occlusion.shape
    places = np.rint(points[: canonical.MESH_POINTS, :2]).astype(np.intp)
    x, y = places[:, 0], places[:, 1]
    within = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return np.asarray(within & (occlusion[y.clip(0, height - 1), x.clip(0, width - 1)] > 127))


def hidden_aus(points: F32, occlusion: U8) -> NDArray[np.bool_]:
    """Which AUs are hidden, bool (17,) in the order of AU_NAMES: at least COVERED of the motion that they make is on
    skin that something covers."""
    return np.asarray(_shares() @ covered_points(points, occlusion) >= COVERED)


@lru_cache(maxsize=1)
def _shares() -> F32:
    """(17, 468): how an AU's motion is spread over the points, each row adding up to 1."""
    travel = np.linalg.norm(basis()[:, : canonical.MESH_POINTS], axis=2)
    assert len(travel) == len(AU_NAMES)
    return np.asarray(travel / travel.sum(1, keepdims=True), np.float32)
