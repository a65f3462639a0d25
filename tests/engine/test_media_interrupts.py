from __future__ import annotations

import os
import signal
import sys
import threading

import pytest

from engine.media.interrupts import deferred

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to its own process")


def test_an_interruption_waits_for_the_end() -> None:
    """What runs inside runs to its end, then the interruption is raised, once."""
    done = []
    with pytest.raises(KeyboardInterrupt), deferred():  # noqa: PT012 - the point is that both lines run
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        done.append(True)
    assert done == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_inside_is_not_hidden_by_nothing() -> None:
    """Without an interruption an error leaves as it is, and the handler is back."""
    with pytest.raises(ValueError, match="inside"), deferred():
        raise ValueError("inside")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_threads_are_left_alone() -> None:
    """Signals reach the main thread only: elsewhere nothing is touched."""
    seen = []

    def work() -> None:
        with deferred():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
