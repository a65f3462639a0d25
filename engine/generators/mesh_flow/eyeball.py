"""Taking an eye out of the source: its clean white, its whole iris, and the skin that closes over them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engine import canonical
from engine.generators.mesh_flow.fill import push_pull
from engine.generators.mesh_flow.opening import frame_between
from engine.types import F32, U8

CORNERS = np.array([canonical.RIGHT_EYE_CORNERS, canonical.LEFT_EYE_CORNERS])
_OUTLINES = (canonical.RIGHT_EYE, canonical.LEFT_EYE)
_IRISES = (canonical.RIGHT_IRIS, canonical.LEFT_IRIS)
_CHEEKS = ((50, 117, 118, 101), (280, 346, 347, 330))
_LASHES = ((161, 160, 159, 158, 157), (388, 387, 386, 385, 384))
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)

_DISC, _RIM = 1.04, 1.2
"""Iris layer: opaque up to, gone beyond, in iris radii."""

_STEP = 0.1
"""Width of the rings, in iris radii, over which the iris is averaged."""


@dataclass(frozen=True, slots=True, eq=False)
class Eyeball:
    """One eye of a source.

    own: uint8 (H, W, 3), the pixels as they are. white: uint8 (H, W, 3), without iris and shadows. iris: uint8
    (H, W, 4), a full disc. corner: float32 (2,), the patch place of their pixel 0, 0. frame: see opening.
    iris_place: float32 (2,), patch pixels. radius: of the iris, pixels. level: RGB of the white, float32 (3,).
    lash: how dark the line of a closed eye is, 0..1.
    """

    own: U8
    white: U8
    iris: U8
    corner: F32
    frame: F32
    iris_place: F32
    radius: float
    level: F32
    lash: float


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """A cut around an eye. piece: float32 (H, W, 3). seen: (H, W), between the lids; inner: a pixel
    further in. far: (H, W), distance from the iris centre in pixels."""

    piece: F32
    seen: NDArray[np.bool_]
    inner: NDArray[np.bool_]
    far: F32


def take(picture: U8, points: F32, eye: int) -> Eyeball:
    """Take eye 0 (right) or 1 (left) out of a patch, uint8 (S, S, 3), with the face at `points` (478, 3)."""
    outline, edge = points[list(_OUTLINES[eye]), :2], points[list(_IRISES[eye]), :2]
    centre = edge[0]
    frame = frame_between(*points[CORNERS[eye], :2])
    low, high = _bounds(outline, centre, float(frame[4]), picture.shape[0])
    view = _view(picture, outline, centre, low, high)
    radius = _radius(view, max(1.5, float(np.linalg.norm(edge[1:] - centre, axis=1).mean())))
    around = cv2.dilate(view.seen.astype(np.uint8), np.ones((5, 5), np.uint8), iterations=2) > 0
    lids = np.median(view.piece[around & ~view.seen], axis=0)
    cheek = _skin_below(picture, points, eye)
    skin = np.asarray(0.65 * cheek + 0.35 * lids, np.float32)
    level = _level(view, radius, skin)
    white = _white(view, radius, level)
    iris = _iris(view, radius, white)
    return Eyeball(
        np.ascontiguousarray(view.piece.astype(np.uint8)),
        _bytes(white),
        _bytes(iris),
        low.astype(np.float32),
        frame,
        centre.astype(np.float32),
        radius,
        level,
        _lash(picture, points, eye, cheek),
    )


def _bytes(values: F32) -> U8:
    return np.ascontiguousarray(np.rint(np.clip(values, 0, 255)).astype(np.uint8))


def _bounds(outline: F32, centre: F32, width: float, size: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    low = np.floor(np.minimum(outline.min(0), centre) - 0.5 * width - 2).astype(int)
    high = np.ceil(np.maximum(outline.max(0), centre) + 0.5 * width + 3).astype(int)
    low = np.clip(low, 0, size - 8)
    return low, np.clip(high, low + 8, size)


def _view(picture: U8, outline: F32, centre: F32, low: NDArray[np.intp], high: NDArray[np.intp]) -> _View:
    piece = picture[low[1] : high[1], low[0] : high[0]].astype(np.float32)
    rows, columns = np.mgrid[low[1] : high[1], low[0] : high[0]].astype(np.float32)
    seen = np.zeros(piece.shape[:2], np.uint8)
    cv2.fillPoly(seen, [np.rint((outline - low) * 16).astype(np.int32)], 1, shift=4)
    inner = cv2.erode(seen, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    far = np.hypot(columns - centre[0], rows - centre[1]).astype(np.float32)
    return _View(piece, seen > 0, inner > 0, far)


def _radius(view: _View, guess: float) -> float:
    """The iris radius where the picture itself turns bright fastest, near the tracker's guess."""
    luma = view.piece @ _LUMA
    rings = np.arange(0.7, 1.65, 0.1)
    levels = []
    for r in rings:
        on = view.inner & (np.abs(view.far / guess - r) < 0.09)
        levels.append(float(luma[on].mean()) if on.sum() >= 4 else np.nan)
    rise = np.diff(levels)
    if not np.isfinite(rise).any() or np.nanmax(rise) < 6.0:
        return guess
    steep = np.flatnonzero(np.nan_to_num(rise) >= 0.6 * np.nanmax(rise))
    return guess * float(rings[steep[-1]] + 0.05)


