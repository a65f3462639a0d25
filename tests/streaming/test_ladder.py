"""The ladder of sizes, who stands where on it, and the engine's own pace."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.bitrate import limits
from streaming.ladder import (
    CLIMB,
    HEADROOM,
    LEAST_SIDE,
    LOOK_S,
    PACES,
    QUEUE_S,
    SETTLE_S,
    WHYS,
    Climber,
    Pacer,
    Patience,
    Way,
    rungs,
)

VGA = rungs(640, 480)


def wide(bits: float) -> Way:
    """A way on which pictures get so many bits a second."""
    return Way(math.ceil(bits / HEADROOM))


def after(climber: Climber, way: Way, seconds: float, start: float, encode_s: float | None = None):
    """What is chosen when the way was so for a while, asked every 0.25 s."""
    for step in range(math.ceil(seconds * 4) + 1):
        choice = climber.step(way, encode_s, start + step / 4)
    return choice


def test_the_rungs_of_usual_sizes():
    """720p and 1080p have their own size and bits at the top; a face stays large enough to be read at the bottom."""
    assert [(rung.side_share, rung.fps) for rung in VGA] == [
        (1, 30),
        (0.75, 30),
        (0.5, 30),
        (0.5, 15),
        (0.375, 15),
    ]
    assert [rung.size(640, 480) for rung in VGA] == [
        (640, 480),
        (480, 360),
        (320, 240),
        (320, 240),
        (240, 180),
    ]
    assert [(rung.side_share, rung.fps) for rung in rungs(320, 240)] == [(1, 30), (0.75, 30), (0.75, 15)]
    assert VGA[0].most_bits == limits(640, 480).most
    assert rungs(1280, 720)[0].most_bits > 5_900_000
    assert rungs(1920, 1080)[0].most_bits > 10_000_000


@given(st.integers(16, 2000), st.integers(16, 2000))
def test_rungs_go_down_in_size_and_bits(width, height):
    """Whatever the size: two rungs at least, each less than the one above in bits, and in reach of it from below."""
    ladder = rungs(width, height)
    assert len(ladder) >= 2
    assert ladder[0].side_share == 1.0
    for above, below in pairwise(ladder):
        assert (below.side_share, below.fps) < (above.side_share, above.fps)
        assert below.least_bits < above.least_bits < below.most_bits
        assert CLIMB * above.least_bits <= below.most_bits / HEADROOM
        assert below.size(width, height)[0] % 2 == below.size(width, height)[1] % 2 == 0
        assert below.side_share == 1 or below.side_share * min(width, height) >= LEAST_SIDE


def test_it_begins_on_the_best_rung_with_its_start():
    """Nobody waits for a good picture on a way that carries one; who is known to be narrow begins where that fits."""
    start = limits(640, 480).start
    assert Climber(VGA).step(Way(), None, 0.0).bits == start
    choice = Climber(VGA, VGA[2].least_bits).step(Way(), None, 0.0)
    assert (choice.rung, choice.bits) == (2, VGA[2].least_bits)


def test_a_fall_is_at_once_and_as_far_as_it_must():
    """What exceeds the way would wait in its queue: no rung is tried on the way down."""
    climber = Climber(VGA)
    choice = climber.step(wide(VGA[2].least_bits), None, 0.0)
    assert (choice.rung, choice.bits, choice.why) == (2, pytest.approx(VGA[2].least_bits, abs=1), "way")
    assert climber.step(wide(1000), None, 0.1).rung == len(VGA) - 1


def test_a_way_that_carries_less_than_the_last_rung_still_gets_it():
    """There is nothing below, and nothing is sent only when a viewer is gone."""
    choice = Climber(VGA).step(Way(0), None, 0.0)
    assert (choice.rung, choice.bits) == (len(VGA) - 1, VGA[-1].least_bits)


def test_a_climb_waits_and_goes_one_rung():
    """Three steady seconds for each rung, and the bits grow with the way."""
    climber = Climber(VGA)
    climber.step(wide(VGA[3].least_bits), None, 0.0)
    plenty = wide(10 * VGA[0].most_bits)
    assert after(climber, plenty, 2.75, 1.0).rung == 3
    assert after(climber, plenty, 0.2, 4.0).rung == 2
    assert after(climber, plenty, 2.75, 4.3).rung == 2
    assert after(climber, plenty, 30.0, 7.3) == type(climber.step(plenty, None, 40.0))(
        0, VGA[0].most_bits, ""
    )


def test_a_way_just_wide_enough_is_not_climbed():
    """The rung above is tried only where the way is wider than it needs: at its edge every waver would cost a key
    frame."""
    climber = Climber(VGA)
    climber.step(wide(VGA[1].least_bits), None, 0.0)
    choice = after(climber, wide(CLIMB * VGA[0].least_bits - 5000), 120.0, 1.0)
    assert (choice.rung, choice.why) == (1, "way")
    assert after(climber, wide(CLIMB * VGA[0].least_bits + 5000), 4.0, 200.0).rung == 0


def test_climbs_that_do_not_hold_come_ever_more_seldom():
    """A way that breaks down under every climb is tried after 3, 6, 12 ... seconds, and no more than once a minute."""
    climber, moved, now = Climber(VGA), [], 0.0
    rung = climber.step(wide(VGA[1].least_bits), None, now).rung
    while now < 600:
        now += 0.25
        way = wide(VGA[1].least_bits) if rung == 0 else wide(2 * VGA[0].least_bits)
        chosen = climber.step(way, None, now).rung
        if chosen < rung:
            moved.append(now)
        rung = chosen
    waits = [round(b - a) for a, b in pairwise(moved)]
    assert waits[:4] == [7, 13, 25, 49] or waits[:4] == [6, 12, 24, 48]
    assert min(waits[5:]) >= 60
    assert len(moved) <= 14


def test_a_climb_that_holds_makes_the_next_wait_short_again():
    """A way that was bad once is not punished for ever."""
    patience = Patience(first_s=3, longest_s=60, holds_s=10)
    patience.climbed(100.0)
    patience.fell(101.0)
    assert not patience.ready(True, 102.0)
    assert not patience.ready(True, 107.9)
    assert patience.ready(True, 108.0)
    patience.climbed(108.0)
    assert not patience.ready(True, 119.0)
    assert patience.ready(True, 122.0)


def test_an_encoder_that_is_too_slow_takes_a_smaller_rung():
    """More than four fifths of a picture's time is too much; the rung above stays closed while it would be again."""
    climber = Climber(VGA)
    plenty = wide(VGA[0].most_bits)
    choice = climber.step(plenty, 0.81 / 30, 0.0)
    assert (choice.rung, choice.why) == (1, "encoder")
    assert climber.step(plenty, 0.81 / 30, SETTLE_S / 2).rung == 1, "measured on the rung that was left"
    choice = after(climber, plenty, 60.0, SETTLE_S, encode_s=0.81 / 30 * 0.75**2)
    assert (choice.rung, choice.why) == (1, "encoder")
    assert after(climber, plenty, 4.0, 70.0, encode_s=0.59 / 30 * 0.75**2).rung == 0


