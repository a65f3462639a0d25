"""OpenSeeFace's packets (UDP, port 11573 by its default): one or more faces, each of 1785 bytes, or 1729 of older ones.

All numbers are little-endian: time (double), the face's id (32 bits), width and height of the picture, how open the
right and the left eye are (floats), whether its three-dimensional fit succeeded (one byte), that fit's error, a
quaternion, three angles and a shift, the certainty of each of 68 landmarks, their places (x, y), 70 places in space,
and in newer packets 14 features. Only the landmarks and the eyes are used, for their meaning is beyond doubt: the
head's pose and the action units are fitted to them here.

The landmarks are those of 300-W in the same order, but without the lips' outer corners, and with the pupils at the end.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from engine import canonical
from engine.acting import MOST_LEAN, MOST_SHIFT, Acting
from engine.errors import InputError
from engine.features.au_basis import basis
from engine.features.landmarks68 import POINTS
from engine.types import AU_NAMES, F32, F64, Gaze

SIZES: Final = (1785, 1729)
MOST_FACES: Final = 8
_HEAD = struct.Struct("<di4fB")
_LANDMARKS = 68
_CONFIDENCES = _HEAD.size + 4 * (1 + 4 + 3 + 3)
_PLACES = _CONFIDENCES + 4 * _LANDMARKS

_LOST = 0.2
"""A face whose landmarks are less certain than this on the average is none."""
_OPEN, _SHUT = 0.75, 0.25
"""How open an eye is told to be that is open, and one that is shut."""

_IN_300W: Final = (*range(48), *range(49, 54), *range(55, 60), *range(60, 68))
"""Of its first 66 landmarks, the numbers in 300-W."""
_RIGID = (27, 28, 29, 30, 33, 36, 39, 42, 45)
"""The nose without its wings and the corners of the eyes: what expressions move least."""
_FITTED = (*range(17, 27), *range(31, 36), *range(48, 66), 7, 8, 9)
"""Brows, base of the nose, lips and chin: what the units are fitted to."""
_STILL = tuple(AU_NAMES.index(name) for name in ("AU05", "AU06", "AU07", "AU45"))
"""Units of the eyes, which these landmarks say nothing of."""
_RIDGE = 0.05
_PUPILS = 66, 67
_CORNERS = (36, 39), (42, 45)
_SIDE_CM = 0.2
_EYES_SHARE = 0.18
"""Distance of the outer eye corners over the picture's shorter side, of who sits before a camera as most do."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One face of a packet. number: its id. size: (width, height) of the picture. places: float32 (68, 2) pixels.
    certainty: mean of the landmarks'. right_open, left_open: 0..1."""

    number: int
    size: tuple[float, float]
    places: F32
    certainty: float
    right_open: float
    left_open: float


def read(packet: bytes) -> Acting | None:
    """The first face in a packet; None where nobody is seen in it. Raises InputError."""
    faces = parse(packet)
    first = min(faces, key=lambda face: face.number)
    return None if first.certainty < _LOST else fitted(first)


def parse(packet: bytes) -> list[Seen]:
    """Every face in a packet, at least one. Raises InputError."""
    size = next((size for size in SIZES if packet and len(packet) % size == 0), 0)
    if not size or len(packet) > MOST_FACES * size:
        raise _wrong(f"it has {len(packet)} bytes, expected 1 .. {MOST_FACES} faces of {SIZES[0]}")
    return [_face(packet, start) for start in range(0, len(packet), size)]


def _face(packet: bytes, at: int) -> Seen:
    _, number, width, height, right, left, _ = _HEAD.unpack_from(packet, at)
    confidences = np.frombuffer(packet, "<f4", _LANDMARKS, at + _CONFIDENCES)
    places = np.frombuffer(packet, "<f4", 2 * _LANDMARKS, at + _PLACES).reshape(_LANDMARKS, 2)
    told = np.concatenate([[width, height, right, left], confidences, places.ravel()])
    if not np.isfinite(told).all():
        raise _wrong("a number that is not finite")
    if not 1 <= min(width, height) <= max(width, height) <= 1 << 14 or np.abs(places).max() > 1 << 15:
        raise _wrong("a picture's size or a landmark that cannot be")
    places = places.astype(np.float32)
    return Seen(number, (width, height), places, float(confidences[:66].mean()), float(right), float(left))


