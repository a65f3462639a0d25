from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import av
import numpy as np
import pytest

from engine.fallback import FallbackConfig
from engine.marks import MarksConfig
from engine.marks.badge import Badge
from engine.media.planes import i420_of
from engine.types import U8, FrameReport, Outcome
from engine.worker.interface import NO_MARK, TIME_BASE, Delivery, SourceInfo, Stamp
from streaming import outlet, strip
from streaming.measured import NoRecorder
from streaming.outlet import LATEST_S, Outlet
from streaming.reports import Tally

SIZE = (320, 240)
BADGE = MarksConfig(watermark=False)
"""So that a picture can be told by its pixels; the watermark is looked for elsewhere."""
QUICK = FallbackConfig(hold_s=0.05, fade_s=0.4)
SLOW = FallbackConfig(hold_s=1000.0, fade_s=1000.0)


def plain(level: int, size: tuple[int, int] = SIZE) -> U8:
    return i420_of(np.full((size[1], size[0], 3), level, np.uint8))


def badged(planes: U8, size: tuple[int, int] = SIZE, ground: int = 0) -> U8:
    """ground: level of what was behind the badge before, whose look it keeps for a while."""
    with_badge, badge = planes.copy(), Badge(size)
    badge.compose(plain(ground, size))
    badge.compose(with_badge)
    return with_badge


def is_badged(picture: U8, planes: U8, size: tuple[int, int] = SIZE) -> bool:
    """Whether it is `planes` with the badge, in either look."""
    return any(np.array_equal(picture, badged(planes, size, ground)) for ground in (0, 255))


class Shown:
    """Stands for the track: every picture that left, as a copy."""

    def __init__(self) -> None:
        self.pictures: list[U8] = []
        self.times: list[int] = []
        self.frames: list[av.VideoFrame] = []
        self.ended = False
        self._changed = threading.Condition()

    def show(self, frame: av.VideoFrame, left: Callable[[], None] | None = None) -> bool:
        with self._changed:
            if self.ended:
                return False
            assert frame.time_base == TIME_BASE
            self.frames.append(frame)
            self.pictures.append(frame.to_ndarray())
            self.times.append(frame.pts)
            self._changed.notify_all()
        if left is not None:
            left()
        return False

    def end(self) -> None:
        self.ended = True

    def until(self, condition: Callable[[], Any]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, 20)


class Counted(NoRecorder):
    def __init__(self) -> None:
        self.left: list[tuple[FrameReport, float, dict[str, float]]] = []
        self.fallbacks: list[tuple[str, str]] = []
        self.dropped: list[str] = []

    def frame_left(self, report: FrameReport, age_s: float, stages: dict[str, float]) -> None:
        self.left.append((report, age_s, stages))

    def fallback_left(self, outcome: str, reason: str) -> None:
        self.fallbacks.append((outcome, reason))

    def frame_dropped(self, reason: str) -> None:
        self.dropped.append(reason)


class Bench:
    """An outlet with a grey still, and what came out of it."""

    def __init__(self, config: FallbackConfig) -> None:
        self.shown, self.counted = Shown(), Counted()
        self.info = SourceInfo("grey", "grey", SIZE, 1, plain(90))
        self.other = SourceInfo("other", "other", (200, 160), 1, plain(150, (200, 160)))
        found = {"other": self.other}
        self.outlet = Outlet(
            "me",
            self.info,
            self.shown,
            Tally(self.counted),
            found.get,
            lambda: "no picture",
            config,
            marks=BADGE,
        )

    def deliver(self, planes: U8, arrived_s: float | None = None, mark: int = NO_MARK, **others: Any) -> None:
        arrived_s = time.perf_counter() if arrived_s is None else arrived_s
        told = {"session": "me", "changes": 3, "source": "grey"} | others
        report = FrameReport(7, Outcome.GENERATED, {"track": 0.25}, 0.0, faces=1)
        self.outlet.deliver(
            Delivery(
                told["session"], planes, Stamp(7, arrived_s, mark), report, told["changes"], told["source"]
            )
        )


@pytest.fixture
def slow() -> Iterator[Bench]:
    """Nothing fades while a test looks."""
    bench = Bench(SLOW)
    yield bench
    bench.outlet.stop()
    bench.outlet.join()


@pytest.fixture
def quick() -> Iterator[Bench]:
    bench = Bench(QUICK)
    yield bench
    bench.outlet.stop()
    bench.outlet.join()


def test_the_still_is_there_before_any_picture(quick: Bench) -> None:
    """A viewer sees the portrait at once, with the badge, and again every half second."""
    quick.outlet.start()
    quick.shown.until(lambda: len(quick.shown.pictures) >= 2)
    assert all(is_badged(picture, quick.info.still) for picture in quick.shown.pictures)
    assert quick.counted.fallbacks[0] == ("waiting", "no picture")
    assert np.array_equal(quick.info.still, plain(90))  # what is kept elsewhere is not drawn on


