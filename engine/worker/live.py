"""One live session: its driver's newest frame, its changes, and the thread that observes."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.errors import InputError, PortError
from engine.pipeline import PipelineConfig, Session, Work
from engine.staged import Staged, body_driven
from engine.types import U8, Frame, Layout, Mode
from engine.worker import heap
from engine.worker.acted import Acted
from engine.worker.beginning import begun
from engine.worker.changes import Change, controls_of
from engine.worker.checking import Checking
from engine.worker.demo import BLANK, Performer, Ticker
from engine.worker.interface import TICKS, TIME_BASE, Delivery, DriverKind, SessionSpec, SourceInfo, Stamp
from engine.worker.latest import Latest
from engine.worker.resting import Resting
from engine.worker.servers import Absent, Servers
from engine.worker.sources import Cast, fitted
from engine.worker.stages import Busy, Generating, Observed, Once, Planes, Recipient
from engine.worker.stock import Followed, Stock, Trackers, mode_of
from engine.worker.watching import Watching

_log = logging.getLogger("marotte.worker")

_OPENING_S = 20.0
"""Seconds that opening networks may take before the stage counts as busy."""
_RETRY_S = 2.0
_LEAP = 5 * TICKS


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


@dataclass(frozen=True, slots=True, eq=False)
class _Pending:
    """A change that comes into force with the next frame. spec: settled, with the change in it. cast: where sources
    were named, shown already."""

    number: int
    change: Change
    spec: SessionSpec
    cast: Cast | None


class Live:
    """A session from the moment it is opened until its threads have ended. spec: settled. cast: its sources, shown
    already; they are let go of with the session."""

    def __init__(
        self,
        name: str,
        spec: SessionSpec,
        deliver: Callable[[Delivery], None],
        cast: Cast,
        stock: Stock,
    ) -> None:
        self.name, self.spec = name, spec
        self.busy = Busy()
        self._stock, self._deliver = stock, deliver
        self._frames: Latest[_Posted] = Latest()
        self._lock = threading.Lock()
        self._pending: list[_Pending] = []
        self._changes = self._asked = 0
        self._now, self._cast = spec, cast
        self._once = Once(f"session {name}: a frame failed")
        self.generating = Generating(name, self._once)
        self._timeline = Timeline()
        self._watching, self._checking = Watching(name), Checking()
        self._closed = threading.Event()
        self._recipient: Recipient | None = None
        self._ticker: Ticker | None = None
        self._ending: list[threading.Thread] = []
        self._tracker: Followed | None = None
        self._following: Trackers | None = None
        self._acted = Acted()
        self._absent, self._again_s = False, 0.0
        self._ask(spec, cast)
        self.thread = threading.Thread(target=self._run, name=f"marotte-observe-{name[:8]}", daemon=True)
        self.thread.start()
        self._tick(spec.driver)

    def post(self, rgb: U8, stamp: Stamp) -> bool:
        """See Worker.post. The frame is not copied: it is the session's from now on."""
        return self._post(rgb, stamp, DriverKind.TRACKER if _is_told(rgb) else DriverKind.CAMERA)

    def _post(self, rgb: U8, stamp: Stamp, driver: DriverKind) -> bool:
        if driver is not self.spec.driver:
            return True
        if driver is DriverKind.CAMERA and not _is_picture(rgb):
            self._once.log(PortError("the driver's frame: expected uint8 (H, W, 3), got another array"))
            return True
        return self._frames.put(_Posted(rgb, stamp, driver, time.perf_counter()))

    def change(self, change: Change, spec: SessionSpec, cast: Cast | None) -> int:
        """Make a checked change from the next frame on. spec: settled, with it. cast: all its sources, shown already,
        where the change names any. Returns its number."""
        with self._lock:
            former, self.spec = self.spec, spec
            self._asked += 1
            self._pending.append(_Pending(self._asked, change, spec, cast))
            number, driver = self._asked, spec.driver
            casts = [one.cast for one in self._pending if one.cast is not None]
            self._tick(driver)
        if cast is not None or _kind(former) != _kind(spec):
            self._ask(spec, casts[-1] if casts else self._cast)
        return number

    def layout(self, *, rest: bool) -> Layout:
        """See Session.layout; for any thread."""
        recipient = self._recipient
        if recipient is None or not isinstance(recipient.session, Session):
            raise InputError("layout: nothing was drawn yet; try again in a moment")
        return recipient.session.layout(rest=rest)

    def runs(self, bundle: str) -> bool:
        """Whether it does so now, or is about to."""
        with self._lock:
            return bundle in (self.spec.bundle, self._now.bundle, *(one.spec.bundle for one in self._pending))

    def close(self) -> None:
        """Nothing is delivered any more; the threads free what they hold and end."""
        self._closed.set()
        self._frames.close()
        self._watching.close()
        self.generating.close()
        if (recipient := self._recipient) is not None:
            recipient.runner.close()  # a frame that waits in it is not waited for
        with self._lock:
            self._end_ticker()

    def threads(self) -> list[threading.Thread]:
        """Those that are to have ended after `close`."""
        return [self.thread, self.generating.thread, self._watching.thread, *self._ending]

    def _ask(self, spec: SessionSpec, cast: Cast) -> None:
        """Have prepared what is needed next, so that it is there sooner."""
        with contextlib.suppress(Exception):  # whoever needs it is told
            self._stock.prepared(spec, cast)

    def _tick(self, driver: DriverKind) -> None:
        ticking = self._ticker is not None
        if driver is DriverKind.DEMO and not ticking and not self._frames.closed:
            self._ticker = Ticker(self._perform, f"marotte-demo-{self.name[:8]}")
        elif driver is not DriverKind.DEMO:
            self._end_ticker()

    def _perform(self, stamp: Stamp) -> None:
        self._post(BLANK, stamp, DriverKind.DEMO)

    def _run(self) -> None:
        with ExitStack() as opened:
            opened.callback(self._release)
            servers = Servers(self._stock.tools, self._stock.opening, opened, self._once.log)
            self._begin(servers)
            while (posted := self._frames.take()) is not None:
                self.busy.begin()
                try:
                    self._observe(servers, posted)
                except Exception as error:  # nothing may end this thread: the next frame may do better
                    self._once.log(error)
                self.busy.end()
        heap.give_back()

    def _begin(self, servers: Servers) -> Recipient | None:
        """The session proper, once its sources are prepared. What fails here is tried again a little later: until
        then nothing leaves."""
        if self._recipient is None and time.perf_counter() >= self._again_s:
            self.busy.begin(_OPENING_S)
            try:
                self._recipient = self._open(servers)
            except Exception as error:
                self._once.log(error)
                self._again_s = time.perf_counter() + _RETRY_S
            self.busy.begin()
        return self._recipient

    def _open(self, servers: Servers) -> Recipient | None:
        stock, spec, mode = self._stock, self._now, mode_of(self._now)
        bundle = stock.bundles[spec.bundle]
        session: Staged
        runner = bundle.runner.session()
        try:
            prepared = stock.prepared(spec, self._cast)
        except Exception as error:
            self._once.log(error)
            still = self._cast.source.faces[0].rgb if mode is Mode.PUPPET else None
            session = Resting(still, f"{type(error).__name__}: {error}")
        else:
            if prepared is None:
                return None
            config = PipelineConfig(mode=mode, fallback=spec.fallback)
            followed = self._followed()
            session = begun(bundle, runner, followed, prepared, servers, config, stock.opening.faces)
        self._set(session)
        return Recipient(
            self.name,
            spec.bundle,
            mode,
            session,
            runner,
            self._deliver,
            self._closed,
            Planes(),
            self._once,
        )

    def _driver(self) -> Any:
        """Who is to be followed. What cannot be opened is tried again a little later."""
        self._absent = False
        if self._now.driver is DriverKind.DEMO:
            driven = body_driven(self._stock.bundles[self._now.bundle].generator)
            return Performer() if driven is None else driven.performer()
        if self._now.driver is DriverKind.TRACKER:
            return self._acted
        following = self._stock.following(self._now.bundle)
        try:
            if self._tracker is None or self._following is not following:
                self._let_go()
                self._tracker, self._following = following.take(), following
        except Exception as error:
            self._once.log(error)
            self._absent, self._again_s = True, time.perf_counter() + _RETRY_S
            return Absent(error)
        return self._tracker

    def _let_go(self) -> None:
        """The tracker is another session's, from now on."""
        if self._tracker is not None and self._following is not None:
            self._following.give(self._tracker)
        self._tracker = None

    def _followed(self) -> Any:
        """The same, seen for the first time."""
        tracker = self._driver()
        if tracker is self._tracker and (reset := getattr(tracker, "reset", None)) is not None:
            reset()
        return tracker

    def _observe(self, servers: Servers, posted: _Posted) -> None:
        self._change()
        recipient = self._begin(servers)
        if recipient is None or posted.driver is not self._now.driver:
            return
        session = recipient.session
        if self._absent and time.perf_counter() >= self._again_s:
            self._follow(session)
        stamp, rgb = posted.stamp, posted.rgb
        if posted.driver is DriverKind.TRACKER:
            self._acted.told(rgb)
            rgb = BLANK
        rgb = np.ascontiguousarray(rgb)  # any other layout would be compiled for in mid-stream
        if recipient.mode is Mode.EDIT:
            rgb = fitted(rgb, self._stock.side)
        frame = Frame(rgb, self._timeline.pts(stamp), TIME_BASE, stamp.arrived_s)
        work = session.measure(frame, {"wait": time.perf_counter() - posted.posted_s})
        camera, signs = self._watching.take(), self._checking.read(self._now, self._cast.source, work)
        now = time.perf_counter()
        self.generating.put(
            Observed(recipient, work, stamp, self._changes, self._shown.id, now, camera, signs)
        )
        if posted.driver is DriverKind.CAMERA and isinstance(work, Work) and work.drives:
            drive = work.drives[0][1]
            self._watching.look(rgb, drive.face.points, drive.features.occlusion)

    @property
    def _shown(self) -> SourceInfo:
        """Whom the pictures show."""
        return self._stock.bundles[self._now.bundle].info.own or self._cast.source.info

    def _change(self) -> None:
        """What was asked for since the last frame comes into force, in its order: what has to be prepared first waits
        for that, and what came after it too."""
        with self._lock:
            pending = list(self._pending)
        done = 0
        for asked in pending:
            if not self._make(asked):
                break
            done += 1
        if done:
            with self._lock:
                del self._pending[:done]
            if self._recipient is not None:
                self._set(self._recipient.session)

    def _make(self, asked: _Pending) -> bool:
        """One change; False where it cannot be made yet."""
        before, spec = self._now, asked.spec
        other, session = _kind(before) != _kind(spec), None
        if self._recipient is not None and not other:
            session = self._recipient.session
        if asked.cast is not None and isinstance(session, Session):
            if not self._show(session, spec, asked.cast):
                return False
        elif asked.cast is not None:
            self._exchange(asked.cast)
        if other or (asked.cast is not None and isinstance(session, Resting)):
            self._retire()
            session = None
        self._now, self._changes = spec, asked.number
        if session is not None and spec.driver is not before.driver:
            self._follow(session)
        if session is not None and asked.change.recalibrate:
            session.recalibrate()
        return True

    def _show(self, session: Session, spec: SessionSpec, cast: Cast) -> bool:
        """Other sources; when they cannot be shown the old ones go on. False where they are not prepared yet."""
        try:
            prepared = self._stock.prepared(spec, cast)
            if prepared is None:
                return False
            session.use(prepared)
        except Exception as error:
            self._once.log(error)
            self._stock.sources.unshow(cast)
        else:
            self._exchange(cast)
        return True

    def _exchange(self, cast: Cast) -> None:
        former, self._cast = self._cast, cast
        self._stock.sources.unshow(former)

    def _retire(self) -> None:
        """Nothing of this bundle and mode is delivered any more; the next frame begins with the others."""
        if self._recipient is not None:
            self._recipient.retired = True
            self._recipient.runner.close()
            self._recipient = None
        self._again_s = 0.0

    def _follow(self, session: Staged) -> None:
        self.busy.begin(_OPENING_S)
        session.follow(self._followed())
        self.busy.begin()

    def _end_ticker(self) -> None:
        if self._ticker is not None:
            self._ticker.stop()
            self._ending = [one for one in self._ending if one.is_alive()] + [self._ticker.thread]
            self._ticker = None

    def _set(self, session: Staged) -> None:
        session.controls = controls_of(self._now, driver_pixels=self._stock.driver_pixels)
        session.smoothing = self._now.smoothing

    def _release(self) -> None:
        self.busy.end()
        self._retire()
        self._let_go()
        self._stock.sources.unshow(self._cast)
        for asked in self._pending:
            if asked.cast is not None:
                self._stock.sources.unshow(asked.cast)


def _kind(spec: SessionSpec) -> tuple[str, Mode]:
    """What a picture shows whose it is: two of different kinds are never mixed in one session."""
    return spec.bundle, mode_of(spec)


def _is_told(rgb: object) -> bool:
    """Whether it is what a tracker told, and no picture."""
    return isinstance(rgb, np.ndarray) and rgb.dtype == np.uint8 and rgb.ndim == 1


def _is_picture(rgb: object) -> bool:
    return (
        isinstance(rgb, np.ndarray)
        and rgb.dtype == np.uint8
        and rgb.ndim == 3
        and rgb.shape[2] == 3
        and rgb.size > 0
    )
