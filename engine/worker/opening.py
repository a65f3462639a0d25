"""Bundles on their way into a worker: opened, and run once, so that no frame of a session is the first of its kind."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from engine.batching import BatchingRunner
from engine.media.planes import i420_of
from engine.pipeline import PipelineConfig, step_together
from engine.puppet import Opening
from engine.staged import body_driven
from engine.types import U8, Frame, Mode
from engine.worker.beginning import begun
from engine.worker.interface import WorkerConfig, bundle_name
from engine.worker.offers import OpenBundle
from engine.worker.servers import Servers
from engine.worker.sources import Ready
from engine.worker.stock import Followed, Stock, Trackers
from engine.worker.tools import Tools

_log = logging.getLogger("marotte.worker")

_WARM_FRAMES = 3
_POLL_S = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """What is run through a bundle first: a source, and the driver's frame."""

    ready: Ready
    rgb: U8


class Opener:
    """go_on: called every now and then; what it raises ends the opening, and nothing is left of it."""

    def __init__(
        self, config: WorkerConfig, tools: Tools, opening: Opening, go_on: Callable[[], None]
    ) -> None:
        self._config, self._tools, self._opening, self._go_on = config, tools, opening, go_on

    def open(self, bundle: str) -> OpenBundle:
        """By name or folder, compiled. Its runner is the caller's to close. Raises what opening it raises."""
        config, name = self._config, bundle_name(bundle)
        generator, inner = self._tools.open_generator(bundle, self._opening, config.accept)
        runner = BatchingRunner(
            inner, most=config.batch, wait_s=config.batch_wait_s, stall_s=config.hang_s, name=name
        )
        try:
            while not runner.ready(_POLL_S):
                self._go_on()
            return OpenBundle(self._tools.offer(bundle, generator, edit=config.edit), generator, runner)
        except BaseException:
            runner.close()
            raise

    def warm_up(self, stock: Stock, bundles: Iterable[OpenBundle], sample: Sample, tracker: Followed) -> None:
        """The sample through every stage, in every mode. The bundles are in the stock, and nobody else's yet."""
        with ExitStack() as opened:
            servers = Servers(stock.tools, stock.opening, opened, _no_warning)
            for bundle in bundles:
                for mode in bundle.info.modes:
                    self._warm_up(stock, bundle, mode, sample, tracker, servers)

    def _warm_up(
        self,
        stock: Stock,
        bundle: OpenBundle,
        mode: Mode,
        sample: Sample,
        tracker: Any,
        servers: Servers,
    ) -> None:
        used = sample.ready if mode in bundle.info.takes_source else None
        made = stock.preparing.make(used, bundle.info.name, mode)
        if isinstance(made, Exception):
            _log.warning("%s was not warmed up: %s", bundle.info.name, made)
            return
        driven = body_driven(bundle.generator)
        if (
            driven is not None
        ):  # the sample shows a head: its frames are for the tracker, the rest has a performer
            self._warm_up_follower(stock.followers, sample)
            tracker = driven.performer()
        config = PipelineConfig(mode=mode)
        session = begun(bundle, bundle.runner, tracker, made, servers, config)
        for number in range(_WARM_FRAMES):
            self._go_on()
            frame = Frame(sample.rgb, number, Fraction(1, 30), time.perf_counter())
            ((shown, _),) = step_together([session], [frame], bundle.runner)
            i420_of(shown.rgb)

    def _warm_up_follower(self, followers: Trackers, sample: Sample) -> None:
        follower = followers.take()
        try:
            for number in range(_WARM_FRAMES):
                self._go_on()
                follower.track(Frame(sample.rgb, number, Fraction(1, 30), time.perf_counter()))
        finally:
            followers.give(follower)


def _no_warning(error: Exception) -> None:
    """A session that needs it will say so."""
