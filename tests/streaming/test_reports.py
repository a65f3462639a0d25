from __future__ import annotations

import json
import threading

import pytest

from engine.types import FrameReport, Outcome
from streaming.measured import NoRecorder
from streaming.reports import Tally


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def left(tally: Tally, age_s: float = 0.05, **others) -> None:
    given = {
        "outcome": Outcome.GENERATED,
        "seconds": {},
        "age_s": 0.0,
        "filter_lag_s": 0.004,
        "faces": 2,
    } | others
    tally.frame_left(FrameReport(0, **given), age_s, {"track": 0.010, "render": 0.006})


def test_a_report_without_anything_says_so(clock: Clock) -> None:
    """Before the first picture nothing is claimed."""
    report = Tally(NoRecorder(), clock).report()
    assert report["outcome"] == "waiting"
    assert report["age_ms"] is None
    assert report["filter_lag_ms"] is None
    assert (report["fps_in"], report["fps_out"], report["kbps"]) == (0.0, 0.0, 0)
    json.dumps(report, allow_nan=False)


def test_a_report_tells_means_percentiles_and_rates_of_what_passed(clock: Clock) -> None:
    """Stages are means since the last report, ages percentiles over two seconds, rates per second."""
    tally = Tally(NoRecorder(), clock)
    for number in range(60):
        clock.now += 1 / 30
        tally.frame_received()
        if number % 2:
            left(tally, age_s=0.020 + 0.001 * number)
            tally.encoded("vp8", 0.002, 2_000, False)
    report = tally.report()
    assert report["fps_in"] == pytest.approx(30, abs=0.6)
    assert report["fps_out"] == pytest.approx(15, abs=0.6)
    assert report["stages"] == {"track": 10.0, "render": 6.0}
    assert report["age_ms"]["p50"] == pytest.approx(50, abs=2)
    assert report["age_ms"]["p95"] == pytest.approx(77, abs=2)
    assert report["filter_lag_ms"] == 4.0
    assert report["kbps"] == pytest.approx(240, rel=0.05)
    assert (report["codec"], report["faces"], report["outcome"]) == ("vp8", 2, "generated")
    assert tally.report()["stages"] == {}


def test_what_is_long_past_is_forgotten(clock: Clock) -> None:
    """After a silence the rates are 0 and no old age is shown as a new one; drops are counted from the start."""
    tally = Tally(NoRecorder(), clock)
    for _ in range(40):
        clock.now += 0.03
        tally.frame_received()
        left(tally)
        tally.encoded("vp8", 0.002, 2_000, False)
    tally.frame_dropped("late")
    tally.frame_dropped("late")
    clock.now += 10
    report = tally.report()
    assert (report["fps_in"], report["fps_out"], report["kbps"], report["age_ms"]) == (0.0, 0.0, 0, None)
    assert report["dropped"] == {"late": 2}


def test_the_last_that_left_says_what_is_seen(clock: Clock) -> None:
    """The outcome and its reason are those of the newest picture, whoever made it."""
    tally = Tally(NoRecorder(), clock)
    left(tally)
    tally.fallback_left("faded", "worker away")
    assert (tally.report()["outcome"], tally.report()["reason"]) == ("faded", "worker away")
    left(tally, outcome=Outcome.HELD, reason="no face")
    assert (tally.report()["outcome"], tally.report()["reason"]) == ("held", "no face")


def test_what_is_no_number_is_not_averaged(clock: Clock) -> None:
    """A stage without a sound time does not make the report unreadable for the page."""
    tally = Tally(NoRecorder(), clock)
    left(tally, filter_lag_s=float("nan"))
    tally.frame_left(FrameReport(0, Outcome.HELD, {}, 0.0), 0.1, {"track": float("inf"), "render": 0.006})
    report = tally.report()
    assert report["stages"] == {"track": 10.0, "render": 6.0}
    assert report["filter_lag_ms"] == 0.0
    json.dumps(report, allow_nan=False)


def test_everything_is_passed_on(clock: Clock) -> None:
    """What one call counts is counted for all calls too, with the same arguments."""
    passed: list[tuple[str, tuple]] = []

    class Everything:
        def __getattr__(self, name: str):
            return lambda *told: passed.append((name, told))

    tally = Tally(Everything(), clock)
    report = FrameReport(0, Outcome.GENERATED, {}, 0.0)
    calls = [
        ("session_opened", ("demo",)), ("session_closed", ("page",)), ("frame_received", ()),
        ("frame_dropped", ("late",)), ("frame_left", (report, 0.1, {"track": 0.1})),
        ("fallback_left", ("held", "no picture")), ("encoded", ("vp8", 0.1, 10, True)),
        ("bitrate", ("me", "vp8", 9)), ("encoder_opened", ("vp8", "first")), ("round_trip", (0.1,)),
        ("source_added", ("accepted",)), ("refused", ("token",)),
    ]  # fmt: skip
    for name, told in calls:
        getattr(tally, name)(*told)
    assert passed == calls


def test_threads_may_tell_it_things_at_once() -> None:
    """Nothing is lost or raised when the decoder, the worker, the encoder and the reports meet."""
    tally = Tally(NoRecorder())

    def tell() -> None:
        for _ in range(300):
            tally.frame_received()
            tally.frame_dropped("late")
            left(tally)
            tally.encoded("h264", 0.001, 100, False)

    threads = [threading.Thread(target=tell) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        json.dumps(tally.report())
    for thread in threads:
        thread.join()
    assert tally.report()["dropped"] == {"late": 1200}
