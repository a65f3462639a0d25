"""Parsing masks for people: as colours, and back from colours."""

from __future__ import annotations

import cv2
import numpy as np

from engine.errors import InputError
from engine.parsing.classes import CELEBAMASK, ClassTable
from engine.types import U8


def paint(labels: U8, rgb: U8 | None = None, opacity: float = 0.6, table: ClassTable = CELEBAMASK) -> U8:
    """The labels (H, W) of a table in the colours of its palette, uint8 (H, W, 3).

    rgb: a picture, uint8 (H, W, 3), to lay it over. opacity: 0..1, of the colours over that picture.
    """
    colours: U8 = table.palette[labels]
    if rgb is None:
        return colours
    mixed = cv2.addWeighted(colours, opacity, rgb, 1.0 - opacity, 0.0)
    return mixed.astype(np.uint8, copy=False)


def unpaint(colours: U8, table: ClassTable = CELEBAMASK) -> U8:
    """The labels (H, W) of a picture in exactly the palette's colours, uint8 (H, W, 3).

    Raises InputError for any other colour: a resized or lossy picture of a mask is none any more.
    """
    if colours.dtype != np.uint8 or colours.ndim != 3 or colours.shape[2] != 3:
        raise InputError(f"parsing: got {colours.dtype} {colours.shape}, expected uint8 (H, W, 3) in colours")
    weights = np.array([1 << 16, 1 << 8, 1], np.int32)
    codes = colours.astype(np.int32) @ weights
    known = table.palette.astype(np.int32) @ weights
    order = np.argsort(known)
    place = np.searchsorted(known[order], codes).clip(0, len(known) - 1)
    labels: U8 = order[place].astype(np.uint8)
    wrong = known[labels] != codes
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        seen = tuple(int(value) for value in colours[row, column])
        raise InputError(
            f"parsing: the colour {seen} at ({column}, {row}) is none of {table.name}'s; use the labels, or a lossless "
            "picture of their size"
        )
    return labels
