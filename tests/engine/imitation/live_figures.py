"""How fast a body is driven live: a clip's frames posted as a camera's to a worker, and what leaves it.
docs/benchmarks/2026-11-22-body.md states what it gave.

    python -m tests.engine.imitation.live_figures BUNDLE CLIP [--body synthetic] [--fps 30] [--seconds 20]
"""

from __future__ import annotations

import argparse
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from engine.media import open_media, resize_within
from engine.sample import sample_portrait
from engine.types import U8
from engine.worker.interface import TICKS, Delivery, SessionSpec, Stamp, State, WorkerConfig
from engine.worker.local import LocalWorker

CAMERA = 640
"""Longest side of the frames that are posted."""


class Heard:
    """What has left the worker."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.stages: dict[str, list[float]] = defaultdict(list)
        self.outcomes: Counter[str] = Counter()
        self.ages: list[float] = []

    def __call__(self, delivery: Delivery) -> None:
        with self._lock:
            self.outcomes[delivery.report.outcome.value] += 1
            self.ages.append(time.perf_counter() - delivery.stamp.arrived_s)
            for stage, seconds in delivery.report.seconds.items():
                self.stages[stage].append(seconds)


def frames_of(clip: Path) -> list[U8]:
    with open_media(clip) as media:
        return [np.ascontiguousarray(resize_within(frame.rgb, CAMERA)) for frame in media]


def played(worker: LocalWorker, frames: list[U8], fps: float, seconds: float, heard: Heard) -> int:
    """The clip to and fro, for so long; returns how many frames were posted."""
    order = [*range(len(frames)), *range(len(frames) - 2, 0, -1)]
    began, number = time.perf_counter(), 0
    while (now := time.perf_counter() - began) < seconds:
        rgb = frames[order[number % len(order)]].copy()
        worker.post("one", rgb, Stamp(round(now * TICKS), time.perf_counter()))
        number += 1
        time.sleep(max(0.0, began + number / fps - time.perf_counter()))
    return number


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle")
    parser.add_argument("clip", type=Path)
    parser.add_argument("--body", default="synthetic")
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    asked = parser.parse_args()
    worker, heard = LocalWorker(WorkerConfig((asked.bundle,), body=asked.body)), Heard()
    worker.start()
    while worker.status().state is State.STARTING:
        time.sleep(0.1)
    print(worker.status().detail or worker.bundles()[0].title)
    sample = sample_portrait()
    source = worker.add_source(sample.read_bytes(), sample.name).result(60.0)
    frames = frames_of(asked.clip)
    worker.open("one", SessionSpec(source.id), heard)
    played(worker, frames, asked.fps, 3.0, heard)
    heard.__init__()
    cpu = time.process_time()
    posted = played(worker, frames, asked.fps, asked.seconds, heard)
    cpu = (time.process_time() - cpu) / asked.seconds
    worker.close()
    shown = sum(heard.outcomes.values())
    print(
        f"posted {posted / asked.seconds:.1f} a second, shown {shown / asked.seconds:.1f}: {dict(heard.outcomes)}"
    )
    print(
        f"age median {1e3 * np.median(heard.ages):.1f} ms, 95 % {1e3 * np.percentile(heard.ages, 95):.1f} ms"
    )
    print(f"{cpu:.2f} cores")
    for stage, found in heard.stages.items():
        low, high = 1e3 * np.percentile(found, [50, 95])
        print(f"{stage:10s} {low:7.2f} {high:7.2f}")


if __name__ == "__main__":
    main()
