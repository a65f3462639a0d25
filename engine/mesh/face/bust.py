"""Where the points of the bust are: the tracked face, and what hangs on it, by two bones.

The head is the rigid fit of the face. The torso stands upright under it: its origin is the place of PIVOT, about which
heads turn, and it has the head's scale and no rotation. A point of the sheet is drawn between what both make of it:

    v = w S_head(p + PIVOT) + (1 - w) S_torso(p)

The cap has w = 1 and takes over a share of what the oval does beside the rigid motion, so that an opening jaw leaves no
gap. How far hair and shoulders reach is measured once, on the person mask of a picture that looks ahead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from engine import canonical
from engine.geometry import head_pose
from engine.mesh.face.topology import COLUMNS, RINGS
from engine.types import F32, F64, FACE_POINTS, U8, FaceShape

PIVOT: Final[F64] = np.array([0.0, 8.0, 9.0])
"""The lower end of the neck, in canonical centimetres of the head."""

MOST_TURNED: Final = 25.0
"""Degrees of yaw up to which a picture tells how far hair and shoulders reach."""

_OVAL = np.array(canonical.FACE_OVAL)
_LIPS = np.array(canonical.LIPS_INNER)
_BEHIND_LIPS_CM = 1.2

# The cap, at the sides and above (hair) and below (towards the nape).
_HAIR_REACH = np.array(
    [0.5, 1.0, 0.85, -0.35]
)  # oval radii from the oval, in those by which hair reaches beyond it
_HAIR_DEPTH = np.array([0.55, 1.0, 1.0, 1.0])  # of the way from the oval's depth to
_HAIR_Z = np.array([8.5, 8.5, 13.0, 16.0])  # these depths, canonical centimetres
_NAPE_FACTOR = np.array([0.93, 0.80, 0.70, 0.60])
_NAPE_Z = np.array([4.5, 7.5, 10.5, 13.0])
_SIDE, _TOP = 0.26, 0.26
"""How far hair reaches beside the oval, and how much further above it, in oval radii."""
_HAIR_LIMITS = (0.12, 0.95)
_FOLLOWS_SKIN = np.array([0.8, 0.4, 0.15, 0.0], np.float32)

# The sheet, in centimetres from PIVOT.
_ROW_Y = np.array([-5.0, 1.0, 4.0, 7.0, 11.0, 20.0])
_ROW_HALF = np.array([7.0, 7.0, 8.0, 13.0, 19.5, 22.5])
_ROW_Z = np.array([2.0, 0.5, -1.5, -3.0, -4.0, -5.0])  # the first lies behind the cap's sides
_ROW_WEIGHT = np.array([0.85, 0.6, 0.3, 0.12, 0.03, 0.0])
_ROW_LIMITS = ((0.8, 2.2), (0.75, 2.2), (0.7, 2.0), (0.6, 1.7), (0.6, 1.6), (0.7, 1.6))
_PERSON = 128


@dataclass(frozen=True, slots=True, eq=False)
class Bust:
    """One person's proxy. cap: float32 (RINGS * 36, 3), canonical centimetres of the head. oval: float32 (36, 3), where
    the oval rests in them. sheet: float32 (ROWS * COLUMNS, 3), centimetres from PIVOT."""

    cap: F32
    oval: F32
    sheet: F32


@dataclass(frozen=True, slots=True, eq=False)
class Torso:
    """Where the neck stands. origin: float64 (3,) pixels. scale: pixels per centimetre."""

    origin: F64
    scale: float


def torso_of(shape: FaceShape) -> Torso:
    """The torso under a head, as if it stood upright and looked ahead."""
    return Torso(shape.translation + shape.scale * (shape.rotation @ PIVOT), shape.scale)


def fit_bust(shape: FaceShape, person: U8 | None = None) -> Bust:
    """The proxy of the person whose face is `shape`, at rest. person: uint8 (H, W), 255 = person, of the same picture;
    without one, or where the head is turned, hair and shoulders reach as far as they usually do."""
    oval = shape.local[_OVAL]
    sides = np.full(len(oval), _SIDE) + _TOP * _ramp(-_rays(oval)[1][:, 1], 0.1, 0.9)
    halves = np.repeat(_ROW_HALF[:, None], 2, 1)
    if person is not None and abs(head_pose(shape.rotation).yaw) <= MOST_TURNED:
        sides = _measured_hair(shape, oval, sides, person)
        halves = _measured_sheet(shape, halves, person)
    return Bust(_cap(oval, sides), oval.copy(), _sheet(halves))


def skin(bust: Bust, shape: FaceShape, torso: Torso, points: F32 | None = None) -> F32:
    """All points of the bust, float32 (POINTS, 3) in pixels. points: (478, 3), the face where it is not just
    `shape.points()`, irises that look elsewhere say."""
    if points is None:
        points = shape.points()
    turn = shape.rotation.T.astype(np.float32)
    shift = shape.translation.astype(np.float32)
    mouth = points[_LIPS].mean(0) + shape.scale * (shape.rotation @ np.array([0.0, 0.0, _BEHIND_LIPS_CM]))
    moved = (points[_OVAL] - shift) @ turn.T / shape.scale - bust.oval
    cap = bust.cap.reshape(RINGS, -1, 3) + _FOLLOWS_SKIN[:, None, None] * moved
    with_head = shape.scale * ((bust.sheet + PIVOT.astype(np.float32)) @ turn) + shift
    standing = torso.scale * bust.sheet + torso.origin
    weight = _WEIGHTS[:, None]
    return np.concatenate(
        [
            points[:FACE_POINTS],
            mouth[None],
            shape.scale * (cap.reshape(-1, 3) @ turn) + shift,
            weight * with_head + (1.0 - weight) * standing,
        ]
    ).astype(np.float32)


def placed(points: F32, size: int, depth: float = 0.0) -> F32:
    """Points in pixels of a square of `size`, pixel centres at integers, as engine.mesh.cameras gives them: x and y in
    -1..1 with y down, z in the same unit, smaller is nearer. depth: z in pixels of what stands at 0."""
    found = (2.0 * points + np.array([1.0 - size, 1.0 - size, -2.0 * depth])) / size
    return np.ascontiguousarray(found, np.float32)


_WEIGHTS = np.repeat(_ROW_WEIGHT, COLUMNS).astype(np.float32)


def _ramp(x: F64, low: float, high: float) -> F64:
    x = np.clip((x - low) / (high - low), 0.0, 1.0)
    return np.asarray(x * x * (3.0 - 2.0 * x))


def _rays(oval: F32) -> tuple[F64, F64, F64]:
    """Middle (2,), directions (36, 2) and radii (36,) of the oval as it is seen from the front."""
    flat = oval[:, :2].astype(np.float64)
    middle = 0.5 * (flat.min(0) + flat.max(0))
    away = flat - middle
    radii = np.linalg.norm(away, axis=1)
    return middle, away / np.maximum(radii, 1e-6)[:, None], radii


def _cap(oval: F32, sides: F64) -> F32:
    """Rings of the head. sides: (36,), how far hair reaches beyond the oval, in its radii."""
    middle, rays, radii = _rays(oval)
    nape = _ramp(rays[:, 1], 0.45, 0.85)
    found = []
    for k in range(RINGS):
        hair = 1.0 + (_HAIR_REACH[k] * sides if k < RINGS - 1 else _HAIR_REACH[k])
        factor = hair + nape * (_NAPE_FACTOR[k] - hair)
        behind = oval[:, 2] + _HAIR_DEPTH[k] * (_HAIR_Z[k] - oval[:, 2])
        depth = behind + nape * (_NAPE_Z[k] - behind)
        found.append(np.column_stack([middle + rays * (factor * radii)[:, None], depth]))
    return np.concatenate(found).astype(np.float32)


def _sheet(halves: F64) -> F32:
    """halves: (ROWS, 2), how far each row reaches to the picture's left and right, centimetres."""
    across = np.linspace(-1.0, 1.0, COLUMNS)
    x = np.where(across < 0, across * halves[:, :1], across * halves[:, 1:])
    y, z = np.repeat(_ROW_Y[:, None], COLUMNS, 1), np.repeat(_ROW_Z[:, None], COLUMNS, 1)
    bow = 2.0 * across**2  # shoulders lie behind the throat
    return np.stack([x, y, z + bow], -1).reshape(-1, 3).astype(np.float32)


