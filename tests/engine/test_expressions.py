"""Named expressions."""

from __future__ import annotations

import pytest

from engine.errors import ConfigError
from engine.expressions import EXPRESSIONS, expression
from engine.types import AU_NAMES, Controls


def test_fear_is_what_facs_says() -> None:
    """A name stands for its AUs, in the order of AU_NAMES, scaled by a strength."""
    assert list(expression("fear")) == ["AU01", "AU02", "AU04", "AU05", "AU07", "AU20", "AU26"]
    assert set(expression("fear").values()) == {1.0}
    assert expression("happiness", 0.5) == {"AU06": 0.5, "AU12": 0.5}
    assert expression("neutral") == {}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_every_expression_can_be_set(name: str) -> None:
    """Each is a valid set of offsets."""
    found = expression(name)
    assert Controls(au_offsets=found).au_offsets == found
    assert set(found) <= set(AU_NAMES)


def test_an_unknown_expression_names_the_nearest() -> None:
    """A slip of the pen is told."""
    with pytest.raises(ConfigError, match="did you mean 'happiness'"):
        expression("hapiness")
