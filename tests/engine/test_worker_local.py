"""The worker's two stages: what overlaps, what is dropped, what is delivered, and what a fault may do."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
import pytest

from engine.errors import ConfigError, MarotteError, ModelError, WorkerError
from engine.types import Face, Outcome
from engine.worker import live, local
from engine.worker.interface import DriverKind, SessionSpec, Stamp, State, WorkerConfig
from engine.worker.local import LocalWorker
from engine.worker.tools import Tools
from tests.engine.worker_tools import (
    WAIT_S,
    Desk,
    FakeTools,
    Faults,
    Gate,
    desk,
    driver_frame,
    face_at,
    ground_of,
    png,
    shows_driver,
    value_of,
    wait_for_state,
)


@pytest.fixture
def desk_of_fakes() -> Iterator[Desk]:
    with desk() as one:
        yield one


@pytest.fixture
def session(desk_of_fakes: Desk) -> Desk:
    desk_of_fakes.open()
    return desk_of_fakes


def worker_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("marotte-")}


def test_a_frame_comes_back_as_the_picture_rendered_from_it(session: Desk) -> None:
    """The stamp returns on the very picture, with the source, the stages in order and the age until then."""
    stamp = Stamp(12345, time.perf_counter(), 77)
    assert not session.worker.post("one", driver_frame(60), stamp)
    delivery = session.next()
    assert delivery.stamp is stamp
    assert (delivery.session, delivery.source, delivery.changes) == ("one", session.source.id, 0)
    assert (value_of(delivery), ground_of(delivery)) == (60, 100)
    assert delivery.planes.shape == (240, 160)
    assert delivery.planes.flags.writeable
    assert delivery.report.outcome is Outcome.GENERATED
    assert delivery.report.pts == 12345
    stages = ["wait", "track", "features", "queue", "inputs", "gather", "render", "paste", "planes"]
    assert list(delivery.report.seconds) == stages
    assert sum(delivery.report.seconds.values()) <= delivery.report.age_s


def test_the_next_frame_is_tracked_while_one_is_generated(session: Desk) -> None:
    """Stages overlap: a frame is through the tracker although the one before has not left the runner."""
    gate, tracked = Gate(), threading.Event()
    session.faults.run = gate
    session.post(50)
    gate.reached()
    session.faults.track = lambda frame: tracked.set()
    session.post(51)
    assert tracked.wait(WAIT_S)
    assert session.left.empty()
    gate.open()
    assert [value_of(session.next()) for _ in range(2)] == [50, 51]


def test_before_the_tracker_the_newest_frame_wins(session: Desk) -> None:
    """A frame that waits for a slow tracker is replaced by a newer one, and whoever posts is told."""
    gate = Gate()
    tracked: list[int] = []
    session.step(49)
    session.faults.track = gate
    assert not session.post(50)
    gate.reached()
    session.faults.track = lambda frame: tracked.append(int(frame.rgb[0, 0, 0]))
    assert [session.post(value) for value in (51, 52, 53)] == [False, True, True]
    gate.open()
    while value_of(session.next()) != 53:
        pass
    assert tracked == [53]
    assert session.left.empty()


def test_before_the_runner_the_newest_work_wins(session: Desk) -> None:
    """A slow runner makes pictures fewer and not older: what was observed meanwhile is dropped but for the last."""
    gate = Gate()
    tracked: list[int] = []
    session.faults.run = gate
    session.post(50)
    gate.reached()
    session.faults.track = lambda frame: tracked.append(int(frame.rgb[0, 0, 0]))
    for value in (51, 52, 53):
        session.post(value)
        while value not in tracked:
            time.sleep(0.001)
    while session.waiting() != 53:
        time.sleep(0.001)
    gate.open()
    assert [value_of(session.next()) for _ in range(2)] == [50, 53]
    assert session.left.empty()


def test_a_slow_tracker_makes_frames_fewer_and_not_older() -> None:
    """With a tracker of 200 ms a picture is never older than two stage times, however many frames come in."""
    with desk(Faults(track=lambda frame: time.sleep(0.2))) as session:
        session.open()
        for value in range(45):
            session.post(value)
            time.sleep(1 / 30)
        seen = [session.left.get_nowait() for _ in range(session.left.qsize())]
    assert len(seen) >= 4
    for delivery in seen[1:]:  # the first may have waited for the session to be opened
        assert delivery.report.age_s <= 2 * delivery.report.seconds["track"]


def test_pictures_leave_in_the_order_of_their_frames(session: Desk) -> None:
    """pts rise through every overlap and drop."""
    for value in range(200):
        session.post(value)
        if value % 7 == 0:
            session.next()
    session.worker.close_session("one")
    left = [session.left.get_nowait().stamp.pts for _ in range(session.left.qsize())]
    assert left == sorted(set(left))


def fail(error: Exception) -> Callable[[object], None]:
    def raises(what: object) -> None:
        raise error

    return raises


@pytest.mark.parametrize(
    "fault",
    [
        {"track": fail(RuntimeError("tracker broke"))},
        {"track": fail(MarotteError("refused"))},
        {"faces": lambda face: ()},
        {"faces": lambda face: (Face(face.box, face.points * np.float32(np.nan), 0.99, 1),)},
        {"faces": lambda face: (Face(face.box, face.points[:5], 0.99, 1),)},
        {"faces": lambda face: None},
        {"inputs": fail(ZeroDivisionError("inputs"))},
        {"run": fail(RuntimeError("device lost"))},
        {"run": fail(MemoryError("no memory"))},
        {"patch": fail(ValueError("patch"))},
    ],
    ids=["crash", "refused", "nobody", "nan", "few points", "no tuple", "inputs", "run", "memory", "patch"],
)
def test_whatever_fails_the_picture_holds_and_moves_again(session: Desk, fault: dict[str, Any]) -> None:
    """Every stage fails closed with its reason, never with the driver, and the same threads go on."""
    before = {thread.ident for thread in threading.enumerate()}
    vars(session.faults).update(faces=lambda face: ())
    still = session.step(0, pts=-9000)
    assert still.report.outcome is Outcome.WAITING
    vars(session.faults).update(vars(Faults()))
    assert session.step(50).report.outcome is Outcome.GENERATED
    vars(session.faults).update(fault)
    for number in range(3):
        delivery = session.step(51 + number)
        assert delivery.report.outcome is Outcome.HELD
        assert delivery.report.reason
        assert value_of(delivery) == 50
        assert not shows_driver(delivery)
    faded = session.step(60, pts=300_000)
    assert faded.report.outcome is Outcome.FADED
    assert value_of(faded) == value_of(still)
    vars(session.faults).update(vars(Faults()))
    delivery = session.step(61, pts=303_000)
    assert (delivery.report.outcome, value_of(delivery)) == (Outcome.GENERATED, 61)
    assert before >= {thread.ident for thread in threading.enumerate() if thread.name in worker_threads()}


def test_each_kind_of_error_is_logged_once(session: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Thirty broken frames a second do not fill a disk."""
    session.faults.track = fail(RuntimeError("tracker broke"))
    for _ in range(5):
        session.step()
    assert sum("tracker broke" in record.getMessage() for record in caplog.records) == 1


