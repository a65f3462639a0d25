"""A face's own layout with the mesh that it lies on, and that layout where another pose and expression take it.

What keeps its topology (skin, nose, brows, ears, hair, hat, glasses, neck, cloth) is carried along by the mesh and by
the rings around it, so that the face keeps its own shape and what surrounds it. What opens and closes (eyes, lips,
mouth) cannot be carried, as a shut mouth has no inside to be carried: it is drawn from the points.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engine import canonical
from engine.features.shape import fit_shape
from engine.generators.motion import rings
from engine.generators.motion.flow import rasterise
from engine.geometry import apply_affine
from engine.parsing.classes import Part
from engine.parsing.draw import draw_parsing
from engine.types import F32, F64, U8, FaceShape

OPENING = (Part.L_EYE, Part.R_EYE, Part.MOUTH, Part.U_LIP, Part.L_LIP)
"""Drawn from the points, the others carried."""

COVERS = (Part.HAIR, Part.HAT)
"""What hides eyes and mouth where it lies over them."""

FINE = 256
"""Side of the square up to which every pixel is placed by itself; in a larger one every second."""

_BEHIND_CM = 30.0
"""How much further from the camera than they are the rings are drawn."""

_SEEN = 0.1
"""Share of an eye's outline that has to be eye for it to be drawn: less of it is behind hair or dark glasses."""

_OPENING = np.isin(np.arange(len(Part)), OPENING)
_AROUND = np.isin(np.arange(len(Part)), (Part.BACKGROUND, Part.NECK, Part.CLOTH))
_COVERS = np.isin(np.arange(len(Part)), COVERS)
_EYES = ((Part.L_EYE, canonical.RIGHT_EYE), (Part.R_EYE, canonical.LEFT_EYE))


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """labels: uint8 (S, S), classes of CelebAMask-HQ. ground: the same with skin where eyes and mouth were. shape: the
    face in pixels of that square. places: float32 (478 + N + 36, 2), mesh, rings and the outline once more, from which
    the rings begin: it lies behind the face, so that no ring is ever in front of a cheek. hidden: eyes that are not to
    be drawn."""

    labels: U8
    ground: U8
    shape: FaceShape
    outer: rings.Outer
    places: F32
    triangles: NDArray[np.int32]
    hidden: tuple[Part, ...]

    @property
    def size(self) -> int:
        """S."""
        return len(self.labels)


def template_of(labels: U8, points: F32) -> Template:
    """The template of a square's labels (S, S) and the face's points (478, 3) in it."""
    shape = fit_shape(points)
    outer = rings.surround(points, shape, len(labels))
    ground = np.where(_OPENING[labels], np.uint8(Part.SKIN), labels)
    return Template(
        labels,
        np.ascontiguousarray(ground),
        shape,
        outer,
        np.ascontiguousarray(np.concatenate([points, outer.places, points[rings.OVAL]])[:, :2], np.float32),
        np.concatenate([canonical.TRIANGLES, _behind(outer)]),
        tuple(part for part, ring in _EYES if _unseen(labels, points[list(ring), :2], part)),
    )


def _behind(outer: rings.Outer) -> NDArray[np.int32]:
    """The rings' triangles, from the second outline on."""
    number = np.arange(len(canonical.VERTICES) + len(outer.places), dtype=np.int32)
    number[rings.OVAL] = len(number) + np.arange(len(rings.OVAL), dtype=np.int32)
    return number[outer.triangles]


def _unseen(labels: U8, ring: F32, part: Part) -> bool:
    """Whether hardly anything within an eye's outline is that eye, though it is large enough to be told."""
    inside = np.zeros_like(labels)
    cv2.fillPoly(inside, [np.rint(ring).astype(np.int32)], 1)
    within = labels[inside > 0]
    return bool(within.size >= 8 and np.count_nonzero(within == part) < _SEEN * within.size)


def moved(template: Template, shape: FaceShape, view: F64 | None = None) -> U8:
    """The layout of a template's face as `shape` has it (its own local shape, say, otherwise turned), uint8 (S, S).

    shape: in pixels of the template's square. view: (2, 3), from that square's pixels to those of the result.
    """
    points = shape.points()
    outer = rings.follow_head(template.outer, points, shape, template.shape.local)
    further = np.array([0.0, 0.0, _BEHIND_CM * shape.scale], np.float32)
    target = np.concatenate([points, outer + further, points[rings.OVAL] + further])
    if view is not None:
        target[:, :2] = apply_affine(view, target)
    labels = _carried(template, target, view)
    drawn = draw_parsing(target[: len(points)], (template.size, template.size))
    labels[_AROUND[labels] & (drawn != Part.BACKGROUND)] = Part.SKIN  # of a cheek that a turn stretches, say
    take = _OPENING[drawn] & ~_COVERS[labels]
    for part in template.hidden:
        take &= drawn != part
    labels[take] = drawn[take]
    return labels


def _carried(template: Template, target: F32, view: F64 | None) -> U8:
    """The ground where mesh and rings take it; what they do not reach stays as the view has it."""
    size = template.size
    grid = size if size <= FINE else (size + 1) // 2
    maps = [np.empty((grid, grid), np.float32) for _ in range(3)]
    step = size / grid
    rasterise(target, template.places, template.triangles, step, *maps)
    bare = maps[2] > 1e38
    if view is not None and bare.any():
        rows, columns = np.nonzero(bare)
        cells = (np.column_stack([columns, rows]) + 0.5) * step - 0.5
        turn = np.linalg.inv(view[:, :2])
        maps[0][bare], maps[1][bare] = ((cells - view[:, 2]) @ turn.T).T
    across, down = (cv2.resize(flow, (size, size), interpolation=cv2.INTER_LINEAR) for flow in maps[:2])
    labels = cv2.remap(template.ground, across, down, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(labels, np.uint8)
