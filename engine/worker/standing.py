"""How a worker stands, and who is told of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from engine.worker.interface import State, WorkerStatus

_log = logging.getLogger("marotte.worker")


class Standing:
    """For any thread; `now` is read without waiting."""

    def __init__(self) -> None:
        self.now = WorkerStatus(State.STARTING, {})
        self._lock = threading.Lock()
        self._told: list[Callable[[WorkerStatus], None]] = []

    def on_change(self, told: Callable[[WorkerStatus], None]) -> None:
        with self._lock:
            self._told.append(told)

    def tell(self, status: WorkerStatus) -> None:
        """Whoever listens is told once of a status that differs, in this thread: call it without a lock."""
        with self._lock:
            if status == self.now:
                return
            self.now = status
            told = list(self._told)
        for one in told:
            try:
                one(status)
            except Exception:  # whoever listens must not stop the worker
                _log.exception("a listener of the worker's state failed")

    def refusal(self, *, closing: bool) -> str | None:
        """Why nothing new can be begun now."""
        state, detail = self.now.state, self.now.detail
        if closing or state is State.CLOSED:
            return "the worker was closed"
        if state is State.FAILED:
            return detail
        if state is State.STARTING:
            return "the worker is still starting: try again in a moment"
        return None
