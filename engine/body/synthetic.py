"""A body of our own: tubes around SMPL's 24 joints, with weights, shapes and UV. Public domain (CC0).

It stands where no licensed model is at hand: in tests, and for whoever has no file. Proportions are those of an adult
of 1.72 m; axes, order of joints and meaning of the fields are SMPL's, its ten shape coefficients are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from engine.body import skeleton
from engine.body.model import I32, BodyModel
from engine.types import F32, F64

SHAPE_NAMES: Final = (
    "size", "leg length", "arm length", "trunk length", "shoulder width", "hip width", "girth", "head size",
    "longer thighs", "longer upper arms",
)  # fmt: skip

_AROUND: Final = 12
"""Vertices of a ring; even, so that a ring's mean is its centre."""
_PLACES: Final = {
    "pelvis": (0.0, 0.0, 0.0), "hip": (0.088, -0.07, 0.0), "spine1": (0.0, 0.11, -0.01), "knee": (0.092, -0.49, 0.0),
    "spine2": (0.0, 0.22, -0.01), "ankle": (0.092, -0.9, -0.02), "spine3": (0.0, 0.31, -0.01),
    "foot": (0.1, -0.96, 0.11), "neck": (0.0, 0.49, -0.02), "collar": (0.07, 0.43, -0.01), "head": (0.0, 0.58, 0.0),
    "shoulder": (0.18, 0.44, -0.02), "elbow": (0.46, 0.44, -0.02), "wrist": (0.71, 0.44, -0.02),
    "hand": (0.79, 0.44, -0.015),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Tube:
    """A closed tube through rings. rows: of each ring its centre x, y, z and its two radii. across: the axes of the two
    radii. joints: which the rings are weighted between, in order, with the place along `axis` where one takes over
    from the last and half the width of the change."""

    name: str
    rows: F64
    across: tuple[tuple[float, float, float], tuple[float, float, float]]
    joints: tuple[tuple[str, float], ...]
    axis: int
    softness: float


def _tubes() -> tuple[_Tube, ...]:
    """Those of the middle and of the left side."""
    up = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0))
    return (
        _Tube("trunk", _TRUNK, up, (("pelvis", -1.0), ("spine1", 0.11), ("spine2", 0.22), ("spine3", 0.31),
              ("neck", 0.49)), 1, 0.05),
        _Tube("head", _HEAD, up, (("spine3", -1.0), ("neck", 0.46), ("head", 0.57)), 1, 0.03),
        _Tube("arm", _ARM, ((0.0, 0.0, 1.0), (0.0, -1.0, 0.0)), (("spine3", -1.0), ("collar", 0.07), ("shoulder", 0.18),
              ("elbow", 0.46), ("wrist", 0.71), ("hand", 0.79)), 0, 0.03),
        _Tube("leg", _LEG, ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0)), (("pelvis", -1.0), ("hip", 0.05), ("knee", 0.49),
              ("ankle", 0.9)), 1, 0.04),
        _Tube("foot", _FOOT, ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)), (("ankle", -1.0), ("foot", 0.11)), 2, 0.02),
    )  # fmt: skip


