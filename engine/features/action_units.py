"""The 17 action units by geometry: how a face differs from its own neutral, in terms of the AU basis.

engine/features/au_measures.py explains the motion since the neutral by AUs. AU05 and AU45 come from the lid opening
alone, AU06 and AU07 are never reported: see RELIABILITY. Intensities are 0..1; within an AU's dead zone it reads 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np

from engine.canonical import EYE_DISTANCE_CM, OUTER_EYE_CORNERS
from engine.features import gaze, openness
from engine.features.au_measures import MEASURES, explain, read, region_means
from engine.types import AU_NAMES, F32, FaceShape, Neutral


class Grade(Enum):
    """How far an AU's estimate may be believed."""

    GOOD = "good"
    FAIR = "fair"
    WEAK = "weak"
    NOT_OBSERVABLE = "not observable"


@dataclass(frozen=True, slots=True)
class Reliability:
    """A grade and, in one line, why."""

    grade: Grade
    reason: str


RELIABILITY: Mapping[str, Reliability] = {
    "AU01": Reliability(Grade.GOOD, "the inner brow's height is tracked well"),
    "AU02": Reliability(Grade.GOOD, "the outer brow's height is tracked well"),
    "AU04": Reliability(Grade.FAIR, "the tracker follows a frown only partly; the wrinkles are not seen"),
    "AU05": Reliability(Grade.WEAK, "the upper lid rises by a millimetre or two, near the tracker's noise"),
    "AU06": Reliability(Grade.NOT_OBSERVABLE, "the raised cheek leaves no trace in the landmarks; always 0"),
    "AU07": Reliability(
        Grade.NOT_OBSERVABLE, "tightened lids look like half a blink in the landmarks; always 0"
    ),
    "AU09": Reliability(Grade.WEAK, "the tracker's nose hardly deforms, and nodding moves it as much"),
    "AU10": Reliability(Grade.FAIR, "good while the jaw is closed, mixed with it while it is open"),
    "AU12": Reliability(Grade.GOOD, "the lip corners travel far"),
    "AU14": Reliability(Grade.WEAK, "differs from AU20 in depth only, which one camera hardly sees"),
    "AU15": Reliability(Grade.GOOD, "the lip corners travel far; less sure beyond 15 degrees of pitch"),
    "AU17": Reliability(Grade.FAIR, "the chin's skin is tracked loosely, and pitch moves it as well"),
    "AU20": Reliability(Grade.FAIR, "mixed with AU14, from which it differs in depth only"),
    "AU23": Reliability(Grade.WEAK, "thin lips are also those pressed, sucked in or stretched"),
    "AU25": Reliability(Grade.GOOD, "the gap between the lips is tracked well; it counts whatever opened it"),
    "AU26": Reliability(Grade.GOOD, "the chin travels far"),
    "AU45": Reliability(Grade.GOOD, "the tracker sees closed lids; half of it while one eye winks"),
}
"""Per AU, what geometry can say about it."""

OBSERVABLE = tuple(name for name in AU_NAMES if RELIABILITY[name].grade is not Grade.NOT_OBSERVABLE)
"""The AUs that geometry sees at all."""

DEAD_ZONE: Mapping[Grade, float] = {
    Grade.GOOD: 0.05,
    Grade.FAIR: 0.10,
    Grade.WEAK: 0.15,
    Grade.NOT_OBSERVABLE: 0.0,
}
"""Intensities up to this are noise and read 0; what is above is stretched back to 0..1."""

_DEAD_ZONES = np.array([DEAD_ZONE[RELIABILITY[name].grade] for name in AU_NAMES], np.float32)

_PARTED = AU_NAMES.index("AU25")
_LIP_GAP = list(MEASURES).index("lip gap")
_PARTED_CM = 0.9  # gap since neutral at which the lips count as parted fully
_BLINK_SPAN = 0.80  # share of the neutral opening at whose loss the eye counts as closed
_LID_DEAD = 0.08  # lids wander by this share with gaze and noise
_RAISED_SPAN = 0.25  # share of the neutral opening that AU05 adds at 1
_LID_PER_GAZE = 1.0  # share of the opening that the upper lid falls per half eye width of looking down


