"""The plug: what a generator has to offer, and what executes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from engine.types import Drive, Mode, Patch, Signal, Source

Ports = Mapping[str, NDArray[Any]]
"""Named arrays of one per-frame graph, bound by name and never by order."""


class Prepared(Protocol):
    """What a generator computed once for a source: immutable, shared between sessions."""

    @property
    def source(self) -> Source: ...

    @property
    def mode(self) -> Mode: ...


class State(Protocol):
    """What one session keeps for one face between frames."""

    @property
    def prepared(self) -> Any: ...


class Generator(Protocol):
    """One system, ready to run. Stateless: everything that lasts is in Prepared or State."""

    @property
    def name(self) -> str: ...

    @property
    def needs(self) -> frozenset[Signal]:
        """The pipeline computes only these."""
        ...

    @property
    def modes(self) -> frozenset[Mode]: ...

    def prepare(self, source: Source, mode: Mode) -> Prepared:
        """Once per identity. Raises InputError when the source cannot be used."""
        ...

    def begin(self, prepared: Any) -> Any:
        """Once per session and face: the State."""
        ...

    def inputs(self, state: Any, drive: Drive) -> Ports:
        """The arrays for the per-frame graph."""
        ...

    def patch(self, state: Any, outputs: Ports) -> Patch:
        """From the graph's outputs to a patch. Raises MarotteError when they cannot be shown (NaN, say)."""
        ...


class Runner(Protocol):
    """Executes one generator's per-frame graph, for one session or several at once."""

    def run(self, batch: Sequence[Ports]) -> list[Ports | Exception]:
        """One answer per entry, in order. An entry that fails answers its exception and leaves the others alone."""
        ...

    def close(self) -> None: ...
