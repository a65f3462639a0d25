"""Bodies for tests: poses as people take them, and what the tracker would have seen of them."""

from __future__ import annotations

from functools import cache

import numpy as np

from engine.body import inverse
from engine.body import skeleton as s
from engine.body.landmarks import Landmarks, find_landmarks
from engine.body.model import BodyModel
from engine.body.synthetic import synthetic_body
from engine.mesh import rotations as forms
from engine.types import F32, F64, Body

SIZE = (640, 480)
SCALE = 220.0
"""Pixels a metre in `seen`."""
MOVABLE = tuple(joint for joint in range(s.COUNT) if joint not in s.STILL)


@cache
def landmarks() -> Landmarks:
    return find_landmarks(synthetic_body())


def natural_pose(numbers: np.random.Generator) -> F64:
    """Rotations (24, 3, 3): any yaw, back and neck bent as wholes with some scatter between their joints, arms anywhere
    in front and at the sides, elbows 0..140 and knees 0..120 degrees, twisted forearms, turned hands and feet."""

    def about(*degrees: float) -> F64:
        return np.asarray(np.clip(numbers.standard_normal(3), -2, 2) * degrees)

    vectors = np.zeros((s.COUNT, 3))
    shares = 1 / 3 + 0.1 * np.clip(numbers.standard_normal(3), -2, 2)
    back, neck = about(24, 20, 15), about(20, 30, 15)
    for joint, share in zip((s.SPINE1, s.SPINE2, s.SPINE3), shares / shares.sum()):
        vectors[joint] = share * back + about(3, 3, 3)
    half = 0.5 + 0.15 * np.clip(numbers.standard_normal(), -2, 2)
    vectors[s.NECK], vectors[s.HEAD] = half * neck + about(3, 3, 3), (1 - half) * neck + about(3, 3, 3)
    for side, sign in enumerate(s.SIDES):
        vectors[s.COLLARS[side]] = about(3, 6, 6)
        vectors[s.ELBOWS[side]] = 0, -sign * numbers.uniform(0, 140), 0
        vectors[s.WRISTS[side]] = about(10, 12, 15)
        vectors[s.HIPS[side]] = about(0, 15, 12) + np.array([numbers.uniform(-90, 25), 0, 0])
        vectors[s.KNEES[side]] = numbers.uniform(0, 120), 0, 0
        vectors[s.ANKLES[side]] = about(12, 8, 6)
    rotations: F64 = forms.from_vectors(np.radians(vectors))
    for side, sign in enumerate(s.SIDES):
        high, ahead = np.radians(numbers.uniform(-80, 60)), np.radians(numbers.uniform(-30, 90))
        pointing = np.array([sign * np.cos(high) * np.cos(ahead), np.sin(high), np.cos(high) * np.sin(ahead)])
        twist = forms.from_vectors(np.radians(np.array([25 * numbers.standard_normal(), 0.0, 0.0])))
        rotations[s.SHOULDERS[side]] = inverse.arc(np.array([sign, 0.0, 0.0]), pointing) @ twist
        twist = forms.from_vectors(np.radians(np.array([15 * numbers.standard_normal(), 0.0, 0.0])))
        rotations[s.ELBOWS[side]] = rotations[s.ELBOWS[side]] @ twist
    yaw = forms.from_vectors(np.array([0.0, numbers.uniform(-np.pi, np.pi), 0.0]))
    lean = forms.from_vectors(np.radians(about(10, 0, 8)))
    rotations[s.PELVIS] = np.diag([1.0, -1.0, -1.0]) @ yaw @ lean
    return rotations


def points_of(rotations: F64, model: BodyModel | None = None, betas: F32 | None = None) -> F64:
    """The 33 points of a posed body's mesh, metres from the middle of the hips, in the camera's axes."""
    model = model or synthetic_body()
    posed = model.shaped(betas).posed(rotations.astype(np.float32))
    points = landmarks().of(posed).astype(np.float64)
    return points - points[list(s.POINT_HIPS)].mean(0)


def seen(points: F64, time_s: float = 0.0, hidden: tuple[int, ...] = ()) -> Body:
    """What a perfect tracker tells of points that stand in the middle of a picture of SIZE."""
    visibility = np.ones((s.POINTS, 1))
    visibility[list(hidden)] = 0.1
    flat = SCALE * points[:, :2] + np.array([SIZE[0] / 2, SIZE[1] / 2 - 20])
    return Body(
        np.hstack([flat, SCALE * points[:, 2:], visibility]).astype(np.float32),
        np.hstack([points, visibility]).astype(np.float32),
        time_s,
    )
