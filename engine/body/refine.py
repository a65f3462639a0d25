"""A few steps of Gauss and Newton on a pose: the body's points on those measured, joints near what is natural.

Minimised over the local rotations R_j, wherever the body as a whole stands and however large the picture shows it:

    sum_k c_k |p_k(R) - q_k|^2 / sigma^2  +  sum_k c_k |p_k(R)_xy - u_k / s|^2 / picture^2
    + sum_j |log R_j / width_j|^2

p_k are the body's points, q_k those measured in metres, u_k those of the picture, s the scale of the weak perspective
camera that fits best, log R_j a joint's rotation vector. A point moves with a turn of a joint that carries it by
d p / d w = -[p - J]_x T_j (w in the joint's own frame, T_j the turn from that to the camera's axes).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.body import inverse
from engine.body import skeleton as s
from engine.body.landmarks import Figure
from engine.geometry import rotation_matrix
from engine.mesh import rotations as forms
from engine.types import F64

Joints = NDArray[np.intp]
Seen = NDArray[np.bool_]

_ANCESTORS = s.ancestors()
_FREE: Final = np.array([joint for joint in range(s.COUNT) if joint not in s.STILL])
"""Joints that are moved."""


@dataclass(frozen=True, slots=True)
class Fit:
    """steps: of Gauss and Newton. sigma: metres by which a measured point is off its place on the body, across the
    picture. depth: how many times as far along the line of sight. picture: metres by which it is off in the picture;
    0 leaves the picture out. damping: share of the diagonal that is added to it."""

    steps: int = 6
    sigma: float = 0.012
    depth: float = 1.0
    picture: float = 0.015
    damping: float = 1e-3


WIDTHS: Final[Mapping[int, tuple[float, float, float]]] = {
    **dict.fromkeys((s.SPINE1, s.SPINE2, s.SPINE3), (9.0, 8.0, 6.0)),
    s.NECK: (12.0, 16.0, 9.0),
    s.HEAD: (12.0, 16.0, 9.0),
    **dict.fromkeys(s.COLLARS, (3.0, 6.0, 6.0)),
    **dict.fromkeys(s.SHOULDERS, (30.0, 90.0, 90.0)),
    **dict.fromkeys(s.ELBOWS, (20.0, 0.0, 4.0)),
    **dict.fromkeys(s.WRISTS, (12.0, 15.0, 20.0)),
    **dict.fromkeys(s.HIPS, (60.0, 20.0, 20.0)),
    **dict.fromkeys(s.KNEES, (0.0, 5.0, 4.0)),
    **dict.fromkeys(s.ANKLES, (15.0, 10.0, 8.0)),
}
"""Degrees: how far joints turn in life about their x (towards the left hand), y (up) and z (forward) at rest. 0:
freely, within the hinge."""


def _precision() -> F64:
    widths = np.zeros((s.COUNT, 3))
    for joint, degrees in WIDTHS.items():
        widths[joint] = degrees
    return np.where(widths > 0, 1.0 / np.radians(np.where(widths > 0, widths, 1.0)), 0.0)


_PRECISION: Final = _precision()
_LEAST: Final = 0.01
"""Added to the diagonal, in 1/radian^2, so that what nothing speaks of stays where it is."""


def refined(
    figure: Figure,
    rotations: F64,
    points: F64,
    weights: F64,
    flat: F64 | None = None,
    fit: Fit | None = None,
    free: Seen | None = None,
) -> F64:
    """Rotations (24, 3, 3) nearer to the points; those that were given where no step brings them nearer.

    points: (33, 3) metres in the camera's axes. weights: (33,), 0 leaves a point out. flat: (33, 2) where they are in
    the picture, in any unit. free: (24,), which joints may move.
    """
    fit = fit or Fit()
    moved = _FREE if free is None else _FREE[free[_FREE]]
    used = np.flatnonzero(weights > 0)
    if len(used) < 4 or not len(moved):
        return rotations
    problem = _Problem(
        figure, points[used], weights[used], None if flat is None else flat[used], fit, moved, used
    )
    cost, step = problem.linearised(rotations)
    for _ in range(fit.steps):
        tried = rotations.copy()
        tried[moved] = rotations[moved] @ forms.from_vectors(step.reshape(-1, 3))
        clamp(tried)
        new_cost, new_step = problem.linearised(tried)
        if not new_cost < cost:
            break
        rotations, cost, step = tried, new_cost, new_step
    return rotations


def clamp(rotations: F64) -> None:
    """Elbows and knees, in place, back to where their hinges end."""
    for joint, axis in inverse.HINGES.items():
        angle = inverse.twisted(rotations[joint], axis)
        over = min(max(angle, 0.0), inverse.MOST_BENT) - angle
        if over:
            rotations[joint] = rotations[joint] @ rotation_matrix(over * axis)


def _unhinged(rotations: F64) -> F64:
    """Rotations without what elbows and knees bend: what is left of those is a twist, and what no hinge does."""
    made = rotations.copy()
    for joint, axis in inverse.HINGES.items():
        angle = inverse.twisted(rotations[joint], axis)
        made[joint] = rotation_matrix(-angle * axis) @ rotations[joint]
    return made


@dataclass(frozen=True, slots=True)
class _Problem:
    """What one moment's pose is held against; arrays hold the used points alone."""

    figure: Figure
    points: F64
    weights: F64
    flat: F64 | None
    fit: Fit
    moved: Joints
    used: Joints

    def linearised(self, rotations: F64) -> tuple[float, F64]:
        """The cost of a pose, and the step (3 m) that its quadratic model asks for."""
        turns, places, posed = self.figure.placed(rotations)
        posed = posed[self.used]
        slopes = self._slopes(turns, places, posed)
        wide = self.fit.sigma * np.array([1.0, 1.0, self.fit.depth])
        cost, normal, pull = self._added(posed - self.points, slopes, wide)
        if self.flat is not None and self.fit.picture > 0:
            scale, _ = weak_perspective(posed, self.flat, self.weights)
            if scale > 0:
                away = posed[:, :2] - self.flat / scale
                more = self._added(away, slopes[:, :2], np.full(2, self.fit.picture))
                cost, normal, pull = cost + more[0], normal + more[1], pull + more[2]
        precision = _PRECISION[self.moved].reshape(-1)
        bends = forms.to_vectors(_unhinged(rotations)[self.moved]).reshape(-1) * precision
        cost += float(bends @ bends)
        pull += bends * precision
        diagonal = np.einsum("ii->i", normal)
        diagonal += precision**2
        diagonal += self.fit.damping * diagonal + _LEAST
        return cost, np.asarray(-np.linalg.solve(normal, pull), np.float64)

    def _slopes(self, turns: F64, places: F64, posed: F64) -> F64:
        """(K, 3, 3 m): how each point moves with turns of the joints about the axes of their own frames."""
        arms = posed[:, None] - places[self.moved]
        carried = _ANCESTORS[self.figure.fixed_to[self.used]][:, self.moved]
        slopes = -forms.skew(arms * carried[..., None]) @ turns[self.moved]
        return slopes.transpose(0, 2, 1, 3).reshape(len(posed), 3, -1)

    def _added(self, away: F64, slopes: F64, sigmas: F64) -> tuple[float, F64, F64]:
        """Cost, normal matrix and gradient of points that are `away` (K, D) from where they belong, wherever the body
        as a whole stands: what all have in common is taken off."""
        share = self.weights / self.weights.sum()
        root = np.sqrt(self.weights)[:, None]
        rest = (root * (away - share @ away) / sigmas).reshape(-1)
        common = np.tensordot(share, slopes, axes=1)
        rows = (root[..., None] * (slopes - common) / sigmas[:, None]).reshape(rest.size, -1)
        return float(rest @ rest), rows.T @ rows, rows.T @ rest


def weak_perspective(points: F64, flat: F64, weights: F64) -> tuple[float, F64]:
    """(s, o (2,)) with s * points_xy + o nearest to flat (N, 2), by weights (N,)."""
    share = weights / weights.sum()
    middle, seen = share @ points[:, :2], share @ flat
    a, b = points[:, :2] - middle, flat - seen
    scale = float((share[:, None] * a * b).sum() / max(float((share[:, None] * a * a).sum()), 1e-12))
    return scale, seen - scale * middle
