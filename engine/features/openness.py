"""How far mouth and eyes stand open, read in the face's own frame so that a turned head does not close them.

Formulas, all in the local shape L (canonical centimetres, seen along the face's own z axis):

    mouth = mean over three middle pairs of (y of lower inner lip - y of upper inner lip) / |L33 - L263|
    eye   = mean over three middle pairs of ((lower lid - upper lid) . down) / |corner - corner|

where `down` is perpendicular to the line through that eye's corners. Neither is ever below 0. Measured on
tracked faces: a closed mouth reads 0 .. 0.01, a wide open one 0.6; an open eye 0.25 .. 0.45, a closed one 0
.. 0.06.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.canonical import LEFT_EYE_CORNERS, OUTER_EYE_CORNERS, RIGHT_EYE_CORNERS
from engine.types import F32, FaceShape, Openness

LIP_PAIRS = ((13, 14), (82, 87), (312, 317))
"""(upper, lower) inner lip points whose gaps are averaged."""

RIGHT_LID_PAIRS = ((160, 144), (159, 145), (158, 153))
LEFT_LID_PAIRS = ((387, 373), (386, 374), (385, 380))
"""(upper, lower) lid points whose gaps are averaged."""

_UPPER_LIPS, _LOWER_LIPS = np.array(LIP_PAIRS).T
_EYES = np.array([[*zip(*RIGHT_LID_PAIRS)], [*zip(*LEFT_LID_PAIRS)]])
_CORNERS = np.array([RIGHT_EYE_CORNERS, LEFT_EYE_CORNERS])


def measure(shape: FaceShape) -> Openness:
    """Mouth and eyes of one face."""
    local = shape.local
    width = float(np.linalg.norm(local[OUTER_EYE_CORNERS[1]] - local[OUTER_EYE_CORNERS[0]]))
    gap = float((local[_LOWER_LIPS, 1] - local[_UPPER_LIPS, 1]).mean())
    right, left = _lids(local)
    return Openness(max(0.0, gap / width), max(0.0, float(right)), max(0.0, float(left)))


def _lids(local: F32) -> NDArray[np.float32]:
    """Lid gap over eye width of both eyes, right first: (2,)."""
    corners = local[_CORNERS, :2]
    axis = corners[:, 1] - corners[:, 0]
    lids = local[_EYES, :2]
    gap = (lids[:, 1] - lids[:, 0]).mean(1)
    return np.asarray((axis[:, 0] * gap[:, 1] - axis[:, 1] * gap[:, 0]) / (axis * axis).sum(1))
