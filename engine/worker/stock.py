"""What the sessions of one worker share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from engine.plug import Prepared
from engine.puppet import Opening
from engine.staged import body_driven
from engine.types import Mode
from engine.worker.interface import SessionSpec
from engine.worker.offers import OpenBundle
from engine.worker.preparing import Preparing
from engine.worker.sources import Cast, Sources
from engine.worker.tools import ClosableBody, ClosableTracker, Tools


@dataclass(frozen=True, slots=True, eq=False)
class Stock:
    """What the sessions of one worker share. bundles: those that are offered, by name. trackers: of faces. followers:
    of bodies. side: longest side of an edited
    picture. driver_pixels: the operator asked for them."""

    tools: Tools
    opening: Opening
    bundles: Mapping[str, OpenBundle]
    sources: Sources
    preparing: Preparing
    trackers: Trackers
    followers: Trackers
    side: int
    driver_pixels: bool

    def prepared(self, spec: SessionSpec, cast: Cast) -> tuple[Prepared, ...] | None:
        """What a session of this spec, settled, is given; see Preparing.get."""
        return self.preparing.get(cast, spec.bundle, mode_of(spec))

    def following(self, bundle: str) -> Trackers:
        """What the drivers of this bundle are followed by."""
        return self.trackers if body_driven(self.bundles[bundle].generator) is None else self.followers

    def close(self) -> None:
        """After the threads that use the runners."""
        for bundle in self.bundles.values():
            bundle.runner.close()


Followed = ClosableTracker | ClosableBody


class Trackers:
    """Opened trackers of one kind that no session uses: opening one takes half a second. opens: a new one."""

    def __init__(self, opens: Callable[[], Followed]) -> None:
        self._opens = opens
        self._lock = threading.Lock()
        self._idle: list[Followed] = []
        self._closed = False

    def take(self) -> Followed:
        """One that remembers nothing. Raises what opening it raises."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._opens()

    def give(self, tracker: Followed) -> None:
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
