"""The worker's process with what it runs in earnest."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest

from engine.sample import sample_portrait
from engine.types import Outcome
from engine.worker.interface import Delivery, DriverKind, SessionSpec, State, WorkerConfig, WorkerStatus
from engine.worker.supervisor import ProcessWorker

LONG_S = 120.0


@pytest.mark.skipif(sys.platform == "win32", reason="a signal is sent")
def test_the_sample_moves_again_after_its_process_was_killed(models: None) -> None:
    """Networks, portrait and scripted driver run in the process, and in the one that takes its place."""
    worker = ProcessWorker(WorkerConfig(spare=False, side=256, hang_s=30.0, add_s=60.0))
    ready = threading.Event()
    moved: dict[int, threading.Event] = {0: threading.Event(), 1: threading.Event()}
    got: list[Delivery] = []

    def told(status: WorkerStatus) -> None:
        if status.state is State.READY:
            ready.set()

    def deliver(delivery: Delivery) -> None:
        if delivery.report.outcome is Outcome.GENERATED:
            got.append(delivery)
            moved[len(worker.status().restarts)].set()

    worker.on_status(told)
    worker.start()
    try:
        assert ready.wait(LONG_S), worker.status()
        source = worker.add_source(sample_portrait().read_bytes(), "sample").result(LONG_S)
        spec = SessionSpec(source.id, DriverKind.DEMO, controls={"mouth": 1.5})
        worker.open("s", spec, deliver)
        assert moved[0].wait(LONG_S), worker.status()
        pid = worker.status().pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert moved[1].wait(LONG_S), worker.status()
    finally:
        worker.close()
    assert worker.status().state is State.CLOSED
    width, height = source.size
    assert all(each.planes.shape == (height * 3 // 2, width) for each in got)
    assert {"track", "paste", "fetch"} <= set(got[-1].report.seconds)
