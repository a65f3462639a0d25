"""When a batch begins and who is in it: arithmetic on given times, exact to the last digit."""

from __future__ import annotations

import math

import pytest

from engine.gathering import Gathering, Offer, Seat

WAIT_S = 0.004
FRAME_S = 1 / 32  # exact in binary, as are its sums


def at_once(entries: int) -> float:
    return 0.0


def begins(gathering: Gathering, now: float, takes_s: float = 0.0) -> float:
    return gathering.begins(now, lambda entries: takes_s)


def regular(gathering: Gathering, *phases: float, rounds: int = 4) -> list[Seat]:
    """Sessions of 32 frames a second that have offered so many times, each at its phase, and were served alone."""
    seats = [Seat() for _ in phases]
    for number in range(rounds):
        for seat, phase in zip(seats, phases):
            gathering.offer(seat, 1, number * FRAME_S + phase)
            gathering.take()
    return seats


def test_nothing_begins_where_nothing_waits() -> None:
    """An idle runner is not woken, and a batch taken then is empty."""
    gathering = Gathering(4, WAIT_S)
    assert begins(gathering, 1.0) == math.inf
    assert gathering.take() == []


def test_a_session_alone_waits_for_nobody() -> None:
    """With one session every frame begins at once, however long it may wait."""
    gathering = Gathering(8, 1.0)
    (seat,) = regular(gathering, 0.0)
    gathering.offer(seat, 1, 10.0)
    assert begins(gathering, 10.0) == 10.0


def test_a_frame_waits_for_one_that_is_expected_within_the_wait_and_no_longer() -> None:
    """Due 2 ms later: the batch may begin after the wait of 4 ms at the latest, and at once when the other is there."""
    gathering = Gathering(4, WAIT_S)
    one, two = regular(gathering, 0.0, 0.002)
    now = 4 * FRAME_S
    gathering.offer(one, 1, now)
    assert begins(gathering, now) == now + WAIT_S
    gathering.offer(two, 1, now + 0.002)
    assert begins(gathering, now + 0.002) == now + 0.002
    assert [share.offer.seat for share in gathering.take()] == [one, two]


def test_a_frame_does_not_wait_for_one_that_comes_too_late_for_it() -> None:
    """Due 10 ms later with a wait of 4 ms: waiting would cost and bring nothing."""
    gathering = Gathering(4, WAIT_S)
    one, _ = regular(gathering, 0.0, 0.010)
    gathering.offer(one, 1, 4 * FRAME_S)
    assert begins(gathering, 4 * FRAME_S) == 4 * FRAME_S


def test_a_session_that_stands_still_is_waited_for_once() -> None:
    """The others wait for it in the round that it misses, for as long as is set, and in no later one."""
    gathering = Gathering(4, WAIT_S)
    one, _ = regular(gathering, 0.0, 0.002)
    waits = []
    for number in range(4, 8):
        now = number * FRAME_S
        gathering.offer(one, 1, now)
        waits.append(begins(gathering, now) - now)
        gathering.take()
    assert waits == [pytest.approx(WAIT_S), 0.0, 0.0, 0.0]


def test_nobody_waits_for_a_session_that_has_just_come_or_gone() -> None:
    """Of a first frame nothing is known, and after `leave` nothing is expected."""
    gathering = Gathering(4, WAIT_S)
    one, two = regular(gathering, 0.0, 0.002)
    gathering.offer(Seat(), 1, 4 * FRAME_S)
    gathering.take()
    gathering.leave(two)
    gathering.offer(one, 1, 4 * FRAME_S)
    assert begins(gathering, 4 * FRAME_S) == 4 * FRAME_S


def test_a_frame_never_waits_past_its_own_interval() -> None:
    """A wait set longer than a frame's interval ends with it: 1 s at 32 frames a second is 31 ms."""
    gathering = Gathering(4, 1.0)
    one, two = regular(gathering, 0.0, 0.002)
    gathering.offer(one, 1, 4 * FRAME_S)
    assert two.expected_s == pytest.approx(4 * FRAME_S + 0.002)
    assert begins(gathering, 4 * FRAME_S) == 5 * FRAME_S


@pytest.mark.parametrize(("due_s", "expected"), [(0.010, 0.003), (0.011, 0.004), (0.007, 0.0), (0.001, 0.0)])
def test_a_frame_waits_only_as_its_due_time_allows(due_s: float, expected: float) -> None:
    """Due in 10 ms and a batch takes 7: it begins within 3 ms, and at once where there is no slack."""
    gathering = Gathering(4, WAIT_S)
    one, _ = regular(gathering, 0.0, 0.002)
    now = 4 * FRAME_S
    gathering.offer(one, 1, now, now + due_s)
    assert max(0.0, begins(gathering, now, 0.007) - now) == pytest.approx(expected)


def test_the_most_pressing_of_those_who_wait_decides() -> None:
    """One frame's slack is not spent by another's patience."""
    gathering = Gathering(8, 0.1)
    one, two, _ = regular(gathering, 0.0, 0.001, 0.0015)
    now = 4 * FRAME_S
    gathering.offer(one, 1, now)
    gathering.offer(two, 1, now + 0.001, now + 0.002)
    assert begins(gathering, now + 0.001) == now + 0.002


