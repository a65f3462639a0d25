"""The eye layer: a round eyeball that lids slide over.

From the source two pictures per eye are made: the white without its iris, filled in behind the lids, and the iris,
completed to a full disc. Each frame lays the iris on the white where the gaze wants it, inside the opening between
the target's lids.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from engine import canonical
from engine.features.au_basis import LIDS_LEFT, LIDS_RIGHT
from engine.compiled import compiled
from engine.generators.mesh_flow.fill import push_pull
from engine.generators.mesh_flow.opening import SAMPLES, box, contours, frame_between
from engine.types import F32, U8

CORNERS = np.array([canonical.RIGHT_EYE_CORNERS, canonical.LEFT_EYE_CORNERS])
# Lid contours from the corner further left in the picture to the other, both corners included.
UPPER = np.array([(33, *LIDS_RIGHT[0], 133), (362, *LIDS_LEFT[0][::-1], 263)])
LOWER = np.array([(33, *LIDS_RIGHT[1], 133), (362, *LIDS_LEFT[1][::-1], 263)])
_OUTLINES = (canonical.RIGHT_EYE, canonical.LEFT_EYE)
_IRISES = (canonical.RIGHT_IRIS, canonical.LEFT_IRIS)

_DISC, _RIM = 1.15, 1.4
"""Iris layer: opaque up to, gone beyond, in iris radii."""


@dataclass(frozen=True, slots=True, eq=False)
class Eyeball:
    """One eye of a source. white: uint8 (H, W, 3). iris: uint8 (H, W, 4). corner: float32 (2,), the patch place of
    their pixel 0, 0. frame: float32 (5,): patch place of the left corner, unit axis towards the right one, width.
    iris_place: float32 (2,) patch pixels. radius: iris radius in pixels."""

    white: U8
    iris: U8
    corner: F32
    frame: F32
    iris_place: F32
    radius: float


def take(picture: U8, points: F32, eye: int) -> Eyeball:
    """Take eye 0 (right) or 1 (left) out of a patch, uint8 (S, S, 3), with the face at `points` (478, 3)."""
    outline, iris = points[list(_OUTLINES[eye]), :2], points[list(_IRISES[eye]), :2]
    centre, radius = iris[0], max(1.5, float(np.linalg.norm(iris[1:] - iris[0], axis=1).mean()))
    frame = frame_between(*points[CORNERS[eye], :2])
    low = np.floor(np.minimum(outline.min(0), centre) - 0.5 * frame[4] - 2).astype(int)
    high = np.ceil(np.maximum(outline.max(0), centre) + 0.5 * frame[4] + 3).astype(int)
    low, high = np.maximum(low, 0), np.minimum(high, picture.shape[0])
    piece = picture[low[1] : high[1], low[0] : high[0]].astype(np.float32)
    rows, columns = np.mgrid[low[1] : high[1], low[0] : high[0]].astype(np.float32)
    distance = np.hypot(columns - centre[0], rows - centre[1]) / radius
    seen = np.zeros(piece.shape[:2], np.uint8)
    cv2.fillPoly(seen, [np.rint((outline - low) * 16).astype(np.int32)], 1, shift=4)
    white = _white(piece, seen, distance)
    disc = _disc(piece, seen, distance, white)
    alpha = np.clip((_RIM - distance) / (_RIM - _DISC), 0.0, 1.0)
    layer = np.dstack([disc, 255.0 * alpha])
    return Eyeball(
        np.rint(np.clip(white, 0, 255)).astype(np.uint8),
        np.rint(np.clip(layer, 0, 255)).astype(np.uint8),
        low.astype(np.float32),
        frame,
        centre.astype(np.float32),
        radius,
    )


def _white(piece: F32, seen: U8, distance: F32) -> F32:
    """The eye without its iris, filled in behind iris and lids."""
    inner = cv2.erode(seen, np.ones((3, 3), np.uint8), borderValue=0)
    known = ((inner > 0) & (distance > _RIM)).astype(np.float32)
    if known.sum() < 6:
        known = ((seen > 0) & (distance > _DISC)).astype(np.float32)
    if known.sum() < 4:
        bright = piece[seen > 0] if seen.any() else piece.reshape(-1, 3)
        guess = np.percentile(bright, 85, axis=0)
        filled = np.broadcast_to(guess, piece.shape).astype(np.float32)
    else:
        filled = push_pull(piece, known)
    keep = ((seen > 0) & (distance > _DISC))[:, :, None]
    return np.where(keep, piece, filled).astype(np.float32)


def _disc(piece: F32, seen: U8, distance: F32, white: F32) -> F32:
    """The whole iris: what the lids hide is the mean of what is seen at the same distance from its centre."""
    ring = np.minimum((distance * 8).astype(np.int32), 11)
    visible = seen > 0
    means = np.zeros((12, 3), np.float32)
    known = [k for k in range(12) if (visible & (ring == k)).sum() >= 3]
    if not known:
        means[:] = 0.35 * white.mean((0, 1))
    else:
        values = np.array([piece[visible & (ring == k)].mean(0) for k in known])
        for channel in range(3):
            means[:, channel] = np.interp(np.arange(12), known, values[:, channel])
    place = np.clip(distance * 8 - 0.5, 0, 11)
    low = place.astype(np.int32)
    share = (place - low)[:, :, None]
    hidden = means[low] * (1 - share) + means[np.minimum(low + 1, 11)] * share
    hidden = np.where((distance > 1.1)[:, :, None], white, hidden)
    return np.where(visible[:, :, None], piece, hidden).astype(np.float32)


def plan(points: F32, irises: F32, scale: float, eyes: tuple[Eyeball, Eyeball]) -> tuple[F32, F32]:
    """What the kernel needs for this frame: frames (2, 9) float32 and lid curves (2, 2, SAMPLES) float32.

    points: (478, 3) target places. irises: (2, 2). scale: the face's growth from source to target. A row is
    the eye's target frame (5), how many source pixels one target pixel down is, the iris shift in source pixels (2),
    and the growth of the opening.
    """
    rows, lids = np.empty((2, 9), np.float32), np.empty((2, 2, SAMPLES), np.float32)
    for k, eye in enumerate(eyes):
        frame = frame_between(*points[CORNERS[k], :2])
        lids[k] = contours(points, UPPER[k], LOWER[k], frame)
        down = 1.0 / scale
        offset = irises[k] - frame[:2]
        u = float(offset @ frame[2:4]) / frame[4] * eye.frame[4]
        v = float(offset[1] * frame[2] - offset[0] * frame[3]) * down
        axis = eye.frame[2:4]
        wanted = eye.frame[:2] + u * axis + v * np.array([-axis[1], axis[0]])
        rows[k, :5], rows[k, 5], rows[k, 6:8] = frame, down, wanted - eye.iris_place
        rows[k, 8] = 0.0
    return rows, lids


@compiled
def draw_eye(
    out: U8, white: U8, iris: U8, corner: F32, source: F32, row: F32, lids: F32, feather: float
) -> None:
    """Draw one eyeball into `out` (S, S, 3) between its lids. Arguments as in Eyeball and `plan`."""
    size = out.shape[0]
    samples = lids.shape[1]
    x0, y0, ax, ay, width = row[0], row[1], row[2], row[3], row[4]
    down, shift_x, shift_y = row[5], row[6], row[7]
    sx0, sy0, sax, say, source_width = source[0], source[1], source[2], source[3], source[4]
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
            upper = lids[0, i] + share * (lids[0, i + 1] - lids[0, i])
            lower = lids[1, i] + share * (lids[1, i + 1] - lids[1, i])
            cover = min(1.0, (v - upper) / feather + 0.5) * min(1.0, (lower - v) / feather + 0.5)
            if v - upper <= -0.5 * feather or lower - v <= -0.5 * feather:
                continue
            fx = sx0 + u * source_width * sax - v * down * say - corner[0]
            fy = sy0 + u * source_width * say + v * down * sax - corner[1]
            blend(out, y, x, white, iris, fx, fy, shift_x, shift_y, cover)


@compiled
def blend(
    out: U8,
    y: int,
    x: int,
    white: U8,
    iris: U8,
    fx: float,
    fy: float,
    shift_x: float,
    shift_y: float,
    cover: float,
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
        value = ground + over * (top - ground)
        out[y, x, n] = np.uint8(out[y, x, n] + cover * (value - out[y, x, n]) + 0.5)
