"""The runner of a per-frame graph that takes several entries at once, and opening one."""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.backends import BACKENDS, Graph, Port
from engine.backends.carried import for_graph
from engine.backends.graph import check_arrays
from engine.bundle import Bundle
from engine.errors import PortError
from engine.generators.graph_runner import GraphRunner, check_finite, check_given
from engine.plans.background import LEAST_DB, decibels
from engine.plans.request import BATCHES
from engine.plug import Ports

_log = logging.getLogger("marotte.worker")

_ON_CPU: Final = frozenset(BACKENDS)

_MOST_ROOMS: Final = 8
"""Most batches, of a size and of entries' shapes, whose memory is kept."""

Rooms = Mapping[str, NDArray[Any]]
Shapes = tuple[tuple[int, ...], ...]
Example = Callable[[Sequence[Port], int], Ports]
"""An entry for these ports, another one for each seed, finite and as far from the others as pictures are."""


class BatchRunner:
    """Runs a graph on as many entries at once as fit; the answers are those that each entry has alone.

    graphs: by batch size, 1 among them, the graph that takes it; several sizes may share one, whose first size is free.
    Entries go into the smallest size that holds them, and what is left of it is computed for nothing; only those whose
    arrays have the same shapes share one. example: what the sizes are tried on. As with GraphRunner an answer holds
    finite outputs by name, which last until the next run, and an entry that fails does not touch the others.
    """

    def __init__(self, graphs: Mapping[int, Graph], example: Example | None = None) -> None:
        self.batches = tuple(sorted(graphs))
        self._graphs, self._example = dict(graphs), example or example_of
        self._ports = tuple(
            Port(port.name, (1, *port.shape[1:]), port.dtype) for port in self._graphs[1].inputs
        )
        self._rooms: OrderedDict[tuple[int, Shapes], Rooms] = OrderedDict()

    @property
    def ports(self) -> frozenset[str]:
        """Names of what an entry has."""
        return frozenset(port.name for port in self._ports)

    def run(self, batch: Sequence[Ports]) -> list[Ports | Exception]:
        answers = [self._refusal(ports) for ports in batch]
        alike: dict[Shapes, list[int]] = {}
        for index, refusal in enumerate(answers):
            if refusal is None:
                alike.setdefault(self._shapes(batch[index]), []).append(index)
        most, found = self.batches[-1], dict[int, Ports | Exception]()
        parts = [same[start : start + most] for same in alike.values() for start in range(0, len(same), most)]
        for number, part in enumerate(parts):
            ran = self._together([batch[index] for index in part])
            if number + 1 < len(parts):  # the next part overwrites what belongs to the graph
                ran = [copied(answer) for answer in ran]
            found |= zip(part, ran)
        return [refusal or found[index] for index, refusal in enumerate(answers)]

    def warm_up(self) -> None:
        """Every size once, so that no frame of a session is the first of its kind.

        Entries that differ have to be answered as they are alone: a size at which a graph mixes them would show one
        session's face in another's picture, and is not run.
        """
        entries = [self._example(self._ports, seed) for seed in range(self.batches[-1])]
        alone = [_copies(self._run([entry]))[0] for entry in entries]
        sound = [1]
        for size in self.batches[1:]:
            ratio = _likeness(alone, self._run(entries[:size]))
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
            check_given(ports)
        except PortError as error:
            return error
        return None

    def _shapes(self, entry: Ports) -> Shapes:
        return tuple(entry[port.name].shape for port in self._ports)

    def _together(self, entries: Sequence[Ports]) -> list[Ports | Exception]:
        try:
            return [_sound(answer) for answer in self._run(entries)]
        except Exception as error:  # the frame loop decides; one session's fault must not reach another
            if len(entries) == 1:
                return [error]
            return [copied(self._together([entry])[0]) for entry in entries]

    def _run(self, entries: Sequence[Ports]) -> list[Ports]:
        size = next(size for size in self.batches if size >= len(entries))
        graph = self._graphs[size]
        if size == 1:
            return [graph.run(for_graph(graph, entries[0]))]
        if takes_rows(graph):
            found: list[Ports] = getattr(graph, "run_rows")(entries, size)  # noqa: B009 - not of every graph
            return found
        rooms = self._room(size, entries[0])
        for row, ports in enumerate(entries):
            for name, array in for_graph(None, ports).items():
                rooms[name][row] = array[0]
        outputs = graph.run(rooms)
        for name, array in outputs.items():
            if array.shape[:1] != (size,):
                raise PortError(
                    f"port {name!r}: expected {size} entries, got {array.shape}; export the bundle again"
                )
        return [
            {name: array[row : row + 1] for name, array in outputs.items()} for row in range(len(entries))
        ]

    def _room(self, size: int, entry: Ports) -> Rooms:
        """What a batch of entries like this one is gathered in. Rows beyond a batch hold what lay there before."""
        key = size, self._shapes(entry)
        if key not in self._rooms:
            while len(self._rooms) >= _MOST_ROOMS:
                self._rooms.popitem(last=False)
            # No zeros: where they mean nothing, a graph may take long over them.
            self._rooms[key] = {port.name: np.repeat(entry[port.name], size, 0) for port in self._ports}
        self._rooms.move_to_end(key)
        return self._rooms[key]


