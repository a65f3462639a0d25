"""One live session: its driver's newest frame, its changes, and the thread that observes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.errors import MarotteError, PortError
from engine.pipeline import PipelineConfig, Session, Tracker
from engine.plug import Generator, Runner
from engine.puppet import Opening
from engine.types import U8, Face, Frame, Signal
from engine.worker import heap
from engine.worker.changes import Change, controls_of, merged
from engine.worker.demo import BLANK, Performer, Ticker
from engine.worker.interface import TICKS, TIME_BASE, Delivery, DriverKind, SessionSpec, Stamp
from engine.worker.latest import Latest
from engine.worker.sources import Ready, Sources
from engine.worker.stages import Busy, Generating, Observed, Once, Planes, Recipient
from engine.worker.tools import ClosableTracker, Tools

_log = logging.getLogger("marotte.worker")

_OPENING_S = 20.0
"""Seconds that opening networks may take before the stage counts as busy."""
_RETRY_S = 2.0
_LEAP = 5 * TICKS


@dataclass(frozen=True, slots=True, eq=False)
class Stock:
    """What the sessions of one worker share. driver_pixels: the operator asked for them."""

    tools: Tools
    opening: Opening
    generator: Generator
    runner: Runner
    sources: Sources
    trackers: Trackers
    driver_pixels: bool


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


class Absent:
    """In place of what could not be opened: a session that asks it falls back, and says why."""

    main_id = None

    def __init__(self, error: Exception) -> None:
        self._words = str(error)

    def track(self, frame: Frame) -> tuple[Face, ...]:
        raise MarotteError(self._words)

    def mask(self, rgb: U8) -> U8:
        raise MarotteError(self._words)


class Timeline:
    """The session's media time: the driver's own, but where that runs back or leaps it goes on as the clock does."""

    def __init__(self) -> None:
        self._shift = 0
        self._last: Stamp | None = None
        self._pts = 0

    def pts(self, stamp: Stamp) -> int:
        """In 1/90000 s, above every one before."""
        if self._last is not None:
            passed = max(1, round((stamp.arrived_s - self._last.arrived_s) * TICKS))
            if not 0 < stamp.pts + self._shift - self._pts <= passed + _LEAP:
                self._shift = self._pts + passed - stamp.pts
        self._last, self._pts = stamp, stamp.pts + self._shift
        return self._pts


@dataclass(frozen=True, slots=True, eq=False)
class _Posted:
    rgb: U8
    stamp: Stamp
    driver: DriverKind
    posted_s: float


class Live:
    """A session from the moment it is opened until its thread has ended. ready: the source of its spec, shown already;
    it is let go of with the session."""

    def __init__(
        self,
        name: str,
        spec: SessionSpec,
        deliver: Callable[[Delivery], None],
        ready: Ready,
        stock: Stock,
        generating: Generating,
    ) -> None:
        self.name, self.spec = name, spec
        self.busy = Busy()
        self._stock, self._generating = stock, generating
        self._deliver = deliver
        self._frames: Latest[_Posted] = Latest()
        self._lock = threading.Lock()
        self._pending: list[tuple[int, Change, SessionSpec, Ready | None]] = []
        self._changes = self._asked = 0
        self._now, self._ready = spec, ready
        self._once = Once(f"session {name}: a frame failed")
        self._timeline = Timeline()
        self._closed = threading.Event()
        self._recipient: Recipient | None = None
        self._ticker: Ticker | None = None
        self._ending: list[threading.Thread] = []
        self._tracker: ClosableTracker | None = None
        self._absent, self._again_s = False, 0.0
        self.thread = threading.Thread(target=self._run, name=f"marotte-observe-{name[:8]}", daemon=True)
        self.thread.start()
        self._tick(spec.driver)

    def post(self, rgb: U8, stamp: Stamp, driver: DriverKind = DriverKind.CAMERA) -> bool:
        """See Worker.post. The frame is not copied: it is the session's from now on."""
        if driver is not self.spec.driver:
            return True
        if not _is_picture(rgb):
            self._once.log(PortError("the driver's frame: expected uint8 (H, W, 3), got another array"))
            return True
        return self._frames.put(_Posted(rgb, stamp, driver, time.perf_counter()))

    def change(self, change: Change, ready: Ready | None) -> int:
        """Make a checked change from the next frame on. ready: its source, shown already. Returns its number."""
        with self._lock:
            self.spec = merged(self.spec, change)
            self._asked += 1
            self._pending.append((self._asked, change, self.spec, ready))
            number, driver = self._asked, self.spec.driver
            self._tick(driver)
        return number

    def close(self) -> None:
        """Nothing is delivered any more; the thread frees what it holds and ends."""
        self._closed.set()
        self._frames.close()
        with self._lock:
            self._end_ticker()

    def threads(self) -> list[threading.Thread]:
        """Those that are to have ended after `close`."""
        return [self.thread, *self._ending]

    def _tick(self, driver: DriverKind) -> None:
        ticking = self._ticker is not None
        if driver is DriverKind.DEMO and not ticking and not self._frames.closed:
            self._ticker = Ticker(self._perform, f"marotte-demo-{self.name[:8]}")
        elif driver is DriverKind.CAMERA:
            self._end_ticker()

    def _perform(self, stamp: Stamp) -> None:
        self.post(BLANK, stamp, DriverKind.DEMO)

    def _run(self) -> None:
        with ExitStack() as opened:
            opened.callback(self._release)
            self._begin(opened)
            while (posted := self._frames.take()) is not None:
                self.busy.begin()
                try:
                    self._observe(opened, posted)
                except Exception as error:  # nothing may end this thread: the next frame may do better
                    self._once.log(error)
                self.busy.end()
        heap.give_back()

    def _begin(self, opened: ExitStack) -> Recipient | None:
        """The session proper. What fails here is tried again a little later: until then nothing leaves."""
        if self._recipient is None and time.perf_counter() >= self._again_s:
            self.busy.begin(_OPENING_S)
            try:
                with ExitStack() as opening:
                    self._recipient = self._open(opening)
                    opened.push(opening.pop_all())
            except Exception as error:
                self._once.log(error)
                self._again_s = time.perf_counter() + _RETRY_S
            self.busy.end()
        return self._recipient

    def _open(self, opened: ExitStack) -> Recipient:
        stock, needs = self._stock, self._stock.generator.needs
        body = self._server(stock.tools.body, opened) if Signal.BODY in needs else None
        person = self._server(stock.tools.segmenter, opened) if Signal.PARSING in needs else None
        expressions = None
        if Signal.AUS in needs and (expressions := stock.tools.expressions(stock.opening)) is not None:
            opened.enter_context(closing(expressions))
        session = Session(
            self._driver(),
            stock.generator,
            stock.runner,
            (),
            config=PipelineConfig(fallback=self.spec.fallback),
            body=body,
            segmenter=person,
            expressions=expressions,
            prepared=self._ready.prepared,
            reuse=True,
        )
        self._set(session)
        return Recipient(self.name, session, self._deliver, self._closed, Planes(), self._once)

    def _server(self, opens: Callable[[Opening], Any], opened: ExitStack) -> Any:
        try:
            return opened.enter_context(closing(opens(self._stock.opening)))
        except MarotteError as error:
            self._once.log(error)
            return Absent(error)

    def _driver(self) -> Tracker:
        """Who is to be followed. What cannot be opened is tried again a little later."""
        self._absent = False
        if self._now.driver is DriverKind.DEMO:
            return Performer()
        try:
            if self._tracker is None:
                self._tracker = self._stock.trackers.take()
        except Exception as error:
            self._once.log(error)
            self._absent, self._again_s = True, time.perf_counter() + _RETRY_S
            return Absent(error)
        return self._tracker

    def _observe(self, opened: ExitStack, posted: _Posted) -> None:
        recipient = self._begin(opened)
        if recipient is None:
            return
        session = recipient.session
        self._change(session)
        if posted.driver is not self._now.driver:
            return
        if self._absent and time.perf_counter() >= self._again_s:
            self._follow(session)
        stamp = posted.stamp
        rgb = np.ascontiguousarray(posted.rgb)  # any other layout would be compiled for in mid-stream
        frame = Frame(rgb, self._timeline.pts(stamp), TIME_BASE, stamp.arrived_s)
        work = session.measure(frame, {"wait": time.perf_counter() - posted.posted_s})
        self._generating.put(
            Observed(recipient, work, stamp, self._changes, self._ready.info.id, time.perf_counter())
        )

    def _change(self, session: Session) -> None:
        """What was asked for since the last frame comes into force."""
        with self._lock:
            pending, self._pending = self._pending, []
        for number, change, spec, ready in pending:
            before, self._now, self._changes = self._now, spec, number
            if ready is not None:
                self._show(session, ready)
            if spec.driver is not before.driver:
                self._follow(session)
            if change.recalibrate:
                session.recalibrate()
            self._set(session)

    def _show(self, session: Session, ready: Ready) -> None:
        """Another source; when it cannot be shown the old one goes on."""
        former = self._ready
        try:
            session.use(ready.prepared)
            self._ready = ready
        except Exception as error:
            self._once.log(error)
            former = ready
        self._stock.sources.unshow(former.info.id)

    def _follow(self, session: Session) -> None:
        self.busy.begin(_OPENING_S)
        tracker = self._driver()
        if tracker is self._tracker and (reset := getattr(tracker, "reset", None)) is not None:
            reset()
        session.follow(tracker)
        self.busy.begin()

    def _end_ticker(self) -> None:
        if self._ticker is not None:
            self._ticker.stop()
            self._ending = [one for one in self._ending if one.is_alive()] + [self._ticker.thread]
            self._ticker = None

    def _set(self, session: Session) -> None:
        session.controls = controls_of(self._now, driver_pixels=self._stock.driver_pixels)
        session.smoothing = self._now.smoothing

    def _release(self) -> None:
        self.busy.end()
        if self._tracker is not None:
            self._stock.trackers.give(self._tracker)
        self._stock.sources.unshow(self._ready.info.id)
        for _, _, _, ready in self._pending:
            if ready is not None:
                self._stock.sources.unshow(ready.info.id)


def _is_picture(rgb: object) -> bool:
    return (
        isinstance(rgb, np.ndarray)
        and rgb.dtype == np.uint8
        and rgb.ndim == 3
        and rgb.shape[2] == 3
        and rgb.size > 0
    )