def test_a_picture_leaves_with_its_badge_and_is_counted_with_its_age(slow: Bench) -> None:
    """What leaves is the worker's picture with the badge; its age and stages go to the recorder, rising pts to the
    encoder, and no frame object leaves twice."""
    start = time.perf_counter()
    for level in (20, 60, 200):
        arrived = time.perf_counter()
        slow.outlet.entered(arrived, {"decode": 0.5})
        slow.deliver(plain(level), arrived)
    assert [is_badged(a, plain(b)) for a, b in zip(slow.shown.pictures, (20, 60, 200))] == [True] * 3
    assert slow.shown.times == sorted(set(slow.shown.times))
    assert len({id(frame) for frame in slow.shown.frames}) == 3
    report, age, stages = slow.counted.left[0]
    assert report.pts == 7
    assert 0 <= age <= time.perf_counter() - start
    assert list(stages) == ["decode", "track", "deliver"]
    assert stages["decode"] == 0.5
    assert slow.outlet.changes == 3


def test_a_picture_is_held_then_fades_to_the_still_and_rests(quick: Bench) -> None:
    """When nothing comes: the last picture, then ever less of it, then the still itself; the badge stays whole."""
    quick.outlet.start()
    quick.deliver(plain(230))
    still = badged(plain(90))
    quick.shown.until(
        lambda: len(quick.shown.pictures) > 3 and np.array_equal(quick.shown.pictures[-1], still)
    )
    first = next(
        i for i, picture in enumerate(quick.shown.pictures) if picture[-1, 0] == 128 and picture[100, 9] > 150
    )
    fading = quick.shown.pictures[first:]
    levels = [int(picture[100, 9]) for picture in fading]
    assert levels == sorted(levels, reverse=True)
    assert len(set(levels)) >= 3
    x0, y0, x1, y1 = Badge(SIZE).box
    for picture in fading:
        level = int(picture[100, 9])
        whole = np.full_like(picture, 128)
        whole[: SIZE[1]] = level
        difference = np.abs(picture[y0:y1, x0:x1].astype(int) - badged(whole)[y0:y1, x0:x1])
        assert difference.max() <= 2
    assert {"faded"} <= {outcome for outcome, _ in quick.counted.fallbacks}
    assert len(quick.shown.times) == len(set(quick.shown.times))


def test_a_picture_that_comes_back_ends_the_fade(quick: Bench) -> None:
    """The motion goes on with the first picture that passes."""
    quick.outlet.start()
    quick.deliver(plain(230))
    quick.shown.until(lambda: is_badged(quick.shown.pictures[-1], plain(90)) and len(quick.shown.times) > 3)
    quick.deliver(plain(20))
    assert any(is_badged(picture, plain(20)) for picture in quick.shown.pictures)


def test_the_strip_is_on_the_frame_that_carried_it_and_on_no_other(slow: Bench) -> None:
    """Marked pictures carry their own number over the badge; the next, and the same picture held, carry none."""
    slow.deliver(plain(60), mark=4711)
    slow.deliver(plain(60))
    slow.deliver(plain(60), mark=4712)
    slow.outlet.start()
    slow.shown.until(lambda: len(slow.shown.pictures) >= 4)
    numbers = [strip.read(picture[: SIZE[1]]) for picture in slow.shown.pictures[:4]]
    assert numbers == [4711, NO_MARK, 4712, NO_MARK]
    rows = strip.rows_of(SIZE[1])
    assert np.array_equal(slow.shown.pictures[0][rows : SIZE[1]], badged(plain(60))[rows : SIZE[1]])
    assert is_badged(slow.shown.pictures[3], plain(60))


@pytest.mark.parametrize(
    ("planes", "others", "reason"),
    [
        (plain(1), {"session": "you"}, "refused"),
        (plain(1), {"source": "unheard of"}, "refused"),
        (plain(1)[:-2], {}, "refused"),
        (plain(1, (240, 320)), {}, "refused"),
        (plain(1).astype(np.float32), {}, "refused"),
        (np.zeros((240, 320, 3), np.uint8), {}, "refused"),
        (plain(1), {"source": "other"}, "refused"),
        (plain(1), {"arrived_s": float("nan")}, "late"),
        (plain(1), {"arrived_s": float("inf")}, "late"),
        (plain(1), {"arrived_s": -1e9}, "late"),
    ],
)
def test_what_is_not_certainly_right_is_refused(slow: Bench, planes: U8, others: dict, reason: str) -> None:
    """Another session's, another source's, another shape's, another time's picture is not shown; the next is."""
    slow.deliver(planes, **others)
    assert not slow.shown.pictures
    assert slow.counted.dropped == [reason]
    slow.deliver(plain(60))
    assert is_badged(slow.shown.pictures[-1], plain(60))


def test_a_late_picture_and_one_out_of_order_are_let_fall(slow: Bench) -> None:
    """What is older than a second, or than what was shown, would only go back in time."""
    now = time.perf_counter()
    slow.deliver(plain(20), now - LATEST_S - 0.1)
    slow.deliver(plain(60), now - 0.1)
    slow.deliver(plain(200), now - 0.2)
    assert slow.counted.dropped == ["late", "late"]
    assert len(slow.shown.pictures) == 1


