"""The face itself: its relief, its skin and its lips."""

from __future__ import annotations

import numpy as np

from engine.sample.canvas import Canvas, curve, linear, mirrored, over, smoothstep
from engine.sample.light import Surface
from engine.types import F32

_HALF_OUTLINE = [
    (0.0, -0.95), (0.5, -0.84), (0.735, -0.45), (0.77, -0.08), (0.757, 0.2), (0.703, 0.46), (0.595, 0.73),
    (0.445, 0.94), (0.275, 1.085), (0.11, 1.142), (0.0, 1.15),
]  # fmt: skip
OUTLINE = curve(mirrored(_HALF_OUTLINE), closed=True)
MOUTH_LINE = [(0.0, 0.731), (0.05, 0.728), (0.12, 0.731), (0.2, 0.722), (0.265, 0.697)]
UPPER_EDGE = [(0.265, 0.697), (0.2, 0.679), (0.13, 0.656), (0.055, 0.641), (0.0, 0.652)]
LOWER_EDGE = [(0.265, 0.697), (0.208, 0.759), (0.13, 0.81), (0.06, 0.832), (0.0, 0.836)]

# Rows of the head: y, height of its midline without nose and lips.
_MIDLINE = curve([
    (-0.95, 0.3), (-0.7, 0.62), (-0.45, 0.79), (-0.2, 0.85), (0.0, 0.83), (0.3, 0.83), (0.6, 0.86),
    (0.82, 0.82), (0.96, 0.77), (1.06, 0.68), (1.12, 0.52), (1.155, 0.3), (1.2, 0.1),
])  # fmt: skip
# Rows of the nose: y, height above the face, sigma across.
_NOSE = curve([
    (-0.25, 0.0, 0.1), (-0.12, 0.015, 0.085), (0.0, 0.035, 0.07), (0.12, 0.07, 0.068), (0.25, 0.125, 0.074),
    (0.34, 0.19, 0.085), (0.41, 0.225, 0.092), (0.455, 0.195, 0.095), (0.495, 0.11, 0.095),
    (0.53, 0.03, 0.09), (0.57, 0.0, 0.09),
])  # fmt: skip
_BEYOND = 1.02


def relief(canvas: Canvas) -> F32:
    """Height of the face in head units; a little wider than its outline, whose edge is then no cliff."""
    y = canvas.y[:, 0] / _BEYOND
    half = OUTLINE[OUTLINE[:, 0] > 0.001]
    order = np.argsort(half[:, 1])
    width = np.interp(y, half[order, 1], half[order, 0])[:, None]
    u = np.clip(np.abs(canvas.x / _BEYOND) / np.maximum(width, 0.02), 0, 1)
    base = np.interp(y, _MIDLINE[:, 0], _MIDLINE[:, 1])[:, None] * np.sqrt(1 - u**2.6)
    height = canvas.blur(base.astype(np.float32), 0.025) + _nose(canvas)
    height += 0.05 * canvas.bumps(0.33, -0.22, 0.2, 0.06) - 0.085 * canvas.bumps(0.33, -0.03, 0.17, 0.1)
    height += 0.035 * canvas.bumps(0.345, 0.0, 0.13, 0.07) - 0.02 * canvas.bumps(0.33, 0.13, 0.16, 0.03)
    height += 0.105 * canvas.bumps(0.42, 0.35, 0.16, 0.13) + 0.06 * canvas.bump(0.0, 0.7, 0.26, 0.17)
    height -= 0.05 * canvas.bump(0.0, 0.9, 0.16, 0.045) - 0.07 * canvas.bump(0.0, 1.02, 0.15, 0.075)
    height -= 0.035 * canvas.bumps(0.289, 0.695, 0.033, 0.035)
    height -= 0.014 * canvas.bump(0.0, 0.59, 0.022, 0.05) - 0.008 * canvas.bumps(0.05, 0.595, 0.018, 0.05)
    return (height + _lip_relief(canvas)).astype(np.float32)


def _nose(canvas: Canvas) -> F32:
    y = canvas.y[:, 0]
    ridge = np.interp(y, _NOSE[:, 0], _NOSE[:, 1])[:, None]
    width = np.interp(y, _NOSE[:, 0], _NOSE[:, 2])[:, None]
    nose = ridge * np.exp(-0.5 * (canvas.x / width) ** 2)
    wings = 0.075 * canvas.bumps(0.125, 0.44, 0.036, 0.038)
    tip = 0.045 * canvas.bump(0.0, 0.415, 0.07, 0.052)
    dimple = 0.014 * canvas.bumps(0.185, 0.445, 0.028, 0.05)
    return np.asarray(nose + wings + tip - dimple, np.float32)


