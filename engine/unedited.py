"""Whether an edit left a face as it was: though it was asked for what has to be seen, or as its mask misses it."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.types import U8, Face

ROUNDING: Final = 1
"""Levels by which a pixel may differ and still be the same."""

_AROUND: Final = 0.2  # of the face's box, on each side: brows rise
_LEAST_SEEN: Final = 0.5
_MOST_HIDDEN: Final = 0.25
_LEAST_COVERED: Final = 0.1


def misses_face(inside: NDArray[np.bool_], hidden: NDArray[np.bool_] | None) -> bool:
    """Whether a mask in a face's square (P, P) leaves its middle, where the face is, as the driver's frame has it.

    inside: what is to be pasted. hidden: where something stands in front of the face; a middle of which a quarter is
    hidden is not judged.
    """
    edge = len(inside) // 4
    middle = slice(edge, len(inside) - edge)
    if (
        hidden is not None
        and np.count_nonzero(hidden[middle, middle]) > _MOST_HIDDEN * (len(inside) - 2 * edge) ** 2
    ):
        return False
    return bool(np.mean(inside[middle, middle]) < _LEAST_COVERED)


def left_as_it_was(picture: U8, frame: U8, face: Face, hidden: U8 | None) -> bool:
    """Whether no pixel of the face differs from the driver's frame by more than rounding.

    picture, frame: uint8 (H, W, 3). hidden: uint8 (H, W), 255 where something stands in front of the face. A face
    that is half out of the picture, or of which a quarter is hidden, is not judged: what is left of it may well stay.
    """
    x0, y0, x1, y1 = (float(edge) for edge in face.box)
    wide, high = x1 - x0, y1 - y0
    left, right = x0 - _AROUND * wide, x1 + _AROUND * wide
    top, bottom = y0 - _AROUND * high, y1 + _AROUND * high
    columns = slice(max(0, round(left)), min(frame.shape[1], round(right)))
    rows = slice(max(0, round(top)), min(frame.shape[0], round(bottom)))
    there = frame[rows, columns]
    if there.shape[0] * there.shape[1] < _LEAST_SEEN * (right - left) * (bottom - top):
        return False
    if hidden is not None and np.count_nonzero(hidden[rows, columns]) > _MOST_HIDDEN * there[..., 0].size:
        return False
    return not there.size or int(cv2.absdiff(picture[rows, columns], there).max()) <= ROUNDING