def takes_rows(graph: Graph) -> bool:
    """Whether a graph lays entries beside each other by itself, where it computes."""
    return bool(getattr(graph, "rows", hasattr(graph, "run_rows")))


def open_runner(
    bundle: Bundle,
    name: str,
    backend: str,
    threads: int,
    outputs: Sequence[str] | None = None,
    batches: Sequence[int] = (1,),
    example: Example | None = None,
) -> GraphRunner | BatchRunner:
    """A runner of one of the bundle's graphs; options as of Bundle.graph. batches: sizes, 1 among them; a bundle whose
    graph takes one entry at a time gets a GraphRunner all the same. example: as of BatchRunner."""
    graph = bundle.graph(name, backend, threads, outputs)
    graphs = further_graphs(bundle, name, graph, threads, batches)
    return BatchRunner(graphs, example) if len(graphs) > 1 else GraphRunner(graph)


def further_graphs(
    bundle: Bundle, name: str, graph: Graph, threads: int, batches: Sequence[int]
) -> dict[int, Graph]:
    """By batch size the graph that takes it. graph: that for one entry. On a CPU each size is a graph of its own, as
    fixed sizes are faster; elsewhere one whose size is free serves all, as weights on a device are dear. One that
    keeps on its device what a face carries, and cannot lay several there side by side, goes on with one entry: by way
    of the host a batch would cost more than it saves."""
    graphs, backend = (
        {1: graph},
        getattr(graph, "target", graph.backend),
    )  # of one whose plan is still being built
    if name not in bundle.batched or max(batches) == 1:
        return graphs
    if getattr(graph, "carries", False) and not takes_rows(graph):
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


def example_of(ports: Sequence[Port], seed: int) -> Ports:
    """An entry of noise about a level of its own. Raises PortError where a size is free."""
    numbers = np.random.default_rng(seed)
    ports_of = dict[str, NDArray[Any]]()
    for port in ports:
        level = numbers.random(_sizes(port)[-1:])  # its own in each channel
        values = 0.5 * (level + numbers.random(_sizes(port)))
        ports_of[port.name] = (255.0 * values if port.dtype == np.uint8 else values).astype(port.dtype)
    return ports_of


def _copies(answers: Sequence[Ports]) -> list[Ports]:
    return [{name: array.copy() for name, array in answer.items()} for answer in answers]


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


def _sound(answer: Ports) -> Ports | Exception:
    try:
        check_finite(answer)
    except PortError as error:
        return error
    return answer


def copied(answer: Ports | Exception) -> Ports | Exception:
    """An answer that the next run leaves alone."""
    if isinstance(answer, Exception):
        return answer
    return {name: array.copy() for name, array in answer.items()}
