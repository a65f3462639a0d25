"""The driver's codes at rest, against which a puppet's motion is measured."""

from __future__ import annotations

import math

import numpy as np

from engine.types import F32, FaceShape, Neutral

_NEAR_CM, _NEAR_DEG = 0.15, 6.0
"""A face that differs from the neutral by this much counts a third of one that is the neutral."""
_LEAST = 1e-6
_MOST_S = 10.0  # of resting frames that are remembered
_LONGEST_S = 0.1


class NeutralCodes:
    """A mean of the driver's codes, weighed by how near each frame is to the neutral that calibration found.

    What calibration knows is a shape, and codes come from pictures, so that they are gathered from the frames in which
    the face is that shape. The first frame's codes are the first mean: a puppet begins at rest.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Another driver, or another neutral."""
        self.codes: F32 | None = None
        self._weight, self._time_s, self._confidence = 0.0, -math.inf, 0.0

    def calibrated(self, neutral: Neutral) -> None:
        """Of the frame that begins. A neutral that is looked for anew begins anew here, too."""
        if neutral.confidence < self._confidence:
            self.reset()
        self._confidence = neutral.confidence

    def add(self, codes: F32, shape: FaceShape, neutral: Neutral, time_s: float) -> None:
        """codes: float32 (1, rows, w). shape: the driver's of the same frame."""
        passed = min(max(time_s - self._time_s, 0.0), _LONGEST_S)
        self._time_s = time_s
        weight = max(_LEAST, nearness(shape, neutral.shape)) * max(passed, 1e-3)
        self._weight = min(self._weight, _MOST_S) + weight
        if self.codes is None:
            self.codes = codes.copy()
        else:
            self.codes = self.codes + np.float32(weight / self._weight) * (codes - self.codes)


def nearness(shape: FaceShape, neutral: FaceShape) -> float:
    """1 where a face is the neutral in shape and pose, towards 0 beyond."""
    apart = float(np.sqrt(np.square(shape.local - neutral.local).sum(1).mean()))
    cosine = (float(np.trace(shape.rotation @ neutral.rotation.T)) - 1.0) / 2.0
    turned = math.degrees(math.acos(min(1.0, max(-1.0, cosine))))
    return math.exp(-((apart / _NEAR_CM) ** 2) - (turned / _NEAR_DEG) ** 2)
