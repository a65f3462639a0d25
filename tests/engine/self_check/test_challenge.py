"""The challenge: what passes, and what ends it. One frame every 40 ms, by hand."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise

import pytest

from engine.errors import InputError
from engine.self_check.challenge import (
    ABSENT_S,
    HOLD_S,
    LIFT,
    OPEN,
    REST_S,
    TURN,
    WITHIN_S,
    Challenge,
    Movement,
    Phase,
    ask,
    orders,
    proceed,
)
from engine.self_check.likeness import ENOUGH, LEAST
from engine.self_check.result import result_of
from engine.self_check.signs import Signs, numbers, of_numbers

STEP = 0.04
SHOWS = {
    Movement.LEFT: (TURN + 5, 0.0, 0.0),
    Movement.RIGHT: (-TURN - 5, 0.0, 0.0),
    Movement.UP: (0.0, LIFT + 4, 0.0),
    Movement.MOUTH: (0.0, 0.0, OPEN + 0.1),
}


class Person:
    """Somebody before the camera of a challenge. base: how their head stands at rest."""

    def __init__(self, state: Challenge, base: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> None:
        self.state, self.now, self.base, self.track = state, 0.0, base, 7

    def shows(self, seconds: float, move: Movement | None = None, share: float = 1.0) -> Challenge:
        """A movement, or rest, for so long."""
        amounts = SHOWS[move] if move else (0.0, 0.0, 0.0)
        yaw, pitch, mouth = (base + share * amount for base, amount in zip(self.base, amounts))
        until = self.now + seconds
        while self.now < until:
            self.now += STEP
            self.state = proceed(self.state, Signs(yaw, pitch, mouth, self.track), self.now)
        return self.state

    def follows(self) -> Challenge:
        """Everything as it is asked for."""
        for move in self.state.order:
            self.shows(REST_S + 3 * STEP)
            assert self.state.asked is move
            self.shows(HOLD_S + 3 * STEP, move)
        return self.shows(REST_S + 3 * STEP)


@pytest.fixture
def begun() -> Challenge:
    return ask(random.Random(3), 0.0)


def all_orders() -> Iterator[tuple[Movement, ...]]:
    chance = random.Random(0)
    return iter({ask(chance, 0.0).order for _ in range(5000)})


def test_every_order_occurs_and_holds_every_movement() -> None:
    """As many as are stated; no movement twice in a row, so that each has to be begun anew."""
    found = list(all_orders())
    assert len(found) == orders()
    for order in found:
        assert set(order) == set(Movement)
        assert all(one is not other for one, other in pairwise(order))


@pytest.mark.parametrize("base", [(0.0, 0.0, 0.0), (8.0, -9.0, 0.05), (-6.0, 10.0, 0.0)])
def test_whoever_follows_passes(begun: Challenge, base: tuple[float, float, float]) -> None:
    """Movements count from how the head stands at its first rest: a camera may stand to a side, or low."""
    assert Person(begun, base).follows().phase is Phase.PASSED


def test_a_still_picture_never_passes(begun: Challenge) -> None:
    """It rests, is asked for a movement, and makes none within the time."""
    person = Person(begun)
    person.shows(REST_S + WITHIN_S + 1.0)
    assert (person.state.phase, person.state.why) == (Phase.FAILED, "it took too long")
    assert person.state.done == 0


def test_another_movement_than_the_one_asked_for_ends_it(begun: Challenge) -> None:
    """So that a recording of all movements passes by chance alone."""
    person = Person(begun)
    person.shows(REST_S + 3 * STEP)
    wrong = next(move for move in Movement if move is not begun.order[0])
    person.shows(HOLD_S + 3 * STEP, wrong)
    assert person.state.phase is Phase.FAILED
    assert "another movement" in person.state.why


def test_a_recording_passes_only_in_its_own_order() -> None:
    """Of all orders there are, one set of recorded movements makes exactly one."""
    recorded = (Movement.LEFT, Movement.UP, Movement.RIGHT, Movement.MOUTH, Movement.LEFT)
    passed = []
    for order in all_orders():
        player = Person(Challenge(order))
        for move in recorded:
            player.shows(REST_S + 3 * STEP)
            player.shows(HOLD_S + 3 * STEP, move)
        passed += [order] if player.shows(REST_S + 3 * STEP).phase is Phase.PASSED else []
    assert passed == [recorded]


def test_a_movement_has_to_last_and_to_reach_far_enough(begun: Challenge) -> None:
    """A single frame may be misread, and half a turn is none."""
    person = Person(begun)
    person.shows(REST_S + 3 * STEP)
    person.shows(HOLD_S / 2, begun.order[0])
    person.shows(3 * STEP)
    person.shows(1.0, begun.order[0], share=0.5)
    assert person.state.done == 0
    assert person.shows(HOLD_S + 3 * STEP, begun.order[0]).done == 1


def test_the_head_has_to_come_back_between_movements(begun: Challenge) -> None:
    """Whoever stays turned is not asked for the next one."""
    person = Person(begun)
    person.shows(REST_S + 3 * STEP)
    person.shows(HOLD_S + 3 * STEP, begun.order[0])
    person.shows(1.0, begun.order[0])
    assert (person.state.phase, person.state.done) == (Phase.REST, 1)
    person.shows(WITHIN_S, begun.order[0])
    assert person.state.why == "it took too long"


def test_another_face_ends_it(begun: Challenge) -> None:
    """Whoever moves has to be the one whose shape is measured."""
    person = Person(begun)
    person.shows(REST_S + 3 * STEP)
    person.track = 8
    person.shows(STEP)
    assert "the face was lost" in person.state.why


def test_a_face_may_be_away_for_a_moment_only(begun: Challenge) -> None:
    """A hand passes; an empty chair does not."""
    state = proceed(begun, Signs(0, 0, 0, 1), 0.1)
    assert not proceed(state, None, 0.1 + ABSENT_S / 2).over
    gone = proceed(state, None, 0.2 + ABSENT_S)
    assert (gone.phase, gone.why) == (Phase.FAILED, "no face was seen")
    assert proceed(gone, Signs(0, 0, 0, 1), 1.0) is gone


@pytest.mark.parametrize(
    ("score", "looks", "passed", "why"),
    [
        (LEAST + 1, ENOUGH, True, ""),
        (LEAST - 1, ENOUGH, False, "the shape of the face differs"),
        (LEAST + 1, ENOUGH - 1, False, "too little was seen"),
    ],
)
def test_both_the_movements_and_the_shape_count(
    begun: Challenge, score: float, looks: int, passed: bool, why: str
) -> None:
    """A stranger who moves as asked fails, and so does who was hardly seen from the front."""
    done = Person(begun).follows()
    found = result_of(done, Signs(0, 0, 0, 1, score, looks))
    assert found is not None
    assert (found.passed, found.moved) == (passed, True)
    assert why in found.why


def test_who_looks_alike_and_does_not_move_fails(begun: Challenge) -> None:
    """The portrait itself, held to the camera, is as like as can be."""
    person = Person(begun)
    person.shows(REST_S + WITHIN_S + 1.0)
    found = result_of(person.state, Signs(0, 0, 0, 1, 9.0, 500))
    assert found is not None
    assert (found.passed, found.like) == (False, True)


def test_there_is_no_result_before_the_end(begun: Challenge) -> None:
    """Nothing is said of a check that runs."""
    assert result_of(begun, Signs(0, 0, 0, 1)) is None


def test_signs_travel_as_numbers() -> None:
    """And come back as they were; what is none is told."""
    signs = Signs(1.5, -2.0, 0.25, 3, -4.5, 17)
    assert of_numbers(numbers(signs)) == signs
    for wrong in (None, {}, numbers(signs) | {"yaw": "x"}, numbers(signs) | {"yaw": float("nan")}):
        with pytest.raises(InputError):
            of_numbers(wrong)
