"""A parsing mask of 19 classes, drawn from the tracked mesh and the person mask.

What stands on the mesh is drawn as it is tracked: skin, nose, eyes, brows, lips, mouth. What lies around it
is told from the person mask by place alone: above and beside the face is hair, below the jaw and no wider
than it is neck, the rest of the person is cloth. So a hat, an ear, the forehead above the mesh or a hand
beside the face becomes hair, hair on the forehead becomes skin, and hair below the chin becomes cloth.
Glasses, ears, hats, earrings and necklaces cannot be known from these inputs: their classes are in the
table, and are never drawn.
"""

from __future__ import annotations

import cv2
import numpy as np

from engine.canonical import (
    FACE_OVAL,
    LEFT_BROW,
    LEFT_EYE,
    LIPS_INNER,
    LIPS_OUTER,
    MESH_POINTS,
    RIGHT_BROW,
    RIGHT_EYE,
)
from engine.errors import InputError
from engine.parsing.classes import Part
from engine.types import F32, F64, FACE_POINTS, U8

NEVER_DRAWN = frozenset({Part.EYE_G, Part.L_EAR, Part.R_EAR, Part.HAT, Part.EAR_R, Part.NECK_L})
"""Classes that mesh and person mask cannot tell."""

_NOSE = (168, 122, 174, 198, 129, 64, 98, 97, 2, 326, 327, 294, 358, 420, 399, 351)
_HALF = 11
_LOWER_LIP = (*LIPS_OUTER[:_HALF], *reversed(LIPS_INNER[:_HALF]))
_FOREHEAD, _CHIN = 10, 152
_TEMPLES = (127, 356)
_JAW = (172, 397)

# In head heights, forehead to chin: how far hair reaches above the forehead, to each side of the ears and of
# the chin (where shoulders may already be), and how far the neck reaches below the chin.
_HAIR_UP, _HAIR_ASIDE, _HAIR_BELOW, _NECK_DOWN = 0.9, 0.95, 0.6, 0.4
_HEIGHT_OVER_WIDTH = 1.25
_CLOSED_LIPS = 0.015
_PERSON = 128
_FAR = 2.0**14
_SUBPIXEL_BITS = 4


def draw_parsing(points: F32, size: tuple[int, int], person: U8 | None = None) -> U8:
    """The parsing mask of one face, uint8 (H, W), a Part in every pixel.

    points: float32 (478, 3) or (478, 2), pixels. size: (width, height) in pixels. person: uint8 (H, W), 255 =
    person; without it hair, neck and cloth cannot be told from the background and are left out.
    Raises InputError when the points are not 478 finite ones, or the person mask is not of this size.
    """
    width, height = size
    _check(points, size, person)
    flat = np.clip(points[:, :2].astype(np.float64), -_FAR, _FAR)
    mask: U8 = np.zeros((height, width), np.uint8)
    if person is not None:
        _draw_surroundings(mask, flat)
    # A turned face bulges over its oval, as far as its outline; past the person that outline is too generous.
    _fill(mask, cv2.convexHull(flat[:MESH_POINTS].astype(np.float32))[:, 0].astype(np.float64), Part.SKIN)
    if person is not None:
        mask[person < _PERSON] = Part.BACKGROUND
    _draw_face(mask, flat, points)
    return mask


def _check(points: F32, size: tuple[int, int], person: U8 | None) -> None:
    if points.shape[:1] != (FACE_POINTS,) or points.ndim != 2 or not np.isfinite(points).all():
        raise InputError(
            f"parsing: got points {points.shape}, expected ({FACE_POINTS}, 3), finite; track the face"
        )
    if person is not None and person.shape != size[::-1]:
        raise InputError(
            f"parsing: got a person mask {person.shape}, expected {size[::-1]}; use that of the frame"
        )


def _draw_surroundings(mask: U8, flat: F64) -> None:
    """Cloth everywhere, hair around the head down to the chin, neck below the jaw."""
    mask[:] = Part.CLOTH
    chin, forehead = flat[_CHIN], flat[_FOREHEAD]
    temples, jaw = flat[list(_TEMPLES)], flat[list(_JAW)]
    # Seen from the side a head is narrow, from above it is low; the longer measure tells its size.
    height = max(_length(chin - forehead), _HEIGHT_OVER_WIDTH * _length(temples[1] - temples[0]), 1.0)
    down = (chin - forehead) / max(_length(chin - forehead), 1e-6)
    aside = np.array([down[1], -down[0]])
    level = chin + ((temples.mean(axis=0) - chin) @ aside) * aside
    ears = level - max(float((chin - temples.mean(axis=0)) @ down), 0.0) * down
    top = level - (_length(chin - forehead) + _HAIR_UP * height) * down
    wide, narrow = _HAIR_ASIDE * height * aside, _HAIR_BELOW * height * aside
    sides = [level - narrow, ears - wide, top - wide, top + wide, ears + wide, level + narrow]
    _fill(mask, np.array(sides), Part.HAIR)
    # A neck leans half as far as the head does.
    lean = down + np.array([0.0, 1.0])
    end = _NECK_DOWN * height * lean / max(_length(lean), 1e-6)
    fall = np.maximum((chin - jaw) @ down, 0.0)[:, None] * down
    _fill(mask, np.array([jaw[0], jaw[0] + fall[0] + end, jaw[1] + fall[1] + end, jaw[1]]), Part.NECK)


def _draw_face(mask: U8, flat: F64, points: F32) -> None:
    """Skin, then the far eye and brow, the nose, the near eye and brow, and the mouth."""
    _fill(mask, flat[list(FACE_OVAL)], Part.SKIN)
    sides = [
        ((RIGHT_BROW, Part.L_BROW), (RIGHT_EYE, Part.L_EYE)),
        ((LEFT_BROW, Part.R_BROW), (LEFT_EYE, Part.R_EYE)),
    ]
    if points.shape[1] > 2 and points[list(LEFT_EYE), 2].mean() > points[list(RIGHT_EYE), 2].mean():
        sides.reverse()
    for ring, part in (*sides[0], (_NOSE, Part.NOSE), *sides[1]):
        _fill(mask, flat[list(ring)], part)
    _draw_mouth(mask, flat)


def _draw_mouth(mask: U8, flat: F64) -> None:
    """Both lips, and between them the mouth unless they are closed."""
    _fill(mask, flat[list(LIPS_OUTER)], Part.U_LIP)
    _fill(mask, flat[list(_LOWER_LIP)], Part.L_LIP)
    inner = flat[list(LIPS_INNER)]
    width = _length(inner[0] - inner[_HALF - 1])
    if _area(inner) > _CLOSED_LIPS * width * width:
        _fill(mask, inner, Part.MOUTH)


def _fill(mask: U8, ring: F64, part: Part) -> None:
    fixed = np.rint(ring * 2**_SUBPIXEL_BITS).astype(np.int32)
    cv2.fillPoly(mask, [fixed], int(part), shift=_SUBPIXEL_BITS)


def _length(vector: F64) -> float:
    return float(np.hypot(vector[0], vector[1]))


def _area(ring: F64) -> float:
    """Of a polygon (n, 2), in square pixels, whatever its orientation."""
    after = np.roll(ring, -1, axis=0)
    return 0.5 * abs(float((ring[:, 0] * after[:, 1] - ring[:, 1] * after[:, 0]).sum()))