_TRUNK: Final = np.array([
    (0, -0.11, 0.0, 0.09, 0.085), (0, -0.07, 0.0, 0.155, 0.115), (0, 0.0, 0.0, 0.168, 0.12),
    (0, 0.06, 0.0, 0.155, 0.11), (0, 0.11, -0.01, 0.143, 0.103), (0, 0.165, -0.01, 0.142, 0.103),
    (0, 0.22, -0.01, 0.15, 0.11), (0, 0.31, -0.01, 0.165, 0.12), (0, 0.38, -0.015, 0.165, 0.11),
    (0, 0.43, -0.02, 0.13, 0.085), (0, 0.465, -0.02, 0.075, 0.065),
])  # fmt: skip
_HEAD: Final = np.array([
    (0, 0.44, -0.02, 0.055, 0.055), (0, 0.49, -0.02, 0.054, 0.055), (0, 0.54, -0.01, 0.054, 0.056),
    (0, 0.58, 0.0, 0.06, 0.08), (0, 0.62, 0.005, 0.072, 0.095), (0, 0.67, 0.0, 0.077, 0.102),
    (0, 0.72, -0.005, 0.075, 0.098), (0, 0.765, -0.01, 0.06, 0.078), (0, 0.79, -0.01, 0.035, 0.045),
])  # fmt: skip
_ARM: Final = np.array([
    (0.07, 0.43, -0.01, 0.06, 0.055), (0.125, 0.44, -0.02, 0.064, 0.062), (0.18, 0.44, -0.02, 0.06, 0.06),
    (0.25, 0.44, -0.02, 0.05, 0.05), (0.34, 0.44, -0.02, 0.046, 0.046), (0.42, 0.44, -0.02, 0.042, 0.042),
    (0.46, 0.44, -0.02, 0.041, 0.041), (0.5, 0.44, -0.02, 0.041, 0.04), (0.58, 0.44, -0.02, 0.038, 0.036),
    (0.66, 0.44, -0.02, 0.031, 0.027), (0.71, 0.44, -0.02, 0.03, 0.022), (0.75, 0.44, -0.015, 0.045, 0.02),
    (0.79, 0.44, -0.015, 0.045, 0.018), (0.85, 0.44, -0.015, 0.038, 0.014), (0.89, 0.44, -0.015, 0.022, 0.009),
])  # fmt: skip
_LEG: Final = np.array([
    (0.088, -0.01, 0.0, 0.06, 0.07), (0.088, -0.07, 0.0, 0.085, 0.09), (0.089, -0.15, 0.0, 0.083, 0.088),
    (0.09, -0.27, 0.0, 0.075, 0.08), (0.091, -0.39, 0.0, 0.063, 0.067), (0.092, -0.45, 0.0, 0.056, 0.06),
    (0.092, -0.49, 0.0, 0.054, 0.058), (0.092, -0.54, 0.0, 0.053, 0.056), (0.092, -0.62, -0.01, 0.053, 0.057),
    (0.092, -0.74, -0.015, 0.044, 0.047), (0.092, -0.84, -0.02, 0.036, 0.04), (0.092, -0.9, -0.02, 0.037, 0.042),
    (0.092, -0.94, -0.02, 0.03, 0.035),
])  # fmt: skip
_FOOT: Final = np.array([
    (0.092, -0.945, -0.075, 0.022, 0.024), (0.093, -0.94, -0.045, 0.034, 0.036), (0.094, -0.935, 0.0, 0.038, 0.042),
    (0.097, -0.95, 0.06, 0.042, 0.033), (0.1, -0.96, 0.11, 0.045, 0.024), (0.102, -0.966, 0.15, 0.04, 0.018),
    (0.103, -0.968, 0.18, 0.025, 0.012),
])  # fmt: skip
_CENTRES: Final = {
    "pelvis": "trunk", "spine1": "trunk", "spine2": "trunk", "spine3": "trunk", "neck": "head", "head": "head",
    "collar": "arm", "shoulder": "arm", "elbow": "arm", "wrist": "arm", "hand": "arm", "hip": "leg", "knee": "leg",
    "ankle": "leg", "foot": "foot",
}  # fmt: skip
"""The tube of whose rings a joint is the centre."""


@cache
def synthetic_body() -> BodyModel:
    """The body as a model like those that files hold: about 1000 vertices, 24 joints, 10 shapes, UV of every face."""
    parts = [part for tube in _tubes() for part in _sided(tube)]
    counts = np.cumsum([0, *(len(part.points) for part in parts)])
    points = np.concatenate([part.points for part in parts])
    weights = np.concatenate([part.weights for part in parts])
    regressor = np.zeros((skeleton.COUNT, len(points)))
    for part, start in zip(parts, counts):
        for joint, ring in part.centred:
            regressor[joint, start + ring * _AROUND : start + (ring + 1) * _AROUND] = 1.0 / _AROUND
    bends = _bends(points, weights, np.concatenate([part.centres for part in parts]))
    model = BodyModel(
        template=points.astype(np.float32),
        shapes=_shapes(parts).astype(np.float32),
        pose_shapes=bends.astype(np.float32),
        regressor=regressor.astype(np.float32),
        weights=weights.astype(np.float32),
        parents=skeleton.PARENTS,
        faces=np.concatenate([part.faces + start for part, start in zip(parts, counts)]).astype(np.int32),
        uv=_atlas(parts),
    )
    for values in (
        model.template,
        model.shapes,
        model.pose_shapes,
        model.regressor,
        model.weights,
        model.faces,
    ):
        values.setflags(write=False)
    return model