def test_sessions_share_a_batch_and_no_fault() -> None:
    """What waits for a busy runner goes through it as one batch; a broken session falls back alone."""
    gate = Gate()

    def inputs(drive: Any) -> None:
        if drive.frame.rgb[0, 0, 0] == 99:
            raise RuntimeError("this session's inputs")

    with desk(Faults(inputs=inputs)) as both:
        both.faults.run = gate
        for name in ("one", "two", "three"):
            both.open(name)
        both.post(50, "one")
        gate.reached()
        both.post(60, "two")
        both.post(70, "three")
        while both.offered() < 2:
            time.sleep(0.001)
        gate.open()
        seen = {(d.session, value_of(d), d.report.batch) for d in (both.next() for _ in range(3))}
        assert seen == {("one", 50, 1), ("two", 60, 2), ("three", 70, 2)}
        assert both.faults.batches[-2:] == [1, 2]
        bad, good = both.step(99, "one"), both.step(80, "two")
        assert (bad.report.outcome, good.report.outcome) == (Outcome.HELD, Outcome.GENERATED)


def test_a_receiver_that_raises_loses_its_own_picture_only(session: Desk) -> None:
    """deliver belongs to somebody else; the thread that calls it serves all sessions."""
    calls: list[int] = []

    def deliver(delivery: Any) -> None:
        calls.append(1)
        raise RuntimeError("receiver broke")

    session.open("two", deliver)
    for _ in range(3):
        session.post(50, "two")
        assert value_of(session.step(51)) == 51
    assert calls


