"""A mailbox of one slot between two threads: the newest wins, so nothing can pile up."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """Holds the newest item that nobody has taken yet. Any number of threads may put, one takes."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._item: T | None = None
        self._closed = False

    def put(self, item: T) -> bool:
        """Leave an item in place of the one that waits; whether there was one. After `close` it goes nowhere."""
        with self._changed:
            if self._closed:
                return True
            replaced, self._item = self._item is not None, item
            self._changed.notify()
            return replaced

    def take(self, timeout_s: float | None = None) -> T | None:
        """The item, waiting for one; None after `timeout_s`, or at once when the mailbox is closed."""
        with self._changed:
            self._changed.wait_for(self._ready, timeout_s)
            item, self._item = self._item, None
            return item

    def close(self) -> None:
        """Let go of what waits, and wake whoever takes; more than once is allowed."""
        with self._changed:
            self._closed, self._item = True, None
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        return self._closed

    def _ready(self) -> bool:
        return self._closed or self._item is not None
