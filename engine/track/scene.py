"""Tells a hard cut from motion, pans and flashes, by a small luma picture and by the faces followed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product

import cv2
import numpy as np
from numba import types

from engine.compiled import compiled_for
from engine.geometry import fit_similarity_2d
from engine.types import F32, U8

ROWS, COLUMNS = 18, 32
"""Cells of the luma picture."""

_SAMPLES = 3
_BLUR = 9  # cells; finer than that is detail, which tells apart what is framed alike
_FLAT = 4.0  # grey levels of spread; below, a picture (fade, flash, black) says nothing about its scene
_OTHER_SCENE, _SAME_SCENE = (0.6, 0.45), (0.85, 0.65)  # correlation of the luma and of its detail
_SHIFT_ROWS, _SHIFT_COLUMNS = 3, 4  # a pan moves the picture by up to so many cells between two frames
_STRICT, _LENIENT = 0.022, 0.07  # change of a face's shape that a cut leaves behind, by sameness 0 and 1
_MESH_POINTS = 468

_PICTURE = types.Array(types.uint8, 3, "C", readonly=True)


@compiled_for(types.void(_PICTURE, types.float32[:, ::1]))
def _shrink(rgb: U8, out: F32) -> None:
    rows, columns = out.shape
    height, width = rgb.shape[0], rgb.shape[1]
    for row in range(rows):
        for column in range(columns):
            total = 0
            for i in range(_SAMPLES):
                y = (2 * (row * _SAMPLES + i) + 1) * height // (2 * rows * _SAMPLES)
                for j in range(_SAMPLES):
                    x = (2 * (column * _SAMPLES + j) + 1) * width // (2 * columns * _SAMPLES)
                    total += rgb[y, x, 0] + 2 * np.int64(rgb[y, x, 1]) + rgb[y, x, 2]
            out[row, column] = total / (4.0 * _SAMPLES * _SAMPLES)


def thumbnail(rgb: U8) -> F32 | None:
    """float32 (2, ROWS, COLUMNS): the mean-free luma, and its detail. None when it is flat.

    rgb: uint8 (H, W, 3), C-contiguous.
    """
    luma = np.empty((ROWS, COLUMNS), np.float32)
    _shrink(rgb, luma)
    luma -= luma.mean()
    if float(np.vdot(luma, luma)) < _FLAT**2 * luma.size:
        return None
    return np.stack([luma, luma - cv2.blur(luma, (_BLUR, _BLUR))])


def correlation(a: F32, b: F32) -> float:
    """-1..1, blind to brightness and contrast; 0 where one of the two is constant."""
    a, b = a - a.mean(), b - b.mean()
    spread = math.sqrt(float(np.vdot(a, a)) * float(np.vdot(b, b)))
    return float(np.vdot(a, b)) / spread if spread > 0 else 0.0


def sameness(a: F32, b: F32) -> float:
    """0..1 of two thumbnails: 1 is surely the same scene, 0 quite another. The lower one of luma and detail."""
    return min(_sameness(*planes) for planes in zip(a, b, _OTHER_SCENE, _SAME_SCENE, strict=True))


def _sameness(a: F32, b: F32, other: float, same: float) -> float:
    like = correlation(a, b)
    if like < same:
        like = max(correlation(_part(a, dy, dx), _part(b, -dy, -dx)) for dy, dx in _shifts())
    return min(1.0, max(0.0, (like - other) / (same - other)))


def _shifts() -> Iterator[tuple[int, int]]:
    """Every shift that a pan makes, in cells."""
    return product(range(-_SHIFT_ROWS, _SHIFT_ROWS + 1), range(-_SHIFT_COLUMNS, _SHIFT_COLUMNS + 1))


def _part(luma: F32, dy: int, dx: int) -> F32:
    """What stays in view of a thumbnail that is shifted up by dy and left by dx."""
    rows, columns = luma.shape
    return luma[max(0, dy) : rows + min(0, dy), max(0, dx) : columns + min(0, dx)]


def change_of_shape(before: F32, after: F32) -> float:
    """Mean distance of two meshes (478, 3) after the similarity that fits best, in outer eye distances."""
    a, b = before[:_MESH_POINTS, :2], after[:_MESH_POINTS, :2]
    matrix = fit_similarity_2d(a, b)
    apart = np.linalg.norm(a @ matrix[:, :2].T + matrix[:, 2] - b, axis=1).mean()
    return float(apart) / max(1e-6, float(np.linalg.norm(b[33] - b[263])))


def tolerance(same: float) -> float:
    """The change of shape up to which a face goes on through a changed picture, by its sameness 0..1."""
    return _STRICT + (_LENIENT - _STRICT) * same


class Scene:
    """Remembers the last picture that was not flat."""

    def __init__(self) -> None:
        self._last: F32 | None = None

    def changed(self, rgb: U8) -> float | None:
        """The sameness of this picture and the one before when it may be another scene; otherwise None."""
        picture = thumbnail(rgb)
        if picture is None:
            return None
        last, self._last = self._last, picture
        same = 1.0 if last is None else sameness(last, picture)
        return same if same < 1 else None

    def forget(self) -> None:
        """The next picture has none before it."""
        self._last = None


def is_cut(same: float, faces: Sequence[tuple[F32, F32 | None]]) -> bool:
    """Whether a change of picture is a hard cut: no face goes on through it.

    same: what changed gave. faces: per followed face its points (478, 3) before, and after, None when it is lost.
    Where all are lost only quite another picture is a cut: something passes in front of a face more often.
    """
    kept = [(before, after) for before, after in faces if after is not None]
    if not kept:
        return same <= 0
    return all(change_of_shape(before, after) > tolerance(same) for before, after in kept)
