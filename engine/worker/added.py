"""Bundles that were added to a worker while it ran: opened beside its sessions, and again in every process that takes
the place of one."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field

from engine.errors import ConfigError, MarotteError, WorkerError
from engine.worker import messages
from engine.worker.child import Child
from engine.worker.holdings import Answer
from engine.worker.interface import BundleInfo, bundle_name
from engine.worker.messages import Message

_log = logging.getLogger("marotte.worker")

_STRIKES = 3


@dataclass(slots=True, eq=False)
class _Added:
    """info: None until a process has it. strikes: processes that could not open it again, or were lost over it."""

    folder: str
    future: Future[BundleInfo] = field(default_factory=Future)
    info: BundleInfo | None = None
    strikes: int = 0


class Added:
    """Every call is made under the worker's lock."""

    def __init__(self) -> None:
        self._added: dict[str, _Added] = {}
        self._answers: list[Answer] = []

    @property
    def infos(self) -> tuple[BundleInfo, ...]:
        """Those that are offered, the newest last."""
        return tuple(one.info for one in self._added.values() if one.info is not None)

    def want(self, bundle: str, offered: Collection[str], refusal: str | None) -> Future[BundleInfo]:
        """Have it opened. offered: names that are taken. refusal: why nothing can be begun now.

        The future fails at once with ConfigError for a name that is taken, and with WorkerError while another one is
        waited for.
        """
        wanted = _Added(bundle)
        try:
            name = bundle_name(bundle)
            if refusal is not None:
                raise WorkerError(refusal)
            if name in offered or name in self._added:
                raise ConfigError(f"bundle {name}: one of this name is offered already")
            if any(one.info is None for one in self._added.values()):
                raise WorkerError("busy with another bundle: try again when it is open")
        except MarotteError as error:
            wanted.future.set_exception(error)
        else:
            self._added[name] = wanted
        return wanted.future

    def open_next(self, child: Child, *, new: bool) -> None:
        """Have the process open what it has not. new: also what no process has opened yet."""
        for name in self._missing(child, self._added):
            if new or self._added[name].info is not None:
                child.open_bundle(name, self._added[name].folder)
                return

    def hear(self, child: Child, message: Message) -> None:
        """The process has an answer about what it was to open. Raises WorkerError for nonsense."""
        name, child.opening = child.opening, ""
        if message.kind == "bundle refused":
            self._refused(name, messages.read_error(message))
            return
        infos = messages.read_bundles(message)
        if [info.name for info in infos] != [name]:
            raise WorkerError("it opened another bundle than it was asked for")
        if self._opened(infos[0]):
            child.bundles.add(name)
        else:
            child.send("withdraw", bundle=name)

    def blame(self, child: Child, words: str) -> None:
        """The process was lost, maybe over what it was opening."""
        if child.opening:
            error = WorkerError(f"bundle {child.opening}: the worker {words} while it opened it")
            self._refused(child.opening, error)

    def awaited(self, child: Child, names: Collection[str]) -> bool:
        """Whether the process has still to open one of these."""
        return bool(self._missing(child, names))

    def _missing(self, child: Child, names: Collection[str]) -> list[str]:
        return [
            name
            for name in names
            if name in self._added and name not in child.bundles and self._added[name].strikes < _STRIKES
        ]

    def _opened(self, info: BundleInfo) -> bool:
        """A process has it; False where it was dropped meanwhile."""
        one = self._added.get(info.name)
        if one is None:
            return False
        one.strikes = 0
        if one.info is None:
            one.info = info
            self._answers.append(Answer(one.future, info))
        return True

    def _refused(self, name: str, error: Exception) -> None:
        """A process cannot open it, or was lost over it: a new one is not tried again, one that was offered is."""
        one = self._added.get(name)
        if one is None:
            return
        if one.info is None:
            del self._added[name]
            self._answers.append(Answer(one.future, error))
            return
        one.strikes += 1
        _log.warning("worker: bundle %s could not be opened again: %s", name, error)

    def drop(self, name: str, children: Iterable[Child]) -> None:
        """Everywhere. Raises ConfigError for one that was not added."""
        if name not in self._added or self._added[name].info is None:
            raise ConfigError(f"bundle {name}: it was not added, so it is not taken back")
        del self._added[name]
        for child in children:
            if name in child.bundles:
                child.bundles.discard(name)
                child.send("withdraw", bundle=name)

    def fail(self, error: Exception) -> None:
        """Whoever waits for one waits in vain."""
        for name in [name for name, one in self._added.items() if one.info is None]:
            self._refused(name, error)

    def answers(self) -> list[Answer]:
        """Those not yet given, once."""
        answers, self._answers = self._answers, []
        return answers
