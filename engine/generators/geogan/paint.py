"""From flow, mask and residual to pixels of the frame, each resampled once."""

from __future__ import annotations

import numpy as np

from engine.compiled import compiled
from engine.generators.square import LEAST, between, placed, within
from engine.types import F32, F64, U8


@compiled
def lay(
    maps: F32,
    weight: F32,
    donor: U8,
    factors: F32,
    to_square: F64,
    left: int,
    top: int,
    first: bool,
    rgb: U8,
    mask: U8,
) -> None:
    """A donor over what is in rgb (P, P, 3) and mask (P, P), 255 = generated; in place of it if `first`.

    maps: (6, S, S), flow x and y (grid units: 2 / (S - 1) a pixel), mask, residual r, g, b in -2..2, bilinear between
    their pixels. weight: (S, S), by which the mask is multiplied. donor: (D, D, 3), its own square. factors: (3,), of
    what is laid. to_square: (2, 3), frame pixels to those of the maps; the patch begins at (left, top) of the frame.
    """
    small = maps.shape[1]
    grown = donor.shape[0] / small
    reach = 0.5 * (small - 1)  # pixels of the maps per grid unit
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            u, v = placed(to_square, left + x, top + y)
            share = 0.0
            if within(u, v, small):
                share = between(maps[2], u, v) * between(weight, u, v)
            if share < LEAST:
                if first:
                    mask[y, x] = 0
                    rgb[y, x, 0] = rgb[y, x, 1] = rgb[y, x, 2] = 0
                continue
            there_x = (u + reach * between(maps[0], u, v) + 0.5) * grown - 0.5
            there_y = (v + reach * between(maps[1], u, v) + 0.5) * grown - 0.5
            old = 0.0 if first else mask[y, x] / 255.0 * (1.0 - share)
            total = share + old
            for c in range(3):
                value = between(donor[:, :, c], there_x, there_y) + 127.5 * between(maps[3 + c], u, v)
                value = min(255.0, max(0.0, factors[c] * value))
                rgb[y, x, c] = np.uint8((share * value + old * rgb[y, x, c]) / total + 0.5)
            mask[y, x] = np.uint8(min(255.0, 255.0 * total + 0.5))


@compiled
def lift(change: F32, weight: F32, frame: U8, to_square: F64, left: int, top: int, rgb: U8, mask: U8) -> None:
    """The frame (H, W, 3) from (left, top) on, changed by `change` (3, S, S) in -2..2, into rgb (P, P, 3), and `weight`
    (S, S) into mask (P, P); bilinear between their pixels. to_square: as for `lay`."""
    small = weight.shape[0]
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            row, column = top + y, left + x
            u, v = placed(to_square, column, row)
            share = 0.0
            if 0 <= row < frame.shape[0] and 0 <= column < frame.shape[1] and within(u, v, small):
                share = between(weight, u, v)
            if share < LEAST:
                mask[y, x] = 0
                rgb[y, x, 0] = rgb[y, x, 1] = rgb[y, x, 2] = 0
                continue
            for c in range(3):
                value = float(frame[row, column, c]) + 127.5 * between(change[c], u, v)
                rgb[y, x, c] = np.uint8(min(255.0, max(0.0, value)) + 0.5)
            mask[y, x] = np.uint8(min(255.0, 255.0 * share + 0.5))


def warm_up() -> None:
    """Compile before the first frame, for pictures that may be written to and for those that may not."""
    planes, weight = np.ones((6, 2, 2), np.float32), np.ones((2, 2), np.float32)
    picture, mask, place = np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.uint8), np.eye(2, 3)
    shared = picture.copy()
    shared.setflags(write=False)
    for first in (True, False):
        lay(planes, weight, picture, np.ones(3, np.float32), place, 0, 0, first, picture.copy(), mask)
    for frame in (picture, shared):
        lift(planes[:3], weight, frame, place, 0, 0, picture.copy(), mask)
