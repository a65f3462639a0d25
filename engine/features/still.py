"""The resting face behind a single picture, so that a picture can drive too, and the AUs that it shows by itself."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from engine import canonical
from engine.compiled import compiled
from engine.features import action_units, openness
from engine.features.au_basis import basis
from engine.features.shape import fit_shape
from engine.types import AU_NAMES, F32, F64, Face, FaceShape, Gaze, Neutral, Openness

_RIDGE = 4.0  # cm^2: how much an AU must explain before it is believed
_SWEEPS = 60


def still_neutral(face: Face) -> Neutral:
    """A neutral for a face seen once: looking straight ahead, mouth closed, and rid of the AUs that explain best
    how it differs from the canonical face. A guess, and marked as one: confidence 0."""
    return neutral_behind(fit_shape(face.points))


def neutral_behind(shape: FaceShape) -> Neutral:
    """The same for a face that is fitted already."""
    rest = (shape.local - np.tensordot(_explaining_aus(shape.local), basis(), 1)).astype(np.float32)
    resting = FaceShape(rest, np.eye(3), shape.scale, shape.translation)
    measured = openness.measure(resting)
    return Neutral(
        resting,
        Openness(0.0, measured.right_eye, measured.left_eye),
        Gaze(0.0, 0.0, 0.0, 0.0),
        confidence=0.0,
    )


def static_aus(shape: FaceShape) -> F32:
    """The AUs of one face by itself, without any other frame of it: float32 (17,) in [0, 1], order AU_NAMES."""
    return action_units.measure(shape, neutral_behind(shape))


def _explaining_aus(local: F32) -> F64:
    """AU intensities in 0..1 minimising |local - canonical - sum a_i b_i|^2 + ridge |a|^2, by coordinate descent."""
    fields, gram = _fields()
    wanted = (local - canonical.VERTICES)[: canonical.MESH_POINTS].ravel().astype(np.float64)
    aus = np.zeros(len(AU_NAMES))
    _descend(gram, fields @ wanted, aus)
    return aus


@lru_cache(maxsize=1)
def _fields() -> tuple[F64, F64]:
    """The AU basis on the mesh, a row per AU, and its Gram matrix."""
    fields = basis()[:, : canonical.MESH_POINTS].reshape(len(AU_NAMES), -1).astype(np.float64)
    return fields, fields @ fields.T


@compiled
def _descend(gram: F64, target: F64, aus: F64) -> None:
    for _ in range(_SWEEPS):
        for i in range(len(aus)):
            rest = target[i] + gram[i, i] * aus[i]
            for j in range(len(aus)):
                rest -= gram[i, j] * aus[j]
            aus[i] = min(1.0, max(0.0, rest / (gram[i, i] + _RIDGE)))


def warm_up() -> None:
    """Compile before the first frame."""
    _explaining_aus(canonical.VERTICES)
