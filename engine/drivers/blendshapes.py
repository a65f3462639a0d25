"""An Acting from the 52 blendshape scores that ARKit and MediaPipe share the names of.

What they have and no action unit says is left out: jaw and mouth to one side, puffed cheeks, the tongue. Puckered and
funnelled lips are narrowed by AU20 below 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from engine.acting import MOST_LEAN, MOST_SHIFT, Acting
from engine.features.action_units import BLENDSHAPES
from engine.types import AU_NAMES, F32, F64, Gaze

LOOK_RANGE: Final = 0.6
"""Half eye widths that the iris travels at a score of 1."""
_NARROWED = 0.7
_STRETCH = AU_NAMES.index("AU20")


def acting_of(
    scores: Mapping[str, float],
    rotation: F64 | None = None,
    shift: tuple[float, float] = (0.0, 0.0),
    lean: float = 1.0,
) -> Acting:
    """scores: about 0..1 by name ("jawOpen", "eyeBlinkLeft", ...; left and right are the person's own); what is missing
    counts as 0. rotation, shift, lean: see Acting; shift and lean are brought into their ranges."""
    right, left = (_units(scores, own, other) for own, other in (("Right", "Left"), ("Left", "Right")))
    gaze = Gaze(
        _look(scores, "eyeLookInRight", "eyeLookOutRight"),
        _look(scores, "eyeLookDownRight", "eyeLookUpRight"),
        _look(scores, "eyeLookOutLeft", "eyeLookInLeft"),
        _look(scores, "eyeLookDownLeft", "eyeLookUpLeft"),
    )
    x, y = (min(MOST_SHIFT, max(-MOST_SHIFT, value)) for value in shift)
    lean = min(MOST_LEAN, max(1 / MOST_LEAN, lean))
    return Acting(right, left, gaze, np.eye(3) if rotation is None else rotation, (x, y), lean)


def readable(scores: object, names: frozenset[str]) -> dict[str, float] | None:
    """Scores that came from outside, clipped to 0..1; None where they are no object of finite numbers by these
    names."""
    if not isinstance(scores, dict) or not names.issuperset(scores):
        return None
    values = list(scores.values())
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    if not numbers or not all(-1e6 < value < 1e6 for value in values):  # NaN is in no range
        return None
    return {name: min(1.0, max(0.0, float(value))) for name, value in scores.items()}


def proper_rotation(matrix: F64) -> F64 | None:
    """The rotation next to a 3x3 matrix that may be scaled; None where none is near: mirrored, flat, or not finite."""
    if not np.isfinite(matrix).all():
        return None
    u, singular, vt = np.linalg.svd(matrix)
    if singular[2] < 0.5 * singular[0] or singular[0] < 1e-6 or np.linalg.det(u @ vt) < 0:
        return None
    return np.asarray(u @ vt)


def about_axes(yaw: float, pitch: float, roll: float) -> tuple[float, float, float]:
    """Radians in degrees, each brought to -90 .. 90: a head that is turned further is not followed."""
    degrees = (math.degrees(angle) for angle in (yaw, pitch, roll))
    one, two, three = (min(90.0, max(-90.0, angle)) for angle in degrees)
    return one, two, three


def _units(scores: Mapping[str, float], own: str, other: str) -> F32:
    """The action units of one half: of a pair of scores its own one counts, with the weight of both."""
    units = np.zeros(len(AU_NAMES), np.float32)
    for index, name in enumerate(AU_NAMES):
        for shape, weight in BLENDSHAPES[name].items():
            if not shape.endswith(other):
                units[index] += (2 * weight if shape.endswith(own) else weight) * scores.get(shape, 0.0)
    narrowed = max(scores.get("mouthPucker", 0.0), scores.get("mouthFunnel", 0.0))
    units = np.clip(units, 0.0, 1.0)
    units[_STRETCH] = max(-1.0, units[_STRETCH] - _NARROWED * narrowed)
    return units


def _look(scores: Mapping[str, float], more: str, less: str) -> float:
    return LOOK_RANGE * (scores.get(more, 0.0) - scores.get(less, 0.0))