def test_every_frame_that_no_picture_came_of_is_counted_once(slow: Bench) -> None:
    """A newer frame's picture tells which ones were dropped inside the worker; what it never took is not its drop."""
    now = time.perf_counter()
    for k in range(6):
        slow.outlet.entered(now + k * 1e-6, {})
    slow.outlet.turned_away(now + 1e-6)
    slow.deliver(plain(20), now)
    slow.deliver(plain(60), now + 4e-6)
    slow.deliver(plain(60), now + 5e-6)
    assert slow.counted.dropped == ["replaced", "replaced"]


def test_nothing_leaves_after_stop(quick: Bench) -> None:
    """Stop takes effect in the call itself, for pictures and for the ticker, and the thread ends."""
    quick.outlet.start()
    quick.deliver(plain(230))
    quick.outlet.stop()
    left = len(quick.shown.pictures)
    quick.deliver(plain(20))
    quick.outlet.join()
    assert len(quick.shown.pictures) == left
    assert quick.counted.dropped == ["stopped"]
    assert not [each for each in threading.enumerate() if each.name == "outlet-me"]


def test_pause_holds_the_picture_for_as_long_as_it_takes(quick: Bench) -> None:
    """Paused, nothing fades and nothing new is shown; after it the picture is held before it fades."""
    quick.outlet.start()
    quick.deliver(plain(230))
    quick.outlet.pause(True)
    since = len(quick.shown.pictures)
    quick.deliver(plain(20))
    quick.shown.until(lambda: len(quick.shown.pictures) >= since + 2)
    held = badged(plain(230))
    assert all(np.array_equal(picture, held) for picture in quick.shown.pictures[since : since + 2])
    assert quick.counted.fallbacks[-1] == ("held", "paused")
    assert quick.counted.dropped == ["paused"]
    quick.outlet.pause(False)
    quick.deliver(plain(20))
    assert is_badged(quick.shown.pictures[-1], plain(20))


def test_another_source_brings_its_size_and_its_still(quick: Bench) -> None:
    """After a change of source the pictures, and what they fade to, are the new one's."""
    quick.outlet.start()
    quick.deliver(plain(230))
    quick.deliver(plain(30, (200, 160)), source="other")
    assert quick.outlet.size == (200, 160)
    still = badged(plain(150, (200, 160)), (200, 160), 255)
    quick.shown.until(lambda: np.array_equal(quick.shown.pictures[-1], still))


@pytest.mark.parametrize("size", [(572, 562), (562, 572), (722, 718), (130, 134), (64, 66), (66, 64)])
def test_every_even_size_leaves_whole_and_in_its_colours(size: tuple[int, int]) -> None:
    """No row is lost and no plane is shifted, whatever the height is a multiple of."""
    rgb = np.zeros((size[1], size[0], 3), np.uint8)
    rgb[:, : size[0] // 2], rgb[:, size[0] // 2 :] = (200, 40, 90), (10, 200, 30)
    frame = outlet._frame_of(i420_of(rgb))
    assert (frame.width, frame.height) == size
    assert np.abs(frame.to_ndarray(format="rgb24").astype(int) - rgb).mean() < 4


def test_an_error_in_here_shows_the_still_and_is_logged_once(
    slow: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever fails while a picture is made ready, the portrait is what is seen, and the log is not flooded."""
    slow.deliver(plain(230))

    def broken(planes: U8, number: int) -> None:
        raise FloatingPointError("drawn wrong")

    monkeypatch.setattr(strip, "draw", broken)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            slow.deliver(plain(20), mark=1)
    assert len(slow.shown.pictures) == 1
    assert len(caplog.records) == 1
    assert "drawn wrong" in caplog.text
    slow.outlet.start()
    slow.shown.until(lambda: len(slow.shown.pictures) >= 2)
    assert is_badged(slow.shown.pictures[1], plain(90))
    monkeypatch.undo()
    slow.deliver(plain(60), mark=1)
    assert strip.read(slow.shown.pictures[-1][: SIZE[1]]) == 1


def test_the_worker_may_deliver_under_a_lock_of_its_own() -> None:
    """Asking why nothing comes waits for the worker, never with the outlet's own lock held: that would be for ever."""
    bench, asked, delivered = Bench(SLOW), threading.Event(), threading.Event()

    def why() -> str:
        asked.set()
        assert delivered.wait(20)
        return "no picture"

    bench.outlet._why = why
    bench.outlet.start()
    assert asked.wait(20)
    bench.deliver(plain(60))
    delivered.set()
    bench.outlet.stop()
    bench.outlet.join()
    assert is_badged(bench.shown.pictures[0], plain(60))


def test_a_picture_that_cannot_be_written_to_is_shown_too(slow: Bench) -> None:
    """A read-only array, or one with gaps, is copied and not failed on."""
    fixed = plain(60)
    fixed.flags.writeable = False
    slow.deliver(fixed)
    slow.deliver(np.repeat(plain(60), 2, axis=1)[:, ::2])
    assert [is_badged(picture, plain(60)) for picture in slow.shown.pictures] == [True, True]
