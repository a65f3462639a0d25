"""Reads the body landmark model: its five outputs -> 33 points, 2 alignment points and 33 world points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.track.body_region import place, turn
from engine.track.region import Region
from engine.types import F32, F64

SIZE = 256
"""Side of the landmark model's input in pixels."""

POINTS = 33
"""Points of a body: 0 nose, 1-6 eyes, 7-8 ears, 9-10 mouth, 11-22 arms and hands, 23-24 hips, 25-32 legs and
feet; of each pair the person's left one comes first."""

_ALL = 39
_HEATMAP = 64
_REACH = 4
_MIN_CONFIDENCE = 0.5

_Cells = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Landmarks:
    """What the model saw in one frame.

    points: float64 (33, 3), x y z in pixels. alignment: float64 (2, 2) in pixels, centre and rim of the next
    region. world: float64 (33, 3) in metres from the middle of the hips. visibility: float64 (33,) in 0..1.
    """

    points: F64
    alignment: F64
    world: F64
    visibility: F64

    def finite(self) -> bool:
        """Whether every number is one."""
        parts = (self.points, self.alignment, self.world, self.visibility)
        return all(bool(np.isfinite(part).all()) for part in parts)


def sigmoid(values: F32 | F64) -> F64:
    """1 / (1 + exp(-values)), float64, without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * values.astype(np.float64)))


def refine(points: F64, heatmap: F32) -> F64:
    """Move each point to the centre of mass of its heatmap in the 9 x 9 cells around it.

    points: float64 (39, 2), 0..1 in the region. heatmap: logits (64, 64, 39). A point outside of the map, or
    without a cell of confidence .5 or more near it, stays where it is.
    """
    start = np.trunc(points * _HEATMAP)
    inside = ((start >= 0) & (start < _HEATMAP)).all(axis=1)
    rows, columns, confidence = _near(start.astype(np.intp), heatmap)
    sure = inside & (confidence.max(axis=(1, 2)) >= _MIN_CONFIDENCE)
    total = np.where(sure, confidence.sum(axis=(1, 2)), 1.0) * _HEATMAP
    x, y = ((axis * confidence).sum(axis=(1, 2)) / total for axis in (columns, rows))
    return np.where(sure[:, None], np.stack([x, y], axis=1), points)


def _near(start: _Cells, heatmap: F32) -> tuple[_Cells, _Cells, F64]:
    """Rows (39, 9, 1), columns (39, 1, 9) and confidences (39, 9, 9) around each cell; 0 off the map."""
    step = np.arange(-_REACH, _REACH + 1)
    rows = start[:, 1, None, None] + step[None, :, None]
    columns = start[:, 0, None, None] + step[None, None, :]
    last = _HEATMAP - 1
    layer = np.arange(len(start))[:, None, None]
    logits = heatmap[np.clip(rows, 0, last), np.clip(columns, 0, last), layer]
    known = (rows >= 0) & (rows <= last) & (columns >= 0) & (columns <= last)
    return rows, columns, np.where(known, sigmoid(logits), 0.0)


def read(landmarks: F32, heatmap: F32, world: F32, region: Region) -> Landmarks:
    """Decode one answer of the model for one region of the picture.

    landmarks: 39 x (x, y, z in pixels of the cut, visibility logit, presence logit). heatmap: 64 x 64 x 39
    logits. world: 39 x 3 metres.
    """
    rows = landmarks.reshape(_ALL, 5).astype(np.float64)
    flat = refine(rows[:, :2] / SIZE, heatmap.reshape(_HEATMAP, _HEATMAP, _ALL))
    placed = place(flat[: POINTS + 2], region)
    depth = rows[:POINTS, 2] / SIZE * region.side
    metres = world.reshape(_ALL, 3)[:POINTS].astype(np.float64)
    return Landmarks(
        points=np.column_stack([placed[:POINTS], depth]),
        alignment=placed[POINTS:],
        world=np.column_stack([turn(metres[:, :2], region.angle), metres[:, 2]]),
        visibility=sigmoid(rows[:POINTS, 3]),
    )
