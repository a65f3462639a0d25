"""The watch on the attention mask."""

from __future__ import annotations

from trainers.ganimation.recipe import Guard
from trainers.ganimation.watch import MaskWatch
from trainers.system import Adjusted, CarryOn, Stop

GUARD = Guard(low=0.3, high=0.9, patience=4, factor=2.0, most=2)


def shown(watch: MaskWatch, *means: float) -> list[object]:
    """The verdict after each stretch of `patience` steps at a mean."""
    return [[watch.see(mean) for _ in range(GUARD.patience)][-1] for mean in means]


def test_a_mask_within_its_limits_is_left_alone() -> None:
    """A single step beyond them is no reason either: the mean over a stretch decides."""
    watch = MaskWatch(GUARD)
    assert all(isinstance(one, CarryOn) for one in shown(watch, 0.4, 0.6, 0.89))
    assert [type(watch.see(value)) for value in (1.0, 0.5, 0.5, 0.5)] == [CarryOn] * 4
    assert watch.factor == 1.0


def test_a_saturated_mask_raises_its_weight_and_an_empty_one_lowers_it() -> None:
    """By the recipe's factor, and the text says from what to what and why."""
    watch = MaskWatch(GUARD)
    (verdict,) = shown(watch, 0.97)
    assert isinstance(verdict, Adjusted)
    assert "0.970" in verdict.text
    assert "from 1 to 2 times" in verdict.text
    assert watch.factor == 2.0
    (verdict,) = shown(watch, 0.1)
    assert isinstance(verdict, Adjusted)
    assert watch.factor == 1.0


def test_when_nothing_helps_it_stops_and_explains() -> None:
    """At either end, after as many tries as the recipe allows; a good stretch in between starts the count anew."""
    assert [type(one) for one in shown(MaskWatch(GUARD), 1.0, 1.0, 0.5, 1.0, 1.0, 1.0)] == [
        Adjusted, Adjusted, CarryOn, Adjusted, Adjusted, Stop,
    ]  # fmt: skip
    *_, last = shown(MaskWatch(GUARD), 0.0, 0.0, 0.0)
    assert isinstance(last, Stop)
    assert "empty" in last.text
    assert "lower losses.mask" in last.text


def test_its_state_goes_on_in_another() -> None:
    """In the middle of a stretch."""
    first, second = MaskWatch(GUARD), MaskWatch(GUARD)
    shown(first, 0.97)
    first.see(1.0), first.see(1.0)
    second.restore(first.state())
    assert [type(first.see(1.0)), first.factor] == [type(second.see(1.0)), second.factor]
    assert [type(first.see(1.0)), first.factor] == [type(second.see(1.0)), second.factor]
    assert second.factor == 4.0