def test_the_time_of_the_batch_that_it_would_be_counts() -> None:
    """The slack is measured against the batch with those who are expected in it, as it takes longer than one frame."""
    gathering = Gathering(4, WAIT_S)
    one, _ = regular(gathering, 0.0, 0.002)
    asked: list[int] = []
    gathering.offer(one, 1, 4 * FRAME_S)
    gathering.begins(4 * FRAME_S, lambda entries: asked.append(entries) or 0.0)  # type: ignore[func-returns-value]
    assert asked == [2]


def test_a_full_batch_begins_at_once() -> None:
    """More waiting would not make it larger."""
    gathering = Gathering(2, 1.0)
    one, two, _ = regular(gathering, 0.0, 0.001, 0.002)
    gathering.offer(one, 1, 4 * FRAME_S)
    gathering.offer(two, 1, 4 * FRAME_S)
    assert begins(gathering, 4 * FRAME_S) == 4 * FRAME_S


def test_when_more_are_ready_than_fit_they_take_turns() -> None:
    """Nine sessions that are ready again at once, four a batch: after nine rounds each was served as often."""
    gathering = Gathering(4, WAIT_S)
    seats = [Seat() for _ in range(9)]
    served = dict.fromkeys(range(9), 0)
    for seat in seats:
        gathering.offer(seat, 1, 0.0)
    for number in range(9):
        batch = gathering.take()
        assert len(batch) == 4
        for share in batch:
            served[seats.index(share.offer.seat)] += 1
            gathering.offer(share.offer.seat, 1, float(number))
    assert set(served.values()) == {4}


def parts(gathering: Gathering, names: dict[Offer, str]) -> list[tuple[str, int, int]]:
    return [(names[share.offer], share.start, share.count) for share in gathering.take()]


def test_the_faces_of_one_frame_stay_together_and_are_next_where_they_do_not_fit() -> None:
    """An offer goes whole: one that does not fit lets a smaller one before, once, and is then the first."""
    gathering = Gathering(4, WAIT_S)
    offers = {gathering.offer(Seat(), count, 0.0): f"{count}" for count in (3, 2, 1)}
    assert parts(gathering, offers) == [("3", 0, 3), ("1", 0, 1)]
    late = gathering.offer(Seat(), 3, 1.0)
    assert parts(gathering, offers | {late: "late"}) == [("2", 0, 2)]
    assert parts(gathering, {late: "late"}) == [("late", 0, 3)]


def test_an_offer_larger_than_a_batch_goes_in_parts_between_which_the_others_have_their_turn() -> None:
    """Ten faces do not keep one face waiting for longer than a batch, and every part is taken once, in order."""
    gathering = Gathering(4, WAIT_S)
    large = gathering.offer(Seat(), 10, 0.0)
    small = gathering.offer(Seat(), 1, 0.0)
    names = {large: "large", small: "small"}
    assert [parts(gathering, names) for _ in range(4)] == [
        [("large", 0, 4)],
        [("small", 0, 1), ("large", 4, 3)],
        [("large", 7, 3)],
        [],
    ]


def test_what_is_withdrawn_or_left_is_in_no_batch() -> None:
    """A frame that nobody waits for any more takes nobody's place."""
    gathering = Gathering(4, WAIT_S)
    seats = [Seat() for _ in range(3)]
    offers = [gathering.offer(seat, 1, 0.0) for seat in seats]
    gathering.withdraw(offers[0])
    gathering.leave(seats[1])
    assert gathering.waiting == 1
    assert [share.offer for share in gathering.take()] == [offers[2]]


def test_a_pause_is_not_taken_for_an_interval() -> None:
    """A session that comes back after ten seconds is expected at its usual rate again at once."""
    gathering = Gathering(4, WAIT_S)
    (seat,) = regular(gathering, 0.0)
    gathering.offer(seat, 1, 10.0)
    assert seat.interval_s == pytest.approx(1.2 * FRAME_S)


def test_waits_are_bounded_however_sessions_come() -> None:
    """With 6 sessions that come at odd times no frame of a runner that is free waits longer than is set."""
    state, now = 1, 0.0
    gathering = Gathering(8, WAIT_S)
    seats = [Seat() for _ in range(6)]
    next_s = [0.003 * k for k in range(6)]
    waits: list[float] = []
    for _ in range(3000):
        due = begins(gathering, now)
        first = min(range(6), key=lambda k: next_s[k])
        if due <= next_s[first]:
            now = max(now, due)
            waits += [now - share.offer.offered_s for share in gathering.take()]
            continue
        now = next_s[first]
        if not seats[first].waiting:
            gathering.offer(seats[first], 1, now)
        state = state * 48271 % 2147483647
        next_s[first] = now + 0.020 + 0.030 * state / 2147483647
    assert len(waits) > 1000
    assert max(waits) <= WAIT_S + 1e-9
    assert any(wait > 0 for wait in waits)
