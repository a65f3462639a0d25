"""The worker's process: what is lost with it, what is not, and what it leaves behind. Real processes, fake insides."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import ConfigError, MarotteError, NoFaceError, WorkerError
from engine.parsing.runs import MOST_RUNS
from engine.worker import mailbox, messages
from engine.worker.child import Child
from engine.worker.holdings import SOURCES_KEPT
from engine.worker.interface import (
    Delivery,
    SessionSpec,
    SourceInfo,
    Stamp,
    State,
    WorkerConfig,
    WorkerStatus,
)
from engine.worker.process import _Process
from engine.worker.supervisor import ProcessWorker
from tests.engine.worker_fakes import SIDE, Faults, OwnNames, fake_worker, quarrelsome_worker

PROJECT = Path(__file__).resolve().parents[2]
LONG_S = 60.0
KILLS = 8
"""In a row; what one of them leaves behind would be seen after the first."""
PATIENT = {"hang_s": 30.0, "add_s": 30.0}
"""For tests of something else, on a loaded machine."""

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(sys.platform == "win32", reason="signals are sent"),
]


class Watched:
    """A ProcessWorker, the states it told, and the pictures of its session `s`."""

    def __init__(self, faults: Faults, make: Any = fake_worker, **config: Any) -> None:
        self.faults = faults
        self.config = WorkerConfig(side=128, **config)
        self.worker = ProcessWorker(self.config, faults, make=make)  # type: ignore[arg-type]
        self.states: list[WorkerStatus] = []
        self.got: list[Delivery] = []
        self._changed = threading.Condition()
        self._number = 0
        self.worker.on_status(self._status)

    def _status(self, status: WorkerStatus) -> None:
        with self._changed:
            self.states.append(status)
            self._changed.notify_all()

    def deliver(self, delivery: Delivery) -> None:
        with self._changed:
            self.got.append(delivery)
            self._changed.notify_all()

    def until(self, true: Callable[[], Any], each: Callable[[], Any] = lambda: None) -> None:
        """Wait for a condition; `each` is done over and over meanwhile."""
        end_s = time.monotonic() + LONG_S
        while not true():
            assert time.monotonic() < end_s, f"waited in vain: {self.worker.status()}"
            each()
            with self._changed:
                self._changed.wait(0.01)

    def state(self, state: State) -> None:
        self.until(lambda: self.worker.status().state is state)

    def ready(self) -> Watched:
        self.worker.start()
        self.state(State.READY)
        return self

    def source(self, data: bytes = b"portrait") -> SourceInfo:
        return self.worker.add_source(data, "portrait").result(LONG_S)

    def session(self, **spec: Any) -> Watched:
        self.worker.open("s", SessionSpec(self.source().id, **spec), self.deliver)
        return self

    def post(self, level: int = 50, size: tuple[int, int] = (8, 8)) -> bool:
        self._number += 1
        stamp = Stamp(3000 * self._number, time.perf_counter(), self._number)
        return self.worker.post("s", np.full((*size, 3), level, np.uint8), stamp)

    def next(self, **fields: Any) -> Delivery:
        """A picture of a frame posted from now on that has these attributes, and that comes while frames are posted."""
        mark, seen = self._number, len(self.got)

        def found() -> Delivery | None:
            for one in self.got[seen:]:
                if one.stamp.mark > mark and all(getattr(one, key) == value for key, value in fields.items()):
                    return one
            return None

        self.until(found, self.post)
        one = found()
        assert one is not None
        return one

    def kill(self, signal_number: int = signal.SIGKILL) -> int:
        pid = self.worker.status().pid
        assert pid is not None
        os.kill(pid, signal_number)
        if signal_number == signal.SIGSTOP:  # it stops when its turn comes, and takes frames until then
            self.until(lambda: not _runs(pid))
        return pid

    def restarts(self) -> dict[str, int]:
        return dict(self.worker.status().restarts)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Callable[..., Watched]]:
    """Makes workers, and ends them."""
    made: list[Watched] = []

    def make(**config: Any) -> Watched:
        made.append(Watched(Faults(tmp_path), **config))
        return made[-1]

    yield make
    for one in made:
        one.worker.close()


def _pid_of(delivery: Delivery) -> int:
    return int(np.frombuffer(delivery.planes[0, :4].tobytes(), np.uint32)[0])


def _smoothing_of(delivery: Delivery) -> float:
    return float(delivery.planes[0, 4]) / 10


def _state_of(task: Path) -> str:
    """As /proc has it: T is stopped, Z has ended; ? where that cannot be told."""
    try:
        return (task / "stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
    except OSError:
        return "?"


def _runs(pid: int) -> bool:
    """Whether any of its threads may still do something."""
    return any(_state_of(task) in "RSD" for task in Path(f"/proc/{pid}/task").glob("*"))


def _gone(pid: int) -> bool:
    state = _state_of(Path(f"/proc/{pid}"))
    if state != "?":
        return state == "Z"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return sys.platform == "linux"


def _own_segments(pid: int = os.getpid()) -> set[str]:
    """Those that this process has made, told from others' by `own_names`."""
    folder = Path("/dev/shm")
    return {path.name for path in folder.glob(f"marotte-{pid:08x}*")} if folder.is_dir() else set()