@pytest.mark.parametrize("size", [(1, 1), (1, 97), (31, 17), (640, 480), (4096, 2)])
def test_a_drivers_frame_may_have_any_size_and_change_it(session: Desk, size: tuple[int, int]) -> None:
    """The picture that leaves has the source's size, whatever the driver's frames have."""
    for shape in ((64, 48), size, (48, 64)):
        assert session.step(40, rgb=driver_frame(40, shape)).planes.shape == (240, 160)


@pytest.mark.parametrize(
    "rgb",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((), np.uint8),
        None,
    ],
)
def test_what_is_no_picture_is_dropped(session: Desk, rgb: Any) -> None:
    """Another array than a picture reaches no stage, and the next frame is served."""
    assert session.worker.post("one", rgb, Stamp(0, 0.0))
    assert value_of(session.step(50)) == 50


def test_time_that_runs_back_or_leaps_is_lived_through(session: Desk) -> None:
    """A driver whose clock restarts keeps moving the picture; the stamps come back as they were given."""
    pts = (90_000, 93_000, 3_000, 3_000, 6_000, 1 << 40, (1 << 40) + 3_000, -5, 0)
    seen = [session.step(50 + index, pts=one) for index, one in enumerate(pts)]
    assert [delivery.stamp.pts for delivery in seen] == list(pts)
    assert [delivery.report.pts for delivery in seen] == list(pts)
    assert [value_of(delivery) for delivery in seen] == [50 + index for index in range(len(pts))]


def test_media_time_rises_whatever_the_drivers_clock_does() -> None:
    """The driver's steps are kept; where they run back or leap, the time of arrival stands in."""
    timeline = live.Timeline()
    stamps = [(1000, 0.0), (4000, 0.1), (4000, 0.2), (100, 0.3), (3100, 0.3), (1 << 50, 1.3), (9, 0.0)]
    assert [timeline.pts(Stamp(pts, at)) for pts, at in stamps] == [
        1000, 4000, 13000, 22000, 25000, 115000, 115001,
    ]  # fmt: skip


def test_a_change_is_in_force_from_the_next_frame_on(session: Desk) -> None:
    """The number on a picture says which changes made it."""
    assert session.step(50).changes == 0
    assert session.change({"controls": {"mouth": 2}}) == 1
    delivery = session.step(50)
    assert (delivery.changes, value_of(delivery)) == (1, 100)
    assert session.change({"smoothing": 0}) == 2
    assert session.change({"controls": {"pose": 0.5}, "recalibrate": True}) == 3
    delivery = session.step(50)
    assert (delivery.changes, value_of(delivery)) == (3, 100)


@pytest.mark.parametrize(
    "change",
    [
        {"controls": {"mouth": 3, "pose": float("nan")}},
        {"controls": {"mouth": 3}, "smoothing": 99},
        {"controls": {"mouth": 3}, "source": "0" * 64},
        {"controls": {"mouth": 3}, "driver": "nobody"},
        {"controls": {"mouth": 3, "driver_pixels": True}},
    ],
)
def test_a_change_that_is_wrong_in_part_changes_nothing(session: Desk, change: dict[str, Any]) -> None:
    """All or nothing, and no number is spent."""
    with pytest.raises(ConfigError):
        session.change(change)
    delivery = session.step(50)
    assert (delivery.changes, value_of(delivery)) == (0, 50)
    assert session.change({}) == 1


def test_a_session_may_be_opened_with_changes_made_before(desk_of_fakes: Desk) -> None:
    """A replacement goes on where the last one was."""
    source = desk_of_fakes.source.id
    spec = SessionSpec(source, controls={"mouth": 2.0})
    desk_of_fakes.worker.open("one", spec, desk_of_fakes.left.put)
    assert value_of(desk_of_fakes.step(30)) == 60


