"""The worker's process with what it runs in earnest."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from engine.media import read_picture
from engine.sample import sample_portrait
from engine.types import Mode, Outcome
from engine.worker.interface import (
    TICKS,
    Delivery,
    DriverKind,
    SessionSpec,
    Stamp,
    State,
    WorkerConfig,
    WorkerStatus,
)
from engine.worker.supervisor import ProcessWorker
from tests.engine.bundle_files import write_geogan

LONG_S = 120.0


@pytest.mark.skipif(sys.platform == "win32", reason="a signal is sent")
def test_the_sample_moves_again_after_its_process_was_killed(models: None, tmp_path: Path) -> None:
    """Networks, portrait and scripted driver run in the process, and in the one that takes its place; so does an edit
    with a donor, which was chosen in mid-call."""
    bundles = ("mesh_flow", str(write_geogan(tmp_path / "given")))
    driver = read_picture(sample_portrait())
    worker = ProcessWorker(
        WorkerConfig(bundles=bundles, edit=True, spare=False, side=256, hang_s=30.0, add_s=60.0)
    )
    ready = threading.Event()
    moved: dict[int, threading.Event] = {0: threading.Event(), 1: threading.Event()}
    edited: dict[int, threading.Event] = {0: threading.Event(), 1: threading.Event()}
    got: list[Delivery] = []
    edits: list[Delivery] = []

    def told(status: WorkerStatus) -> None:
        if status.state is State.READY:
            ready.set()

    def deliver(delivery: Delivery) -> None:
        if delivery.report.outcome is Outcome.GENERATED:
            got.append(delivery)
            moved[len(worker.status().restarts)].set()

    def deliver_edit(delivery: Delivery) -> None:
        if delivery.report.outcome is Outcome.GENERATED and delivery.mode is Mode.EDIT:
            edits.append(delivery)
            edited[len(worker.status().restarts)].set()

    def post_until(reached: threading.Event) -> None:
        until = time.monotonic() + LONG_S
        while not reached.wait(0.1):
            assert time.monotonic() < until, worker.status()
            worker.post("e", driver, Stamp(int(time.perf_counter() * TICKS), time.perf_counter()))

    worker.on_status(told)
    worker.start()
    try:
        assert ready.wait(LONG_S), worker.status()
        source = worker.add_source(sample_portrait().read_bytes(), "sample").result(LONG_S)
        spec = SessionSpec(source.id, DriverKind.DEMO, controls={"mouth": 1.5})
        worker.open("s", spec, deliver)
        assert moved[0].wait(LONG_S), worker.status()
        assert [info.name for info in worker.bundles()] == ["mesh_flow", "given"]
        worker.open("e", SessionSpec(source.id), deliver_edit)
        number = worker.change("e", {"bundle": "given", "mode": "edit", "donors": [source.id]})
        post_until(edited[0])
        pid = worker.status().pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert moved[1].wait(LONG_S), worker.status()
        post_until(edited[1])
    finally:
        worker.close()
    assert worker.status().state is State.CLOSED
    width, height = source.size
    assert all(each.planes.shape == (height * 3 // 2, width) for each in got)
    assert {"track", "paste", "fetch"} <= set(got[-1].report.seconds)
    height = round(256 * driver.shape[0] / driver.shape[1] / 2) * 2
    assert {(each.bundle, each.planes.shape, each.changes) for each in edits} == {
        ("given", (height * 3 // 2, 256), number)
    }