@dataclass(frozen=True, slots=True)
class _Part:
    """A tube's mesh. points, centres (of the vertex's ring): (N, 3). weights: (N, 24). faces: (M, 3). uv: (M, 3, 2) in
    0..1 of the part's own tile. centred: (joint, ring) pairs. side: 1 left, -1 right, 0 middle."""

    name: str
    points: F64
    centres: F64
    weights: F64
    faces: I32
    uv: F32
    centred: tuple[tuple[int, int], ...]
    side: float


def _sided(tube: _Tube) -> list[_Part]:
    if tube.name in ("trunk", "head"):
        return [_part(tube, 0.0)]
    return [_part(tube, side) for side in skeleton.SIDES]


def _part(tube: _Tube, side: float) -> _Part:
    centres, radii = tube.rows[:, :3], tube.rows[:, 3:]
    angles = 2 * np.pi * np.arange(_AROUND) / _AROUND
    across = np.array(tube.across)
    circle = np.cos(angles)[:, None] * across[0], np.sin(angles)[:, None] * across[1]
    rings = centres[:, None] + radii[:, :1, None] * circle[0] + radii[:, 1:, None] * circle[1]
    points = np.concatenate([rings.reshape(-1, 3), centres[:1], centres[-1:]])
    middles = np.concatenate([np.repeat(centres, _AROUND, axis=0), centres[:1], centres[-1:]])
    weights = _weights(tube, points, side)
    faces, uv = _skin(len(centres))
    mirror = np.array([-1.0 if side < 0 else 1.0, 1.0, 1.0])
    if _inward(points, faces, middles) != (side < 0):
        faces, uv = faces[:, ::-1], uv[:, ::-1]
    return _Part(
        tube.name, points * mirror, middles * mirror, weights, np.ascontiguousarray(faces),
        np.ascontiguousarray(uv), _centred(tube, side), side,
    )  # fmt: skip


def _inward(points: F64, faces: I32, middles: F64) -> bool:
    """Whether the faces of a tube look into it, by most of them."""
    a, b, c = (points[faces[:, corner]] for corner in range(3))
    outward = ((a + b + c) / 3 - middles[faces].mean(1)) * np.cross(b - a, c - a)
    return bool((outward.sum(1) < 0).mean() > 0.5)


def _skin(rings: int) -> tuple[I32, F32]:
    """Faces of a tube of so many rings, its two ends closed by the last two vertices; and their corners' UV."""
    faces, uv = [], []
    for ring in range(rings - 1):
        low, high = ring / (rings + 1) + 1 / (rings + 1), (ring + 2) / (rings + 1)
        for step in range(_AROUND):
            here, there = step, (step + 1) % _AROUND
            left, right = step / _AROUND, (step + 1) / _AROUND
            a, b = ring * _AROUND + here, ring * _AROUND + there
            c, d = a + _AROUND, b + _AROUND
            faces += [(a, b, d), (a, d, c)]
            uv += [((left, low), (right, low), (right, high)), ((left, low), (right, high), (left, high))]
    for ring, pole, edge, end in (
        (0, rings * _AROUND, 1 / (rings + 1), 0.0),
        (rings - 1, rings * _AROUND + 1, rings / (rings + 1), 1.0),
    ):
        for step in range(_AROUND):
            a, b = ring * _AROUND + step, ring * _AROUND + (step + 1) % _AROUND
            left, right = step / _AROUND, (step + 1) / _AROUND
            corners = ((left, edge), (right, edge), ((left + right) / 2, end))
            faces.append((b, a, pole) if ring == 0 else (a, b, pole))
            uv.append((corners[1], corners[0], corners[2]) if ring == 0 else corners)
    return np.array(faces, np.int32), np.array(uv, np.float32)


def _joint(name: str, side: float) -> int:
    if name in skeleton.JOINTS:
        return skeleton.JOINTS.index(name)
    return skeleton.JOINTS.index(f"{'left' if side > 0 else 'right'}_{name}")


