"""The sample portrait: a jester's marotte, painted by arithmetic alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError
from engine.sample.canvas import Canvas, linear, over, smoothstep
from engine.sample.costume import add_band, add_cap, add_collar, add_neck, add_ruff, add_stick
from engine.sample.eyes import paint_eyes
from engine.sample.hair import add_hair_behind, add_hair_in_front
from engine.sample.light import Scene
from engine.sample.skin import face
from engine.types import F32, U8

_SIZES = (128, 4096)
_OVERSAMPLING = 1.5
_WEBP_QUALITY = 93


def draw_portrait(size: int = 1024) -> U8:
    """The portrait as RGB uint8 (size, size, 3), the same on every call.

    Raises InputError when size is outside 128 .. 4096.
    """
    if not _SIZES[0] <= size <= _SIZES[1]:
        raise InputError(
            f"portrait size: got {size}, expected {_SIZES[0]} to {_SIZES[1]} pixels; choose one of those"
        )
    canvas = Canvas.whole(round(size * _OVERSAMPLING))
    scene = Scene(canvas)
    add_stick(scene)
    add_hair_behind(scene)
    add_collar(scene)
    add_neck(scene)
    add_ruff(scene)
    add_cap(scene)
    scene.add(face(canvas))
    add_hair_in_front(scene)
    add_band(scene)
    figure = paint_eyes(canvas, scene.lit())
    picture = over(_backdrop(canvas), figure, scene.coverage)
    return _developed(cv2.resize(_exposed(canvas, picture), (size, size), interpolation=cv2.INTER_AREA))


def write_portrait(path: Path, size: int = 1024) -> None:
    """Draws the portrait into a WebP file, whole or not at all."""
    bgr = cv2.cvtColor(draw_portrait(size), cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, _WEBP_QUALITY])
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_bytes(data.tobytes())
    os.replace(unfinished, path)


def _backdrop(canvas: Canvas) -> F32:
    """A dusky wall in broad brush strokes, a warm lamp glowing on it behind the head."""
    strokes = 0.6 * canvas.grain((2.0, 4.5), 31) + 0.45 * canvas.grain((5.0, 11.0), 32)
    reach = np.hypot(canvas.x + 0.35, 1.05 * (canvas.y - 0.1)) + 0.11 * strokes
    wall = over(
        np.broadcast_to(linear(40, 34, 58), (*canvas.shape, 3)),
        linear(104, 66, 88),
        smoothstep(3.0, 1.2, reach),
    )
    wall = over(wall, linear(214, 150, 110), 0.85 * smoothstep(2.3, 0.2, reach))
    return np.asarray(wall * (1 + 0.05 * strokes[..., None]), np.float32)


def _exposed(canvas: Canvas, light: F32) -> F32:
    """Film's soft shoulder, with a little glow round what is bright."""
    glow = canvas.blur(np.clip(light - 0.75, 0, 1), 0.06)
    light = light + 0.25 * glow
    return np.asarray(np.clip(light * (1 + light / 6) / (1 + light * 0.55), 0, 1), np.float32)


def _developed(light: NDArray[Any]) -> U8:
    """Linear light 0..1 to 8-bit sRGB."""
    return np.ascontiguousarray(light ** (1 / 2.2) * 255 + 0.5).astype(np.uint8)
