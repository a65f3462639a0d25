"""What the tracker itself can tell apart: bounds beside the figures, for the report and details.json."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.evaluate import metrics
from engine.evaluate.signals import NAMES, Course
from engine.types import FaceShape

OPEN_EYE = 0.15
"""Lid gap over eye width below which an iris is hidden, and a measured gaze a guess."""

Facts = dict[str, float | int | None]


def correlation_ceilings(truth: Course, video: Course) -> Facts:
    """How well the truth tracked in single pictures follows the truth tracked as video, per signal."""
    return {
        f"corr_{name}_ceiling": metrics.correlation(video.signal(name), truth.signal(name)) for name in NAMES
    }


def open_eye_gaze(truth: Course, out: Course) -> Facts:
    """The correlation of gaze over those frames in which the driver's eyes are open."""
    seen = np.where(truth.eye >= OPEN_EYE, truth.gaze, np.nan)
    return {"corr_gaze_open_eyes": metrics.correlation(out.gaze, seen)}


def identity_floor(settled: FaceShape, single: FaceShape, neutrals: Sequence[FaceShape | None]) -> Facts:
    """How far two trackings of the source's own picture lie apart, over the driver's distance from it."""
    strangers = [neutral.local for neutral in neutrals if neutral is not None]
    if not strangers:
        return {"identity_shape_floor": None}
    strange = metrics.shape_distance(np.mean(strangers, axis=0), single.local)
    own = metrics.shape_distance(settled.local, single.local)
    return {"identity_shape_floor": own / strange if strange > 0 else None}
