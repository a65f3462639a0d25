"""A worker's tools with faults that a test switches by files, and signs by which it knows the processes.

In `folder`: "raise" makes the generator raise, "nan" makes every landmark NaN, "lost" has nobody found, "slow" makes
every frame of a driver take SLOW_S longer to track and "late" LATE_S, for as long as the file is there.
Each process touches "track-PID" with every frame that it tracks, and "warm-PID" once it has tracked those of its
warm-up, after which nothing of its start is left to do.
"""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

import numpy as np

from engine.plug import Generator, Runner
from engine.puppet import Opening
from engine.types import Body, Face, Frame
from engine.worker.opening import _WARM_FRAMES
from engine.worker.tools import ClosableBody, ClosableTracker, Tools

SLOW_S = 0.2
LATE_S = 1.2
"""More than a picture may be old, less than counts as hung."""


def warm(folder: Path) -> list[int]:
    """Pids of the processes that run and have been warmed up."""
    pids = [int(path.name.removeprefix("warm-")) for path in folder.glob("warm-*")]
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def at_work(folder: Path) -> int | None:
    """Pid of the process that tracks, once another one is warm behind it; None before that."""
    pids = warm(folder)
    if len(pids) < 2:
        return None
    # Its warm-up is the last that a spare tracks: who tracked after every warm-up is none.
    warm_ns = max((folder / f"warm-{pid}").stat().st_mtime_ns for pid in pids)
    tracked_ns, pid = max(((folder / f"track-{pid}").stat().st_mtime_ns, pid) for pid in pids)
    return pid if tracked_ns > warm_ns else None


class FaultyTools(Tools):
    """Those of a worker, until a file says otherwise."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def open_generator(
        self, bundle: str, opening: Opening, accept: frozenset[str]
    ) -> tuple[Generator, Runner]:
        generator, runner = super().open_generator(bundle, opening, accept)
        return _Generator(generator, Path(self.folder)), runner

    def tracker(self, opening: Opening) -> ClosableTracker:
        return _Tracker(super().tracker(opening), Path(self.folder))

    def follower(self, opening: Opening) -> ClosableBody:
        return _Follower(super().follower(opening), Path(self.folder))


class _Around:
    def __init__(self, inner, folder: Path) -> None:
        self._inner, self._folder = inner, folder

    def __getattr__(self, name: str):
        return getattr(self._inner, name)


class _Generator(_Around):
    def patch(self, state, outputs):
        if (self._folder / "raise").exists():
            raise RuntimeError("the generator was told to fail")
        return self._inner.patch(state, outputs)


class _Tracker(_Around):
    tracked = 0

    def track(self, frame: Frame) -> tuple[Face, ...]:
        for fault, seconds in (("slow", SLOW_S), ("late", LATE_S)):
            if (self._folder / fault).exists():
                time.sleep(seconds)
        faces = self._inner.track(frame)
        (self._folder / f"track-{os.getpid()}").touch()
        self.tracked += 1
        if self.tracked == _WARM_FRAMES:
            (self._folder / f"warm-{os.getpid()}").touch()
        if (self._folder / "lost").exists():
            return ()
        if (self._folder / "nan").exists():
            faces = tuple(
                dataclasses.replace(face, points=np.full_like(face.points, np.nan)) for face in faces
            )
        return faces


class _Follower(_Around):
    def track(self, frame: Frame) -> Body | None:
        body = self._inner.track(frame)
        return None if (self._folder / "lost").exists() else body
