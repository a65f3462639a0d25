"""Tells a hard cut from motion, pans and flashes, by a small luma picture and by the faces followed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numba import types

from engine.compiled import compiled_for
from engine.geometry import fit_similarity_2d
from engine.types import F32, U8

ROWS, COLUMNS = 18, 32
"""Cells of the luma picture."""

SAME_SCENE = 0.85
"""Likeness from which two pictures show the same scene, whatever the faces do."""

_SAMPLES = 3
_FLAT = 4.0  # grey levels of spread; below, a picture (fade, flash, black) says nothing about its scene
_SHIFT_ROWS, _SHIFT_COLUMNS = 3, 4  # a pan moves the picture by up to so many cells between two frames
_OTHER_SCENE = 0.6
_STRICT, _LENIENT = (
    0.022,
    0.1,
)  # change of a face's shape, at _OTHER_SCENE and at SAME_SCENE, that a cut leaves behind
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
    """float32 (ROWS, COLUMNS): mean-free luma. None when it is flat. rgb: uint8 (H, W, 3), C-contiguous."""
    luma = np.empty((ROWS, COLUMNS), np.float32)
    _shrink(rgb, luma)
    luma -= luma.mean()
    return luma if float(np.vdot(luma, luma)) >= _FLAT**2 * luma.size else None


def correlation(a: F32, b: F32) -> float:
    """-1..1, blind to brightness and contrast; 0 where one of the two is constant."""
    a, b = a - a.mean(), b - b.mean()
    spread = math.sqrt(float(np.vdot(a, a)) * float(np.vdot(b, b)))
    return float(np.vdot(a, b)) / spread if spread > 0 else 0.0


def likeness(a: F32, b: F32) -> float:
    """Correlation of two thumbnails, -1..1; where that is low, the best of the shifts that a pan makes."""
    plain = correlation(a, b)
    if plain >= SAME_SCENE:
        return plain
    shifts = (
        (dy, dx)
        for dy in range(-_SHIFT_ROWS, _SHIFT_ROWS + 1)
        for dx in range(-_SHIFT_COLUMNS, _SHIFT_COLUMNS + 1)
    )
    return max(correlation(_part(a, dy, dx), _part(b, -dy, -dx)) for dy, dx in shifts)


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


def tolerance(like: float) -> float:
    """The change of shape up to which a face goes on through a changed picture, by their likeness."""
    share = (like - _OTHER_SCENE) / (SAME_SCENE - _OTHER_SCENE)
    return _STRICT + (_LENIENT - _STRICT) * min(1.0, max(0.0, share))


class Scene:
    """Remembers the last picture that was not flat."""

    def __init__(self) -> None:
        self._last: F32 | None = None

    def changed(self, rgb: U8) -> float | None:
        """The likeness of this picture with the one before when it may be another scene; otherwise None."""
        luma = thumbnail(rgb)
        if luma is None:
            return None
        last, self._last = self._last, luma
        like = 1.0 if last is None else likeness(last, luma)
        return like if like < SAME_SCENE else None

    def forget(self) -> None:
        """The next picture has none before it."""
        self._last = None


def is_cut(like: float, faces: Sequence[tuple[F32, F32 | None]]) -> bool:
    """Whether a change of picture is a hard cut: no face goes on through it.

    faces: per followed face its points (478, 3) before, and after, None when it is lost. Where all are lost only
    quite another picture is a cut: something passes in front of a face more often.
    """
    kept = [(before, after) for before, after in faces if after is not None]
    if not kept:
        return like < _OTHER_SCENE
    return all(change_of_shape(before, after) > tolerance(like) for before, after in kept)
