"""Triangles, texture layout and parts of the bust, the same for everybody.

Points are numbered: 478 of the tracker, one in the mouth, RINGS x 36 of the cap around the face oval, inside out, and
ROWS x COLUMNS of the neck and shoulders, top down and from the picture's left. Triangles run counter-clockwise as they
are seen from outside (with y up): those that look away are not drawn.

The layout is planar: the face seen from the front, the cap as rings around it, the sheet in a band below and the inside
of the mouth, which a closed mouth hides, as an island of its own. No two triangles overlap in it.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine import canonical
from engine.mesh.layout import Layout, layout_of
from engine.types import F32, FACE_POINTS

I32 = NDArray[np.int32]

RINGS: Final = 4
ROWS: Final = 6
COLUMNS: Final = 9

MOUTH: Final = FACE_POINTS
"""The point behind the lips."""
CAP: Final = MOUTH + 1
SHEET: Final = CAP + RINGS * len(canonical.FACE_OVAL)
POINTS: Final = SHEET + ROWS * COLUMNS


class Part(IntEnum):
    """What a triangle shows."""

    SKIN = 0
    BROWS = 1
    EYES = 2
    LIPS = 3
    MOUTH = 4
    HAIR = 5
    NECK = 6


_SCALE = 0.0597  # of the layout, per canonical centimetre
_MIDDLE = np.array([0.0, -0.16])
_RING_FACTORS = (1.14, 1.30, 1.46, 1.62)
_ISLAND, _ISLAND_RADIUS = np.array([-0.86, -0.86]), 0.11
_BAND = (-0.95, 0.95, 0.68, 0.97)
_LIPS = np.array(canonical.LIPS_INNER)
_EYES = (
    (canonical.RIGHT_EYE, canonical.RIGHT_IRIS[0]),
    (canonical.LEFT_EYE, canonical.LEFT_IRIS[0]),
)


def _fan(centre: int, ring: NDArray[np.intp]) -> I32:
    return np.column_stack([np.full(len(ring), centre), ring, np.roll(ring, -1)]).astype(np.int32)


def _strips(rings: list[NDArray[np.intp]]) -> I32:
    """Between neighbouring rings of the same length, closed."""
    found = []
    for inner, outer in pairwise(rings):
        after_inner, after_outer = np.roll(inner, -1), np.roll(outer, -1)
        found += [
            np.column_stack([inner, after_inner, outer]),
            np.column_stack([after_inner, after_outer, outer]),
        ]
    return np.concatenate(found).astype(np.int32)


def _sheet() -> I32:
    number = SHEET + np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    a, b, c, d = number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]
    upper, lower = np.stack([a, b, d], -1), np.stack([b, c, d], -1)
    return np.concatenate([upper.reshape(-1, 3), lower.reshape(-1, 3)]).astype(np.int32)


def _face() -> tuple[I32, NDArray[np.uint8]]:
    """The skin with eyes and mouth open, and its parts."""
    triangles = canonical.TRIANGLES
    openings = [canonical.LIPS_INNER, canonical.RIGHT_EYE, canonical.LEFT_EYE]
    closed = np.any([np.isin(triangles, ring).all(1) for ring in openings], axis=0)
    skin = triangles[~closed]
    parts = np.full(len(skin), Part.SKIN, np.uint8)
    lips = canonical.LIPS_OUTER + canonical.LIPS_INNER
    parts[np.isin(skin, (*lips, *_between_the_lips())).all(1)] = Part.LIPS
    for brow in (canonical.RIGHT_BROW, canonical.LEFT_BROW):
        parts[np.isin(skin, brow).all(1)] = Part.BROWS
    return skin, parts


def _between_the_lips() -> list[int]:
    """The points between the outer and the inner contour of the lips."""
    flat = canonical.VERTICES[: canonical.MESH_POINTS, :2]
    outline = flat[list(canonical.LIPS_OUTER)]
    found = np.zeros(len(flat), bool)
    for (x0, y0), (x1, y1) in zip(outline, np.roll(outline, -1, 0)):  # even-odd rule
        crosses = (y0 > flat[:, 1]) != (y1 > flat[:, 1])
        at = x0 + (flat[:, 1] - y0) * (x1 - x0) / np.where(y1 == y0, 1e-9, y1 - y0)
        found ^= crosses & (flat[:, 0] < at)
    return [int(point) for point in np.flatnonzero(found)]


def _layout() -> F32:
    """Places of the points, and after them those of the mouth's island: its ring."""
    flat = canonical.VERTICES[:, :2].astype(np.float64)
    oval = flat[list(canonical.FACE_OVAL)]
    middle = 0.5 * (oval.min(0) + oval.max(0))
    face = _MIDDLE + _SCALE * (flat - middle)
    cap = np.concatenate([_MIDDLE + _SCALE * factor * (oval - middle) for factor in _RING_FACTORS])
    left, right, top, bottom = _BAND
    across, down = np.meshgrid(np.linspace(left, right, COLUMNS), np.linspace(top, bottom, ROWS))
    turn = 2.0 * np.pi * np.arange(len(_LIPS)) / len(_LIPS)
    island = _ISLAND + _ISLAND_RADIUS * np.column_stack([-np.cos(turn), np.sin(turn)])
    sheet = np.column_stack([across.ravel(), down.ravel()])
    return np.concatenate([face, _ISLAND[None], cap, sheet, island]).astype(np.float32)


