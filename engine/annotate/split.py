"""Who is held back for validation: by person, the same whatever else is prepared."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from engine.annotate.table import TRAIN, VALIDATION

RULE = "sha256 of 'marotte split 1', NUL and the person, its first 8 bytes as a share of 2^64, below `validation`"


def place(person: str) -> float:
    """A person's fixed place in 0..1."""
    digest = hashlib.sha256(f"marotte split 1\0{person}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2.0**64


def split(persons: Iterable[str], share: float) -> dict[str, str]:
    """Person to split. Of two persons or more one is held back at least, where share is above 0, and one is not."""
    ranked = sorted(set(persons), key=place)
    held = {person for person in ranked if place(person) < share}
    if len(ranked) > 1 and share > 0:
        held = held or {ranked[0]}
        held = held if len(held) < len(ranked) else set(ranked[:-1])
    return {person: VALIDATION if person in held else TRAIN for person in ranked}
