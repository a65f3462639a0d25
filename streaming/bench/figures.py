"""From what the page saw to the figures that are reported."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.types import F64

ADDED_P50_MS, ADDED_P95_MS = 45.0, 70.0
"""Most that the engine may add to a browser-to-browser call of the same run, glass to glass."""
LEAST_FPS_RATIO = 0.85
MOST_EXCESS_MS = 15.0
"""Most by which motion may be behind glass-to-glass time."""
LEAST_CORRELATION = 0.8
"""Two courses that are less alike than this have no lag to speak of."""
MOST_GROWTH_MS = 8.0
"""Growth from a run's first to its last quarter that counts as none: half a refresh of the display."""


def window(
    measured: dict[str, Any], cpu_s: float | None, server: dict[str, float] | None = None
) -> dict[str, Any]:
    """Figures of one stretch of a call, of what CallPage.measure gave.

    fps: different numbered pictures received per second. shown_fps: those that were presented, for two that come within
    one refresh of the display are one picture there. g2g_*: from the drawing of a frame until the presentation of
    the picture with its number. server_cpu: share of one core. server: further figures of it. The rest is
    Chromium's getStats and the server's reports.
    """
    seconds, delays = measured["seconds"], delays_ms(measured)
    p50, p95 = (float(value) for value in np.percentile(delays, (50, 95))) if delays.size else (None, None)
    return {
        "seconds": round(seconds, 3),
        "fps": measured["received"] / seconds,
        "shown_fps": delays.size / seconds,
        "sent_fps": measured["sent"] / seconds,
        "decoded_fps": grown(measured, "inbound.framesDecoded") / seconds,
        "g2g_p50_ms": p50,
        "g2g_p95_ms": p95,
        "jitter_buffer_ms": mean_ms(
            measured, "inbound.jitterBufferDelay", "inbound.jitterBufferEmittedCount"
        ),
        "page_encode_ms": mean_ms(measured, "outbound.totalEncodeTime", "outbound.framesEncoded"),
        "page_decode_ms": mean_ms(measured, "inbound.totalDecodeTime", "inbound.framesDecoded"),
        "sent_kbps": 0.008 * grown(measured, "outbound.bytesSent") / seconds,
        "received_kbps": 0.008 * grown(measured, "inbound.bytesReceived") / seconds,
        "codec": measured.get("codec"),
        "size": measured["size"],
        "server_cpu": None if cpu_s is None else cpu_s / seconds,
        **(server or {}),
        **_reported(measured["reports"]),
    }


def delays_ms(measured: dict[str, Any]) -> F64:
    """Glass-to-glass times of the pictures."""
    rows = np.array(measured["rows"], np.float64).reshape(-1, 4)
    return np.asarray(rows[:, 2] - rows[:, 1], np.float64)


def grown(measured: dict[str, Any], name: str) -> float:
    """By how much one of getStats' counts grew in the stretch."""
    return float(measured["after"].get(name, 0)) - float(measured["before"].get(name, 0))


def mean_ms(measured: dict[str, Any], total: str, count: str) -> float | None:
    """Of a total in seconds over a count, both of getStats."""
    counted = grown(measured, count)
    return 1000 * grown(measured, total) / counted if counted > 0 else None


def _reported(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over the server's reports; empty where there are none."""
    if not reports:
        return {}
    stages: dict[str, list[float]] = {}
    for report in reports:
        for stage, value in (report.get("stages") or {}).items():
            stages.setdefault(stage, []).append(value)
    last = reports[-1]
    return {
        "stages_ms": {stage: float(np.mean(values)) for stage, values in stages.items()},
        "age_p50_ms": _mean_of(reports, "age_ms", 0),
        "age_p95_ms": _mean_of(reports, "age_ms", 1),
        "filter_lag_ms": _mean_of(reports, "filter_lag_ms"),
        "fps_in": _mean_of(reports, "fps_in"),
        "fps_out": _mean_of(reports, "fps_out"),
        "kbps_target": last.get("kbps"),
        "dropped": last.get("dropped"),
    }


def _mean_of(reports: Sequence[dict[str, Any]], name: str, at: int | None = None) -> float | None:
    found = [report.get(name) for report in reports]
    if at is not None:
        found = [list(one.values())[at] if isinstance(one, dict) else one and one[at] for one in found]
    values = [float(one) for one in found if isinstance(one, (int, float))]
    return float(np.mean(values)) if values else None


def summary(windows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Medians over windows of every figure that is a number."""
    names = [name for name, value in windows[0].items() if isinstance(value, (int, float))] if windows else []
    return {name: median([one.get(name) for one in windows]) for name in names} | {"windows": len(windows)}


def added(engine: Sequence[dict[str, Any]], base: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What a call costs over the one beside it: medians over rounds of differences and of the ratio of rates."""
    pairs = list(zip(engine, base))  # in an interrupted round one has no other
    return {
        "p50_ms": median([_less(one, other, "g2g_p50_ms") for one, other in pairs]),
        "p95_ms": median([_less(one, other, "g2g_p95_ms") for one, other in pairs]),
        "fps_ratio": median([one["fps"] / other["fps"] if other["fps"] else None for one, other in pairs]),
    }


def _less(one: dict[str, Any], other: dict[str, Any], name: str) -> float | None:
    return None if one[name] is None or other[name] is None else one[name] - other[name]


def median(values: Sequence[float | None]) -> float | None:
    """Of those that are there."""
    numbers = [value for value in values if value is not None]
    return float(np.median(numbers)) if numbers else None


def load() -> float | None:
    """How many tasks wanted a core in the last minute, where the system tells."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def growth(at_s: F64, delays: F64) -> dict[str, Any]:
    """How the glass-to-glass time changes over a run: medians of its first and of its last quarter."""
    if delays.size < 8:
        return {"first_ms": None, "last_ms": None, "growth_ms": None}
    order = np.argsort(at_s)
    edges = np.quantile(at_s, (0.25, 0.75))
    ordered_s, ordered = at_s[order], delays[order]
    first = float(np.median(ordered[ordered_s <= edges[0]]))
    last = float(np.median(ordered[ordered_s >= edges[1]]))
    return {"first_ms": first, "last_ms": last, "growth_ms": last - first}


def verdicts(codec: dict[str, Any]) -> dict[str, bool | None]:
    """Whether one codec's figures keep each target; None where there is no figure."""
    more, motion = codec.get("added", {}), codec.get("motion") or {}
    alike = [
        one for one in motion.get("lags", {}).values() if one and one["correlation"] >= LEAST_CORRELATION
    ]
    lags = [one["lag_ms"] for one in alike]
    return {
        "added p50": _kept(more.get("p50_ms"), most=ADDED_P50_MS),
        "added p95": _kept(more.get("p95_ms"), most=ADDED_P95_MS),
        "fps ratio": _kept(more.get("fps_ratio"), least=LEAST_FPS_RATIO),
        "growth": _kept((codec.get("long") or {}).get("growth_ms"), most=MOST_GROWTH_MS),
        "motion lag": _kept(max(lags) if lags else None, most=MOST_EXCESS_MS),
    }


def _kept(value: float | None, *, most: float = np.inf, least: float = -np.inf) -> bool | None:
    return None if value is None else least <= value <= most
