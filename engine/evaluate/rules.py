"""What does not count, by rule and never by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engine.evaluate.scores import Scores
from engine.evaluate.signals import NAMES, Course

LEAST_SPREAD = {"mouth": 0.03, "eye": 0.03, "gaze": 0.04}
"""A correlation counts only where the driver's own standard deviation reaches this (units of signals.Course).
"""

MOST_YAW = 45.0
"""Degrees from its source frame beyond which a clip is reported apart."""


@dataclass(frozen=True, slots=True)
class Exclusion:
    """What was left out, where, and by which rule."""

    where: str
    what: str
    rule: str


def spreads(truth: Course) -> dict[str, float]:
    """The standard deviation of each of the driver's signals over the scored frames; 0 where nothing was
    seen.
    """
    found = {name: truth.signal(name)[np.isfinite(truth.signal(name))] for name in NAMES}
    return {name: float(values.std()) if len(values) else 0.0 for name, values in found.items()}


def excluded(where: str, spread: Mapping[str, float], yaw_range: float) -> list[Exclusion]:
    """What the rules take out of one clip or pair."""
    if yaw_range > MOST_YAW:
        rule = f"the driver yaws {yaw_range:.0f} degrees from its first frame, more than {MOST_YAW:.0f}"
        return [Exclusion(where, "all", rule)]
    return [
        Exclusion(
            where,
            f"corr_{name}",
            f"the driver's {name} has a standard deviation of {spread[name]:.3f} < {least}",
        )
        for name, least in LEAST_SPREAD.items()
        if spread[name] < least
    ]


def counted(scores: Scores, exclusions: list[Exclusion]) -> Scores:
    """The scores with None for what the rules take out; pose_error_deg keeps its three places."""
    out = {one.what for one in exclusions}
    if "all" in out:
        return {key: [None] * 3 if isinstance(value, list) else None for key, value in scores.items()}
    return {key: None if key in out else value for key, value in scores.items()}
