"""What each action unit does to the canonical face: a displacement per AU, written from the FACS
descriptions.

Every AU is a short table of named points and how far they travel at intensity 1. The skin between them
follows a smooth field: interpolation with the Green's function of a thin plate on the mesh itself, so that
a field is exact at its points, fades out over a stated length and never jumps across the parted lips or the
eye.

Combination of several AUs, in this order:

1. the fields of all AUs but AU45 add up, each times its intensity (linear, either sign);
2. the skin around the eyes moves by AU45, and each upper lid point goes that share of the way to its lower
   lid partner where step 1 left it: at AU45 = 1 any eye is closed exactly;
3. inner lip points that crossed meet half-way.

The irises never move. The fields are symmetric about the middle of the face.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from engine import canonical
from engine.features.au_table import FIELDS, JAW_CENTRE, JAW_DEGREES, JAW_SHARES, Field
from engine.types import AU_NAMES, F32, F64

LIDS_RIGHT = ((246, 161, 160, 159, 158, 157, 173), (7, 163, 144, 145, 153, 154, 155))
LIDS_LEFT = ((466, 388, 387, 386, 385, 384, 398), (249, 390, 373, 374, 380, 381, 382))
"""Upper lid points and, below each, the lower lid point that it meets in a closed eye, outer corner first."""

LIPS = (
    (191, 80, 81, 82, 13, 312, 311, 310, 415),
    (95, 88, 178, 87, 14, 317, 402, 318, 324),
)
"""Inner points of the upper lip and, below each, the one of the lower lip that it meets in a closed mouth."""

WIDEST_LIDS = -0.3
"""AU45 below 0 opens the eyes further; no further than this."""

_CLOSURE = AU_NAMES.index("AU45")
_UPPER_LIDS = np.array(LIDS_RIGHT[0] + LIDS_LEFT[0])
_LOWER_LIDS = np.array(LIDS_RIGHT[1] + LIDS_LEFT[1])
_UPPER_LIP, _LOWER_LIP = np.array(LIPS[0]), np.array(LIPS[1])


def displacement(aus: NDArray[np.floating]) -> F32:
    """How the canonical face moves under `aus` (17,) in the order of AU_NAMES, 0..1 (offsets: -1..1).

    Returns float32 (478, 3), canonical centimetres, to be added to canonical.VERTICES.
    """
    return deform(canonical.VERTICES, aus) - canonical.VERTICES


def deform(local: F32, aus: NDArray[np.floating]) -> F32:
    """Any face's local shape (478, 3) in canonical centimetres, moved by `aus` (17,); lids and lips meet on
    that face's own contours. float32 (478, 3)."""
    aus = np.asarray(aus, np.float32)
    moved = local + np.tensordot(aus * _LINEAR, basis(), 1)
    closure = min(1.0, max(WIDEST_LIDS, float(aus[_CLOSURE])))
    if closure:
        upper = moved[_UPPER_LIDS] + closure * (moved[_LOWER_LIDS] - moved[_UPPER_LIDS])
        moved += closure * basis()[_CLOSURE]
        moved[_UPPER_LIDS] = upper
    _meet_lips(moved, local)
    return np.asarray(moved, np.float32)


_LINEAR = np.ones(len(AU_NAMES), np.float32)
_LINEAR[_CLOSURE] = 0.0


def _meet_lips(moved: F32, before: F32) -> None:
    """Lips that crossed by this motion meet half-way; a crossing that was there before stays as it was."""
    allowed = np.minimum(before[_LOWER_LIP, 1] - before[_UPPER_LIP, 1], 0.0)
    excess = np.maximum(allowed - (moved[_LOWER_LIP, 1] - moved[_UPPER_LIP, 1]), 0.0)
    moved[_UPPER_LIP, 1] -= 0.5 * excess
    moved[_LOWER_LIP, 1] += 0.5 * excess


@lru_cache(maxsize=1)
def basis() -> F32:
    """The displacement of every AU at intensity 1: float32 (17, 478, 3) centimetres, read-only.

    Computed once, in half a second of CPU: call it before the first frame.
    """
    fields = np.zeros((len(AU_NAMES), canonical.VERTICES.shape[0], 3))
    for name, field in FIELDS.items():
        fields[AU_NAMES.index(name)] = _spread(_mirrored(field.moves), field)
    fields[_CLOSURE] = _spread(_closing(), FIELDS["AU45"])
    fields[AU_NAMES.index("AU26")] += _jaw()
    symmetric = 0.5 * (fields + fields[:, canonical.MIRROR] * (-1.0, 1.0, 1.0))
    symmetric[_CLOSURE, _UPPER_LIDS] = canonical.VERTICES[_LOWER_LIDS] - canonical.VERTICES[_UPPER_LIDS]
    symmetric[:, canonical.MESH_POINTS :] = 0.0
    result = symmetric.astype(np.float32)
    result.setflags(write=False)
    return result


