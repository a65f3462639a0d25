"""What a soak is held to: closed over rows of measurements, so that the gates themselves can be tested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

WARM_S = 600.0
"""What is opened once and kept is there by then; memory and ages are judged after it."""
WINDOW_S = 600.0
MOST_SLOPE_MB = 1.0
"""Per ten minutes."""
MOST_AGEING = 1.15
FLAT = ("threads", "fds", "tasks")
MOST_MORE = 2
"""By how much the median of one of them may be off: a look may fall into a reconnect. At rest all are the same."""


@dataclass(frozen=True, slots=True)
class Row:
    """One look. at_s: since the beginning. threads, fds, rss_mb: of the server's processes together. net_mb: of the
    network's process alone. tasks: of its loop. ages: frames by upper bound of their age, since the beginning, as the
    histogram of /metrics counts them. load: of the machine, over a minute. fps: pictures that came back, all sessions
    together. cpu_s: processor time of the server's processes until now."""

    at_s: float
    rss_mb: float
    net_mb: float
    threads: int
    fds: int
    tasks: int
    sessions: int
    load: float
    fps: float
    cpu_s: float
    restarts: int
    ages: tuple[tuple[float, float], ...]


def slope_mb(rows: Sequence[Row], since_s: float = WARM_S) -> float | None:
    """Of all memory, in MB per ten minutes, by least squares; None with less than two minutes to judge."""
    late = [row for row in rows if row.at_s >= since_s]
    if len(late) < 3 or late[-1].at_s - late[0].at_s < 120.0:
        return None
    times = np.array([row.at_s for row in late]) / 600.0
    return float(np.polyfit(times, [row.rss_mb for row in late], 1)[0])


def age_s(rows: Sequence[Row], share: float, since_s: float, until_s: float) -> float | None:
    """A percentile (0 .. 1) of the frame ages between two times, straight within a bucket; None without frames."""
    within = [row for row in rows if since_s <= row.at_s <= until_s]
    if len(within) < 2:
        return None
    before, after = dict(within[0].ages), dict(within[-1].ages)
    counts = [(bound, after[bound] - before.get(bound, 0.0)) for bound in sorted(after)]
    total = counts[-1][1] if counts else 0.0
    if total <= 0:
        return None
    low, below, wanted = 0.0, 0.0, share * total
    for bound, count in counts:
        if count >= wanted:
            return (
                low if np.isinf(bound) else low + (bound - low) * (wanted - below) / max(count - below, 1e-9)
            )
        low, below = bound, count
    return low


def judged(
    rows: Sequence[Row], at_start: dict[str, Any], at_end: dict[str, Any]
) -> tuple[list[str], list[str]]:
    """What was measured, a line each, and which gates it fails. at_start, at_end: what the server held at rest."""
    told, failed = [], []

    def judge(name: str, holds: bool | None, line: str) -> None:
        told.append(f"{name}: {line}" + ("" if holds is not None else " (too short to judge)"))
        if holds is False:
            failed.append(f"{name}: {line}")

    judge("at rest", at_start == at_end, f"before {at_start}, after {at_end}")
    slope = slope_mb(rows)
    judge(
        "memory", None if slope is None else slope < MOST_SLOPE_MB,
        "no slope" if slope is None else f"{slope:+.2f} MB in 10 min after the first {WARM_S / 60:g}",
    )  # fmt: skip
    end_s = rows[-1].at_s
    for name in FLAT:
        early, late = _median(rows, name, WARM_S, 2 * WARM_S), _median(rows, name, end_s - WINDOW_S, end_s)
        known = end_s >= 2 * WARM_S
        judge(name, late <= early + MOST_MORE if known else None, f"{early:g}, in the last 10 min {late:g}")
    first = age_s(rows, 0.99, WARM_S, 2 * WARM_S)
    last = age_s(rows, 0.99, end_s - WINDOW_S, end_s)
    if first is None or last is None or end_s < 3 * WARM_S:
        judge("age", None, f"p99 {_ms(first)} and {_ms(last)}")
    else:
        judge("age", last <= MOST_AGEING * first, f"p99 {_ms(first)}, in the last 10 min {_ms(last)}")
    return told, failed


def _median(rows: Sequence[Row], name: str, since_s: float, until_s: float) -> float:
    found = [getattr(row, name) for row in rows if since_s <= row.at_s <= until_s]
    return float(np.median(found)) if found else 0.0


def _ms(seconds: float | None) -> str:
    return "none" if seconds is None else f"{1000 * seconds:.0f} ms"