def test_losses_are_believed_where_nobody_estimates():
    """Above a tenth the bitrate falls with each report, by half of the share; below a fiftieth it grows by 8 % a second
    and never beyond half again what is sent; between it stays."""
    climber = Climber(VGA)
    start = limits(640, 480).start
    choice = climber.step(Way(loss=0.2), None, 0.0)
    assert (choice.bits, choice.why) == (round(0.9 * start), "")
    assert climber.step(Way(loss=None), None, 0.5).bits == round(0.9 * start), "no report, nothing new"
    assert after(climber, Way(loss=0.05), 10.0, 1.0).bits == round(0.9 * start)
    grown = after(climber, Way(loss=0.0), 5.0, 20.0).bits
    assert 1.2 * 0.9 * start < grown < 1.08**7 * 0.9 * start
    worst = after(climber, Way(loss=0.4), 5.0, 30.0)
    assert (worst.rung, worst.why) == (len(VGA) - 1, "loss")


def test_a_long_queue_lowers_the_bits():
    """Round trips that grow by more than QUEUE_S mean that a queue fills; it is eased, and given time to drain."""
    climber = Climber(VGA)
    start = limits(640, 480).start
    assert climber.step(Way(start * 2, round_trip_s=0.05), None, 0.0).bits == start
    late = Way(start * 2, round_trip_s=0.06 + QUEUE_S)
    assert climber.step(late, None, 1.0).bits == round(0.85 * start)
    assert climber.step(late, None, 1.5).bits == round(0.85 * start)
    assert climber.step(late, None, 3.0).bits == round(0.85 * round(0.85 * start))
    assert climber.step(Way(start, round_trip_s=0.05), None, 4.0).bits >= round(0.85 * round(0.85 * start))