def _mirrored(moves: dict[int, tuple[float, float, float]]) -> dict[int, F64]:
    """(outward, down, back) of the right side and the middle, as x y z on both sides."""
    both: dict[int, F64] = {}
    for point, (outward, down, back) in moves.items():
        both[point] = np.array([-outward, down, back])
        both[int(canonical.MIRROR[point])] = np.array([outward, down, back])
    return both


def _closing() -> dict[int, F64]:
    """Upper lids travel to the lower lids, which rest."""
    travel = _mirrored(FIELDS["AU45"].moves)
    for upper, lower in zip(_UPPER_LIDS, _LOWER_LIDS, strict=True):
        travel[int(upper)] = (canonical.VERTICES[lower] - canonical.VERTICES[upper]).astype(np.float64)
        travel[int(lower)] = np.zeros(3)
    return travel


def _jaw() -> F64:
    """The lower face turned about the jaw's centre of rotation, each point by its share."""
    shares = {point: np.array([share]) for point, share in JAW_SHARES.items()}
    shares |= {int(canonical.MIRROR[point]): np.array([share]) for point, share in JAW_SHARES.items()}
    weight = np.clip(_spread(shares, FIELDS["AU26"]), 0.0, 1.0)
    angle = math.radians(JAW_DEGREES)
    arm = canonical.VERTICES[:, 1:].astype(np.float64) - JAW_CENTRE
    turn = np.array([[math.cos(angle) - 1.0, -math.sin(angle)], [math.sin(angle), math.cos(angle) - 1.0]])
    turned = np.zeros((len(arm), 3))
    turned[:, 1:] = arm @ turn.T
    return np.asarray(weight * turned)


def _spread(moves: dict[int, F64], field: Field) -> F64:
    """The smooth field through `moves` that rests at the field's pins: (478, width of a move)."""
    anchors = {**{p: np.zeros_like(next(iter(moves.values()))) for p in _both_sides(field.pins)}, **moves}
    points = list(anchors)
    kernel = _kernel(points, field.reach, field.lips_together)
    heights = np.linalg.lstsq(kernel[points], np.stack([anchors[p] for p in points]), rcond=1e-12)[0]
    spread = np.zeros((canonical.VERTICES.shape[0], heights.shape[1]))
    spread[: canonical.MESH_POINTS] = kernel @ heights
    return spread


def _both_sides(points: tuple[int, ...]) -> list[int]:
    return list(dict.fromkeys([*points, *(int(canonical.MIRROR[p]) for p in points)]))


def _kernel(points: list[int], reach: float, lips_together: bool) -> F64:
    """Green's functions (468, len(points)) of a thin plate on the mesh whose bumps fade over `reach`
    centimetres."""
    modes, stiffness = _modes(lips_together)
    return np.asarray((modes / (stiffness + reach**-4.0)) @ modes[points].T)


@lru_cache(maxsize=2)
def _modes(lips_together: bool) -> tuple[F64, F64]:
    """Eigenmodes (468, M) of the plate and their stiffnesses (M,), 1/cm^4.

    With `lips_together` the two inner lip contours are one line that both lips share.
    """
    stiffness, mass = _laplacian()
    owner = np.arange(len(mass))
    if lips_together:
        owner[_LOWER_LIP] = _UPPER_LIP
    kept, slot = np.unique(owner, return_inverse=True)
    weld = np.zeros((len(mass), len(kept)))
    weld[np.arange(len(mass)), slot] = 1.0
    root = 1.0 / np.sqrt(weld.T @ mass)
    values, vectors = np.linalg.eigh(root[:, None] * (weld.T @ stiffness @ weld) * root)
    return weld @ (root[:, None] * vectors), values**2


@lru_cache(maxsize=1)
def _laplacian() -> tuple[F64, F64]:
    """Cotangent stiffness (468, 468) and vertex areas (468,) in cm^2 of the skin, open at the eyes and the
    mouth."""
    vertices = canonical.VERTICES[: canonical.MESH_POINTS].astype(np.float64)
    stiffness = np.zeros((len(vertices), len(vertices)))
    mass = np.zeros(len(vertices))
    skin = _skin_triangles()
    for corner in range(3):
        apex, a, b = skin[:, corner], skin[:, (corner + 1) % 3], skin[:, (corner + 2) % 3]
        u, v = vertices[a] - vertices[apex], vertices[b] - vertices[apex]
        twice_area = np.linalg.norm(np.cross(u, v), axis=1)
        weight = 0.5 * np.clip((u * v).sum(1) / np.maximum(twice_area, 1e-6), 0.05, 5.0)
        for i, j, sign in ((a, b, -1.0), (b, a, -1.0), (a, a, 1.0), (b, b, 1.0)):
            np.add.at(stiffness, (i, j), sign * weight)
        np.add.at(mass, apex, twice_area / 6.0)
    return stiffness, np.maximum(mass, 0.02)


def _skin_triangles() -> NDArray[np.int32]:
    inside = np.zeros(len(canonical.TRIANGLES), bool)
    for ring in (canonical.LIPS_INNER, canonical.RIGHT_EYE, canonical.LEFT_EYE):
        inside |= np.isin(canonical.TRIANGLES, ring).all(1)
    return canonical.TRIANGLES[~inside]
