"""The square that is cut around a live face: held still while the face only trembles."""

from __future__ import annotations

import numpy as np

from engine.crop import crop_of, face_crop
from engine.geometry import apply_affine, invert_affine
from engine.types import F64, Crop, FaceShape

SLACK = 0.012
"""Share of the crop's side by which a face may move before its crop follows."""


class SteadyCrop:
    """One face's crop from frame to frame, by a rule of engine/crop.py.

    It stands still until a corner is off by SLACK of the side, and is then dragged along by what exceeds that: no
    trembling, and no delay that grows with speed. `reset` when the track changes.
    """

    def __init__(self, rule: str, size: int) -> None:
        self._rule, self._size = rule, size
        self._corners = np.array([[0, 0], [size, 0], [0, size], [size, size]], np.float64) - 0.5
        self._held: F64 | None = None

    def reset(self) -> None:
        """Forget the past: the next face is cut where it is."""
        self._held = None

    def follow(self, shape: FaceShape) -> Crop:
        """The crop for a face of this frame, frame pixels to crop pixels. Raises InputError as crop_of does."""
        rule = self._rule
        wanted = face_crop(shape, self._size) if rule == "face" else crop_of(rule, shape.points(), self._size)
        if self._held is None:
            self._held = np.ascontiguousarray(wanted.matrix)
        else:
            off, slack = self._off(wanted.matrix, self._held), SLACK * self._size
            share = 0.0 if off <= slack else 1.0 - slack / off
            self._held = self._held + share * (wanted.matrix - self._held)
        return Crop(self._held, self._size)

    def _off(self, wanted: F64, held: F64) -> float:
        """Crop pixels by which the wanted corners lie off in the held crop, at most."""
        seen = apply_affine(held, apply_affine(invert_affine(wanted), self._corners))
        return float(np.linalg.norm(seen - self._corners, axis=1).max())
