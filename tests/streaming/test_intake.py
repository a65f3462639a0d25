from __future__ import annotations

import time
from typing import Any

import av
import numpy as np
import pytest

from engine.types import U8
from engine.worker.interface import NO_MARK, TICKS, DriverKind, Stamp, State, WorkerStatus
from streaming import strip
from streaming.intake import MOST_SIDES, Intake
from streaming.measured import NoRecorder
from streaming.reports import Tally

RNG = np.random.default_rng(3)


class Posted:
    """A worker that keeps what it is given, as it is given it."""

    def __init__(self) -> None:
        self.frames: list[tuple[U8, Stamp]] = []
        self.replaces = False
        self.state = State.READY
        self.error: Exception | None = None
        self.changes: list[tuple[int, Any]] = []  # with the number of frames before each

    def change(self, session: str, change: Any) -> int:
        self.changes.append((len(self.frames), change))
        return len(self.changes)

    def status(self) -> WorkerStatus:
        return WorkerStatus(self.state, {})

    def post(self, session: str, rgb: U8, stamp: Stamp) -> bool:
        if self.error is not None:
            raise self.error
        self.frames.append((rgb, stamp))
        return self.replaces


class Entered:
    def __init__(self) -> None:
        self.stages: dict[float, Any] = {}

    def entered(self, arrived_s: float, stages: Any) -> None:
        self.stages[arrived_s] = stages

    def turned_away(self, arrived_s: float) -> None:
        del self.stages[arrived_s]


@pytest.fixture
def worker() -> Posted:
    return Posted()


@pytest.fixture
def outlet() -> Entered:
    return Entered()


@pytest.fixture
def tally() -> Tally:
    return Tally(NoRecorder())


@pytest.fixture
def intake(worker: Posted, outlet: Entered, tally: Tally) -> Intake:
    return Intake("me", worker, outlet, tally, driver=DriverKind.CAMERA)


