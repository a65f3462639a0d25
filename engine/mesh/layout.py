"""What of a mesh never moves: its triangles, where they lie in a texture, its parts, and which lie side by side.

A texture's places run -1..1, x right, y down. The point that stands for a face, in condition maps and for distances, is
the midpoint of its first two corners, not its barycentre: the published weights were trained with that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError
from engine.mesh.raster import I32, Raster, rasterise
from engine.types import F32

BACKGROUND: F32 = np.array([0.0, 0.0, 1.0], np.float32)
"""The condition of what no face covers; a face's is (u, v, 0)."""
_TEXTURE_DEPTH = 1.0
_ROWS = 1024


@dataclass(frozen=True, eq=False)
class Layout:
    """A mesh's topology; arrays are not to be changed.

    faces: int32 (F, 3), points as drawn in pictures, counter-clockwise from outside. texture_faces: int32 (F, 3),
    points as read into a texture, `faces` itself for most meshes. corners: float32 (F, 3, 2), where each face's corners
    lie in the texture. condition_corners: the same as the condition map tells them, `corners` itself for most meshes.
    parts: name -> face numbers; a face may be in several. groups: further face lists by name: front, head, facial.
    """

    faces: I32
    corners: F32
    texture_faces: I32
    condition_corners: F32
    parts: Mapping[str, NDArray[np.int64]]
    groups: Mapping[str, NDArray[np.int64]]

    @property
    def count(self) -> int:
        """Faces."""
        return len(self.faces)

    @cached_property
    def condition(self) -> F32:
        """float32 (F + 1, 3): the table for `flow.condition`."""
        places = midpoints(self.condition_corners)
        flat = np.concatenate([places, np.zeros((self.count, 1), np.float32)], axis=1)
        return np.concatenate([flat, BACKGROUND[None]])

    def table(self, faces: NDArray[np.int64]) -> F32:
        """float32 (F + 1, 1): 1 for these faces, 0 for others and the background."""
        marked = np.zeros((self.count + 1, 1), np.float32)
        marked[faces] = 1.0
        return marked

    def drawn(self, size: int) -> Raster:
        """The faces as they lie in a texture of `size` pixels.

        What runs clockwise in the layout is not there, as in a picture.
        """
        flipped = self.condition_corners * np.array([1.0, -1.0], np.float32)
        depth = np.full((self.count, 3, 1), _TEXTURE_DEPTH, np.float32)
        points = np.concatenate([flipped, depth], axis=2).reshape(-1, 3)
        faces = np.arange(3 * self.count, dtype=np.int32).reshape(-1, 3)
        return rasterise(np.ascontiguousarray(points), faces, size)

    def neighbours(self, count: int) -> NDArray[np.int64]:
        """int64 (F, count): the nearest faces of the same part in the texture, itself among them, nearest first."""
        return nearest_in_part(midpoints(self.condition_corners), self.parts, count)


def layout_of(
    faces: I32,
    corners: F32,
    parts: Mapping[str, Iterable[int]],
    *,
    groups: Mapping[str, Iterable[int]] | None = None,
    texture_faces: I32 | None = None,
    condition_corners: F32 | None = None,
) -> Layout:
    """A layout out of its arrays, checked: what is left out is as for most meshes.

    Raises InputError when the arrays do not fit each other, or a face is in no part.
    """
    if texture_faces is None or np.array_equal(texture_faces, faces):
        texture_faces = faces
    condition_corners = corners if condition_corners is None else condition_corners
    count = len(faces)
    for name, array, shape, dtype in (
        ("faces", faces, (count, 3), np.int32),
        ("texture faces", texture_faces, (count, 3), np.int32),
        ("corners", corners, (count, 3, 2), np.float32),
        ("condition corners", condition_corners, (count, 3, 2), np.float32),
    ):
        if array.shape != shape or array.dtype != dtype:
            raise InputError(
                f"{name} of a mesh: expected {shape} {np.dtype(dtype).name}, got {array.shape} {array.dtype}"
            )
    kept = {name: _numbers(f"part {name!r}", list(numbers), count) for name, numbers in parts.items()}
    covered = np.zeros(count, bool)
    for numbers in kept.values():
        covered[numbers] = True
    if not covered.all():
        missing = int(np.flatnonzero(~covered)[0])
        raise InputError(
            f"parts of a mesh: expected all {count} faces in a part, {int((~covered).sum())} are in none, face"
            f" {missing} first"
        )
    lists = {name: _numbers(f"group {name!r}", list(one), count) for name, one in (groups or {}).items()}
    kept_faces = np.ascontiguousarray(faces)
    return Layout(
        kept_faces,
        np.ascontiguousarray(corners),
        kept_faces if texture_faces is faces else np.ascontiguousarray(texture_faces),
        np.ascontiguousarray(condition_corners),
        MappingProxyType(kept),
        MappingProxyType(lists),
    )


def _numbers(name: str, numbers: list[int], count: int) -> NDArray[np.int64]:
    array = np.array(numbers, np.int64)
    if array.ndim != 1 or (len(array) and (array.min() < 0 or array.max() >= count)):
        raise InputError(f"{name} of a mesh: expected numbers of {count} faces, got others")
    return array


def midpoints(corners: F32) -> F32:
    """The place (..., D) that stands for each face: between corners 0 and 1 of (..., 3, D), with the published order of
    operations."""
    last = corners[..., 2, :]
    half = np.float32(0.5)
    found: F32 = last + half * (corners[..., 0, :] - last) + half * (corners[..., 1, :] - last)
    return found


def samples(corners: F32, steps: int) -> F32:
    """float32 (F, steps * steps, 2): a grid of places on each face, for colours that are read from a texture.

    Place (a, b), both 0..1 in `steps` steps, is c2 + a (c0 - c2) + b (c1 - c2), kept within -1..1; a runs slower.
    """
    along = weights_of(steps)
    last = corners[:, None, 2]
    spans = corners[:, :2] - corners[:, 2:]
    found = last + np.einsum("kt,fkd->ftd", along, spans)
    return np.asarray(np.clip(found, -1.0, 1.0), np.float32)


def weights_of(steps: int) -> F32:
    """float32 (2, steps * steps): the (a, b) of `samples`."""
    along = np.arange(steps, dtype=np.float32) / np.float32(max(steps - 1, 1))
    return np.stack([np.repeat(along, steps), np.tile(along, steps)])


def nearest_in_part(places: F32, parts: Mapping[str, NDArray[np.int64]], count: int) -> NDArray[np.int64]:
    """int64 (F, count): for every face the nearest of its part by places (F, D), nearest first, lower numbers first
    among equals; in a part of fewer faces the last one is repeated. A face in several parts gets the last one's."""
    found = np.zeros((len(places), count), np.int64)
    for numbers in parts.values():
        own = places[numbers]
        squares = (own**2).sum(axis=1)
        known = min(count, len(numbers))
        for first in range(0, len(numbers), _ROWS):
            rows = slice(first, first + _ROWS)
            distances = np.zeros((len(own[rows]), len(own)))
            distances += squares
            distances += squares[rows, None]
            distances -= 2 * (own[rows] @ own.T)
            nearest = np.argsort(distances, axis=1, kind="stable")[:, :known]
            padded = np.concatenate([nearest, np.repeat(nearest[:, -1:], count - known, axis=1)], axis=1)
            found[numbers[rows]] = numbers[padded]
    return found
