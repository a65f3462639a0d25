"""The jester's cap with its bells, the ruff, the pointed collar and the stick."""

from __future__ import annotations

import numpy as np

from engine.sample.canvas import curve, linear, over, smoothstep
from engine.sample.light import Scene, Surface
from engine.sample.tube import Tube, sweep
from engine.types import F32

CRIMSON, TEAL, OCHRE = linear(176, 34, 44), linear(24, 96, 108), linear(226, 158, 48)
_GOLD, _CREAM, _WOOD = linear(236, 176, 72), linear(246, 232, 206), linear(150, 88, 48)

_MIDDLE_HORN = [
    (0.0, -0.9, 0.45), (0.0, -1.35, 0.42), (0.1, -1.68, 0.33), (0.4, -1.88, 0.23), (0.7, -1.74, 0.15),
    (0.84, -1.5, 0.08),
]  # fmt: skip
_LEFT_HORN = [
    (-0.38, -0.62, 0.5), (-0.52, -1.0, 0.47), (-0.92, -1.34, 0.37), (-1.36, -1.4, 0.27), (-1.68, -1.14, 0.18),
    (-1.76, -0.76, 0.09),
]  # fmt: skip
_RIGHT_HORN = [
    (0.38, -0.62, 0.5), (0.5, -1.0, 0.47), (0.9, -1.28, 0.37), (1.34, -1.28, 0.27), (1.62, -0.96, 0.18),
    (1.66, -0.56, 0.09),
]  # fmt: skip
_BAND = [
    (-1.02, -0.22, 0.085), (-0.9, -0.4, 0.11), (-0.6, -0.6, 0.125), (0.0, -0.71, 0.135), (0.6, -0.6, 0.125),
    (0.9, -0.4, 0.11), (1.02, -0.22, 0.085),
]  # fmt: skip
_RIBBON = [(0.06, 2.1, 0.05), (0.2, 2.3, 0.075), (0.3, 2.48, 0.06), (0.26, 2.64, 0.075), (0.4, 2.86, 0.07)]
_STICK = [
    (0.0, 1.9, 0.1), (0.0, 2.22, 0.1), (0.0, 2.33, 0.1), (0.0, 2.42, 0.15), (0.0, 2.5, 0.09),
    (0.0, 2.56, 0.12), (0.0, 2.62, 0.08), (0.0, 3.0, 0.085),
]  # fmt: skip


def add_cap(scene: Scene) -> None:
    """Three horns of velvet, each with its bell."""
    for knots, colour, base, seed in (
        (_MIDDLE_HORN, OCHRE, 0.0, 21),
        (_RIGHT_HORN, TEAL, 0.18, 22),
        (_LEFT_HORN, CRIMSON, 0.2, 23),
    ):
        tube = sweep(scene.canvas, knots)
        scene.add(_velvet(tube, colour, base, seed))
        tip, before = knots[-1], knots[-2]
        away = np.array([tip[0] - before[0], tip[1] - before[1]])
        away /= np.linalg.norm(away)
        add_bell(scene, tip[0] + 0.16 * away[0], tip[1] + 0.16 * away[1], 0.125, base + 0.15)


def add_band(scene: Scene) -> None:
    """The padded rim of the cap, cross-laced with gold."""
    tube = sweep(scene.canvas, _BAND)
    lace = np.abs(np.sin(tube.along * 22 * np.pi / 2 + 1.5 * tube.across))
    cord = smoothstep(0.22, 0.08, lace.astype(np.float32))
    pad = 0.025 * np.sqrt(lace) * tube.roundness
    albedo = over(np.broadcast_to(_CREAM, (*cord.shape, 3)), _GOLD, cord)
    height = 0.66 + 0.9 * tube.radius * tube.roundness + pad - 0.2 * np.abs(tube.along - 0.5)
    scene.add(Surface(tube.canvas, tube.coverage, height.astype(np.float32), albedo, 0.05, 12.0, 0.3, 0.2))


