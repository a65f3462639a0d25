"""The process that works and the spare behind it: how they start, are retired and end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.worker.child import Child
from engine.worker.interface import WorkerConfig
from engine.worker.messages import Message
from engine.worker.process import Make

if TYPE_CHECKING:
    from engine.worker.tools import Tools

_log = logging.getLogger("marotte.worker")

STARTS = 5
"""Starts in a row that never became ready, before the worker counts as failed."""
END_S = 2.0

_BACKOFF_S = (0.0, 0.25, 1.0, 2.0, 4.0)
_FAILED_BACKOFF_S = 30.0
_POLITE_S = 0.5


class Pair:
    """For the watching thread; `retire` and `leave` under the worker's lock, under which others read who is here.

    told: see Child. ever_ready: one of them has been ready, once.
    """

    def __init__(
        self,
        config: WorkerConfig,
        tools: Tools | None,
        make: Make,
        told: Callable[[Child, Message | None], None],
    ) -> None:
        self.current: Child | None = None
        self.spare: Child | None = None
        self.ever_ready = False
        self._config, self._tools, self._make, self._told = config, tools, make, told
        self._dying: list[Child] = []
        self._number = 0
        self._failures = 0
        self._next_start_s = 0.0

    def alive(self) -> list[Child]:
        """The current one first."""
        return [child for child in (self.current, self.spare) if child is not None]

    def may_start(self, now_s: float) -> bool:
        """Whether the pause after a start that failed is over."""
        return now_s >= self._next_start_s

    def launched(self) -> Child:
        """A new process. Raises OSError (no memory, no processes left), or what pickling the tools raises."""
        self._number += 1
        child = Child(self._number, self._config, self._told)
        try:
            child.start(self._tools, self._make)
        except Exception:
            child.fence()
            child.reap()
            raise
        return child

    def started(self, child: Child) -> None:
        """It is ready."""
        child.ready = True
        self.ever_ready, self._failures = True, 0

    def failed(self, *, final: bool = False) -> bool:
        """A start failed, and the next one waits: whether it is hopeless. final: the next one would fail as this did.

        One that has run before may do so again, when there is memory for it, say; any other is not tried again.
        """
        self._failures += 1
        hopeless = self._failures >= STARTS or (final and not self.ever_ready)
        if hopeless:
            wait_s = _FAILED_BACKOFF_S if self.ever_ready else float("inf")
        else:
            wait_s = _BACKOFF_S[self._failures - 1]
        self._next_start_s = time.perf_counter() + wait_s
        return hopeless

    def retire(self, child: Child) -> None:
        """The spare takes its place; it is killed next."""
        if child is self.current:
            self.current = self.spare
        self.spare = None

    def kill(self, child: Child) -> None:
        """Fence it first, so that nothing of it is used from here on, whatever becomes of it."""
        child.fence()
        child.kill()
        self._dying.append(child)

    def reap(self) -> None:
        """Free what is left of those that have ended."""
        self._dying = [child for child in self._dying if not child.reap()]

    def leave(self) -> list[Child]:
        """Neither is here any more; they are ended next."""
        children = self.alive()
        self.current = self.spare = None
        return children

    def end(self, children: list[Child]) -> None:
        """Politely, then not, and those that are dying with them: END_S in all."""
        for child in children:
            child.send("close") if child.ready else child.kill()
            child.fence()
        for child in _left(children, _POLITE_S):
            child.kill()
        self._dying = _left([*children, *self._dying], END_S - _POLITE_S)
        if self._dying:
            pids = ", ".join(str(child.pid) for child in self._dying)
            _log.warning("processes that cannot be ended: %s", pids)


def _left(children: list[Child], seconds: float) -> list[Child]:
    """Those that have not ended after so many seconds for all of them."""
    until_s = time.perf_counter() + seconds
    return [child for child in children if not child.reap(max(0.0, until_s - time.perf_counter()))]
