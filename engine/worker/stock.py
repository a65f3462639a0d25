"""What the sessions of one worker share."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from engine.plug import Prepared
from engine.puppet import Opening
from engine.types import Mode
from engine.worker.interface import SessionSpec
from engine.worker.offers import OpenBundle
from engine.worker.preparing import Preparing
from engine.worker.sources import Cast, Sources
from engine.worker.tools import ClosableTracker, Tools


@dataclass(frozen=True, slots=True, eq=False)
class Stock:
    """What the sessions of one worker share. bundles: those that are offered, by name. side: longest side of an edited
    picture. driver_pixels: the operator asked for them."""

    tools: Tools
    opening: Opening
    bundles: Mapping[str, OpenBundle]
    sources: Sources
    preparing: Preparing
    trackers: Trackers
    side: int
    driver_pixels: bool

    def prepared(self, spec: SessionSpec, cast: Cast) -> tuple[Prepared, ...] | None:
        """What a session of this spec, settled, is given; see Preparing.get."""
        return self.preparing.get(cast, spec.bundle, mode_of(spec))

    def close(self) -> None:
        """After the threads that use the runners."""
        for bundle in self.bundles.values():
            bundle.runner.close()


class Trackers:
    """Opened trackers that no session uses: opening one takes half a second."""

    def __init__(self, tools: Tools, opening: Opening) -> None:
        self._tools, self._opening = tools, opening
        self._lock = threading.Lock()
        self._idle: list[ClosableTracker] = []
        self._closed = False

    def take(self) -> ClosableTracker:
        """One that remembers nothing. Raises what opening it raises."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._tools.tracker(self._opening)

    def give(self, tracker: ClosableTracker) -> None:
        """Back for the next session; one that cannot forget is closed."""
        reset = getattr(tracker, "reset", None)
        if reset is not None:
            reset()
            with self._lock:
                if not self._closed:
                    self._idle.append(tracker)
                    return
        tracker.close()

    def close(self) -> None:
        """Close those that are idle now, and those that come back later."""
        with self._lock:
            self._closed, idle = True, self._idle
            self._idle = []
        for tracker in idle:
            tracker.close()


def mode_of(spec: SessionSpec) -> Mode:
    """Of a settled spec."""
    return spec.mode or Mode.PUPPET
