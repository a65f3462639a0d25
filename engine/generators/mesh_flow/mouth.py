"""The mouth layer: what shows between the lips.

The source's own inside of the mouth where its mouth stands open enough, moved rigidly at both lips and stretched
only in the dark between; else a drawn one: upper teeth fixed to the skull, lower teeth and tongue fixed to the jaw,
in the light and the colours of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.compiled import compiled
from engine.features.au_basis import LIPS
from engine.generators.mesh_flow.opening import (
    SAMPLES,
    STEPS,
    bilinear,
    box,
    contours,
    frame_between,
    height_at,
    mix,
    onto,
    over,
    place_of,
    ramp,
)
from engine.types import F32, F64, U8, FaceShape

UPPER = np.array((78, *LIPS[0], 308))
LOWER = np.array((78, *LIPS[1], 308))
_ARC_X = np.linspace(-2.6, 2.6, 9)
_LIPS = (0, 17, 37, 267, 84, 314)
_CHEEKS = (50, 280, 205, 425, 117, 346)
_LUMA = np.array([0.299, 0.587, 0.114])
_FLESH = np.array([0.76, 0.4, 0.4])
"""Colour of the tongue for teeth of luma 1."""

TOOTH_EDGES = np.array([0.0, 0.84, 1.46, 2.2, 2.85, 3.5], np.float32)
"""Where one upper tooth ends and the next begins, centimetres from the middle."""


@dataclass(frozen=True, slots=True, eq=False)
class Cavity:
    """The source's mouth.

    frame: see opening. lips: float32 (2, SAMPLES), inner contours over it, pixels. gap: mean middle gap in pixels.
    shows: 0..1, that its teeth are seen. colours: float32 (3, 3): dark, teeth, tongue. skin: float32 (3,), RGB.
    upper_arc, lower_arc: float32 (9, 3), tooth edges in canonical centimetres.
    """

    frame: F32
    lips: F32
    gap: float
    shows: float
    colours: F32
    skin: F32
    upper_arc: F32
    lower_arc: F32


def take(picture: U8, points: F32, shape: FaceShape, white: F32) -> Cavity:
    """The mouth of a face at `points` (478, 3) in a patch; white: the picture's eye white, RGB (3,)."""
    frame = frame_between(points[78, :2], points[308, :2])
    lips = contours(points, UPPER, LOWER, frame)
    gap = max(0.0, float((lips[1] - lips[0])[12:21].mean()))
    upper, lower = _arcs(shape)
    skin = np.median([_around(picture, points[p]) for p in _CHEEKS], axis=0).astype(np.float32)
    colours = _colours(picture, points, skin, white)
    return Cavity(
        frame, lips, gap, _teeth_seen(picture, points, frame, lips, colours[1]), colours, skin, upper, lower
    )


def _arcs(shape: FaceShape) -> tuple[F32, F32]:
    """The biting edges of both rows of teeth in the closed jaw."""
    local = shape.local
    closed = max(float(local[13, 1]), float(local[2, 1]) + 1.75)
    depth = float(local[13, 2]) + 0.35 + 0.14 * _ARC_X**2
    edge = closed + 0.32 - 0.03 * _ARC_X**2
    upper = np.column_stack([_ARC_X, edge, depth])
    lower = np.column_stack([_ARC_X, edge - 0.12, depth + 0.25])
    return upper.astype(np.float32), lower.astype(np.float32)


def _colours(picture: U8, points: F32, skin: F32, white: F32) -> F32:
    """Dark, teeth and tongue as this picture would show them: in its light, and only as colourful as its skin."""
    colourful = min(1.0, float(np.ptp(skin)) / 40.0)
    light = float(skin @ _LUMA)
    level = float(white @ _LUMA)
    level = min(max(level, 0.95 * light), 1.35 * light + 30.0, 228.0)
    teeth = (
        level * (white / max(1.0, float(white @ _LUMA))) * (1.0 + colourful * np.array([0.03, 0.0, -0.09]))
    )
    flesh = teeth * (0.5 + colourful * (_FLESH - 0.5))
    return np.array([0.42 * flesh, teeth, 0.85 * flesh], np.float32)


