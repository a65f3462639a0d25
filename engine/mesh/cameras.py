"""Weak-perspective cameras (s, tx, ty): x' = s (X + tx), y' = s (Y + ty), y down; depth is kept.

The first axes of points (..., V, 3) and cameras (..., 3) are those of a clip, or none; results have the dtype that is
given.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Final, TypeVar

import numpy as np

from engine.errors import ConfigError
from engine.types import F32, F64

Real = TypeVar("Real", F32, F64)

EYE: Final = 1.0 / math.tan(math.radians(30.0)) + 1.0
"""How far before the origin the renderer's eye stands, which looks along z: the depth that it sees is z + EYE."""


class Strategy(Enum):
    """Which camera a driven body is seen by.

    SMOOTH: the source's, moved and scaled as the driver's has since its first frame. SOURCE: the source's. COPY: the
    driver's. PLACE: the source's scale at the driver's place, ref_txty by its published name.
    """

    SMOOTH = "smooth"
    SOURCE = "source"
    COPY = "copy"
    PLACE = "ref_txty"


def project(points: Real, camera: Real) -> Real:
    """Places in the picture (..., V, 2) of points (..., V, 3 or 2)."""
    placed: Real = camera[..., None, :1] * (points[..., :2] + camera[..., None, 1:])
    return placed


def project_with_depth(points: Real, camera: Real) -> Real:
    """The same with z kept behind them, (..., V, 3)."""
    placed: Real = np.concatenate([project(points, camera), points[..., 2:]], axis=-1)
    return placed


def on_screen(placed: F32) -> F32:
    """Points as the rasteriser takes them, float32 (V, 3): y up, z as the distance from the eye."""
    screen = placed * np.array([1.0, -1.0, 1.0], np.float32)
    screen[:, 2] += np.float32(EYE)
    return np.ascontiguousarray(screen, np.float32)


def swapped(source: Real, driver: Real, first: Real | None, strategy: Strategy | str) -> Real:
    """The camera (..., 3) of the next picture. first: the driver's in its first frame, which SMOOTH needs.

    Raises ConfigError for another strategy, and for SMOOTH without a first camera.
    """
    chosen = _strategy(strategy)
    if chosen is Strategy.COPY:
        return driver.copy()
    camera = source.copy()
    if chosen is Strategy.PLACE:
        camera[..., 1:] = driver[..., 1:]
    elif chosen is Strategy.SMOOTH:
        if first is None:
            raise ConfigError("camera strategy 'smooth': needs the driver's first camera; none was given")
        camera[..., 1:] += driver[..., 1:] - first[..., 1:]
        camera[..., 0] *= driver[..., 0] / first[..., 0]
    return camera


def _strategy(strategy: Strategy | str) -> Strategy:
    try:
        return Strategy(strategy)
    except ValueError:
        names = ", ".join(one.value for one in Strategy)
        raise ConfigError(f"camera strategy: expected one of {names}, got {strategy!r}") from None


def from_crop(camera: Real, scale: Real, corner: Real, size: float) -> Real:
    """The camera of a cut of `size` pixels, of the whole picture: (..., 3), in pixels of the picture.

    x = s (X + tx) is then a pixel's place, 0 at the left edge. scale (..., 1): pixels of the cut per pixel of the
    picture. corner (..., 2): where the cut's left upper corner lies, in pixels of the picture resized by `scale` and
    with `size` pixels of margin before it.
    """
    s = camera[..., :1]
    cut = size * s * 0.5
    moved = camera[..., 1:] + 1.0 / s + (corner - size) / cut
    placed: Real = np.concatenate([cut / scale, moved], axis=-1).astype(camera.dtype)
    return placed


def normalised(camera: Real, size: float) -> Real:
    """A camera in pixels of a square picture of `size`, as one with -1..1 across it."""
    s = camera[..., :1]
    placed: Real = np.concatenate([s * (2.0 / size), camera[..., 1:] - size / (2.0 * s)], axis=-1)
    return placed.astype(camera.dtype)


def perspective(points: Real, rotation: Real, translation: Real, focal: float, centre: Real) -> Real:
    """Pixels (..., V, 2) of points (..., V, 3) seen by a pinhole camera after rotation (..., 3, 3) and translation.

    focal: pixels. centre (..., 2): the pixel that the axis meets.
    """
    moved = points @ np.swapaxes(rotation, -1, -2) + translation[..., None, :]
    found: Real = points.dtype.type(focal) * moved[..., :2] / moved[..., 2:] + centre[..., None, :]
    return found
