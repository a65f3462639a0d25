"""A worker in a process of its own, watched and replaced: what crashes, hangs or is stopped does not take the calls
with it.

One thread watches. It starts processes, hears what their readers tell, and when one is lost fences it first, kills it,
and puts the spare in its place. Everything a session needs to go on is kept on this side: its spec with all changes
made so far, and the bytes of the sources.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import logging
import queue
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

from engine.errors import ConfigError, WorkerError
from engine.types import U8
from engine.worker import changes, messages
from engine.worker.child import Child, Deliver
from engine.worker.interface import (
    SessionSpec,
    SourceInfo,
    Stamp,
    State,
    Worker,
    WorkerConfig,
    WorkerStatus,
)
from engine.worker.messages import Message
from engine.worker.process import Make, local_worker

if TYPE_CHECKING:
    from engine.worker.tools import Tools

_log = logging.getLogger("marotte.worker")

SOURCES_KEPT = 7
"""Sources that no session shows and that are kept all the same, the last used ones: one fewer than the process does,
so that it never forgets one that is counted on here."""
STARTS = 5
"""Starts in a row that never became ready, before the worker counts as failed."""

_TICK_S = 0.05
_LATE_TICK_S = 0.5
_LENIENT_S = 1.0
_SILENT_START_S = 30.0
_LONGEST_START_S = 120.0
_BACKOFF_S = (0.0, 0.25, 1.0, 2.0, 4.0)
_FAILED_BACKOFF_S = 30.0
_ADD_GRACE = 1.2
_STRIKES = 3
_POISONED_KEPT = 1024
_POLITE_S = 0.5
_END_S = 2.0


@dataclass(slots=True, eq=False)
class _Session:
    """spec: with all changes made so far, `changes` in number."""

    spec: SessionSpec
    deliver: Deliver
    changes: int = 0


@dataclass(slots=True, eq=False)
class _Held:
    """A source that was accepted. strikes: processes that it was lost with while it was added again."""

    data: bytes
    info: SourceInfo
    strikes: int = 0


@dataclass(slots=True, eq=False)
class _Wanted:
    """A source that somebody waits for. id: empty until it is known. sent: to which process it went."""

    data: bytes
    name: str
    future: Future[SourceInfo]
    id: str = ""
    sent: Child | None = None


class ProcessWorker(Worker):
    """See Worker. tools: what the process opens things with; they cross by spawn. make: what runs in the process."""

    def __init__(
        self, config: WorkerConfig, tools: Tools | None = None, *, make: Make = local_worker
    ) -> None:
        self._config, self._tools, self._make = config, tools, make
        self._lock = threading.RLock()
        self._events: queue.SimpleQueue[tuple[Child, Message | None] | None] = queue.SimpleQueue()
        self._told: list[Callable[[WorkerStatus], None]] = []
        self._status = WorkerStatus(State.STARTING, {})
        self._sessions: dict[str, _Session] = {}
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._wanted: _Wanted | None = None
        self._answers: list[tuple[Future[SourceInfo], SourceInfo | Exception]] = []
        self._poisoned: OrderedDict[str, None] = OrderedDict()
        self._restarts: dict[str, int] = {}
        self._warned = ""
        self._current: Child | None = None
        self._spare: Child | None = None
        self._dying: list[Child] = []
        self._number = 0
        self._ever_ready = False
        self._failures = 0
        self._next_start_s = 0.0
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
        return self._status

    def on_status(self, told: Callable[[WorkerStatus], None]) -> None:
        with self._lock:
            self._told.append(told)

    def add_source(self, data: bytes, name: str) -> Future[SourceInfo]:
        future: Future[SourceInfo] = Future()
        with self._lock:
            refusal = self._away()
            if refusal is None and self._wanted is not None:
                refusal = "busy with another source: try again when it is done"
            if refusal is None:
                self._wanted = _Wanted(data, name, future)
                self._events.put(None)
        if refusal is not None:
            future.set_exception(WorkerError(refusal))
        return future

    def drop_source(self, source: str) -> None:
        with self._lock:
            if all(session.spec.source != source for session in self._sessions.values()):
                self._forget(source)

    def open(self, session: str, spec: SessionSpec, deliver: Deliver) -> None:
        spec = changes.checked(spec, driver_pixels=self._config.driver_pixels)
        with self._lock:
            if self._status.state in (State.CLOSED, State.FAILED):
                raise WorkerError(self._away() or "the worker is away")
            if session in self._sessions:
                raise WorkerError(f"session {session}: it is open already")
            if len(self._sessions) >= self._config.sessions:
                raise WorkerError(f"busy: {self._config.sessions} sessions at most; end one first")
            if spec.source not in self._held:
                raise WorkerError("source: it is not known here (any more); add it again")
            self._held.move_to_end(spec.source)
            self._sessions[session] = _Session(spec, deliver)
            try:
                self._connect(session)
            except WorkerError:
                del self._sessions[session]
                raise

    def post(self, session: str, rgb: U8, stamp: Stamp) -> bool:
        child = self._current
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
            if parsed.source is not None:
                if parsed.source not in self._held:
                    raise ConfigError("source: it is not known here (any more); add it again")
                self._held.move_to_end(parsed.source)
            kept.spec = changes.merged(kept.spec, parsed)
            kept.changes += 1
            child = self._current
            if child is not None and child.has(session):
                if kept.spec.source in child.sources:
                    child.send("change", session=session, change=messages.change_fields(parsed))
                else:  # it is opened again once the process has the source
                    child.shut(session)
            return kept.changes

    def close_session(self, session: str) -> None:
        with self._lock:
            if self._sessions.pop(session, None) is not None:
                if self._current is not None:
                    self._current.shut(session)
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
            thread.join(_END_S + 1.0)

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
                self._hand_over()
        except Exception:
            _log.exception("the worker is no longer watched")
            self._end(State.FAILED)
        else:
            self._end(State.CLOSED)

    def _look(self, now_s: float) -> None:
        """Everything that is due."""
        for child in (self._current, self._spare):
            if child is not None and now_s > self._lenient_s and (lost := self._overrun(child, now_s)):
                self._lose(child, *lost)
        self._dying = [child for child in self._dying if not child.reap()]
        if self._current is None and now_s >= self._next_start_s:
            self._current = self._launched()
        elif self._spare_is_due(now_s):
            self._spare = self._launched()
        for child in (self._current, self._spare):
            if child is not None and child.ready and child.adding is None:
                self._feed(child)

    def _spare_is_due(self, now_s: float) -> bool:
        current = self._current
        wanted = self._config.spare and self._spare is None and now_s >= self._next_start_s
        return wanted and current is not None and current.ready and self._status.state is State.READY

    def _overrun(self, child: Child, now_s: float) -> tuple[str, str] | None:
        """Reason and words for what has taken too long."""
        silent_s = child.silent_s(now_s)
        if not child.ready:
            if silent_s > _SILENT_START_S or now_s - child.started_s > _LONGEST_START_S:
                return "hung", f"did not start within {now_s - child.started_s:.0f} s"
            return None
        if silent_s > self._config.hang_s:
            return "hung", f"gave no sign of life for {silent_s:.1f} s"
        if child.busy_s > self._config.hang_s:
            return "hung", f"was busy with one frame for {child.busy_s:.1f} s"
        if child.adding is not None and now_s - child.adding.since_s > _ADD_GRACE * self._config.add_s:
            return "overdue", f"took more than {self._config.add_s:g} s over a source"
        return None

    def _launched(self) -> Child | None:
        self._number += 1
        child = Child(self._number, self._config, lambda child, message: self._events.put((child, message)))
        try:
            child.start(self._tools, self._make)
        except Exception as error:  # no memory, no processes left, or tools that cannot cross
            child.fence()
            child.reap()
            self._failed_start(f"{type(error).__name__}: {error}", final=not isinstance(error, OSError))
            return None
        return child

    def _hear(self, child: Child, message: Message | None) -> None:
        if child is not self._current and child is not self._spare:
            return
        try:
            if message is None:
                self._lose(child, "crashed", child.how_it_ended())
            elif message.kind == "ready":
                self._ready(child, message.get("text", str))
            elif message.kind == "failed":
                self._lose(child, "crashed", message.get("text", str), final=message.get("final", bool))
            elif message.kind in ("added", "refused"):
                self._added(child, message)
            elif message.kind == "trouble":
                _log.warning("worker: %s: %s", message.get("command", str), message.get("text", str))
            else:
                raise WorkerError(f"message of an unknown kind: {message.kind:.40}")
        except WorkerError as error:
            child.nonsense = str(error)
            self._lose(child, "crashed", child.how_it_ended())

    def _ready(self, child: Child, text: str) -> None:
        child.ready = True
        self._ever_ready, self._failures = True, 0
        _log.debug("worker process %s is ready: %s", child.pid, text)
        self._go_on()

    def _go_on(self) -> None:
        """Let every session that can go on do so, and say so once all can."""
        child = self._current
        if child is None or not child.ready:
            return
        with self._lock:
            for session in self._sessions:
                try:
                    self._connect(session)
                except WorkerError as error:
                    _log.warning("session %s: it waits: %s", session, error)
            waiting = [name for name in self._missing(child) if self._in_use(name)]
        if not waiting:
            self._tell(State.READY)

    def _connect(self, session: str) -> None:
        child, kept = self._current, self._sessions[session]
        if child is not None and child.ready and kept.spec.source in child.sources and not child.has(session):
            child.open(session, kept.spec, kept.deliver, kept.changes)

    def _in_use(self, source: str) -> bool:
        return any(session.spec.source == source for session in self._sessions.values())

    def _missing(self, child: Child) -> list[str]:
        """Sources that the process is to have and has not, those in use first."""
        missing = [
            name for name, held in self._held.items() if name not in child.sources and held.strikes < _STRIKES
        ]
        return sorted(missing, key=lambda name: not self._in_use(name))

    def _feed(self, child: Child) -> None:
        """Give it the next source: one that a session waits for, a new one, then those that may be asked for."""
        wanted = self._wanted
        if wanted is not None and not wanted.id:
            wanted.id = hashlib.sha256(wanted.data).hexdigest()
        with self._lock:
            missing = self._missing(child)
            new = wanted is not None and wanted.sent is None and child is self._current
            if missing and (self._in_use(missing[0]) or not new):
                held = self._held[missing[0]]
                source, data, name = missing[0], held.data, held.info.name
            elif new and wanted is not None and self._is_wanted(wanted):
                source, data, name = wanted.id, wanted.data, wanted.name
                wanted.sent = child
            else:
                return
        try:
            child.add(source, data, name)
        except WorkerError as error:
            _log.warning("worker: %s waits: %s", name, error)
            with self._lock:
                if wanted is not None and wanted.sent is child:
                    self._answer(error)

    def _is_wanted(self, wanted: _Wanted) -> bool:
        """Whether a process is to look at it; one that has it already answers at once."""
        if wanted.id in self._poisoned:
            self._answer(_poison(wanted.name))
        elif wanted.future.cancelled():
            self._wanted = None
        return self._wanted is wanted

    def _added(self, child: Child, message: Message) -> None:
        """The process has an answer about the source that it was given."""
        source = message.get("source", str)
        if child.adding is None or child.adding.source != source:
            raise WorkerError("it answered about a source that it was not asked about")
        still = child.added()
        with self._lock:
            wanted = self._wanted if self._wanted is not None and self._wanted.sent is child else None
            if message.kind == "refused":
                error = messages.read_error(message)
                if source in self._held:  # it was taken before: the session that shows it would wait for ever
                    self._held[source].strikes += 1
                    _log.warning(
                        "worker: %s could not be added again: %s", self._held[source].info.name, error
                    )
                if wanted is not None:
                    self._answer(error)
            else:
                child.sources.add(source)
                if wanted is not None:
                    self._accept(wanted, message, still)
                elif source in self._held:
                    self._held[source].strikes = 0
        self._go_on()

    def _accept(self, wanted: _Wanted, message: Message, still: U8 | None) -> None:
        info = messages.read_source(message, still)
        held = self._held.get(wanted.id)
        self._held[wanted.id] = _Held(wanted.data, info) if held is None else held
        self._held.move_to_end(wanted.id)
        self._forget_idle()
        self._answer(info)

    def _answer(self, result: SourceInfo | Exception) -> None:
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            self._answers.append((wanted.future, result))

    def _hand_over(self) -> None:
        """Answer those who wait for a source; without the lock, because what they do then is their business."""
        with self._lock:
            answers, self._answers = self._answers, []
        for future, result in answers:
            if not future.set_running_or_notify_cancel():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

    def _forget_idle(self) -> None:
        idle = [source for source in self._held if not self._in_use(source)]
        for source in idle[: max(0, len(idle) - SOURCES_KEPT)]:
            self._forget(source)

    def _forget(self, source: str) -> None:
        self._held.pop(source, None)
        for child in (self._current, self._spare):
            if child is not None and source in child.sources:
                child.sources.discard(source)
                child.send("drop", source=source)

    def _lose(self, child: Child, reason: str, words: str, *, final: bool = False) -> None:
        """Fence it, kill it, and let the spare take over."""
        adding = child.adding
        child.fence()
        child.kill()
        if reason == "hung" and child is self._current:
            _log.warning("worker process %s %s", child.pid, words)
        self._dying.append(child)
        with self._lock:
            if adding is not None:
                self._blame(child, adding.source, words)
            if child is self._spare:
                self._spare = None
                if not child.ready:
                    self._failed_spare(words)
                return
            self._current, self._spare = self._spare, None
            self._restarts[reason] = self._restarts.get(reason, 0) + 1
        detail = f"the worker {words}"
        if not child.ready:
            self._failed_start(words, final=final)
            return
        _log.warning("%s; it is replaced", detail)
        self._tell(State.REPLACING, detail)
        self._go_on()

    def _blame(self, child: Child, source: str, words: str) -> None:
        """A source that a process was lost with is not tried again; one that was fine before, not for ever."""
        wanted = self._wanted
        if source in self._held:
            self._held[source].strikes += 1
        if wanted is None or wanted.sent is not child:
            return
        if source not in self._held:
            self._poisoned[source] = None
            if len(self._poisoned) > _POISONED_KEPT:
                self._poisoned.popitem(last=False)
        self._answer(
            WorkerError(f"{wanted.name}: the worker {words} while it looked at it; give another one")
        )

    def _failed_start(self, words: str, *, final: bool) -> None:
        self._failures += 1
        self._next_start_s = time.perf_counter() + _BACKOFF_S[min(self._failures, STARTS) - 1]
        detail = f"the worker could not be started: {words}"
        if self._failures < STARTS and not (final and not self._ever_ready):
            self._tell(self._status.state, detail)
            return
        if self._ever_ready:  # a first start is somebody's who waits for it, and tells it
            _log.error("%s", detail)
        with self._lock:
            self._answer(WorkerError(detail))
        # One that has run before may do so again, when there is memory for it, say.
        self._next_start_s = time.perf_counter() + _FAILED_BACKOFF_S if self._ever_ready else float("inf")
        self._tell(State.FAILED, detail)

    def _failed_spare(self, words: str) -> None:
        self._failures += 1
        wait_s = _FAILED_BACKOFF_S if self._failures >= STARTS else _BACKOFF_S[self._failures - 1]
        self._next_start_s = time.perf_counter() + wait_s
        _log.warning("the spare worker could not be started: %s", words)

    def _away(self) -> str | None:
        """Why nothing new can be begun now."""
        state, detail = self._status.state, self._status.detail
        if self._closing or state is State.CLOSED:
            return "the worker was closed"
        if state is State.FAILED:
            return detail
        if state is State.STARTING:
            return "the worker is still starting: try again in a moment"
        return None

    def _tell(self, state: State, detail: str = "") -> None:
        with self._lock:
            child = self._current
            pid = None if child is None or state is State.CLOSED else child.pid
            status = WorkerStatus(state, dict(self._restarts), detail, pid)
            if status == self._status:
                return
            self._status = status
            told = list(self._told)
        for one in told:
            try:
                one(status)
            except Exception:  # whoever listens must not stop the worker
                _log.exception("a listener of the worker's state failed")

    def _end(self, state: State) -> None:
        """Every process ends, and all that it had is freed."""
        with self._lock:
            self._closing = True
            self._sessions.clear()
            self._answer(WorkerError("the worker was closed"))
            children = [child for child in (self._current, self._spare) if child is not None]
            self._current = self._spare = None
        self._hand_over()
        until_s = time.perf_counter() + _POLITE_S
        for child in children:
            child.send("close") if child.ready else child.kill()
            child.fence()
        for child in children:
            if not child.reap(max(0.0, until_s - time.perf_counter())):
                child.kill()
        until_s = time.perf_counter() + _END_S - _POLITE_S
        left = [
            child
            for child in (*children, *self._dying)
            if not child.reap(max(0.0, until_s - time.perf_counter()))
        ]
        if left:
            _log.warning("processes that cannot be ended: %s", ", ".join(str(child.pid) for child in left))
        self._dying = left
        self._tell(state, "" if state is State.CLOSED else "the worker is no longer watched: see the log")


def _poison(name: str) -> WorkerError:
    return WorkerError(f"{name}: the worker was lost over it before; give another one")
