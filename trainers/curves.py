"""`curves.png`: every recorded scalar over the steps, to be looked at without a program."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
F64 = npt.NDArray[np.float64]

WIDTH, HEIGHT = 360, 190
"""Of one panel, in pixels."""
COLUMNS = 4
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 26, 22
_SMOOTH = 21
"""Most rows over which the dark line is the median; a tenth of them where there are fewer."""
_INK, _FAINT, _PALE, _LINE = (40, 40, 40), (150, 150, 150), (205, 215, 240), (50, 90, 190)
_SKIPPED = ("step", "stage", "seconds")


def curves(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> U8:
    """The rows of scalars.csv as one picture, uint8 (H, W, 3) RGB: a panel per scalar.

    A panel shows each row's mean pale and a running median dark, between its 2nd and 98th percentile widened by a
    tenth, so that one wild row does not flatten the rest; the last value stands beside the name. Grey verticals part
    the stages. What is no finite number is left out.
    """
    drawn = [_panel(name, rows) for name in columns if name not in _SKIPPED and _points(name, rows).size]
    if not drawn:
        return np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    wide = min(COLUMNS, len(drawn))
    sheet = np.full((math.ceil(len(drawn) / wide) * HEIGHT, wide * WIDTH, 3), 255, np.uint8)
    for place, panel in enumerate(drawn):
        top, left = place // wide * HEIGHT, place % wide * WIDTH
        sheet[top : top + HEIGHT, left : left + WIDTH] = panel
    return sheet


def _points(name: str, rows: Sequence[Mapping[str, str]]) -> F64:
    """(N, 2): step and value."""
    found = [(float(row["step"]), float(row[name])) for row in rows if row.get(name)]
    points = np.array(found, np.float64).reshape(-1, 2)
    return np.asarray(points[np.isfinite(points).all(axis=1)])


def _panel(name: str, rows: Sequence[Mapping[str, str]]) -> U8:
    points = _points(name, rows)
    low, high = _limits(points[:, 1])
    last = float(rows[-1]["step"])
    panel = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    for step in _ends(rows):
        x = _across(np.array([step]), last)[0]
        cv2.line(panel, (x, _TOP), (x, HEIGHT - _BOTTOM), (225, 225, 225), 1)
    cv2.rectangle(panel, (_LEFT, _TOP), (WIDTH - _RIGHT, HEIGHT - _BOTTOM), _FAINT, 1)
    for values, ink in ((points[:, 1], _PALE), (_median(points[:, 1]), _LINE)):
        place = np.stack((_across(points[:, 0], last), _up(values, low, high)), axis=1).astype(np.int32)
        cv2.polylines(panel, [place], False, ink, 1, cv2.LINE_AA)
        if len(place) == 1:
            cv2.circle(panel, tuple(map(int, place[0])), 2, ink, -1, cv2.LINE_AA)
    _text(panel, f"{name}  {_median(points[:, 1])[-1]:.3g}", _LEFT, _TOP - 9)
    _text(panel, f"{high:.3g}", 4, _TOP + 10)
    _text(panel, f"{low:.3g}", 4, HEIGHT - _BOTTOM)
    _text(panel, f"{last:.0f} steps", WIDTH - 96, HEIGHT - 7)
    return panel


def _limits(values: F64) -> tuple[float, float]:
    low, high = (float(edge) for edge in np.percentile(values, (2, 98)))
    margin = 0.1 * (high - low) or max(1e-6, 0.1 * abs(high))
    return low - margin, high + margin


def _median(values: F64) -> F64:
    half = min(_SMOOTH, len(values) // 10) // 2
    windows = (values[max(0, place - half) : place + half + 1] for place in range(len(values)))
    return np.array([np.median(window) for window in windows])


def _ends(rows: Sequence[Mapping[str, str]]) -> list[float]:
    """The steps at which another stage begins."""
    return [float(before["step"]) for before, after in pairwise(rows) if before["stage"] != after["stage"]]


def _across(steps: F64, last: float) -> npt.NDArray[np.intp]:
    room = WIDTH - _LEFT - _RIGHT
    return np.rint(_LEFT + steps / max(1.0, last) * room).astype(np.intp)


def _up(values: F64, low: float, high: float) -> npt.NDArray[np.intp]:
    share = np.clip((values - low) / (high - low), 0.0, 1.0)
    return np.rint(HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)).astype(np.intp)


def _text(panel: U8, text: str, x: int, y: int) -> None:
    cv2.putText(panel, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.4, _INK, 1, cv2.LINE_AA)
