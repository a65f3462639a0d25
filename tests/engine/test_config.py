from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from engine.config import from_mapping, known
from engine.errors import ConfigError


@dataclass(frozen=True)
class Inner:
    beta: float = 0.5

    def __post_init__(self) -> None:
        if self.beta < 0:
            raise ValueError("beta: expected >= 0")


@dataclass(frozen=True)
class Outer:
    name: str = "x"
    count: int = 1
    on: bool = False
    inner: Inner = field(default_factory=Inner)


def test_nested_tables_become_nested_dataclasses() -> None:
    """A TOML table fills a dataclass, whole numbers serve as floats, defaults stay."""
    made = from_mapping(Outer, {"count": 3, "inner": {"beta": 2}})
    assert made == Outer(count=3, inner=Inner(2.0))
    assert isinstance(made.inner.beta, float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cuont": 3}, "did you mean 'count'"),
        ({"inner": {"betta": 1}}, "option inner.betta.*did you mean 'beta'"),
        ({"count": "three"}, "option count: expected int, got 'three'"),
        ({"count": True}, "expected int, got True"),
        ({"on": 1}, "expected bool"),
        ({"inner": 4}, "expected a table"),
        ({"inner": {"beta": -1.0}}, "inner: beta: expected >= 0"),
    ],
)
def test_a_wrong_option_is_refused_with_what_would_be_right(values: dict[str, object], message: str) -> None:
    """An unknown key names the nearest one; a wrong type or range says what was expected."""
    with pytest.raises(ConfigError, match=message):
        from_mapping(Outer, values)


def test_a_name_far_from_all_lists_them() -> None:
    """Without a near name the choices themselves are the help."""
    with pytest.raises(ConfigError, match=r"got 'zzz'; expected one of auto, openvino"):
        known("zzz", ["openvino", "auto"], "backend")