def test_a_frame_in_flight_keeps_its_source(session: Desk) -> None:
    """A picture that was observed before the swap is finished with its own source, and later ones have the new."""
    other = session.add(200)
    gate = Gate()
    session.faults.run = gate
    session.post(50)
    gate.reached()
    number = session.change({"source": other.id})
    session.post(51)
    gate.open()
    first, second = session.next(), session.next()
    assert (ground_of(first), first.source, first.changes) == (100, session.source.id, 0)
    assert (ground_of(second), second.source, second.changes) == (200, other.id, number)


def test_after_a_new_sources_first_picture_the_old_one_is_not_seen(session: Desk) -> None:
    """Swapped at any moment of any overlap, fallbacks included: a picture shows the source that it names, in order."""
    sources = [session.source, session.add(200), session.add(150)]
    greys = {source.id: grey for source, grey in zip(sources, (100, 200, 150))}
    wanted = {0: session.source.id}
    turns = itertools.count()
    session.faults.faces = lambda face: () if next(turns) % 5 == 0 else (face,)
    for value in range(150):
        if value % 10 == 3:
            source = sources[value % 3].id
            wanted[session.change({"source": source})] = source
        session.post(value)
        time.sleep(0.0005)
    session.worker.close_session("one")
    seen = [session.left.get_nowait() for _ in range(session.left.qsize())]
    assert len(seen) > 20
    assert [delivery.changes for delivery in seen] == sorted(delivery.changes for delivery in seen)
    for delivery in seen:
        assert delivery.source == wanted[delivery.changes]
        assert ground_of(delivery) == greys[delivery.source]


def test_a_source_that_cannot_be_begun_leaves_the_old_one(session: Desk) -> None:
    """The generator's refusal in mid-stream costs nothing but the swap."""
    other = session.add(200)
    session.step(50)
    session.faults.begin = fail(RuntimeError("no memory for it"))
    session.change({"source": other.id, "controls": {"mouth": 2}})
    delivery = session.step(50)
    assert (delivery.source, ground_of(delivery), value_of(delivery)) == (session.source.id, 100, 100)
    session.faults.begin = lambda source: None
    session.change({"source": other.id})
    assert ground_of(session.step(50)) == 200


def test_the_demo_performs_without_a_camera_and_the_camera_comes_back(session: Desk) -> None:
    """Its own clock, no camera frame while it lasts, a new face and a new neutral for each driver."""
    session.step(50)
    pure = session.worker._sessions["one"]._recipient.session  # type: ignore[union-attr]
    camera = pure._slots[0].calibration
    number = session.change({"driver": "demo"})
    assert session.post(51)
    demo = [session.next() for _ in range(5)]
    assert {delivery.changes for delivery in demo} == {number}
    assert {delivery.report.outcome for delivery in demo} == {Outcome.GENERATED}
    assert [delivery.stamp.pts for delivery in demo] == sorted({delivery.stamp.pts for delivery in demo})
    performer = pure._slots[0].calibration
    assert performer is not camera
    back = session.change({"driver": "camera"})
    session.post(52)
    while (delivery := session.next()).changes != back:
        assert delivery.changes == number
    assert value_of(delivery) == 52
    assert pure._slots[0].calibration is not performer
    assert session.left.empty()
    assert not [name for name in worker_threads() if name.startswith("marotte-demo")]


def test_a_session_may_begin_with_the_demo(desk_of_fakes: Desk) -> None:
    """Thirty blank frames a second, from the performance's start."""
    desk_of_fakes.open(driver=DriverKind.DEMO)
    first = desk_of_fakes.next()
    assert first.report.outcome is Outcome.GENERATED
    assert first.stamp.pts % 3000 == 0


