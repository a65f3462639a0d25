"""Time, memory and the speed of this core: what every figure of the bench is taken with."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Final, Protocol, runtime_checkable

import cv2
import numpy as np

from engine.backends import GPU_BACKENDS, Arrays, Graph

REFERENCE_REMAP_MS: Final = 2.1
"""CPU milliseconds of `remap_seconds` on the core to which figures are scaled."""

_SIDE = 512

# On Windows the process clock ticks every 15.6 ms: too coarse for one stage of one frame.
cpu_clock: Callable[[], float] = time.perf_counter if sys.platform == "win32" else time.process_time


@runtime_checkable
class DeviceTimed(Protocol):
    """A graph whose work is done by a device beside the CPU. timed: measure from now on what the device is busy for.
    device_ms: the same of the last run, by events of the device; None where it was not measured."""

    timed: bool
    device_ms: float | None


class DeviceClock:
    """What a device was busy for while something ran. Whatever is given is looked through for graphs that tell, at each
    `begin` anew: a plan that is ready takes the place of another graph."""

    def __init__(self, *workers: object) -> None:
        self._workers = workers
        self._graphs: list[DeviceTimed] = []
        self.begin()

    def __bool__(self) -> bool:
        """Whether there is a device that tells."""
        return bool(self._graphs)

    def begin(self) -> None:
        found = (graph for worker in self._workers for graph in _timed_graphs(worker, _DEPTH))
        self._graphs = list({id(graph): graph for graph in found}.values())  # one may be held twice
        for graph in self._graphs:
            graph.timed, graph.device_ms = True, None

    def seconds(self) -> float | None:
        """Since `begin`; None where nothing ran on a device. A graph that ran twice is counted once."""
        told = [graph.device_ms for graph in self._graphs if graph.device_ms is not None]
        return sum(told) / 1000 if told else None


def timed_run(graph: Graph, arrays: Arrays) -> tuple[float, float, str]:
    """Seconds that a run took, the same by the wall clock, and whose clock the first was: "device" by events, "wall" on
    a device that tells none, for the CPU only waits then, "cpu" else."""
    device = DeviceClock(graph)
    started, started_wall = cpu_clock(), time.perf_counter()
    graph.run(arrays)
    spent, wall = cpu_clock() - started, time.perf_counter() - started_wall
    if (busy := device.seconds()) is not None:
        return busy, wall, "device"
    return (wall, wall, "wall") if graph.backend in GPU_BACKENDS else (spent, wall, "cpu")


_DEPTH: Final = 5
"""Of a graph in a runner: a runner in a runner, a table in it, a graph that is to be replaced, and that."""


def _timed_graphs(worker: object, depth: int) -> list[DeviceTimed]:
    """The worker itself, or those that it holds: a runner's graphs are its own affair and have no common name."""
    if isinstance(worker, DeviceTimed):
        return [worker]
    if not depth or isinstance(worker, (type, ModuleType, np.ndarray, str, bytes)):
        return []
    if isinstance(worker, Mapping):
        held: Iterable[object] = worker.values()
    elif isinstance(worker, (tuple, list)):
        held = worker
    else:
        held = getattr(worker, "__dict__", {}).values()
    return [graph for one in list(held) for graph in _timed_graphs(one, depth - 1)]


def remap_seconds(times: int) -> list[float]:
    """CPU seconds of `times` linear cv2.remap calls on a fixed 512 x 512 RGB picture with fixed maps."""
    rng = np.random.default_rng(512)
    picture = rng.integers(0, 256, (_SIDE, _SIDE, 3), np.uint8)
    y, x = np.mgrid[:_SIDE, :_SIDE].astype(np.float32)
    map_x = x + 6 * np.sin(y / 40)
    map_y = y + 6 * np.cos(x / 40)
    moved = np.empty_like(picture)
    seconds = []
    for _ in range(times):
        started = cpu_clock()
        cv2.remap(picture, map_x, map_y, cv2.INTER_LINEAR, dst=moved)
        seconds.append(cpu_clock() - started)
    return seconds


def percentiles_ms(seconds: Sequence[float]) -> tuple[float, float]:
    """Median and 95th percentile."""
    median, p95 = (1000 * float(value) for value in np.percentile(seconds, (50, 95)))
    return median, p95


def resident_mb() -> float | None:
    """Memory that this process holds, in MB; its peak where the system tells no other; None where it tells
    none.
    """
    try:
        fields = Path("/proc/self/status").read_text(encoding="ascii").split("VmRSS:")
        return int(fields[1].split()[0]) / 1024
    except (OSError, IndexError, ValueError):
        pass
    if sys.platform == "win32":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)  # bytes on macOS
