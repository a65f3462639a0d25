"""Label pictures: PNG files of class numbers, or of CelebAMask-HQ's colours, as its tools and others' write them."""

from __future__ import annotations

import cv2
import numpy as np

from engine.errors import DecodeError, InputError, TooLargeError
from engine.media.header import check_whole, essential_png, read_header
from engine.media.limits import Limits
from engine.media.wording import one_line
from engine.parsing.classes import CELEBAMASK, ClassTable
from engine.parsing.colour import unpaint
from engine.parsing.runs import LEAST_SIDE, MOST_RUNS, MOST_SIDE, encode
from engine.types import U8

LIMITS = Limits(pixels=4096 * 4096, side=8192, smallest_side=LEAST_SIDE, file_bytes=8 << 20)
"""Of what is read."""

_UNEVEN = 0.01
"""Share by which the sides of a picture and of its labels may differ in their ratio."""


def decode_labels(data: bytes, name: str, table: ClassTable = CELEBAMASK) -> U8:
    """The classes of a label picture, uint8 (H, W); `name` is for messages.

    A picture whose three channels are alike holds numbers, any other one colours of the table. Raises DecodeError (no
    PNG, damaged), TooLargeError, or InputError for a number or a colour that is none of the table's.
    """
    name = one_line(name)
    if len(data) > LIMITS.file_bytes:
        raise TooLargeError(f"{name}: got {len(data)} bytes, expected at most {LIMITS.file_bytes}")
    try:
        header = read_header(data)
        if header.kind != "PNG":
            raise DecodeError(f"it is {header.kind}, which may change numbers and colours: save it as PNG")
        LIMITS.check_size(name, header.width, header.height)
        check_whole(data, header.kind)
    except DecodeError as error:
        raise DecodeError(f"{name} cannot be read as labels: {error}") from error
    stored = cv2.imdecode(np.frombuffer(essential_png(data), np.uint8), cv2.IMREAD_UNCHANGED)
    if stored is None:
        raise DecodeError(f"{name} cannot be read as labels: its PNG data is damaged; get the file again")
    if stored.dtype != np.uint8:
        raise InputError(f"{name}: got 16 bits a channel, expected 8: a class number or a colour per pixel")
    planes = np.asarray(stored, np.uint8)
    if planes.ndim == 3 and planes.shape[2] == 4:
        if (planes[..., 3] < 255).any():
            raise InputError(f"{name}: got transparent pixels, expected a class on every pixel")
        planes = planes[..., :3]
    if planes.ndim == 2:
        return _numbers(planes, name, table)
    if (planes[..., :1] == planes).all():
        return _numbers(np.ascontiguousarray(planes[..., 0]), name, table)
    return _coloured(planes[..., ::-1], name, table)


def _numbers(labels: U8, name: str, table: ClassTable) -> U8:
    wrong = labels >= len(table)
    if wrong.any():
        y, x = (int(place) for place in np.argwhere(wrong)[0])
        raise InputError(
            f"{name}: got {int(labels[y, x])} at x={x}, y={y}, expected class numbers 0 .. {len(table) - 1}, or the "
            f"colours of {table.name}"
        )
    return labels


def _coloured(rgb: U8, name: str, table: ClassTable) -> U8:
    try:
        return unpaint(np.ascontiguousarray(rgb), table)
    except InputError as error:
        raise InputError(f"{name}: {error}, or class numbers 0 .. {len(table) - 1}") from error


def fitted_labels(labels: U8, width: int, height: int, name: str) -> U8:
    """Labels (h, w) brought to their picture's size by the nearest pixel. Raises InputError where they have another
    shape: they are of another picture then."""
    rows, columns = labels.shape
    if abs(columns * height - width * rows) > _UNEVEN * width * rows:
        raise InputError(
            f"{name}: its labels have {columns} x {rows} pixels, expected the picture's shape, {width} x {height}"
        )
    if (columns, rows) == (width, height):
        return labels
    return np.asarray(cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def painting_of(labels: U8, name: str) -> tuple[tuple[int, int], ...]:
    """Labels (P, P) as runs, to be painted: brought to a side that a brush may have, and to few enough runs. Raises
    InputError where they are not square."""
    height, width = labels.shape
    if width != height or width < LEAST_SIDE:
        raise InputError(
            f"{name}: got {width} x {height} pixels, expected a square of {LEAST_SIDE} or more a side, cut as "
            "CelebA-HQ's pictures are"
        )
    side = min(width, MOST_SIDE)
    while len(runs := encode(fitted_labels(labels, side, side, name))) > MOST_RUNS:
        side //= 2
    return runs