def frame_of(size: tuple[int, int], kind: str = "yuv420p", pts: int = 3000) -> av.VideoFrame:
    planes = RNG.integers(16, 236, (size[1] * 3 // 2, size[0]), np.uint8)
    frame = av.VideoFrame.from_ndarray(planes, format="yuv420p").reformat(format=kind)
    frame.pts = pts
    return frame


@pytest.mark.parametrize("size", [(640, 480), (1280, 720), (720, 1280), (322, 242), (64, 48), (2, 2)])
def test_a_frame_arrives_as_it_was_decoded(intake: Intake, worker: Posted, size: tuple[int, int]) -> None:
    """Up to 1280 x 720 the picture is PyAV's own conversion, contiguous, with its time and no mark."""
    frame = frame_of(size)
    intake.arrived(frame, 12.5)
    ((rgb, stamp),) = worker.frames
    assert np.array_equal(rgb, frame.to_ndarray(format="rgb24"))
    assert rgb.flags.c_contiguous
    assert stamp == Stamp(3000, 12.5, NO_MARK)


@pytest.mark.parametrize(
    ("size", "reduced"),
    [
        ((1920, 1080), (1280, 720)),
        ((1080, 1920), (720, 1280)),
        ((1440, 1080), (960, 720)),
        ((4000, 100), (1280, 32)),
    ],
)
def test_a_large_frame_is_reduced_before_it_is_posted(
    intake: Intake, worker: Posted, size: tuple[int, int], reduced: tuple[int, int]
) -> None:
    """The worker's time does not depend on how large a camera somebody has."""
    intake.arrived(frame_of(size), 0.0)
    assert worker.frames[0][0].shape == (reduced[1], reduced[0], 3)
    assert max(reduced) <= MOST_SIDES[0]


def test_every_frame_is_an_array_of_its_own(intake: Intake, worker: Posted) -> None:
    """What waits in the worker does not change under its hands when the next frame comes."""
    first, second = frame_of((640, 480)), frame_of((640, 480))
    intake.arrived(first, 0.0)
    kept = worker.frames[0][0].copy()
    intake.arrived(second, 0.1)
    assert np.array_equal(worker.frames[0][0], kept)
    assert not np.array_equal(worker.frames[1][0], kept)


@pytest.mark.parametrize("kind", ["yuv420p", "yuvj420p"])
def test_the_strip_is_read_only_when_asked(intake: Intake, worker: Posted, kind: str) -> None:
    """The number goes along with its frame, and not otherwise."""
    planes = RNG.integers(16, 236, (360, 320), np.uint8)
    strip.draw(planes, 77)
    frame = av.VideoFrame.from_ndarray(planes, format=kind)
    for measuring in (False, True, False):
        intake.measuring = measuring
        intake.arrived(frame, 0.0)
    assert [stamp.mark for _, stamp in worker.frames] == [NO_MARK, 77, NO_MARK]


def test_a_mirrored_driver_keeps_its_number(intake: Intake, worker: Posted) -> None:
    """A mark on the left arrives on the right, packed as any frame; the strip is read before, as it was drawn. The
    worker is asked to recalibrate once for each change, when the first such frame is there."""
    planes = np.full((360, 320), 128, np.uint8)
    planes[100:140, 20:60] = 235
    strip.draw(planes, 77)
    frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
    intake.measuring = True
    for mirror in (False, True, True, False, False):
        intake.mirror = mirror
        intake.arrived(frame, 0.0)
    plain, mirrored = (worker.frames[at][0].astype(int) for at in (0, 1))
    assert plain[120, 40].min() > 200 > plain[120, 280].max()
    assert mirrored[120, 280].min() > 200 > mirrored[120, 40].max()
    assert np.array_equal(mirrored, plain[:, ::-1])
    assert all(rgb.flags.c_contiguous and rgb.dtype == np.uint8 for rgb, _ in worker.frames)
    assert [stamp.mark for _, stamp in worker.frames] == [77] * 5
    assert worker.changes == [(2, {"recalibrate": True}), (4, {"recalibrate": True})]


def test_only_the_camera_is_mirrored(intake: Intake, worker: Posted) -> None:
    """While another drives nothing is recalibrated; with the camera's next frame it is."""
    intake.driver, intake.mirror = DriverKind.DEMO, True
    intake.arrived(frame_of((64, 64)), 0.0)
    assert (worker.frames, worker.changes) == ([], [])
    intake.driver = DriverKind.CAMERA
    intake.arrived(frame_of((64, 64)), 0.0)
    assert worker.changes == [(1, {"recalibrate": True})]


@pytest.mark.parametrize("kind", ["rgb24", "gray", "nv12"])
def test_other_formats_are_converted_and_not_measured(intake: Intake, worker: Posted, kind: str) -> None:
    """Whatever a decoder gives becomes RGB; only planes of luma are searched for a strip."""
    intake.measuring = True
    intake.arrived(frame_of((64, 64), kind), 0.0)
    assert worker.frames[0][0].shape == (64, 64, 3)


def test_what_it_cost_is_kept_for_the_picture(intake: Intake, worker: Posted, outlet: Entered) -> None:
    """Decode (from the first packet), convert and post, in seconds, under the frame's arrival."""
    arrived = time.perf_counter() - 0.25
    intake.arrived(frame_of((64, 64)), arrived)
    stages = outlet.stages[arrived]
    assert list(stages) == ["decode", "convert", "post"]
    assert stages["decode"] >= 0.25
    assert all(seconds >= 0 for seconds in stages.values())


def test_what_is_let_fall_is_counted_by_its_reason(
    intake: Intake, worker: Posted, outlet: Entered, tally: Tally
) -> None:
    """An absent worker, a pause and an end each have their word; what was replaced is the outlet's to count."""
    worker.replaces = True
    intake.arrived(frame_of((64, 64)), 0.0)
    worker.state = State.REPLACING
    intake.arrived(frame_of((64, 64)), 1.0)
    intake.paused = True
    intake.arrived(frame_of((64, 64)), 2.0)
    assert len(worker.frames) == 2
    assert list(outlet.stages) == [0.0]
    assert tally.report()["dropped"] == {"worker away": 1, "paused": 1}
    intake.paused = False
    intake.driver = DriverKind.DEMO
    intake.arrived(frame_of((64, 64)), 0.0)
    intake.driver = DriverKind.CAMERA
    intake.stop()
    intake.arrived(frame_of((64, 64)), 0.0)
    assert len(worker.frames) == 2


def test_a_frame_that_cannot_be_used_is_dropped_and_logged_once(
    intake: Intake, worker: Posted, tally: Tally, caplog: pytest.LogCaptureFixture
) -> None:
    """The decoder's thread never sees an error of ours."""
    worker.error = RuntimeError("no room")
    for _ in range(3):
        intake.arrived(frame_of((64, 64)), 0.0)
    assert tally.report()["dropped"] == {"refused": 3}
    assert len(caplog.records) == 1


def test_why_nothing_comes_is_told_by_the_nearest_cause(
    intake: Intake, worker: Posted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker, else the camera, else the worker's silence."""
    monkeypatch.setattr("streaming.intake._QUIET_S", 60.0)
    assert intake.why() == "no frames"
    intake.arrived(frame_of((64, 64)), 0.0)
    assert intake.why() == "no picture"
    worker.state = State.REPLACING
    assert intake.why() == "worker away"
    worker.state, intake.driver = State.READY, DriverKind.DEMO
    assert intake.why() == "no picture"


def test_what_a_tracker_saw_is_posted_while_it_drives(
    intake: Intake, worker: Posted, outlet: Entered, tally: Tally
) -> None:
    """As it came, with the time of its packet; beside a camera that drives it goes nowhere, nor while it is paused."""
    told = RNG.integers(0, 256, 200, np.uint8)
    intake.acted(told, 3.0)
    intake.driver = DriverKind.TRACKER
    intake.arrived(frame_of((64, 64)), 3.5)
    intake.acted(told, 4.0)
    intake.paused = True
    intake.acted(told, 5.0)
    ((posted, stamp),) = worker.frames
    assert posted is told
    assert stamp == Stamp(4 * TICKS, 4.0, NO_MARK)
    assert set(outlet.stages[4.0]) == {"decode", "convert", "post"}
    assert tally.report()["dropped"] == {"paused": 1}


def test_a_tracker_that_is_silent_is_named(intake: Intake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing comes from it: no frames, as of a camera."""
    monkeypatch.setattr("streaming.intake._QUIET_S", 60.0)
    intake.driver = DriverKind.TRACKER
    assert intake.why() == "no frames"
    intake.acted(np.zeros(1, np.uint8), 0.0)
    assert intake.why() == "no picture"
