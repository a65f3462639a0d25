"""Eyes and brows, painted on the lit face.

Every shape is given for the eye at x > 0 and mirrored for the other; the lamps' reflections are not.
"""

from __future__ import annotations

import numpy as np

from engine.sample.canvas import Canvas, curve, linear, over, smoothstep
from engine.types import F32

IRIS_CENTRE = (0.352, -0.006)
IRIS_RADIUS = 0.088
UPPER_LID = [
    (0.168, 0.036), (0.204, -0.024), (0.268, -0.081), (0.35, -0.104), (0.43, -0.087), (0.486, -0.044),
    (0.514, 0.002),
]  # fmt: skip
LOWER_LID = [
    (0.514, 0.002), (0.473, 0.043), (0.408, 0.065), (0.339, 0.071), (0.268, 0.063), (0.207, 0.047),
    (0.168, 0.036),
]  # fmt: skip
_CREASE = [
    (0.182, -0.074),
    (0.244, -0.122),
    (0.328, -0.149),
    (0.418, -0.142),
    (0.496, -0.098),
    (0.558, -0.044),
]
_BROW = [(0.145, -0.185), (0.245, -0.235), (0.37, -0.27), (0.49, -0.272), (0.585, -0.235), (0.655, -0.175)]
_BROW_HALF_WIDTH = [0.03, 0.038, 0.037, 0.03, 0.019, 0.006]


def paint_eyes(canvas: Canvas, picture: F32) -> F32:
    """Both eyes and brows over ``picture`` (linear light, of the canvas' shape)."""
    for side in (-1.0, 1.0):
        window = canvas.window([(side * 0.1, -0.33), (side * 0.68, 0.12)], 0.06)
        patch = picture[window.part]
        patch = _brow(window, patch, side)
        patch = _around(window, patch, side)
        patch = _eyeball(window, patch, side)
        picture[window.part] = _lashes(window, patch, side)
    return picture


def _on_side(points: list[tuple[float, float]], side: float) -> F32:
    return curve([(side * x, y) for x, y in points])


def opening(canvas: Canvas, side: float, drop: float = 0.0) -> F32:
    """Coverage of the gap between the lids; ``drop`` lowers it all, for the lid's shadow."""
    outline = np.concatenate([_on_side(UPPER_LID, side), _on_side(LOWER_LID, side)])
    return canvas.fill((outline + np.array([0, drop], np.float32)).astype(np.float32))


def _line(canvas: Canvas, path: F32, width: float, blur: float) -> F32:
    ink = np.zeros(canvas.shape, np.uint8)
    canvas.stroke(ink, path, 255, max(1, round(width * canvas.unit)))
    return canvas.blur(ink.astype(np.float32) / 255, blur)


def _around(canvas: Canvas, patch: F32, side: float) -> F32:
    """Lid crease, the lid's own light, the fold under the eye."""
    crease = _line(canvas, _on_side(_CREASE, side), 0.006, 0.008)
    patch = over(patch, patch * linear(150, 92, 84), np.clip(1.5 * crease, 0, 0.85))
    lid = canvas.bump(side * 0.35, -0.1, 0.09, 0.014)
    patch = (patch * (1 + 0.16 * lid[..., None])).astype(np.float32)
    socket = opening(canvas, side)
    rim = np.clip(canvas.blur(socket, 0.016) * 1.6, 0, 1)
    patch = over(patch, patch * linear(214, 140, 130), 0.55 * rim)
    fold = _line(
        canvas, _on_side([(0.2, 0.085), (0.28, 0.12), (0.38, 0.125), (0.46, 0.1)], side), 0.012, 0.014
    )
    return over(patch, patch * linear(190, 128, 118), 0.5 * fold)


def _eyeball(canvas: Canvas, patch: F32, side: float) -> F32:
    gap = opening(canvas, side)
    x, y = canvas.x - side * 0.348, canvas.y
    ball = np.clip(1 - (x / 0.23) ** 2 - ((y - 0.005) / 0.2) ** 2, 0, 1) ** 0.7
    sclera = linear(246, 238, 230) * ball[..., None]
    veins = canvas.bump(side * 0.2, 0.03, 0.035, 0.03) + 0.5 * canvas.bump(side * 0.5, 0.0, 0.025, 0.03)
    eye = _iris(canvas, over(sclera, linear(226, 150, 138), np.clip(0.75 * veins, 0, 1)), side)
    shade = canvas.blur(opening(canvas, side, 0.035), 0.014)
    eye = _reflections(canvas, eye * (np.float32(0.30) + np.float32(0.70) * shade[..., None]), side)
    patch = over(patch, linear(205, 132, 120), np.clip(canvas.blur(gap, 0.006) * 1.3, 0, 1))
    return over(patch, eye, gap)


