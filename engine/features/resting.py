"""Faces compared with each other: which of two is more at rest, their median and what lies between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine import canonical
from engine.features import action_units, gaze, openness
from engine.geometry import head_pose, rotation_matrix, rotation_vector
from engine.types import AU_NAMES, F64, FaceShape, Features, Gaze, HeadPose, Neutral, Openness


_WELL_SEEN = [
    AU_NAMES.index(name) for name in ("AU01", "AU02", "AU04", "AU12", "AU15", "AU20", "AU25", "AU26")
]
_UNNOTICED = 0.1  # an intensity that differs between two resting faces of one person


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One face at one time. regions: float64 (R,), places of its regions relative to the canonical face in cm."""

    time_s: float
    shape: FaceShape
    openness: Openness
    gaze: Gaze
    pose: HeadPose
    regions: F64

    def neutral(self, confidence: float) -> Neutral:
        """This face as the neutral."""
        return Neutral(self.shape, self.openness, self.gaze, confidence)


def observe(features: Features, shape: FaceShape) -> Sample:
    """What is compared about one face; signals that `features` lacks are read from its shape."""
    return Sample(
        features.time_s,
        shape,
        features.openness or openness.measure(shape),
        features.gaze or gaze.measure(shape),
        features.head_pose or head_pose(shape.rotation),
        action_units.region_means(shape.local - canonical.VERTICES),
    )


def effort(start: Sample, end: Sample) -> float:
    """Sum of the intensities of the AUs that lead from one face to another, of those that geometry sees well."""
    aus = action_units.intensities(end.regions - start.regions)[_WELL_SEEN]
    return float(np.maximum(aus - _UNNOTICED, 0.0).sum())


def is_calmer(one: Sample, other: Sample, margin: float) -> bool:
    """Whether `one` is more at rest: `other` is reached from it with fewer AUs than the other way round."""
    return effort(one, other) > effort(other, one) + margin


def rms(difference: NDArray[np.floating]) -> float:
    """Root mean square over all components."""
    flat = difference.ravel()
    return float(np.sqrt(flat @ flat / len(flat)))


def median(samples: Sequence[Sample]) -> Sample:
    """The median face: every number on its own, rotation as the mean of the rotations."""
    local = np.median(np.stack([s.shape.local for s in samples]), axis=0).astype(np.float32)
    u, _, vt = np.linalg.svd(np.sum([s.shape.rotation for s in samples], axis=0))
    rotation: F64 = u @ np.diag([1.0, 1.0, float(np.linalg.det(u @ vt))]) @ vt
    scale = float(np.median([s.shape.scale for s in samples]))
    translation = np.median(np.stack([s.shape.translation for s in samples]), axis=0)
    gaps = np.median([_gaps(s.openness) for s in samples], axis=0)
    look = np.median([_look(s.gaze) for s in samples], axis=0)
    shape = FaceShape(local, rotation, scale, translation)
    return _sample(samples[-1].time_s, shape, gaps, look)


def between(start: Sample, end: Sample, share: float) -> Sample:
    """The face `share` of the way from one to another."""
    a, b = start.shape, end.shape
    turn = rotation_matrix(share * rotation_vector(a.rotation.T @ b.rotation))
    shape = FaceShape(
        a.local + np.float32(share) * (b.local - a.local),
        a.rotation @ turn,
        a.scale + share * (b.scale - a.scale),
        a.translation + share * (b.translation - a.translation),
    )
    gaps = (1.0 - share) * _gaps(start.openness) + share * _gaps(end.openness)
    look = (1.0 - share) * _look(start.gaze) + share * _look(end.gaze)
    return _sample(end.time_s, shape, gaps, look)


def _sample(time_s: float, shape: FaceShape, gaps: F64, look: F64) -> Sample:
    regions = action_units.region_means(shape.local - canonical.VERTICES)
    return Sample(
        time_s, shape, Openness(*gaps.tolist()), Gaze(*look.tolist()), head_pose(shape.rotation), regions
    )


def _gaps(openness: Openness) -> F64:
    return np.array([openness.mouth, openness.right_eye, openness.left_eye])


def _look(gaze: Gaze) -> F64:
    return np.array([gaze.right_x, gaze.right_y, gaze.left_x, gaze.left_y])
