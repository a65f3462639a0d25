"""The runner of a per-frame graph that takes several entries at once, and opening one."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.backends import BACKENDS, Graph, Port
from engine.backends.graph import check_arrays
from engine.bundle import Bundle
from engine.errors import PortError
from engine.generators.graph_runner import GraphRunner, check_finite
from engine.plans.background import LEAST_DB, decibels
from engine.plans.request import BATCHES
from engine.plug import Ports

_log = logging.getLogger("marotte.worker")

_ON_CPU: Final = frozenset(BACKENDS)

Rooms = Mapping[str, NDArray[Any]]


class BatchRunner:
    """Runs a graph on as many entries at once as fit; the answers are those that each entry has alone.

    graphs: by batch size, 1 among them, the graph that takes it; several sizes may share one, whose first size is free.
    Entries go into the smallest size that holds them, and what is left of it is computed for nothing. As with
    GraphRunner an answer holds finite outputs by name, which last until the next run, and an entry that fails does not
    touch the others.
    """

    def __init__(self, graphs: Mapping[int, Graph]) -> None:
        self.batches = tuple(sorted(graphs))
        self._graphs = dict(graphs)
        self._ports = tuple(
            Port(port.name, (1, *port.shape[1:]), port.dtype) for port in self._graphs[1].inputs
        )
        self._rooms: dict[int, Rooms] = {}

    def run(self, batch: Sequence[Ports]) -> list[Ports | Exception]:
        answers = [self._refusal(ports) for ports in batch]
        sound = [index for index, refusal in enumerate(answers) if refusal is None]
        most, found = self.batches[-1], dict[int, Ports | Exception]()
        for start in range(0, len(sound), most):
            part = sound[start : start + most]
            ran = self._together([batch[index] for index in part])
            if start + most < len(sound):  # the next part overwrites what belongs to the graph
                ran = [_copied(answer) for answer in ran]
            found |= zip(part, ran)
        return [refusal or found[index] for index, refusal in enumerate(answers)]

    def warm_up(self) -> None:
        """Every size once, so that no frame of a session is the first of its kind.

        Entries that differ have to be answered as they are alone: a size at which a graph mixes them would show one
        session's face in another's picture, and is not run.
        """
        entries = [_example(self._ports, seed) for seed in range(self.batches[-1])]
        alone = [_rows(self._run([entry]), 1)[0] for entry in entries]
        sound = [1]
        for size in self.batches[1:]:
            ratio = _likeness(alone, _rows(self._run(entries[:size]), size))
            if not ratio >= LEAST_DB:
                _log.warning("in batches of %d entries change each other (%.1f dB): not run", size, ratio)
            else:
                sound.append(size)
        self.batches = tuple(sound)

    def close(self) -> None:
        for graph in {id(graph): graph for graph in self._graphs.values()}.values():
            graph.close()

    def _refusal(self, ports: Ports) -> Exception | None:
        """Why an entry cannot go with others: told before anything of it is among theirs."""
        try:
            check_arrays(self._ports, ports)
        except PortError as error:
            return error
        return None

    def _together(self, entries: Sequence[Ports]) -> list[Ports | Exception]:
        try:
            outputs = self._run(entries)
        except Exception as error:  # the frame loop decides; one session's fault must not reach another
            if len(entries) == 1:
                return [error]
            return [_copied(self._together([entry])[0]) for entry in entries]
        return [_row(outputs, row) for row in range(len(entries))]

    def _run(self, entries: Sequence[Ports]) -> Mapping[str, NDArray[Any]]:
        size = next(size for size in self.batches if size >= len(entries))
        graph = self._graphs[size]
        if size == 1:
            return graph.run(entries[0])
        rooms = self._room(size)
        for row, ports in enumerate(entries):
            for name, room in rooms.items():
                room[row] = ports[name][0]
        outputs = graph.run(rooms)
        for name, array in outputs.items():
            if array.shape[:1] != (size,):
                raise PortError(
                    f"port {name!r}: expected {size} entries, got {array.shape}; export the bundle again"
                )
        return outputs

    def _room(self, size: int) -> Rooms:
        """What a batch is gathered in: made once per size. Rows beyond a batch hold what lay there before."""
        if size not in self._rooms:
            self._rooms[size] = {
                port.name: np.zeros((size, *_sizes(port)[1:]), port.dtype) for port in self._ports
            }
        return self._rooms[size]


def open_runner(
    bundle: Bundle,
    name: str,
    backend: str,
    threads: int,
    outputs: Sequence[str] | None = None,
    batches: Sequence[int] = (1,),
) -> GraphRunner | BatchRunner:
    """A runner of one of the bundle's graphs; options as of Bundle.graph. batches: sizes, 1 among them; a bundle whose
    graph takes one entry at a time gets a GraphRunner all the same."""
    graph = bundle.graph(name, backend, threads, outputs)
    graphs = further_graphs(bundle, name, graph, threads, batches)
    return BatchRunner(graphs) if len(graphs) > 1 else GraphRunner(graph)


def further_graphs(
    bundle: Bundle, name: str, graph: Graph, threads: int, batches: Sequence[int]
) -> dict[int, Graph]:
    """By batch size the graph that takes it. graph: that for one entry. On a CPU each size is a graph of its own, as
    fixed sizes are faster; elsewhere one whose size is free serves all, as weights on a device are dear."""
    graphs, backend = (
        {1: graph},
        getattr(graph, "target", graph.backend),
    )  # of one whose plan is still being built
    if name not in bundle.batched or max(batches) == 1:
        return graphs
    outputs = [port.name for port in graph.outputs]
    if backend in _ON_CPU:
        sizes = [size for size in batches if size > 1]
        return graphs | {size: bundle.graph(name, backend, threads, outputs, batch=size) for size in sizes}
    free = bundle.graph(name, backend, threads, outputs, batch=None)
    graph.close()
    return dict.fromkeys(batches, free)


def batches_for(backend: str, most: int) -> tuple[int, ...]:
    """The sizes to open, up to `most`; for 0 those from which the backend gains: on a CPU one entry (docs/batching.md).

    A GPU's plans are made for the sizes of engine.plans.request, so that the last is the nearest that holds `most`
    entries; a CPU takes any.
    """
    if backend not in _ON_CPU:
        return tuple(size for size, before in zip(BATCHES, (0, *BATCHES)) if before < (most or BATCHES[-1]))
    return tuple(sorted({*(size for size in BATCHES if size < most), most or 1}))


def _example(ports: Sequence[Port], seed: int) -> Ports:
    """An entry of noise about a level of its own, as far from the others' as pictures are from each other."""
    numbers = np.random.default_rng(seed)
    ports_of = dict[str, NDArray[Any]]()
    for port in ports:
        level = numbers.random(_sizes(port)[-1:])  # its own in each channel
        values = 0.5 * (level + numbers.random(_sizes(port)))
        ports_of[port.name] = (255.0 * values if port.dtype == np.uint8 else values).astype(port.dtype)
    return ports_of


