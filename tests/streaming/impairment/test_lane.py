"""What the relay does to packets has the statistics that it is asked for, the same ones each time."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby, pairwise

import pytest

from tests.streaming.impairment.lane import HELD_S, Impairment, Lane
from tests.streaming.impairment.matrix import ROWS, Row, judge, table
from tests.streaming.impairment.near import Seen, frozen
from tests.streaming.impairment.relay import candidate_of, through

MANY = 20_000


def carried(seed: int = 3, apart_s: float = 0.003, size: int = 1000, **what) -> list[float | None]:
    lane = Lane([(0.0, Impairment(**what))], seed)
    return [lane.carry(number * apart_s, size) for number in range(MANY)]


@pytest.mark.parametrize("loss", [0.01, 0.05, 0.1])
def test_losses_are_as_many_as_asked_for(loss):
    """At random and in bursts alike; bursts are as long as asked for on average."""
    for burst in (0.0, 3.0):
        fell = [at is None for at in carried(loss=loss, burst=burst)]
        assert sum(fell) / MANY == pytest.approx(loss, rel=0.15)
        if burst:
            runs = [len(list(run)) for lost, run in groupby(fell) if lost]
            assert sum(runs) / len(runs) == pytest.approx(burst, rel=0.2)


def test_delay_and_jitter_keep_the_order():
    """Between delay and delay + 2 jitter after they went in, none before the one before it."""
    came = carried(delay_s=0.05, jitter_s=0.02)
    assert all(b > a for a, b in pairwise(came))
    late = [at - number * 0.003 for number, at in enumerate(came)]
    assert 0.05 <= min(late) <= max(late) <= 0.0901


def test_one_in_a_hundred_changes_its_place():
    """And comes behind those that were sent up to HELD_S after it."""
    came = carried(reorder=0.01)
    late = [number for number, at in enumerate(came) if at - number * 0.003 > 0.9 * HELD_S]
    assert len(late) / MANY == pytest.approx(0.01, rel=0.3)
    assert all(came[number] > came[number + 5] for number in late[:-1] if number + 5 not in late)


def test_a_narrow_way_carries_its_bits_and_drops_what_does_not_fit_its_queue():
    """A second of it is its bits, whatever goes in; nobody waits longer than the queue is."""
    came = carried(bits=1e6, queue_s=0.2)
    out = [at for at in came if at is not None]
    assert 8000 * len([at for at in out if 10 <= at < 20]) == pytest.approx(1e7, rel=0.02)
    assert max(at - number * 0.003 for number, at in enumerate(came) if at is not None) <= 0.2001


def test_the_schedule_is_followed():
    """What holds changes when it is due."""
    narrow = Impairment(bits=1e6)
    lane = Lane([(0.0, Impairment()), (5.0, narrow)], 0)
    assert (lane.at(-1.0), lane.at(4.99), lane.at(5.0)) == (Impairment(), Impairment(), narrow)


def test_a_seed_is_the_same_each_time():
    """A row that fails can be run again."""
    assert carried(loss=0.05, jitter_s=0.01) == carried(loss=0.05, jitter_s=0.01)
    assert carried(loss=0.05) != carried(seed=4, loss=0.05)


def test_a_description_leads_through_the_relay_alone():
    """ICE finds no way around what is impaired."""
    sdp = "\r\n".join(
        ["v=0", "m=video 1 X 97", "a=ice-ufrag:u", "a=ice-pwd:p", "a=candidate:9 1 udp 1 fd00::1 7 typ host",
         "a=candidate:1 1 udp 2130706431 192.0.2.7 5000 typ host", "a=end-of-candidates"]
    )  # fmt: skip
    assert candidate_of(sdp) == ("192.0.2.7", 5000)
    led = through(sdp, ("198.51.100.1", 6000))
    assert candidate_of(led) == ("198.51.100.1", 6000)
    assert led.count("a=candidate:") == 1
    with pytest.raises(ValueError, match="no host candidate"):
        candidate_of("v=0")


def test_what_stands_is_counted():
    """Gaps well above those before them, until the end; an even rate, however low, is none."""
    even = [number / 10 for number in range(101)]
    assert frozen(even, 0.0, 10.0) == 0.0
    gap = [at for at in even if not 4.0 < at < 5.0]
    assert frozen(gap, 0.0, 10.0) == pytest.approx(0.1)
    assert frozen([at for at in even if at <= 8.0], 0.0, 10.0) == pytest.approx(0.2)
    assert frozen([1.0], 0.0, 10.0) == 1.0


class Rates:
    """A relay of which a test says what came out."""

    def __init__(self, bits: float) -> None:
        self.bits = bits

    def rate(self, way: str, since: float, until: float) -> float:
        return self.bits


def seen(**what) -> Seen:
    return Seen(first_s=0.5, shown_s=[number / 30 for number in range(600)], ages=[0.02] * 600, **what)


def test_a_row_that_does_not_hold_says_why():
    """Each gate by itself, in the words that stand in the table."""
    row = Row("x", ((0.0, Impairment()),), freezes=0.02)
    assert judge(row, seen(), Rates(1e6)).failed == ()
    late = seen()
    late.first_s = 2.3
    assert judge(row, late, Rates(1e6)).failed == ("first picture after 2.3 s",)
    stood = seen()
    stood.shown_s = [at for at in stood.shown_s if not 10 < at < 11]
    assert judge(row, stood, Rates(1e6)).failed[0].startswith("stands 5")
    old = seen()
    old.ages.append(0.3)
    assert judge(row, old, Rates(1e6)).failed == ("a picture 300 ms old",)
    narrow = replace(row, schedule=((0.0, Impairment(bits=1e6)),))
    assert judge(narrow, seen(), Rates(0.7e6)).failed == ("700 kb/s of 1000",)
    assert judge(row, Seen(), Rates(1e6)).failed == ("no picture",)
    assert "no: 700 kb/s of 1000" in table([judge(narrow, seen(), Rates(0.7e6))])


def test_the_matrix_has_what_was_asked_for():
    """Losses, delays, jitter, reordering and rates with steps, each held to its gate."""
    names = [row.name for row in ROWS]
    assert len(names) == len(set(names))
    for part in (
        "loss 1%",
        "loss 5%",
        "loss 10%",
        "bursts",
        "50 ms",
        "150 ms",
        "300 ms",
        "jitter",
        "order",
        "Mb/s",
    ):
        assert any(part in name for name in names)
    assert {row.freezes for row in ROWS if row.name.startswith(("loss 1% ", "loss 5%"))} == {0.02, 0.1}
