"""Finds faces in a part of a picture: the short-range detector's 896 anchors read as MediaPipe reads them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from engine.backends import Graph
from engine.track.region import Region, cut
from engine.types import F32, F64, U8

SIZE = 128
"""Side of the detector's input in pixels."""

MIN_SCORE = 0.5

_STRIDES = (8, 16, 16, 16)
_PER_LAYER = 2
_MIN_OVERLAP = 0.3
_MAX_LOGIT = 100.0
_MARGIN = 1.5
_RIGHT_EYE, _LEFT_EYE = 2, 3


@dataclass(frozen=True, slots=True)
class Detection:
    """A face found. region: where its mesh is to be looked for, turned with its eyes. score: 0..1."""

    region: Region
    score: float


@cache
def anchors() -> F32:
    """float32 (896, 2): x, y of the anchors in the detector's square, 0..1. Read-only."""
    layers = [
        _cells(SIZE // stride, _PER_LAYER * _STRIDES.count(stride)) for stride in dict.fromkeys(_STRIDES)
    ]
    grid = np.concatenate(layers)
    grid.setflags(write=False)
    return grid


def _cells(count: int, repeats: int) -> F32:
    """float32 (count * count * repeats, 2): cell centres row by row, each repeated."""
    steps = (np.arange(count, dtype=np.float32) + 0.5) / count
    y, x = np.meshgrid(steps, steps, indexing="ij")
    return np.repeat(np.stack([x, y], axis=-1).reshape(-1, 2), repeats, axis=0).astype(np.float32)


def decode(raw: F32, logits: F32) -> tuple[F32, F32]:
    """The detector's outputs as candidates whose score is at least MIN_SCORE, best first.

    raw: float32 (896, 16): box x y w h and six points x y, in input pixels relative to the anchor.
    logits: float32 (896,). Returns points float32 (n, 8, 2) in 0..1 of the square (the box's two corners,
    right eye, left eye, nose, mouth, right ear, left ear) and scores float32 (n,).
    """
    clipped = np.clip(logits.astype(np.float64), -_MAX_LOGIT, _MAX_LOGIT)
    scores = 1.0 / (1.0 + np.exp(-clipped))
    kept = np.flatnonzero(scores >= MIN_SCORE)
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    values = raw[kept].reshape(-1, 8, 2) / np.float32(SIZE)
    origin = anchors()[kept]
    half = values[:, 1] / 2
    centre = values[:, 0] + origin
    corners = np.stack([centre - half, centre + half], axis=1)
    points = np.concatenate([corners, values[:, 2:] + origin[:, None]], axis=1)
    usable = (half >= 0).all(1) & np.isfinite(points).all((1, 2))
    return points[usable].astype(np.float32), scores[kept][usable].astype(np.float32)


def merge(points: F32, scores: F32) -> tuple[F32, F32]:
    """Weighted non-maximum suppression: overlapping candidates become their mean, weighted by score.

    Takes and returns what decode returns; a merged face keeps the score of its best candidate.
    """
    faces: list[NDArray[np.float32]] = []
    best: list[np.float32] = []
    while len(points):
        same = _box_overlap(points[:, :2], points[0, :2]) > _MIN_OVERLAP
        if not same.any():  # a box without area overlaps nothing, itself included
            same[0] = True
        weights = scores[same]
        faces.append(np.tensordot(weights, points[same], axes=1) / weights.sum())
        best.append(scores[0])
        points, scores = points[~same], scores[~same]
    return np.array(faces, np.float32).reshape(-1, 8, 2), np.array(best, np.float32)


def _box_overlap(boxes: F32, box: F32) -> F32:
    """Intersection over union, float32 (n,), of boxes (n, 2, 2) with one box (2, 2), corner by corner."""
    sides = np.maximum(np.minimum(boxes[:, 1], box[1]) - np.maximum(boxes[:, 0], box[0]), 0)
    shared = sides.prod(1)
    union = (boxes[:, 1] - boxes[:, 0]).prod(1) + (box[1] - box[0]).prod() - shared
    share: F32 = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return share


def place(points: F32, view: Region) -> Region:
    """The region of one face (8, 2), given in 0..1 of the view that the detector saw."""
    matrix: F64 = view.matrix()
    centre = matrix[:, :2] @ points[:2].mean(0) + matrix[:, 2]
    run, rise = matrix[:, :2] @ (points[_LEFT_EYE] - points[_RIGHT_EYE]).astype(np.float64)
    side = float((points[1] - points[0]).max()) * view.side
    return Region(float(centre[0]), float(centre[1]), _MARGIN * side, float(np.arctan2(rise, run)))


class FaceDetector:
    """The detector's graph with its input buffer. Not for several threads at once."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._input = np.zeros((1, SIZE, SIZE, 3), np.float32)

    def find(self, rgb: U8, view: Region) -> list[Detection]:
        """Faces in the view, best score first. rgb: uint8 (H, W, 3), C-contiguous; black outside of it."""
        cut(rgb, view, self._input[0], -1.0, 1.0, black_outside=True)
        outputs = self._graph.run({"input": self._input})
        points, scores = merge(*decode(outputs["regressors"][0], outputs["classificators"][0, :, 0]))
        found = [Detection(place(p, view), float(s)) for p, s in zip(points, scores, strict=True)]
        return [one for one in found if one.region.valid()]
