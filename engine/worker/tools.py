"""What a worker opens by itself. It crosses into the worker's process by spawn, so it holds no opened thing."""

from __future__ import annotations

from typing import Protocol

from engine import measuring, source
from engine.backends import choose
from engine.generators import moves_bodies, open_generator
from engine.generators.batch_runner import batches_for
from engine.measuring import BodyTracker, Expressions, Tracker
from engine.plug import Offered, Runner
from engine.puppet import Opening
from engine.worker.interface import BundleInfo, WorkerConfig
from engine.worker.offers import check_offers, offer


class Closable(Protocol):
    """What holds networks until it is closed."""

    def close(self) -> None: ...


class ClosableTracker(Tracker, Closable, Protocol):
    """A tracker that also offers `reset()`, forgetting every face, serves one session after the other."""


class ClosableDetector(source.Detector, Closable, Protocol):
    """A detector that is closed at the end."""


class ClosableSegmenter(measuring.Segmenter, Closable, Protocol):
    """A segmenter, likewise."""


class ClosableBody(BodyTracker, Closable, Protocol):
    """A body tracker, likewise; one that also offers `reset()` serves one session after the other."""


class ClosableOcclusion(measuring.Occlusion, Closable, Protocol):
    """What tells what stands in front of faces, likewise."""


class ClosableExpressions(Expressions, Closable, Protocol):
    """Expressions, likewise."""


class Tools:
    """Opens what tracks and generates. Each call opens a new one; each may raise MarotteError."""

    def check(self, config: WorkerConfig) -> None:
        """Whether what is to be offered can be, before anything is opened."""
        check_offers(config)

    def open_generator(self, bundle: str, opening: Opening, accept: frozenset[str]) -> tuple[Offered, Runner]:
        """By name or folder, compiled before the first frame. accept: names of the terms that were accepted."""
        batches = batches_for(choose(opening.backend).name, opening.batch)
        if moves_bodies(bundle):
            from engine.imitation.live import open_live  # the mesh and its kernels, which faces do without

            return open_live(bundle, opening, accept=accept, batches=batches)
        return open_generator(
            bundle, backend=opening.backend, accept=accept, batches=batches, frames=opening.frames
        )

    def offer(self, bundle: str, generator: Offered, *, edit: bool) -> BundleInfo:
        """What is told of it; see engine.worker.offers."""
        return offer(bundle, generator, edit=edit)

    def tracker(self, opening: Opening) -> ClosableTracker:
        """For one session's driver."""
        return opening.tracker()

    def follower(self, opening: Opening) -> ClosableBody:
        """For one session's driver, of a bundle that a whole body drives."""
        return opening.follower()

    def detector(self, opening: Opening) -> ClosableDetector:
        """For sources."""
        return opening.detector()

    def segmenter(self, opening: Opening) -> ClosableSegmenter:
        """For sources, and for the drivers of a generator that needs Signal.PARSING."""
        return opening.segmenter()

    def body(self, opening: Opening) -> ClosableBody:
        """For the drivers of a generator that needs Signal.BODY."""
        return opening.body()

    def occlusion(self, opening: Opening) -> ClosableOcclusion:
        """For the drivers of a generator that needs Signal.OCCLUSION."""
        return opening.occlusion()

    def expressions(self, opening: Opening) -> ClosableExpressions | None:
        """For a generator that needs Signal.AUS; None where the user has not added the network."""
        return opening.expressions()
