"""From the motion of a face to the action units that explain it.

A displacement field is averaged over named regions, both sides together, and read as a dozen measures (brow heights,
mouth width, lip gap, chin ...). The AU basis gives the same measures for each AU. Intensities are those that explain
the measures best, by least squares within 0..1.7, with a small price on every AU so that few are preferred to many:
this unmixes what one measure owes to several AUs. The error allowed to a measure grows with the motion in its half
of the face, for no face moves just as the basis. A pucker is among the unknowns, since it would pass for others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from engine import canonical
from engine.features.au_basis import basis
from engine.types import AU_NAMES, F32, F64

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

REPORTED: Mapping[str, float] = {
    "inner brow up": 0.80,
    "outer brow up": 0.70,
    "frown": 0.85,
    "nose wing up": 0.60,
    "upper lip up": 0.85,
    "mouth width": 0.85,
    "corner up": 0.90,
    "corner back": 0.60,
    "chin boss up": 0.50,
    "red of the lips": 0.75,
    "lip gap": 1.00,
    "chin down": 0.75,
}
"""Share of a motion that a tracker reports: between what it gives for portraits moved by one AU each (from a tenth of
the depth to all of the lip gap) and all of it, since a real face also wrinkles and is followed better."""

_NOISE_CM = {"corner back": 0.10, "red of the lips": 0.08, "nose wing up": 0.06, "chin boss up": 0.06}
_STILL_NOISE_CM = 0.05  # spread of the other measures' errors on a still face
_MISMATCH = 0.12  # further spread, as a share of the largest measure in that half of the face
_BROWS = 3  # the first measures see the brows, the others the lower face

_PRIOR = {
    "AU09": 0.5,
    "AU10": 0.6,
    "AU14": 0.6,
    "AU17": 0.4,
    "AU23": 0.4,
}  # spread of intensities, elsewhere 1
_PRICE = 0.4  # a lone AU must stand out by this many spreads of its measures
_CAP = 1.7  # no face goes much further than the basis: what is left over belongs to other AUs

# Lips drawn together (AU18) are none of the 17.
_PUCKER = {"mouth width": -0.60, "corner up": -0.20, "corner back": -0.20}

UNSEEN = ("AU05", "AU06", "AU07", "AU45")
"""AUs that are not read from these regions."""


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


def read(regions: F64) -> F64:
    """MEASURES, in that order, of region means: float64 (12,) cm."""
    return np.asarray(_solver().reading @ regions)


def explain(regions: F64) -> tuple[F32, float]:
    """The AUs and the pucker that explain region means.

    Returns float32 (17,) in 0..1.7, those of UNSEEN 0, and the pucker.
    """
    aus = np.zeros(len(AU_NAMES), np.float32)
    solver = _solver()
    *found, pucker = solver.solve(regions)
    aus[solver.outputs] = found
    return aus, float(pucker)


@lru_cache(maxsize=1)
def _region_index() -> tuple[NDArray[np.intp], NDArray[np.intp], F64]:
    counts = np.array([len(points) for points in REGIONS.values()])
    points = np.array([point for region in REGIONS.values() for point in region])
    return points, np.concatenate([[0], np.cumsum(counts)[:-1]]), counts[:, None].astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class _Solver:
    """Priced least squares of K unknowns within bounds: AUs, and the pucker last.

    outputs: index of each AU into AU_NAMES. reading: (M, 3 * regions), region means to measures. design: (M, K),
    measures per unknown. noise: (M,) variance in cm^2. ridge: (K, K).
    """

    outputs: NDArray[np.intp]
    reading: F64
    design: F64
    noise: F64
    ridge: F64

    def solve(self, regions: F64) -> F64:
        """The unknowns (K,)."""
        seen = self.reading @ regions
        largest = np.abs(seen[:_BROWS]).max(), np.abs(seen[_BROWS:]).max()
        spread = np.repeat(np.square(largest), (_BROWS, len(seen) - _BROWS)) * _MISMATCH**2 + self.noise
        weighted = self.design.T / spread
        gram = weighted @ self.design
        return _minimise(gram + self.ridge, weighted @ seen - _PRICE * np.sqrt(np.diag(gram)), _CAP)


def _minimise(gram: F64, wanted: F64, cap: float) -> F64:
    """x within 0..cap that minimises x.gram.x / 2 - wanted.x, by an active set. gram: (K, K) positive definite."""
    bound = np.where(wanted > 0.0, 0, -1)  # 0: free, -1: held at 0, 1: held at the cap
    values = np.zeros(len(wanted))
    for _ in range(6 * len(wanted)):
        free = np.flatnonzero(bound == 0)
        values = np.where(bound == 1, cap, 0.0)
        if len(free):
            inner = np.linalg.solve(gram[np.ix_(free, free)], wanted[free] - gram[free] @ values)
            beyond = np.maximum(-inner, inner - cap)
            worst = int(beyond.argmax())
            if beyond[worst] > 0.0:
                bound[free[worst]] = -1 if inner[worst] < 0.0 else 1
                continue
            values[free] = inner
        pull = -bound * (wanted - gram @ values)
        loosest = int(pull.argmax())
        if pull[loosest] <= 1e-7:
            return values
        bound[loosest] = 0
    return np.clip(values, 0.0, cap)


@lru_cache(maxsize=1)
def _solver() -> _Solver:
    outputs = np.array([i for i, name in enumerate(AU_NAMES) if name not in UNSEEN])
    names = list(REGIONS)
    reading = np.zeros((len(MEASURES), 3 * len(names)))
    for row, terms in enumerate(MEASURES.values()):
        for region, axis, factor in terms:
            reading[row, 3 * names.index(region) + axis] += factor
    reported = np.array([REPORTED[name] for name in MEASURES])
    columns = [reported * (reading @ region_means(basis()[i])) for i in outputs]
    columns.append(np.array([_PUCKER.get(name, 0.0) for name in MEASURES]))
    noise = np.array([_NOISE_CM.get(name, _STILL_NOISE_CM) for name in MEASURES])
    ridge = np.diag([*(_PRIOR.get(AU_NAMES[i], 1.0) ** -2.0 for i in outputs), 1.0])
    return _Solver(outputs, reading, np.stack(columns, axis=1), noise**2, ridge)
