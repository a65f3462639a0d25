"""The live figures as a drawing: glass-to-glass time over the long call, and its distribution for each way."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from engine.types import F64

Points = dict[str, list[tuple[float, float]]]
"""Seconds and milliseconds of each picture, by way ("browser", "echo", "engine") or "long"."""

_COLOURS = {"browser": "#2b6cb0", "echo": "#b7791f", "engine": "#c53030", "long": "#c53030"}
_TITLES = {"browser": "browser to browser", "echo": "identity echo", "engine": "through the engine"}
_WIDTH, _ROW = 960, 260
_LEFT, _PANEL, _GAP, _TOP, _TALL = 56, 500, 70, 36, 180
_MOST_DOTS = 1500
_STEPS = 60


def drawing(content: dict[str, Any], points: dict[str, Points]) -> str:
    """An SVG with a row for each codec."""
    rows = [_row(codec, points[codec], at) for at, codec in enumerate(points)]
    height = max(1, len(rows)) * _ROW + 30
    about = content["about"]
    title = f"Glass-to-glass time, {about['size'][0]} x {about['size'][1]} at {about['rate']} fps"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
            'font-family="sans-serif" font-size="12" fill="#222">',
            f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
            f'<text x="{_LEFT}" y="20" font-size="15">{escape(title)}</text>',
            *rows,
            "</svg>\n",
        ]
    )


def _row(codec: str, points: Points, at: int) -> str:
    top = at * _ROW + _TOP + 14
    delays = [delay for line in points.values() for _, delay in line]
    most = 20 * np.ceil(float(np.percentile(delays, 99.5)) / 20) if delays else 100.0
    right = _LEFT + _PANEL + _GAP
    parts = [
        _axes(_LEFT, top, _PANEL, most, f"{codec.upper()}: one long call through the engine, seconds"),
        _over_time(points, top, most),
        _axes(right, top, _WIDTH - right - 20, most, "share of pictures, all windows"),
    ]
    for line, (way, title) in enumerate(_TITLES.items()):
        if points.get(way):
            parts.append(_distribution(points[way], way, right, top, most))
            label = f'x="{_WIDTH - 150}" y="{top + _TALL - 40 + 14 * line}" fill="{_COLOURS[way]}"'
            parts.append(f"<text {label}>{title}</text>")
    return "\n".join(parts)


def _axes(left: float, top: float, width: float, most: float, title: str) -> str:
    bottom = top + _TALL
    parts = [f'<path d="M{left} {top}V{bottom}H{left + width}" fill="none" stroke="#888"/>']
    for ms in np.linspace(0, most, 5):
        y = bottom - _TALL * ms / most
        parts.append(f'<path d="M{left} {y:.1f}h{width}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{ms:.0f}</text>')
    parts.append(f'<text x="{left}" y="{top - 6}">{escape(title)} (ms upwards)</text>')
    return "\n".join(parts)


def _over_time(points: Points, top: float, most: float) -> str:
    line = np.array(points.get("long") or points.get("engine") or [], np.float64).reshape(-1, 2)
    if not len(line):
        return ""
    start, end = line[0, 0], max(line[-1, 0], line[0, 0] + 1)
    dots = _placed(line[:: max(1, len(line) // _MOST_DOTS)], start, end, top, most)
    marks = "".join(f"M{x:.1f} {y:.1f}h1" for x, y in dots)
    middle = _placed(_running(line), start, end, top, most)
    parts = [
        f'<path d="{marks}" stroke="{_COLOURS["long"]}" stroke-width="1.5" opacity="0.45"/>',
        f'<path d="{_path(middle)}" fill="none" stroke="#222" stroke-width="1.5"/>',
        f'<text x="{_LEFT + _PANEL}" y="{top + _TALL + 16}" text-anchor="end">{end - start:.0f} s</text>',
    ]
    if points.get("browser"):
        base = float(np.median([delay for _, delay in points["browser"]]))
        y = top + _TALL * (1 - base / most)
        parts.append(
            f'<path d="M{_LEFT} {y:.1f}h{_PANEL}" stroke="{_COLOURS["browser"]}" stroke-dasharray="5 4"/>'
        )
    return "\n".join(parts)


def _placed(line: F64, start: float, end: float, top: float, most: float) -> F64:
    x = _LEFT + _PANEL * (line[:, 0] - start) / (end - start)
    y = top + _TALL * (1 - np.minimum(line[:, 1], most) / most)
    return np.stack([x, y], 1)


def _running(line: F64) -> F64:
    """The median in each of _STEPS parts of the time."""
    edges = np.linspace(line[0, 0], line[-1, 0] + 1e-6, _STEPS + 1)
    part = np.digitize(line[:, 0], edges) - 1
    return np.array([np.median(line[part == one], axis=0) for one in np.unique(part)])


def _distribution(
    points: Sequence[tuple[float, float]], way: str, left: float, top: float, most: float
) -> str:
    delays = np.sort([delay for _, delay in points])
    share = np.linspace(0, 1, 101)
    x = left + (_WIDTH - left - 20) * share
    y = top + _TALL * (1 - np.minimum(np.quantile(delays, share), most) / most)
    path = _path(np.stack([x, y], 1))
    return f'<path d="{path}" fill="none" stroke="{_COLOURS[way]}" stroke-width="2"/>'


def _path(points: F64) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
