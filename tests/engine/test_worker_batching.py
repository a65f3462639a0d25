"""Sessions of one bundle share its graph on the CPU's runtimes: the pictures of each are those that it has alone."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.backends import open_graph
from engine.errors import ConfigError
from engine.free_batch import settled
from engine.generators.batch_runner import BatchRunner
from engine.plug import Ports
from engine.puppet import Opening
from engine.types import Drive, Outcome
from engine.worker.interface import Delivery, WorkerConfig
from engine.worker.local import LocalWorker
from engine.worker.stages import Pace
from tests.engine.batch_graphs import value_graph
from tests.engine.worker_tools import (
    Desk,
    FakeGenerator,
    FakeTools,
    Faults,
    Gate,
    ground_of,
    shows_driver,
    value_of,
)

NAMES = ("one", "two", "three", "four")
FRAMES = 12


@dataclass
class ValueGenerator(FakeGenerator):
    """Its picture shows what a graph made of the face's place."""

    def inputs(self, state: Any, drive: Drive) -> Ports:
        return {"given": np.asarray(super().inputs(state, drive)["value"])}


@dataclass
class GraphTools(FakeTools):
    """The bundle's graph on a runtime of the CPU, for up to four entries. before: may raise, wait or note."""

    backend: str = "onnxruntime"
    faults: Faults = field(default_factory=Faults)

    def open_generator(self, bundle: str, opening: Opening, accept: frozenset[str]) -> Any:
        path, faults = Path("value.onnx"), self.faults
        graphs = {
            size: open_graph(path, self.backend, data=settled(value_graph(), size)) for size in (1, 2, 4)
        }

        class Told(BatchRunner):
            def run(self, batch: Sequence[Ports]) -> list[Ports | Exception]:
                faults.batches.append(len(batch))
                faults.run(batch)
                return super().run(batch)

        return ValueGenerator(self.faults, bundle), Told(graphs)


def shared(backend: str = "onnxruntime", **config: Any) -> Iterator[Desk]:
    tools = GraphTools(backend)
    worker = LocalWorker(WorkerConfig(**config), tools)
    worker.start()
    try:
        yield Desk(worker, tools.faults)
    finally:
        worker.close()


@pytest.fixture
def four() -> Iterator[Desk]:
    """A worker with four open sessions, batches of up to four, and a wait that no test comes near."""
    for one in shared(batch_wait_s=0.02):
        for name in NAMES:
            one.open(name)
        yield one


def played(desk: Desk, names: Sequence[str]) -> dict[str, list[Delivery]]:
    """Every session its own frames, one after the other, all sessions at the same time."""
    seen: dict[str, list[Delivery]] = {name: [] for name in names}
    for number in range(FRAMES):
        for name in names:
            desk.post(10 + 40 * NAMES.index(name) + number, name, pts=3000 * number)
        for _ in names:
            delivery = desk.next()
            seen[delivery.session].append(delivery)
    return seen


def check_behind_one(desk: Desk) -> None:
    """Three sessions' frames that come while the first one's is in the graph: they are the next batch."""
    gate = Gate()
    desk.faults.run = gate
    desk.post(50, NAMES[0], pts=-3000)
    gate.reached()
    for name in NAMES[1:]:
        desk.post(60, name, pts=-3000)
    while desk.offered() < 3:
        time.sleep(0.001)
    desk.faults.run = lambda batch: None
    gate.open()
    seen = {delivery.session: delivery for delivery in (desk.next() for _ in NAMES)}
    assert [seen[name].report.batch for name in NAMES] == [1, 3, 3, 3]
    assert [value_of(seen[name]) for name in NAMES] == [50, 60, 60, 60]


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_four_sessions_get_the_pictures_that_each_has_alone_in_order(backend: str) -> None:
    """Byte for byte, whoever else was in the batch, and some batches held several."""
    alone: dict[str, list[Delivery]] = {}
    for one in shared(backend, batch=1):
        for name in NAMES:
            one.open(name)
            alone |= played(one, (name,))
            one.worker.close_session(name)
        assert set(one.faults.batches) == {1}
    for one in shared(backend, batch_wait_s=0.1):
        for name in NAMES:
            one.open(name)
        check_behind_one(one)
        together = played(one, NAMES)
        assert 3 in one.faults.batches
    for name in NAMES:
        assert [delivery.stamp.pts for delivery in together[name]] == [3000 * k for k in range(FRAMES)]
        for ours, theirs in zip(together[name], alone[name], strict=True):
            assert value_of(ours) == theirs.stamp.mark
            np.testing.assert_array_equal(ours.planes, theirs.planes)
    assert {delivery.report.batch for seen in alone.values() for delivery in seen} == {1}