@pytest.fixture(autouse=True)
def own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other programs make segments beside this one."""
    monkeypatch.setattr(mailbox, "secrets", OwnNames)


def _failed(future: Future[SourceInfo]) -> BaseException:
    error = future.exception(LONG_S)
    assert error is not None
    return error


def test_frames_come_back_with_their_stamp_and_their_times(watched: Callable[..., Watched]) -> None:
    """The picture of a frame carries that frame's stamp, and its report tells the way there and back."""
    one = watched(spare=False, **PATIENT).ready().session()
    assert one.source().size == (SIDE, SIDE)
    assert one.source().still.shape == (SIDE * 3 // 2, SIDE)
    before_s = time.perf_counter()
    delivery = one.next()
    assert delivery.session == "s"
    assert delivery.source == one.source().id
    assert delivery.planes.flags.owndata
    assert delivery.planes.flags.writeable
    assert int(delivery.planes[5, 5]) == 50
    assert delivery.stamp.pts == 3000 * delivery.stamp.mark == delivery.report.pts
    assert list(delivery.report.seconds) == ["post", "run", "fetch"]
    assert all(seconds >= 0 for seconds in delivery.report.seconds.values())
    way_s = delivery.report.seconds["post"] + delivery.report.seconds["fetch"]
    assert way_s <= delivery.report.age_s <= time.perf_counter() - before_s
    assert _pid_of(delivery) == one.worker.status().pid != os.getpid()


def test_a_larger_frame_gets_a_larger_mailbox(watched: Callable[..., Watched]) -> None:
    """A camera may change its size; nothing but the old segment is left behind."""
    one = watched(spare=False, **PATIENT).ready().session()
    one.next()
    few = len(_own_segments())
    assert one.post(size=(8192, 8192)) is True, "larger than any picture that is taken"
    for side in (16, 64, 32, 200):
        mark = one.got[-1].stamp.mark
        one.until(lambda mark=mark: one.got[-1].stamp.mark > mark, lambda s=side: one.post(size=(s, s)))
    assert len(_own_segments()) == few


def test_nothing_waits_for_a_process_that_is_stopped(watched: Callable[..., Watched]) -> None:
    """Frames and commands beyond what a pipe holds are taken at once, and afterwards the newest frame comes out."""
    one = watched(spare=False, **PATIENT).ready().session()
    one.next()
    one.kill(signal.SIGSTOP)
    lost = [one.post(level % 250) for level in range(100)]
    assert all(lost[-90:])
    for _ in range(5000):
        one.worker.change("s", {"smoothing": 2.0, "controls": {"mouth": 1.5, "pose": 0.5}})
    one.worker.close_session("another")
    future = one.worker.add_source(b"x" * (4 << 20), "large")
    one.kill(signal.SIGCONT)
    one.until(lambda: one.got[-1].stamp.mark == one._number)
    assert future.result(LONG_S).faces == 1
    assert _smoothing_of(one.next(changes=5000)) == 2.0
    assert one.restarts() == {}


@pytest.mark.parametrize("spare", [True, False])
def test_a_killed_process_is_replaced_and_the_session_goes_on_with_its_changes(
    watched: Callable[..., Watched], spare: bool
) -> None:
    """kill -9 costs a moment: the source, the controls and the number of the last change are kept on this side."""
    one = watched(spare=spare, **PATIENT).ready().session(smoothing=0.5)
    assert _smoothing_of(one.next()) == 0.5
    assert one.worker.change("s", {"smoothing": 1.5}) == 1
    one.next(changes=1)
    killed = one.kill()
    delivery = one.next(changes=1)
    assert _smoothing_of(delivery) == 1.5
    one.until(lambda: one.restarts() == {"crashed": 1})
    assert _pid_of(one.next()) == one.worker.status().pid != killed
    assert one.worker.change("s", {"smoothing": 3.0}) == 2
    assert _smoothing_of(one.next(changes=2)) == 3.0
    pids = [_pid_of(each) for each in one.got]
    assert pids == sorted(pids, key=pids.index), "a fenced process delivered after its replacement"
    assert State.REPLACING in [status.state for status in one.states]
    assert any("signal 9" in status.detail for status in one.states)
    assert _gone(killed)


def test_a_stopped_process_and_a_stage_that_hangs_are_replaced(watched: Callable[..., Watched]) -> None:
    """No sign of life, or one frame for too long: both count as hung, and what was left is killed."""
    one = watched(hang_s=1.0).ready().session()
    one.next()
    stopped = one.kill(signal.SIGSTOP)
    one.until(lambda: _pid_of(one.got[-1]) != stopped, one.post)
    one.until(lambda: _gone(stopped))
    one.faults.switch("hang")
    one.until(lambda: not one.faults.on("hang"), one.post)
    hanging = one.worker.status().pid
    one.until(lambda: _pid_of(one.got[-1]) != hanging, one.post)
    assert one.restarts()["hung"] >= 2
    assert set(one.restarts()) == {"hung"}
    one.until(lambda: _gone(hanging or 0))


def test_a_receiver_that_is_slow_is_not_blamed_on_the_process(watched: Callable[..., Watched]) -> None:
    """Signs of life that lie unread on this side are signs of life."""
    one = watched(spare=False, hang_s=1.0).ready()
    blocked, go_on = threading.Event(), threading.Event()

    def deliver(delivery: Delivery) -> None:
        if not blocked.is_set():
            blocked.set()
            go_on.wait(LONG_S)
        one.deliver(delivery)

    one.worker.open("s", SessionSpec(one.source().id), deliver)
    one.until(blocked.is_set, one.post)
    looked_s = time.perf_counter()
    one.until(lambda: time.perf_counter() > looked_s + 2.0)
    assert one.restarts() == {}
    go_on.set()
    one.next()
    assert one.restarts() == {}


def test_a_source_that_the_process_dies_of_is_refused_from_then_on(watched: Callable[..., Watched]) -> None:
    """Its future fails, the sessions go on, and it does not get a second chance to take them down."""
    one = watched(**PATIENT).ready().session()
    error = _failed(one.worker.add_source(b"crash it", "bad.webp"))
    assert isinstance(error, WorkerError)
    assert "bad.webp: the worker was ended by signal 11" in str(error)
    one.next()
    assert one.restarts() == {"crashed": 1}
    assert "before" in str(_failed(one.worker.add_source(b"crash it", "bad.webp")))
    one.next()
    assert one.restarts() == {"crashed": 1}
    assert one.source(b"another").faces == 1


def test_a_source_that_takes_too_long_is_overdue(watched: Callable[..., Watched]) -> None:
    """It ends with its process; the running session goes on in the next one."""
    one = watched(hang_s=30.0, add_s=0.5).ready().session()
    future = one.worker.add_source(b"slow", "slow.mp4")
    assert "busy" in str(_failed(one.worker.add_source(b"other", "other.webp")))
    assert "took more than 0.5 s over a source" in str(_failed(future))
    one.next()
    assert one.restarts() == {"overdue": 1}


def test_what_is_wrong_with_a_source_crosses_as_the_error_it_is(watched: Callable[..., Watched]) -> None:
    """The page says the same whether or not there is a process in between."""
    one = watched(spare=False, **PATIENT).ready()
    error = _failed(one.worker.add_source(b"nobody here", "wall.jpg"))
    assert type(error) is NoFaceError
    assert str(error) == "wall.jpg: no face in it; give one with a face"
    assert one.source(b"").faces == 1, "an empty one is the insides' to refuse"
    assert one.source(b"one name") is not None
    assert one.worker.add_source(b"one name", "another name").result(LONG_S).name == "another name"
    assert one.restarts() == {}


def test_a_session_takes_another_source_and_forgets_the_first(watched: Callable[..., Watched]) -> None:
    """A source that is shown cannot be dropped; one that is not, can; a change to an unknown one is refused."""
    one = watched(spare=False, **PATIENT).ready().session()
    first, second = one.source().id, one.source(b"second").id
    assert one.worker.change("s", {"source": second}) == 1
    one.next(source=second, changes=1)
    one.worker.drop_source(second)
    one.worker.drop_source(first)
    with pytest.raises(ConfigError, match="not known"):
        one.worker.change("s", {"source": first})
    one.kill()
    assert one.next(source=second).changes == 1


def test_only_so_many_sources_are_kept(watched: Callable[..., Watched]) -> None:
    """Uploads do not fill the memory; what a session shows stays."""
    one = watched(spare=False, **PATIENT).ready().session()
    one.next()
    few = len(_own_segments())
    ids = [one.source(b"number %d" % number).id for number in range(SOURCES_KEPT + 1)]
    with pytest.raises(ConfigError, match="not known"):
        one.worker.change("s", {"source": ids[0]})
    assert one.worker.change("s", {"source": ids[1]}) == 1
    one.next(source=ids[1])
    assert len(_own_segments()) == few, "what carried the bytes of a source is still there"


def test_what_cannot_be_opened_is_said(watched: Callable[..., Watched]) -> None:
    """Too many sessions, an unknown source, a name twice, wrong settings: each is refused where it is asked."""
    one = watched(spare=False, sessions=1, **PATIENT)
    assert "starting" in str(_failed(one.worker.add_source(b"early", "early.jpg")))
    one.ready()
    source = one.source().id
    with pytest.raises(WorkerError, match="not known"):
        one.worker.open("s", SessionSpec("0" * 64), one.deliver)
    with pytest.raises(ConfigError, match="smoothing"):
        one.worker.open("s", SessionSpec(source, smoothing=9.0), one.deliver)
    one.worker.open("s", SessionSpec(source), one.deliver)
    with pytest.raises(WorkerError, match="open already"):
        one.worker.open("s", SessionSpec(source), one.deliver)
    with pytest.raises(WorkerError, match="1 sessions at most"):
        one.worker.open("t", SessionSpec(source), one.deliver)
    with pytest.raises(ConfigError, match="mouth"):
        one.worker.change("s", {"controls": {"mouth": 99}})
    with pytest.raises(ConfigError, match="not open"):
        one.worker.change("t", {"smoothing": 1})
    assert one.worker.post("t", np.zeros((4, 4, 3), np.uint8), Stamp(0, 0.0)) is True
    one.next(changes=0)
    one.worker.close_session("s")
    one.worker.close_session("s")
    assert one.post() is True
    one.worker.open("t", SessionSpec(source), one.deliver)
    assert _own_segments()


@pytest.mark.parametrize("fault", ["odd picture", "exit"])
def test_a_process_that_sends_nonsense_or_leaves_is_replaced(
    watched: Callable[..., Watched], fault: str
) -> None:
    """A picture that is none never reaches the receiver."""
    one = watched(**PATIENT).ready().session()
    one.next()
    one.faults.switch(fault)
    one.until(lambda: one.restarts() == {"crashed": 1}, one.post)
    one.next()
    assert all(each.planes.shape == (SIDE * 3 // 2, SIDE) for each in one.got)


def test_a_picture_that_does_not_fit_is_dropped(watched: Callable[..., Watched]) -> None:
    """One larger than what was agreed at the start is a fault of that picture alone."""
    one = watched(spare=False, **PATIENT).ready().session()
    one.next()
    one.faults.switch("odd size")
    one.until(lambda: not one.faults.on("odd size"), one.post)
    one.next()
    assert one.restarts() == {}
    assert all(each.planes.shape == (SIDE * 3 // 2, SIDE) for each in one.got)


def test_a_receiver_that_fails_is_not_the_workers_fault(watched: Callable[..., Watched]) -> None:
    """Its error is logged; the next picture comes."""
    one = watched(spare=False, **PATIENT).ready()
    failed = threading.Event()

    def deliver(delivery: Delivery) -> None:
        if not failed.is_set():
            failed.set()
            raise ValueError("the receiver is broken")
        one.deliver(delivery)

    one.worker.open("s", SessionSpec(one.source().id), deliver)
    one.next()
    assert failed.is_set()
    assert one.restarts() == {}


def test_after_the_fence_nothing_of_a_process_is_read(watched: Callable[..., Watched]) -> None:
    """A process that still runs is out from the moment it is fenced, before it is killed."""
    one = watched(spare=False, **PATIENT).ready().session()
    one.next()
    child = one.worker._pair.current
    assert isinstance(child, Child)
    child.fence()
    before = len(one.got)
    assert one.post() is True
    assert one.restarts() == {}
    assert len(one.got) == before
    assert not _own_segments()


def test_models_that_are_not_there_are_told_at_once(watched: Callable[..., Watched]) -> None:
    """Trying again would not help: the state is failed, with the reason."""
    one = watched(spare=False, **PATIENT)
    one.faults.switch("no models")
    one.worker.start()
    one.state(State.FAILED)
    assert "marotte models pull" in one.worker.status().detail
    assert "marotte models pull" in str(_failed(one.worker.add_source(b"x", "x")))
    with pytest.raises(WorkerError, match="marotte models pull"):
        one.worker.open("s", SessionSpec("0" * 64), one.deliver)


def test_a_process_that_never_starts_is_given_up_after_some_tries(
    watched: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Starting over and over would burn the machine; the reason is told."""
    from engine.worker import pair

    monkeypatch.setattr(pair, "_BACKOFF_S", (0.0, 0.01, 0.01, 0.01, 0.01))
    one = watched(spare=True, **PATIENT)
    one.faults.switch("dies at start")
    one.worker.start()
    one.state(State.FAILED)
    assert "signal 9" in one.worker.status().detail
    assert one.restarts() == {"crashed": pair.STARTS}


def test_an_error_that_is_not_marottes_own_is_told_too(
    watched: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the process dies of at its start stands in the state."""
    from engine.worker import pair

    monkeypatch.setattr(pair, "STARTS", 1)
    one = watched(make=quarrelsome_worker, spare=False, **PATIENT)
    one.worker.start()
    one.state(State.FAILED)
    assert "this worker cannot be made" in one.worker.status().detail


def test_a_spare_that_cannot_be_started_leaves_the_worker_as_it_is(
    watched: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without memory for a second process the first one goes on, and sessions may be opened."""
    from engine.worker import pair

    start, refused = Child.start, []

    def only_one(child: Child, *things: Any) -> None:
        if child.number > 1:
            refused.append(child.number)
            raise OSError(12, "Cannot allocate memory")
        start(child, *things)

    monkeypatch.setattr(pair, "_BACKOFF_S", (0.0,) * pair.STARTS)
    monkeypatch.setattr(Child, "start", only_one)
    one = watched(**PATIENT).ready()
    one.until(lambda: len(refused) == pair.STARTS)
    one.session().next()
    assert one.worker.status().state is State.READY
    assert one.restarts() == {}


def test_nonsense_about_a_source_is_told_to_who_waits_for_it(watched: Callable[..., Watched]) -> None:
    """The process is replaced, the source is not tried again, and another one may follow."""
    one = watched(spare=False, **PATIENT).ready()
    assert "nonsense" in str(_failed(one.worker.add_source(b"odd", "odd.png")))
    one.until(lambda: one.restarts() == {"crashed": 1})
    one.state(State.READY)
    assert "lost over it before" in str(_failed(one.worker.add_source(b"odd", "odd.png")))
    one.session().next()


def test_ctrl_c_is_the_parents_to_hear(watched: Callable[..., Watched]) -> None:
    """A terminal sends it to every process; the worker goes on until the parent ends it."""
    one = watched(spare=False, **PATIENT).ready().session()
    one.kill(signal.SIGINT)
    one.next()
    one.next()
    assert one.restarts() == {}


def test_closing_is_allowed_at_any_time_and_more_than_once(watched: Callable[..., Watched]) -> None:
    """Before the start, while starting, while replacing, from a listener, and from two threads at once."""
    unborn = watched(**PATIENT)
    unborn.worker.close()
    unborn.worker.start()
    assert unborn.worker.status().state is State.CLOSED
    starting = watched(**PATIENT)
    starting.worker.start()
    starting.worker.close()
    assert starting.worker.status().state is State.CLOSED
    replacing = watched(spare=False, **PATIENT).ready().session()
    replacing.worker.on_status(lambda status: replacing.worker.close())
    killed = replacing.kill()
    replacing.state(State.CLOSED)
    threads = [threading.Thread(target=replacing.worker.close) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG_S)
        assert not thread.is_alive()
    assert _gone(killed)
    assert replacing.post() is True
    assert "closed" in str(_failed(replacing.worker.add_source(b"x", "x")))
    assert not _own_segments()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("marotte")]


@pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc")
def test_kill_after_kill_leaves_nothing_behind(watched: Callable[..., Watched]) -> None:
    """Threads, file descriptors, segments and processes are what they were."""
    one = watched(spare=True, **PATIENT).ready().session()

    def counts() -> tuple[int, int, int, int]:
        with open(f"/proc/self/task/{threading.main_thread().native_id}/children", encoding="ascii"):
            pass
        children = [
            pid
            for task in os.listdir("/proc/self/task")
            for pid in _read(f"/proc/self/task/{task}/children").split()
        ]
        return threading.active_count(), len(os.listdir("/proc/self/fd")), len(_own_segments()), len(children)

    def settled() -> bool:
        worker = one.worker
        spare = worker._pair.spare
        return spare is not None and spare.ready and bool(spare.sources) and not worker._pair._dying

    one.until(settled, one.post)
    one.next()
    start = counts()
    for number in range(KILLS):
        killed = one.kill()
        one.until(lambda n=number: one.restarts() == {"crashed": n + 1})
        assert _pid_of(one.next()) != killed
    one.until(settled, one.post)
    one.next()
    one.until(lambda: counts() == start)


def _read(name: str) -> str:
    try:
        return Path(name).read_text(encoding="ascii")
    except OSError:
        return ""


SCRIPT = """
import os, signal, sys, time, threading
sys.path.insert(0, {project!r})
print("once", flush=True)
from pathlib import Path
from engine.parsing.runs import MOST_RUNS
from engine.worker import mailbox, messages
from engine.worker.interface import SessionSpec, State, WorkerConfig
from engine.worker.process import _Process
from engine.worker.supervisor import ProcessWorker
from tests.engine.worker_fakes import Faults, OwnNames, fake_worker
mailbox.secrets = OwnNames
worker = ProcessWorker(WorkerConfig(hang_s={hang_s}), Faults(Path({folder!r})), make=fake_worker)
ready = threading.Event()
worker.on_status(lambda status: ready.set() if status.state is State.READY else None)
worker.start()
assert ready.wait(60)
source = worker.add_source(b"portrait", "portrait").result(60).id
worker.open("s", SessionSpec(source), lambda delivery: None)
while worker._pair.spare is None or not worker._pair.spare.ready:
    time.sleep(0.01)
assert list(Path("/dev/shm").glob(f"marotte-{{os.getpid():08x}}*")) or sys.platform != "linux"
print(worker.status().pid, worker._pair.spare.pid, flush=True)
{end}
"""


def _script(tmp_path: Path, end: str, hang_s: float = 30.0) -> subprocess.Popen[str]:
    """A program of a few lines without a main guard, as people write them."""
    script = tmp_path / "script.py"
    script.write_text(
        SCRIPT.format(project=str(PROJECT), folder=str(tmp_path), end=end, hang_s=hang_s), encoding="utf-8"
    )
    return subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )


def _await_gone(*pids: int) -> None:
    end_s = time.monotonic() + LONG_S
    while not all(_gone(pid) for pid in pids):
        assert time.monotonic() < end_s, "an orphan lives on"
        time.sleep(0.01)


def test_no_orphan_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    """kill -9 on the network's process ends both of its workers, even one that is stopped, and frees the memory."""
    with _script(tmp_path, "time.sleep(3600)") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "once\n"
        first, spare = map(int, process.stdout.readline().split())
        if sys.platform == "linux":
            os.kill(spare, signal.SIGSTOP)
        process.kill()
        _await_gone(first, spare)
        process.communicate(timeout=LONG_S)  # every process that holds its standard error has ended with it
    assert not _own_segments(process.pid)


@pytest.mark.parametrize(
    "end",
    [
        "",
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
        "os.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(3600)",
    ],
    ids=["falls off its end", "is told to end"],
)
def test_a_program_that_ends_without_closing_leaves_nothing_and_says_nothing(
    tmp_path: Path, end: str
) -> None:
    """Its main module ran once, though it has no main guard; its workers ended with it; nobody complained."""
    with _script(tmp_path, end) as process:
        out, error = process.communicate(timeout=LONG_S)
        lines = out.splitlines()
        assert process.returncode == 0
        assert lines[0] == "once"
        assert len(lines) == 2
        assert error == ""
        _await_gone(*map(int, lines[1].split()))
    assert not _own_segments(process.pid)


def test_a_pause_of_this_process_is_not_blamed_on_the_other(tmp_path: Path) -> None:
    """When the network's process was stopped itself, the signs of life that it did not read are no reason to kill."""
    end = (
        "os.kill(os.getpid(), signal.SIGSTOP)\n"
        "heard_s = worker._pair.current.heard_s\n"
        "while worker._pair.current.heard_s < heard_s + 1.5 * worker._config.hang_s:\n"
        "    time.sleep(0.01)\n"
        "print(dict(worker.status().restarts), flush=True)\n"
    )
    with _script(tmp_path, end, hang_s=2.0) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "once\n"
        process.stdout.readline()
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        time.sleep(4.0)  # the pause itself
        process.send_signal(signal.SIGCONT)
        assert process.communicate(timeout=LONG_S) == ("{}\n", "")


class _Told:
    """In place of a process's pipe and of what it runs: what is told, and a worker that knows no session."""

    def __init__(self) -> None:
        self.sent: list[messages.Message] = []

    def send_bytes(self, data: bytes) -> None:
        self.sent.append(messages.unpack(data))

    def change(self, session: str, change: Any) -> int:
        raise ConfigError(f"session {session}: it is not open")


def test_a_session_that_ended_before_it_was_opened_is_told_once() -> None:
    """Sessions that come and go faster than a busy process opens them do not fill the log with their changes."""
    told: Any = _Told()
    inside = _Process(told, threading.Semaphore(0))
    inside._worker = told
    missing = {"session": "s", "outbox": "marotte-never", "capacity": 1 << 16}
    inside._carry_out(messages.unpack(messages.pack("open", **missing)))
    for _ in range(20):
        inside._carry_out(messages.unpack(messages.pack("change", session="s", change={"smoothing": 1.0})))
    assert [(message.kind, message.get("command", str)) for message in told.sent] == [("trouble", "open")]


def test_the_largest_painting_and_layout_cross_and_outlive_a_process(
    watched: Callable[..., Watched],
) -> None:
    """As many runs as are read reach the process and, when it was killed, the next one; its layout comes back; and who
    asks a process that stops is told."""
    one = watched(spare=True, **PATIENT).ready().session()
    one.next()
    side = 512
    painted = [[index % 19, 1] for index in range(MOST_RUNS - 1)]
    painted.append([0, side * side - (MOST_RUNS - 1)])
    number = one.worker.change("s", {"controls": {"painted": painted}})
    assert painted_of(one.next(changes=number)) == MOST_RUNS
    assert len(one.worker.look("s").result(LONG_S).labels) == 128 * 128
    assert one.worker.look("s", rest=True).result(LONG_S).picture == b"rest"
    one.faults.switch("no answer")
    waiting = one.worker.look("s")
    one.kill()
    assert isinstance(waiting.exception(LONG_S), WorkerError)
    assert painted_of(one.next(changes=number)) == MOST_RUNS
    assert isinstance(one.worker.look("another").exception(LONG_S), WorkerError)
    assert one.restarts() == {"crashed": 1}


def painted_of(delivery: Any) -> int:
    high, low = delivery.planes[0, 5:7].tolist()
    return 256 * high + low


def _added(one: Watched, folder: str = "/enrolled/more") -> str:
    return one.worker.add_bundle(folder).result(LONG_S).name


def test_a_bundle_that_was_added_outlives_its_process(watched: Callable[..., Watched]) -> None:
    """The spare opens it too; a session that runs it goes on in the next process as soon as that has it."""
    one = watched(**PATIENT).ready().session()
    assert _added(one) == "more"
    assert [info.name for info in one.worker.bundles()] == ["fake", "more"]
    one.worker.change("s", {"bundle": "more"})
    first = _pid_of(one.next(bundle="more"))
    one.kill()
    second = _pid_of(one.next(bundle="more"))
    assert second != first
    assert one.faults.on(f"more-in-{first}")
    assert one.faults.on(f"more-in-{second}")
    with pytest.raises(WorkerError, match="a session runs it"):
        one.worker.drop_bundle("more")
    one.worker.close_session("s")
    one.worker.drop_bundle("more")
    one.until(lambda: one.faults.on(f"more-dropped-by-{second}"))
    assert [info.name for info in one.worker.bundles()] == ["fake"]


@pytest.mark.parametrize(
    ("fault", "said"), [("dies over a bundle", "while it opened it"), ("no such bundle", "no manifest")]
)
def test_a_bundle_that_cannot_be_opened_is_not_tried_again(
    watched: Callable[..., Watched], fault: str, said: str
) -> None:
    """Whoever asked is told, though the process was lost over it; the sessions go on, and the next one is welcome."""
    one = watched(**PATIENT).ready().session()
    one.next()
    one.faults.switch(fault)
    with pytest.raises(MarotteError, match=said):
        _added(one)
    (one.faults.folder / fault).unlink(missing_ok=True)
    one.next()
    assert _added(one, "/enrolled/other") == "other"
    assert [info.name for info in one.worker.bundles()] == ["fake", "other"]
    with pytest.raises(ConfigError, match="offered already"):
        _added(one, "/enrolled/fake")
