"""Appearance transfer: which parts of a person are another one's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.errors import ConfigError
from engine.generators.liquid_warping.given import Numbers
from engine.mesh.layout import Layout
from engine.mesh.selection import faces_of
from engine.puppet import Picture


@dataclass(frozen=True, slots=True, eq=False)
class Wear:
    """parts: by name. pictures: of the person who gives them."""

    parts: tuple[str, ...]
    pictures: tuple[Picture, ...]


def read_wear(given: Sequence[str]) -> tuple[Wear, ...]:
    """PARTS=PICTURE, PARTS divided by commas; the same parts named again are further pictures of the same person.

    Raises ConfigError for what is not of that form.
    """
    found: dict[tuple[str, ...], list[Picture]] = {}
    for one in given:
        names, equals, picture = one.partition("=")
        parts = tuple(name.strip().lower() for name in names.split(","))
        if not (equals and picture and all(parts)):
            raise ConfigError(f"wear: got {one!r}, expected parts and a picture: torso,legs=OTHER.jpg")
        found.setdefault(parts, []).append(picture)
    return tuple(Wear(parts, tuple(pictures)) for parts, pictures in found.items())


def shares(layout: Layout, wear: Sequence[Wear]) -> list[Numbers]:
    """For each of them the numbers of the mesh's faces that are taken from them.

    Raises ConfigError for a part that the mesh has not, and for one that two persons are to give.
    """
    taken = np.zeros(layout.count, bool)
    found = []
    for one in wear:
        faces = faces_of(layout, one.parts)
        if taken[faces].any():
            raise ConfigError(
                f"wear: {','.join(one.parts)} overlaps parts named before; expected each part once"
            )
        taken[faces] = True
        found.append(faces)
    return found
