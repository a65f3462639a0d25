"""One person's body: shape coefficients from the lengths of bones, and where their points lie on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.body import skeleton as s
from engine.body.landmarks import Figure, Landmarks, figure_of
from engine.body.model import BodyModel, Shaped
from engine.types import F32, F64

_LIMBS: Final = (
    (s.POINT_SHOULDERS, s.POINT_ELBOWS),
    (s.POINT_ELBOWS, s.POINT_WRISTS),
    (s.POINT_HIPS, s.POINT_KNEES),
    (s.POINT_KNEES, s.POINT_ANKLES),
)
_ACROSS: Final = (s.POINT_SHOULDERS, s.POINT_HIPS, s.EARS)
_TRUNK: Final = len(_LIMBS) + len(_ACROSS)
LENGTHS: Final = _TRUNK + 1
"""Lengths that are measured: of both sides' upper arms, forearms, thighs and shins, of shoulders, hips and ears across,
and of the trunk."""
_SIGMAS: Final = np.array([0.01, 0.01, 0.01, 0.01, 0.03, 0.1, 0.1, 0.02])
"""Metres: how well each tells the shape. The tracker's hips and ears are not where a model's are."""
_WIDEST: Final = 0.05
_STEPS: Final = 4
_MOST: Final = 3.0

Seen = NDArray[np.bool_]


def lengths(points: F64, seen: Seen | None = None) -> F64:
    """(LENGTHS,) metres of points (33, 3); NaN where one of the points is not seen."""
    whole = points if seen is None else np.where(seen[:, None], points, np.nan)
    sides = [[float(np.linalg.norm(whole[a] - whole[b])) for a, b in zip(*pair)] for pair in _LIMBS]
    both = [np.mean([side for side in pair if side == side] or [np.nan]) for pair in sides]
    across = [float(np.linalg.norm(whole[a] - whole[b])) for a, b in _ACROSS]
    trunk = whole[list(s.POINT_SHOULDERS)].mean(0) - whole[list(s.POINT_HIPS)].mean(0)
    return np.array([*both, *across, float(np.linalg.norm(trunk))])


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """betas: (S,). shaped: the body at rest. figure: what poses are fitted to."""

    betas: F32
    shaped: Shaped
    figure: Figure


class Shaping:
    """Finds the person who has given lengths, for one body model."""

    def __init__(self, model: BodyModel, landmarks: Landmarks) -> None:
        self._model, self._landmarks = model, landmarks
        rest = model.shaped()
        self._points = landmarks.of(rest).astype(np.float64)
        moves = np.einsum("jv,vcs->jcs", model.regressor, model.shapes)
        joint = np.array([s.OF_JOINT.get(point, 0) for point in range(s.POINTS)])
        self._slopes = np.where(
            (landmarks.vertex < 0)[:, None, None], moves[joint], model.shapes[landmarks.vertex]
        ).astype(np.float64)

    def person(self, measured: F64) -> Person:
        """Whose shape explains the lengths and is near the mean one. measured: (LENGTHS,) metres, NaN where unknown."""
        known = np.isfinite(measured)
        betas = np.zeros(self._slopes.shape[2])
        for _ in range(_STEPS):
            now = self._lengths(betas)
            slope = np.stack(
                [(self._lengths(betas + step) - now) / _NUDGE for step in _NUDGE * np.eye(len(betas))], axis=1
            )
            rows = slope[known] / _SIGMAS[known, None]
            rest = (measured[known] - now[known] + slope[known] @ betas) / _SIGMAS[known]
            betas = np.linalg.solve(rows.T @ rows + np.eye(len(betas)), rows.T @ rest)
            betas = np.clip(betas, -_MOST, _MOST)
        shaped = self._model.shaped(betas.astype(np.float32))
        return Person(betas.astype(np.float32), shaped, fitted(figure_of(shaped, self._landmarks), measured))

    def _lengths(self, betas: F64) -> F64:
        return lengths(self._points + self._slopes @ betas)


_NUDGE: Final = 1e-3


def fitted(figure: Figure, measured: F64) -> Figure:
    """The figure with shoulders, hips and ears as far apart as the tracker has them, which is not where joints are."""
    offsets = figure.offsets.copy()
    now = lengths(figure.points)
    for place, pair in enumerate(_ACROSS, start=len(_LIMBS)):
        if np.isfinite(measured[place]):
            wider = float(np.clip((measured[place] - now[place]) / 2, -_WIDEST, _WIDEST))
            along = figure.points[pair[0]] - figure.points[pair[1]]
            along = along / max(float(np.linalg.norm(along)), 1e-9)
            offsets[pair[0]] += wider * along
            offsets[pair[1]] -= wider * along
    return replace(figure, offsets=offsets)
