"""A worker in a process of its own, watched and replaced: what crashes, hangs or is stopped does not take the calls
with it.

One thread watches: it hears what the processes' readers tell, and when one is lost puts the spare in its place (see
pair.py). Everything a session needs to go on is kept on this side: its spec with all changes made so far, and the
bytes of the sources (see holdings.py).
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

from engine.errors import ConfigError, MarotteError, WorkerError
from engine.types import U8
from engine.worker import changes, messages
from engine.worker.added import Added
from engine.worker.child import Child, Deliver
from engine.worker.holdings import Holdings
from engine.worker.interface import (
    BundleInfo,
    Look,
    SessionSpec,
    SourceInfo,
    Stamp,
    State,
    Worker,
    WorkerConfig,
    WorkerStatus,
)
from engine.worker.messages import Message
from engine.worker.pair import END_S, Pair
from engine.worker.process import Make, local_worker
from engine.worker.standing import Standing

if TYPE_CHECKING:
    from engine.worker.tools import Tools

_log = logging.getLogger("marotte.worker")

_TICK_S = 0.05
_LATE_TICK_S = 0.5
_LENIENT_S = 1.0
_UNKNOWN = "source: it is not known here (any more); add it again"


@dataclass(slots=True, eq=False)
class _Session:
    """spec: with all changes made so far, `changes` in number."""

    spec: SessionSpec
    deliver: Deliver
    changes: int = 0


def _serves(child: Child, spec: SessionSpec) -> bool:
    """Whether the process has all that such a session needs."""
    return child.sources.issuperset(spec.sources) and spec.bundle in child.bundles


class ProcessWorker(Worker):
    """See Worker. tools: what the process opens things with; they cross by spawn. make: what runs in the process."""

    def __init__(
        self, config: WorkerConfig, tools: Tools | None = None, *, make: Make = local_worker
    ) -> None:
        self._config = config
        self._lock = threading.RLock()
        self._events: queue.SimpleQueue[tuple[Child, Message | None] | None] = queue.SimpleQueue()
        self._standing = Standing()
        self._sessions: dict[str, _Session] = {}
        self._configured: tuple[BundleInfo, ...] = ()
        self._added = Added()
        self._holdings = Holdings()
        self._restarts: dict[str, int] = {}
        self._warned = ""
        self._pair = Pair(config, tools, make, lambda child, message: self._events.put((child, message)))
        self._lenient_s = 0.0
        self._closing = False
        self._thread: threading.Thread | None = None

    # For any thread.

    def start(self) -> None:
        with self._lock:
            if self._thread is not None or self._closing:
                return
            if sys.platform != "win32":
                resource_tracker.ensure_running()
            atexit.register(self.close)
            self._thread = threading.Thread(target=self._watch, name="marotte-watch", daemon=True)
            self._thread.start()

    def status(self) -> WorkerStatus:
        return self._standing.now

    def on_status(self, told: Callable[[WorkerStatus], None]) -> None:
        self._standing.on_change(told)

    def bundles(self) -> tuple[BundleInfo, ...]:
        with self._lock:
            return self._configured + self._added.infos

    def add_bundle(self, bundle: str) -> Future[BundleInfo]:
        with self._lock:
            opened = self._added.want(bundle, [info.name for info in self._configured], self._away())
        self._events.put(None)
        return opened

    def drop_bundle(self, name: str) -> None:
        with self._lock:
            if any(session.spec.bundle == name for session in self._sessions.values()):
                raise WorkerError(
                    f"bundle {name}: a session runs it; turn it to another system first, or end it"
                )
            self._added.drop(name, self._pair.alive())

    def add_source(self, data: bytes, name: str) -> Future[SourceInfo]:
        with self._lock:
            refusal = self._away()
            wanted = self._holdings.want(data, name) if refusal is None else None
        if wanted is None:
            wanted = Future()
            wanted.set_exception(
                WorkerError(refusal or "busy with another source: try again when it is done")
            )
        self._events.put(None)
        return wanted

    def drop_source(self, source: str) -> None:
        with self._lock:
            if source not in self._shown():
                self._forget(source)

    def open(self, session: str, spec: SessionSpec, deliver: Deliver) -> None:
        spec = changes.checked(spec, driver_pixels=self._config.driver_pixels)
        with self._lock:
            if self._standing.now.state in (State.CLOSED, State.FAILED):
                raise WorkerError(self._away() or "the worker is away")
            if session in self._sessions:
                raise WorkerError(f"session {session}: it is open already")
            if len(self._sessions) >= self._config.sessions:
                raise WorkerError(f"busy: {self._config.sessions} sessions at most; end one first")
            self._sessions[session] = _Session(self._settled(spec, WorkerError), deliver)
            try:
                self._connect(session)
            except WorkerError:
                del self._sessions[session]
                raise

    def post(self, session: str, rgb: U8, stamp: Stamp) -> bool:
        child = self._pair.current
        try:
            return True if child is None else child.post(session, rgb, stamp)
        except WorkerError as error:
            if self._warned != str(error):  # once, and not for every frame
                self._warned = str(error)
                _log.warning("session %s: its frames are dropped: %s", session, error)
            return True

    def change(self, session: str, change: Mapping[str, Any]) -> int:
        parsed = changes.parse(change, driver_pixels=self._config.driver_pixels)
        with self._lock:
            kept = self._sessions.get(session)
            if kept is None:
                raise ConfigError(f"session {session}: it is not open")
            kept.spec = self._settled(changes.merged(kept.spec, parsed), ConfigError)
            kept.changes += 1
            child = self._pair.current
            if child is not None and child.has(session):
                if _serves(child, kept.spec):
                    child.send("change", session=session, change=messages.change_fields(parsed))
                else:  # it is opened again once the process has the source, or the bundle
                    child.shut(session)
            return kept.changes

    def look(self, session: str, *, rest: bool = False) -> Future[Look]:
        child = self._pair.current
        if child is not None and child.has(session):
            with contextlib.suppress(WorkerError):
                return child.look(session, rest=rest)
        away: Future[Look] = Future()
        away.set_exception(WorkerError("layout: the worker is busy or away; try again in a moment"))
        return away

    def _settled(self, spec: SessionSpec, unknown: type[MarotteError]) -> SessionSpec:
        """As it is offered, its sources the last used ones. Raises `unknown` where one is not here, or ConfigError."""
        if not all(source in self._holdings for source in spec.sources):
            raise unknown(_UNKNOWN)
        spec = changes.settled(spec, self.bundles(), edit=self._config.edit)
        for source in spec.sources:
            self._holdings.use(source)
        return spec

    def close_session(self, session: str) -> None:
        with self._lock:
            if self._sessions.pop(session, None) is not None:
                if self._pair.current is not None:
                    self._pair.current.shut(session)
                self._forget_idle()

    def close(self) -> None:
        with self._lock:
            self._closing = True
            thread = self._thread
        atexit.unregister(self.close)
        self._events.put(None)
        if thread is None:
            self._tell(State.CLOSED)
        elif thread is not threading.current_thread():
            thread.join(END_S + 1.0)

    # The watching thread, from here on; what touches sessions and sources holds the lock.

    def _watch(self) -> None:
        last_s = time.perf_counter()
        try:
            while not self._closing:
                with contextlib.suppress(queue.Empty):
                    event = self._events.get(timeout=_TICK_S)
                    if event is not None:
                        self._hear(*event)
                now_s = time.perf_counter()
                if now_s - last_s > _LATE_TICK_S:  # it was this process that was stopped, not the other one
                    self._lenient_s = now_s + _LENIENT_S
                last_s = now_s
                self._look(now_s)
                self._answer()
        except Exception:
            _log.exception("the worker is no longer watched")
            self._end(State.FAILED)
        else:
            self._end(State.CLOSED)

    def _look(self, now_s: float) -> None:
        """Everything that is due."""
        pair = self._pair
        for child in pair.alive():
            if now_s > self._lenient_s and (lost := child.overdue(now_s)):
                self._lose(child, *lost)
        pair.reap()
        if pair.may_start(now_s):
            if pair.current is None:
                pair.current = self._launched()
            elif self._spare_is_due(pair.current):
                pair.spare = self._launched()
        for child in pair.alive():
            if child.ready and child.adding is None:
                self._feed(child)
            if child.ready and not child.opening:
                self._open_next(child)

    def _spare_is_due(self, current: Child) -> bool:
        wanted = self._config.spare and self._pair.spare is None
        return wanted and current.ready and self._standing.now.state is State.READY

    def _launched(self) -> Child | None:
        try:
            return self._pair.launched()
        except Exception as error:  # no memory, no processes left, or tools that cannot cross
            words = f"{type(error).__name__}: {error}"
            if self._pair.current is None:
                self._failed_start(words, final=not isinstance(error, OSError))
            else:
                self._failed_spare(words)
            return None

    def _hear(self, child: Child, message: Message | None) -> None:
        if child not in self._pair.alive():
            return
        try:
            if message is None:
                self._lose(child, "crashed", child.how_it_ended())
            elif message.kind == "ready":
                self._ready(child, message)
            elif message.kind == "failed":
                self._lose(child, "crashed", message.get("text", str), final=message.get("final", bool))
            elif message.kind in ("added", "refused"):
                self._found(child, message)
            elif message.kind in ("bundle opened", "bundle refused"):
                self._opened(child, message)
            elif message.kind == "trouble":
                _log.warning("worker: %s: %s", message.get("command", str), message.get("text", str))
            else:
                raise WorkerError(f"message of an unknown kind: {message.kind:.40}")
        except WorkerError as error:
            child.nonsense = str(error)
            self._lose(child, "crashed", child.how_it_ended())

    def _ready(self, child: Child, message: Message) -> None:
        with self._lock:
            self._configured = messages.read_bundles(message)
            child.bundles = {info.name for info in self._configured}
        self._pair.started(child)
        _log.debug("worker process %s is ready: %s", child.pid, message.get("text", str))
        self._go_on()

    def _go_on(self) -> None:
        """Let every session that can go on do so, and say so once all can."""
        child = self._pair.current
        if child is None or not child.ready:
            return
        with self._lock:
            for session in self._sessions:
                try:
                    self._connect(session)
                except WorkerError as error:
                    _log.warning("session %s: it waits: %s", session, error)
            shown = self._shown()
            run = {session.spec.bundle for session in self._sessions.values()}
            waiting = not shown.isdisjoint(self._holdings.missing(child, shown))
            waiting = waiting or self._added.awaited(child, run)
        if not waiting:
            self._tell(State.READY)

    def _connect(self, session: str) -> None:
        child, kept = self._pair.current, self._sessions[session]
        if child is None or not child.ready or child.has(session):
            return
        if _serves(child, kept.spec):
            child.open(session, kept.spec, kept.deliver, kept.changes)

    def _shown(self) -> set[str]:
        """Sources that sessions show."""
        return {source for session in self._sessions.values() for source in session.spec.sources}

    def _feed(self, child: Child) -> None:
        """Give it the next source."""
        self._holdings.identify()
        with self._lock:
            new = child is self._pair.current
            parcel = self._holdings.next_for(child, self._shown(), new=new)
        if parcel is None:
            return
        try:
            child.add(*parcel)
        except WorkerError as error:
            _log.warning("worker: %s waits: %s", parcel.name, error)
            with self._lock:
                self._holdings.unsent(child, error)

    def _open_next(self, child: Child) -> None:
        """Have it open the next bundle that was added."""
        with self._lock:
            self._added.open_next(child, new=child is self._pair.current)

    def _opened(self, child: Child, message: Message) -> None:
        """The process has an answer about the bundle that it was given."""
        with self._lock:
            self._added.hear(child, message)
        self._go_on()

    def _found(self, child: Child, message: Message) -> None:
        """The process has an answer about the source that it was given."""
        source = message.get("source", str)
        if child.adding is None or child.adding.source != source:
            raise WorkerError("it answered about a source that it was not asked about")
        if message.kind == "refused":
            error = messages.read_error(message)
            with self._lock:
                self._holdings.refused(child, source, error)
        else:
            info = messages.read_source(message, child.still())
            with self._lock:
                self._holdings.accepted(child, info)
                self._forget_idle()
        child.added()
        self._go_on()

    def _answer(self) -> None:
        """Tell those who wait for a source."""
        with self._lock:
            answers = self._holdings.answers() + self._added.answers()
        for answer in answers:
            answer.give()

    def _forget_idle(self) -> None:
        for source in self._holdings.idle(self._shown()):
            self._forget(source)

    def _forget(self, source: str) -> None:
        self._holdings.forget(source)
        for child in self._pair.alive():
            if source in child.sources:
                child.sources.discard(source)
                child.send("drop", source=source)

    def _lose(self, child: Child, reason: str, words: str, *, final: bool = False) -> None:
        """The spare takes over, and nothing of the lost one is used any more."""
        with self._lock:
            spare = child is self._pair.spare
            self._holdings.blame(child, words)
            self._added.blame(child, words)
            self._pair.retire(child)
            if not spare:
                self._restarts[reason] = self._restarts.get(reason, 0) + 1
        self._pair.kill(child)
        if spare:
            if not child.ready:
                self._failed_spare(words)
        elif not child.ready:
            self._failed_start(words, final=final)
        else:
            detail = f"the worker {words}"
            _log.warning("%s (process %s); it is replaced", detail, child.pid)
            self._tell(State.REPLACING, detail)
            self._go_on()

    def _failed_start(self, words: str, *, final: bool) -> None:
        detail = f"the worker could not be started: {words}"
        if not self._pair.failed(final=final):
            self._tell(self._standing.now.state, detail)
            return
        if self._pair.ever_ready:  # a first start is somebody's who waits for it, and tells it
            _log.error("%s", detail)
        with self._lock:
            self._holdings.answer(WorkerError(detail))
            self._added.fail(WorkerError(detail))
        self._tell(State.FAILED, detail)

    def _failed_spare(self, words: str) -> None:
        self._pair.failed()
        _log.warning("the spare worker could not be started: %s", words)

    def _away(self) -> str | None:
        """Why nothing new can be begun now."""
        return self._standing.refusal(closing=self._closing)

    def _tell(self, state: State, detail: str = "") -> None:
        with self._lock:
            child = self._pair.current
            pid = None if child is None or state is State.CLOSED else child.pid
            restarts = dict(self._restarts)
        self._standing.tell(WorkerStatus(state, restarts, detail, pid))

    def _end(self, state: State) -> None:
        """Every process ends, and all that it had is freed."""
        with self._lock:
            self._closing = True
            self._sessions.clear()
            self._holdings.answer(WorkerError("the worker was closed"))
            self._added.fail(WorkerError("the worker was closed"))
            children = self._pair.leave()
        self._answer()
        self._pair.end(children)
        self._tell(state, "" if state is State.CLOSED else "the worker is no longer watched: see the log")
