"""Sheets: pictures in labelled rows and columns on light paper, with the text that OpenCV draws itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from engine.errors import ConfigError
from engine.types import U8

INK, QUIET, GROUND, RULE = (28, 30, 34), (112, 116, 124), (250, 249, 246), (214, 212, 206)
"""RGB of text, of side notes, of the paper and of thin lines."""

MARGIN, GAP = 28, 6
_TITLE, _NOTE, _LABEL, _CAPTION = 26, 15, 16, 13
_LINE = 1.35

MOST_PIXELS = 100_000_000
"""Pixels of a sheet beyond which it is refused: no viewer opens it gladly."""


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """One picture, uint8 (h, w, 3), fitted into its cell, and a short text under it."""

    picture: U8
    caption: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """A label at the left, a second line of it in grey, and its cells; None leaves a cell empty."""

    label: str
    cells: Sequence[Cell | None]
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A heading, column titles (none for no line of them) and rows."""

    heading: str
    columns: Sequence[str]
    rows: Sequence[Row]
    note: str = ""


def sheet(title: str, note: str, blocks: Sequence[Block], cell: int = 176) -> U8:
    """All blocks under each other, uint8 (H, W, 3). cell: side of a picture in pixels.

    Raises ConfigError where it would be larger than MOST_PIXELS.
    """
    label = max([0, *(_wide(row) for block in blocks for row in block.rows)])
    label = label + 18 if label else 0
    columns = max([1, *(len(row.cells) for block in blocks for row in block.rows)])
    width = max(2 * MARGIN + label + columns * (cell + GAP) - GAP, 2 * MARGIN + measured(title, _TITLE, 600))
    notes = _wrapped(note, width - 2 * MARGIN, _NOTE)
    top = MARGIN + _height(_TITLE) + len(notes) * _height(_NOTE) + 14
    height = top + sum(_block_height(block, cell, width) for block in blocks) + MARGIN
    if width * height > MOST_PIXELS:
        raise ConfigError(
            f"sheet: {width} x {height} px, expected at most {MOST_PIXELS} in all; ask for fewer pictures"
        )
    paper = np.full((height, width, 3), GROUND, np.uint8)
    write(paper, title, (MARGIN, MARGIN), _TITLE, weight=600)
    for line, text in enumerate(notes):
        write(paper, text, (MARGIN, MARGIN + _height(_TITLE) + line * _height(_NOTE)), _NOTE, QUIET)
    for block in blocks:
        _draw_block(paper, block, top, label, cell)
        top += _block_height(block, cell, width)
    return paper


def _draw_block(paper: U8, block: Block, top: int, label: int, cell: int) -> None:
    width = paper.shape[1]
    if block.heading:
        paper[top, MARGIN : width - MARGIN] = RULE
        write(paper, block.heading, (MARGIN, top + 10), _LABEL + 2, weight=600)
        top += 10 + _height(_LABEL + 2)
    for text in _wrapped(block.note, width - 2 * MARGIN, _CAPTION):
        write(paper, text, (MARGIN, top), _CAPTION, QUIET)
        top += _height(_CAPTION)
    if block.columns:
        for place, text in enumerate(block.columns):
            left = MARGIN + label + place * (cell + GAP)
            write(paper, clipped(text, cell, _CAPTION), (left, top + 2), _CAPTION, QUIET)
        top += _height(_CAPTION) + 4
    for row in block.rows:
        middle = top + cell // 2 - _height(_LABEL) + (0 if row.note else _height(_LABEL) // 2)
        write(paper, row.label, (MARGIN, middle), _LABEL, weight=500)
        write(paper, row.note, (MARGIN, middle + _height(_LABEL)), _CAPTION, QUIET)
        for place, one in enumerate(row.cells):
            if one is not None:
                _draw_cell(paper, one, top, MARGIN + label + place * (cell + GAP), cell)
        top += _row_height(row, cell)


def _draw_cell(paper: U8, one: Cell, top: int, left: int, cell: int) -> None:
    picture = fitted(one.picture, cell)
    y, x = top + (cell - picture.shape[0]) // 2, left + (cell - picture.shape[1]) // 2
    paper[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
    write(paper, clipped(one.caption, cell, _CAPTION), (left, top + cell + 2), _CAPTION, QUIET)


def fitted(picture: U8, side: int) -> U8:
    """A picture brought to `side` pixels on its longer side."""
    factor = side / max(picture.shape[:2])
    size = max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor))
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size, interpolation=how), np.uint8)


def write(
    paper: U8,
    text: str,
    at: tuple[int, int],
    size: int,
    colour: tuple[int, int, int] = INK,
    *,
    weight: int = 400,
) -> None:
    """Draw one line in place; `at` is its top left corner, `size` pixels of its type."""
    if text:
        baseline = (at[0], at[1] + round(size * 1.02))
        cv2.putText(paper, text, baseline, colour, _face(), size, weight)


def measured(text: str, size: int, weight: int = 400) -> int:
    """Pixels that a line takes across."""
    if not text:
        return 0
    box = cv2.getTextSize((0, 0), text, (0, 0), _face(), size, weight)
    return int(box[0] + box[2])


def clipped(text: str, width: int, size: int) -> str:
    """As much of a line as fits into `width` pixels, with three dots where some is left out."""
    if measured(text, size) <= width:
        return text
    while text and measured(f"{text}...", size) > width:
        text = text[:-1]
    return f"{text}..."


@lru_cache(maxsize=1)
def _face() -> Any:
    return cv2.FontFace("sans")


def _wrapped(text: str, width: int, size: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and measured(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _wide(row: Row) -> int:
    return max(measured(row.label, _LABEL, 500), measured(row.note, _CAPTION))


def _height(size: int) -> int:
    return round(_LINE * size)


def _row_height(row: Row, cell: int) -> int:
    captions = any(one is not None and one.caption for one in row.cells)
    return cell + (_height(_CAPTION) + 4 if captions else 0) + GAP


def _block_height(block: Block, cell: int, width: int) -> int:
    head = 10 + _height(_LABEL + 2) if block.heading else 0
    notes = len(_wrapped(block.note, width - 2 * MARGIN, _CAPTION)) * _height(_CAPTION)
    titles = _height(_CAPTION) + 4 if block.columns else 0
    return head + notes + titles + sum(_row_height(row, cell) for row in block.rows) + 14
