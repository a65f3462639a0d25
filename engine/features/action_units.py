"""The 17 action units by geometry: how a face differs from its own neutral, in terms of the AU basis.

The difference of the two local shapes is averaged over named regions, both sides together, and read as a dozen
measures (brow heights, mouth width, lip gap, chin ...). The AU basis gives the same measures for each AU; intensities
follow by weighted least squares with a ridge and without negative values, which unmixes what one measure owes to
several AUs. A pucker is among the unknowns, for it would otherwise pass for others. AU05 and AU45 come from the lid
opening alone, AU06 and AU07 are never reported: see RELIABILITY.

Intensities are 0..1; what is within an AU's dead zone reads 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from engine import canonical
from engine.canonical import EYE_DISTANCE_CM, OUTER_EYE_CORNERS
from engine.features import gaze, openness
from engine.features.au_basis import basis
from engine.types import AU_NAMES, F32, F64, FaceShape, Neutral


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
    "AU25": Reliability(Grade.GOOD, "the gap between the lips is tracked well"),
    "AU26": Reliability(Grade.GOOD, "the chin travels far"),
    "AU45": Reliability(Grade.GOOD, "the tracker sees closed lids; half of it while one eye winks"),
}
"""Per AU, what geometry can say about it."""

DEAD_ZONE: Mapping[Grade, float] = {
    Grade.GOOD: 0.05,
    Grade.FAIR: 0.10,
    Grade.WEAK: 0.15,
    Grade.NOT_OBSERVABLE: 0.0,
}
"""Intensities up to this are noise and read 0; what is above is stretched back to 0..1."""

_DEAD_ZONES = np.array([DEAD_ZONE[RELIABILITY[name].grade] for name in AU_NAMES], np.float32)

REGIONS: Mapping[str, tuple[int, ...]] = {
    "eye frame": (33, 133, 168, 6),
    "inner brow": (107, 55, 66),
    "middle brow": (105, 52, 65),
    "outer brow": (70, 63, 46),
    "nose wing": (48, 64, 98, 129),
    "upper lip": (0, 37, 39),
    "upper lip edge": (13, 82, 81),
    "lower lip edge": (14, 87, 178),
    "lower lip": (17, 84, 181),
    "lip corner": (61, 78),
    "chin boss": (199, 200, 175),
    "chin": (152, 148, 176),
}
"""Mesh points of the right side and the middle whose motion is averaged, with their mirror images."""

_OUT, _DOWN, _BACK = 0, 1, 2

MEASURES: Mapping[str, tuple[tuple[str, int, float], ...]] = {
    "inner brow up": (("inner brow", _DOWN, -1.0), ("eye frame", _DOWN, 1.0)),
    "outer brow up": (("outer brow", _DOWN, -1.0), ("eye frame", _DOWN, 1.0)),
    "frown": (
        ("inner brow", _DOWN, 0.5), ("middle brow", _DOWN, 0.5), ("eye frame", _DOWN, -1.0), ("inner brow", _OUT, -0.8),
    ),
    "nose wing up": (("nose wing", _DOWN, -1.0), ("eye frame", _DOWN, 1.0)),
    "upper lip up": (("upper lip", _DOWN, -1.0), ("lip corner", _DOWN, 0.5), ("eye frame", _DOWN, 0.5)),
    "mouth width": (("lip corner", _OUT, 1.0),),
    "corner up": (("lip corner", _DOWN, -1.0), ("eye frame", _DOWN, 1.0)),
    "corner back": (("lip corner", _BACK, 1.0), ("upper lip edge", _BACK, -0.5), ("lower lip edge", _BACK, -0.5)),
    "chin boss up": (("chin boss", _DOWN, -1.0), ("chin", _DOWN, 1.0)),
    "red of the lips": (
        ("upper lip edge", _DOWN, 1.0), ("upper lip", _DOWN, -1.0),
        ("lower lip", _DOWN, 1.0), ("lower lip edge", _DOWN, -1.0),
    ),
    "lip gap": (("lower lip edge", _DOWN, 1.0), ("upper lip edge", _DOWN, -1.0)),
    "chin down": (("chin", _DOWN, 1.0), ("eye frame", _DOWN, -1.0)),
}  # fmt: skip
"""What is read from the regions: (region, axis, factor), summed, in cm."""

# Lips drawn together (AU18) are none of the 17, and must not pass for a mixture of them.
_PUCKER = {"mouth width": -0.60, "corner up": -0.20, "corner back": -0.20}

_BROWS = 3  # the first measures see the brows, the others the lower face
_NOISE_CM = 0.05  # spread of a measure's error on a still face
_MISMATCH = (
    0.12  # further spread, as a share of the largest measure in that half: no face moves just as the basis
)
_PRIOR = {
    "AU09": 0.5,
    "AU10": 0.6,
    "AU14": 0.6,
    "AU17": 0.4,
    "AU23": 0.4,
}  # spread of intensities, elsewhere 1

_LID_AUS = ("AU05", "AU45")
_HIDDEN = ("AU06", "AU07")
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
    aus[list(_LID_INDICES)] = _lids(shape, neutral)
    return np.clip((aus - _DEAD_ZONES) / (1.0 - _DEAD_ZONES), 0.0, 1.0).astype(np.float32)


def explain(motion: F64) -> tuple[F32, float]:
    """The AUs and the pucker that explain a motion of the regions (see region_means).

    Returns float32 (17,), those of the lids 0, and the pucker; not negative, not cut at 1, without dead zone.
    """
    aus = np.zeros(len(AU_NAMES), np.float32)
    solver = _solver()
    *found, pucker = solver.solve(motion)
    aus[solver.outputs] = found
    return aus, float(pucker)


def read(motion: F64) -> F64:
    """MEASURES, in that order, of a motion of the regions (see region_means): float64 (12,) cm."""
    return np.asarray(_solver().reading @ motion)


def warm_up() -> None:
    """Compute the AU basis and what follows from it (a tenth of a second of CPU), before the first frame needs it."""
    _solver()


def region_means(motion: NDArray[np.floating]) -> F64:
    """Means over REGIONS of a displacement field (478, 3), both sides together: float64 (3 * regions,), for
    each region outward, down, back."""
    points, starts, counts = _region_index()
    both = 0.5 * (motion[points] + motion[canonical.MIRROR[points]] * (-1.0, 1.0, 1.0))
    means = np.add.reduceat(both, starts) / counts
    means[:, 0] *= -1.0  # the right side leaves the middle towards negative x
    return np.asarray(means, np.float64).ravel()


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

_LID_INDICES = tuple(AU_NAMES.index(name) for name in _LID_AUS)


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


@lru_cache(maxsize=1)
def _region_index() -> tuple[NDArray[np.intp], NDArray[np.intp], F64]:
    counts = np.array([len(points) for points in REGIONS.values()])
    points = np.array([point for region in REGIONS.values() for point in region])
    return points, np.concatenate([[0], np.cumsum(counts)[:-1]]), counts[:, None].astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class _Solver:
    """Non-negative ridge regression of K unknowns: AUs, and the pucker last.

    outputs: index of each AU into AU_NAMES. reading: (M, 3 * regions), region means to measures. design:
    (M, K), measures per unknown. ridge: (K, K).
    """

    outputs: NDArray[np.intp]
    reading: F64
    design: F64
    ridge: F64

    def solve(self, motion: F64) -> F64:
        """The unknowns (K,); those that would be negative are set to 0 and the rest solved again."""
        seen = self.reading @ motion
        largest = np.abs(seen[:_BROWS]).max(), np.abs(seen[_BROWS:]).max()
        spread = np.repeat(np.square(largest), (_BROWS, len(seen) - _BROWS)) * _MISMATCH**2 + _NOISE_CM**2
        weighted = self.design.T / spread
        gram, wanted = weighted @ self.design + self.ridge, weighted @ seen
        result = np.zeros(len(wanted))
        kept = np.arange(len(wanted))
        while True:
            values = np.linalg.solve(gram[np.ix_(kept, kept)], wanted[kept])
            if (values >= 0.0).all():
                result[kept] = values
                return result
            kept = kept[values > 0.0]


@lru_cache(maxsize=1)
def _solver() -> _Solver:
    outputs = np.array([i for i, name in enumerate(AU_NAMES) if name not in _LID_AUS + _HIDDEN])
    names = list(REGIONS)
    reading = np.zeros((len(MEASURES), 3 * len(names)))
    for row, terms in enumerate(MEASURES.values()):
        for region, axis, factor in terms:
            reading[row, 3 * names.index(region) + axis] += factor
    columns = [reading @ region_means(basis()[i]) for i in outputs]
    columns.append(np.array([_PUCKER.get(name, 0.0) for name in MEASURES]))
    design = np.stack(columns, axis=1)
    ridge = np.diag([*(_PRIOR.get(AU_NAMES[i], 1.0) ** -2.0 for i in outputs), 1.0])
    return _Solver(outputs, reading, design, ridge)