def _rows(outputs: Mapping[str, NDArray[Any]], size: int) -> list[Ports]:
    return [{name: array[row : row + 1].copy() for name, array in outputs.items()} for row in range(size)]


def _likeness(alone: Sequence[Ports], together: Sequence[Ports]) -> float:
    """Of the output that is furthest from what the entry has alone, in dB, NaN where one is finite only alone; what is
    not finite alone says nothing."""
    found = [
        decibels(array, answer[name])
        for own, answer in zip(alone, together)
        for name, array in own.items()
        if np.isfinite(array).all()
    ]
    return float(np.min(found, initial=math.inf))


def _sizes(port: Port) -> tuple[int, ...]:
    if None in port.shape:
        raise PortError(
            f"port {port.name!r}: its size is free, expected a fixed one; export the bundle again"
        )
    return tuple(size for size in port.shape if size is not None)


def _row(outputs: Mapping[str, NDArray[Any]], row: int) -> Ports | Exception:
    """One entry's answer."""
    ports = {name: array[row : row + 1] for name, array in outputs.items()}
    try:
        check_finite(ports)
    except PortError as error:
        return error
    return ports


def _copied(answer: Ports | Exception) -> Ports | Exception:
    if isinstance(answer, Exception):
        return answer
    return {name: array.copy() for name, array in answer.items()}
