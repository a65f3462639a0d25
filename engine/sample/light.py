"""Surfaces, the scene that they are stacked in, and the lamps that shine on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.sample.canvas import Canvas, linear, smoothstep
from engine.types import F32


def _direction(x: float, y: float, z: float) -> F32:
    towards = np.array([x, y, z])
    return np.asarray(towards / np.linalg.norm(towards), np.float32)


_KEY = _direction(-0.48, -0.56, 0.68)
_RIM = _direction(0.86, -0.25, 0.30)
_HALFWAY = _direction(*(_KEY + np.array([0, 0, 1])))
_KEY_COLOUR = 3.0 * linear(255, 238, 214)
_RIM_COLOUR = 1.5 * linear(255, 196, 130)
_SKY = 0.62 * linear(214, 222, 240)
_GROUND = 0.54 * linear(240, 176, 130)
_SHADOW_STEPS = 28
_SHADOW_REACH = 0.75


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """One thing to be lit, on its own canvas.

    coverage: 0..1. height: head units above the picture plane. albedo: linear light (H, W, 3).
    gloss: strength of its highlight, sharpness: its exponent, sheen: velvet's bright edge,
    scatter: 0..1, how far light creeps round the form, as it does in skin.
    """

    canvas: Canvas
    coverage: F32
    height: F32
    albedo: F32
    gloss: F32 | float = 0.0
    sharpness: float = 20.0
    sheen: float = 0.0
    scatter: float = 0.0


class Scene:
    """Surfaces painted over one another, back to front, and lit together."""

    def __init__(self, canvas: Canvas) -> None:
        self.canvas = canvas
        rows, columns = canvas.shape
        self.coverage = np.zeros((rows, columns), np.float32)
        self.height = np.full((rows, columns), -0.6, np.float32)
        self.albedo = np.zeros((rows, columns, 3), np.float32)
        self.normal = np.zeros((rows, columns, 3), np.float32)
        self.material = np.zeros((rows, columns, 4), np.float32)

    def add(self, surface: Surface) -> None:
        """Paints one surface over what is there."""
        part, alpha = surface.canvas.part, surface.coverage
        gloss = np.broadcast_to(np.asarray(surface.gloss, np.float32), alpha.shape)
        rest = [
            np.full(alpha.shape, v, np.float32) for v in (surface.sharpness, surface.sheen, surface.scatter)
        ]
        for layer, value in (
            (self.albedo, surface.albedo),
            (self.normal, _normals(surface.height, surface.canvas.unit)),
            (self.material, np.dstack([gloss, *rest])),
        ):
            layer[part] += (value - layer[part]) * alpha[..., None]
        self.height[part] += (surface.height - self.height[part]) * alpha
        self.coverage[part] += (1 - self.coverage[part]) * alpha

    def lit(self) -> F32:
        """The scene in linear light, float32 (H, W, 3)."""
        normal = self.normal / np.maximum(np.linalg.norm(self.normal, axis=2, keepdims=True), 1e-3)
        gloss, sharpness, sheen, scatter = (self.material[..., i] for i in range(4))
        key = _wrapped(normal @ _KEY, scatter) * self._in_key_light(scatter)
        edge = np.clip(1 - normal[..., 2], 0, 1)
        rim = np.clip(normal @ _RIM, 0, 1) * smoothstep(0.25, 0.95, edge) * (1 - 0.3 * scatter)
        ambient = _GROUND + (_SKY - _GROUND) * (0.5 - 0.5 * normal[..., 1:2])
        light = key * _KEY_COLOUR + rim[..., None] * _RIM_COLOUR + ambient * self._openness()[..., None]
        light += (sheen * edge**2.2)[..., None] * (0.35 + light)
        shine = gloss * np.exp(np.log(np.clip(normal @ _HALFWAY, 1e-3, 1)) * sharpness)
        return np.asarray(self.albedo * light + shine[..., None] * _KEY_COLOUR * key[..., :1], np.float32)

    def _in_key_light(self, scatter: F32) -> F32:
        """1 = in the key light, (H, W, 3); skin lets red leak over a shadow's edge."""
        rows, columns = self.canvas.shape
        relief = cv2.resize(self.height, (columns // 2, rows // 2), interpolation=cv2.INTER_AREA)
        shadow = np.asarray(cv2.resize(_cast(relief, self.canvas.unit / 2), (columns, rows)), np.float32)
        soft, softer = self.canvas.blur(shadow, 0.012), self.canvas.blur(shadow, 0.035)
        red = np.maximum(soft + (softer - soft) * 0.35 * scatter, soft)
        return np.asarray(np.dstack([red, soft, soft]), np.float32)

    def _openness(self) -> F32:
        """How much of the surroundings a point sees, 0..1: creases and overlaps are darker."""
        seen = np.ones_like(self.height)
        for radius, depth in ((0.02, 1.6), (0.06, 1.2), (0.18, 0.8)):
            sunk = np.clip(self.canvas.blur(self.height, radius) - self.height, 0, None) / radius
            seen *= 1 / (1 + depth * sunk)
        return self.canvas.blur(np.asarray(seen, np.float32), 0.006)


def _cast(relief: NDArray[Any], unit: float) -> F32:
    """Walks from every point towards the key lamp: 0 where the relief stands well above that ray."""
    lit = np.ones_like(relief)
    across, down, climb = (float(v) for v in _KEY / np.linalg.norm(_KEY[:2]))
    for step in range(1, _SHADOW_STEPS + 1):
        reach = _SHADOW_REACH * (step / _SHADOW_STEPS) ** 1.5
        shift = np.array([[1, 0, -across * reach * unit], [0, 1, -down * reach * unit]], np.float32)
        blocker = cv2.warpAffine(relief, shift, relief.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
        gap = (relief + climb * reach - blocker) / (0.10 + 0.35 * reach)
        lit = np.minimum(lit, smoothstep(-0.35, 0.55, gap))
    return lit


def _normals(height: F32, unit: float) -> F32:
    down, across = np.gradient(height * np.float32(unit))
    length = np.sqrt(down * down + across * across + 1)
    return np.asarray(np.dstack([-across, -down, np.ones_like(height)]) / length[..., None], np.float32)


def _wrapped(facing: F32, scatter: F32) -> F32:
    """Diffuse light (H, W, 3) that passes the terminator by ``scatter``, red furthest."""
    wrap = scatter[..., None] * np.array([0.55, 0.30, 0.22], np.float32)
    return np.asarray(np.clip((facing[..., None] + wrap) / (1 + wrap), 0, 1), np.float32)
