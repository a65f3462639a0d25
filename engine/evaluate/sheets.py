"""Contact sheets: a few telling frames in labelled rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from engine.evaluate.signals import Course
from engine.geometry import head_pose
from engine.types import F64, U8

CELL = 256
"""Longer side of one picture on a sheet, in pixels."""
_EVEN = 5
_LABEL = 112
_HEAD = 38
_INK = (30, 30, 30)


@dataclass(frozen=True, slots=True)
class Columns:
    """Frames of a clip that a sheet shows, and why."""

    indices: tuple[int, ...]
    titles: tuple[str, ...]


def choose_columns(scored: Sequence[int], truth: Course) -> Columns:
    """Five frames spread evenly, then the widest mouth, the most closed eyes and the greatest turn."""
    if not scored:
        return Columns((), ())
    places = [round(float(at)) for at in np.linspace(0, len(scored) - 1, _EVEN)]
    titles = [f"frame {scored[place]}" for place in places]
    yaw = np.array([np.nan if shape is None else head_pose(shape.rotation).yaw for shape in truth.shapes])
    extremes = (("widest mouth", truth.mouth), ("closed eyes", -truth.eye), ("turned", _away(yaw)))
    for title, values in extremes:
        if np.isfinite(values).any():
            places.append(int(np.nanargmax(values)))
            titles.append(f"{title} {scored[places[-1]]}")
    return Columns(tuple(scored[place] for place in places), tuple(titles))


def _away(yaw: F64) -> F64:
    return np.abs(yaw - np.nanmedian(yaw)) if np.isfinite(yaw).any() else yaw


def sheet(title: str, source: U8 | None, columns: Columns, rows: Mapping[str, Sequence[U8]]) -> U8:
    """A title, the source, where there is one, at the left of the first row, then one labelled row per entry. uint8
    RGB."""
    first = 0 if source is None else 1
    width = _LABEL + CELL * (first + len(columns.indices))
    shown = [row[0] for row in rows.values() if row] + ([] if source is None else [source])
    high = max(_small(picture).shape[0] for picture in shown)
    paper = np.full((_HEAD + high * len(rows), width, 3), 245, np.uint8)
    _write(paper, title, (4, 14))
    for place, name in enumerate((*(["source"] * first), *columns.titles)):
        _write(paper, name, (_LABEL + CELL * place + 4, 32))
    if source is not None:
        _place(paper, source, _HEAD, _LABEL)
    for line, (label, pictures) in enumerate(rows.items()):
        top = _HEAD + high * line
        _write(paper, label, (4, top + high // 2))
        for place, picture in enumerate(pictures):
            _place(paper, picture, top, _LABEL + CELL * (first + place))
    return paper


def stacked(sheets: Sequence[U8]) -> U8:
    """Sheets under each other, padded to the widest. At least one."""
    width = max(one.shape[1] for one in sheets)
    padded = [np.pad(one, ((0, 8), (0, width - one.shape[1]), (0, 0)), constant_values=245) for one in sheets]
    return np.ascontiguousarray(np.concatenate(padded))


def _place(paper: U8, picture: U8, top: int, left: int) -> None:
    small = _small(picture)
    paper[top : top + small.shape[0], left : left + small.shape[1]] = small


def _small(picture: U8) -> U8:
    factor = CELL / max(picture.shape[:2])
    size = max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _write(paper: U8, text: str, at: tuple[int, int]) -> None:
    cv2.putText(paper, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, _INK, 1, cv2.LINE_AA)
