"""What `/healthz` and `/readyz` answer: alive, and able to serve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from engine.worker.interface import State, WorkerStatus

SIGN: Final = "marotte: "
"""What the answer of `/healthz` begins with, so that another Marotte can tell who has taken its port."""


@dataclass(frozen=True, slots=True)
class Health:
    """status: 200 or 503. text: one line, "ok" or what is the matter."""

    status: int
    text: str


OK = Health(200, "ok")


def healthz(worker: WorkerStatus, *, closing: bool = False) -> Health:
    """Whether this process should go on. Only what nothing but a new process mends is 503: a worker that is being
    started or replaced is the server's own business, and calls stay up meanwhile."""
    if closing:
        return OK
    if worker.state is State.FAILED:
        return Health(503, _told("the worker cannot be started", worker))
    if worker.state is State.CLOSED:
        return Health(503, "the worker was closed")
    return OK


def readyz(worker: WorkerStatus, *, closing: bool = False) -> Health:
    """Whether a new session would be served now."""
    if closing:
        return Health(503, "the server is closing")
    if worker.state is State.READY:
        return OK
    said = {
        State.STARTING: "the worker is starting",
        State.REPLACING: "the worker is being replaced",
        State.FAILED: "the worker cannot be started",
        State.CLOSED: "the worker was closed",
    }
    return Health(503, _told(said[worker.state], worker))


def _told(what: str, worker: WorkerStatus) -> str:
    detail = " ".join(worker.detail.split())
    return f"{what}: {detail}" if detail else what
