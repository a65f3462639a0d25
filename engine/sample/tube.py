"""Tapered tubes along a curve: horns of the cap, locks of hair, trims and the stick."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from engine.sample.canvas import Canvas, curve
from engine.types import F32


@dataclass(frozen=True, slots=True, eq=False)
class Tube:
    """A tube seen from the front.

    coverage: 0..1. roundness: 0 at the edge, 1 on the crest. radius: head units. along: 0..1 from start
    to end. across: -1..1, from one edge to the other.
    """

    canvas: Canvas
    coverage: F32
    roundness: F32
    radius: F32
    along: F32
    across: F32


def sweep(canvas: Canvas, knots: ArrayLike, steps: int = 10) -> Tube:
    """The tube through knots (n, 3): x, y, radius in head units."""
    path = curve(knots, steps=steps)
    window = canvas.window(path[:, :2], float(path[:, 2].max()) * 1.1 + 0.02)
    nearest = np.full(window.shape, np.inf, np.float32)
    fields = np.zeros((3, *window.shape), np.float32)
    lengths = np.linalg.norm(np.diff(path[:, :2], axis=0), axis=1)
    starts = np.concatenate([[0], np.cumsum(lengths)]) / lengths.sum()
    for i in range(len(path) - 1):
        _add_segment(window, path[i], path[i + 1], (float(starts[i]), float(starts[i + 1])), nearest, fields)
    radius = np.maximum(fields[0], 1e-4)
    ratio = np.where(np.isfinite(nearest), nearest, 4).astype(np.float32)
    edge = np.clip((1 - ratio) * radius * window.unit + 0.5, 0, 1)
    coverage = np.where(np.isfinite(nearest), edge, 0).astype(np.float32)
    roundness = np.sqrt(np.clip(1 - ratio * ratio, 0, 1)).astype(np.float32)
    return Tube(window, coverage, roundness, radius, fields[1], np.clip(fields[2], -1, 1))


def _add_segment(
    window: Canvas, start: F32, end: F32, span: tuple[float, float], nearest: F32, fields: F32
) -> None:
    """Keeps, per pixel, the segment that it lies deepest in."""
    reach = float(max(start[2], end[2])) * 1.15 + 0.02
    near = window.window(np.stack([start[:2], end[:2]]), reach)
    rows = slice(near.top - window.top, near.top - window.top + near.height)
    columns = slice(near.left - window.left, near.left - window.left + near.width)
    x, y = near.x - start[0], near.y - start[1]
    step = end[:2] - start[:2]
    length = float(np.hypot(*step)) or 1e-6
    t = np.clip((x * step[0] + y * step[1]) / length**2, 0, 1)
    radius = start[2] + (end[2] - start[2]) * t
    ratio = np.hypot(x - t * step[0], y - t * step[1]) / np.maximum(radius, 1e-4)
    side = (x * step[1] - y * step[0]) / (length * np.maximum(radius, 1e-4))
    better = ratio < nearest[rows, columns]
    nearest[rows, columns][better] = ratio[better]
    along = span[0] + (span[1] - span[0]) * t
    for field, value in zip(fields, (radius, along, -side), strict=True):
        field[rows, columns][better] = np.broadcast_to(value, better.shape)[better]
