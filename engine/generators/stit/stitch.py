"""What of a synthesised crop is pasted: the foreground grown, softened at its edge, and held still over time."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from engine.align.cutting import feathered
from engine.align.masks import OUTER, dilated
from engine.parsing.classes import CELEBAMASK, ClassTable, Parsing
from engine.parsing.draw import draw_parsing
from engine.smooth import MaskSmoother
from engine.types import F32, U8

NOT_EDITED: Final = ("background", "cloth", "hat")
"""Parts that stay the frame's, by name."""
SIDE: Final = 512
"""Pixels of a mask's side, at most; distances are stated for it."""


def foreground_of(labels: U8, table: ClassTable) -> U8:
    """255 where a label map (H, W) shows what is edited, 0 elsewhere."""
    lut = np.full(256, 255, np.uint8)
    lut[list(table.numbers(NOT_EDITED))] = 0
    return np.asarray(cv2.LUT(labels, lut), np.uint8)


def foreground_in(parsing: Parsing) -> U8:
    """Likewise of a frame's labels, whatever their table."""
    return foreground_of(parsing.labels, parsing.table)


def drawn_foreground(points: F32, side: int, person: U8 | None) -> U8:
    """Likewise drawn from tracked points (478, 3) in pixels of the mask, and a person mask (side, side)."""
    return foreground_of(draw_parsing(points, (side, side), person), CELEBAMASK)


class Seam:
    """One face's mask from frame to frame, in the crop, which moves with the face. `reset` for another face."""

    def __init__(self) -> None:
        self._steady = MaskSmoother()

    def reset(self) -> None:
        """Forget the past."""
        self._steady.reset()

    def mask(self, foreground: U8, time_s: float) -> U8:
        """uint8 (P, P), 255 = pasted. foreground: uint8 (P, P), 255 inside.

        It is 255 on the foreground and falls to 0 within what the paper's tuning calls the border: OUTER pixels of 512
        around it. Along the edge of the crop it is 0.
        """
        steady = np.asarray(self._steady.smooth(foreground, time_s) >= 128, np.uint8)
        reach = max(1, round(OUTER * len(foreground) / SIDE))
        mask = feathered(255 * dilated(steady, reach), max(1, reach // 2))
        mask[0], mask[-1], mask[:, 0], mask[:, -1] = 0, 0, 0, 0
        return mask
