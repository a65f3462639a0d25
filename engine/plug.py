"""The plug: what a generator has to offer, and what executes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from engine.types import Drive, Mode, Patch, Signal, Source

Ports = Mapping[str, NDArray[Any]]
"""Named arrays of one per-frame graph, bound by name and never by order."""


class Prepared(Protocol):
    """What a generator computed once for a source: immutable, shared between sessions.

    source: the portrait of a puppet, the donor of an edit, None for an edit without one.
    """

    @property
    def source(self) -> Source | None: ...

    @property
    def mode(self) -> Mode: ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about this source, a sentence each: it can be used, but may look odd."""
        ...


class State(Protocol):
    """What one session keeps for one face between frames."""

    @property
    def prepared(self) -> Any: ...


class Offered(Protocol):
    """What every system says of itself: one that faces drive is a Generator, one that a body drives is an
    engine.staged.BodyDriven."""

    @property
    def name(self) -> str: ...

    @property
    def needs(self) -> frozenset[Signal]:
        """The pipeline computes only these."""
        ...

    @property
    def modes(self) -> frozenset[Mode]: ...

    @property
    def heeds(self) -> frozenset[str]:
        """The fields of Controls that change something here; any other is ignored."""
        ...

    def takes_source(self, mode: Mode) -> bool:
        """Whether `prepare` can use a source in this mode: a puppet's portrait, an edit's donor."""
        ...

    def prepare(self, source: Source | None, mode: Mode) -> Any:
        """Once per identity: what is Prepared; None for an edit without a donor. Raises InputError when the source
        cannot be used, or when there has to be one."""
        ...


class Generator(Offered, Protocol):
    """One system, ready to run. Stateless: everything that lasts is in Prepared or State."""

    def prepare(self, source: Source | None, mode: Mode) -> Prepared: ...

    def begin(self, prepared: Any, *donors: Any) -> Any:
        """Once per session and face: the State. donors: further donors of an edit, prepared likewise, which act one
        after the other; a puppet has none."""
        ...

    def inputs(self, state: Any, drive: Drive) -> Ports:
        """The arrays for the per-frame graph."""
        ...

    def patch(self, state: Any, outputs: Ports) -> Patch:
        """From the graph's outputs to a patch, for the drive of the last `inputs` of this state: its canvas is the
        source's picture, or in an edit that drive's frame. A `whole` one may answer a drive that is
        `alone`. Raises MarotteError when the outputs cannot be shown (NaN, say)."""
        ...


class Runner(Protocol):
    """Executes one generator's per-frame graph, for one session or several at once.

    What it may state of itself beside (`batches`, `concurrent`, `warm_up`): see engine.batching.BatchingRunner.
    """

    def run(self, batch: Sequence[Ports]) -> list[Ports | Exception]:
        """One answer per entry, in order. An entry that fails answers its exception and leaves the others alone."""
        ...

    def close(self) -> None: ...
