"""The runner of a generator whose per-frame work is one graph of a bundle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from engine.backends import Graph
from engine.backends.carried import Carried, for_graph
from engine.errors import PortError
from engine.plug import Ports

MOST_FEATURES: Final = 1 << 14
"""Most entries of a port that counts as features, not as a picture."""


class GraphRunner:
    """Runs a graph on every entry of a batch in turn; an entry that fails does not touch the others.

    An answer holds the graph's outputs by name, all of them finite. The arrays of the last answer belong to the graph
    and last until the next run.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    @property
    def ports(self) -> frozenset[str]:
        """Names of what an entry has."""
        return frozenset(port.name for port in self._graph.inputs)

    def run(self, batch: Sequence[Ports]) -> list[Ports | Exception]:
        last = len(batch) - 1
        return [self._one(ports, keep=number < last) for number, ports in enumerate(batch)]

    def close(self) -> None:
        self._graph.close()

    def _one(self, ports: Ports, *, keep: bool) -> Ports | Exception:
        try:
            return run_graph(self._graph, ports, keep=keep)
        except Exception as error:  # the frame loop decides; one session's fault must not reach another
            return error


def run_graph(graph: Graph, ports: Ports, *, keep: bool = False) -> Ports:
    """A graph's outputs by name. keep: as arrays of the caller's own, which the next run leaves alone.

    Raises PortError when an array does not fit, or numbers that go in or out are not finite, BackendError when the
    runtime fails.
    """
    check_given(ports)
    outputs = graph.run(for_graph(graph, ports))
    check_finite(outputs)
    return {name: array.copy() for name, array in outputs.items()} if keep else outputs


def check_given(ports: Ports) -> None:
    """Raises PortError where features hold a number that is not finite: the ReLU of OpenVINO 2026.4 makes 0 of NaN, so
    that the answer would not tell. Larger arrays, and what a face carries, pass unseen."""
    for name, array in ports.items():
        small = array.dtype.kind == "f" and array.size <= MOST_FEATURES and not isinstance(array, Carried)
        if small and not np.isfinite(array).all():
            raise PortError(f"port {name!r}: expected finite numbers, got others; the frame is not shown")


def check_finite(outputs: Ports) -> None:
    """Raises PortError where an output holds a number that is not finite."""
    for name, array in outputs.items():
        # NaN and infinity outlast a sum, and what overflows in one is no picture's.
        with np.errstate(over="ignore", invalid="ignore"):
            finite = array.dtype.kind != "f" or math.isfinite(float(array.sum(dtype=np.float32)))
        if not finite:
            raise PortError(f"port {name!r}: expected finite numbers, got others; the frame is not shown")
