"""The figures of a generator whose edits have strengths of their own: directions of a person, parts of a layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from engine.errors import UneditedError
from engine.evaluate.changers import Changed
from engine.evaluate.subjects import Subject
from engine.plug import Generator
from engine.sweep.asked import CELL, Told
from engine.sweep.paper import Block, Cell, Row
from engine.sweep.views import head
from engine.types import LAYOUT_PARTS, Controls

SHARES = (-1.0, -0.5, 0.0, 0.5, 1.0)
"""Of an edit's reach to either side."""

Controlled = Callable[[Controls], Changed]


@dataclass(frozen=True, slots=True)
class Dial:
    """One edit. field: of Controls, a mapping that `name` is a key of. low, high: its reach, about 0."""

    field: str
    name: str
    low: float
    high: float

    def at(self, share: float) -> float:
        """The strength at a share of the reach, -1..1."""
        return share * (self.high if share > 0 else -self.low)

    def controls(self, share: float) -> Controls:
        asked: Mapping[str, float] = {self.name: self.at(share)}
        return Controls(directions=asked) if self.field == "directions" else Controls(layout=asked)


def dials(generator: Generator) -> list[Dial]:
    """The edits with strengths that a generator offers."""
    found = [Dial("directions", *one) for one in getattr(generator, "directions", ())]
    found += [Dial("layout", part, -1.0, 1.0) for part in LAYOUT_PARTS]
    return [one for one in found if one.field in generator.heeds]


def block(subject: Subject, made: Controlled, offered: Sequence[Dial], told: Told) -> Block:
    """A row per edit, from one end of its reach to the other."""

    def cell(dial: Dial, share: float) -> Cell:
        strength = f"{dial.at(share):g}"
        try:
            rgb = made(dial.controls(share)).rgb
        except UneditedError:
            return Cell(head(subject, subject.rgb, CELL), f"{strength}: nothing changed")
        finally:
            told()
        return Cell(head(subject, rgb, CELL), strength)

    source = Cell(head(subject, subject.rgb, CELL))
    rows = [Row(one.name, [source, *(cell(one, share) for share in SHARES)]) for one in offered]
    return Block("Strength of one edit, the others at 0", ["source"], rows)
