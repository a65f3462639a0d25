"""How much likelier it is that a driver and a portrait are one person than that they are two, by the shapes of their
faces alone: docs/self_check.md says how seldom and how often that is wrong.

The model was fitted by export/self_check_model.py. What is kept of a driver is the mean of few numbers in memory, as
long as the check runs; nothing of it leaves the process that tracks but the score.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from engine.features.likeness import telling
from engine.geometry import head_pose
from engine.types import F32, F64, FaceShape

DATA: Final = Path(__file__).parents[1] / "data" / "self_check.npz"
MOST_YAW: Final = 15.0
MOST_PITCH: Final = 15.0
"""Degrees from the camera within which a frame counts."""
ENOUGH: Final = 20
"""Frames, at least, before a score is believed."""
LEAST: Final = -2.0
"""Natural logarithm of the ratio of likelihoods: what is less is somebody else."""


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """mean: float32 (956,). basis: float32 (K, 956), orthonormal rows. weights: float64 (2 K, 2 K), symmetric. The
    score of codes x and y is offset + z' weights z with z = (x, y)."""

    mean: F32
    basis: F32
    weights: F64
    offset: float

    def code(self, told: F64) -> F64:
        """Of engine.features.likeness.telling, (956,) to (K,)."""
        return np.asarray((told - self.mean) @ self.basis.T, np.float64)

    def score(self, one: F64, other: F64) -> float:
        """Of two codes, in natural logarithms: above 0 one person is likelier."""
        both = np.concatenate((one, other))
        return float(self.offset + both @ self.weights @ both)


@lru_cache(maxsize=1)
def shipped() -> Model:
    """The one that is shipped."""
    with np.load(DATA, allow_pickle=False) as data:
        return Model(data["mean"], data["basis"], data["weights"], float(data["offset"]))


class Likeness:
    """Of the face that is followed to one portrait. Another face begins anew."""

    def __init__(self, portrait: FaceShape, model: Model | None = None) -> None:
        self._model = model or shipped()
        self._portrait = self._model.code(telling(portrait))
        self._mean = np.zeros_like(self._portrait)
        self._track: int | None = None
        self.looks = 0
        """Frames that counted so far."""

    def see(self, shape: FaceShape, track: int) -> float:
        """One frame of it; returns the score of all that counted, 0 before the first."""
        if track != self._track:
            self._track, self.looks = track, 0
        pose = head_pose(shape.rotation)
        if abs(pose.yaw) <= MOST_YAW and abs(pose.pitch) <= MOST_PITCH:
            self.looks += 1
            self._mean = self._mean + (self._model.code(telling(shape)) - self._mean) / self.looks
        return self._model.score(self._mean, self._portrait) if self.looks else 0.0
