"""From landmarks and picture errors to the figures of one clip or one pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.evaluate import metrics
from engine.evaluate.signals import NAMES, Course
from engine.types import F32, F64, FaceShape, Outcome

Scores = dict[str, Any]
"""Key to float, None, or (pose_error_deg) three floats or Nones: yaw, pitch, roll."""

SELF_KEYS = (
    "psnr_face",
    "psnr_face_gain_over_similarity",
    "ssim_face",
    "akd",
    "akd_floor",
    "akd_lip",
    "corr_mouth",
    "corr_eye",
    "corr_gaze",
    "jitter_ratio",
    "detected",
    "pose_error_deg",
)
RATIOS = "ratio_terms"
"""Beside the scores of a pair: numerator and denominator of each ratio, by key."""

CROSS_KEYS = (*SELF_KEYS, "expression_error_ratio", "identity_shape_ratio")


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """What a generator made of one clip, re-tracked. All frames of `scored` and `window` in their order.

    neutrals: the driver's resting shape in use, per scored frame. outcomes: over all frames of the clip.
    """

    scored: Course
    window: F32
    neutrals: list[FaceShape | None]
    outcomes: dict[Outcome, int]


def self_scores(
    truth: Course, truth_window: F32, video: F32, out: Outputs, pictures: Sequence[Sequence[float]]
) -> Scores:
    """The figures of a clip that was made from its own first frame.

    truth: its true frames, re-tracked; video: the same frames as tracked through the video. pictures: per
    scored frame with a true face (psnr, gain over similarity, ssim).
    """
    means = np.mean(np.asarray(pictures, np.float64).reshape(-1, 3), axis=0) if len(pictures) else [None] * 3
    scores: Scores = dict.fromkeys(SELF_KEYS)
    for key, value in zip(SELF_KEYS[:3], means):
        scores[key] = None if value is None else float(value)
    scores["akd"] = metrics.landmark_error(out.scored.points, truth.points)
    scores["akd_floor"] = metrics.landmark_error(video, truth.points)
    scores["akd_lip"] = metrics.landmark_error(out.scored.points, truth.points, metrics.LIPS)
    scores |= _shared(truth, truth_window, out)
    expected = [None if shape is None else shape.rotation for shape in truth.shapes]
    scores["pose_error_deg"] = _pose_error(out.scored.shapes, expected)
    return scores


def cross_scores(source: FaceShape, truth: Course, truth_window: F32, out: Outputs) -> Scores:
    """The figures of a portrait moved by a clip of somebody else: there is no true picture, so those are
    None.

    truth: the driver's scored frames, re-tracked. source: the portrait's own face, re-tracked.
    """
    scores: Scores = dict.fromkeys(CROSS_KEYS)
    scores |= _shared(truth, truth_window, out)
    expected = [
        None if now is None or rest is None else now.rotation @ rest.rotation.T @ source.rotation
        for now, rest in zip(truth.shapes, out.neutrals)
    ]
    scores["pose_error_deg"] = _pose_error(out.scored.shapes, expected)
    return scores | _shape_scores(source, truth, out)


def _shared(truth: Course, truth_window: F32, out: Outputs) -> Scores:
    scores: Scores = {
        f"corr_{name}": metrics.correlation(out.scored.signal(name), truth.signal(name)) for name in NAMES
    }
    moved, true = metrics.jitter(out.window), metrics.jitter(truth_window)
    scores["jitter_ratio"] = moved / true if moved is not None and true else None
    seen = [rest is not None for now, rest in zip(truth.shapes, out.scored.shapes) if now is not None]
    scores["detected"] = float(np.mean(seen)) if seen else None
    return scores


def _pose_error(shapes: Sequence[FaceShape | None], expected: Sequence[F64 | None]) -> list[float | None]:
    rows = [
        metrics.pose_difference(shape.rotation, rotation)
        for shape, rotation in zip(shapes, expected)
        if shape is not None and rotation is not None
    ]
    return [float(value) for value in np.mean(rows, axis=0)] if rows else [None, None, None]


def _shape_scores(source: FaceShape, truth: Course, out: Outputs) -> Scores:
    """Expression: how far the moved face's change lies from the driver's, over the size of that change.
    Identity: how far the moved face without the driver's change lies from the source, over the driver's own
    distance from it.
    """
    errors, sizes, residues, strangers = [], [], [], []
    for now, rest, moved in zip(truth.shapes, out.neutrals, out.scored.shapes):
        if now is None or rest is None or moved is None:
            continue
        change = now.local - rest.local
        errors.append(metrics.shape_distance(moved.local - source.local, change))
        sizes.append(metrics.shape_distance(now.local, rest.local))
        residues.append(moved.local - change)
        strangers.append(rest.local)
    if not errors:
        return {"expression_error_ratio": None, "identity_shape_ratio": None, RATIOS: {}}
    own = metrics.shape_distance(np.mean(residues, axis=0), source.local)
    strange = metrics.shape_distance(np.mean(strangers, axis=0), source.local)
    terms = {
        "expression_error_ratio": (float(np.mean(errors)), float(np.mean(sizes))),
        "identity_shape_ratio": (own, strange),
    }
    return {key: _ratio(*pair) for key, pair in terms.items()} | {RATIOS: terms}


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def mean_scores(scores: Sequence[Scores], keys: Sequence[str]) -> Scores:
    """Per key, the mean over those that are not None; None where all are.

    A ratio of distances is pooled: the sum of its numerators over the sum of its denominators, so that a driver
    who hardly moves, or who looks like the source, does not decide the mean by dividing by almost nothing.
    """
    means = {key: _mean([one[key] for one in scores]) for key in keys}
    for key in keys:
        terms = [
            one[RATIOS][key] for one in scores if one.get(key) is not None and key in (one.get(RATIOS) or {})
        ]
        if terms:
            means[key] = _ratio(*np.sum(terms, axis=0).tolist())
    return means


def without_terms(scores: Scores) -> Scores:
    """The scores as they are shown."""
    return {key: value for key, value in scores.items() if key != RATIOS}


def _mean(values: Sequence[Any]) -> Any:
    if any(isinstance(value, list) for value in values):
        rows = [value for value in values if value is not None]
        return [_mean([row[axis] for row in rows]) for axis in range(3)]
    there = [float(value) for value in values if value is not None]
    return float(np.mean(there)) if there else None
