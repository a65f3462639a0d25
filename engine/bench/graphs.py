"""The graphs of a generator and of the tracker, each by itself: what it takes, beside the floor of its arithmetic."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.backends import Graph, open_graph
from engine.bench.clocks import cpu_clock, percentiles_ms, timed_run
from engine.bench.cost import Cost, count
from engine.bench.peak import Peak
from engine.bundle import Bundle
from engine.errors import BackendError, BundleError
from engine.generators import check_bundle
from engine.models import locate
from engine.plug import Ports, Runner

BATCHES: Final = (1, 2, 4, 8)
RUNS: Final = 20
_WARM: Final = 2
_TRACKER: Final = ("face_mesh_attention",)
"""What the tracker runs on every frame of video; the detector only when a face was lost."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A graph to be measured. open: on a backend, for a batch. data: its file. batches: that it takes."""

    name: str
    open: Callable[[str, int], Graph]
    data: bytes
    batches: tuple[int, ...]


def pieces(bundle: str, accept: frozenset[str], cache: Path | None) -> list[Piece]:
    """The tracker's graph, and those of a bundle. Raises as opening them does."""
    found = []
    for name in _TRACKER:
        path = locate(name, cache)
        data = path.read_bytes()

        def tracker(backend: str, batch: int, path: Path = path, data: bytes = data) -> Graph:
            return open_graph(path, backend, 1, data=data)

        found.append(Piece(f"tracker {name}", tracker, data, (1,)))
    opened = check_bundle(bundle, accept)
    return found if opened is None else found + _of_bundle(opened)


def _of_bundle(bundle: Bundle) -> list[Piece]:
    def opener(name: str) -> Callable[[str, int], Graph]:
        return lambda backend, batch: bundle.graph(name, backend, 1, batch=batch)

    return [
        Piece(
            name,
            opener(name),
            (bundle.folder / info.file).read_bytes(),
            BATCHES if name in bundle.batched else (1,),
        )
        for name, info in bundle.manifest.graphs.items()
    ]


@dataclass(frozen=True, slots=True)
class Figures:
    """One graph on one backend at one batch. ran_on: the backend that really ran it, which is another one while a plan
    is being built. clock: "device" by its own events, "wall" on a device that tells none, "cpu" by CPU time."""

    name: str
    batch: int
    ran_on: str
    clock: str
    seconds: Sequence[float]
    wall: Sequence[float]
    cost: Cost | None
    note: str = ""

    def content(self, peak: Peak | None) -> dict[str, Any]:
        median, p95 = percentiles_ms(self.seconds)
        wall, wall_p95 = percentiles_ms(self.wall)
        found: dict[str, Any] = {
            "graph": self.name,
            "batch": self.batch,
            "ran_on": self.ran_on,
            "clock": self.clock,
            "median_ms": median,
            "p95_ms": p95,
            "wall_median_ms": wall,
            "wall_p95_ms": wall_p95,
        }
        if self.note:
            found["note"] = self.note
        if self.cost is not None:
            found |= {
                "gflop": self.cost.flop / 1e9,
                "least_mb": self.cost.least_bytes / 1e6,
                "traffic_mb": self.cost.traffic_bytes / 1e6,
            }
        if self.cost is not None and peak is not None and (peak.clock == "cpu") == (self.clock == "cpu"):
            floor = self.cost.floor_s(peak.flop_per_s, peak.bytes_per_s)
            by_arithmetic = self.cost.flop / peak.flop_per_s >= floor
            found |= {
                "floor_ms": 1000 * floor,
                "floor_by": "arithmetic" if by_arithmetic else "memory",
                "share_of_floor": 1000 * floor / median,
            }
        return found


def measure(piece: Piece, backend: str, batch: int, runs: int = RUNS) -> Figures:
    """Raises BackendError and BundleError as opening the graph does."""
    graph = piece.open(backend, batch)
    try:
        given = _inputs(graph, batch)
        cost, note = _cost(piece.data, {name: array.shape for name, array in given.items()})
        seconds, wall = [], []
        for number in range(_WARM + runs):
            spent, spent_wall, clock = timed_run(graph, given)
            if number >= _WARM:
                seconds.append(spent)
                wall.append(spent_wall)
        return Figures(piece.name, batch, graph.backend, clock, seconds, wall, cost, note)
    finally:
        graph.close()


def _cost(data: bytes, shapes: Mapping[str, tuple[int, ...]]) -> tuple[Cost | None, str]:
    try:
        return count(data, shapes), ""
    except BundleError as error:
        return None, str(error)


_FREE_SIDE: Final = 512


def _inputs(graph: Graph, batch: int) -> dict[str, NDArray[Any]]:
    """Arrays for every port: noise in 0 .. 1, or in 0 .. 255 where it is a picture. A free size is the batch's, or a
    picture's of 512 pixels."""
    rng = np.random.default_rng(7)
    found = {}
    for port in graph.inputs:
        free = [batch if axis == 0 else _FREE_SIDE for axis in range(len(port.shape))]
        shape = tuple(size or free[axis] for axis, size in enumerate(port.shape))
        if port.dtype.kind == "f":
            found[port.name] = rng.random(shape, np.float32).astype(port.dtype)
        else:
            found[port.name] = rng.integers(0, 255, shape).astype(port.dtype)
    return found


def run_batches(
    runner: Runner,
    ports: Sequence[Ports],
    batches: Sequence[int] = BATCHES,
    runs: int = RUNS,
    *,
    on_device: bool = False,
) -> dict[int, list[float]]:
    """Seconds of a runner for so many frames at once: CPU time, or the wall clock's where a device does the work, for
    then the CPU waits. Raises BackendError where a frame has no answer."""
    clock = time.perf_counter if on_device else cpu_clock
    found: dict[int, list[float]] = {}
    for batch in batches:
        given = [ports[number % len(ports)] for number in range(batch)]
        found[batch] = []
        for number in range(_WARM + runs):
            started = clock()
            answers = runner.run(given)
            spent = clock() - started
            for answer in answers:
                if isinstance(answer, Exception):
                    raise BackendError(f"a batch of {batch} was not generated: {answer}") from answer
            if number >= _WARM:
                found[batch].append(spent)
    return found
