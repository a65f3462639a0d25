"""Interrupting a training without losing more than the step that is being made."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Stopping:
    """While open, the first SIGINT, SIGTERM or SIGHUP sets `asked`; a second one is what it was before.

    A signal that is ignored, as under nohup and in the background of a shell, stays so.
    """

    def __init__(self) -> None:
        self.asked = ""
        self._older: dict[int, Any] = {}

    def __enter__(self) -> Stopping:
        if threading.current_thread() is not threading.main_thread():
            return self  # elsewhere no handler can be set
        numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
        typed = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        for number in numbers:
            if number == signal.SIGINT and not typed:
                continue
            if signal.getsignal(number) != signal.SIG_IGN:
                self._older[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._older.items():
            signal.signal(number, handler)
        self._older = {}

    def _ask(self, number: int, at: FrameType | None) -> None:
        self.asked = signal.Signals(number).name
        self.__exit__()
