"""Sample pictures, side by side in one PNG."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

GAP = 2
"""Pixels between two pictures."""


def grid(pictures: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """uint8 (rows, columns, H, W, 3) as one picture (rows * (H + GAP) - GAP, ...), the gaps white.

    Raises ValueError for another shape or dtype.
    """
    if pictures.dtype != np.uint8 or pictures.ndim != 5 or pictures.shape[4] != 3 or 0 in pictures.shape:
        raise ValueError(
            f"sample pictures: got {pictures.dtype} {pictures.shape}, expected uint8 (rows, columns, H, W, 3)"
        )
    rows, columns, height, width, _ = pictures.shape
    shape = (rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3)
    sheet = np.full(shape, 255, np.uint8)
    for row in range(rows):
        for column in range(columns):
            top, left = row * (height + GAP), column * (width + GAP)
            sheet[top : top + height, left : left + width] = pictures[row, column]
    return sheet


def write_grid(path: Path, pictures: npt.NDArray[np.uint8]) -> None:
    """The grid as a PNG, whole or not at all. Raises OSError when it cannot be written."""
    write_png(path, grid(pictures))


def write_png(path: Path, rgb: npt.NDArray[np.uint8]) -> None:
    """uint8 (H, W, 3), whole or not at all. Raises OSError when it cannot be written."""
    _, data = cv2.imencode(".png", rgb[..., ::-1])
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(data.tobytes())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
