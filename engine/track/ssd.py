"""What MediaPipe's single-shot detectors have in common: anchors, decoding, weighted non-maximum suppression."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from engine.types import F32

MIN_SCORE = 0.5
"""Probability below which a candidate is dropped."""

_MIN_OVERLAP = 0.3
_MAX_LOGIT = 100.0


@cache
def anchors(size: int, layers: Sequence[tuple[int, int]]) -> F32:
    """float32 (n, 2): x, y of the anchors in a detector's square of `size` pixels, 0..1. Read-only.

    layers: (stride in pixels, anchors per cell) of each layer.
    """
    grid = np.concatenate([_cells(size // stride, repeats) for stride, repeats in layers])
    grid.setflags(write=False)
    return grid


def _cells(count: int, repeats: int) -> F32:
    """float32 (count * count * repeats, 2): cell centres row by row, each repeated."""
    steps = (np.arange(count, dtype=np.float32) + 0.5) / count
    y, x = np.meshgrid(steps, steps, indexing="ij")
    return np.repeat(np.stack([x, y], axis=-1).reshape(-1, 2), repeats, axis=0).astype(np.float32)


def decode(raw: F32, logits: F32, grid: F32, size: int) -> tuple[F32, F32]:
    """A detector's outputs as candidates whose score is at least MIN_SCORE, best first.

    raw: float32 (n, 4 + 2 k): box x y w h and k points x y, in input pixels relative to the anchors `grid` (n, 2).
    logits: float32 (n,). Returns points float32 (m, 2 + k, 2) in 0..1 of the square, the box's two corners first,
    and scores float32 (m,).
    """
    clipped = np.clip(logits.astype(np.float64), -_MAX_LOGIT, _MAX_LOGIT)
    scores = 1.0 / (1.0 + np.exp(-clipped))
    kept = np.flatnonzero(scores >= MIN_SCORE)
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    values = raw[kept].reshape(len(kept), raw.shape[1] // 2, 2) / np.float32(size)
    origin = grid[kept]
    half = values[:, 1] / 2
    centre = values[:, 0] + origin
    corners = np.stack([centre - half, centre + half], axis=1)
    points = np.concatenate([corners, values[:, 2:] + origin[:, None]], axis=1)
    usable = (half >= 0).all(1) & np.isfinite(points).all((1, 2))
    return points[usable].astype(np.float32), scores[kept][usable].astype(np.float32)


def merge(points: F32, scores: F32) -> tuple[F32, F32]:
    """Weighted non-maximum suppression: overlapping candidates become their mean, weighted by score.

    Takes and returns what decode returns; a merged answer keeps the score of its best candidate.
    """
    merged: list[NDArray[np.float32]] = []
    best: list[np.float32] = []
    shape = points.shape[1:]
    while len(points):
        same = _box_overlap(points[:, :2], points[0, :2]) > _MIN_OVERLAP
        same[0] = True  # a box without area overlaps nothing, itself included
        weights = scores[same]
        merged.append(np.tensordot(weights, points[same], axes=1) / weights.sum())
        best.append(scores[0])
        points, scores = points[~same], scores[~same]
    return np.array(merged, np.float32).reshape(-1, *shape), np.array(best, np.float32)


def _box_overlap(boxes: F32, box: F32) -> F32:
    """Intersection over union, float32 (n,), of boxes (n, 2, 2) with one box (2, 2), corner by corner."""
    sides = np.maximum(np.minimum(boxes[:, 1], box[1]) - np.maximum(boxes[:, 0], box[0]), 0)
    shared = sides.prod(1)
    union = (boxes[:, 1] - boxes[:, 0]).prod(1) + (box[1] - box[0]).prod() - shared
    share: F32 = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return share