@pytest.mark.parametrize(
    ("way", "why"),
    [(Way(10**7, loss=0.15), "loss"), (Way(10**7, jitter_s=0.08), "jitter")],
)
def test_a_troubled_way_is_not_climbed(way, why):
    """An estimate alone does not tell of a way that loses or scatters what it carries."""
    climber = Climber(VGA)
    climber.step(wide(VGA[1].least_bits), None, 0.0)
    choice = after(climber, way, 60.0, 1.0)
    assert (choice.rung, choice.why) == (1, why)


@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(0, 20_000_000),
            st.none() | st.floats(0, 1),
            st.none() | st.floats(0, 5),
            st.floats(0, 1),
            st.none() | st.floats(0, 1),
            st.floats(0, 3),
        ),
        max_size=80,
    )
)
def test_whatever_is_measured_the_choice_is_on_the_ladder(measured):
    """Never off the ladder, never outside a rung's bits, one rung up at a time and two climbs 3 s apart."""
    climber, now, rung, climbed = Climber(VGA), 0.0, 0, -math.inf
    for estimate, loss, trip, jitter, encode_s, wait in measured:
        now += wait
        choice = climber.step(Way(estimate, loss, trip, jitter), encode_s, now)
        assert VGA[choice.rung].least_bits <= choice.bits <= VGA[choice.rung].most_bits
        assert choice.why in ("", *WHYS)
        if choice.rung < rung:
            assert choice.rung == rung - 1
            assert now - climbed >= 3.0
            climbed = now
        rung = choice.rung


def test_an_empty_ladder_is_refused():
    """There is nothing to stand on."""
    with pytest.raises(ValueError, match="no rung"):
        Climber(())


def test_the_engine_is_asked_for_less_while_its_pictures_are_late():
    """One pace down for each look that was too late, to the last; nothing on a look that saw nothing."""
    pacer = Pacer(0.25)
    assert pacer.step(0.2, 0.0) == PACES[0]
    assert pacer.step(0.26, 1.0) == PACES[1]
    assert pacer.step(0.5, 1.0 + LOOK_S / 2) == PACES[1], "aged before the change"
    assert pacer.step(None, 10.0) == PACES[1]
    for look in range(20):
        pacer.step(0.5, 20.0 + look * LOOK_S)
    assert pacer.pace == PACES[-1]


def test_the_engine_is_asked_for_more_when_its_pictures_are_early():
    """Below three fifths of the target for five seconds; between there and the target nothing moves."""
    pacer = Pacer(0.25)
    pacer.step(0.3, 0.0)
    for now in range(3, 60):
        assert pacer.step(0.2, float(now)) == PACES[1]
    for now in range(60, 65):
        assert pacer.step(0.14, float(now)) == PACES[1]
    assert pacer.step(0.14, 65.0) == PACES[0]


def test_a_target_of_no_time_is_refused():
    """Nothing can be held to it."""
    with pytest.raises(ValueError, match="pace"):
        Pacer(0.0)