def test_a_session_that_stands_still_or_fails_holds_up_nobody(four: Desk) -> None:
    """Two post nothing any more, one's inputs break: the fourth gets all its pictures."""

    def inputs(drive: Drive) -> None:
        if drive.frame.rgb[0, 0, 0] == 99:
            raise RuntimeError("this session's inputs")

    played(four, NAMES)
    four.faults.inputs = inputs
    for number in range(5):
        four.post(99, "one")
        four.post(60 + number, "four")
        seen = {delivery.session: delivery for delivery in (four.next(), four.next())}
        assert seen["one"].report.outcome in (Outcome.HELD, Outcome.FADED)
        assert seen["four"].report.outcome is Outcome.GENERATED
        assert value_of(seen["four"]) == 60 + number


def test_what_one_sessions_show_takes_is_no_wait_of_anothers(four: Desk) -> None:
    """A receiver that hangs keeps its own session's thread: the others' pictures leave meanwhile."""
    gate = Gate()
    four.worker.close_session("four")
    four.open("slow", gate)
    four.post(50, "slow")
    gate.reached()
    for number in range(3):
        assert value_of(four.step(70 + number, "one")) == 70 + number
    gate.open()


def test_a_session_closed_while_it_waits_is_gone_at_once(
    four: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """Its threads end although the runner is busy; nothing of it is delivered, the others go on, and nobody is told
    of a failed frame."""
    gate = Gate()
    four.faults.run = gate
    four.post(50, "one")
    gate.reached()
    four.post(60, "two")
    while four.offered() < 1:
        time.sleep(0.001)
    threads = four.worker._sessions["two"].threads()
    four.worker.close_session("two")
    for thread in threads:
        thread.join(10.0)
        assert not thread.is_alive()
    assert four.offered() == 0
    gate.open()
    assert four.next().session == "one"
    assert value_of(four.step(80, "three")) == 80
    assert [record.getMessage() for record in caplog.records] == []


def test_a_graph_that_hangs_is_told_and_the_sessions_fall_back(caplog: pytest.LogCaptureFixture) -> None:
    """busy_s grows although every session is answered; the pictures hold, and move again afterwards."""
    caplog.set_level(logging.WARNING, "marotte.worker")
    gate = Gate()
    for one in shared(hang_s=1.0):
        one.open("one"), one.open("two")
        one.step(50, "one"), one.step(60, "two")
        one.faults.run = gate
        one.post(51, "one")
        gate.reached()
        one.post(61, "two")
        held = {delivery.session: delivery for delivery in (one.next(), one.next())}
        for name, value in (("one", 50), ("two", 60)):
            assert held[name].report.outcome is Outcome.HELD, held[name].report
            assert "WorkerError" in (held[name].report.reason or "")
            assert value_of(held[name]) == value
            assert not shows_driver(held[name])
        assert one.worker.busy_s() >= 1.0
        one.faults.run = lambda batch: None
        gate.open()
        assert value_of(one.step(62, "two")) == 62
        assert sum("has been running" in record.getMessage() for record in caplog.records) == 1


def test_a_session_that_changes_its_source_stays_in_the_batch(four: Desk) -> None:
    """What is shared is the graph alone: each picture is drawn on its own session's source."""
    other = four.add(150)
    four.change({"source": other.id}, "two")
    while True:
        seen = {name: four.step(90, name) for name in ("one", "two")}
        if seen["two"].changes == 1:
            break
    assert (ground_of(seen["one"]), ground_of(seen["two"])) == (100, 150)


@pytest.mark.parametrize(
    "wrong", [{"batch": -1}, {"batch": 65}, {"batch_wait_s": -0.001}, {"batch_wait_s": 2}]
)
def test_a_worker_is_not_made_with_a_wrong_batch(wrong: dict[str, Any]) -> None:
    """Told before a process is started for it."""
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        WorkerConfig(**wrong)


def test_a_frame_is_due_before_the_next_one_less_what_is_left_to_do() -> None:
    """30 frames a second and 8 ms from the answer until it has left: 25 ms after it was observed."""
    pace = Pace()
    assert pace.due_s(5.0) == np.inf
    for number in range(100):
        pace.observed(number / 30)
        pace.shown(0.008)
    assert pace.due_s(5.0) == pytest.approx(5.0 + 1 / 30 - 0.008)
    pace.observed(100.0)  # a pause is no interval
    assert pace.due_s(5.0) < 5.0 + 1.21 / 30
