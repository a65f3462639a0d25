"""The two stages of a live session, in two threads: while one frame is generated, the next is tracked.

    post -> [one slot] -> observe, a thread per session -> [one slot] -> generate, a thread per session -> deliver

The newest frame wins at both slots, so that a slow stage makes frames fewer and never older. The sessions of a bundle
meet in its runner alone (engine/batching.py): while one's frames are in it, another's picture is pasted and sent.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from engine.batching import Ran, SessionRunner
from engine.coach.measures import Measures
from engine.media.planes import i420_of
from engine.pipeline import run_batch
from engine.self_check.signs import Signs
from engine.staged import Staged, Underway
from engine.types import U8, FrameReport, Mode
from engine.worker import heap
from engine.worker.interface import Delivery, Stamp
from engine.worker.latest import Latest

_log = logging.getLogger("marotte.worker")

_NOTHING = Ran()
_SHARE = 0.2  # of the newest time in a smoothed one


class Busy:
    """Since when a stage is at work, told to a thread that watches."""

    def __init__(self) -> None:
        self._since: float | None = None

    def begin(self, allowance_s: float = 0.0) -> None:
        """At work from now on. allowance_s: what may pass before it counts."""
        self._since = time.perf_counter() + allowance_s

    def end(self) -> None:
        self._since = None

    def seconds(self) -> float:
        """How long the stage has been at work, 0 while it waits."""
        since = self._since
        return 0.0 if since is None else max(0.0, time.perf_counter() - since)


class Once:
    """Logs each kind of error once."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._logged: set[type[BaseException]] = set()

    def log(self, error: Exception) -> None:
        if type(error) not in self._logged:
            self._logged.add(type(error))
            _log.warning("%s: %s", self._what, error, exc_info=error)


class Planes:
    """Pictures as I420 planes; one that stands still is converted once and then copied."""

    def __init__(self) -> None:
        self._picture: U8 | None = None
        self._planes: U8 | None = None

    def of(self, picture: U8) -> U8:
        """The planes of uint8 (H, W, 3) with even sides, the caller's own."""
        if picture is not self._picture:
            self._picture, self._planes = picture, None
            return i420_of(picture)
        if self._planes is None:
            self._planes = i420_of(picture)
        return self._planes.copy()


@dataclass(slots=True, eq=False)
class Recipient:
    """Where one session's pictures of one bundle and mode go: ended by whoever closes the session, or retired where
    another bundle or mode takes its place; `runner` is its own and is closed then."""

    name: str
    bundle: str
    mode: Mode
    session: Staged
    runner: SessionRunner
    deliver: Callable[[Delivery], None]
    closed: threading.Event
    planes: Planes
    once: Once
    retired: bool = False

    @property
    def over(self) -> bool:
        """Whether nothing of it is to be delivered any more."""
        return self.retired or self.closed.is_set()


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """One observed frame. changes, source: as they were in force when it was. camera: what was measured meanwhile.
    signs: of this frame, while a self check runs."""

    recipient: Recipient
    work: Underway
    stamp: Stamp
    changes: int
    source: str
    observed_s: float
    camera: Measures | None = None
    signs: Signs | None = None


class Pace:
    """When the answers for a frame are needed: so early that its picture has left when the next frame is there.

    For two threads: one tells what was observed, the other the rest.
    """

    def __init__(self) -> None:
        self._observed_s: float | None = None
        self._interval_s: float | None = None
        self._after_s = 0.0

    def observed(self, now: float) -> None:
        """A frame is ready to be generated."""
        if self._observed_s is not None:
            passed = now - self._observed_s
            usual = passed if self._interval_s is None else self._interval_s
            # A pause is no interval: one grows by a fifth at most.
            self._interval_s = usual + _SHARE * (min(passed, 2.0 * usual) - usual)
        self._observed_s = now

    def due_s(self, observed_s: float) -> float:
        """For the frame that was observed then; never, where no interval is known."""
        return math.inf if self._interval_s is None else observed_s + self._interval_s - self._after_s

    def shown(self, seconds: float) -> None:
        """How long it took from the answers until the picture had left."""
        self._after_s += _SHARE * (seconds - self._after_s)


class Generating:
    """The thread that generates, shows and hands over one session's frames. once: logs what fails."""

    def __init__(self, name: str, once: Once) -> None:
        self.busy = Busy()
        self._observed: Latest[Observed] = Latest()
        self._pace, self._once = Pace(), once
        self.thread = threading.Thread(target=self._run, name=f"marotte-generate-{name[:8]}", daemon=True)
        self.thread.start()

    def put(self, observed: Observed) -> None:
        """The newest one; an older one that still waits is dropped."""
        self._pace.observed(observed.observed_s)
        self._observed.put(observed)

    def close(self) -> None:
        """End after the frame at hand."""
        self._observed.close()

    def _run(self) -> None:
        while (observed := self._observed.take()) is not None:
            if observed.recipient.over:
                continue
            self.busy.begin()
            try:
                self._generate(observed)
            except Exception as error:  # nothing may end this thread: the next frame may do better
                self._once.log(error)
            self.busy.end()
        heap.give_back()

    def _generate(self, observed: Observed) -> None:
        recipient = observed.recipient
        runner, session = recipient.runner, recipient.session
        observed.work.seconds["queue"] = time.perf_counter() - observed.observed_s
        work: Underway = session.feed(observed.work)
        runner.due_s = self._pace.due_s(observed.observed_s)
        answers = run_batch(runner, work.ports)
        if recipient.over:  # that its runner was closed is no failure of the frame
            return
        answered_s = time.perf_counter()
        ran = runner.last if work.ports else _NOTHING
        if work.ports and runner.gathers:
            work.seconds["gather"] = ran.waited_s
        frame, report = session.show(work, answers, ran.ran_s)
        if recipient.over:
            return
        delivery = _delivery(observed, work, frame.rgb, replace(report, batch=ran.size))
        if not recipient.over:
            recipient.deliver(delivery)
        self._pace.shown(time.perf_counter() - answered_s)


def _delivery(observed: Observed, work: Underway, picture: U8, report: FrameReport) -> Delivery:
    recipient, stamp = observed.recipient, observed.stamp
    started = time.perf_counter()
    planes = recipient.planes.of(picture)
    now = time.perf_counter()
    work.seconds["planes"] = now - started
    return Delivery(
        recipient.name,
        planes,
        stamp,
        replace(report, pts=stamp.pts, age_s=now - stamp.arrived_s),
        observed.changes,
        observed.source,
        recipient.bundle,
        recipient.mode,
        observed.camera,
        observed.signs,
    )