def _iris(canvas: Canvas, white: F32, side: float) -> F32:
    x, y = canvas.x - side * IRIS_CENTRE[0], canvas.y - IRIS_CENTRE[1]
    radius = np.hypot(x, y) / IRIS_RADIUS
    angle = np.arctan2(y, x)
    fibres = sum(
        np.sin(angle * n + p + 2.2 * radius) for n, p in ((17, 0.3), (29, 1.9), (43, 4.0), (11, 2.2))
    )
    glow = np.clip(0.55 + 0.65 * y / IRIS_RADIUS, 0.25, 1.35)
    deep, bright = linear(28, 78, 74), linear(118, 178, 128)
    mix = np.clip(0.5 + 0.13 * fibres, 0, 1) * glow
    iris = deep + (bright - deep) * mix[..., None]
    amber = smoothstep(0.75, 0.4, radius.astype(np.float32)) * 0.6
    iris = over(iris.astype(np.float32), linear(176, 122, 54) * (0.6 + 0.5 * glow[..., None]), amber)
    iris = over(iris, linear(12, 30, 34), 0.85 * smoothstep(0.76, 1.0, radius.astype(np.float32)))
    iris = over(iris, linear(10, 8, 10), smoothstep(0.47, 0.38, radius.astype(np.float32)))
    pixel = 1.4 / (IRIS_RADIUS * canvas.unit)
    return over(white, iris, smoothstep(1 + pixel, 1 - pixel, radius.astype(np.float32)))


def _reflections(canvas: Canvas, eye: F32, side: float) -> F32:
    """The key lamp high on the picture's left, a faint bounce low on its right."""
    centre = side * IRIS_CENTRE[0]
    x, y = canvas.x - (centre - 0.026), canvas.y - (IRIS_CENTRE[1] - 0.031)
    key = smoothstep(1.25, 0.75, np.hypot(x / 0.019, y / 0.021).astype(np.float32))
    bounce = canvas.bump(centre + 0.032, IRIS_CENTRE[1] + 0.036, 0.009, 0.008)
    eye = over(eye, (1.0, 0.97, 0.92), key * 0.96)
    return over(eye, (0.95, 0.8, 0.62), np.clip(0.5 * bounce, 0, 1))


def _lashes(canvas: Canvas, patch: F32, side: float) -> F32:
    upper, lower = _on_side(UPPER_LID, side), _on_side(LOWER_LID, side)
    ink = np.zeros(canvas.shape, np.uint8)
    count = len(upper)
    for i in range(count - 1):
        thick = 0.014 + 0.016 * float(np.interp(i / count, [0, 0.5, 0.75, 1], [0, 1, 0.9, 0.1]))
        lifted = upper[i : i + 2] + np.array([0, -0.006], np.float32)
        canvas.stroke(ink, lifted, 255, max(1, round(thick * canvas.unit)))
    for i in range(8, count, 3):
        reach = (i / count) ** 1.2
        out = np.array([side * (-0.012 + 0.062 * reach), -0.03 - 0.024 * reach])
        hair = [upper[i], upper[i] + out * [0.75, 0.45], upper[i] + out]
        canvas.stroke(ink, curve(np.array(hair), steps=5), 225, 1)
    dark = np.clip(canvas.blur(ink.astype(np.float32) / 255, 0.0035), 0, 1)
    patch = over(patch, linear(34, 15, 14), 0.97 * dark)
    wet = _line(canvas, lower, 0.008, 0.004)
    return over(patch, linear(236, 178, 164), 0.55 * wet)


def _brow(canvas: Canvas, patch: F32, side: float) -> F32:
    draw = np.random.default_rng(5)
    spine = curve(_BROW, steps=12)
    half = curve(np.array(_BROW_HALF_WIDTH)[:, None], steps=12)[:, 0]
    outline = np.concatenate([spine - [0, 1] * half[:, None], (spine + [0, 1] * half[:, None])[::-1]])
    soft = canvas.blur(canvas.fill((outline * [side, 1]).astype(np.float32)), 0.014)
    patch = over(patch, patch * linear(150, 90, 66), 0.75 * soft)
    ink = np.zeros(canvas.shape, np.uint8)
    for _ in range(340):
        t = draw.uniform(0, 0.97)
        i = int(t * (len(spine) - 1))
        off = draw.uniform(-1, 1)
        root = spine[i] + [0, off * half[i] * 0.9]
        tilt = np.interp(t, [0, 0.25, 1.0], [1.35, 0.55, -0.35]) + 0.3 * off * (1 - t)
        length = draw.uniform(0.03, 0.06) * (1 - 0.35 * t)
        tip = root + length * np.array([np.cos(tilt), -np.sin(tilt)])
        middle = (root + tip) / 2 + [0.004, -0.004]
        path = curve(np.stack([root, middle, tip]) * [side, 1], steps=4)
        canvas.stroke(ink, path, int(draw.uniform(70, 190)), 1)
    return over(patch, linear(66, 30, 20), canvas.blur(ink.astype(np.float32) / 255, 0.003))
