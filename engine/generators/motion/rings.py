"""The mesh around the face: hair, ears, neck and what is behind them, out to the rim of the patch.

Rings of points on rays through the face oval. They follow the rigid motion of the head less and less the further
out they are, and stand still on the rim; downwards, on neck and shoulders, they let go sooner.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from engine import canonical
from engine.types import F32, F64, FaceShape

FACTORS = (1.14, 1.32, 1.6, 2.05)
"""Rings in oval radii, where the rim leaves that much room."""
_DEPTHS = (0.4, 0.65, 0.85, 0.85)
_FOLLOW_UP = (1.0, 0.8, 0.45, 0.12)
_FOLLOW_NECK = (0.7, 0.35, 0.1, 0.0)
_SKIN = (0.8, 0.4, 0.15, 0.0)
_RIM_FADE = 0.06

OVAL = np.array(canonical.FACE_OVAL)


@dataclass(frozen=True, slots=True, eq=False)
class Outer:
    """N outer points. places: float32 (N, 3), patch pixels. local: float32 (N, 3), the same in the head's canonical
    frame. follow: float32 (N, 1), share of the head's rigid motion. skin: float32 (N, 1), share of the nearest oval
    point's expression. oval: int (N,), which of the 36 oval points that is. triangles: int32 (T, 3), numbered after
    the 478 face points."""

    places: F32
    local: F32
    follow: F32
    skin: F32
    oval: NDArray[np.intp]
    triangles: NDArray[np.int32]


def surround(points: F32, shape: FaceShape, size: int) -> Outer:
    """The rings for a face at `points` (478, 3) in a patch of `size` pixels; shape: the same face taken apart."""
    oval = points[OVAL]
    centre = 0.5 * (oval[:, :2].min(0) + oval[:, :2].max(0))
    rays = oval[:, :2] - centre
    radii = np.linalg.norm(rays, axis=1)
    rays = rays / np.maximum(radii, 1e-6)[:, None]
    rim = np.maximum(_to_rim(centre, rays, size), radii * 1.02)
    room = np.minimum(1.0, 0.95 * (rim / radii - 1.0) / (FACTORS[-1] - 1.0))
    down = shape.rotation[:2, 1] / max(1e-6, float(np.linalg.norm(shape.rotation[:2, 1])))
    neck = _smooth((rays @ down - 0.2) / 0.5)
    half_width = 0.5 * float(np.linalg.norm(points[234] - points[454]))
    places, follow, skin = [], [], []
    for k, factor in enumerate(FACTORS):
        stretch = 1.0 + (factor - 1.0) * room
        place = centre + rays * (radii * stretch)[:, None]
        inset = np.minimum(place, size - 1 - place).min(1)
        fade = np.clip(inset / (_RIM_FADE * size), 0.0, 1.0)
        places.append(np.column_stack([place, oval[:, 2] + _DEPTHS[k] * half_width]))
        follow.append(fade * (_FOLLOW_UP[k] + neck * (_FOLLOW_NECK[k] - _FOLLOW_UP[k])))
        skin.append(fade * _SKIN[k])
    border = centre + rays * rim[:, None]
    places.append(np.column_stack([border, oval[:, 2] + half_width]))
    corners = _corners(size, float(places[-1][:, 2].max()))
    all_places = np.concatenate([*places, corners]).astype(np.float32)
    still = np.zeros(len(OVAL) + 4)
    return Outer(
        all_places,
        (((all_places - shape.translation) @ shape.rotation) / shape.scale).astype(np.float32),
        np.concatenate([*follow, still]).astype(np.float32)[:, None],
        np.concatenate([*skin, still]).astype(np.float32)[:, None],
        np.concatenate([np.tile(np.arange(36), len(FACTORS) + 1), np.zeros(4, np.intp)]),
        _triangles(border, size),
    )


def _smooth(x: F64) -> F64:
    x = np.clip(x, 0.0, 1.0)
    return np.asarray(x * x * (3.0 - 2.0 * x))


def _to_rim(centre: F32, rays: F32, size: int) -> F64:
    """How far along each ray the patch ends."""
    with np.errstate(divide="ignore"):
        walls = np.where(
            rays > 0, (size - 0.5 - centre) / rays, (-0.5 - centre) / np.where(rays == 0, 1e-12, rays)
        )
    return np.asarray(np.where(walls > 0, walls, np.inf).min(1), np.float64)


def _corners(size: int, depth: float) -> F64:
    low, high = -0.5, size - 0.5
    return np.array([[low, low, depth], [high, low, depth], [high, high, depth], [low, high, depth]])


def _triangles(border: F64, size: int) -> NDArray[np.int32]:
    """Strips between neighbouring rings, and the four corners of the patch."""
    count, first = len(OVAL), len(canonical.VERTICES)
    rings = [OVAL] + [first + k * count + np.arange(count) for k in range(len(FACTORS) + 1)]
    strips = []
    for inner, outer in pairwise(rings):
        after_inner, after_outer = np.roll(inner, -1), np.roll(outer, -1)
        strips += [
            np.column_stack([inner, after_inner, outer]),
            np.column_stack([after_inner, after_outer, outer]),
        ]
    corners = np.array([[-0.5, -0.5], [size - 0.5, -0.5], [size - 0.5, size - 0.5], [-0.5, size - 0.5]])
    number = first + (len(FACTORS) + 1) * count
    wedges = []
    for i in range(count):
        j = (i + 1) % count
        for k in range(4):
            if _between(border[i], border[j], corners[k]):
                wedges.append([rings[-1][i], rings[-1][j], number + k])
    return np.concatenate([*strips, np.array(wedges, np.int64).reshape(-1, 3)]).astype(np.int32)


def _between(a: F64, b: F64, corner: F64) -> bool:
    """True when a and b lie on the two sides of the patch that meet in this corner."""
    on_a, on_b = np.abs(a - corner) < 1e-3, np.abs(b - corner) < 1e-3
    return bool((on_a[0] and on_b[1]) or (on_a[1] and on_b[0]))


def follow_head(outer: Outer, face: F32, moved: FaceShape, rest: F32) -> F32:
    """Where the outer points go, float32 (N, 3).

    face: (478, 3) target places of the face. moved: its rigid motion. rest: (478, 3), the source's local shape.
    """
    turn, shift = moved.rotation.T.astype(np.float32), moved.translation.astype(np.float32)
    rigid = moved.scale * (outer.local @ turn) + shift
    rigid_oval = moved.scale * (rest[OVAL] @ turn) + shift
    residue = (face[OVAL] - rigid_oval)[outer.oval]
    return np.asarray(outer.places + outer.follow * (rigid - outer.places) + outer.skin * residue, np.float32)
