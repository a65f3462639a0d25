"""The runner that sessions share: their own answers, in order, whatever the others do; waits on a clock that is set."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from engine.batching import BatchingRunner, SessionRunner
from engine.errors import BackendError, ConfigError, PortError, WorkerError
from engine.plug import Ports
from tests.engine.worker_tools import Gate

LIMIT_S = 20.0
FRAME_S = 1 / 32


class SetClock:
    """Time that stands until it is set. A wait ends soon, as any may; `asked` is what was to be waited for last."""

    def __init__(self) -> None:
        self.time_s = 0.0
        self.asked: float | None = None

    def now(self) -> float:
        return self.time_s

    def wait(self, changed: threading.Condition, seconds: float | None) -> None:
        self.asked = seconds
        changed.wait(0.002)


def never(values: Sequence[float]) -> None:
    """A fault that is not there."""


@dataclass
class Doubler:
    """Twice each entry's value, in memory that its next run overwrites. before: may raise, wait or note."""

    batches: tuple[int, ...] = (1, 2, 4, 8)
    before: Callable[[list[float]], None] = never
    ran: list[list[float]] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)
    closed: list[int] = field(default_factory=list)
    _room: np.ndarray[Any, Any] = field(default_factory=lambda: np.zeros((64, 1, 2), np.float32))

    def run(self, batch: Sequence[Ports]) -> list[Ports | Exception]:
        values = [float(ports["value"][0]) for ports in batch]
        self.threads.add(threading.get_ident())
        self.before(values)
        self.ran.append(values)
        for row, value in enumerate(values):
            self._room[row] = 2.0 * value
        return [{"value": self._room[row]} for row in range(len(values))]

    def close(self) -> None:
        self.closed.append(threading.get_ident())


def entry(value: float) -> Ports:
    return {"value": np.array([value], np.float32)}


def values(answers: Sequence[Ports | Exception]) -> list[float | str]:
    return [
        type(one).__name__ if isinstance(one, Exception) else float(one["value"][0, 0]) for one in answers
    ]


def until(true: Callable[[], object]) -> None:
    ends = time.perf_counter() + LIMIT_S
    while not true():
        assert time.perf_counter() < ends
        time.sleep(0.001)


class Bench:
    """A shared runner on a set clock, and a thread for each run that is to go on beside the test."""

    def __init__(self, inner: Doubler | None = None, **options: Any) -> None:
        self.clock, self.inner = SetClock(), inner or Doubler()
        self.shared = BatchingRunner(self.inner, clock=self.clock, **options)
        self._threads = ThreadPoolExecutor(16)

    def start(self, session: SessionRunner, *given: float, due_s: float = np.inf) -> Future[Any]:
        """Offer frames, and come back when they are known to the shared runner or answered."""
        offered_s, before = session.seat.offered_s, self.shared._gathering.waiting
        session.due_s = due_s
        future = self._threads.submit(lambda: session.run([entry(value) for value in given]))
        until(
            lambda: (
                future.done()
                or session.seat.offered_s != offered_s
                or self.shared._gathering.waiting > before
            )
        )
        return future

    def regular(self, *phases: float) -> list[SessionRunner]:
        """Sessions of 32 frames a second, each at its phase, served alone twice; the clock ends at the third round."""
        sessions = [self.shared.session() for _ in phases]
        for number in range(2):
            for session, phase in zip(sessions, phases):
                self.clock.time_s = number * FRAME_S + phase
                with self.shared._lock:
                    self.shared._gathering.offer(session.seat, 1, self.clock.time_s)
                    self.shared._gathering.take()
        self.clock.time_s = 2 * FRAME_S
        return sessions

    def end(self) -> None:
        self.shared.close()
        self._threads.shutdown()


@pytest.fixture
def make() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def bench(*args: Any, **options: Any) -> Bench:
        made.append(Bench(*args, **options))
        return made[-1]

    yield bench
    for one in made:
        one.end()


Make = Callable[..., Bench]


def test_ready_frames_of_several_sessions_go_together_and_return_to_their_own(make: Make) -> None:
    """Four sessions, one run of four entries, and each gets what its own frame became."""
    bench = make(wait_s=0.004)
    sessions = bench.regular(0.0, 0.001, 0.002, 0.003)
    futures = [bench.start(session, 10.0 + k) for k, session in enumerate(sessions)]
    assert [values(future.result(LIMIT_S)) for future in futures] == [[20.0], [22.0], [24.0], [26.0]]
    assert sorted(bench.inner.ran[-1]) == [10.0, 11.0, 12.0, 13.0]
    assert [session.last.size for session in sessions] == [4, 4, 4, 4]