def _measured_hair(shape: FaceShape, oval: F32, usual: F64, person: U8) -> F64:
    """How far the person reaches along each ray, in oval radii beyond the oval, within limits."""
    middle, rays, radii = _rays(oval)
    steps = np.linspace(*_HAIR_LIMITS, 24)
    flat = middle + rays[:, None] * (radii[:, None] * (1.0 + steps))[..., None]
    depth = np.full((*flat.shape[:2], 1), _HAIR_Z[1])
    found = _reach(shape, np.concatenate([flat, depth], -1), person, steps, usual)
    around = np.stack([np.roll(found, k) for k in (-1, 0, 1)])
    return np.asarray(np.median(around, axis=0), np.float64)


def _measured_sheet(shape: FaceShape, usual: F64, person: U8) -> F64:
    """How far the person reaches to both sides in every row, centimetres."""
    torso = torso_of(shape)
    upright = FaceShape(shape.local, np.eye(3), torso.scale, torso.origin)
    found = usual.copy()
    for row, limits in enumerate(_ROW_LIMITS):
        steps = np.linspace(*limits, 24)
        for side, sign in enumerate((-1.0, 1.0)):
            x = sign * _ROW_HALF[row] * steps
            line = np.column_stack([x, np.full_like(x, _ROW_Y[row]), np.full_like(x, _ROW_Z[row])])
            half = np.array([usual[row, side] / _ROW_HALF[row]])
            found[row, side] = _ROW_HALF[row] * _reach(upright, line[None], person, steps, half)[0]
    return found


def _reach(shape: FaceShape, lines: F64, person: U8, steps: F64, usual: F64) -> F64:
    """Along lines (N, K, 3) in a head's centimetres, the step (K,) at which the person ends; where the line leaves the
    picture before, at least the usual (N,)."""
    height, width = person.shape
    flat = (shape.scale * (lines @ shape.rotation.T) + shape.translation)[..., :2]
    x, y = np.rint(flat[..., 0]).astype(np.intp), np.rint(flat[..., 1]).astype(np.intp)
    outside = (x < 0) | (y < 0) | (x >= width) | (y >= height)
    there = person[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)] >= _PERSON
    ends = ~there | outside
    first = np.where(ends.any(1), ends.argmax(1), lines.shape[1] - 1)
    left = outside[np.arange(len(lines)), first]
    return np.asarray(np.where(left, np.maximum(usual, steps[first]), steps[first]))