def _velvet(tube: Tube, colour: F32, base: float, seed: int) -> Surface:
    """Cloth that creases where the horn bends."""
    folds = tube.canvas.grain((3, 3), seed)
    rings = np.sin(tube.along * 34 + 2.6 * tube.across + 1.2 * folds) * np.clip(
        -0.2 + 1.2 * (1 - tube.across**2), 0, 1
    )
    bend = np.exp(-0.5 * ((tube.along - 0.62) / 0.2) ** 2)
    height = base + tube.radius * (tube.roundness + 0.05 * rings * bend + 0.03 * folds * tube.roundness)
    nap = 1 + 0.05 * tube.canvas.grain((40, 40), seed + 50)
    albedo = (colour * nap[..., None]).astype(np.float32)
    return Surface(tube.canvas, tube.coverage, height.astype(np.float32), albedo, 0.02, 8.0, 1.1, 0.15)


def add_bell(scene: Scene, x: float, y: float, radius: float, base: float) -> None:
    """A round brass bell with its slot."""
    window = scene.canvas.window([(x, y)], radius * 1.3)
    u, v = (window.x - x) / radius, (window.y - y) / radius
    distance = np.hypot(u, v).astype(np.float32)
    coverage = np.clip((1 - distance) * radius * window.unit + 0.5, 0, 1).astype(np.float32)
    dome = np.sqrt(np.clip(1 - distance**2, 0, 1))
    belt = smoothstep(0.1, 0.04, np.abs(v - 0.05 - 0.22 * dome).astype(np.float32))
    slot = smoothstep(0.1, 0.06, np.abs(u).astype(np.float32)) * smoothstep(0.4, 0.5, v)
    eyelet = smoothstep(0.2, 0.13, np.hypot(u, v - 0.45).astype(np.float32))
    mirror = _GOLD * (0.75 + 0.5 * smoothstep(0.5, -0.6, (v + 0.25 * u).astype(np.float32))[..., None])
    albedo = over(mirror.astype(np.float32), linear(60, 30, 12), np.clip(np.maximum(slot, eyelet), 0, 1))
    height = base + radius * (dome + 0.06 * belt)
    shine = 0.9 * (1 - np.maximum(slot, eyelet))
    scene.add(Surface(window, coverage, height.astype(np.float32), albedo, shine.astype(np.float32), 40.0))


def add_collar(scene: Scene) -> None:
    """Pointed petals in two rows, a bell at each point of the front row."""
    for row, (count, reach, base) in enumerate(((6, 1.12, 0.0), (5, 1.0, 0.12))):
        angles = np.linspace(-74, 74, count) if row == 0 else np.linspace(-62, 62, count)
        for number in np.argsort(-np.abs(angles)):
            colour = ((OCHRE, CRIMSON) if row == 0 else (TEAL, CRIMSON))[int(number) % 2]
            _petal(
                scene,
                float(angles[number]),
                reach,
                colour,
                base + 0.02 * float(np.cos(np.radians(angles[number]))),
            )