def test_a_frame_waits_for_the_set_time_and_not_for_longer(make: Make) -> None:
    """The other session does not come: the frame goes alone when the wait is over, to the digit."""
    bench = make(wait_s=0.004)
    one, _ = bench.regular(0.0, 0.002)
    future = bench.start(one, 5.0)
    until(lambda: bench.clock.asked is not None)
    bench.clock.time_s += 0.003
    time.sleep(0.02)
    assert bench.inner.ran == []
    bench.clock.time_s = 2 * FRAME_S + 0.004
    assert values(future.result(LIMIT_S)) == [10.0]
    assert one.last.waited_s == pytest.approx(0.004)


def test_a_frame_without_slack_does_not_wait(make: Make) -> None:
    """Its answer is due now: it goes at once, although another session is expected in 2 ms."""
    bench = make(wait_s=0.004)
    one, _ = bench.regular(0.0, 0.002)
    future = bench.start(one, 5.0, due_s=bench.clock.time_s)
    assert values(future.result(LIMIT_S)) == [10.0]
    assert one.last.waited_s == 0.0


def test_a_runner_that_takes_one_entry_gathers_nothing(make: Make) -> None:
    """Where a batch brings nothing no frame waits for another, and each answer leaves as soon as it is there."""
    bench = make(Doubler(batches=(1,)), wait_s=0.5)
    one, two = bench.regular(0.0, 0.001)
    futures = [bench.start(one, 1.0), bench.start(two, 2.0)]
    assert [values(future.result(LIMIT_S)) for future in futures] == [[2.0], [4.0]]
    assert sorted(bench.inner.ran) == [[1.0], [2.0]]


def test_what_comes_while_a_batch_runs_is_the_next_one(make: Make) -> None:
    """A busy runner gathers by itself, without a wait, and at most as many entries as are set."""
    gate = Gate()
    bench = make(Doubler(before=gate), most=2)
    sessions = [bench.shared.session() for _ in range(5)]
    futures = [bench.start(sessions[0], 0.0)]
    gate.reached()
    futures += [bench.start(session, float(k)) for k, session in enumerate(sessions) if k]
    bench.inner.before = never
    gate.open()
    assert [values(future.result(LIMIT_S)) for future in futures] == [[2.0 * k] for k in range(5)]
    assert bench.inner.ran == [[0.0], [1.0, 2.0], [3.0, 4.0]]


def test_several_faces_of_one_session_are_answered_in_their_order(make: Make) -> None:
    """More faces than fit go in parts, each answered at its place, in memory of its own."""
    bench = make(most=4)
    session = bench.shared.session()
    assert values(session.run([entry(float(k)) for k in range(10)])) == [2.0 * k for k in range(10)]
    assert [len(batch) for batch in bench.inner.ran] == [4, 4, 2]
    assert session.run([]) == []


def fails_with(bad: float, error: Exception) -> Callable[[list[float]], None]:
    def before(given: list[float]) -> None:
        if bad in given:
            raise error

    return before


def test_a_frame_that_breaks_its_batch_breaks_no_other(make: Make) -> None:
    """The batch is run once more entry by entry: only the one to blame is answered by the error."""
    gate = Gate()
    bench = make(Doubler(before=gate))
    sessions = [bench.shared.session() for _ in range(4)]
    futures = [bench.start(sessions[0], 0.0)]
    gate.reached()
    futures += [bench.start(session, float(k)) for k, session in enumerate(sessions) if k]
    bench.inner.before = fails_with(2.0, BackendError("no memory"))
    gate.open()
    answers = [values(future.result(LIMIT_S)) for future in futures]
    assert answers == [[0.0], [2.0], ["BackendError"], [6.0]]
    assert bench.inner.ran == [[0.0], [1.0], [3.0]]
    assert values(sessions[2].run([entry(7.0)])) == [14.0]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, "expected 1 answers in a list, got NoneType"),
        ([], "got 0 in a list"),
        ([3.0], "expected named arrays, got float"),
        ([{"value": None}], "expected named arrays"),
    ],
)
def test_an_inner_runner_that_answers_nonsense_is_an_error_of_the_frame(
    make: Make, given: Any, expected: str
) -> None:
    """Whatever comes back, the session gets one answer per entry, and the next frame is served."""
    bench = make()
    session, run = bench.shared.session(), bench.inner.run
    bench.inner.run = lambda batch: given  # type: ignore[method-assign]
    (answer,) = session.run([entry(1.0)])
    assert isinstance(answer, PortError)
    assert expected in str(answer)
    bench.inner.run = run  # type: ignore[method-assign]
    assert values(session.run([entry(1.0)])) == [2.0]


