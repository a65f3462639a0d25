"""The only way out, of a source whose consent has ended: its face leaves the picture, the still portrait's too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.fallback import FallbackConfig
from engine.types import U8, Mode
from streaming import outlet
from streaming.outlet import EDIT_SIZE, WITHHELD, WITHHELD_FADE_S
from tests.streaming import test_outlet_edit
from tests.streaming.test_outlet import SIZE, SLOW, Bench, is_badged, plain
from tests.streaming.test_outlet_edit import GREY, EditBench, picture, striped

CARD = plain(96)


class Clock:
    """In place of the module `time` in the outlet."""

    now = 100.0

    def perf_counter(self) -> float:
        return self.now


class Timed:
    """A bench whose thread does not run: it looks when it is told to."""

    def __init__(self, bench: Bench, clock: Clock) -> None:
        self.bench, self.clock, self.outlet = bench, clock, bench.outlet

    def deliver(self, planes: U8, source: str = "grey") -> None:
        self.bench.deliver(planes, self.clock.now, source=source)

    def after(self, seconds: float, step: float = 0.04) -> U8:
        """The picture that was shown last, so much later."""
        until = self.clock.now + seconds
        while self.clock.now < until - 1e-9:
            self.clock.now = min(until, self.clock.now + step)
            self.outlet._tick(self.clock.now, "no picture")
        return self.bench.shown.pictures[-1]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(outlet, "time", clock)
    return clock


@pytest.fixture
def timed(clock: Clock) -> Iterator[Timed]:
    bench = Bench(SLOW)
    yield Timed(bench, clock)
    bench.outlet.stop()


def test_a_withheld_source_fades_to_grey_with_the_badge(timed: Timed) -> None:
    """Half a second after its consent has ended nothing of the face is left, whatever the session's own fallback is;
    the badge stays, and what leaves is counted as withheld."""
    timed.deliver(plain(200))
    timed.outlet.withhold(["grey"])
    half = timed.after(WITHHELD_FADE_S / 2)
    assert 96 < half[SIZE[1] // 2, SIZE[0] // 2] < 200
    assert is_badged(timed.after(WITHHELD_FADE_S / 2 + 0.08), CARD)
    assert {reason for _, reason in timed.bench.counted.fallbacks} == {WITHHELD}


def test_the_still_portrait_turns_grey_too(timed: Timed) -> None:
    """Before any picture the portrait itself is shown: it is the face that must not be."""
    timed.after(0.6)
    assert is_badged(timed.bench.shown.pictures[-1], timed.bench.info.still)
    timed.outlet.withhold(["grey"])
    timed.after(WITHHELD_FADE_S + 0.1)
    timed.after(30.0, step=0.5)
    assert is_badged(timed.bench.shown.pictures[-1], CARD)


def test_what_the_worker_still_makes_of_it_is_dropped(timed: Timed) -> None:
    """Pictures that were on their way, and all that follow, do not leave."""
    timed.outlet.withhold(["grey"])
    timed.after(WITHHELD_FADE_S + 0.1)
    for _ in range(3):
        timed.clock.now += 0.04
        timed.deliver(plain(200))
    assert is_badged(timed.bench.shown.pictures[-1], CARD)
    assert timed.bench.counted.dropped.count(WITHHELD) == 3


def test_a_pause_holds_no_withheld_picture(timed: Timed) -> None:
    """Neither does a pause keep the face, nor does its end bring it back."""
    timed.deliver(plain(200))
    timed.outlet.pause(True)
    timed.outlet.withhold(["grey"])
    assert is_badged(timed.after(WITHHELD_FADE_S + 0.1), CARD)
    timed.outlet.pause(False)
    assert is_badged(timed.after(0.6), CARD)


def test_another_source_is_shown_while_one_is_withheld(timed: Timed) -> None:
    """Whoever turns to a source that may be shown sees it; the former one's late pictures bring nothing back."""
    timed.outlet.withhold(["grey"])
    timed.after(WITHHELD_FADE_S + 0.1)
    other = plain(180, (200, 160))
    timed.deliver(other, "other")
    assert is_badged(timed.bench.shown.pictures[-1], plain(180, (200, 160)), (200, 160))
    timed.clock.now += 0.04
    timed.deliver(plain(200), "grey")
    assert timed.bench.counted.dropped[-1] == WITHHELD


def test_the_portrait_comes_back_when_it_may_be_shown_again(timed: Timed) -> None:
    """A new record of consent ends the grey: first the still, and then what the worker makes."""
    timed.outlet.withhold(["grey"])
    timed.after(WITHHELD_FADE_S + 0.1)
    timed.outlet.withhold([])
    assert is_badged(timed.after(0.1), timed.bench.info.still)
    timed.deliver(plain(200))
    assert is_badged(timed.bench.shown.pictures[-1], plain(200))


def test_a_turn_to_another_bundle_shows_no_withheld_still(timed: Timed) -> None:
    """What is shown first after a change of bundle is the still, but not of who is withheld."""
    timed.outlet.withhold(["grey"])
    timed.outlet.turn("other", Mode.PUPPET, timed.bench.info, 1)
    assert is_badged(timed.after(0.1), CARD)


def test_an_edit_of_a_withheld_donor_turns_grey(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an edit not even the blurred card is kept: it was made of the donor."""
    monkeypatch.setattr(test_outlet_edit, "time", clock)
    bench = EditBench(FallbackConfig(0.05, 0.1))
    timed = Timed(bench, clock)
    bench.edit(picture(150))
    assert striped(bench.shown.pictures[-1])
    bench.outlet.withhold(["a donor"])
    assert is_badged(timed.after(WITHHELD_FADE_S + 0.1), GREY, EDIT_SIZE)
    bench.edit(picture(60))
    assert bench.counted.dropped[-1] == WITHHELD
    bench.outlet.stop()


def test_its_own_thread_is_woken_for_it(timed: Timed) -> None:
    """However long the session's own pictures are held, the grey does not wait for that."""
    bench = Bench(SLOW)
    bench.outlet.start()
    try:
        bench.shown.until(lambda: bench.shown.pictures)
        before = len(bench.shown.pictures)
        timed.clock.now += 0.01
        bench.outlet.withhold(["grey"])
        timed.clock.now += WITHHELD_FADE_S + 0.1
        bench.outlet._woken.set()
        bench.shown.until(
            lambda: len(bench.shown.pictures) > before and is_badged(bench.shown.pictures[-1], CARD)
        )
    finally:
        bench.outlet.stop()
        bench.outlet.join()


def test_whoever_is_not_withheld_goes_on(timed: Timed) -> None:
    """Another source's end of consent is no business of this session's picture."""
    timed.deliver(plain(200))
    timed.outlet.withhold(["somebody else"])
    timed.clock.now += 0.04
    timed.deliver(plain(210))
    assert is_badged(timed.bench.shown.pictures[-1], plain(210))
