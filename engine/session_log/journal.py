"""The session log of a process that cannot wait: a thread writes, and what it could not write is counted."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from engine.errors import MarotteError, StateError
from engine.session_log.events import Event, checked, event_of
from engine.session_log.log import SessionLog

MOST_WAITING: Final = 256
ROOM: Final = 64
"""Beside them, for lines that somebody waits for: who tells too much keeps no session from starting."""
_CLOSE_S: Final = 10.0
_PRUNE_S: Final = 3600.0
_log = logging.getLogger("marotte.log")


class Keeping(Protocol):
    """What events are told to."""

    def tell(self, event: Event | str, **fields: Any) -> None:
        """Keep this line soon. Never blocks; what cannot be kept is counted, and the log says how many once it can be
        written again. Raises ConfigError for an event or a field that is never kept."""
        ...

    def keep(self, event: Event | str, **fields: Any) -> Future[None]:
        """The same for what must not happen unsaid: done once it is on the disk, a StateError where it is not."""
        ...


class NoJournal:
    """Keeps nothing."""

    def tell(self, event: Event | str, **fields: Any) -> None: ...

    def keep(self, event: Event | str, **fields: Any) -> Future[None]:
        done: Future[None] = Future()
        done.set_result(None)
        return done


@dataclass
class _Waiting:
    event: Event
    fields: dict[str, Any]
    done: Future[None] = field(default_factory=Future)
    must: bool = False


class Journal:
    """Writes into a log, in a thread of its own. days: how long lines are kept; older files are removed at the start
    and once an hour. counted: called in any thread with (lines written, lines that could not be)."""

    def __init__(
        self,
        log: SessionLog,
        *,
        days: int,
        counted: Callable[[int, int], None] = lambda written, failed: None,
        most: int = MOST_WAITING,
        room: int = ROOM,
    ) -> None:
        self.log = log
        self._days, self._counted = days, counted
        self._most = most
        self._queue: queue.Queue[_Waiting | None] = queue.Queue(most + room)
        self._lost, self._failing, self._open = 0, False, False
        self._guard = threading.Lock()
        self._prune_s = 0.0
        self._thread = threading.Thread(target=self._run, name="marotte-log", daemon=True)

    def start(self) -> tuple[int, str]:
        """Sign for what is there, and begin. Blocks. Returns the number and hash of the line. Raises StateError: what
        cannot be logged is not begun."""
        mark = self.log.checkpoint("started")
        self._counted(1, 0)
        self._prune()
        self._open = True
        self._thread.start()
        return mark

    def close(self) -> tuple[int, str] | None:
        """Write what waits, and sign for it. Blocks, in bounded time. Returns the number and hash of the last line;
        None where it could not be written."""
        if not self._open:
            return None
        self._open = False
        try:
            self._queue.put(None, timeout=_CLOSE_S)
            self._thread.join(_CLOSE_S)
            self._write_lost()
            mark = self.log.checkpoint("stopped")
        except (queue.Full, MarotteError) as error:
            self._failed(error)
            return None
        self._counted(1, 0)
        return mark

    def tell(self, event: Event | str, **fields: Any) -> None:
        """See Keeping."""
        self._put(_Waiting(event_of(event), checked(fields)))

    def keep(self, event: Event | str, **fields: Any) -> Future[None]:
        """See Keeping."""
        waiting = _Waiting(event_of(event), checked(fields), must=True)
        self._put(waiting)
        return waiting.done

    def _put(self, waiting: _Waiting) -> None:
        try:
            if not self._open:
                raise StateError("the session log is closed: the server is starting or ending")
            if not waiting.must and self._queue.qsize() >= self._most:
                raise queue.Full
            self._queue.put_nowait(waiting)
        except queue.Full:
            self._give_up(
                waiting,
                StateError("the session log cannot keep up: its disk is too slow; try again in a moment"),
            )
        except StateError as error:
            self._give_up(waiting, error)

    # --- in the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            try:
                waiting = self._queue.get(timeout=_PRUNE_S)
            except queue.Empty:
                self._prune()
                continue
            if waiting is None:
                return
            self._take(waiting)
            if time.monotonic() - self._prune_s > _PRUNE_S:
                self._prune()

    def _take(self, waiting: _Waiting) -> None:
        try:
            self._write_lost()
            self.log.write(waiting.event, **waiting.fields)
        except MarotteError as error:
            self._give_up(waiting, error)
            return
        except Exception as error:  # whatever it is: the thread goes on, or nothing is kept any more
            _log.exception("the session log: a line could not be written")
            self._give_up(
                waiting,
                StateError(
                    f"the session log could not be written ({type(error).__name__}): marotte log verify says what is "
                    "wrong with it"
                ),
            )
            return
        self._failing = False
        self._counted(1, 0)
        _settle(waiting.done, None)

    def _write_lost(self) -> None:
        """How many lines are missing, once something can be written again."""
        with self._guard:
            lost = self._lost
        if lost:
            self.log.write(Event.LINES_LOST, lines=lost)
            self._counted(1, 0)
            with self._guard:
                self._lost -= lost

    def _prune(self) -> None:
        self._prune_s = time.monotonic()
        try:
            pruned = self.log.prune(self._days)
        except MarotteError as error:
            _log.error("%s", error)
            return
        except Exception:
            _log.exception("the session log: old lines could not be removed")
            return
        if pruned.files:
            _log.info("session log: %d lines of more than %d days ago were removed", pruned.lines, self._days)

    def _give_up(self, waiting: _Waiting, error: MarotteError) -> None:
        """What had to be kept before it happens does not happen, and is not missing then."""
        if not waiting.must:
            with self._guard:
                self._lost += 1
        self._failed(error)
        _settle(waiting.done, error)

    def _failed(self, error: BaseException) -> None:
        self._counted(0, 1)
        if not self._failing:  # once, not for every line
            _log.error("%s", error)
        self._failing = True


def _settle(done: Future[None], error: MarotteError | None) -> None:
    if not done.set_running_or_notify_cancel():  # nobody waits for it any more
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