def _wrong(what: str) -> InputError:
    return InputError(f"OpenSeeFace: {what}; start facetracker with its own output, as it is")


def fitted(face: Seen) -> Acting | None:
    """The acting that explains the landmarks best; None where they lie as no face does.

    The head is placed by the weak perspective (scale, rotation, shift) that brings the canonical face's rigid points to
    the landmarks in the least squares; what is left over is explained by the units, by ridge regression. They are not
    kept from falling below 0: the person's own shape is in them, which calibration takes away.
    """
    model = _model()
    placed = _placed(face.places[list(_RIGID)].astype(np.float64), model.points[list(_RIGID)])
    if placed is None:
        return None
    scale, rotation, middle = placed
    right, left = _units(face, model, scale, rotation, middle)
    closure = AU_NAMES.index("AU45")
    right[closure], left[closure] = _closed(face.right_open), _closed(face.left_open)
    width, height = face.size
    shorter = min(width, height)
    shift = (middle - [(width - 1) / 2, (height - 1) / 2]) / shorter
    x, y = np.clip(shift, -MOST_SHIFT, MOST_SHIFT).tolist()
    share = scale * canonical.EYE_DISTANCE_CM / shorter
    lean = min(MOST_LEAN, max(1 / MOST_LEAN, share / _EYES_SHARE))
    return Acting(right, left, _gaze(face.places), rotation, (x, y), lean)


@dataclass(frozen=True, slots=True, eq=False)
class _Model:
    """points: float64 (66, 3) cm, on the canonical face. fields: float64 (2 * units, 66, 3), how they move by the units
    of the right half, then of the left one. units: those that are fitted."""

    points: F64
    fields: F64
    units: tuple[int, ...]


@lru_cache(maxsize=1)
def _model() -> _Model:
    first, second = np.array(POINTS)[list(_IN_300W)].T
    points = 0.5 * (canonical.VERTICES[first] + canonical.VERTICES[second]).astype(np.float64)
    units = tuple(index for index in range(len(AU_NAMES)) if index not in _STILL)
    moved = basis()[list(units)].astype(np.float64)
    moved = 0.5 * (moved[:, first] + moved[:, second])
    share = 1 / (1 + np.exp(points[:, :1] / _SIDE_CM))
    return _Model(points, np.concatenate([moved * share, moved * (1 - share)]), units)


def _placed(places: F64, points: F64) -> tuple[float, F64, F64] | None:
    """Scale, rotation and where the canonical origin lies."""
    centre, origin = places.mean(0), points.mean(0)
    linear, *_ = np.linalg.lstsq(points - origin, places - centre, rcond=None)
    u, singular, vt = np.linalg.svd(linear.T, full_matrices=False)
    scale = float(singular.mean())
    if scale < 1e-3:
        return None
    across = u @ vt
    rotation: F64 = np.vstack([across, np.cross(across[0], across[1])])
    return scale, rotation, centre - scale * (across @ origin)


def _units(face: Seen, model: _Model, scale: float, rotation: F64, middle: F64) -> tuple[F32, F32]:
    chosen = list(_FITTED)
    across = rotation[:2]
    left_over = (face.places[chosen] - middle) / scale - model.points[chosen] @ across.T
    fields = (model.fields[:, chosen] @ across.T).reshape(len(model.fields), -1)
    gram = fields @ fields.T
    gram += _RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    solved = np.clip(np.linalg.solve(gram, fields @ left_over.ravel()), -1.0, 1.0)
    halves = np.zeros((2, len(AU_NAMES)), np.float32)
    halves[:, list(model.units)] = solved.reshape(2, -1)
    return halves[0], halves[1]


def _closed(opened: float) -> float:
    return min(1.0, max(0.0, (_OPEN - opened) / (_OPEN - _SHUT)))


def _gaze(places: F32) -> Gaze:
    looks: list[float] = []
    for pupil, (right, left) in zip(_PUPILS, _CORNERS, strict=True):
        along = 0.5 * (places[left] - places[right]).astype(np.float64)
        half = float(np.linalg.norm(along))
        if half < 1e-3:
            looks += [0.0, 0.0]
            continue
        away = places[pupil] - 0.5 * (places[left] + places[right])
        axis = along / half
        down = np.array([-axis[1], axis[0]])
        looks += [float(np.clip(away @ one / half, -0.6, 0.6)) for one in (axis, down)]
    return Gaze(*looks)
