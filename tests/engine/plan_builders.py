"""Builders that a process of its own starts by name; none of them needs a GPU."""

from __future__ import annotations

import dataclasses
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


def _noted(word: str) -> None:
    """For the test, which is another process."""
    if "MAROTTE_TEST_BUILDS" in os.environ:
        with open(os.environ["MAROTTE_TEST_BUILDS"], "a", encoding="utf-8") as file:
            file.write(word + "\n")


def refits(request: PlanRequest, *, progress: Any = None, cancel: Any = None) -> Built:
    """As Marotte's own: a base is given the graph's weights."""
    from tests.engine.gpu_fakes import fake_plan

    if request.base:
        assert request.base_structure == "as it was compiled"
    _noted("refitted" if request.base else f"built {request.refit}")
    plan = fake_plan(request.graph, request.batches)
    structure = "as it was compiled" if request.refit else ""
    return Built(plan, {"tensorrt": "11.4.0.106"}, (), structure, bool(request.base))


def keeps_old_weights(request: PlanRequest, *, progress: Any = None, cancel: Any = None) -> Built:
    """A refit that says it was one."""
    built = refits(request)
    return dataclasses.replace(built, plan=request.base) if request.base else built


def cannot_refit(request: PlanRequest, *, progress: Any = None, cancel: Any = None) -> Built:
    """As where TensorRT refuses."""
    built = refits(request)
    if request.base:
        raise PlanError("TensorRT refused the weights: another count")
    return built


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
