"""What a server, a camera and a front door do when a signal comes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from streaming.kill import KillSwitch


@contextmanager
def stopped_by_signals(stop: Callable[[], None], leave: Callable[[], None]) -> Iterator[None]:
    """What interrupts this process stops the server, and no traceback is raised out of the midst of a callback.
    leave: what SIGTERM asks for.

    Handlers that the caller set are asked first: SIGTERM's may come here through that of SIGINT, and one that lets
    an interruption fall is heeded.
    """
    older: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            before = None if number is None else signal.getsignal(number)
            if number is None or before in (None, signal.SIG_IGN):
                continue
            if before == signal.SIG_DFL or number == signal.SIGINT:
                older[number] = before
                signal.signal(number, _handler(before, stop, leave))
    try:
        yield
    finally:
        for number, before in older.items():
            signal.signal(number, before)


def _handler(before: Any, stop: Callable[[], None], leave: Callable[[], None]) -> Callable[[int, Any], None]:
    def handle(number: int, at: Any) -> None:
        end = leave if number == signal.SIGTERM else stop
        try:
            if callable(before):
                before(number, at)
            else:
                end()
        except KeyboardInterrupt:
            end()

    return handle


@contextmanager
def killed_by_signal(switch: KillSwitch) -> Iterator[None]:
    """SIGUSR2 kills, where there is one (not on Windows) and this is the main thread; elsewhere signals are left to the
    caller."""
    number = getattr(signal, "SIGUSR2", None)
    if number is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, lambda *_: switch.signalled())
    try:
        yield
    finally:
        signal.signal(number, before)
