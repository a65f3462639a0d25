"""The sources behind a worker process: those that were accepted, the one that somebody waits for, and those that cost
a process before.

Their bytes are kept here, on the side that lives on, so that the next process can be given them.
"""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Container
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, NamedTuple

from engine.errors import WorkerError
from engine.worker.child import Child
from engine.worker.interface import BundleInfo, SourceInfo

_log = logging.getLogger("marotte.worker")

SOURCES_KEPT = 7
"""Sources that no session shows and that are kept all the same, the last used ones: one fewer than the process does,
so that it never forgets one that is counted on here."""

_STRIKES = 3
_POISONED_KEPT = 1024


class Parcel(NamedTuple):
    """A source on its way to a process, as Child.add takes it."""

    source: str
    data: bytes
    name: str


class Answer(NamedTuple):
    """What somebody who waits for a source or a bundle is to be told."""

    future: Future[Any]
    result: SourceInfo | BundleInfo | Exception

    def give(self) -> None:
        """Runs what waits for it: call it without a lock."""
        if not self.future.set_running_or_notify_cancel():
            return
        if isinstance(self.result, Exception):
            self.future.set_exception(self.result)
        else:
            self.future.set_result(self.result)


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


class Holdings:
    """Every call but `identify` is made under the worker's lock. shown: ids of the sources that sessions show."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._wanted: _Wanted | None = None
        self._poisoned: OrderedDict[str, None] = OrderedDict()
        self._answers: list[Answer] = []

    def __contains__(self, source: str) -> bool:
        return source in self._held

    def use(self, source: str) -> None:
        """It is the last used one now."""
        self._held.move_to_end(source)

    def want(self, data: bytes, name: str) -> Future[SourceInfo] | None:
        """Wait for a new source; None while another one is waited for."""
        if self._wanted is not None:
            return None
        self._wanted = _Wanted(data, name, Future())
        return self._wanted.future

    def identify(self) -> None:
        """Name the wanted source by its bytes, which takes a while. For the watching thread, without the lock."""
        wanted = self._wanted
        if wanted is not None and not wanted.id:
            wanted.id = hashlib.sha256(wanted.data).hexdigest()

    def missing(self, child: Child, shown: Container[str]) -> list[str]:
        """Sources that the process is to have and has not, the shown ones first."""
        missing = [
            source
            for source, held in self._held.items()
            if source not in child.sources and held.strikes < _STRIKES
        ]
        return sorted(missing, key=lambda source: source not in shown)

    def next_for(self, child: Child, shown: Container[str], *, new: bool) -> Parcel | None:
        """What the process is given next: a source that a session waits for, the wanted one, then those that may be
        asked for. new: the wanted one may go to this process."""
        missing = self.missing(child, shown)
        wanted = self._wanted
        new = new and wanted is not None and bool(wanted.id) and wanted.sent is None
        if missing and (missing[0] in shown or not new):
            held = self._held[missing[0]]
            return Parcel(missing[0], held.data, held.info.name)
        if not new or wanted is None or not self._to_be_sent(wanted):
            return None
        wanted.sent = child
        return Parcel(wanted.id, wanted.data, wanted.name)

    def _to_be_sent(self, wanted: _Wanted) -> bool:
        if wanted.id in self._poisoned:
            self.answer(WorkerError(f"{wanted.name}: the worker was lost over it before; give another one"))
        elif wanted.future.cancelled():
            self._wanted = None
        return self._wanted is wanted

    def _sent_to(self, child: Child) -> _Wanted | None:
        return self._wanted if self._wanted is not None and self._wanted.sent is child else None

    def unsent(self, child: Child, error: WorkerError) -> None:
        """What was to go to the process could not."""
        if self._sent_to(child) is not None:
            self.answer(error)

    def accepted(self, child: Child, info: SourceInfo) -> None:
        """The process has it."""
        child.sources.add(info.id)
        wanted = self._sent_to(child)
        if wanted is not None:
            if wanted.id not in self._held:
                self._held[wanted.id] = _Held(wanted.data, info)
            self.use(wanted.id)
            self.answer(info)
        elif info.id in self._held:
            self._held[info.id].strikes = 0

    def refused(self, child: Child, source: str, error: Exception) -> None:
        """The process does not take it."""
        held = self._held.get(source)
        if held is not None:  # it was taken before: the session that shows it would wait for ever
            held.strikes += 1
            _log.warning("worker: %s could not be added again: %s", held.info.name, error)
        if self._sent_to(child) is not None:
            self.answer(error)

    def blame(self, child: Child, words: str) -> None:
        """The process was lost, maybe over the source that it was given: a new one is not tried again, one that was
        fine before not for ever."""
        held = None if child.adding is None else self._held.get(child.adding.source)
        if held is not None:
            held.strikes += 1
        wanted = self._sent_to(child)
        if wanted is None:
            return
        if wanted.id not in self._held:
            self._poisoned[wanted.id] = None
            if len(self._poisoned) > _POISONED_KEPT:
                self._poisoned.popitem(last=False)
        self.answer(WorkerError(f"{wanted.name}: the worker {words} while it looked at it; give another one"))

    def forget(self, source: str) -> None:
        """It may be one that is not held."""
        self._held.pop(source, None)

    def idle(self, shown: Container[str]) -> list[str]:
        """Those to be forgotten: shown by nobody, and more than are kept."""
        idle = [source for source in self._held if source not in shown]
        return idle[: max(0, len(idle) - SOURCES_KEPT)]

    def answer(self, result: SourceInfo | Exception) -> None:
        """For whoever waits for a source, if anybody does; see `answers`."""
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            self._answers.append(Answer(wanted.future, result))

    def answers(self) -> list[Answer]:
        """Those not yet given, once."""
        answers, self._answers = self._answers, []
        return answers
