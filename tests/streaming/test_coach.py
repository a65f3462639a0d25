"""What a page is told of a portrait and of its camera."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from engine.coach.measures import Measures
from engine.types import FrameReport, Outcome
from engine.worker import messages, watching
from engine.worker.interface import Delivery, SourceInfo, Stamp
from streaming.coach import CameraCoach
from streaming.sources import told_source
from tests.engine.coach.test_coach import SIZE, _picture, _points

SOUND = Measures(120.0, 3.0, -4.0, 2.0, 0.4, 190.0, 0.0, 0.5, 0.5, 0.01)
STILL = np.zeros((24, 16), np.uint8)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def _delivery(camera: Measures | None) -> Delivery:
    report = FrameReport(0, Outcome.GENERATED, {}, 0.0)
    return Delivery("session", STILL, Stamp(0, 0.0), report, 0, "source", camera=camera)


def test_a_camera_is_told_by_the_middle_of_some_seconds() -> None:
    """Not by one look, which may have met a turn; what was seen long ago is forgotten, and pictures go on."""
    clock, delivered = Clock(), []
    coach = CameraCoach(clock)
    hear = coach.hearing(delivered.append)
    dark = replace(SOUND, light=20.0, covered_eyes="both")
    for told, expected in ((dark, []), (SOUND, []), (dark, ["light", "eyes"]), (None, ["light", "eyes"])):
        hear(_delivery(told))
        assert [one["measure"] for one in coach.report()] == expected
    assert len(delivered) == 4
    assert coach.report()[0].keys() == {"measure", "value", "bound", "unit", "text"}
    clock.now += 5.0
    assert coach.report() == []


def test_a_portrait_is_told_once() -> None:
    """Remarks beside the notes, and no note that says the same in other clothes."""
    turned = replace(SOUND, yaw=40.0)
    notes = ("a.png: the head is turned 40 degrees aside; within 30 it looks better", "a.png: something else")
    told = told_source(SourceInfo("a", "a.png", (16, 16), 1, STILL, notes, measures=turned, seen=2))
    assert [one["measure"] for one in told["remarks"]] == ["faces", "yaw"]
    assert told["notes"] == ["a.png: something else"]
    assert told_source(SourceInfo("a", "a.png", (16, 16), 1, STILL, notes))["notes"] == list(notes)


def test_measures_pass_between_the_processes() -> None:
    """With a source, and read with the care that the rest of a message is read with."""
    info = SourceInfo("a", "a.png", (16, 16), 1, STILL.copy(), measures=SOUND, seen=3)
    fields = messages.source_fields(info)
    read = messages.read_source(messages.unpack(messages.pack("source", **fields)), STILL.copy())
    assert (read.measures, read.seen) == (SOUND, 3)
    fields["measures"]["yaw"] = "wide"
    with pytest.raises(messages.WorkerError, match="measures"):
        messages.read_source(messages.unpack(messages.pack("source", **fields)), STILL.copy())


def test_the_camera_is_looked_at_twice_a_second_in_a_thread_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Frames in between cost nothing, what was found is taken once, and a face that is none ends nothing."""
    clock, done, looked = Clock(), threading.Event(), []
    real = watching.measure

    def measure(*given: object) -> Measures:
        looked.append(threading.current_thread().name)
        try:
            return real(*given)
        finally:
            threading.Timer(0.0, done.set).start()

    monkeypatch.setattr(watching, "measure", measure)
    points = _points()
    rgb = _picture(points)
    watch = watching.Watching("session", clock)
    try:
        for _ in range(10):
            watch.look(rgb, points)
            clock.now += watching.PERIOD_S / 10
        assert done.wait(20)
        found = _taken(watch)
        assert found.eyes_px > 30
        assert looked == ["marotte-coach-session"]
        assert watch.take() is None
        done.clear()
        clock.now += watching.PERIOD_S
        watch.look(rgb, np.full_like(points, np.nan))
        assert done.wait(20)
        clock.now += watching.PERIOD_S
        watch.look(rgb, points)
        assert _taken(watch).eyes_px > 30
    finally:
        watch.close()
        watch.thread.join(20)
    assert not watch.thread.is_alive()
    assert rgb.shape == (SIZE[1], SIZE[0], 3)


def _taken(watch: watching.Watching) -> Measures:
    for _ in range(2000):
        if (found := watch.take()) is not None:
            return found
        threading.Event().wait(0.01)
    raise AssertionError("nothing was found")
