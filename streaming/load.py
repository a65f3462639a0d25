"""What a server is measured to do: the load that streaming/admission.py decides by, once a second.

Processors are read from /proc where there is one, with what a container is allowed; elsewhere what this process uses
itself is all that is known. The loop's own share is its thread's processor time.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from streaming.admission import BY_PIXELS, ENCODE, FIXED, Cost, Load, Running

STEP_S: Final = 1.0
BEAT_S: Final = 0.1
WINDOW_S: Final = 3.0

_LEAST_FRAMES = 6  # in a window, for what is kept of them to say anything
_PROC: Final = Path("/proc")
if sys.platform == "win32":  # which has no such folder either
    _HZ = 100.0
else:
    _HZ = float(os.sysconf("SC_CLK_TCK"))
_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True, slots=True)
class Worked:
    """Of one session since it was opened. seconds: by stage, and ENCODE. shared_s: of `render`, what was this
    session's own in a graph that several share. received, left: frames and pictures."""

    seconds: dict[str, float] = field(default_factory=dict)
    shared_s: float = 0.0
    received: int = 0
    left: int = 0


class Work:
    """Counts it; from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: dict[str, float] = {}
        self._shared_s, self._received, self._left = 0.0, 0, 0

    def received(self) -> None:
        with self._lock:
            self._received += 1

    def left(self, stages: dict[str, float], batch: int) -> None:
        """A picture left. batch: of its report, 0 or 1 for one that was alone."""
        with self._lock:
            self._left += 1
            for name, seconds in stages.items():
                if name in FIXED or name in BY_PIXELS:
                    own = seconds / max(1, batch) if name == "render" else seconds
                    self._seconds[name] = self._seconds.get(name, 0.0) + max(0.0, own)
            if "gather" in stages:
                self._shared_s += max(0.0, stages.get("render", 0.0)) / max(1, batch)

    def encoded(self, seconds: float) -> None:
        with self._lock:
            self._seconds[ENCODE] = self._seconds.get(ENCODE, 0.0) + max(0.0, seconds)

    def told(self) -> Worked:
        with self._lock:
            return Worked(dict(self._seconds), self._shared_s, self._received, self._left)


@dataclass(frozen=True, slots=True)
class Seen:
    """An open session, as it is now. pixels: of the pictures that leave. quiet: it is paused, or its frames are let
    fall by intention. opened_s: by time.monotonic, as all of these."""

    id: str
    bundle: str
    pixels: int
    quiet: bool
    opened_s: float
    worked: Worked


class LoadMeter:
    """sessions: the open ones. workers: pids of the processes below. told: called with each look, on the loop."""

    def __init__(
        self,
        sessions: Callable[[], Iterable[Seen]],
        told: Callable[[Load], None],
        workers: Callable[[], Collection[int]] = tuple,
    ) -> None:
        self._sessions, self._told, self._workers = sessions, told, workers
        self._cores = cores()
        self._lags: deque[tuple[float, float]] = deque()
        self._before: deque[_Look] = deque()

    async def run(self) -> None:
        """Until it is cancelled."""
        due = looked = time.monotonic()
        while True:
            due = max(due + BEAT_S, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
            now = time.monotonic()
            self._lags.append((now, now - due))
            if now - looked >= STEP_S:
                looked = now
                self._told(self.look(now))

    def look(self, now: float) -> Load:
        """One measurement, against those of the last seconds; called by the loop's own thread."""
        pids = (os.getpid(), *self._workers())
        seen = {one.id: one for one in self._sessions()}
        look = _Look(now, time.thread_time(), _machine_idle_s(), {pid: _used_s(pid) for pid in pids}, seen)
        self._before.append(look)
        while len(self._before) > 2 and self._before[1].at_s <= now - WINDOW_S:
            self._before.popleft()
        first = self._before[0]
        passed = max(now - first.at_s, 1e-3)
        used = _cores_used(first, look, passed)
        while self._lags and self._lags[0][0] < now - WINDOW_S:
            self._lags.popleft()
        lags = sorted(lag for _, lag in self._lags)
        return Load(
            now,
            self._cores,
            _free(first, look, passed, self._cores, used),
            used,
            (look.loop_s - first.loop_s) / passed,
            lags[round(0.95 * (len(lags) - 1))] if lags else 0.0,
            tuple(_running(first.seen.get(one.id), one, passed, now) for one in seen.values()),
        )


@dataclass(frozen=True, slots=True)
class _Look:
    at_s: float
    loop_s: float
    idle_s: float | None
    used_s: dict[int, float | None]
    seen: dict[str, Seen]


def _cores_used(first: _Look, last: _Look, passed: float) -> float | None:
    """By the processes that were there at both looks."""
    total = 0.0
    for pid, now in last.used_s.items():
        before = first.used_s.get(pid)
        if now is not None and before is not None:
            total += now - before
    return total / passed if last.used_s.get(os.getpid()) is not None else None


def _free(first: _Look, last: _Look, passed: float, allowed: float, used: float | None) -> float | None:
    if last.idle_s is None or first.idle_s is None:
        return None if used is None else max(0.0, allowed - used)
    idle = min(allowed, (last.idle_s - first.idle_s) / passed)
    return max(0.0, idle if used is None else min(idle, allowed - used))


def _running(before: Seen | None, now: Seen, passed: float, at_s: float) -> Running:
    """What a session did between two looks; since it was opened where it was not there at the first."""
    was = before.worked if before is not None else Worked()
    span = passed if before is not None else max(0.5, at_s - now.opened_s)
    spent = {name: seconds - was.seconds.get(name, 0.0) for name, seconds in now.worked.seconds.items()}
    fixed = sum(seconds for name, seconds in spent.items() if name in FIXED) / span
    scaled = sum(seconds for name, seconds in spent.items() if name in BY_PIXELS) / span
    cost = Cost(fixed, scaled, now.pixels, (now.worked.shared_s - was.shared_s) / span)
    came, left = now.worked.received - was.received, now.worked.left - was.left
    kept = None if now.quiet or came < _LEAST_FRAMES else left / came
    return Running(now.bundle, cost, kept, at_s - now.opened_s)


def cores() -> float:
    """Processors that this process may use: those of the machine, of its affinity, and of its container's quota."""
    count = float(os.cpu_count() or 1)
    if hasattr(os, "sched_getaffinity"):
        count = min(count, float(len(os.sched_getaffinity(0))))
    try:
        quota, period = _QUOTA.read_text(encoding="ascii").split()
        return max(0.1, count if quota == "max" else min(count, int(quota) / int(period)))
    except (OSError, ValueError):
        return count


def _machine_idle_s() -> float | None:
    """Seconds in which the machine's processors had nothing to do, all together; None where nobody tells."""
    try:
        head = (_PROC / "stat").read_text(encoding="ascii").split("\n", 1)[0].split()
        return (int(head[4]) + int(head[5])) / _HZ
    except (OSError, ValueError, IndexError, AttributeError):
        return None


def _used_s(pid: int) -> float | None:
    """Processor time that a process has used; None for one that is gone."""
    if pid == os.getpid():
        return time.process_time()
    try:
        fields = (_PROC / str(pid) / "stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / _HZ
    except (OSError, ValueError, IndexError, AttributeError):
        return None
