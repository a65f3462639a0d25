"""Finds faces in a part of a picture: the short-range detector's 896 anchors read as MediaPipe reads them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from engine.backends import Graph
from engine.track import ssd
from engine.track.region import Region, cut
from engine.types import F32, F64, U8

SIZE = 128
"""Side of the detector's input in pixels."""

_LAYERS = ((8, 2), (16, 6))
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
    return ssd.anchors(SIZE, _LAYERS)


def place(points: F32, view: Region) -> Region:
    """The region of one face in a view: points (8, 2) in 0..1 of it, the box's two corners, right eye, left eye,
    nose, mouth, right ear, left ear.
    """
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
        raw, logits = outputs["regressors"][0], outputs["classificators"][0, :, 0]
        points, scores = ssd.merge(*ssd.decode(raw, logits, anchors(), SIZE))
        found = [Detection(place(p, view), float(s)) for p, s in zip(points, scores, strict=True)]
        return [one for one in found if one.region.valid()]
