"""The sheet on which the portrait is drawn, measured in head units, and the shapes that are put on it.

Convention: one unit is about the distance of the outer eye corners; the origin lies midway between them; x to
the picture's right, y down, height towards the camera. Pictures are float32 (H, W) or (H, W, 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.types import F32, U8

UNIT = 0.2
ORIGIN = (0.5, 0.44)
_SUBPIXEL_BITS = 5


@dataclass(frozen=True)
class Canvas:
    """A rectangle of a square picture of ``size`` pixels; left, top, width, height in its pixels."""

    size: int
    left: int
    top: int
    width: int
    height: int

    @staticmethod
    def whole(size: int) -> Canvas:
        """The full square."""
        return Canvas(size, 0, 0, size, size)

    def window(self, points: ArrayLike, margin: float) -> Canvas:
        """The part of this canvas within ``margin`` units of points (n, 2)."""
        spots = np.asarray(points, np.float32)
        low, high = self._absolute(spots.min(0) - margin), self._absolute(spots.max(0) + margin)
        left, top = (max(int(np.floor(v)), edge) for v, edge in zip(low, (self.left, self.top), strict=True))
        ends = (self.left + self.width, self.top + self.height)
        right, bottom = (min(int(np.ceil(v)) + 1, edge) for v, edge in zip(high, ends, strict=True))
        return Canvas(self.size, left, top, max(right - left, 1), max(bottom - top, 1))

    @property
    def unit(self) -> float:
        """Pixels per head unit."""
        return UNIT * self.size

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.height, self.width

    @property
    def part(self) -> tuple[slice, slice]:
        """Where it lies in the full square, as an index."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    @cached_property
    def x(self) -> F32:
        """float32 (1, width): head units of each column's centre."""
        columns = np.arange(self.left, self.left + self.width, dtype=np.float32)[None, :]
        return ((columns - ORIGIN[0] * self.size) / self.unit).astype(np.float32)

    @cached_property
    def y(self) -> F32:
        """float32 (height, 1): head units of each row's centre."""
        rows = np.arange(self.top, self.top + self.height, dtype=np.float32)[:, None]
        return ((rows - ORIGIN[1] * self.size) / self.unit).astype(np.float32)

    def _absolute(self, points: F32) -> F32:
        return np.asarray(points * self.unit + np.array(ORIGIN) * self.size, np.float32)

    def _fixed_point(self, points: F32) -> NDArray[np.int32]:
        local = self._absolute(points) - np.array([self.left, self.top], np.float32)
        return np.round(local * (1 << _SUBPIXEL_BITS)).astype(np.int32)

    def fill(self, points: F32) -> F32:
        """Coverage 0..1 of the polygon (n, 2) given in head units."""
        mask = np.zeros(self.shape, np.uint8)
        cv2.fillPoly(mask, [self._fixed_point(points)], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
        return np.asarray(mask, np.float32) / np.float32(255)

    def stroke(self, ink: U8, path: F32, shade: int, pixels: int = 1) -> None:
        """Draws one open line (n, 2) into uint8 ``ink`` in place, ``pixels`` wide."""
        cv2.polylines(ink, [self._fixed_point(path)], False, shade, pixels, cv2.LINE_AA, _SUBPIXEL_BITS)

    def blur(self, picture: NDArray[np.floating], radius: float) -> F32:
        """Gaussian blur whose sigma is ``radius`` head units; wide ones run on a smaller copy."""
        sigma = radius * self.unit
        shrink = max(1, int(sigma / 4))
        if shrink == 1:
            return np.asarray(cv2.GaussianBlur(picture, (0, 0), max(sigma, 0.01)), np.float32)
        height, width = self.shape
        small = cv2.resize(picture, (-(-width // shrink), -(-height // shrink)), interpolation=cv2.INTER_AREA)
        small = cv2.GaussianBlur(small, (0, 0), sigma / shrink)
        return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)

    def depth_inside(self, coverage: F32) -> F32:
        """Distance in head units from each pixel inside a shape to its edge; 0 outside."""
        inside = (coverage > 0.5).astype(np.uint8)
        return np.asarray(cv2.distanceTransform(inside, cv2.DIST_L2, 5) / self.unit, np.float32)

    def bump(self, x: float, y: float, width: float, height: float) -> F32:
        """Gaussian of peak 1 at (x, y) with these sigmas."""
        across = np.exp(-0.5 * ((self.x - x) / width) ** 2)
        down = np.exp(-0.5 * ((self.y - y) / height) ** 2)
        return np.asarray(across * down, np.float32)

    def bumps(self, x: float, y: float, width: float, height: float) -> F32:
        """The bump and its mirror image about x = 0."""
        return self.bump(x, y, width, height) + self.bump(-x, y, width, height)

    def grain(self, blobs: tuple[float, float], seed: int) -> F32:
        """Smooth noise of deviation 1; ``blobs`` = about how many fit in one unit along x and along y."""
        columns = max(4, round(blobs[0] * self.width / self.unit))
        rows = max(4, round(blobs[1] * self.height / self.unit))
        coarse = np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)
        return np.asarray(cv2.resize(coarse, self.shape[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def curve(points: ArrayLike, closed: bool = False, steps: int = 12) -> F32:
    """Catmull-Rom spline through points (n, k), float32, ``steps`` samples per span."""
    knots = np.asarray(points, np.float64)
    if closed:
        padded = np.concatenate([knots[-1:], knots, knots[:2]])
    else:
        padded = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    a, b, c, d = padded[:-3, None], padded[1:-2, None], padded[2:-1, None], padded[3:, None]
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    spans = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    samples = spans.reshape(-1, knots.shape[1])
    return np.asarray(samples if closed else np.concatenate([samples, knots[-1:]]), np.float32)


def mirrored(half: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """A closed outline, symmetric about x = 0, from its half with x >= 0 listed from top to bottom."""
    return half + [(-x, y) for x, y in reversed(half) if x != 0]


def smoothstep(low: float, high: float, value: NDArray[np.floating]) -> F32:
    """Hermite ramp from 0 at ``low`` to 1 at ``high``; ``low`` may be the larger."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def linear(*srgb: int) -> F32:
    """A colour stated in sRGB bytes, as float32 (3,) linear light."""
    return np.asarray((np.array(srgb) / 255) ** 2.2, np.float32)


def over(below: NDArray[np.floating], colour: ArrayLike, coverage: NDArray[np.floating]) -> F32:
    """``colour`` painted over (H, W, 3) as far as coverage (H, W) says."""
    return np.asarray(below + (np.asarray(colour, np.float32) - below) * coverage[..., None], np.float32)
