"""How one graph comes by its plan: loaded, given other weights, or built; and asked before it is shown."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final

import numpy as np

from engine.backends.graph import Graph
from engine.errors import BackendError, PlanCacheError, PlanCancelled, PlanError
from engine.free_batch import settled
from engine.plans.apart import build_apart
from engine.plans.background import Progress
from engine.plans.cache import PlanCache
from engine.plans.key import PlanKey
from engine.plans.probe import Arrays, Probe, go_live, make_probe, stored
from engine.plans.request import Built, PlanRequest

_MOST_BASES: Final = 2
"""Plans with other weights that are tried before one is built."""

Load = Callable[[bytes], Graph]
"""Opens a plan. Raises PlanError when the runtime refuses it, BackendError."""

_log = logging.getLogger("marotte.plans")
_asked: Final[set[str]] = set()
"""Plans of the cache that answered rightly in this process; one file is not asked twice."""


@dataclass(slots=True, eq=False)
class Making:
    """builder: by name, started in a process of its own; None where nothing is to be built. Called, it is a
    background.Make."""

    cache: PlanCache
    key: PlanKey
    request: PlanRequest
    builder: str | None
    load: Load
    _opened: Graph | None = field(default=None, init=False)

    def kept(self) -> Graph | None:
        """By the plan that is there, None where there is none that can be used."""
        try:
            built = self.cache.load(self.key)
        except PlanCacheError as error:
            _log.warning("%s", str(error))
            return None
        return None if built is None else self._trusted(built.plan, built.probe)

    def __call__(self, progress: Progress, cancel: threading.Event) -> Graph:
        def make() -> Built:
            return self._made(progress, cancel)

        try:
            kept = self.cache.obtain(self.key, make, cancel)
        except PlanCacheError as error:
            _log.warning("%s; the plan is built again at the next start", str(error))
            make()
        else:
            if self._opened is None:  # another one made it while this one waited
                return self._trusted(kept.plan, kept.probe) or self._anew(progress, cancel)
        found, self._opened = self._opened, None
        if found is None:
            raise PlanError(f"plan {self.request.name}: its builder gave none; run: marotte doctor")
        return found

    def others(self) -> str:
        """How many plans of this graph are there for something else, in words."""
        try:
            count = self.cache.others(self.key)
        except PlanCacheError:
            return ""
        return f" ({count} for another GPU, driver, version or precision)" if count else ""

    def _trusted(self, plan: bytes, probe: bytes) -> Graph | None:
        """A plan of the cache, loaded and asked; None where it was wrong, and is gone."""
        graph: Graph | None = None
        try:
            graph = self.load(plan)
            if probe and self._name not in _asked:
                question = stored(probe, self.request.name)
                _ask(graph, question)
            _asked.add(self._name)
        except PlanError as error:  # the right key and HMAC, and still not for this runtime
            _close(graph)
            self.cache.remove(self.key, str(error))
            return None
        except BaseException:
            _close(graph)
            raise
        return graph

    def _anew(self, progress: Progress, cancel: threading.Event) -> Graph:
        self._made(progress, cancel)
        found, self._opened = self._opened, None
        assert found is not None
        return found

    def _made(self, progress: Progress, cancel: threading.Event) -> Built:
        """A plan to be kept, with its probe; its graph is left in `_opened`."""
        question = self._question()
        made = self._refitted(question, progress, cancel) or self._built(question, progress, cancel)
        _asked.add(self._name)
        return made

    def _question(self) -> Probe | None:
        """What the plan is asked; None where nothing can answer for it."""
        name, precision = self.request.name, self.request.precision
        try:
            return make_probe(settled(self.request.graph, 1), name, precision)
        except (PlanError, BackendError) as error:
            _log.info("%s: its plan has no probe: %s", name, str(error))
            return None

    def _refitted(self, question: Probe | None, progress: Progress, cancel: threading.Event) -> Built | None:
        """By a plan of the same graph with other weights; None where there is none, or all came out wrong."""
        if question is None:  # nothing could vouch for it
            return None
        for base in self._bases():
            graph: Graph | None = None
            request = replace(self.request, base=base.plan, base_structure=base.structure)
            try:
                built = self._apart(request, progress, cancel)
                graph = self.load(built.plan)
                go_live(_suited(question, graph), graph.run, self.request.name)
            except PlanCancelled:
                raise
            except (PlanError, BackendError) as error:
                _close(graph)
                _log.warning(
                    "%s: a refitted plan is thrown away, and one is built in full: %s",
                    self.request.name,
                    str(error),
                )
                continue
            _log.info("%s goes live by a plan that was there, with its own weights", self.request.name)
            self._opened = graph
            return replace(built, probe=question.store())
        return None

    def _bases(self) -> Iterator[Built]:
        try:
            yield from islice(self.cache.kin(self.key), _MOST_BASES)
        except PlanCacheError:
            return

    def _built(self, question: Probe | None, progress: Progress, cancel: threading.Event) -> Built:
        built = self._apart(self.request, progress, cancel)
        graph = self._opened = self.load(built.plan)
        if question is None:
            return built
        try:
            _ask(graph, question)
        except PlanError as error:
            # Noise is harder on lower precision than pictures are: the frames that are served decide.
            _log.warning("%s is kept without a probe: %s", self.request.name, str(error))
            return built
        except BaseException:
            _close(graph)
            self._opened = None
            raise
        return replace(built, probe=question.store())

    def _apart(self, request: PlanRequest, progress: Progress, cancel: threading.Event) -> Built:
        if self.builder is None:
            raise PlanError(f"plan {request.name}: no builder is named")
        return build_apart(self.builder, request, progress=progress, cancel=cancel)

    @property
    def _name(self) -> str:
        return str(self.cache.folder / self.key.name())


def _ask(graph: Graph, question: Probe) -> None:
    """Raises PlanError where a plan that was right once, or should be, answers otherwise."""
    asked = _suited(question, graph)
    asked.check_kept(graph.run(asked.inputs))


def _suited(question: Probe, graph: Graph) -> Probe:
    """The question for as many entries as the graph's smallest batch, and for its outputs alone."""
    batch = min(getattr(graph, "batches", ()) or (1,))
    names = {port.name for port in graph.outputs}

    def given(arrays: Arrays) -> Arrays:
        return {name: np.repeat(one, batch, axis=0) for name, one in arrays.items()} if batch > 1 else arrays

    expected = {name: array for name, array in question.expected.items() if name in names}
    return Probe(given(question.inputs), given(expected), question.precision, question.scales)


def _close(graph: Graph | None) -> None:
    if graph is not None:
        graph.close()
