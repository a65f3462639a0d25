"""A face that is known by numbers alone: what a script or an external tracker says of it, and the points it becomes.

No picture of anybody is behind it. The action units of each half of the face deform the canonical face, the irises
follow the gaze, and the whole turns about the neck.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from engine import canonical
from engine.features.au_basis import deform
from engine.types import AU_NAMES, F32, F64, U8, Face, Gaze

_FACE_SHARE = 0.26
_NECK_CM = np.array([0.0, 8.0, 7.0])
_SIDE_BLEND_CM = 0.8
_LID_FOLLOWS_GAZE = 0.35
_CLOSURE = AU_NAMES.index("AU45")
_AUS = len(AU_NAMES)
_NUMBERS = 2 * _AUS + 4 + 9 + 2 + 1
PACKED_BYTES = 4 * _NUMBERS
"""Of an acting as bytes."""

MOST_LEAN, MOST_SHIFT = 3.0, 0.5

_STRAIGHT = Gaze(0.0, 0.0, 0.0, 0.0)


def _rest() -> F32:
    return np.zeros(_AUS, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Acting:
    """One moment of a face.

    right, left: float32 (17,), the action units of the person's right and left half in the order of AU_NAMES, each
    about 0..1. gaze: as in engine.types. rotation: float64 (3, 3), proper, of the head, in the axes of
    engine/geometry.py. shift: (x, y) of the head from the picture's middle, in shares of its shorter side. lean: how
    many times as large the head is as it stands at first.
    """

    right: F32 = field(default_factory=_rest)
    left: F32 = field(default_factory=_rest)
    gaze: Gaze = _STRAIGHT
    rotation: F64 = field(default_factory=lambda: np.eye(3))
    shift: tuple[float, float] = (0.0, 0.0)
    lean: float = 1.0


def acted_face(acting: Acting, size: tuple[int, int]) -> Face:
    """The face in a picture of `size` (width, height): its outer eye corners are 0.26 of the shorter side apart."""
    shorter = min(size)
    scale = _FACE_SHARE * shorter / canonical.EYE_DISTANCE_CM * acting.lean
    middle = [(size[axis] - 1) / 2 + shorter * acting.shift[axis] for axis in (0, 1)]
    turned = (_expression(acting) - _NECK_CM) @ acting.rotation.T + _NECK_CM
    points = (scale * turned + [*middle, 0.0]).astype(np.float32)
    mesh = points[: canonical.MESH_POINTS, :2]
    return Face(np.concatenate([mesh.min(0), mesh.max(0)]), points, 1.0, 1)


def packed(acting: Acting) -> U8:
    """As bytes for another process, uint8 (PACKED_BYTES,)."""
    gaze, numbers = acting.gaze, np.empty(_NUMBERS, np.float32)
    numbers[:_AUS], numbers[_AUS : 2 * _AUS] = acting.right, acting.left
    looks = (gaze.right_x, gaze.right_y, gaze.left_x, gaze.left_y)
    numbers[2 * _AUS :] = (*looks, *acting.rotation.ravel(), *acting.shift, acting.lean)
    return numbers.view(np.uint8)


def unpacked(data: U8) -> Acting | None:
    """The acting in such bytes; None where they are none: of another length, not finite, or no rotation."""
    if data.dtype != np.uint8 or data.shape != (PACKED_BYTES,):
        return None
    numbers = data.copy().view(np.float32)
    if not np.isfinite(numbers).all():
        return None
    right, left, rest = numbers[:_AUS], numbers[_AUS : 2 * _AUS], numbers[2 * _AUS :].astype(np.float64)
    rotation = rest[4:13].reshape(3, 3)
    proper = np.abs(rotation @ rotation.T - np.eye(3)).max() < 1e-3 and np.linalg.det(rotation) > 0
    shift, lean = (float(rest[13]), float(rest[14])), float(rest[15])
    if not proper or max(map(abs, shift)) > MOST_SHIFT or not 1 / MOST_LEAN <= lean <= MOST_LEAN:
        return None
    if max(np.abs(right).max(), np.abs(left).max(), np.abs(rest[:4]).max()) > 1.0:
        return None
    return Acting(right, left, Gaze(*rest[:4].tolist()), rotation, shift, lean)


def _expression(acting: Acting) -> F32:
    """The local shape (478, 3) in canonical centimetres: each half acts by its own units, blended midway."""
    gaze = acting.gaze
    right = _half(acting.right, canonical.RIGHT_EYE_CORNERS, canonical.RIGHT_IRIS, gaze.right_x, gaze.right_y)
    left = _half(acting.left, canonical.LEFT_EYE_CORNERS, canonical.LEFT_IRIS, gaze.left_x, gaze.left_y)
    share = 1 / (1 + np.exp(canonical.VERTICES[:, :1] / (_SIDE_BLEND_CM / 4)))
    return np.asarray(left + (right - left) * share, np.float32)


def _half(aus: F32, corners: tuple[int, int], iris: tuple[int, ...], look_x: float, look_y: float) -> F32:
    """The whole face under the units of one half, with that half's iris turned."""
    aus = aus.copy()
    aus[_CLOSURE] = min(1.0, float(aus[_CLOSURE]) + _LID_FOLLOWS_GAZE * max(0.0, look_y))
    local = deform(canonical.VERTICES, aus)
    half_width = float(np.linalg.norm(canonical.VERTICES[corners[0]] - canonical.VERTICES[corners[1]])) / 2
    local[list(iris), :2] += half_width * np.array([look_x, look_y], np.float32)
    return local
