"""Hair: locks that are tubes combed along their length."""

from __future__ import annotations

import cv2
import numpy as np

from engine.sample.canvas import Canvas, linear, over, smoothstep
from engine.sample.light import Scene, Surface
from engine.sample.tube import Tube, sweep
from engine.types import F32

_DARK, _MID, _BRIGHT = linear(62, 28, 18), linear(138, 66, 34), linear(214, 126, 66)
_STRANDS, _STRETCH = 34, 7

Lock = list[tuple[float, float, float]]

_BEHIND: tuple[Lock, ...] = (
    [(0.74, -0.5, 0.2), (0.9, -0.1, 0.25), (0.93, 0.4, 0.27), (0.86, 0.85, 0.25), (0.66, 1.2, 0.16)],
    [
        (0.88, -0.42, 0.12), (1.06, 0.0, 0.14), (1.06, 0.45, 0.16), (1.12, 0.85, 0.13), (1.02, 1.15, 0.08),
        (1.2, 1.3, 0.01),
    ],
    [
        (0.8, -0.4, 0.12), (0.98, 0.15, 0.14), (0.9, 0.6, 0.15), (0.94, 1.0, 0.12), (0.78, 1.24, 0.07),
        (0.9, 1.4, 0.01),
    ],
)  # fmt: skip
_BESIDE: tuple[Lock, ...] = (
    [
        (0.74, -0.5, 0.1), (0.86, -0.15, 0.11), (0.84, 0.3, 0.115), (0.9, 0.68, 0.1), (0.72, 0.98, 0.07),
        (0.56, 1.1, 0.008),
    ],
    [
        (0.62, -0.56, 0.1), (0.77, -0.3, 0.09), (0.82, 0.06, 0.075), (0.76, 0.42, 0.07), (0.86, 0.74, 0.06),
        (0.79, 0.95, 0.035), (0.69, 0.97, 0.008),
    ],
)  # fmt: skip
_FRINGE: tuple[Lock, ...] = (
    [
        (0.02, -0.7, 0.1), (-0.3, -0.6, 0.12), (-0.57, -0.46, 0.1), (-0.75, -0.24, 0.06), (-0.76, 0.0, 0.03),
        (-0.83, 0.1, 0.006),
    ],
    [
        (0.1, -0.7, 0.09), (0.36, -0.6, 0.11), (0.58, -0.46, 0.095), (0.73, -0.24, 0.06), (0.75, 0.02, 0.03),
        (0.81, 0.14, 0.006),
    ],
    [
        (0.12, -0.72, 0.09), (-0.08, -0.56, 0.085), (-0.28, -0.47, 0.07), (-0.45, -0.44, 0.045),
        (-0.6, -0.47, 0.006),
    ],
    [
        (0.08, -0.74, 0.09), (0.15, -0.585, 0.09), (0.27, -0.49, 0.065), (0.39, -0.46, 0.035),
        (0.46, -0.5, 0.005),
    ],
)  # fmt: skip


def add_hair_behind(scene: Scene) -> None:
    """The mass at the sides of the neck, behind the face."""
    for number, lock in enumerate(_BEHIND):
        for side in (-1, 1):
            scene.add(_lock(scene.canvas, [(side * x, y, r) for x, y, r in lock], 0.05, 10 * number + side))


def add_hair_in_front(scene: Scene) -> None:
    """The locks that frame the face and the fringe under the cap."""
    for number, lock in enumerate(_BESIDE):
        for side in (-1, 1):
            sway = 1.0 if side > 0 else 0.985
            knots = [(side * x * sway, y, r) for x, y, r in lock]
            scene.add(_lock(scene.canvas, knots, 0.28 + 0.1 * number, 100 + 10 * number + side))
    for number, lock in enumerate(_FRINGE):
        scene.add(_lock(scene.canvas, lock, 0.64, 200 + number, fall=0.5))


def _lock(canvas: Canvas, knots: Lock, base: float, seed: int, fall: float = 0.0) -> Surface:
    """``base``: height of its underside amid the head; ``fall``: how fast the skull recedes to the sides."""
    tube = sweep(canvas, knots)
    combed = _combed(tube, seed)
    height = base - fall * tube.canvas.x**2 + tube.radius * tube.roundness * (0.75 + 0.10 * combed)
    shade = np.clip(0.5 + 0.24 * combed, 0, 1)
    albedo = over(np.broadcast_to(_DARK, (*shade.shape, 3)), _MID, smoothstep(0.05, 0.6, shade))
    albedo = over(albedo, _BRIGHT, 0.8 * smoothstep(0.55, 1.0, shade))
    gloss = 0.16 * _bands(tube.along) * np.clip(0.5 + 0.6 * combed, 0, 2) * tube.roundness
    wisps = np.clip(tube.coverage * (1 - 0.55 * smoothstep(0.3, 0.0, tube.roundness) * (combed < 0)), 0, 1)
    return Surface(
        tube.canvas,
        wisps.astype(np.float32),
        height.astype(np.float32),
        albedo,
        gloss.astype(np.float32),
        9.0,
    )


def _bands(along: F32) -> F32:
    """Where along a wavy lock the light catches it."""
    first, second = (np.exp(-0.5 * ((along - at) / width) ** 2) for at, width in ((0.3, 0.13), (0.68, 0.1)))
    return np.asarray(first + 0.7 * second, np.float32)


def _combed(tube: Tube, seed: int) -> F32:
    """Noise of deviation 1 that runs in strands along the tube."""
    draw = np.random.default_rng(1000 + seed)
    fine = draw.standard_normal((_STRETCH, _STRANDS)).astype(np.float32)
    broad = cv2.resize(
        draw.standard_normal((4, 14)).astype(np.float32), (_STRANDS, _STRETCH), interpolation=cv2.INTER_CUBIC
    )
    texture = (0.62 * fine + 0.85 * broad).astype(np.float32)
    strand = (0.5 + 0.5 * np.arcsin(tube.across) / (np.pi / 2)) * (_STRANDS - 1)
    return cv2.remap(
        texture,
        strand.astype(np.float32),
        tube.along * (_STRETCH - 1),
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT,
    ).astype(np.float32)