def _weights(tube: _Tube, points: F64, side: float) -> F64:
    """Each joint's share: it takes over from the one before about its own place along the tube."""
    along = -points[:, 1] if tube.name == "leg" else points[:, tube.axis]
    weights = np.zeros((len(points), skeleton.COUNT))
    rest = np.ones(len(points))
    for (name, _), (_, place) in zip(tube.joints[::-1], tube.joints[::-1]):
        taken = np.clip((along - place) / (2 * tube.softness) + 0.5, 0.0, 1.0)
        taken = taken * taken * (3 - 2 * taken)
        weights[:, _joint(name, side)] += rest * taken
        rest = rest * (1 - taken)
    weights[:, _joint(tube.joints[0][0], side)] += rest
    return weights


def _centred(tube: _Tube, side: float) -> tuple[tuple[int, int], ...]:
    """(joint, ring) of every joint that is the centre of one of the tube's rings."""
    return tuple(
        (_joint(name, side), int(np.abs(tube.rows[:, :3] - place).sum(1).argmin()))
        for name, place in _PLACES.items()
        if _CENTRES[name] == tube.name
    )


def _shapes(parts: Sequence[_Part]) -> F64:
    """(V, 3, 10): how far one unit of each of SHAPE_NAMES moves the vertices, in metres."""
    made = []
    for part in parts:
        points, centres = part.points, part.centres
        moves = np.zeros((*points.shape, len(SHAPE_NAMES)))
        x, y = centres[:, 0] * (part.side or 1.0), centres[:, 1]
        leg = np.clip((-0.07 - y) / 0.83, 0.0, 1.0) if part.name in ("leg", "foot") else 0.0 * y
        arm = np.clip((x - 0.18) / 0.53, 0.0, 1.0) if part.name == "arm" else 0.0 * y
        trunk = np.clip(y / 0.43, 0.0, 1.0)
        broad = np.clip(y / 0.43, 0.0, 1.0) if part.name == "trunk" else 0.0 * y
        moves[..., 0] = 0.04 * points
        moves[:, 1, 1] = -0.03 * leg
        moves[:, 0, 2] = 0.025 * arm * part.side
        moves[:, 1, 3] = 0.025 * trunk
        moves[:, 0, 4] = 0.015 * (
            part.side * (part.name == "arm") * np.clip(x / 0.18, 0, 1)
        ) + 0.1 * broad * (points[:, 0] - centres[:, 0])
        moves[:, 0, 5] = 0.012 * part.side * (part.name in ("leg", "foot")) + 0.1 * (part.name == "trunk") * (
            1 - broad
        ) * (points[:, 0] - centres[:, 0])
        moves[..., 6] = 0.12 * (points - centres)
        if part.name == "head":
            moves[..., 7] = (
                0.06 * (points - np.array(_PLACES["head"])) * np.clip((y - 0.54) / 0.04, 0, 1)[:, None]
            )
        moves[:, 1, 8] = -0.02 * np.minimum(leg / 0.506, (1 - leg) / 0.494)
        moves[:, 0, 9] = 0.015 * part.side * np.minimum(arm / 0.528, (1 - arm) / 0.472)
        made.append(moves)
    return np.concatenate(made)


def _bends(points: F64, weights: F64, centres: F64) -> F64:
    """(207, 3 V): a bent elbow or knee would flatten, so the rings about it grow with 1 - cos of the bend."""
    made = np.zeros((skeleton.COUNT - 1, 3, 3, *points.shape))
    for joint, axis in (*((elbow, 1) for elbow in skeleton.ELBOWS), *((knee, 0) for knee in skeleton.KNEES)):
        shared = 4 * weights[:, joint] * weights[:, skeleton.PARENTS[joint]]
        grown = -0.1 * shared[:, None] * (points - centres)
        for other in {0, 1, 2} - {axis}:
            made[joint - 1, other, other] = grown
    return made.reshape(9 * (skeleton.COUNT - 1), -1)


def _atlas(parts: Sequence[_Part]) -> F32:
    """UV of all faces: each part has a tile of its own, four by two of them."""
    made = []
    for place, part in enumerate(parts):
        row, column = divmod(place, 4)
        corner = np.array([column / 4, row / 2])
        made.append(corner + np.array([1 / 4, 1 / 2]) * (0.03 + 0.94 * part.uv))
    return np.concatenate(made).astype(np.float32)
