"""Why something may not be shown, as it is told to whoever sits before the page."""

from __future__ import annotations

import pytest

from engine.denied import REFUSED
from streaming.withholding import with_next


@pytest.mark.parametrize(
    ("why", "step"),
    [
        (
            "the consent to it does not hold: it was revoked; next step: marotte consent add FILE",
            "add this one again",
        ),
        (f"a.png: {REFUSED}", "ask the operator"),
        ("the records of consent could not be looked at: x", "ask the operator"),
    ],
)
def test_one_step_is_told_and_it_can_be_taken(why: str, step: str) -> None:
    """Never two, no command of the operator's, and nobody is told to add again what is denied."""
    told = with_next(why)
    assert told.count("next step") == 1
    assert step in told
    assert "marotte" not in told
    assert ("add this one again" in told) == ("does not hold" in why)