def _level(view: _View, radius: float, skin: F32) -> F32:
    """The colour of the white in this picture's light, RGB: what is seen of it beside the iris where that is bright
    enough, else what light the skin (3,) around the eye is in: lids and lashes shade the little that is seen."""
    light = float(skin @ _LUMA)
    tinted = skin / max(1.0, light)
    expected = min(1.15 * light, 235.0) * (1.0 + 0.5 * (tinted - 1.0))
    beside = view.inner & (view.far > _RIM * radius)
    if beside.sum() < 5:
        return np.asarray(np.minimum(expected, 245.0), np.float32)
    pixels = view.piece[beside]
    luma = pixels @ _LUMA
    seen = pixels[luma >= np.percentile(luma, 75)].mean(0)
    bright = float(seen @ _LUMA)
    seen = bright + 0.6 * (seen - bright)
    sure = min(1.0, max(0.0, 4.0 * bright / max(1.0, float(expected @ _LUMA)) - 3.0))
    return np.asarray(np.clip(expected + sure * (seen - expected), 0.0, 245.0), np.float32)


def _skin_below(picture: U8, points: F32, eye: int) -> F32:
    """The median colour of the cheek under an eye, RGB."""
    size, colours = picture.shape[0], []
    for point in _CHEEKS[eye]:
        x, y = (min(max(round(float(value)), 2), size - 3) for value in points[point, :2])
        colours.append(picture[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3).mean(0))
    return np.asarray(np.median(colours, axis=0), np.float32)


def _lash(picture: U8, points: F32, eye: int, skin: F32) -> float:
    """How much darker than skin the edge of the upper lid is, 0.1 .. 0.7."""
    size, darkest = picture.shape[0], []
    for point in _LASHES[eye]:
        x, y = (min(max(round(float(value)), 2), size - 3) for value in points[point, :2])
        darkest.append(float((picture[y - 2 : y + 3, x - 1 : x + 2] @ _LUMA).min()))
    return min(0.7, max(0.1, 1.0 - float(np.median(darkest)) / max(1.0, float(skin @ _LUMA))))


def _white(view: _View, radius: float, level: F32) -> F32:
    """The white as if nothing covered it: what is seen of it where it is bright enough, its level elsewhere."""
    luma = view.piece @ _LUMA
    bright = np.clip(luma / max(1.0, float(level @ _LUMA)) * 4.0 - 2.6, 0.0, 1.0)
    known = np.where(view.inner & (view.far > _RIM * radius), bright, 0.0).astype(np.float32)
    ground = np.where(view.inner, 0.0, 0.02).astype(np.float32)
    plain = np.broadcast_to(level, view.piece.shape).astype(np.float32)
    mixed = known + ground
    colours = (view.piece * known[:, :, None] + plain * ground[:, :, None]) / np.maximum(mixed, 1e-6)[
        :, :, None
    ]
    filled = push_pull(colours, mixed)
    return np.asarray(cv2.GaussianBlur(filled, (0, 0), max(0.6, 0.12 * radius)), np.float32)


def _iris(view: _View, radius: float, white: F32) -> F32:
    """The whole iris, RGBA: what lids and their shadow hide is the mean at the same distance from its centre."""
    luma = view.piece @ _LUMA
    place = view.far / radius / _STEP
    ring = np.minimum(place.astype(np.int32), 12)
    means, known = np.zeros((13, 3), np.float32), []
    for k in range(11):
        on = view.inner & (ring == k)
        if on.sum() >= 2:
            means[k] = np.median(view.piece[on], axis=0)
            known.append(k)
    if not known:
        means[:11] = 0.3 * white.mean((0, 1))
        known = list(range(11))
    for channel in range(3):
        means[:11, channel] = np.interp(np.arange(11), known, means[known, channel])
    low = np.minimum(place.astype(np.int32), 9)
    share = np.clip(place - low, 0.0, 1.0)[:, :, None]
    model = means[low] * (1 - share) + means[low + 1] * share
    trust = (view.inner & (luma > 0.7 * (model @ _LUMA))).astype(np.float32)
    trust = cv2.blur(trust, (3, 3))[:, :, None] * view.inner[:, :, None]
    colour = model + trust * (view.piece - model)
    outside = np.clip((view.far / radius - 1.0) / (_DISC - 1.0 + 0.06), 0.0, 1.0)[:, :, None]
    colour = colour + outside * (white - colour)
    alpha = np.clip((_RIM - view.far / radius) / (_RIM - _DISC), 0.0, 1.0)
    return np.dstack([colour, 255.0 * alpha]).astype(np.float32)


def cover_with_skin(picture: U8, points: F32) -> U8:
    """The patch with both eyes filled in from the lids around them, so that a closed eye shows skin and lashes.

    picture: uint8 (S, S, C), the first three channels are filled. points: (478, 3). Returns a new array.
    """
    out = picture.copy()
    for eye in range(2):
        outline = points[list(_OUTLINES[eye]), :2]
        width = float(frame_between(*points[CORNERS[eye], :2])[4])
        low, high = _bounds(outline, outline.mean(0), width, picture.shape[0])
        cut = np.s_[low[1] : high[1], low[0] : high[0]]
        hidden = np.zeros(picture[cut].shape[:2], np.uint8)
        cv2.fillPoly(hidden, [np.rint((outline - low) * 16).astype(np.int32)], 1, shift=4)
        filled = push_pull(picture[cut][:, :, :3].astype(np.float32), (1.0 - hidden).astype(np.float32))
        out[cut][:, :, :3] = np.where(
            hidden[:, :, None] > 0, np.rint(filled).astype(np.uint8), picture[cut][:, :, :3]
        )
    return out
