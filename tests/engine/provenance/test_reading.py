"""What a reader's JSON, whose words are anybody's, is made of here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engine.provenance.reading import Part, parsed


def _store(*parts_of: list[str]) -> dict[str, Any]:
    """Manifests m0, m1, ..., each with ingredients of these manifests; m0 is the active one."""
    manifests = {
        f"m{number}": {"ingredients": [{"title": f"of {name}", "active_manifest": name} for name in names]}
        for number, names in enumerate(parts_of)
    }
    return {"manifests": manifests, "active_manifest": "m0", "validation_state": "Valid"}


def _all(parts: tuple[Part, ...]) -> Iterator[Part]:
    for part in parts:
        yield part
        yield from _all(part.parts)


def test_ingredients_that_fan_out_are_told_of_in_bounded_room() -> None:
    """Eight manifests of 64 times the next one would be 64 to the eighth parts: each is told of once."""
    found = list(_all(parsed(_store(*([f"m{number + 1}"] * 64 for number in range(8)), [])).parts))
    assert len(found) == 256
    wide = _store([f"m{number + 1}" for number in range(60)], *([f"x{part}" for part in range(60)],) * 60)
    assert len(list(_all(parsed(wide).parts))) == 256


def test_a_manifest_in_two_places_is_told_of_in_one() -> None:
    """Also one that is its own ingredient; whether it holds is said everywhere."""
    parts = parsed(_store(["m1", "m1", "m0"], ["m2"], [])).parts
    assert [len(part.parts) for part in parts] == [1, 0, 0]
    assert [part.state for part in parts] == ["valid"] * 3
