"""A session's self check: begun by its page, judged by its frames, kept in the record of the portrait."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.consent import Kind
from engine.errors import ConfigError
from engine.self_check import Movement, Result, Signs
from engine.self_check.challenge import ABSENT_S, HOLD_S, LIFT, OPEN, REST_S, TURN, WITHIN_S
from engine.types import FrameReport, Outcome
from engine.worker.interface import Delivery, Stamp
from streaming.consents import Consents
from streaming.self_check import MOST_ATTEMPTS, PER_S, Checked, SelfCheck

SOURCE = "1" * 64
SHOWS = {"left": (TURN + 5, 0.0, 0.0), "right": (-TURN - 5, 0.0, 0.0), "up": (0.0, LIFT + 4, 0.0)}
SHOWS["mouth"] = (0.0, 0.0, OPEN + 0.1)


class Page:
    """Whoever follows what the report asks for, a frame every 40 ms."""

    def __init__(self, mirrored: bool = False) -> None:
        self.now, self.results = 50.0, list[Result]()
        self.check = SelfCheck(
            lambda result, source: self.results.append(result),
            lambda: mirrored,
            clock=lambda: self.now,
            chance=random.Random(1),
        )
        self.passed_on: list[Delivery] = []
        self.deliver = self.check.hearing(self.passed_on.append)

    def frame(self, signs: Signs | None) -> None:
        self.now += 0.04
        report = FrameReport(0, Outcome.GENERATED, {}, 0.0)
        planes = np.zeros((48, 32), np.uint8)
        self.deliver(Delivery("s", planes, Stamp(0, self.now), report, 0, SOURCE, signs=signs))

    def follow(self, score: float = 5.0, turned: float = 1.0) -> dict[str, Any]:
        for looks in range(2000):
            told = self.check.report()
            assert told is not None
            if told["passed"] is not None:
                return told
            yaw, pitch, mouth = SHOWS[told["asked"]] if told["asked"] else (0.0, 0.0, 0.0)
            self.frame(Signs(turned * yaw, pitch, mouth, 3, score, looks))
        raise AssertionError("it never ended")


def test_who_follows_the_page_passes() -> None:
    """The report says what to do, and at the end what came of it; every picture goes on its way."""
    page = Page()
    assert page.check.report() is None
    page.check.begin(SOURCE)
    told = page.follow()
    assert (told["passed"], told["moved"], told["like"], told["done"]) == (True, True, True, told["of"])
    assert [result.passed for result in page.results] == [True]
    assert len(page.passed_on) > (REST_S + HOLD_S) / 0.04


def test_a_stranger_fails_by_shape() -> None:
    """Whatever well they follow."""
    page = Page()
    page.check.begin(SOURCE)
    told = page.follow(score=-9.0)
    assert (told["passed"], told["moved"], told["like"]) == (False, True, False)


def test_mirrored_frames_turn_left_and_right_about() -> None:
    """Where the session has its frames mirrored, the worker's left is the person's right."""
    plain, mirrored = Page(), Page(mirrored=True)
    for page in (plain, mirrored):
        page.check.begin(SOURCE)
    assert mirrored.follow(turned=-1.0)["passed"]
    assert not plain.follow(turned=-1.0)["passed"]


def test_frames_that_do_not_come_end_it() -> None:
    """By the report, which is asked for whatever comes."""
    page = Page()
    page.check.begin(SOURCE)
    page.now += ABSENT_S + WITHIN_S + 0.1
    told = page.check.report()
    assert told is not None
    assert (told["passed"], len(page.results)) == (False, 1)
    page.check.report()
    assert len(page.results) == 1


def test_attempts_are_counted() -> None:
    """Or a recording would be right in the end; after a while one may try again."""
    page = Page()
    for _ in range(MOST_ATTEMPTS):
        page.check.begin(SOURCE)
    with pytest.raises(ConfigError, match="try again in"):
        page.check.begin(SOURCE)
    page.now += PER_S + 1
    page.check.begin(SOURCE)


def test_a_check_that_is_stopped_says_no_more() -> None:
    """And frames that follow change nothing."""
    page = Page()
    page.check.begin(SOURCE)
    page.check.end()
    page.frame(Signs(0, 0, 0, 1))
    assert page.check.report() is None


def test_a_passed_check_stands_in_the_record(real_consent: Path) -> None:
    """A new record says the same and what was found; the former one is replaced by it."""
    consents = Consents()
    former = consents.store.attest(
        [SOURCE], Kind.MYSELF, shown="Ann", attested_by="Ann", statement="It is me.", scope=("live",)
    )
    switched: list[bool] = []

    async def run() -> None:
        checked = Checked(consents, switched.append, lambda: False)
        checked.turn(True, SOURCE)
        checked._over(Result(True, True, True, 4.5, 90), SOURCE)
        while (told := checked.report()) is None or "record" not in told:
            await asyncio.sleep(0.01)

    asyncio.run(run())
    assert switched == [True, False]
    (record,) = consents.check(SOURCE, "live")
    assert record.self_check is not None
    assert (record.self_check["passed"], record.self_check["likeness"]) == (True, 4.5)
    assert (record.shown, record.scope) == ("Ann", ("live",))
    revoked = consents.store.revoked(former.id)
    assert revoked is not None
    assert record.id in revoked.why


def test_a_failed_check_changes_no_record(real_consent: Path) -> None:
    """One in ten is refused wrongly: it is no evidence against anybody."""
    consents = Consents()
    consents.store.attest([SOURCE], Kind.MYSELF, shown="Ann", attested_by="Ann", statement="It is me.")

    async def run() -> None:
        checked = Checked(consents, lambda on: None, lambda: False)
        checked.turn(True, SOURCE)
        checked._over(Result(False, True, False, -4.5, 90), SOURCE)
        await asyncio.sleep(0.05)

    asyncio.run(run())
    assert [one.self_check for one in consents.store.all()] == [None]


def test_only_who_says_that_it_is_them_is_checked(real_consent: Path) -> None:
    """There is nothing to check of a painting, nor of whose consent somebody else holds."""
    consents = Consents()
    consents.store.attest([SOURCE], Kind.ARTWORK, shown="A work", attested_by="Ann", statement="It is old.")
    with pytest.raises(ConfigError, match="added as oneself"):
        Checked(consents, lambda on: None, lambda: False).turn(True, SOURCE)
    assert set(SHOWS) == {move.value for move in Movement}


def test_a_check_is_of_the_source_that_was_compared(real_consent: Path) -> None:
    """Of a record of several pictures no other one counts as checked; another check that begins meanwhile takes no
    result away from its source."""
    consents, other = Consents(), "2" * 64
    for source in ((SOURCE, "3" * 64), (other,)):
        consents.store.attest(source, Kind.MYSELF, shown="Ann", attested_by="Ann", statement="It is me.")

    async def run() -> None:
        checked = Checked(consents, lambda on: None, lambda: False)
        checked.turn(True, SOURCE)
        page = Page()
        page.deliver, page.check = checked.hearing(page.passed_on.append), checked._check
        checked._check._clock, page.now = lambda: page.now, checked._check._clock()
        assert page.follow()["passed"]
        checked.turn(True, other)
        while (found := consents.own_word(SOURCE)) is None or found.self_check is None:
            await asyncio.sleep(0.01)

    asyncio.run(run())
    told = {one: consents.told(one) for one in (SOURCE, "3" * 64, other)}
    checks = {one: record and record["self_check"] for one, record in told.items()}
    assert (checks[SOURCE]["source"], checks["3" * 64], checks[other]) == (SOURCE, None, None)
