"""The two stages of a live session, in two threads: while one frame is generated, the next is tracked.

    post -> [one slot] -> observe, a thread per session -> [one slot] -> generate, one thread for all -> deliver

The newest frame wins at both slots, so that a slow stage makes frames fewer and never older.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.media.planes import i420_of
from engine.pipeline import Session, Work, run_batch
from engine.plug import Runner
from engine.types import U8, Mode
from engine.worker.interface import Delivery, Stamp
from engine.worker.resting import Resting

_log = logging.getLogger("marotte.worker")


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
    """Where one session's pictures of one bundle and mode go: kept by the generate stage, ended by whoever closes the
    session, or retired where another bundle or mode takes its place."""

    name: str
    bundle: str
    mode: Mode
    session: Session | Resting
    runner: Runner
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
    """One observed frame. changes, source: as they were in force when it was."""

    recipient: Recipient
    work: Work
    stamp: Stamp
    changes: int
    source: str
    observed_s: float


class Generating:
    """The thread that generates, shows and hands over, for all sessions at once."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._waiting: dict[Recipient, Observed] = {}
        self._closed = False
        self._once = Once("a batch failed")
        self.busy = Busy()
        self.thread = threading.Thread(target=self._run, name="marotte-generate", daemon=True)
        self.thread.start()

    def put(self, observed: Observed) -> None:
        """The newest of its session; an older one that still waits is dropped."""
        with self._changed:
            if not self._closed:
                self._waiting[observed.recipient] = observed
                self._changed.notify()

    def close(self) -> None:
        """End after the batch at hand."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify()

    def _run(self) -> None:
        while taken := self._take():
            for batch in _by_runner(taken):
                self.busy.begin()
                try:
                    self._generate(batch)
                except Exception as error:  # nothing may end this thread: the next batch may do better
                    self._once.log(error)
                self.busy.end()

    def _take(self) -> list[Observed]:
        """One frame of every session that has one; empty at the end."""
        batch: list[Observed] = []
        with self._changed:
            while not batch and not self._closed:
                self._changed.wait_for(lambda: self._closed or self._waiting)
                batch = [observed for observed in self._waiting.values() if not observed.recipient.over]
                self._waiting.clear()
        return batch

    def _generate(self, batch: Sequence[Observed]) -> None:
        """All of one runner."""
        runner = batch[0].recipient.runner
        now = time.perf_counter()
        works = []
        for observed in batch:
            observed.work.seconds["queue"] = now - observed.observed_s
            works.append(observed.recipient.session.feed(observed.work))
        started = time.perf_counter()
        outputs = iter(run_batch(runner, [ports for work in works for ports in work.ports]))
        render_s = time.perf_counter() - started
        for observed, work in zip(batch, works):
            answers = [next(outputs) for _ in work.ports]
            try:
                delivery = _delivery(observed, work, answers, render_s)
                if not observed.recipient.over:
                    observed.recipient.deliver(delivery)
            except Exception as error:  # one session's fault must not reach another
                observed.recipient.once.log(error)


def _by_runner(taken: Sequence[Observed]) -> list[list[Observed]]:
    batches: dict[int, list[Observed]] = {}
    for observed in taken:
        batches.setdefault(id(observed.recipient.runner), []).append(observed)
    return list(batches.values())


def _delivery(observed: Observed, work: Work, answers: Sequence[object], render_s: float) -> Delivery:
    recipient, stamp = observed.recipient, observed.stamp
    frame, report = recipient.session.show(work, answers, render_s)  # type: ignore[arg-type]
    started = time.perf_counter()
    planes = recipient.planes.of(frame.rgb)
    now = time.perf_counter()
    work.seconds["planes"] = now - started
    report = dataclasses.replace(report, pts=stamp.pts, age_s=now - stamp.arrived_s)
    return Delivery(
        recipient.name,
        planes,
        stamp,
        report,
        observed.changes,
        observed.source,
        recipient.bundle,
        recipient.mode,
    )
