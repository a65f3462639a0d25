"""Which part of the face each mesh point belongs to, computed from the canonical face."""

from __future__ import annotations

import numpy as np

from engine import canonical
from engine.features.au_basis import LIDS_LEFT, LIDS_RIGHT, LIPS
from engine.types import F32

_V = canonical.VERTICES


def _ramp(x: F32) -> F32:
    x = np.clip(x, 0.0, 1.0)
    return np.asarray(x * x * (3.0 - 2.0 * x), np.float32)


def _regions() -> F32:
    """(478, 3): shares of mouth (everything below the nose), eyes and brows; each row sums to 1."""
    lid_height = _V[[159, 386], 1].mean()
    mouth = _ramp((_V[:, 1] - (_V[2, 1] - 2.2)) / 2.4)
    brows = _ramp((lid_height - 0.25 - _V[:, 1]) / 0.7) * (1 - mouth)
    regions = np.column_stack([mouth, 1.0 - mouth - brows, brows]).astype(np.float32)
    regions.setflags(write=False)
    return regions


def _distance(point: int) -> F32:
    return np.asarray(np.linalg.norm(_V[:, :2] - _V[point, :2], axis=1), np.float32)


def _lid_pull() -> F32:
    """(478, 14): how each point moves down per centimetre that a lid pair is to open further."""
    pull = np.zeros((len(_V), 14), np.float32)
    upper, lower = LIDS_RIGHT[0] + LIDS_LEFT[0], LIDS_RIGHT[1] + LIDS_LEFT[1]
    for first in (0, 7):
        columns = range(first, first + 7)
        for side, share in ((upper, -0.8), (lower, 0.2)):
            points = [side[c] for c in columns]
            near = np.stack([np.exp(-((_distance(p) / 0.45) ** 2)) for p in points], axis=1)
            reach = np.exp(-((np.min([_distance(p) for p in points], axis=0) / 0.5) ** 2))
            weights = near / np.maximum(near.sum(1, keepdims=True), 1e-6) * reach[:, None]
            line = _V[points, 1].mean()
            outside = _V[:, 1] <= line + 0.1 if share < 0 else _V[:, 1] >= line - 0.1
            pull[:, columns] += share * weights * outside[:, None]
    for column, (a, b) in enumerate(zip(upper, lower)):
        pull[a], pull[b] = 0.0, 0.0
        pull[a, column], pull[b, column] = -0.8, 0.2
    pull[list(canonical.RIGHT_EYE_CORNERS + canonical.LEFT_EYE_CORNERS)] = 0.0
    pull[canonical.MESH_POINTS :] = 0.0
    pull.setflags(write=False)
    return pull


def _lip_pull() -> F32:
    """(478, 9): the same for the pairs of the inner lips; lower lip and chin take most of it."""
    pull = np.zeros((len(_V), 9), np.float32)
    for side, share, reach_cm in ((LIPS[0], -0.35, 1.2), (LIPS[1], 0.65, 3.0)):
        near = np.stack([np.exp(-(((_V[:, 0] - _V[p, 0]) / 0.5) ** 2)) for p in side], axis=1)
        near = near / np.maximum(near.sum(1, keepdims=True), 1e-9)
        away = np.min([_distance(p) for p in side], axis=0)
        reach = np.exp(-((np.maximum(away - 0.9, 0.0) / reach_cm) ** 2))
        height = np.interp(_V[:, 0], _V[list(side), 0], _V[list(side), 1])
        outside = _V[:, 1] <= height + 0.02 if share < 0 else _V[:, 1] >= height - 0.02
        pull += share * near * (reach * outside)[:, None]
    for column, (a, b) in enumerate(zip(*LIPS)):
        pull[a], pull[b] = 0.0, 0.0
        pull[a, column], pull[b, column] = -0.35, 0.65
    pull[[78, 308, 61, 291]] = 0.0
    pull[canonical.MESH_POINTS :] = 0.0
    pull.setflags(write=False)
    return pull


def _neighbours() -> F32:
    """(478, 478): weights of a Gaussian mean over the skin within about a centimetre; rows sum to 1."""
    apart = np.linalg.norm(_V[:, None] - _V[None], axis=2)
    weights: F32 = np.exp(-(apart**2)).astype(np.float32)
    weights[:, canonical.MESH_POINTS :] = 0.0
    weights /= weights.sum(1, keepdims=True)
    weights.setflags(write=False)
    return weights


REGIONS, LID_PULL, LIP_PULL, NEIGHBOURS = _regions(), _lid_pull(), _lip_pull(), _neighbours()
