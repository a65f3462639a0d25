"""A graph that is served by another backend until its plan is there, and by the plan from one run to the next."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.backends.carried import for_graph
from engine.backends.graph import Arrays, Graph, Port
from engine.errors import BackendError, MarotteError, PlanCancelled, PlanError

LEAST_DB: Final = 30.0
"""Peak signal-to-noise ratio, in dB of the reference's own range, below which a plan's numbers are not believed. Lower
precision stays above 40 dB (docs/precision.md); other weights or another graph are far below."""

_TRIALS: Final = 3
"""Frames that a plan has to compute rightly before it is shown."""
_LEAST_PEAK: Final = (
    0.05  # of the reference's range, so that a mask of nearly nothing may differ by nearly nothing
)
_END_S: Final = 1.0
_log = logging.getLogger("marotte.plans")

Progress = Callable[[str, int, int], None]
Make = Callable[[Progress, threading.Event], Graph]
"""Builds and opens the plan, in a thread of its own; told of a cancel by the event. Raises MarotteError."""


class Stage(Enum):
    """Where the way to a plan stands."""

    BUILDING, TRYING, SERVING, FAILED, CLOSED = range(5)


@dataclass(frozen=True, slots=True)
class Status:
    """What can be told of it. phase, step, steps: of the build. reason: why there is no plan, one line, else ""."""

    stage: Stage
    phase: str = ""
    step: int = 0
    steps: int = 0
    reason: str = ""


class SwapGraph:
    """Runs on `serving` at once, and on what `make` gives as soon as that is there and right.

    The plan takes over between two runs, and only after it gave the same picture as the other backend for a frame that
    was just served: name, shape and dtype of every port, and LEAST_DB on every output. A build that fails, or a plan
    that is wrong, is told by `status` and in the log, and changes nothing for those who are served. As any graph, it
    is run by one thread at a time; `status` may be read by all.

    target: name of the backend that `make` gives. reopen: opens the other backend once more. least_db: as
    LEAST_DB. A plan that fails later, while running, is not trusted again: that run raises, and what `reopen` gives
    serves as soon as it is there.
    """

    def __init__(
        self,
        serving: Graph,
        make: Make,
        *,
        target: str = "tensorrt",
        reopen: Callable[[], Graph] | None = None,
        least_db: float = LEAST_DB,
    ) -> None:
        self.target = target
        self._graph, self._reopen, self._least_db = serving, reopen, least_db
        self._next: tuple[Graph, Status] | None = None
        self._broken = False
        self._sample: tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]] | None = None
        self._wanted, self._sampled, self._cancel = threading.Event(), threading.Event(), threading.Event()
        self._changed = threading.Condition()
        self._status = Status(Stage.BUILDING)
        self._builder = threading.Thread(target=self._build, args=(make,), name="plan", daemon=True)
        self._builder.start()

    @property
    def backend(self) -> str:
        """Of what runs at this moment."""
        return self._graph.backend

    @property
    def inputs(self) -> tuple[Port, ...]:
        return self._graph.inputs

    @property
    def outputs(self) -> tuple[Port, ...]:
        return self._graph.outputs

    @property
    def batches(self) -> tuple[int, ...]:
        """Sizes of the first dimension that are run at this moment."""
        return tuple(getattr(self._graph, "batches", ())) or (1,)

    @property
    def status(self) -> Status:
        return self._status

    @property
    def carries(self) -> bool:
        """Not while a plan is tried: what it is tried on has to be seen."""
        told = self._status.stage in (Stage.SERVING, Stage.FAILED)
        return told and bool(getattr(self._graph, "carries", False))

    @property
    def rows(self) -> bool:
        """Whether `run_rows` is there at this moment."""
        return self._status.stage is Stage.SERVING and hasattr(self._graph, "run_rows")

    def run_rows(self, entries: Sequence[Arrays], size: int) -> list[dict[str, NDArray[Any]]]:
        """See TensorRtGraph.run_rows. Raises BackendError where what serves has no such thing."""
        self._follow_on()
        run_rows = getattr(self._graph, "run_rows", None)
        if run_rows is None:
            raise BackendError(f"{self.backend} takes no rows; run the entries one by one")
        found: list[dict[str, NDArray[Any]]] = self._trusted(lambda: run_rows(entries, size))
        return found

    def run(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """See Graph.run."""
        self._follow_on()
        found: dict[str, NDArray[Any]] = self._trusted(
            lambda: self._graph.run(for_graph(self._graph, arrays))
        )
        if self._wanted.is_set() and any(array.any() for array in arrays.values()):  # zeros prove little
            self._wanted.clear()
            self._sample = _copied(arrays), _copied(found)
            self._sampled.set()
        return found

    def _follow_on(self) -> None:
        """To what serves from this run on. Raises BackendError where nothing does."""
        if self._next is not None:
            self._swap()
        if self._status.stage is Stage.CLOSED:
            raise BackendError("the graph was closed; open it again before running it")
        if self._broken:
            raise BackendError(f"{self._status.reason}; another backend is being opened in its place")

    def _trusted(self, run: Callable[[], Any]) -> Any:
        """What a run gives; a plan that fails is left."""
        try:
            return run()
        except BackendError as error:
            if self._status.stage is Stage.SERVING:
                self._retreat(error)
            raise

    def wait(self, timeout_s: float | None = None) -> Status:
        """Until the build ended, well or badly; a plan then still waits for frames to be tried on."""
        with self._changed:
            self._changed.wait_for(lambda: self._status.stage is not Stage.BUILDING, timeout_s)
        return self._status

    def close(self) -> None:
        """See Graph.close. Ends the build as well, as soon as its builder lets itself be ended."""
        with self._changed:
            if self._status.stage is Stage.CLOSED:
                return
            following, self._next = self._next, None
            self._status = Status(Stage.CLOSED)
            self._changed.notify_all()
        self._cancel.set()
        self._sampled.set()
        if following is not None:
            following[0].close()
        self._graph.close()
        self._builder.join(_END_S)

    def _build(self, make: Make) -> None:
        candidate: Graph | None = None
        try:
            candidate = make(self._told, self._cancel)
            self._tell(Status(Stage.TRYING))
            self._try(candidate)
            self._follow(candidate, Status(Stage.SERVING))
        except PlanCancelled:
            _close(candidate)
        except Exception as error:  # whatever ends the build, those who are served are not to notice
            _close(candidate)
            reason = str(error) if isinstance(error, MarotteError) else f"{type(error).__name__}: {error}"
            _log.warning("%s serves on, for no plan came about: %s", self.backend, reason)
            self._tell(Status(Stage.FAILED, reason=reason))

    def _try(self, candidate: Graph) -> None:
        """Waits for frames that were served, and lets the plan compute them too."""
        check_ports(self._graph, candidate)
        for _ in range(_TRIALS):
            self._sampled.clear()
            if not self._cancel.is_set():  # after the clearing: closing sets this before the other
                self._wanted.set()
                self._sampled.wait()
            sample, self._sample = self._sample, None
            if self._cancel.is_set() or sample is None:
                raise PlanCancelled("the graph was closed")
            check_outputs(sample[1], candidate.run(sample[0]), self._least_db)

    def _follow(self, graph: Graph, status: Status) -> None:
        """The next run is that graph's."""
        with self._changed:
            if self._status.stage is not Stage.CLOSED:
                self._next = graph, status
                return
        graph.close()

    def _swap(self) -> None:
        with self._changed:
            following, self._next = self._next, None
            if following is None:  # closed in the meantime
                return
            before, self._graph = self._graph, following[0]
            self._status, self._broken = following[1], False
            self._changed.notify_all()
        before.close()
        _log.info("%s takes over from %s", self.backend, before.backend)

    def _retreat(self, error: BackendError) -> None:
        """Away from a plan that failed."""
        _log.warning("%s failed and is left: %s", self.backend, str(error))
        self._broken = True
        self._tell(Status(Stage.FAILED, reason=str(error)))
        if self._reopen is not None:
            threading.Thread(
                target=self._come_back, args=(self._reopen,), name="plan-retreat", daemon=True
            ).start()

    def _come_back(self, reopen: Callable[[], Graph]) -> None:
        try:
            graph = reopen()
        except Exception as error:  # nothing is served then, and every frame says so
            _log.warning("nothing serves in place of the plan: %s", str(error))
        else:
            self._follow(graph, self._status)

    def _told(self, phase: str, step: int, steps: int) -> None:
        self._tell(Status(Stage.BUILDING, phase, step, steps))

    def _tell(self, status: Status) -> None:
        with self._changed:
            if self._status.stage is not Stage.CLOSED:
                self._status = status
                self._changed.notify_all()


