"""The only way out while the driver's own picture is edited: there is no still, and nothing of another kind leaves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from engine.marks.badge import Badge
from engine.media.planes import i420_of
from engine.types import U8, FrameReport, Mode, Outcome
from engine.worker.interface import Delivery, SourceInfo, Stamp
from streaming.outlet import EDIT_SIZE, Outlet
from streaming.reports import Tally
from tests.streaming.test_outlet import BADGE, QUICK, SLOW, Bench, Counted, Shown, is_badged, plain

GREY = plain(96, EDIT_SIZE)


def picture(level: int, size: tuple[int, int] = EDIT_SIZE) -> U8:
    """With fine stripes all over, which no blurred card has."""
    rgb = np.full((size[1], size[0], 3), level, np.uint8)
    rgb[:, ::8] = 255 - level
    return i420_of(rgb)


def striped(planes: U8) -> bool:
    """Leaves out the badge's corner."""
    height, width = planes.shape[0] * 2 // 3, planes.shape[1]
    luma = planes[height // 2 : height, : width // 2].astype(int)
    return int(np.abs(np.diff(luma, axis=1)).max()) > 30


class EditBench(Bench):
    """An outlet of a session that edits, and what came out of it."""

    def __init__(self, config: Any, **options: Any) -> None:
        self.shown, self.counted = Shown(), Counted()
        self.info = SourceInfo("grey", "grey", (320, 240), 1, plain(90))
        kind = {"bundle": "small", "mode": Mode.EDIT, "marks": BADGE} | options
        self.outlet = Outlet(
            "me", self.info, self.shown, Tally(self.counted), lambda source: None, lambda: "no picture", config, **kind
        )  # fmt: skip

    def edit(self, planes: U8, **others: Any) -> None:
        told = {"session": "me", "changes": 0, "bundle": "small", "mode": Mode.EDIT} | others
        report = FrameReport(7, Outcome.GENERATED, {}, 0.0, faces=1)
        stamp = Stamp(7, time.perf_counter())
        self.outlet.deliver(
            Delivery(
                told["session"], planes, stamp, report, told["changes"], "grey", told["bundle"], told["mode"]
            )
        )


@pytest.fixture
def slow() -> Iterator[EditBench]:
    bench = EditBench(SLOW)
    yield bench
    bench.outlet.stop()
    bench.outlet.join()


@pytest.fixture
def quick() -> Iterator[EditBench]:
    bench = EditBench(QUICK)
    yield bench
    bench.outlet.stop()
    bench.outlet.join()


def test_before_the_first_edit_there_is_plain_grey(quick: EditBench) -> None:
    """Never the portrait, which is nobody's business here, and never the driver."""
    quick.outlet.start()
    quick.shown.until(lambda: len(quick.shown.pictures) >= 2)
    assert all(is_badged(one, GREY, EDIT_SIZE) for one in quick.shown.pictures)
    assert quick.counted.fallbacks[0] == ("waiting", "no picture")
    assert quick.outlet.size == EDIT_SIZE


@pytest.mark.parametrize("side", [128, 129, 721])
def test_the_grey_fits_what_a_session_may_send(side: int) -> None:
    """Whatever the operator's longest side is."""
    width, height = EditBench(SLOW, side=side).outlet.size
    assert max(width, height) <= side
    assert width % 2 == height % 2 == 0


def test_an_edited_picture_is_held_then_fades_to_a_card_of_itself(quick: EditBench) -> None:
    """Nobody can be made out in what it rests in, it has the badge, and a new picture ends it."""
    quick.outlet.start()
    for level in (40, 200):
        quick.edit(picture(level))
        assert striped(quick.shown.pictures[-1])
        quick.shown.until(lambda: not striped(quick.shown.pictures[-1]))
        card = quick.shown.pictures[-1]
        mean = cv2.resize(picture(level)[: EDIT_SIZE[1]], (1, 1), interpolation=cv2.INTER_AREA)[0, 0]
        assert abs(int(card[400, 100]) - int(mean)) < 6
        x0, y0, x1, y1 = Badge(EDIT_SIZE).box
        assert int(card[y0:y1, x0:x1].max()) > int(card[400, 100]) + 20 or level == 200
        assert not is_badged(card, GREY, EDIT_SIZE)
    assert {"faded"} <= {outcome for outcome, _ in quick.counted.fallbacks}


def test_the_size_follows_the_camera(slow: EditBench) -> None:
    """From picture to picture, each with a badge of its size; what does not fit is refused."""
    for size in ((640, 480), (360, 640), (2, 720), (640, 480)):
        before = len(slow.shown.pictures)
        slow.edit(plain(60, size))
        if size[0] > 2:
            assert is_badged(slow.shown.pictures[-1], plain(60, size), size)
            assert slow.outlet.size == size
            assert len(slow.shown.pictures) == before + 1
        else:
            assert len(slow.shown.pictures) == before
    refused = slow.counted.dropped.count("refused")
    for planes in (
        plain(60, (1282, 480)), np.zeros((9, 9), np.uint8), np.zeros((480, 640, 3), np.uint8),
        plain(60).astype(np.float32), plain(60)[:-1], np.zeros((0, 0), np.uint8), np.zeros((3, 4), np.uint8),
    ):  # fmt: skip
        before = len(slow.shown.pictures)
        slow.edit(planes)
        assert len(slow.shown.pictures) == before
        refused += 1
        assert slow.counted.dropped.count("refused") == refused


def test_what_fails_in_here_shows_grey(slow: EditBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the last picture, about which something may be wrong."""
    slow.edit(picture(40))
    monkeypatch.setattr(Badge, "compose", _broken)
    slow.edit(picture(40))
    monkeypatch.undo()
    slow.outlet.start()
    slow.shown.until(lambda: len(slow.shown.pictures) >= 2)
    assert is_badged(slow.shown.pictures[-1], GREY, EDIT_SIZE)


def _broken(badge: Badge, planes: U8) -> None:
    raise RuntimeError("the badge broke")


@pytest.mark.parametrize(
    "others",
    [{"mode": Mode.PUPPET}, {"bundle": "other"}, {"changes": 3}, {"session": "you"}],
    ids=["mode", "bundle", "before the switch", "session"],
)
def test_nothing_of_another_kind_leaves(slow: EditBench, others: dict[str, Any]) -> None:
    """After a switch of mode or bundle: another kind's picture, and one of this kind from before."""
    slow.outlet.turn("small", Mode.PUPPET, slow.info, 2)
    slow.outlet.turn("small", Mode.EDIT, slow.info, 4)
    left = len(slow.shown.pictures)
    slow.edit(picture(40), **{"changes": 4} | others)
    assert len(slow.shown.pictures) == left
    slow.edit(picture(40), changes=4)
    assert striped(slow.shown.pictures[-1])


def test_a_switch_shows_what_is_safe_of_the_new_kind_at_once(slow: EditBench) -> None:
    """The portrait for a puppet and grey for an edit, in the very call, also while it is paused."""
    slow.edit(picture(40, (360, 640)))
    for paused in (False, True):
        slow.outlet.pause(paused)
        slow.outlet.turn("mesh_flow", Mode.PUPPET, slow.info, 1)
        assert is_badged(slow.shown.pictures[-1], slow.info.still)
        assert slow.outlet.size == slow.info.size
        slow.outlet.turn("small", Mode.EDIT, slow.info, 2)
        assert is_badged(slow.shown.pictures[-1], plain(96, (360, 640)), (360, 640))
        slow.outlet.start() if not paused else None
        slow.outlet.pause(False)
        slow.edit(picture(40, (360, 640)), changes=2)
