"""One more bundle for a worker that runs: offered beside its sessions, and taken back."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator

import pytest

from engine.errors import BackendError, ConfigError, WorkerError
from engine.types import Outcome
from engine.worker.interface import BundleInfo, Delivery, WorkerConfig
from engine.worker.local import LocalWorker
from tests.engine.worker_tools import WAIT_S, Desk, FakeTools, Faults, Gate, desk, value_of


@pytest.fixture
def session() -> Iterator[Desk]:
    with desk() as one:
        one.open()
        yield one


def names(session: Desk) -> list[str]:
    return [info.name for info in session.worker.bundles()]


def first_of(session: Desk, bundle: str) -> Delivery:
    """Its first picture. Frames that come while the source is prepared for it leave none."""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        session.post(60)
        with contextlib.suppress(queue.Empty):
            if (delivery := session.left.get(timeout=0.2)).bundle == bundle:
                return delivery
    raise AssertionError(f"no picture of {bundle}")


def test_a_bundle_is_added_beside_a_session_that_then_turns_to_it(session: Desk) -> None:
    """Pictures go on while it opens; from the change on they are its own."""
    gate = Gate()
    session.faults.opening = lambda what: gate() if what == "generator" else None
    future = session.worker.add_bundle("enrolled/one-more")
    gate.reached()
    assert value_of(session.step(50)) == 50
    assert names(session) == ["mesh_flow"]
    gate.open()
    assert future.result(WAIT_S).name == "enrolled/one-more"
    assert names(session) == ["mesh_flow", "enrolled/one-more"]
    session.change({"bundle": "enrolled/one-more"})
    delivery = first_of(session, "enrolled/one-more")
    assert delivery.report.outcome == Outcome.GENERATED


def test_it_is_run_once_before_anybody_has_it(session: Desk) -> None:
    """No frame of a session is the first of its kind."""
    seen: list[str] = []
    session.faults.prepare = lambda name, source, mode: seen.append(name)
    session.worker.add_bundle("one").result(WAIT_S)
    assert seen == ["one"]
    assert session.faults.batches[-3:] == [1, 1, 1]


def test_what_cannot_be_opened_is_told_and_changes_nothing(session: Desk) -> None:
    """Its own error; the next one is welcome."""

    def refuse(what: str) -> None:
        if what == "generator":
            raise BackendError("it has no such operator")

    session.faults.opening = refuse
    with pytest.raises(BackendError, match="no such operator"):
        session.worker.add_bundle("one").result(WAIT_S)
    session.faults.opening = Faults().opening
    assert names(session) == ["mesh_flow"]
    session.worker.add_bundle("one").result(WAIT_S)
    assert names(session) == ["mesh_flow", "one"]


def test_one_is_added_at_a_time_and_each_name_once(session: Desk) -> None:
    """Both are refused at once."""
    gate = Gate()
    session.faults.opening = lambda what: gate() if what == "generator" else None
    first = session.worker.add_bundle("one")
    gate.reached()
    with pytest.raises(WorkerError, match="busy with another bundle"):
        session.worker.add_bundle("two").result(WAIT_S)
    gate.open()
    first.result(WAIT_S)
    for name in ("one", "mesh_flow"):
        with pytest.raises(ConfigError, match="offered already"):
            session.worker.add_bundle(name).result(WAIT_S)


def test_one_that_was_added_is_taken_back_once_nobody_runs_it(session: Desk) -> None:
    """Its network is freed; what was configured stays."""
    session.worker.add_bundle("one").result(WAIT_S)
    session.change({"bundle": "one"})
    with pytest.raises(WorkerError, match="a session runs it"):
        session.worker.drop_bundle("one")
    session.change({"bundle": "mesh_flow"})
    first_of(session, "mesh_flow")
    session.worker.drop_bundle("one")
    assert names(session) == ["mesh_flow"]
    assert session.faults.closed == ["runner"]
    for name in ("one", "mesh_flow"):
        with pytest.raises(ConfigError, match="it was not added"):
            session.worker.drop_bundle(name)
    with pytest.raises(ConfigError, match="bundle"):
        session.change({"bundle": "one"})


def test_a_worker_that_is_closed_meanwhile_does_not_wait_for_it() -> None:
    """Whoever waits is told."""
    with desk() as one:
        closing = threading.Event()
        one.faults.opening = lambda what: closing.wait(WAIT_S) if what == "generator" else None
        future = one.worker.add_bundle("one")
        ending = threading.Thread(target=one.worker.close)
        ending.start()
        while not one.worker._closing:
            pass
        closing.set()
        assert isinstance(future.exception(WAIT_S), WorkerError)
        ending.join(WAIT_S)
        assert not ending.is_alive()


def test_before_it_is_ready_nothing_is_added() -> None:
    """A refusal, and no thread."""
    worker = LocalWorker(WorkerConfig(), FakeTools())
    future = worker.add_bundle("one")
    assert isinstance(future.exception(WAIT_S), WorkerError)
    info: tuple[BundleInfo, ...] = worker.bundles()
    assert info == ()
