"""What batches cost and bring on this CPU, and what the way through the shared runner costs: docs/batching.md.

    python -m tests.engine.batching_figures BUNDLE GRAPH [--runs N]

Times are of the processor, not of the clock, so that they hold on a machine that does other things as well. The graph
runs on one thread; kinds are measured by turns, and the median is shown.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx

from engine.backends import BACKENDS, Graph, Port, open_graph
from engine.batching import BatchingRunner
from engine.bundle import open_bundle
from engine.free_batch import is_free, settled
from engine.plug import Ports
from export.batch import batched

SIZES = (1, 2, 4)
FRAMES = 4000


class Nothing:
    """Answers what it is given."""

    def __init__(self, batches: tuple[int, ...]) -> None:
        self.batches = batches

    def run(self, batch: Sequence[Ports]) -> list[Ports | Exception]:
        return list(batch)

    def close(self) -> None: ...


def drawn(port: Port, size: int, numbers: np.random.Generator) -> np.ndarray:
    shape = (size, *(one or 1 for one in port.shape[1:]))
    if port.dtype == np.uint8:
        return numbers.integers(0, 256, shape, np.uint8)
    return numbers.random(shape, np.float32)


def by_turns(kinds: dict[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Median processor seconds of each."""
    taken: dict[str, list[float]] = {name: [] for name in kinds}
    for number in range(runs + 2):
        for name, step in kinds.items():
            began = time.process_time()
            step()
            if number >= 2:
                taken[name].append(time.process_time() - began)
    return {name: statistics.median(times) for name, times in taken.items()}


def graphs(data: bytes, backend: str, runs: int) -> None:
    free = data if is_free(data) else batched(onnx.load_from_string(data), None).SerializeToString()
    path, opened = Path("graph.onnx"), dict[str, tuple[Graph, int]]()
    if not is_free(data):
        opened["as it was"] = open_graph(path, backend, data=data), 1
    for size in SIZES:
        opened[f"fixed {size}"] = open_graph(path, backend, data=settled(free, size)), size
    shared = open_graph(path, backend, data=free)
    opened |= {f"free {size}": (shared, size) for size in SIZES}
    numbers = np.random.default_rng(1)
    steps: dict[str, Callable[[], object]] = {}
    for name, (graph, size) in opened.items():
        arrays = {port.name: drawn(port, size, numbers) for port in graph.inputs}
        steps[name] = lambda graph=graph, arrays=arrays: graph.run(arrays)  # type: ignore[misc]
    for name, seconds in by_turns(steps, runs).items():
        size = opened[name][1]
        print(
            f"{backend:12} {name:10} {1000 * seconds:8.2f} ms a run {1000 * seconds / size:8.2f} ms an entry"
        )


def way(entry: Ports, sessions: int, batches: tuple[int, ...]) -> None:
    """Frames as fast as they go from so many sessions at once through a runner that does nothing."""
    shared = BatchingRunner(Nothing(batches), wait_s=0.004)
    each = FRAMES // sessions

    def play() -> None:
        session = shared.session()
        for _ in range(each):
            session.due_s = 0.0  # as in a worker that has no time to lose: nobody waits
            session.run([entry])
        session.close()

    threads = [threading.Thread(target=play) for _ in range(sessions)]
    began, began_s = time.process_time(), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    used, passed = time.process_time() - began, time.perf_counter() - began_s
    shared.close()
    sizes = f"batches to {batches[-1]}"
    print(
        f"way, {sessions} sessions, {sizes}: {1e6 * used / FRAMES:.0f} us of the processor a frame, "
        f"{1e6 * passed / FRAMES:.0f} us by the clock"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("graph")
    parser.add_argument("--runs", type=int, default=30)
    options = parser.parse_args()
    bundle = open_bundle(options.bundle)
    data = bundle.data(options.graph)
    for backend in BACKENDS[:2]:
        graphs(data, backend, options.runs)
    small: Ports = {"value": np.zeros((1, 1), np.float32)}
    large: Ports = {
        "colour": np.zeros((1, 3, 128, 128), np.float32),
        "attention": np.zeros((1, 1, 128, 128), np.float32),
    }
    for name, entry in (("4 bytes", small), ("256 KiB", large)):
        print(f"answers of {name}")
        for sessions in (1, 4):
            for batches in ((1,), (1, 2, 4)):
                way(entry, sessions, batches)


if __name__ == "__main__":
    main()
