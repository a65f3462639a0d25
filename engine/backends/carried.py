"""Numbers of one face that leave a graph by the port NAME_out and enter it again by NAME with its next frame.

On a device they stay there, twice: as they go in, and as they came out. Which of the two the next run reads is settled
by whoever knows whether the frame was shown; the host sees neither.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.backends.graph import Arrays, Port

OUT: Final = "_out"


class Carried(np.ndarray[Any, np.dtype[np.float32]]):
    """float32, zeros at first. An array as any other for a graph that runs on the host, once `on_host` was called; a
    graph with `carries` takes it over, and gives no answer by the port that it comes out of.

    One thread at a time: that of the graph while it runs, that of the session before and after.
    """

    _kept: Kept | None = None

    def __new__(cls, shape: tuple[int, ...]) -> Carried:
        return np.zeros(shape, np.float32).view(cls)

    def __array_finalize__(self, source: Any) -> None:
        self._kept = None

    def on_host(self) -> Carried:
        """With its numbers in its own memory, where a device had them."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.fetch(self)
        return self

    def kept_by(self, owner: Any, make: Callable[[Carried], Kept]) -> Kept:
        """Where `owner` has it; another one hands it over by way of the host."""
        if self._kept is None or self._kept.owner is not owner:
            self._kept = make(self.on_host())
        return self._kept

    def settle(self, found: NDArray[np.float32] | None) -> None:
        """What came out of the last run is what goes into the next. found: the answer by NAME_out, None where the graph
        carried it."""
        if found is not None:
            self._kept = None
            np.copyto(self, found)
        elif self._kept is not None:
            self._kept.settle()


class Kept:
    """Where a device has a Carried array. owner: the graph. at: which of the two goes in; the other comes out."""

    def __init__(self, owner: Any, array: Carried) -> None:
        self.owner = owner
        self.at = 0
        self._of = weakref.ref(array)
        self._came = False

    def came(self) -> None:
        """A run wrote the other one, and nobody said yet whether it counts."""
        self._came = True

    def settle(self) -> None:
        if self._came:
            self.at, self._came = 1 - self.at, False

    def fetch(self, into: Carried) -> None:
        """The numbers that go in next. Raises BackendError."""
        raise NotImplementedError

    def hand_back(self) -> None:
        """To the array, if anybody still has it."""
        if (array := self._of()) is not None and array._kept is self:
            array.on_host()


def state_ports(inputs: Sequence[Port], outputs: Sequence[Port]) -> Mapping[str, str]:
    """Ports by which numbers may be carried, with those by which they come out."""
    leaving = {port.name: port for port in outputs}
    pairs = ((port, leaving.get(port.name + OUT)) for port in inputs if port.dtype == np.float32)
    return {
        port.name: out.name
        for port, out in pairs
        if out is not None and (out.shape, out.dtype) == (port.shape, port.dtype)
    }


def for_graph(graph: Any, arrays: Arrays) -> Arrays:
    """The same arrays, those on the host that this graph does not carry."""
    if not getattr(graph, "carries", False):
        for array in arrays.values():
            if isinstance(array, Carried):
                array.on_host()
    return arrays
