"""The resting face behind a single picture, so that a picture can drive too."""

from __future__ import annotations

import numpy as np

from engine import canonical
from engine.features import openness
from engine.features.au_basis import basis
from engine.features.shape import fit_shape
from engine.types import F32, F64, Face, FaceShape, Gaze, Neutral, Openness

_RIDGE = 4.0  # cm^2: how much an AU must explain before it is believed
_SWEEPS = 60


def still_neutral(face: Face) -> Neutral:
    """A neutral for a face seen once: looking straight ahead, mouth closed, and rid of the AUs that explain best
    how it differs from the canonical face. A guess, and marked as one: confidence 0."""
    shape = fit_shape(face.points)
    rest = (shape.local - np.tensordot(_explaining_aus(shape.local), basis(), 1)).astype(np.float32)
    resting = FaceShape(rest, np.eye(3), shape.scale, shape.translation)
    measured = openness.measure(resting)
    return Neutral(
        resting,
        Openness(0.0, measured.right_eye, measured.left_eye),
        Gaze(0.0, 0.0, 0.0, 0.0),
        confidence=0.0,
    )


def _explaining_aus(local: F32) -> F64:
    """AU intensities in 0..1 minimising |local - canonical - sum a_i b_i|^2 + ridge |a|^2, by coordinate descent."""
    fields = basis()[:, : canonical.MESH_POINTS].reshape(len(basis()), -1).astype(np.float64)
    wanted = (local - canonical.VERTICES)[: canonical.MESH_POINTS].ravel().astype(np.float64)
    gram, target = fields @ fields.T, fields @ wanted
    aus = np.zeros(len(fields))
    for _ in range(_SWEEPS):
        for i in range(len(aus)):
            rest = target[i] - gram[i] @ aus + gram[i, i] * aus[i]
            aus[i] = min(1.0, max(0.0, rest / (gram[i, i] + _RIDGE)))
    return aus