def _teeth_seen(picture: U8, points: F32, frame: F32, lips: F32, teeth: F32) -> float:
    """How sure it is that the upper half of the source's open mouth is teeth: brighter than the lips, 0..1."""
    axis, luma = frame[2:4], []
    for k in range(SAMPLES // 4, 3 * SAMPLES // 4):
        height = lips[0, k] + 0.35 * (lips[1, k] - lips[0, k])
        place = frame[:2] + STEPS[k] * frame[4] * axis + height * np.array([-axis[1], axis[0]])
        x, y = (min(max(round(float(value)), 0), picture.shape[0] - 1) for value in place)
        luma.append(float(picture[y, x] @ _LUMA))
    skin = float(np.median([_around(picture, points[p]) @ _LUMA for p in _LIPS]))
    brightest = float(teeth @ _LUMA)
    if brightest < skin + 8.0:
        return 0.0
    return min(1.0, max(0.0, ((float(np.median(luma)) - skin) / (brightest - skin) - 0.25) / 0.25))


def _around(picture: U8, point: F32) -> F32:
    x, y = (round(float(v)) for v in point[:2])
    size = picture.shape[0]
    x, y = min(max(x, 2), size - 3), min(max(y, 2), size - 3)
    return np.asarray(picture[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3).mean(0), np.float32)


def plan(points: F32, moved: FaceShape, rest: FaceShape, cavity: Cavity) -> tuple[F32, F32]:
    """This frame's mouth: row (9,) float32 and curves (5, SAMPLES) float32.

    Row: target frame (5), source pixels per target pixel, pixels per centimetre of source and of target, `shows`.
    Curves over the mouth's axis: upper lip, lower lip, upper teeth, lower teeth (pixels down), and the distance from
    the middle of the upper teeth (centimetres).
    """
    frame = frame_between(points[78, :2], points[308, :2])
    table = np.empty((5, SAMPLES), np.float32)
    table[:2] = contours(points, UPPER, LOWER, frame)
    jaw = moved.local[152, 1] - rest.local[152, 1] + 0.6 * cavity.gap / rest.scale
    drop = np.array([0.0, max(0.0, float(jaw)), 0.0])
    _project(table[2:4], table[4], frame, moved, cavity, drop)
    row = np.array([*frame, rest.scale / moved.scale, rest.scale, moved.scale, cavity.shows], np.float32)
    return row, table


def _project(teeth: F32, middle: F32, frame: F32, moved: FaceShape, cavity: Cavity, drop: np.ndarray) -> None:
    for k, arc in enumerate((cavity.upper_arc, cavity.lower_arc + drop)):
        placed = moved.scale * (arc @ moved.rotation.T) + moved.translation
        along, height = over(frame, placed)
        along = np.maximum.accumulate(along)
        teeth[k] = np.interp(STEPS, along, height)
        if k == 0:
            middle[:] = np.interp(STEPS, along, _ARC_X)


@compiled
def draw_mouth(
    out: U8,
    picture: U8,
    source: F32,
    lips: F32,
    colours: F32,
    edges: F32,
    row: F32,
    table: F32,
    feather: float,
) -> None:
    """Draw the inside of the mouth into `out` (S, S, 3). Arguments as in Cavity and `plan`; picture: the patch."""
    down, source_scale, scale, shows = row[5], row[6], row[7], row[8]
    shades = np.empty(3, np.float64)
    first_x, last_x, first_y, last_y = box(row, table, out.shape[0])
    for y in range(first_y, last_y + 1):
        for x in range(first_x, last_x + 1):
            u, v = onto(row, x, y)
            if u <= 0.0 or u >= 1.0:
                continue
            upper = height_at(table, 0, u)
            gap, depth = height_at(table, 1, u) - upper, v - upper
            cover = (
                ramp(depth / feather + 0.5) * ramp((gap - depth) / feather + 0.5) * ramp((gap - 0.6) / 2.0)
            )
            if cover <= 0.0:
                continue
            # The source's own mouth: whole while it is open enough, else what hangs from its upper lip.
            source_upper = height_at(lips, 0, u)
            source_gap = height_at(lips, 1, u) - source_upper
            has = ramp(source_gap / source_scale / 0.2 - 1.0)
            whole = ramp((source_gap / (gap * down) - 0.6) / 0.4)
            t = ramp(depth / gap)
            below = depth * down + whole * (source_gap - gap * down) * t * t * (3.0 - 2.0 * t)
            hanging = ramp((0.95 * source_gap - depth * down) / (0.25 * source_gap + 0.5))
            own = has * (whole + (1.0 - whole) * hanging * shows)
            fx, fy = place_of(source, u, source_upper + below)
            _drawn(shades, colours, edges, table, u, v, depth, gap, scale, 1.0 - has * shows)
            for n in range(3):
                value = shades[n] + own * (bilinear(picture, fx, fy, n) - shades[n])
                mix(out, y, x, n, value, cover)


@compiled
def _drawn(
    shades: F64,
    colours: F32,
    edges: F32,
    table: F32,
    u: float,
    v: float,
    depth: float,
    gap: float,
    scale: float,
    toothed: float,
) -> None:
    """One pixel of the drawn mouth into `shades` (3,). toothed: how much of the upper teeth is drawn at all."""
    biting, jaw, across = height_at(table, 2, u), height_at(table, 3, u), abs(height_at(table, 4, u))
    side, open_cm = abs(2.0 * u - 1.0), gap / scale
    soft = 0.04 * scale + 0.6
    notch = max(0.0, 1.0 - across / 0.12)
    for n in range(1, edges.shape[0]):
        notch = max(notch, 1.0 - abs(across - edges[n]) / 0.12)
    teeth = ramp((biting - 0.07 * scale * notch - v) / soft + 0.5) * toothed
    # The lower lip hides all but the edge of the lower teeth.
    jaw = max(jaw, v - depth + gap - (0.22 - 0.1 * side) * scale)
    lower = ramp((v - jaw) / soft + 0.5) * (1.0 - teeth) * ramp(2.4 - 3.0 * side)
    rise = (gap - depth) / scale - min(0.6 * open_cm, 3.0) * (1.0 - 1.2 * side * side)
    tongue = ramp(2.0 - rise / 1.5) * ramp(open_cm / 0.6 - 0.5)
    corner = (1.0 - 0.7 * side * side * side) * min(1.0, max(0.35, 1.9 - 0.45 * across))
    enamel = corner * (0.62 + 0.38 * min(1.0, depth / (0.22 * scale))) * (1.0 - 0.16 * notch)
    flesh = corner * (0.5 + 0.38 * ramp(depth / gap))
    for n in range(3):
        shade = colours[0, n] + tongue * (flesh * colours[2, n] - colours[0, n])
        shade += lower * (0.62 * corner * colours[1, n] - shade)
        shades[n] = shade + teeth * (enamel * colours[1, n] - shade)
