"""Limits that fit a picture, and when an estimate is followed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.bitrate import FALL, STEADY_S, STEP, Target, follow, limits

BITS = st.integers(50_000, 20_000_000)


def test_limits_are_the_stated_ones_at_two_sizes():
    """The formula in the docstring gives the figures beside it."""
    small, large = limits(640, 480), limits(1280, 720)
    assert (small.least, small.start, small.most) == (250_000, 1_500_000, 2_625_000)
    assert large.least == 250_000
    assert large.start == pytest.approx(3.42e6, rel=0.01)
    assert large.most == pytest.approx(6.0e6, rel=0.01)


@given(st.integers(64, 1280), st.integers(64, 1280), BITS)
def test_limits_are_in_order_for_every_size(width, height, bits):
    """No size gives a least above its start, and clamping stays inside."""
    bounds = limits(width, height)
    assert 0 < bounds.least < bounds.start < bounds.most
    assert bounds.least <= bounds.clamp(bits) <= bounds.most


def test_a_fall_is_taken_at_once():
    """Congestion does not wait for a steady estimate, and a hair is no congestion."""
    assert follow(Target(1_000_000), 969_000, 0.0) == Target(969_000)
    assert follow(Target(1_000_000), 971_000, 0.0) == Target(1_000_000)


def test_a_rise_takes_a_step_after_a_while():
    """One high estimate is noise; estimates that stay high are room."""
    target = Target(1_000_000)
    for now in (0.0, STEADY_S / 2, STEADY_S - 0.01):
        target = follow(target, 3_000_000, now)
        assert target.bits == 1_000_000
    target = follow(target, 3_000_000, STEADY_S)
    assert target.bits == 1_040_000
    assert follow(target, 3_000_000, 1.5 * STEADY_S).bits == 1_040_000
    assert follow(target, 3_000_000, 2 * STEADY_S).bits == 1_081_600


def test_one_low_estimate_begins_the_wait_anew():
    """Steady means every one of them."""
    target = follow(Target(1_000_000), 2_000_000, 0.0)
    target = follow(target, 1_030_000, STEADY_S / 2)
    target = follow(target, 2_000_000, STEADY_S * 0.75)
    assert follow(target, 2_000_000, STEADY_S * 1.2).bits == 1_000_000


@given(st.lists(st.tuples(BITS, st.floats(0.01, 3)), max_size=60))
def test_a_target_moves_by_whole_steps_only(estimates):
    """Whatever comes, a target falls to an estimate below it or rises by a step, and never above one."""
    target, now = Target(1_500_000), 0.0
    for estimate, wait in estimates:
        now += wait
        after = follow(target, estimate, now)
        if after.bits < target.bits:
            assert after.bits == estimate < FALL * target.bits
        elif after.bits > target.bits:
            assert after.bits == round(STEP * target.bits) <= estimate
        target = after