def test_what_cannot_be_opened_is_said_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tracker that is missing falls back with its words; when it is there the picture moves."""
    monkeypatch.setattr(live, "_RETRY_S", 0.0)
    with desk() as session:
        session.worker._stock.trackers.take().close()  # type: ignore[union-attr]
        session.faults.opening = fail(ModelError("face_mesh: not there; run: marotte models pull"))
        session.open()
        delivery = session.step(50)
        assert delivery.report.outcome is Outcome.WAITING
        assert "marotte models pull" in str(delivery.report.reason)
        session.faults.opening = lambda what: None
        assert session.step(51).report.outcome is Outcome.GENERATED


def test_a_session_that_cannot_begin_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing leaves while the generator refuses, and the session is not lost by it."""
    monkeypatch.setattr(live, "_RETRY_S", 0.0)
    with desk() as session:
        refused = Gate()
        refused.open()

        def begin(source: object) -> None:
            refused()
            raise RuntimeError("no memory for it")

        session.faults.begin = begin
        session.open()
        refused.reached()
        session.faults.begin = lambda source: None
        assert value_of(session.step(50)) == 50


def test_driver_pixels_are_the_operators_to_allow() -> None:
    """Without the operator's word no session has them; with it they are on until they are switched off."""
    asked: list[bool] = []
    faults = Faults(inputs=lambda drive: asked.append(drive.controls.driver_pixels))
    with desk(faults, driver_pixels=True) as session:
        session.open()
        asked.clear()
        session.step()
        session.change({"controls": {"driver_pixels": False}})
        session.step()
        assert asked == [True, False]
    with desk() as session, pytest.raises(ConfigError, match="operator has not allowed"):
        session.open(controls={"driver_pixels": True})


def test_no_more_sessions_than_allowed_and_none_twice() -> None:
    """Each refusal is one line; an unknown session's frames are dropped."""
    with desk(sessions=2) as session:
        session.open("one")
        with pytest.raises(WorkerError, match="open already"):
            session.open("one")
        with pytest.raises(WorkerError, match="not known here"):
            session.open("two", source="0" * 64)
        session.open("two")
        with pytest.raises(WorkerError, match="busy: 2 sessions at most"):
            session.open("three")
        session.worker.close_session("one")
        session.open("three")
        assert session.post(50, "one")
        with pytest.raises(ConfigError, match="not open"):
            session.change({}, "one")
        session.worker.close_session("unknown")


def test_a_closed_session_delivers_nothing_more(session: Desk) -> None:
    """What is in the runner when the session ends is not shown."""
    gate = Gate()
    session.faults.run = gate
    session.post(50)
    gate.reached()
    session.worker.close_session("one")
    gate.open()
    session.open("two")
    assert session.step(60, "two").session == "two"
    assert session.left.empty()


def test_a_tracker_serves_one_session_after_the_other(desk_of_fakes: Desk) -> None:
    """Opening networks takes half a second: the next session takes over, and the old face is forgotten."""
    opened: list[str] = []
    desk_of_fakes.faults.opening = opened.append
    for number in range(3):
        desk_of_fakes.open(f"s{number}")
        desk_of_fakes.step(50, f"s{number}")
        thread = desk_of_fakes.worker._sessions[f"s{number}"].thread
        desk_of_fakes.worker.close_session(f"s{number}")
        thread.join(WAIT_S)
    assert opened == []


def test_a_stage_that_hangs_is_told_from_one_that_waits(session: Desk) -> None:
    """busy_s grows in a stage that does not come back, and is 0 while all wait for frames."""
    gate = Gate()
    session.step(50)
    session.faults.run = gate
    session.post(51)
    gate.reached()
    one = session.worker.busy_s()
    while session.worker.busy_s() <= one:
        time.sleep(0.001)
    gate.open()
    session.next()
    while session.worker.busy_s() > 0:
        time.sleep(0.001)


def test_closing_ends_every_thread_and_frees_what_was_opened() -> None:
    """After close nothing runs and nothing is held; a second close, and anything else, is answered."""
    before = worker_threads()
    with desk() as session:
        session.open("one")
        session.open("two", driver=DriverKind.DEMO)
        session.step(50)
        session.worker.close()
        assert worker_threads() <= before
        assert {"runner", "detector", "tracker"} <= set(session.faults.closed)
        assert session.worker.status().state is State.CLOSED
        session.worker.close()
        assert session.post(50)
        with pytest.raises(WorkerError, match="was closed"):
            session.open("three")
        with pytest.raises(WorkerError, match="was closed"):
            session.worker.add_source(png(1), "late").result(0)
        session.worker.start()
        assert worker_threads() <= before


