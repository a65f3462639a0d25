"""Faces compared with each other: which of two is more at rest, their median and what lies between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine import canonical
from engine.features import au_measures, gaze, openness
from engine.geometry import head_pose, rotation_matrix, rotation_vector
from engine.types import AU_NAMES, F64, FaceShape, Features, Gaze, HeadPose, Neutral, Openness

_EFFORT = {
    "AU01": 0.6,
    "AU02": 0.6,
    "AU04": 1.0,
    "AU12": 1.0,
    "AU15": 0.5,
    "AU20": 0.5,
    "AU25": 1.0,
    "AU26": 1.0,
}
_PUCKER_EFFORT = 0.5
# AUs that geometry sees well. Those that also look like the way back from a smile or a frown count half or so.
_UNNOTICED = 0.1  # an intensity by which two resting faces of one person differ
_EFFORTS = np.array([_EFFORT.get(name, 0.0) for name in AU_NAMES], np.float32)

_REST = {
    "inner brow up": (0.10, 0.30),
    "mouth width": (-0.15, 0.30),
    "corner up": (-0.20, 0.45),
    "lip gap": (0.00, 0.20),
}
# Mean and spread, relative to the canonical face, over resting faces of many people, in cm.
_ODDEST = 4.0  # of one measure: people differ, and no single one decides
_ODDNESS_WEIGHT = 0.2  # AU intensity that weighs as much as a factor e in how rare a face is


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One face at one time. regions: float64 (R,), places of its regions relative to the canonical face in
    cm."""

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
        au_measures.region_means(shape.local - canonical.VERTICES),
    )


def effort(start: Sample, end: Sample) -> float:
    """Sum of the intensities, weighted, of what leads from one face to another: AUs seen well, and a
    pucker."""
    aus, pucker = au_measures.explain(end.regions - start.regions)
    noticed = np.maximum(aus - _UNNOTICED, 0.0)
    return float(_EFFORTS @ noticed) + _PUCKER_EFFORT * max(pucker - _UNNOTICED, 0.0)


def oddness(face: Sample) -> float:
    """How rare a face is among resting ones: minus the logarithm of a probability, 0 for the most common."""
    seen = dict(zip(au_measures.MEASURES, au_measures.read(face.regions)))
    strays = [(float(seen[name]) - mean) / spread for name, (mean, spread) in _REST.items()]
    return sum(min(_ODDEST, 0.5 * stray * stray) for stray in strays)


def is_calmer(one: Sample, other: Sample, margin: float) -> bool:
    """Whether `one` is more at rest: `other` is reached from it with more AUs than it from `other`, and it
    is the more common as a resting face; both together by `margin`, in AU intensities."""
    gain = effort(one, other) - effort(other, one) + _ODDNESS_WEIGHT * (oddness(other) - oddness(one))
    return gain > margin


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
    regions = au_measures.region_means(shape.local - canonical.VERTICES)
    return Sample(
        time_s, shape, Openness(*gaps.tolist()), Gaze(*look.tolist()), head_pose(shape.rotation), regions
    )


def _gaps(openness: Openness) -> F64:
    return np.array([openness.mouth, openness.right_eye, openness.left_eye])


def _look(gaze: Gaze) -> F64:
    return np.array([gaze.right_x, gaze.right_y, gaze.left_x, gaze.left_y])