def check_ports(expected: Graph, got: Graph) -> None:
    """Raises PlanError unless one graph can stand for the other: the same ports, sizes being free where they may."""
    for what, mine, theirs in (
        ("input", expected.inputs, got.inputs),
        ("output", expected.outputs, got.outputs),
    ):
        known = {port.name: port for port in theirs}
        if set(known) != {port.name for port in mine}:
            names = ", ".join(sorted(known)) or "none"
            raise PlanError(
                f"the plan's {what}s are {names}, expected {', '.join(port.name for port in mine)}"
            )
        for port in mine:
            other = known[port.name]
            fits = len(port.shape) == len(other.shape) and all(
                theirs in (None, mine) for mine, theirs in zip(port.shape, other.shape, strict=True)
            )
            if port.dtype != other.dtype or not fits:
                raise PlanError(
                    f"the plan's {what} {port.name!r} is {other.shape} {other.dtype}, "
                    f"expected {port.shape} {port.dtype}"
                )


def check_outputs(
    expected: Mapping[str, NDArray[Any]], got: Mapping[str, NDArray[Any]], least_db: float = LEAST_DB
) -> None:
    """Raises PlanError unless every output is as near to the expected one as lower precision may be."""
    for name, reference in expected.items():
        ratio = decibels(reference, got[name])
        if not ratio >= least_db:
            raise PlanError(
                f"the plan computes {name!r} wrongly: {ratio:.1f} dB from the other backend, "
                f"expected {least_db:g} or more; build it in a higher precision"
            )


def decibels(reference: NDArray[Any], got: NDArray[Any]) -> float:
    """Peak signal-to-noise ratio, the peak being the reference's range or its largest value; infinite where nothing
    differs, NaN where anything is not finite."""
    if reference.shape != got.shape:
        return float("nan")
    wanted, found = reference.astype(np.float64), got.astype(np.float64)
    noise = float(np.sqrt(np.mean((wanted - found) ** 2))) if wanted.size else 0.0
    if noise == 0.0:
        return float("inf")
    peak = max(float(np.ptp(wanted)), float(np.abs(wanted).max()), _LEAST_PEAK)
    return float(20.0 * np.log10(peak / noise))


def _copied(arrays: Arrays) -> dict[str, NDArray[Any]]:
    return {name: np.array(array) for name, array in arrays.items()}


def _close(graph: Graph | None) -> None:
    if graph is not None:
        graph.close()
