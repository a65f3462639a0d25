"""The eye layer: a round eyeball that lids slide over, drawn anew in every frame."""

from __future__ import annotations

import numpy as np

from engine.features.au_basis import LIDS_LEFT, LIDS_RIGHT
from engine.compiled import compiled
from engine.generators.mesh_flow.eyeball import CORNERS, Eyeball
from engine.generators.mesh_flow.opening import SAMPLES, box, contours, frame_between
from engine.types import F32, U8

# Lid contours from the corner further left in the picture to the other, both corners included.
UPPER = np.array([(33, *LIDS_RIGHT[0], 133), (362, *LIDS_LEFT[0][::-1], 263)])
LOWER = np.array([(33, *LIDS_RIGHT[1], 133), (362, *LIDS_LEFT[1][::-1], 263)])


def plan(
    points: F32, irises: F32, growth: float, rest: F32, eyes: tuple[Eyeball, Eyeball]
) -> tuple[F32, F32]:
    """What the kernel needs for this frame: rows (2, 9) and lid heights (2, 2, SAMPLES), float32.

    points: (478, 3) target places. irises: (2, 2). growth: the face's scale, target over source. rest: the lid heights
    of the source, as returned here for its own points. A row holds the eye's target frame (5), source pixels per
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
    """Draw one eyeball into `out` (S, S, 3) between its lids. Arguments as in Eyeball and `plan`."""
    size, samples = out.shape[0], lids.shape[1]
    x0, y0, ax, ay, width = row[0], row[1], row[2], row[3], row[4]
    down, shift_x, shift_y, still = row[5], row[6], row[7], row[8]
    shade = 0.06 * width
    first_x, last_x, first_y, last_y = box(row, lids, size)
    for y in range(first_y, last_y + 1):
        for x in range(first_x, last_x + 1):
            dx, dy = x - x0, y - y0
            u = (dx * ax + dy * ay) / width
            if u <= 0.0 or u >= 1.0:
                continue
            v = dy * ax - dx * ay
            place = u * (samples - 1)
            i = min(int(place), samples - 2)
            share = place - i
            depth = v - lids[0, i] - share * (lids[0, i + 1] - lids[0, i])
            height = lids[1, i] + share * (lids[1, i + 1] - lids[1, i]) - v
            if depth <= -0.5 * feather or height <= -0.5 * feather:
                continue
            cover = min(1.0, depth / feather + 0.5) * min(1.0, height / feather + 0.5)
            cover *= min(1.0, max(0.0, (depth + height) / 1.5))
            fx = source[0] + u * source[4] * source[2] - v * down * source[3] - corner[0]
            fy = source[1] + u * source[4] * source[3] + v * down * source[2] - corner[1]
            # Lashes and lid throw a shadow that travels with the lid.
            lit = (1.0 - 0.5 * np.exp(-max(0.0, depth) / shade)) * (
                1.0 - 0.2 * np.exp(-max(0.0, height) / shade)
            )
            blend_eye(out, y, x, own, white, iris, fx, fy, shift_x, shift_y, cover, lit, still)


@compiled
def blend_eye(
    out: U8,
    y: int,
    x: int,
    own: U8,
    white: U8,
    iris: U8,
    fx: float,
    fy: float,
    shift_x: float,
    shift_y: float,
    cover: float,
    lit: float,
    still: float,
) -> None:
    """Mix one pixel of the eyeball, read at source place (fx, fy), into `out`."""
    height, width = white.shape[0], white.shape[1]
    fx, fy = min(max(fx, 0.0), width - 1.001), min(max(fy, 0.0), height - 1.001)
    i, j = int(fy), int(fx)
    a, b = fy - i, fx - j
    gx, gy = min(max(fx - shift_x, 0.0), width - 1.001), min(max(fy - shift_y, 0.0), height - 1.001)
    k, m = int(gy), int(gx)
    c, d = gy - k, gx - m
    over = (
        (1 - c) * ((1 - d) * iris[k, m, 3] + d * iris[k, m + 1, 3])
        + c * ((1 - d) * iris[k + 1, m, 3] + d * iris[k + 1, m + 1, 3])
    ) / 255.0
    for n in range(3):
        ground = (1 - a) * ((1 - b) * white[i, j, n] + b * white[i, j + 1, n]) + a * (
            (1 - b) * white[i + 1, j, n] + b * white[i + 1, j + 1, n]
        )
        top = (1 - c) * ((1 - d) * iris[k, m, n] + d * iris[k, m + 1, n]) + c * (
            (1 - d) * iris[k + 1, m, n] + d * iris[k + 1, m + 1, n]
        )
        asis = (1 - a) * ((1 - b) * own[i, j, n] + b * own[i, j + 1, n]) + a * (
            (1 - b) * own[i + 1, j, n] + b * own[i + 1, j + 1, n]
        )
        value = lit * (ground + over * (top - ground))
        value += still * (asis - value)
        out[y, x, n] = np.uint8(out[y, x, n] + cover * (value - out[y, x, n]) + 0.5)