def _full(half: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """A line symmetric about x = 0 from its half that starts on the axis, from -x to +x."""
    return [(-x, y) for x, y in reversed(half)] + half[1:]


def lips(canvas: Canvas) -> tuple[F32, F32]:
    """Coverage of the upper and of the lower lip."""
    line = _full(MOUTH_LINE)
    upper = np.concatenate([curve(line), curve(_full(UPPER_EDGE[::-1]))[::-1]])
    lower = np.concatenate([curve(line), curve(_full(LOWER_EDGE[::-1]))[::-1]])
    return canvas.fill(upper), canvas.fill(lower)


def _lip_relief(canvas: Canvas) -> F32:
    upper, lower = lips(canvas)
    swell = 0.0 * upper
    for lip, depth, rise in ((upper, 0.035, 0.03), (lower, 0.05, 0.055)):
        inside = np.clip(canvas.depth_inside(lip) / depth, 0, 1)
        swell += rise * np.sqrt(np.clip(inside * (2 - inside), 0, 1))
    return canvas.blur(swell.astype(np.float32), 0.011)


def face(canvas: Canvas) -> Surface:
    """The skin of the face, lips included, eyes not."""
    window = canvas.window(OUTLINE, 0.05)
    upper, lower = lips(window)
    gloss = 0.05 + 0.22 * window.bump(0, 0.38, 0.05, 0.07) + 0.05 * window.bump(0, -0.3, 0.3, 0.12)
    gloss += 0.06 * upper + 0.22 * window.bump(-0.03, 0.795, 0.11, 0.022)
    gloss += 0.06 * window.bumps(0.4, 0.25, 0.12, 0.07)
    return Surface(
        window,
        window.blur(window.fill(OUTLINE), 0.004) * smoothstep(-0.72, -0.68, window.y),
        relief(window),
        _complexion(window, upper, lower),
        gloss=window.blur(gloss.astype(np.float32), 0.008),
        sharpness=26.0,
        scatter=1.0,
    )


def _complexion(canvas: Canvas, upper: F32, lower: F32) -> F32:
    """Albedo of the skin: warm, rosy on cheeks, nose and chin, freckled; then the lips."""
    skin = np.broadcast_to(linear(240, 196, 168), (*canvas.shape, 3)).astype(np.float32)
    rosy = 0.74 * canvas.bumps(0.46, 0.36, 0.16, 0.12) + 0.42 * canvas.bump(0, 0.42, 0.11, 0.08)
    rosy += 0.22 * canvas.bump(0, 1.02, 0.16, 0.08) + 0.25 * canvas.bumps(0.36, 0.12, 0.16, 0.05)
    rosy += 0.3 * canvas.bumps(0.34, -0.09, 0.17, 0.04)
    skin = over(skin, linear(228, 122, 104), np.clip(rosy, 0, 1) * 0.75)
    skin *= 1 + 0.018 * canvas.grain((14, 14), 3)[..., None]
    skin = over(skin, linear(188, 112, 78), 0.55 * _freckles(canvas))
    skin = over(skin, linear(104, 44, 36), 0.85 * _nostrils(canvas))
    skin = over(skin, linear(196, 96, 90), canvas.blur(upper, 0.007))
    skin = over(skin, linear(216, 116, 106), canvas.blur(lower, 0.007))
    return over(skin, linear(110, 36, 36), _mouth_line(canvas))


def _nostrils(canvas: Canvas) -> F32:
    shape = [(0.034, 0.487), (0.06, 0.471), (0.098, 0.47), (0.106, 0.484), (0.072, 0.493)]
    right = canvas.fill(curve(shape, closed=True))
    left = canvas.fill(curve([(-x, y) for x, y in shape], closed=True))
    return canvas.blur(right + left, 0.009)


def _mouth_line(canvas: Canvas) -> F32:
    ink = np.zeros(canvas.shape, np.uint8)
    line = curve(_full(MOUTH_LINE))
    canvas.stroke(ink, line, 255, max(1, round(0.014 * canvas.unit)))
    corners = canvas.bumps(0.268, 0.695, 0.012, 0.01)
    return np.clip(canvas.blur(ink.astype(np.float32) / 255, 0.005) + 0.5 * corners, 0, 1).astype(np.float32)


def _freckles(canvas: Canvas) -> F32:
    draw = np.random.default_rng(11)
    spots = np.zeros(canvas.shape, np.float32)
    for _ in range(150):
        x, y = draw.normal(0, 0.34), draw.normal(0.27, 0.075)
        size, strength = draw.uniform(0.005, 0.011), draw.uniform(0.2, 0.8)
        near = canvas.window([(x, y)], 0.05)
        rows = slice(near.top - canvas.top, near.top - canvas.top + near.height)
        columns = slice(near.left - canvas.left, near.left - canvas.left + near.width)
        spots[rows, columns] += strength * near.bump(x, y + 0.12 * abs(x), size, size * 0.85)
    return np.clip(spots, 0, 1).astype(np.float32)
