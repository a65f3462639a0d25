"""bench.png: where a frame's time goes, and how far the graphs are from their floor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import cv2
import numpy as np

from engine.types import U8

WIDTH: Final = 960
_ROW: Final = 26
_LABEL: Final = 250
_MARGIN: Final = 16
_AFTER: Final = 150
"""Pixels right of a bar, for its figures."""

Colour = tuple[int, int, int]
_INK: Final[Colour] = (40, 40, 40)
_FLOOR: Final[Colour] = (200, 60, 40)
_BAR: Final[Colour] = (120, 150, 200)
SHOWN: Final[Mapping[str, Colour]] = {
    "track": (86, 130, 180), "occlusion": (140, 170, 120), "features": (110, 190, 190), "inputs": (230, 200, 110),
    "run": (220, 130, 80), "paste": (170, 120, 170),
}  # fmt: skip
"""The stages of a frame in their order, and their colours."""


def chart(content: Mapping[str, Any]) -> U8:
    """uint8 (H, W, 3), RGB. content: of bench.json. A row per backend with its stages' medians one after the
    other; below it a row per graph, its floor as a line across the bar."""
    every: Sequence[Mapping[str, Any]] = content["backends"]
    lines = [(one, row) for one in every for row in one["graphs"]]
    height = 2 * _MARGIN + _ROW * (3 + len(every) + (2 + len(lines) if lines else 0))
    paper = np.full((height, WIDTH, 3), 255, np.uint8)
    top = _MARGIN
    _write(
        paper, f"{content['bundle']} ({content['mode']}): median CPU ms of a frame, by stage", _MARGIN, top
    )
    top = _legend(paper, top + _ROW)
    longest = max(sum(one["stages"][stage]["median_ms"] for stage in SHOWN) for one in every)
    for one in every:
        _stages(paper, one, top, longest)
        top += _ROW
    if lines:
        top += _ROW
        _write(
            paper, "graphs: median ms (bar), floor (line), share of the floor that is reached", _MARGIN, top
        )
        top += _ROW
        slowest = max(max(row["median_ms"], row.get("floor_ms", 0.0)) for _, row in lines)
        for one, row in lines:
            _graph(paper, one["name"], row, top, slowest)
            top += _ROW
    return paper


def _legend(paper: U8, top: int) -> int:
    left = _LABEL
    for stage, colour in SHOWN.items():
        cv2.rectangle(paper, (left, top + 6), (left + 12, top + 18), colour, -1)
        _write(paper, stage, left + 18, top)
        left += 105
    return top + _ROW


def _across(value: float, most: float) -> int:
    return round(value / max(most, 1e-9) * (WIDTH - _LABEL - _AFTER))


def _stages(paper: U8, one: Mapping[str, Any], top: int, longest: float) -> None:
    _write(paper, one["name"], _MARGIN, top)
    spent = 0.0
    for stage, colour in SHOWN.items():
        left = _LABEL + _across(spent, longest)
        spent += one["stages"][stage]["median_ms"]
        right = _LABEL + _across(spent, longest)
        if right > left:
            cv2.rectangle(paper, (left, top + 3), (right - 1, top + _ROW - 5), colour, -1)
    _write(paper, f"{spent:.2f} ms", _LABEL + _across(spent, longest) + 8, top)


def _graph(paper: U8, backend: str, row: Mapping[str, Any], top: int, slowest: float) -> None:
    _write(paper, f"{backend}: {row['graph'][:20]} x{row['batch']}", _MARGIN, top)
    right = _LABEL + _across(row["median_ms"], slowest)
    cv2.rectangle(paper, (_LABEL, top + 3), (max(right, _LABEL + 1), top + _ROW - 5), _BAR, -1)
    told = f"{row['median_ms']:.2f} ms"
    if "floor_ms" in row:
        floor = _LABEL + _across(row["floor_ms"], slowest)
        cv2.line(paper, (floor, top + 1), (floor, top + _ROW - 3), _FLOOR, 2)
        told += f", {row['share_of_floor']:.0%}"
        right = max(right, floor)
    _write(paper, told, right + 8, top)


def _write(paper: U8, text: str, left: int, top: int) -> None:
    plain = text.encode("ascii", "replace").decode()  # all that this font has
    cv2.putText(paper, plain, (left, top + 17), cv2.FONT_HERSHEY_SIMPLEX, 0.42, _INK, 1, cv2.LINE_AA)