def _petal(scene: Scene, degrees: float, reach: float, colour: F32, base: float) -> None:
    angle = np.radians(degrees)
    root = np.array([0.42 * np.sin(angle), 1.36 + 0.1 * np.cos(angle)])
    axis = np.array([1.28 * np.sin(angle), 0.86 * np.cos(angle)]) * reach
    side = np.array([axis[1], -axis[0]]) / np.linalg.norm(axis)
    half = [(0.0, 0.16), (0.25, 0.25), (0.5, 0.27), (0.75, 0.17), (0.92, 0.05), (1.0, 0.0)]
    edge = [root + t * axis + w * side for t, w in half] + [
        root + t * axis - w * side for t, w in half[-2::-1]
    ]
    outline = np.concatenate([curve(np.array(edge)), edge[:1]]).astype(np.float32)
    window = scene.canvas.window(outline, 0.05)
    coverage = window.fill(outline)
    depth = window.blur(window.depth_inside(coverage), 0.006)
    t = ((window.x - root[0]) * axis[0] + (window.y - root[1]) * axis[1]) / float(axis @ axis)
    across = ((window.x - root[0]) * side[0] + (window.y - root[1]) * side[1]) / 0.27
    puff = window.blur((0.16 * (1 - np.exp(-depth / 0.09))).astype(np.float32), 0.012)
    height = (
        base + puff + 0.10 * np.clip(1 - (1.4 * t - 0.5) ** 2, 0, 1) + 0.012 * np.cos(across * 9) * (1 - t)
    )
    trim = smoothstep(0.045, 0.03, depth)
    albedo = over(np.broadcast_to(colour, (*depth.shape, 3)), _GOLD, trim)
    height = height + 0.02 * smoothstep(0.05, 0.02, depth) * smoothstep(0.0, 0.015, depth)
    scene.add(Surface(window, coverage, height.astype(np.float32), albedo, 0.03, 10.0, 0.8, 0.15))
    tip = root + axis
    add_bell(scene, float(tip[0] + 0.05 * np.sin(angle)), float(tip[1] + 0.06), 0.085, base + 0.1)


def add_ruff(scene: Scene) -> None:
    """A cream ruff: pleats standing round the neck, the front ones last."""
    pleats = 23
    for number in sorted(range(pleats), key=lambda n: -abs(n - (pleats - 1) / 2)):
        angle = np.radians(-100 + 200 * number / (pleats - 1))
        inner = np.array([0.46 * np.sin(angle), 1.20 + 0.10 * np.cos(angle)])
        outer = np.array([0.86 * np.sin(angle), 1.25 + 0.36 * np.cos(angle)])
        middle = (inner + outer) / 2 + [0, 0.02 * (number % 2)]
        knots = [(*inner, 0.05), (*middle, 0.075), (*outer, 0.085)]
        tube = sweep(scene.canvas, knots, steps=6)
        height = 0.34 + 0.12 * np.cos(angle) + tube.radius * tube.roundness * 1.2
        hollow = smoothstep(0.75, 1.0, tube.along) * tube.roundness
        albedo = _CREAM * (1 - 0.35 * hollow[..., None])
        scene.add(
            Surface(
                tube.canvas,
                tube.coverage,
                height.astype(np.float32),
                albedo.astype(np.float32),
                0.02,
                8.0,
                0.2,
                0.6,
            )
        )


def add_stick(scene: Scene) -> None:
    """The turned wooden stick that carries the head, and its ribbons."""
    for side, colour, seed in ((-1, CRIMSON, 61), (1, TEAL, 62)):
        tube = sweep(scene.canvas, [(side * x * (1 if side > 0 else 1.15), y, r) for x, y, r in _RIBBON])
        scene.add(_velvet(tube, colour, -0.25, seed))
    tube = sweep(scene.canvas, _STICK)
    ring = tube.canvas.grain((30, 2), 9)
    albedo = _WOOD * (1 + 0.14 * ring[..., None])
    height = -0.1 + tube.radius * tube.roundness
    scene.add(
        Surface(tube.canvas, tube.coverage, height.astype(np.float32), albedo.astype(np.float32), 0.25, 22.0)
    )


def add_neck(scene: Scene) -> None:
    """The neck between chin and ruff."""
    tube = sweep(scene.canvas, [(0.0, 0.8, 0.42), (0.0, 1.0, 0.4), (0.0, 1.2, 0.42)])
    albedo = np.broadcast_to(linear(226, 168, 138), (*tube.coverage.shape, 3)).astype(np.float32)
    height = 0.05 + tube.radius * tube.roundness
    scene.add(Surface(tube.canvas, tube.coverage, height.astype(np.float32), albedo, 0.02, 12.0, 0.0, 1.0))
