"""Measures one face: the attention mesh's seven outputs become 478 points of the picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.backends import Graph
from engine.track.region import Region, around, cut
from engine.types import F32, F64, FACE_POINTS, U8

SIZE = 192
"""Side of the mesh model's input in pixels."""

RIGHT_EYE_OUTER, LEFT_EYE_OUTER = 33, 263

_MESH_POINTS = 468
_MARGIN = 1.5
_MAX_LOGIT = 100.0

# Which mesh point each point of the finer outputs replaces, in the order in which the model gives them.
LIPS = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409,
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415,
    76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306, 184, 74, 73, 72, 11, 302, 303, 304, 408,
    62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 183, 42, 41, 38, 12, 268, 271, 272, 407,
)  # fmt: skip
RIGHT_EYE = (
    33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173,
    130, 25, 110, 24, 23, 22, 26, 112, 243, 247, 30, 29, 27, 28, 56, 190,
    226, 31, 228, 229, 230, 231, 232, 233, 244, 113, 225, 224, 223, 222, 221, 189,
    35, 124, 46, 53, 52, 65, 143, 111, 117, 118, 119, 120, 121, 128, 245,
    156, 70, 63, 105, 66, 107, 55, 193,
)  # fmt: skip
LEFT_EYE = (
    263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398,
    359, 255, 339, 254, 253, 252, 256, 341, 463, 467, 260, 259, 257, 258, 286, 414,
    446, 261, 448, 449, 450, 451, 452, 453, 464, 342, 445, 444, 443, 442, 441, 413,
    265, 353, 276, 283, 282, 295, 372, 340, 346, 347, 348, 349, 350, 357, 465,
    383, 300, 293, 334, 296, 336, 285, 417,
)  # fmt: skip
RIGHT_IRIS = tuple(range(468, 473))
LEFT_IRIS = tuple(range(473, 478))

_LID_POINTS = 16
"""The first points of each eye output are the lids' rim; the irises lie at their mean depth."""

_FINER_PORTS = ("output_lips", "output_left_eye", "output_right_eye", "output_left_iris", "output_right_iris")
"""The model's names; it calls left what lies left in the picture."""

_FINER = np.array(LIPS + RIGHT_EYE + LEFT_EYE + RIGHT_IRIS + LEFT_IRIS)


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What the model says of a region. points: float32 (478, 3), pixels. presence: 0..1 that it is a face."""

    points: F32
    presence: float

    def region(self) -> Region:
        """Where the same face is to be looked for in the next frame."""
        return around(self.points, RIGHT_EYE_OUTER, LEFT_EYE_OUTER, _MARGIN)

    def box(self) -> F32:
        """float32 (4,): x0 y0 x1 y1 in pixels around the points."""
        return np.concatenate([self.points[:, :2].min(0), self.points[:, :2].max(0)])


def refine(mesh: F32, finer: NDArray[np.floating]) -> F64:
    """One set of points out of the model's own sets, in input pixels.

    mesh: (468, 3). finer: (232, 2), lips, right eye, left eye, right iris and left iris one after the other:
    they replace x and y, and keep the mesh's depth. Returns float64 (478, 3).
    """
    points = np.empty((FACE_POINTS, 3))
    points[:_MESH_POINTS] = mesh
    points[_FINER, :2] = finer
    points[RIGHT_IRIS[0] : RIGHT_IRIS[-1] + 1, 2] = mesh[list(RIGHT_EYE[:_LID_POINTS]), 2].mean()
    points[LEFT_IRIS[0] : LEFT_IRIS[-1] + 1, 2] = mesh[list(LEFT_EYE[:_LID_POINTS]), 2].mean()
    return points


def place(points: F64, region: Region) -> F32:
    """Points (478, 3) in input pixels as picture points, float32 (478, 3) in pixels."""
    matrix = region.matrix() / SIZE
    placed = np.empty((FACE_POINTS, 3), np.float32)
    placed[:, :2] = points[:, :2] @ matrix[:, :2].T + matrix[:, 2] * SIZE
    placed[:, 2] = points[:, 2] * (region.side / SIZE)
    return placed


class FaceMesh:
    """The mesh model's graph with its input buffer. Not for several threads at once."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._input = np.zeros((1, SIZE, SIZE, 3), np.float32)

    def read(self, rgb: U8, region: Region) -> Reading | None:
        """Measures what stands in the region, be it a face or not: see Reading.presence.

        rgb: uint8 (H, W, 3), C-contiguous; its border is repeated outside. None when a number is not finite.
        """
        cut(rgb, region, self._input[0], 0.0, 1.0, black_outside=False)
        outputs = self._graph.run({"input_1": self._input})
        mesh = outputs["output_mesh_identity"].reshape(-1, 3)
        finer = np.concatenate([outputs[name].reshape(-1, 2) for name in _FINER_PORTS])
        logit = float(outputs["conv_faceflag"].reshape(()))
        if not (np.isfinite(mesh).all() and np.isfinite(finer).all() and math.isfinite(logit)):
            return None
        presence = 1.0 / (1.0 + math.exp(-min(max(logit, -_MAX_LOGIT), _MAX_LOGIT)))
        return Reading(place(refine(mesh, finer), region), presence)
