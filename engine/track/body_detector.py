"""Reads the body detector: 2254 anchors of a 224 pixel square -> the strongest body's alignment points."""

from __future__ import annotations

from functools import cache

from engine.track import ssd
from engine.types import F32

SIZE = 224
"""Side of the detector's input in pixels."""

_LAYERS = ((8, 2), (16, 2), (32, 6))


@cache
def anchors() -> F32:
    """float32 (2254, 2): x, y of the anchors in the detector's square, 0..1. Read-only."""
    return ssd.anchors(SIZE, _LAYERS)


def strongest(raw: F32, logits: F32) -> F32 | None:
    """The alignment points of the best body, float32 (4, 2), 0..1 in the detector's square; None without one.

    raw: (1, 2254, 12), logits: (1, 2254, 1). The points: middle of the hips, rim of the whole body, middle of the
    shoulders, rim of the upper body. Answers that overlap the best one are averaged by score.
    """
    points, _ = ssd.merge(*ssd.decode(raw[0], logits.reshape(-1), anchors(), SIZE))
    return points[0, 2:] if len(points) else None