def test_closing_does_not_wait_for_what_hangs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A tracker that never returns is left behind, named, and its networks are not pulled from under it."""
    monkeypatch.setattr(local, "_JOIN_S", 0.05)
    gate = Gate()
    with desk() as session:
        session.faults.track = gate
        session.open("hung")
        session.post(50, "hung")
        gate.reached()
        thread = session.worker._sessions["hung"].thread
        session.worker.close()
        assert "marotte-observe-hung" in caplog.text
        assert "runner" not in session.faults.closed
        gate.open()
        thread.join(WAIT_S)


def test_closing_from_a_receiver_is_no_deadlock(session: Desk) -> None:
    """close may be called in the worker's own thread."""
    done = threading.Event()

    def deliver(delivery: object) -> None:
        session.worker.close()
        done.set()

    session.open("two", deliver)
    session.post(50, "two")
    assert done.wait(WAIT_S)


def test_a_source_that_is_added_early_waits_for_the_start() -> None:
    """add_source before the worker is ready is served when it is."""
    gate = Gate()
    tools = FakeTools(Faults(opening=gate))
    worker = LocalWorker(WorkerConfig(), tools)
    states: list[State] = []
    worker.on_status(lambda status: states.append(status.state))
    worker.start()
    gate.reached()
    early = worker.add_source(png(9), "early.png")
    with pytest.raises(WorkerError, match="still starting"):
        worker.open("one", SessionSpec("0" * 64), lambda delivery: None)
    assert worker.status().state is State.STARTING
    gate.open()
    assert early.result(WAIT_S).name == "early.png"
    worker.close()
    assert states == [State.READY, State.CLOSED]


@pytest.mark.parametrize("what", ["generator", "detector", "tracker"])
def test_a_worker_that_cannot_start_says_why(what: str) -> None:
    """One line for people, for those who wait as well, and no thread is left."""
    gate = Gate()

    def opening(name: str) -> None:
        gate()
        if name == what:
            raise ModelError("the model is not there: run marotte models pull\n(second line)")

    worker = LocalWorker(WorkerConfig(), FakeTools(Faults(opening=opening)))
    worker.start()
    early = worker.add_source(png(9), "early.png")
    gate.open()
    wait_for_state(worker, State.FAILED)
    said = "the model is not there: run marotte models pull"
    assert worker.status().detail == said
    for refused in (early, worker.add_source(png(9), "late.png")):
        with pytest.raises(WorkerError, match=said):
            refused.result(WAIT_S)
    with pytest.raises(WorkerError, match=said):
        worker.open("one", SessionSpec("0" * 64), lambda delivery: None)
    worker.close()
    assert worker.status().state is State.CLOSED


def test_a_listener_that_raises_does_not_stop_the_worker() -> None:
    """Whoever hears of the state is somebody else."""
    worker = LocalWorker(WorkerConfig(), FakeTools())
    worker.on_status(fail(RuntimeError("listener broke")))
    worker.start()
    wait_for_state(worker, State.READY)
    worker.close()


def test_closing_in_mid_start_leaves_nothing() -> None:
    """Whoever interrupts the start gets its threads and its networks back."""
    gate = Gate()
    faults = Faults(opening=gate)
    worker = LocalWorker(WorkerConfig(), FakeTools(faults))
    worker.start()
    gate.reached()
    early = worker.add_source(png(9), "early.png")
    closing = threading.Thread(target=worker.close)
    closing.start()
    while not worker._closing:
        time.sleep(0.001)
    gate.open()
    closing.join(WAIT_S)
    with pytest.raises(WorkerError, match="was closed"):
        early.result(WAIT_S)
    assert faults.closed == ["runner"]
    assert worker.status().state is State.CLOSED


def test_tools_cross_into_another_process() -> None:
    """They hold nothing opened: a process that is spawned gets them as they are."""
    assert ForkingPickler.dumps(Tools())


def test_the_fakes_face_is_where_the_frame_says() -> None:
    """The tests above read a frame's number from its picture: the fake's own promise."""
    with desk() as session:
        session.open()
        assert [value_of(session.step(value)) for value in (0, 1, 120, 219)] == [0, 1, 120, 219]
    assert face_at(80).points.shape == (478, 3)
