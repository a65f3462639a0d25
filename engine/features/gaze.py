"""Where the irises stand between the corners of the eyes, read in the face's own frame.

Formula, per eye, in the local shape L seen along the face's own z axis: with corners a and b (a further
left in the picture), e = (b - a) / |b - a| and d = e turned a quarter towards the chin,

    x = (iris - (a + b) / 2) . e / (|b - a| / 2)        y = (iris - (a + b) / 2) . d / (|b - a| / 2)
"""

from __future__ import annotations

import numpy as np

from engine.canonical import LEFT_EYE_CORNERS, LEFT_IRIS, RIGHT_EYE_CORNERS, RIGHT_IRIS
from engine.types import FaceShape, Gaze

_CORNERS = np.array([RIGHT_EYE_CORNERS, LEFT_EYE_CORNERS])
_IRISES = np.array([RIGHT_IRIS[0], LEFT_IRIS[0]])


def measure(shape: FaceShape) -> Gaze:
    """Both irises of one face. A closed eye still gives a number, which means nothing: see Openness."""
    corners = shape.local[_CORNERS, :2]
    axis = corners[:, 1] - corners[:, 0]
    offset = shape.local[_IRISES, :2] - 0.5 * (corners[:, 0] + corners[:, 1])
    per_width = 2.0 / (axis * axis).sum(1)
    x = (axis * offset).sum(1) * per_width
    y = (axis[:, 0] * offset[:, 1] - axis[:, 1] * offset[:, 0]) * per_width
    return Gaze(float(x[0]), float(y[0]), float(x[1]), float(y[1]))
