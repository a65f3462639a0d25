"""Crop and inverse paste as the official STIT program draws them, to the grey level: for work off-line.

Sampling is bilinear, a value outside the picture is black and transparent, and results are cut off to whole numbers,
not rounded. Live frames go through `Crop`, `engine.crop.cut` and `engine.blend.paste`, which are faster and differ by
a grey level or two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.align.quad import inverse_coefficients
from engine.errors import ConfigError, InputError
from engine.types import F64, U8

_LANCZOS = 3.0
_BITS = 22  # of the resampling's fixed-point weights
_ROWS = 64  # sampled at a time, so that a 4K frame needs no gigabytes


def cut_quad(picture: U8, quad: F64, size: int) -> U8:
    """The quad's pixels, uint8 (size, size, 3); black outside the picture.

    picture: uint8 (H, W, 3). quad: (4, 2), as `Squares.quads`. A quad whose diagonal is four crops or more long is cut
    from a picture shrunk by a whole number first (Lanczos), which is what keeps a small crop from flickering.
    """
    if size < 1:
        raise ConfigError(f"alignment: a crop of {size} px, expected 1 or more")
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise InputError(
            f"alignment: got a picture {picture.shape} {picture.dtype}, expected (H, W, 3) uint8"
        )
    diagonal = 2.0 * math.hypot(*(0.5 * (quad[3] - quad[1])))
    shrink = math.floor(diagonal / size * 0.5)
    if shrink > 1:
        height, width = picture.shape[:2]
        picture = shrunk(picture, max(1, round(height / shrink)), max(1, round(width / shrink)))
        quad = quad / shrink
    (x0, y0), (xs, ys), (xe, ye), (xn, yn) = (quad + 0.5).tolist()
    step = 1.0 / size
    out = np.empty((size, size, 3), np.uint8)
    for rows in _bands(size):
        x, y = _middles(rows, size)
        across = x0 + (xn - x0) * step * x + (xs - x0) * step * y + (xe - xs - xn + x0) * step * step * x * y
        along = y0 + (yn - y0) * step * x + (ys - y0) * step * y + (ye - ys - yn + y0) * step * step * x * y
        out[rows] = _sampled(picture, across, along)
    return out


def paste_quad(frame: U8, crop: U8, quad: F64, mask: U8 | None = None) -> U8:
    """A new frame: the crop back in its place, uint8 (H, W, 3).

    crop: uint8 (S, S, 3). mask: uint8 (S, S), 255 = the crop's pixel, feathered or not; None = all of the crop.
    """
    return paste_by(frame, crop, inverse_coefficients(quad, crop.shape[0]), mask)


def paste_by(frame: U8, crop: U8, coefficients: F64, mask: U8 | None = None) -> U8:
    """`paste_quad` by the numbers of `inverse_coefficients`."""
    alpha = np.full(crop.shape[:2], 255, np.uint8) if mask is None else mask
    if alpha.shape != crop.shape[:2] or crop.dtype != np.uint8 or alpha.dtype != np.uint8:
        raise InputError(
            f"alignment: got a crop {crop.shape} and a mask {alpha.shape}, expected one size, uint8"
        )
    a, b, c, d, e, f, g, h = coefficients.tolist()
    layered = np.dstack([_times(crop, alpha[..., None]), alpha])
    out = frame.copy()
    for rows in _bands(frame.shape[0]):
        x, y = _middles(rows, frame.shape[1])
        below = g * x + h * y + 1.0
        with np.errstate(divide="ignore", invalid="ignore"):
            across, along = (a * x + b * y + c) / below, (d * x + e * y + f) / below
        _compose(out[rows], _sampled(layered, across, along))
    return out


def feathered(mask: U8, radius: int, sigma: float = 0.0) -> U8:
    """The mask drawn in by `radius` pixels (what lies outside counts as 0) and blurred over as many, uint8 (H, W).

    sigma: of the Gaussian in pixels; 0 = 0.3 * (radius - 1) + 0.8. radius 0: the mask as it is.
    """
    if radius < 0:
        raise ConfigError(f"alignment: a feather of {radius} px, expected 0 or more")
    if radius == 0:
        return mask
    across = 2 * radius + 1
    kernel = np.ones((across, across), np.uint8)
    inner = cv2.erode(mask, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(cv2.GaussianBlur(inner, (across, across), sigmaX=sigma), np.uint8)


def shrunk(picture: U8, height: int, width: int) -> U8:
    """Resampled by Lanczos' kernel of three lobes, widened by the factor: first across, then down, uint8."""
    across = _lanczos(picture.transpose(1, 0, 2), width).transpose(1, 0, 2)
    return np.ascontiguousarray(_lanczos(across, height))