def measure(shape: FaceShape, neutral: Neutral) -> F32:
    """The AUs of `shape` relative to `neutral`: float32 (17,) in [0, 1], order AU_NAMES."""
    outer = neutral.shape.local[list(OUTER_EYE_CORNERS)]
    width = float(np.linalg.norm(outer[1] - outer[0]))
    motion = region_means(shape.local - neutral.shape.local) * (EYE_DISTANCE_CM / width)
    aus, _ = explain(motion)
    aus[_PARTED] = max(aus[_PARTED], read(motion)[_LIP_GAP] / _PARTED_CM)  # lips part with the jaw as well
    aus[list(_LID_INDICES)] = _lids(shape, neutral)
    return np.clip((aus - _DEAD_ZONES) / (1.0 - _DEAD_ZONES), 0.0, 1.0).astype(np.float32)


def aus_from_blendshapes(scores: Mapping[str, float]) -> F32:
    """The AUs from the 52 named blendshape scores of a face_landmarker model: float32 (17,) in [0, 1].

    Names that are missing count as 0. These see AU06 and AU07, which geometry cannot.
    """
    aus = np.zeros(len(AU_NAMES), np.float32)
    for index, name in enumerate(AU_NAMES):
        aus[index] = sum(
            weight * float(scores.get(shape, 0.0)) for shape, weight in BLENDSHAPES[name].items()
        )
    return np.clip(aus, 0.0, 1.0)


def with_blendshapes(aus: F32, scores: Mapping[str, float]) -> F32:
    """The AUs (17,) with those that geometry sees badly (graded weak or not observable) taken from `scores`."""
    return np.where(_SEEN_BADLY, aus_from_blendshapes(scores), aus).astype(np.float32)


_SEEN_BADLY = np.array([RELIABILITY[name].grade in (Grade.WEAK, Grade.NOT_OBSERVABLE) for name in AU_NAMES])


def _pair(name: str, weight: float = 0.5) -> dict[str, float]:
    return {f"{name}Left": weight, f"{name}Right": weight}


BLENDSHAPES: Mapping[str, Mapping[str, float]] = {
    "AU01": {"browInnerUp": 1.0},
    "AU02": _pair("browOuterUp"),
    "AU04": _pair("browDown"),
    "AU05": _pair("eyeWide"),
    "AU06": _pair("cheekSquint"),
    "AU07": _pair("eyeSquint"),
    "AU09": _pair("noseSneer"),
    "AU10": _pair("mouthUpperUp"),
    "AU12": _pair("mouthSmile"),
    "AU14": _pair("mouthDimple"),
    "AU15": _pair("mouthFrown"),
    "AU17": {"mouthShrugLower": 1.0},
    "AU20": _pair("mouthStretch"),
    "AU23": _pair("mouthPress"),
    "AU25": {"jawOpen": 1.0, "mouthClose": -1.0, **_pair("mouthLowerDown"), **_pair("mouthUpperUp", 0.25)},
    "AU26": {"jawOpen": 1.0},
    "AU45": _pair("eyeBlink"),
}
"""Per AU, the blendshapes that add up to it."""

_LID_INDICES = (AU_NAMES.index("AU05"), AU_NAMES.index("AU45"))


def _lids(shape: FaceShape, neutral: Neutral) -> tuple[float, float]:
    """AU05 and AU45 from the lid opening relative to neutral, freed of the lid's fall when looking down."""
    now, rest, look = openness.measure(shape), neutral.openness, gaze.measure(shape)
    lowered = 0.5 * (look.right_y + look.left_y - neutral.gaze.right_y - neutral.gaze.left_y)
    ratio = 0.5 * sum(
        opening / max(base, 0.05)
        for opening, base in ((now.right_eye, rest.right_eye), (now.left_eye, rest.left_eye))
    )
    followed = _LID_PER_GAZE * lowered * min(1.0, ratio)
    raised = (ratio + min(0.0, followed) - 1.0 - _LID_DEAD) / _RAISED_SPAN
    closed = (1.0 - ratio - max(0.0, followed) - _LID_DEAD) / (_BLINK_SPAN - _LID_DEAD)
    return max(0.0, raised), max(0.0, closed)
