"""The 17 action units by geometry: how a face differs from its own neutral, in terms of the AU basis.

The difference of the two local shapes is averaged over named regions (both sides together) into a short vector of
displacements. An AU basis field gives the same vector for each AU, so that intensities follow by weighted least
squares with a small ridge and without negative values. Rigid motions of the whole shape are explained along with the
AUs and thrown away, for they are errors of the pose; so are AU06, AU07 and a pucker, which would otherwise pass for
others. AU05 and AU45 come from the lid opening alone.

Intensities are 0..1. What is below the dead zone (0.05, OpenFace's 0.25) reads 0.
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

DEAD_ZONE = 0.05
"""Intensities below this are noise and read 0."""

REGIONS: Mapping[str, tuple[int, ...]] = {
    "inner brow": (107, 55, 66),
    "middle brow": (105, 52, 65),
    "outer brow": (70, 63, 46),
    "glabella": (9, 8),
    "cheek": (50, 205, 101),
    "nose wing": (48, 64, 98, 129),
    "nose tip": (1, 4),
    "upper lip": (0, 37, 39),
    "upper lip edge": (13, 82, 81),
    "lower lip edge": (14, 87, 178),
    "lower lip": (17, 84, 181),
    "outer upper lip": (40, 185),
    "outer lower lip": (91, 146),
    "lip corner": (61, 78),
    "beside the lips": (57, 212),
    "chin boss": (199, 200, 175),
    "chin": (152, 148, 176),
    "jaw": (150, 136),
}
"""Mesh points of the right side and the middle whose motion is averaged, with their mirror images."""

_LID_AUS = ("AU05", "AU45")
_HIDDEN = ("AU06", "AU07")
_NOISE_CM = (0.05, 0.04, 0.12)  # outward, down, back: tracker noise and a mismatch of the basis, per region
_RIGID_ERROR = (
    0.06,
    0.06,
    0.04,
    0.10,
    0.10,
    0.20,
    0.03,
)  # turns (rad), shifts (cm), scale: spread of pose errors
_PRIOR = 0.6  # spread of intensities
_BLINK_SPAN = 0.80  # share of the neutral opening at whose loss the eye counts as closed
_LID_DEAD = 0.10  # lids wander by this share with gaze and noise
_RAISED_SPAN = 0.40  # share of the neutral opening that AU05 adds at 1
_LID_PER_GAZE = 1.0  # share of the opening that the upper lid falls per half eye width of looking down


def measure(shape: FaceShape, neutral: Neutral) -> F32:
    """The AUs of `shape` relative to `neutral`: float32 (17,) in [0, 1], order AU_NAMES."""
    outer = neutral.shape.local[list(OUTER_EYE_CORNERS)]
    width = float(np.linalg.norm(outer[1] - outer[0]))
    motion = region_means(shape.local - neutral.shape.local) * (EYE_DISTANCE_CM / width)
    aus = intensities(motion)
    aus[list(_LID_INDICES)] = _lids(shape, neutral)
    return np.where(aus < DEAD_ZONE, 0.0, np.minimum(aus, 1.0)).astype(np.float32)


def intensities(motion: F64) -> F32:
    """The AUs that explain a motion of the regions (see region_means), without those of the lids: float32 (17,),
    not negative, not cut at 1, without dead zone."""
    aus = np.zeros(len(AU_NAMES), np.float32)
    solver = _solver()
    aus[solver.outputs] = solver.solve(motion)[: len(solver.outputs)]
    return aus


def region_means(motion: NDArray[np.floating]) -> F64:
    """Means over REGIONS of a displacement field (478, 3), both sides together: float64 (3 * regions,), for each
    region outward, down, back."""
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
    """Non-negative ridge regression. outputs: index into AU_NAMES of the first unknowns. gram: (K, K) with the ridge.
    projection: (K, regions * 3). free: unknowns that may be negative."""

    outputs: NDArray[np.intp]
    gram: F64
    projection: F64
    free: NDArray[np.bool_]

    def solve(self, motion: F64) -> F64:
        """The unknowns (K,); those that would be negative are set to 0 and the rest solved again."""
        wanted = self.projection @ motion
        result = np.zeros(len(wanted))
        kept = np.arange(len(wanted))
        while True:
            values = np.linalg.solve(self.gram[np.ix_(kept, kept)], wanted[kept])
            allowed = self.free[kept] | (values >= 0.0)
            if allowed.all():
                result[kept] = values
                return result
            kept = kept[allowed]


@lru_cache(maxsize=1)
def _solver() -> _Solver:
    outputs = [i for i, name in enumerate(AU_NAMES) if name not in _LID_AUS + _HIDDEN]
    hidden = [AU_NAMES.index(name) for name in _HIDDEN]
    columns = [region_means(basis()[i]) for i in outputs + hidden] + [region_means(_PUCKER)]
    rigid = [region_means(field) * spread / _PRIOR for field, spread in zip(_rigid_fields(), _RIGID_ERROR)]
    design = np.stack(columns + rigid, axis=1)
    precision = np.tile(np.array(_NOISE_CM) ** -2.0, len(REGIONS))
    gram = design.T @ (precision[:, None] * design) + np.eye(design.shape[1]) / _PRIOR**2
    free = np.arange(design.shape[1]) >= len(columns)
    return _Solver(np.array(outputs), gram, design.T * precision, free)


def _rigid_fields() -> list[F32]:
    """Unit turns about x, y, z, unit shifts and growth of the canonical face: what an error of the pose looks like."""
    x, y, z = canonical.VERTICES.T
    nothing, one = np.zeros_like(x), np.ones_like(x)
    turns = [np.stack(f, 1) for f in ((nothing, -z, y), (z, nothing, -x), (-y, x, nothing))]
    shifts = [
        np.stack(f, 1) for f in ((one, nothing, nothing), (nothing, one, nothing), (nothing, nothing, one))
    ]
    return [*turns, *shifts, canonical.VERTICES.copy()]


def _pucker() -> F32:
    """Lips pushed forward and drawn to the middle (AU18), which is none of the 17."""
    lips = np.array(canonical.LIPS_OUTER + canonical.LIPS_INNER)
    field = np.zeros_like(canonical.VERTICES)
    field[lips, 0] = -0.25 * canonical.VERTICES[lips, 0]
    field[lips, 2] = -0.35
    return field


_PUCKER = _pucker()
