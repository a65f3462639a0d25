"""Reads the body detector: 2254 anchors of a 224 pixel square -> the strongest body's alignment points."""

from __future__ import annotations

from functools import cache

import numpy as np

from engine.types import F32, F64

SIZE = 224
"""Side of the detector's input in pixels."""

_LAYERS = ((8, 2), (16, 2), (32, 6))
_MIN_SCORE = 0.5
_MIN_OVERLAP = 0.3
_MAX_LOGIT = 100.0


@cache
def anchors() -> F64:
    """float64 (2254, 2): x, y of the anchors in the detector's square, 0..1. Read-only."""
    cells = [_cells(SIZE // stride, repeats) for stride, repeats in _LAYERS]
    grid = np.concatenate(cells)
    grid.setflags(write=False)
    return grid


def _cells(count: int, repeats: int) -> F64:
    """float64 (count * count * repeats, 2): cell centres row by row, each repeated."""
    steps = (np.arange(count) + 0.5) / count
    y, x = np.meshgrid(steps, steps, indexing="ij")
    return np.repeat(np.stack([x, y], axis=-1).reshape(-1, 2), repeats, axis=0)


def scores(logits: F32) -> F64:
    """Logits (2254, 1) as probabilities, float64 (2254,) in 0..1."""
    clipped = np.clip(logits.reshape(-1).astype(np.float64), -_MAX_LOGIT, _MAX_LOGIT)
    return 1.0 / (1.0 + np.exp(-clipped))


def decode(raw: F32, index: np.ndarray[tuple[int], np.dtype[np.intp]]) -> tuple[F64, F64]:
    """The raw boxes (2254, 12) of some anchors as boxes and points in the detector's square, 0..1.

    Returns boxes, float64 (n, 4), x0 y0 x1 y1 around the face, and points, float64 (n, 4, 2): middle of the
    hips, rim of the whole body, middle of the shoulders, rim of the upper body.
    """
    rows = raw.reshape(-1, 12)[index].astype(np.float64) / SIZE
    origin = anchors()[index]
    centre, half = rows[:, :2] + origin, rows[:, 2:4] / 2
    points = rows[:, 4:].reshape(-1, 4, 2) + origin[:, None]
    return np.concatenate([centre - half, centre + half], axis=1), points


def overlap(boxes: F64, box: F64) -> F64:
    """Intersection over union, float64 (n,), of boxes (n, 4) with one box (4,); 0 where one is empty."""
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=1)
    areas = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0), axis=1)
    union = areas + np.prod(np.maximum(box[2:] - box[:2], 0.0)) - shared
    return np.where(union > 0, shared / np.where(union > 0, union, 1.0), 0.0)


def strongest(raw: F32, logits: F32) -> F64 | None:
    """The alignment points of the best body, float64 (4, 2), 0..1 in the detector's square; None without one.

    raw: (1, 2254, 12), logits: (1, 2254, 1). Answers that overlap the best one are averaged by score.
    """
    likely = scores(logits)
    index = np.flatnonzero(likely >= _MIN_SCORE)
    if index.size == 0:
        return None
    boxes, points = decode(raw, index)
    weight = likely[index]
    best = int(np.argmax(weight))
    same = overlap(boxes, boxes[best]) > _MIN_OVERLAP
    same[best] = True
    mean = np.tensordot(weight[same], points[same], axes=1) / weight[same].sum()
    return mean if bool(np.isfinite(mean).all()) else None