def _lanczos(picture: U8, wanted: int) -> U8:
    """The first axis brought to `wanted` entries."""
    given = picture.shape[0]
    first, weights = _taps(given, wanted)
    total = np.full((wanted, *picture.shape[1:]), 1 << (_BITS - 1), np.int64)
    for tap in range(weights.shape[1]):
        where = np.minimum(first + tap, given - 1)
        total += weights[:, tap, None, None] * picture[where]
    return np.asarray(np.clip(total >> _BITS, 0, 255), np.uint8)


def _taps(given: int, wanted: int) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """For every result the first entry that it reads, and its weights in fixed point."""
    factor = given / wanted
    wide = max(factor, 1.0)
    reach = _LANCZOS * wide
    middle = (np.arange(wanted) + 0.5) * factor
    first = np.maximum((middle - reach + 0.5).astype(np.intp), 0)
    last = np.minimum((middle + reach + 0.5).astype(np.intp), given)
    place = np.arange(int((last - first).max()))
    away = (first[:, None] + place - middle[:, None] + 0.5) / wide
    weights = np.where(np.abs(away) < _LANCZOS, np.sinc(away) * np.sinc(away / _LANCZOS), 0.0)
    weights[first[:, None] + place >= last[:, None]] = 0.0
    weights /= weights.sum(1, keepdims=True)
    fixed = weights * (1 << _BITS)
    return first, np.trunc(fixed + np.copysign(0.5, fixed)).astype(np.int64)


def _bands(height: int) -> Iterator[slice]:
    for top in range(0, height, _ROWS):
        yield slice(top, min(top + _ROWS, height))


def _middles(rows: slice, width: int) -> tuple[F64, F64]:
    """x (1, W) and y (rows, 1) of the pixels' middles, from the picture's corner."""
    x, y = np.arange(width, dtype=np.float64), np.arange(rows.start, rows.stop, dtype=np.float64)
    return x[None] + 0.5, y[:, None] + 0.5


def _sampled(picture: U8, x: F64, y: F64) -> U8:
    """Bilinear at x, y (counted from the corner), cut off to whole numbers; 0 outside. uint8 (rows, columns, C)."""
    height, width = picture.shape[:2]
    with np.errstate(invalid="ignore"):
        inside = (x >= 0.0) & (x < width) & (y >= 0.0) & (y < height)
    x, y = np.where(inside, x, 0.5) - 0.5, np.where(inside, y, 0.5) - 0.5
    left, top = np.floor(x), np.floor(y)
    dx, dy = (x - left)[..., None], (y - top)[..., None]
    x0, y0 = left.astype(np.intp), top.astype(np.intp)
    x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
    x0, y0 = np.maximum(x0, 0), np.maximum(y0, 0)
    wide = picture.astype(np.float64)
    above = wide[y0, x0] + (wide[y0, x1] - wide[y0, x0]) * dx
    below = wide[y1, x0] + (wide[y1, x1] - wide[y1, x0]) * dx
    values = above + (below - above) * dy
    values[~inside] = 0.0
    return np.asarray(values, np.uint8)


def _times(colour: U8, alpha: U8) -> U8:
    """colour * alpha / 255, rounded."""
    product = colour.astype(np.int32) * alpha + 128
    return np.asarray((product + (product >> 8)) >> 8, np.uint8)


def _compose(ground: U8, layer: U8) -> None:
    """Lay (rows, W, 4), its colours times its alpha, over opaque pixels in place."""
    alpha = layer[..., 3:].astype(np.int32)
    colour = np.minimum(layer[..., :3].astype(np.int32) * 255 // np.maximum(alpha, 1), 255)
    mixed = colour * alpha + ground * (255 - alpha)
    ground[...] = np.rint(mixed / 255.0).astype(np.uint8)
