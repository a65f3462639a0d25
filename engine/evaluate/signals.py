"""The three signals whose course over a clip is compared, read from re-tracked landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.features import gaze, openness
from engine.features.shape import fit_shape
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
