"""Masks over time: flicker goes, what lasts comes through, and nothing outlives a face."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import InputError
from engine.parsing.classes import BISENET, CELEBAMASK, Parsing
from engine.parsing.steady import SteadyMajority, SteadyProbabilities, majority, one_hot
from engine.types import U8

STEP_S = 1 / 30


def _mask(*classes: int) -> Parsing:
    return Parsing(np.array([classes], np.uint8), CELEBAMASK)


def _shown(steady: SteadyProbabilities, masks: list[Parsing]) -> list[list[int]]:
    return [steady.update(mask, k * STEP_S).labels[0].tolist() for k, mask in enumerate(masks)]


def test_a_flickering_edge_stands_still() -> None:
    """A pixel that changes its class every frame keeps the one it began with; its neighbours are not touched."""
    flicker = [_mask(1, 13 if k % 2 else 1, 13) for k in range(30)]
    assert _shown(SteadyProbabilities(CELEBAMASK), flicker) == [[1, 1, 13]] * 30


def test_what_lasts_is_shown_after_the_lag() -> None:
    """An opening mouth comes through: after lag * ln 2 and the hold, and stays."""
    lag = 0.1
    shown = _shown(SteadyProbabilities(CELEBAMASK, lag, hold=0.0), [_mask(11)] + [_mask(10)] * 20)
    first = next(k for k, row in enumerate(shown) if row == [10])
    assert (first - 1) * STEP_S < lag * np.log(2) <= first * STEP_S
    assert all(row == [10] for row in shown[first:])
    assert _shown(SteadyProbabilities(CELEBAMASK, 0.0), [_mask(11), _mask(10)]) == [[11], [10]]


def test_probabilities_count_by_how_sure_they_are() -> None:
    """One sure frame outweighs doubtful ones, which votes cannot know."""
    steady = SteadyProbabilities(CELEBAMASK, lag_s=0.2, hold=0.0)
    doubtful = np.zeros((19, 1, 1), np.float32)
    doubtful[[1, 13], 0, 0] = 0.45, 0.55
    assert steady.update(one_hot(_mask(1).labels, 19), 0.0).labels[0, 0] == 1
    assert [steady.update(doubtful, k * STEP_S).labels[0, 0] for k in range(1, 6)] == [1] * 5


@pytest.mark.parametrize(("lag_s", "hold"), [(0.06, 0.3), (0.1, 0.0), (0.0, 0.3)])
def test_labels_are_followed_as_sure_probabilities_are(lag_s: float, hold: float) -> None:
    """Both ways in show the same classes, frame by frame, and what was given away is never changed again."""
    numbers = np.random.default_rng(8)
    by_label, by_share = (SteadyProbabilities(CELEBAMASK, lag_s, hold) for _ in range(2))
    kept = []
    for k in range(20):
        labels = numbers.integers(0, 4, (9, 7)).astype(np.uint8)
        found = by_label.update(Parsing(labels, CELEBAMASK), k * STEP_S).labels
        assert (found == by_share.update(one_hot(labels, 19), k * STEP_S).labels).all()
        kept.append((found, found.copy()))
    assert all((one == copy).all() for one, copy in kept)


@pytest.mark.parametrize("time_s", [-1.0, 0.7])
def test_a_pause_and_a_step_back_begin_anew(time_s: float) -> None:
    """What was shown long ago, or in another pass over the clip, does not colour the picture."""
    steady = SteadyProbabilities(CELEBAMASK, 0.4)
    steady.update(_mask(1), 0.0)
    assert steady.update(_mask(13), time_s).labels[0, 0] == 13


def test_another_size_and_a_reset_begin_anew() -> None:
    """A new crop is a new beginning, for both filters."""
    steady, most = SteadyProbabilities(CELEBAMASK, 0.4), SteadyMajority(CELEBAMASK)
    for update in (lambda one: steady.update(one, 0.0), most.update):
        update(_mask(1))
        assert update(_mask(13, 13)).labels.tolist() == [[13, 13]]
    steady.reset()
    most.reset()
    assert steady.update(_mask(2, 2), 0.01).labels.tolist() == [[2, 2]]
    assert most.update(_mask(2, 2)).labels.tolist() == [[2, 2]]


def test_the_majority_wins_and_of_equals_the_later() -> None:
    """Against counting by hand."""
    masks: list[U8] = [np.array([row], np.uint8) for row in ((1, 1, 4), (2, 1, 5), (2, 3, 6))]
    assert majority(masks, 19).tolist() == [[2, 1, 6]]
    steady = SteadyMajority(CELEBAMASK, 3)
    shown = [steady.update(_mask(k)).labels[0, 0] for k in (1, 13, 1, 13, 13, 1)]
    assert shown == [1, 13, 1, 13, 13, 13]


def test_labels_of_another_table_do_not_enter() -> None:
    """A filter that mixed two tables would vote for nonsense."""
    with pytest.raises(InputError, match="got labels of bisenet"):
        SteadyProbabilities(CELEBAMASK).update(Parsing(np.zeros((1, 1), np.uint8), BISENET), 0.0)
    with pytest.raises(InputError, match="got labels of bisenet"):
        SteadyMajority(CELEBAMASK).update(Parsing(np.zeros((1, 1), np.uint8), BISENET))
    for bad in (np.zeros((18, 1, 1), np.float32), np.full((19, 1, 1), np.nan, np.float32)):
        with pytest.raises(InputError, match="parsing: got probabilities"):
            SteadyProbabilities(CELEBAMASK).update(bad, 0.0)


def test_impossible_settings_are_refused() -> None:
    """Before the first frame."""
    for lag, hold in ((-1.0, 0.1), (float("nan"), 0.1), (0.1, 1.0)):
        with pytest.raises(ValueError, match="expected 0 or more"):
            SteadyProbabilities(CELEBAMASK, lag, hold)
    with pytest.raises(ValueError, match="odd"):
        SteadyMajority(CELEBAMASK, 4)
