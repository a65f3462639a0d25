"""The three signals whose course over a clip is compared, read from re-tracked landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.features import gaze, openness
from engine.features.shape import fit_shape
from engine.geometry import rotation_matrix, rotation_vector
from engine.types import F32, F64, FaceShape

NAMES = ("mouth", "eye", "gaze")


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """One face over T frames; NaN, or None, where there was no face.

    points: float32 (T, 478, 3) in pixels. shapes: their rigid motion and local shape. mouth: inner-lip gap
    over the eye distance. eye: lid gap over eye width, mean of both. gaze: sideways iris position in eye
    widths, mean of both (half of engine.types.Gaze's unit, so that lids and gaze share theirs).
    """

    points: F32
    shapes: list[FaceShape | None]
    mouth: F64
    eye: F64
    gaze: F64

    def signal(self, name: str) -> F64:
        """One of NAMES."""
        return np.asarray(getattr(self, name))


def course(points: F32) -> Course:
    """Read the signals of `points` (T, 478, 3)."""
    shapes = [fit_shape(face) if np.isfinite(face[0, 0]) else None for face in points]
    rows = np.array([_signals(shape) for shape in shapes], np.float64).reshape(-1, 3)
    return Course(points, shapes, rows[:, 0], rows[:, 1], rows[:, 2])


def _signals(shape: FaceShape | None) -> tuple[float, float, float]:
    if shape is None:
        return np.nan, np.nan, np.nan
    gaps, look = openness.measure(shape), gaze.measure(shape)
    return gaps.mouth, 0.5 * (gaps.right_eye + gaps.left_eye), 0.25 * (look.right_x + look.left_x)


@dataclass(frozen=True, slots=True, eq=False)
class Offset:
    """What tracking in single pictures adds, on average, to tracking as video.

    turn: float64 (3, 3), applied after the rotation. local: float32 (478, 3), canonical centimetres.
    """

    turn: F64
    local: F32

    def on(self, shape: FaceShape | None) -> FaceShape | None:
        """A shape that was tracked as video, as single pictures would have shown it."""
        if shape is None:
            return None
        return FaceShape(shape.local + self.local, self.turn @ shape.rotation, shape.scale, shape.translation)


def mode_offset(single: list[FaceShape | None], video: list[FaceShape | None]) -> Offset:
    """The mean difference over the frames where both saw the face; none where no frame has both."""
    both = [(a, b) for a, b in zip(single, video) if a is not None and b is not None]
    if not both:
        return Offset(np.eye(3), np.zeros((1, 3), np.float32))
    turns = [rotation_vector(a.rotation @ b.rotation.T) for a, b in both]
    local = np.mean([a.local - b.local for a, b in both], axis=0)
    return Offset(rotation_matrix(np.mean(turns, axis=0)), np.asarray(local, np.float32))