def test_a_session_that_ends_while_it_waits_leaves_at_once_and_alone(make: Make) -> None:
    """Its frame is in no batch, its thread is free, and the one that waited with it is served."""
    bench = make(wait_s=0.004)
    one, two, _ = bench.regular(0.0, 0.001, 0.003)
    futures = [bench.start(one, 1.0), bench.start(two, 2.0)]
    one.close()
    assert values(futures[0].result(LIMIT_S)) == ["WorkerError"]
    bench.clock.time_s += 0.004
    assert values(futures[1].result(LIMIT_S)) == [4.0]
    assert bench.inner.ran == [[2.0]]
    assert values(one.run([entry(1.0)])) == ["WorkerError"]
    one.close()


def test_a_session_that_ends_while_its_batch_runs_does_not_wait_for_it(make: Make) -> None:
    """Its thread is free although the runner is not; the others of that batch get theirs."""
    gate = Gate()
    bench = make(Doubler(before=gate), wait_s=0.004)
    one, two = bench.regular(0.0, 0.001)
    futures = [bench.start(one, 1.0), bench.start(two, 2.0)]
    gate.reached()
    one.close()
    assert values(futures[0].result(LIMIT_S)) == ["WorkerError"]
    gate.open()
    assert values(futures[1].result(LIMIT_S)) == [4.0]


def test_closing_the_runner_answers_all_who_wait_and_closes_the_inner_one_in_its_thread(make: Make) -> None:
    """Nobody hangs, and what belongs to a device is freed where it was used; closing twice closes once."""
    bench = make(wait_s=0.5)
    one, two, _ = bench.regular(0.0, 0.001, 0.002)
    futures = [bench.start(one, 1.0), bench.start(two, 2.0)]
    bench.shared.close()
    assert [values(future.result(LIMIT_S)) for future in futures] == [["WorkerError"], ["WorkerError"]]
    bench.shared.close()
    assert bench.inner.closed == [bench.shared._thread.ident]  # type: ignore[union-attr]
    assert values(one.run([entry(1.0)])) == ["WorkerError"]
    with pytest.raises(WorkerError, match="the runner was closed"):
        bench.shared.session()


