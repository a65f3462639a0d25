"""Builders that a process of its own starts by name; none of them needs a GPU."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

from engine.errors import PlanCancelled, PlanError
from engine.plans.request import Built, PlanRequest


def echoes(request: PlanRequest, *, progress: Any = None, cancel: Any = None) -> Built:
    """Its plan says what it was asked for."""
    print("a library prints")
    os.write(1, b"and another one, past Python\n")
    progress("building", 1, 2)
    progress("building", 2, 2)
    text = f"{request.name} {request.precision} {request.batches} {request.workspace_bytes} {request.refit}"
    return Built(text.encode() + request.graph, {"tensorrt": "11"}, ("a warning",))


def wraps(request: PlanRequest, *, progress: Any = None, cancel: Any = None) -> Built:
    """A plan that the stand-in of TensorRT runs."""
    from tests.engine.gpu_fakes import fake_plan

    return Built(fake_plan(request.graph, request.batches), {"tensorrt": "11.4.0.106"})


def refuses(request: PlanRequest, *, progress: Any = None, cancel: Any = None) -> Built:
    raise PlanError("the graph was refused:\nan operator is unknown")


def breaks(request: PlanRequest, *, progress: Any = None, cancel: Any = None) -> Built:
    raise ZeroDivisionError("a fault")


def crashes(request: PlanRequest, *, progress: Any = None, cancel: Any = None) -> Built:
    """As native code does."""
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError


def leaves(request: PlanRequest, *, progress: Any = None, cancel: Any = None) -> Built:
    os._exit(3)


def waits(request: PlanRequest, *, progress: Any = None, cancel: threading.Event) -> Built:
    """Until it is ended, and says so."""
    progress("waiting", 0, 1)
    if not cancel.wait(60):
        sys.exit("nobody ended it")
    raise PlanCancelled("ended by word")
