from __future__ import annotations

import numpy as np
import pytest

from engine.fallback import Fallback, FallbackConfig
from engine.types import Outcome

STILL = np.full((64, 64, 3), 10, np.uint8)
LAST = np.full((64, 64, 3), 110, np.uint8)
CONFIG = FallbackConfig(hold_s=0.5, fade_s=1.0)


def test_a_puppet_waits_holds_fades_and_rests() -> None:
    """Hold, then fade to the still portrait, in seconds of media time."""
    fallback = Fallback(CONFIG, STILL)
    picture, outcome = fallback.picture(0.0, (64, 64))
    assert outcome is Outcome.WAITING
    assert picture is STILL
    fallback.generated(LAST, 1.0)
    held, outcome = fallback.picture(1.4, (64, 64))
    assert outcome is Outcome.HELD
    assert held is LAST
    faded, outcome = fallback.picture(2.0, (64, 64))
    assert outcome is Outcome.FADED
    assert np.abs(faded.astype(int) - 60).max() <= 1
    assert fallback.picture(9.0, (64, 64))[0] is STILL


def test_a_clock_that_jumps_back_shows_the_still_portrait() -> None:
    """When in doubt the resting picture leaves: time that runs backwards is doubt."""
    fallback = Fallback(CONFIG, STILL)
    fallback.generated(LAST, 100.0)
    assert fallback.picture(3.0, (64, 64))[0] is STILL


def test_an_edited_driver_becomes_a_card_in_which_nothing_is_left_of_the_face() -> None:
    """In edit mode the last edited frame is held, then a blurred card: its detail is below a 12-pixel grid."""
    fine = np.zeros((96, 96, 3), np.uint8)
    fine[::2] = 255
    fallback = Fallback(CONFIG, None)
    grey, outcome = fallback.picture(0.0, (96, 96))
    assert outcome is Outcome.WAITING
    assert grey.shape == (96, 96, 3)
    assert np.ptp(grey) == 0
    fallback.generated(fine, 0.0)
    card = fallback.picture(5.0, (96, 96))[0]
    assert card.std() < 2
    assert fallback.picture(6.0, (96, 96))[0] is card


def test_no_fade_means_at_once() -> None:
    """fade_s = 0 switches without dividing by it."""
    fallback = Fallback(FallbackConfig(hold_s=0.0, fade_s=0.0), STILL)
    fallback.generated(LAST, 0.0)
    assert fallback.picture(0.0, (64, 64))[0] is STILL


def test_negative_times_are_refused() -> None:
    """Configuration is checked when it is made."""
    with pytest.raises(ValueError, match="seconds >= 0"):
        FallbackConfig(hold_s=-1.0)
