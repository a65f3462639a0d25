"""The runner of a generator whose per-frame work is one graph of a bundle."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from engine.backends import Graph
from engine.backends.carried import for_graph
from engine.errors import PortError
from engine.plug import Ports


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

    Raises PortError when an array does not fit or an output is not finite, BackendError when the runtime fails.
    """
    outputs = graph.run(for_graph(graph, ports))
    check_finite(outputs)
    return {name: array.copy() for name, array in outputs.items()} if keep else outputs


def check_finite(outputs: Ports) -> None:
    """Raises PortError where an output holds a number that is not finite."""
    for name, array in outputs.items():
        # NaN and infinity outlast a sum.
        if array.dtype.kind == "f" and not math.isfinite(float(array.sum(dtype=np.float32))):
            raise PortError(f"port {name!r}: expected finite numbers, got others; the frame is not shown")