def _build() -> tuple[I32, NDArray[np.uint8], F32, I32]:
    skin, skin_parts = _face()
    oval = np.array(canonical.FACE_OVAL)
    rings = [oval] + [CAP + k * len(oval) + np.arange(len(oval)) for k in range(RINGS)]
    eyes = np.concatenate([_fan(iris, np.array(ring)) for ring, iris in _EYES])
    mouth, cap, sheet = _fan(MOUTH, _LIPS), _strips(rings), _sheet()
    faces = np.concatenate([skin, eyes, mouth, cap, sheet])
    counted = ((Part.EYES, eyes), (Part.MOUTH, mouth), (Part.HAIR, cap), (Part.NECK, sheet))
    parts = np.concatenate([skin_parts, *(np.full(len(some), part, np.uint8) for part, some in counted)])
    layout = _layout()
    laid = faces.copy()
    island = parts == Part.MOUTH
    laid[island] = _fan(MOUTH, POINTS + np.arange(len(_LIPS)))
    corners = layout[laid].astype(np.float64)
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    clockwise = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0] > 0  # y runs down
    for triangles in (faces, laid):
        triangles[clockwise] = triangles[clockwise][:, ::-1]
    for array in (faces, parts, layout, laid):
        array.setflags(write=False)
    return faces, parts, layout, laid


FACES, PARTS, LAYOUT, LAYOUT_FACES = _build()
"""FACES: int32 (F, 3), numbers of points. PARTS: uint8 (F,), the Part of each. LAYOUT: float32 (L, 2), places in the
texture, -1..1, x right, y down. LAYOUT_FACES: int32 (F, 3), numbers of these places, which are those of FACES except in
the mouth."""


@lru_cache(maxsize=1)
def layout() -> Layout:
    """The bust as the flows' code knows a mesh. Parts by the names of Part in lower case; groups: `head` is all but the
    neck, `facial` all that the tracker sees, `front` everything."""
    of = {part.name.lower(): np.flatnonzero(part == PARTS).tolist() for part in Part}
    groups = {
        "front": range(len(FACES)),
        "head": np.flatnonzero(PARTS != Part.NECK).tolist(),
        "facial": np.flatnonzero(PARTS < Part.HAIR).tolist(),
    }
    return layout_of(FACES, LAYOUT[LAYOUT_FACES], of, groups=groups)
