"""The eye layer: a round eyeball that lids slide over, drawn anew in every frame."""

from __future__ import annotations

import numpy as np

from engine.compiled import compiled
from engine.features.au_basis import LIDS_LEFT, LIDS_RIGHT
from engine.generators.mesh_flow.eyeball import CORNERS, Eyeball
from engine.generators.mesh_flow.opening import (
    SAMPLES,
    bilinear,
    box,
    contours,
    frame_between,
    height_at,
    mix,
    onto,
    place_of,
    ramp,
)
from engine.types import F32, U8

# Lid contours from the corner further left in the picture to the other, both corners included.
UPPER = np.array([(33, *LIDS_RIGHT[0], 133), (362, *LIDS_LEFT[0][::-1], 263)])
LOWER = np.array([(33, *LIDS_RIGHT[1], 133), (362, *LIDS_LEFT[1][::-1], 263)])

_SHUT = 0.015
"""Lid gap in eye widths up to which the tracker calls a shut eye open; from twice that on the eyeball is whole."""


def plan(
    points: F32, irises: F32, growth: float, rest: F32, eyes: tuple[Eyeball, Eyeball]
) -> tuple[F32, F32]:
    """What the kernel needs for this frame: rows (2, 9) and lid heights (2, 2, SAMPLES), float32.

    points: (478, 3) target places. irises: (2, 2). growth: the face's scale, target over source. rest: the source's
    lid_heights. A row holds the eye's target frame (5), source pixels per
    target pixel downwards, the iris shift in source pixels (2), and how far the eye is as in the source (0..1).
    """
    rows, lids = np.empty((2, 9), np.float32), np.empty((2, 2, SAMPLES), np.float32)
    for k, eye in enumerate(eyes):
        frame = frame_between(*points[CORNERS[k], :2])
        lids[k] = contours(points, UPPER[k], LOWER[k], frame)
        shift = _onto(eye.frame, frame, 1.0 / growth, irises[k]) - eye.iris_place
        stirred = float(np.hypot(shift[0], shift[1])) / (0.3 * eye.radius)
        opened = float(np.abs(lids[k] / growth - rest[k]).max()) / (0.35 * eye.radius)
        rows[k, :5], rows[k, 5], rows[k, 6:8] = frame, 1.0 / growth, shift
        rows[k, 8] = max(0.0, 1.0 - max(stirred, opened))
    return rows, lids


def lid_heights(points: F32) -> F32:
    """The lid contours of a face at `points` (478, 3): float32 (2, 2, SAMPLES), eye and lid first."""
    frames = [frame_between(*points[corners, :2]) for corners in CORNERS]
    return np.stack([contours(points, UPPER[k], LOWER[k], frames[k]) for k in range(2)])


def _onto(source: F32, target: F32, down: float, place: F32) -> F32:
    """A target place (2,) in the source's eye: widths correspond to widths, heights keep their scale."""
    offset = place - target[:2]
    along = float(offset @ target[2:4]) / float(target[4]) * float(source[4])
    height = float(offset[1] * target[2] - offset[0] * target[3]) * down
    axis = source[2:4]
    return np.asarray(source[:2] + along * axis + height * np.array([-axis[1], axis[0]], np.float32))


@compiled
def draw_eye(
    out: U8, own: U8, white: U8, iris: U8, corner: F32, source: F32, row: F32, lids: F32, feather: float
) -> None:
    """Draw one eyeball into `out` (S, S, 3) between its lids.

    Arguments as in Eyeball and `plan`; source: float32 (8,), the source eye's frame, iris place and radius.
    """
    down, width = row[5], row[4]
    shade = 0.07 * width
    first_x, last_x, first_y, last_y = box(row, lids, out.shape[0])
    for y in range(first_y, last_y + 1):
        for x in range(first_x, last_x + 1):
            u, v = onto(row, x, y)
            if u <= 0.0 or u >= 1.0:
                continue
            depth = v - height_at(lids, 0, u)
            height = height_at(lids, 1, u) - v
            cover = ramp(depth / feather + 0.5) * ramp(height / feather + 0.5)
            cover *= ramp(((depth + height) / width - _SHUT) / _SHUT)
            if cover <= 0.0:
                continue
            fx, fy = place_of(source, u, v * down)
            # Lashes and lid throw a shadow that travels with the lid.
            lit = (1.0 - 0.55 * np.exp(-max(0.0, depth) / shade)) * (
                1.0 - 0.2 * np.exp(-max(0.0, height) / shade)
            )
            _mix_eye(out, y, x, own, white, iris, corner, source, row, fx, fy, lit, cover)


@compiled
def _mix_eye(
    out: U8,
    y: int,
    x: int,
    own: U8,
    white: U8,
    iris: U8,
    corner: F32,
    source: F32,
    row: F32,
    fx: float,
    fy: float,
    lit: float,
    cover: float,
) -> None:
    """Mix one pixel of the eyeball, read at source place (fx, fy), into `out`."""
    shift_x, shift_y, still = row[6], row[7], row[8]
    # Where little moves, the source's eye as it is: its iris moves along, and the white around it gives way.
    far = np.hypot(fx - source[5] - shift_x, fy - source[6] - shift_y) / source[7]
    along = ramp(1.9 - 0.8 * far)
    fx, fy = fx - corner[0], fy - corner[1]
    over = bilinear(iris, fx - shift_x, fy - shift_y, 3) / 255.0
    for n in range(3):
        ground = bilinear(white, fx, fy, n)
        top = bilinear(iris, fx - shift_x, fy - shift_y, n)
        value = lit * (ground + over * (top - ground))
        value += still * (bilinear(own, fx - along * shift_x, fy - along * shift_y, n) - value)
        mix(out, y, x, n, value, cover)


@compiled
def draw_lashes(out: U8, row: F32, lids: F32, lash: float) -> None:
    """Darken the line where the lids of a closing eye meet. lash: how much, 0..1."""
    size, width = out.shape[0], row[4]
    thick = 0.022 * width + 0.4
    reach = 3.0 * thick
    highest, lowest = lids[0].min() - reach, lids[1].max() + reach
    left, right = row[0] + min(0.0, width * row[2]), row[0] + max(0.0, width * row[2])
    top, bottom = row[1] + min(0.0, width * row[3]), row[1] + max(0.0, width * row[3])
    side = max(abs(highest), abs(lowest)) * abs(row[3])
    for y in range(max(0, int(top + highest)), min(size - 1, int(bottom + lowest) + 1) + 1):
        for x in range(max(0, int(left - side)), min(size - 1, int(right + side) + 1) + 1):
            u, v = onto(row, x, y)
            if u <= 0.0 or u >= 1.0:
                continue
            upper, lower = height_at(lids, 0, u), height_at(lids, 1, u)
            shut = ramp((3.0 * _SHUT - (lower - upper) / width) / _SHUT)
            if shut <= 0.0:
                continue
            off = (v - 0.5 * (upper + lower)) / thick
            dark = lash * shut * min(1.0, 6.0 * min(u, 1.0 - u)) * np.exp(-off * off)
            for n in range(3):
                mix(out, y, x, n, 0.0, dark)
