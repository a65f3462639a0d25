"""The mark on every picture that leaves a live session: what is seen was generated."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from engine.types import F32, U8

_LEAST_PIXELS, _HEIGHT_SHARE, _ASPECT = 20, 12, 1.5
_MARGIN_SHARE = 22  # clear of the strip, which covers a 32nd of the height
_SHARP = 4  # drawn so many times larger, then averaged down
_PLATE, _INK = (24.0, 132.0, 124.0), (235.0, 128.0, 128.0)  # Y U V, BT.601 limited range
_PLATE_ALPHA, _RIM_ALPHA = 0.72, 0.38


class Badge:
    """The letters AI on a dark rounded plate with a light rim, in the top right corner.

    size: (width, height) of the pictures, even. It keeps working buffers: one thread at a time.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        width, height = size
        self._shape = (height * 3 // 2, width)
        scale = min(height, width * 2)  # a tall picture's badge fits its width
        tall = _even(min(max(_LEAST_PIXELS, scale / _HEIGHT_SHARE), height / 2, width / 3))
        wide = _even(_ASPECT * tall)
        right, top = (max(_LEAST_PIXELS / 2, side / _MARGIN_SHARE) for side in (scale, height))
        x1, y0 = width - _even(min(right, width - wide)), _even(min(top, height - tall))
        self.box = (x1 - wide, y0, x1, y0 + tall)
        """x0 y0 x1 y1 in pixels of the picture."""
        covers = _covers(wide, tall)
        halved = tuple(_averaged(cover, wide // 2, tall // 2) for cover in covers)
        self._layers = [
            _Layer(*_over(fine, channel)) for channel, fine in enumerate((covers, halved, halved))
        ]

    def compose(self, planes: U8) -> None:
        """Draw it in place into I420 planes, uint8 (H * 3 / 2, W), C-contiguous. Raises ValueError for another size."""
        if planes.shape != self._shape:
            raise ValueError(f"badge: got planes of shape {planes.shape}, expected {self._shape}")
        height, width = self._shape[0] * 2 // 3, self._shape[1]
        x0, y0, x1, y1 = self.box
        self._layers[0].compose(planes[y0:y1, x0:x1])
        chroma = planes[height:].reshape(2, height // 2, width // 2)
        for layer, plane in zip(self._layers[1:], chroma):
            layer.compose(plane[y0 // 2 : y1 // 2, x0 // 2 : x1 // 2])


class _Layer:
    """One plane of the badge, premultiplied: picture * keep + add, in 256ths."""

    def __init__(self, alpha: F32, colour: F32) -> None:
        self._keep = np.rint((1.0 - alpha) * 256.0).astype(np.uint16)
        self._add = np.rint(colour * 256.0 + 127.0).astype(np.uint16)
        self._sum = np.empty_like(self._add)

    def compose(self, area: U8) -> None:
        np.multiply(area, self._keep, out=self._sum, dtype=np.uint16)
        self._sum += self._add
        self._sum >>= 8
        area[:] = self._sum


def _over(covers: tuple[F32, ...], channel: int) -> tuple[F32, F32]:
    """Ink over rim over plate: (alpha, premultiplied colour) of one channel."""
    ink, rim, plate = covers
    alpha = plate * _PLATE_ALPHA
    colour = alpha * _PLATE[channel]
    for cover in (rim * _RIM_ALPHA, ink):
        colour = colour * (1.0 - cover) + cover * _INK[channel]
        alpha = alpha * (1.0 - cover) + cover
    return alpha, colour


@lru_cache(maxsize=8)
def _covers(wide: int, tall: int) -> tuple[F32, ...]:
    """How much of each pixel the letters, the rim and the plate cover, float32 (tall, wide) in 0 .. 1; read only."""
    size = (tall * _SHARP, wide * _SHARP)
    unit = float(size[0])
    plate = _rounded(size, 0.0, 0.28 * unit)
    rim = plate - _rounded(size, max(_SHARP, 0.035 * unit), 0.28 * unit)
    return _averaged(_letters(size), wide, tall), _averaged(rim, wide, tall), _averaged(plate, wide, tall)


def _rounded(size: tuple[int, int], inset: float, radius: float) -> F32:
    """A rectangle with round corners, `inset` from the edges: 1 inside, 0 outside."""
    half = np.array([size[1] / 2, size[0] / 2]) - inset
    radius -= inset
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32) + 0.5
    across = np.maximum(np.abs(x - size[1] / 2) - (half[0] - radius), 0.0)
    down = np.maximum(np.abs(y - size[0] / 2) - (half[1] - radius), 0.0)
    inside: F32 = (np.hypot(across, down) <= radius).astype(np.float32)
    return inside


def _letters(size: tuple[int, int]) -> F32:
    """The letters as strokes: an A with its bar, and an I."""
    tall, wide = size
    ink = np.zeros(size, np.float32)
    top, bottom, stem = 0.25 * tall, 0.75 * tall, 0.105 * tall
    left, right = wide / 2 - 0.39 * tall, wide / 2 + 0.11 * tall
    middle, foot = (left + right) / 2, stem * 1.08
    _fill(ink, [(left, bottom), (middle - foot / 2, top), (middle + foot / 2, top), (right, bottom),
                (right - foot, bottom), (middle, top + 1.55 * stem), (left + foot, bottom)])  # fmt: skip
    bar, slope = 0.6 * tall, (middle - left) / (bottom - top)
    reach = (bar - top) * slope - foot / 4
    _fill(ink, [(middle - reach, bar - stem * 0.38), (middle + reach, bar - stem * 0.38),
                (middle + reach, bar + stem * 0.38), (middle - reach, bar + stem * 0.38)])  # fmt: skip
    stroke = wide / 2 + 0.265 * tall
    _fill(ink, [(stroke, top), (stroke + stem, top), (stroke + stem, bottom), (stroke, bottom)])
    return ink


def _fill(ink: F32, corners: list[tuple[float, float]]) -> None:
    cv2.fillPoly(ink, [np.rint(np.array(corners)).astype(np.int32)], (1.0,))


def _averaged(large: F32, wide: int, tall: int) -> F32:
    return np.asarray(cv2.resize(large, (wide, tall), interpolation=cv2.INTER_AREA), np.float32)


def _even(value: float) -> int:
    return max(2, 2 * int(value / 2 + 0.25))