def test_a_runner_that_hangs_delays_the_others_by_a_bounded_time_and_is_reported_once(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """After the set time whoever waits is answered by an error; when the batch ends the sessions go on."""
    caplog.set_level(logging.WARNING, "marotte.worker")
    gate = Gate()
    bench = make(Doubler(before=gate), stall_s=2.0)
    one, two = bench.shared.session(), bench.shared.session()
    stuck = bench.start(one, 1.0)
    gate.reached()
    waiting = bench.start(two, 2.0)
    bench.clock.time_s = 1.5
    assert bench.shared.busy_s() == 1.5
    assert not waiting.done()
    bench.clock.time_s = 2.0
    for future in (stuck, waiting):
        (answer,) = future.result(LIMIT_S)
        assert isinstance(answer, WorkerError)
        assert "busy for 2.0 s" in str(answer)
    again = bench.start(two, 3.0)
    bench.clock.time_s = 3.0
    bench.inner.before = never
    gate.open()
    assert values(again.result(LIMIT_S)) == [6.0]
    assert values(one.run([entry(4.0)])) == [8.0]
    assert bench.inner.ran == [[1.0], [3.0], [4.0]]
    assert bench.shared.busy_s() == 0.0
    messages = [record.getMessage() for record in caplog.records]
    assert [message.split(":")[0] for message in messages] == [
        "a batch has been running for 2.0 s",
        "the batch that hung has ended after 3.0 s",
    ]


def test_answers_are_the_sessions_own_and_their_memory_is_used_again(make: Make) -> None:
    """What a session looks at stays as it is while others run, and no frame makes arrays anew."""
    bench = make()
    one, two = bench.shared.session(), bench.shared.session()
    first = one.run([entry(1.0)])
    two.run([entry(9.0)])
    assert values(first) == [2.0]
    second = one.run([entry(3.0)])
    assert second[0]["value"] is first[0]["value"]  # type: ignore[index]
    assert values(second) == [6.0]


def test_one_thread_touches_the_inner_runner_from_its_warm_up_to_its_end(make: Make) -> None:
    """A captured graph and a device's context belong to the thread that made them."""

    class Warm(Doubler):
        def warm_up(self) -> None:
            self.threads.add(threading.get_ident())
            raise BackendError("no memory for the largest")

    bench = make(Warm())
    assert bench.shared.ready(LIMIT_S)
    for value in range(3):
        assert values(bench.shared.session().run([entry(float(value))])) == [2.0 * value]
    assert values(bench.shared.run([entry(4.0)])) == [8.0]
    bench.shared.close()
    assert {*bench.inner.threads, *bench.inner.closed} == {bench.shared._thread.ident}  # type: ignore[union-attr]


def test_a_runner_is_ready_when_it_is_warm(make: Make) -> None:
    """Whoever opens it can wait for that, and what is asked before waits as well."""
    gate = Gate()

    class Warm(Doubler):
        def warm_up(self) -> None:
            gate()

    bench = make(Warm())
    gate.reached()
    assert not bench.shared.ready(0.0)
    future = bench.start(bench.shared.session(), 1.0)
    gate.open()
    assert bench.shared.ready(LIMIT_S)
    assert values(future.result(LIMIT_S)) == [2.0]


def test_a_runner_that_holds_nothing_is_run_by_every_session_itself() -> None:
    """No thread in between, nothing is gathered, and it is closed once, with the shared one."""

    class Concurrent(Doubler):
        concurrent = True

    before = threading.active_count()
    inner = Concurrent()
    shared = BatchingRunner(inner, wait_s=0.5)
    assert shared.ready(0.0)
    assert threading.active_count() == before
    session = shared.session()
    assert values(session.run([entry(1.0), entry(2.0)])) == [2.0, 4.0]
    assert inner.threads == {threading.get_ident()}
    session.close()
    assert inner.closed == []
    shared.close()
    shared.close()
    assert inner.closed == [threading.get_ident()]


@pytest.mark.parametrize(("most", "expected"), [(0, 8), (3, 3), (8, 8), (20, 8)])
def test_a_batch_is_as_large_as_is_set_and_as_the_inner_runner_takes(most: int, expected: int) -> None:
    """0 leaves the size to the runner; more than it takes is not asked of it."""
    shared = BatchingRunner(Doubler(), most=most)
    assert shared.most == expected
    shared.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"most": -1},
        {"most": 65},
        {"most": True},
        {"most": 2.0},
        {"wait_s": -0.1},
        {"wait_s": 1.1},
        {"wait_s": float("nan")},
        {"wait_s": "1"},
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    """A wait without end or a batch without a size is a mistake in a configuration, told at its start."""
    with pytest.raises(ConfigError, match="expected"):
        BatchingRunner(Doubler(), **wrong)


def test_under_a_hail_of_sessions_everybody_gets_what_is_his() -> None:
    """Twelve threads, real time, sessions that come and go, faults in one entry of twenty: no answer is lost, late or
    another's, and no thread is left."""

    def before(given: list[float]) -> None:
        if any(value % 20 == 13 for value in given):
            raise BackendError("this entry")

    inner = Doubler(batches=(1, 2, 4), before=before)
    shared = BatchingRunner(inner, wait_s=0.0005)
    wrong: list[object] = []

    def play(seed: int) -> int:
        numbers, done = random.Random(seed), 0
        for _ in range(6):
            session = shared.session()
            for _ in range(20):
                given = [float(numbers.randrange(10**6)) for _ in range(numbers.choice((1, 1, 1, 2, 6)))]
                expected = ["BackendError" if value % 20 == 13 else 2.0 * value for value in given]
                answers = session.run([entry(value) for value in given])
                if numbers.random() < 0.1:
                    time.sleep(0.001)
                if values(answers) != expected:
                    wrong.append((given, values(answers)))
                done += 1
            session.close()
        return done

    with ThreadPoolExecutor(12) as threads:
        assert sum(threads.map(play, range(12))) == 12 * 6 * 20
    shared.close()
    assert wrong == []
    assert max(len(batch) for batch in inner.ran) > 1
    assert not shared._thread.is_alive()  # type: ignore[union-attr]
    assert shared._runs == {}
    assert shared._gathering.waiting == 0
