"""From the network's colour and attention to pixels of the frame.

With I the frame, L what the network saw of it (S x S pixels), C its colour and A its attention, both brought to the
frame's resolution, the frame becomes A * I + (1 - A) * C', where

    C' = C + g * (I - L)

gives the painted skin back the grain that S pixels cannot hold: g is 1 where the colour is about what was there (C near
L), and 0 where something else was painted, whose grain nobody knows. At S pixels C' is C: it is the network's picture.
"""

from __future__ import annotations

import numpy as np

from engine.compiled import compiled
from engine.generators.square import LEAST, all_between, placed, within
from engine.types import F32, F64, U8

PLANES = 8
"""Of the maps: mask, grain, colour and what was seen."""

SAME, OTHER = 10.0, 40.0
"""Levels by which the colour differs from what was there: up to the first all grain is kept, from the second none."""


@compiled
def plan(colour: F32, attention: F32, seen: U8, edge: F32, hidden: U8, covered: bool, maps: F32) -> None:
    """The network's answer as maps (S, S, PLANES), in 0..1 and levels.

    colour: (3, S, S), -1..1. attention: (S, S), 0..1. seen: uint8 (S, S, 3), the network's input. edge: weights (S, S)
    of the mask. hidden: uint8 (S, S), 255 where something stands in front of the face; it is read only if `covered`.
    """
    for y in range(maps.shape[0]):
        for x in range(maps.shape[1]):
            most = 0.0
            for c in range(3):
                level = min(255.0, max(0.0, 127.5 * colour[c, y, x] + 127.5))
                maps[y, x, 2 + c] = level
                maps[y, x, 5 + c] = seen[y, x, c]
                most = max(most, abs(level - seen[y, x, c]))
            weight = (1.0 - attention[y, x]) * edge[y, x]
            if covered:
                weight *= 1.0 - hidden[y, x] / 255.0
            maps[y, x, 0] = weight
            share = min(1.0, max(0.0, (OTHER - most) / (OTHER - SAME)))
            maps[y, x, 1] = share * share * (3.0 - 2.0 * share)


@compiled
def paint(maps: F32, frame: U8, to_square: F64, left: int, top: int, rgb: U8, mask: U8) -> None:
    """The maps into rgb (P, P, 3) and mask (P, P), 255 = painted, which begin at (left, top) of the frame (H, W, 3).

    to_square: (2, 3), frame pixels to those of the maps.
    """
    size = maps.shape[0]
    here = np.empty(PLANES, np.float32)
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            row, column = top + y, left + x
            u, v = placed(to_square, column, row)
            here[0] = 0.0
            if row < frame.shape[0] and column < frame.shape[1] and within(u, v, size):
                all_between(maps, u, v, here)
            if here[0] < LEAST:
                mask[y, x] = 0
                rgb[y, x, 0] = rgb[y, x, 1] = rgb[y, x, 2] = 0
                continue
            for c in range(3):
                level = here[2 + c] + here[1] * (frame[row, column, c] - here[5 + c])
                rgb[y, x, c] = np.uint8(min(255.0, max(0.0, level)) + 0.5)
            mask[y, x] = np.uint8(min(255.0, 255.0 * here[0] + 0.5))


def warm_up() -> None:
    """Compile before the first frame, for pictures that may be written to and for those that may not."""
    plane, maps = np.zeros((2, 2), np.float32), np.ones((2, 2, PLANES), np.float32)
    picture, mask = np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.uint8)
    shared = picture.copy()
    shared.setflags(write=False)
    for frame in (picture, shared):
        plan(np.zeros((3, 2, 2), np.float32), plane, frame, plane, mask, False, maps)
        paint(maps, frame, np.eye(2, 3), 0, 0, picture.copy(), mask)
