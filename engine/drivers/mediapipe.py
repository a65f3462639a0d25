"""MediaPipe's Face Landmarker in somebody else's process, a browser's page say: its scores and the head's matrix.

As one JSON object, `{"blendshapes": {name: score}, "matrix": [16 numbers]}`: the 52 scores by name, of which some
may be left out, and the facial transformation matrix, column by column, in MediaPipe's axes (x to the picture's right,
y up, z towards the camera; centimetres), left out where there is none.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.acting import Acting
from engine.drivers.blendshapes import acting_of, proper_rotation, readable
from engine.errors import InputError
from engine.features.blendshapes import NAMES
from engine.types import F64

_KNOWN: Final = frozenset(NAMES)
_FIELDS: Final = frozenset({"blendshapes", "matrix"})
_AXES = np.diag([1.0, -1.0, -1.0])  # to those of engine/geometry.py, and back
_DISTANCE_CM = 45.0
"""From the camera, at which the head has the size that it stands at first."""
_VIEW = 2 * np.tan(np.radians(63.0) / 2)
"""Height of the picture over its distance; MediaPipe takes every camera for one of 63 degrees."""


def read(told: object) -> Acting:
    """The face in what was told, as JSON was read. Raises InputError."""
    if not isinstance(told, dict) or not _FIELDS.issuperset(told):
        raise InputError(f"blendshapes: expected an object of {', '.join(sorted(_FIELDS))}")
    scores = readable(told.get("blendshapes"), _KNOWN)
    if scores is None:
        raise InputError("blendshapes: expected scores 0 .. 1 by MediaPipe's names")
    if told.get("matrix") is None:
        return acting_of(scores)
    matrix = _matrix(told["matrix"])
    rotation = None if matrix is None else proper_rotation(matrix[:3, :3])
    if matrix is None or rotation is None:
        raise InputError("matrix: expected the 16 numbers of a rotation and a shift, column by column")
    x, y, z = matrix[:3, 3].tolist()
    if z >= -1.0:  # behind the camera, or in it
        return acting_of(scores, _AXES @ rotation @ _AXES)
    height = -z * _VIEW
    return acting_of(scores, _AXES @ rotation @ _AXES, (x / height, -y / height), -_DISTANCE_CM / z)


def _matrix(told: object) -> F64 | None:
    if not isinstance(told, list) or len(told) != 16:
        return None
    if not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in told):
        return None
    if not all(-1e6 < value < 1e6 for value in told):
        return None
    return np.array(told, np.float64).reshape(4, 4).T
