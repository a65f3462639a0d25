"""A worker in threads of this process: what a worker process runs, and what `--in-process` uses.

marotte-side             opens everything, then finds sources, one at a time, and prepares them
marotte-observe-NAME     one per session
marotte-generate-NAME    one per session
marotte-batch-BUNDLE     one per bundle: runs its graph for all sessions (engine/batching.py)
marotte-bundle           while one more bundle is opened beside them
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from engine import blend
from engine.errors import ConfigError, MarotteError, NoFaceError, WorkerError
from engine.media import read_picture
from engine.puppet import Opening
from engine.sample import sample_portrait
from engine.types import U8
from engine.worker.changes import checked, merged, parse, settled
from engine.worker.interface import (
    BundleInfo,
    Delivery,
    Look,
    SessionSpec,
    SourceInfo,
    Stamp,
    State,
    Worker,
    WorkerConfig,
    WorkerStatus,
    bundle_name,
)
from engine.worker.live import Live
from engine.worker.looking import answered
from engine.worker.offers import OpenBundle, first_kind
from engine.worker.opening import Opener, Sample
from engine.worker.preparing import Preparing
from engine.worker.sources import Finder, Ready, Sources, fitted, id_of
from engine.worker.stock import Stock, Trackers
from engine.worker.tools import Tools

_log = logging.getLogger("marotte.worker")

_JOIN_S = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    data: bytes
    name: str
    found: Future[SourceInfo]


class _ClosedError(Exception):
    """The worker is being closed: leave off."""


class LocalWorker(Worker):
    """See Worker. A frame that is posted is not copied: leave it alone afterwards. What hangs cannot be ended from
    inside one process; `busy_s` tells it to whoever can."""

    def __init__(self, config: WorkerConfig, tools: Tools | None = None) -> None:
        self._config, self._tools = config, tools or Tools()
        self._opening = Opening(
            config.backend,
            config.faces,
            config.cache,
            batch=config.batch,
            body_model=config.body,
            side=config.side,
        )
        self._lock = threading.RLock()
        self._status = WorkerStatus(State.STARTING, {}, pid=os.getpid())
        self._told: list[Callable[[WorkerStatus], None]] = []
        self._sessions: dict[str, Live] = {}
        self._ended: list[threading.Thread] = []
        self._sources = Sources()
        self._bundles: tuple[BundleInfo, ...] = ()
        self._open_bundles: dict[str, OpenBundle] = {}
        self._opener = Opener(config, self._tools, self._opening, self._go_on)
        self._sample: Sample | None = None
        self._adding: threading.Thread | None = None
        self._stock: Stock | None = None
        self._work: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()  # None: look what else there is
        self._job: _Job | None = None
        self._closing = False
        self._side: threading.Thread | None = None

    def start(self) -> None:
        with self._lock:
            if self._side is None and not self._closing:
                self._side = threading.Thread(target=self._serve, name="marotte-side", daemon=True)
                self._side.start()

    def status(self) -> WorkerStatus:
        return self._status

    def on_status(self, told: Callable[[WorkerStatus], None]) -> None:
        with self._lock:
            self._told.append(told)

    def bundles(self) -> tuple[BundleInfo, ...]:
        return self._bundles

    def add_bundle(self, bundle: str) -> Future[BundleInfo]:
        added: Future[BundleInfo] = Future()
        with self._lock:
            stock = self._stock
            try:
                name = bundle_name(bundle)
                if stock is None or self._status.state is not State.READY:
                    raise WorkerError(
                        self._refusal() or "the worker is still starting: try again in a moment"
                    )
                if self._adding is not None:
                    raise WorkerError("busy with another bundle: try again when it is open")
                if name in self._open_bundles:
                    raise ConfigError(f"bundle {name}: one of this name is offered already")
            except MarotteError as error:
                added.set_exception(error)
            else:
                work = (bundle, stock, added)
                self._adding = threading.Thread(
                    target=self._add_bundle, args=work, name="marotte-bundle", daemon=True
                )
                self._adding.start()
        return added

    def drop_bundle(self, name: str) -> None:
        with self._lock:
            configured = {bundle_name(bundle) for bundle in self._config.bundles}
            if name in configured or name not in {info.name for info in self._bundles}:
                raise ConfigError(f"bundle {name}: it was not added, so it is not taken back")
            if any(live.runs(name) for live in self._sessions.values()):
                raise WorkerError(
                    f"bundle {name}: a session runs it; turn it to another system first, or end it"
                )
            self._bundles = tuple(info for info in self._bundles if info.name != name)
            dropped = self._open_bundles.pop(name)
            self._sources.forget(name)
            if self._stock is not None:
                self._stock.preparing.forget(name)
        dropped.runner.close()

    def busy_s(self) -> float:
        """Seconds for which the stage that is longest at work has been at it; 0 when all wait."""
        with self._lock:
            stages = [busy for live in self._sessions.values() for busy in (live.busy, live.generating.busy)]
            runners = [] if self._stock is None else [one.runner for one in self._stock.bundles.values()]
        at_it = [*(stage.seconds() for stage in stages), *(runner.busy_s() for runner in runners)]
        return max(at_it, default=0.0)

    def add_source(self, data: bytes, name: str) -> Future[SourceInfo]:
        found: Future[SourceInfo] = Future()
        with self._lock:
            refusal = self._refusal()
            if refusal is None and self._job is None:
                self._job = _Job(data, name, found)
                self._work.put(self._job)
            else:
                found.set_exception(
                    WorkerError(refusal or "busy with another source: try again when it is done")
                )
        return found

    def drop_source(self, source: str) -> None:
        self._sources.drop(source)

    def open(self, session: str, spec: SessionSpec, deliver: Callable[[Delivery], None]) -> None:
        spec = checked(spec, driver_pixels=self._config.driver_pixels)
        with self._lock:
            if self._stock is None or self._status.state is not State.READY:
                raise WorkerError(self._refusal() or "the worker is still starting: try again in a moment")
            if session in self._sessions:
                raise WorkerError(f"session {session}: it is open already")
            if len(self._sessions) >= self._config.sessions:
                raise WorkerError(f"busy: {self._config.sessions} sessions at most; end one first")
            spec = settled(spec, self._bundles, edit=self._config.edit)
            cast = self._sources.show(spec.sources)
            self._sessions[session] = Live(session, spec, deliver, cast, self._stock)

    def post(self, session: str, rgb: U8, stamp: Stamp) -> bool:
        live = self._sessions.get(session)
        return True if live is None else live.post(rgb, stamp)

    def change(self, session: str, change: Mapping[str, Any]) -> int:
        parsed = parse(change, driver_pixels=self._config.driver_pixels)
        with self._lock:
            live = self._sessions.get(session)
            if live is None:
                raise ConfigError(f"session {session}: it is not open")
            spec = settled(merged(live.spec, parsed), self._bundles, edit=self._config.edit)
            try:
                named = parsed.source is not None or parsed.donors is not None
                cast = self._sources.show(spec.sources) if named else None
            except WorkerError as error:
                raise ConfigError(str(error)) from error
            return live.change(parsed, spec, cast)

    def look(self, session: str, *, rest: bool = False) -> Future[Look]:
        live = self._sessions.get(session)
        return answered(session, None if live is None else lambda: live.layout(rest=rest))

    def close_session(self, session: str) -> None:
        with self._lock:
            live = self._sessions.pop(session, None)
            if live is not None:
                live.close()
                self._ended = [thread for thread in self._ended if thread.is_alive()] + live.threads()

    def close(self) -> None:
        with self._lock:
            if self._closing:
                return
            self._closing = True
            for session in list(self._sessions):
                self.close_session(session)
            job, self._job = self._job, None
            threads = list(self._ended)
            stock = self._stock
        self._work.put(None)
        threads += [thread for thread in (self._side, self._adding) if thread is not None]
        if job is not None and job.found.set_running_or_notify_cancel():
            job.found.set_exception(WorkerError("the worker was closed"))
        if _join(threads) and stock is not None:
            stock.close()
        self._tell(State.CLOSED)

    def _refusal(self) -> str | None:
        status = self._status
        if self._closing or status.state is State.CLOSED:
            return "the worker was closed"
        return f"the worker cannot be started: {status.detail}" if status.state is State.FAILED else None

    def _tell(self, state: State, detail: str = "") -> None:
        with self._lock:
            if self._closing and state is not State.CLOSED:
                return
            self._status = WorkerStatus(state, {}, detail, os.getpid())
            told = list(self._told)
        for one in told:
            try:
                one(self._status)
            except Exception as error:  # whoever listens must not stop the worker
                _log.warning("a listener of the worker's state failed: %s", error, exc_info=error)

    # The side thread.

    def _serve(self) -> None:
        with ExitStack() as opened:
            try:
                finder = self._open(opened)
            except _ClosedError:
                return
            except Exception as error:
                _log.debug("the worker cannot be started", exc_info=error)
                self._tell(State.FAILED, _line(error))
                self._fail_job(WorkerError(f"the worker cannot be started: {_line(error)}"))
                return
            self._tell(State.READY)
            stock = self._stock
            while stock is not None and not self._closing:
                job = self._work.get()
                stock.preparing.work()
                if job is not None and not self._closing:
                    self._add(finder, stock, job)

    def _open(self, opened: ExitStack) -> Finder:
        """Everything that a first session would wait for."""
        tools, opening, config = self._tools, self._opening, self._config
        undo = opened.enter_context(ExitStack())
        bundles = self._open_bundles
        for bundle in config.bundles:
            one = self._opener.open(bundle)
            undo.callback(one.runner.close)
            bundles[one.info.name] = one
            self._go_on()
        blend.warm_up()
        self._go_on()
        detector = opened.enter_context(closing(tools.detector(opening)))
        self._go_on()
        segmenter = opened.enter_context(closing(tools.segmenter(opening)))
        self._go_on()
        trackers, followers = (Trackers(partial(opens, opening)) for opens in (tools.tracker, tools.follower))
        opened.callback(trackers.close)
        opened.callback(followers.close)
        finder = Finder(detector, segmenter, side=config.side, faces=config.faces)
        preparing = Preparing(bundles, lambda: self._work.put(None))
        stock = Stock(
            tools,
            opening,
            bundles,
            self._sources,
            preparing,
            trackers,
            followers,
            config.side,
            config.driver_pixels,
        )
        self._warm(stock, finder)
        with self._lock:
            self._go_on()
            self._bundles = tuple(bundle.info for bundle in bundles.values())
            self._stock = stock
            undo.pop_all()  # from here on the runners are closed after the threads that use them
        return finder

    def _warm(self, stock: Stock, finder: Finder) -> None:
        """The sample through every stage of every bundle once, so that no frame of a session is the first of its
        kind."""
        path = sample_portrait()
        tracker = stock.trackers.take()
        try:
            ready = finder.find(path.read_bytes(), path.name, self._go_on)
        except NoFaceError as error:
            _log.warning("the sample portrait was not found, so nothing was warmed up: %s", error)
            stock.trackers.give(tracker)
            return
        self._sources.add(ready)
        self._sample = Sample(ready, fitted(read_picture(path), self._config.side))
        self._opener.warm_up(stock, stock.bundles.values(), self._sample, tracker)
        stock.trackers.give(tracker)

    # The thread of one more bundle.

    def _add_bundle(self, bundle: str, stock: Stock, added: Future[BundleInfo]) -> None:
        found: BundleInfo | None = None
        fault: Exception = WorkerError("the worker was closed")
        try:
            found = self._one_more(bundle, stock)
        except _ClosedError:
            pass
        except Exception as error:  # whatever it is, it is told to whoever asked for the bundle
            fault = error
        with self._lock:
            self._adding = None
        if found is not None:
            added.set_result(found)
        else:
            added.set_exception(fault)

    def _one_more(self, bundle: str, stock: Stock) -> BundleInfo:
        one = self._opener.open(bundle)
        name = one.info.name
        try:
            with self._lock:
                self._go_on()
                self._open_bundles[name] = one
            if self._sample is not None:
                tracker = stock.trackers.take()
                try:
                    self._opener.warm_up(stock, [one], self._sample, tracker)
                finally:
                    stock.trackers.give(tracker)
            with self._lock:
                self._go_on()
                self._bundles += (one.info,)
        except BaseException:
            with self._lock:
                self._open_bundles.pop(name, None)
            one.runner.close()
            raise
        return one.info

    def _add(self, finder: Finder, stock: Stock, job: _Job) -> None:
        until = time.perf_counter() + self._config.add_s

        def go_on() -> None:
            self._go_on()
            stock.preparing.work()  # sessions wait for it
            if time.perf_counter() > until:
                raise WorkerError(
                    f"{job.name}: overdue, it took more than {self._config.add_s:g} s; give a smaller one"
                )

        try:
            info = self._sources.again(id_of(job.data), job.name)
            if info is None:
                ready = finder.find(job.data, job.name, go_on)
                go_on()
                ready = self._tried(stock, ready)
                self._sources.add(ready)
                info = ready.info
        except _ClosedError:
            return
        except Exception as error:  # whatever it is, it is told to whoever sent the source
            self._fail_job(error)
            return
        self._end_job(lambda found: found.set_result(info))

    def _tried(self, stock: Stock, ready: Ready) -> Ready:
        """A source with what the first bundle that uses any says of it. Raises where that cannot use it."""
        kind = first_kind(self._bundles)
        if kind is None:
            return ready
        made = stock.preparing.make(ready, *kind)
        if isinstance(made, Exception):
            raise made
        told = (note for prepared in made for note in prepared.notes)
        notes = tuple(dict.fromkeys((*ready.info.notes, *told)))
        return replace(ready, info=replace(ready.info, notes=notes))

    def _go_on(self) -> None:
        if self._closing:
            raise _ClosedError

    def _fail_job(self, error: Exception) -> None:
        self._end_job(lambda found: found.set_exception(error))

    def _end_job(self, end: Callable[[Future[SourceInfo]], None]) -> None:
        with self._lock:
            job, self._job = self._job, None
        if job is not None and job.found.set_running_or_notify_cancel():
            end(job.found)


def _line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _join(threads: list[threading.Thread]) -> bool:
    """Wait for threads, two seconds for all of them; whether all have ended."""
    until = time.perf_counter() + _JOIN_S
    for thread in threads:
        if thread is not threading.current_thread():
            thread.join(max(0.0, until - time.perf_counter()))
    left = [thread.name for thread in threads if thread.is_alive()]
    if left:
        _log.warning("still at work while the worker closed: %s", ", ".join(left))
    return not left
