"""The figures of a generator that is asked for action units: intensities, interpolation, random sets, masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from engine.annotate.labels import EXTRACTOR
from engine.bundle import CropRule, Parameters
from engine.crop import crop_of
from engine.evaluate.changers import Answer, Changed, picture_from
from engine.evaluate.subjects import Detector, Subject, number_of, read, with_au
from engine.features.action_units import OBSERVABLE
from engine.sweep.paper import Block, Cell, Row
from engine.sweep.views import grey, head, square
from engine.sweep.words import AU_TITLES
from engine.types import AU_NAMES, F32, U8

INTENSITIES = (0.0, 0.33, 0.66, 1.0)
STEPS = 7
"""Pictures of an interpolation, both ends counted."""
RANDOM_ROWS, RANDOM_COLUMNS = 3, 6
MOST_UNITS = 3
"""Most AUs of one random expression."""
CELL = 176

Told = Callable[[], None]
"""Is called after each picture."""


@dataclass(frozen=True, slots=True)
class Ends:
    """The two expressions of an interpolation. AUs by name; those that are not named are 0. None: the source's own."""

    first: str
    last: str
    first_aus: Mapping[str, float] | None
    last_aus: Mapping[str, float] | None

    def between(self, subject: Subject, share: float) -> F32:
        """`share` of the way from the first to the last, float32 (17,)."""
        start, end = (vector(one, subject) for one in (self.first_aus, self.last_aus))
        return np.asarray((1.0 - share) * start + share * end, np.float32)


def vector(aus: Mapping[str, float] | None, subject: Subject) -> F32:
    """All 17 AUs of an expression, float32 (17,)."""
    if aus is None:
        return subject.reading.aus
    return np.array([aus.get(name, 0.0) for name in AU_NAMES], np.float32)


def random_sets(seed: int, count: int, names: Sequence[str] = AU_NAMES) -> list[dict[str, float]]:
    """Expressions of 2 .. MOST_UNITS of the AUs `names`, each at .3 .. 1: the same ones for the same seed."""
    rng = np.random.default_rng(seed)
    sets = []
    for _ in range(count):
        units = rng.choice(len(names), min(len(names), int(rng.integers(2, MOST_UNITS + 1))), replace=False)
        sets.append({names[unit]: round(float(rng.uniform(0.3, 1.0)), 2) for unit in sorted(units)})
    return sets


def learnt(parameters: Parameters | None) -> tuple[str, ...]:
    """The AUs that a bundle can have learnt: of those that it was trained on, the ones that its extractor saw, for the
    others were 0 in every picture. Without a bundle all."""
    own = AU_NAMES if parameters is None or not parameters.aus else parameters.aus
    if parameters is None or parameters.extractor is None or parameters.extractor.name != EXTRACTOR:
        return own
    return tuple(name for name in own if name in OBSERVABLE) or own


def pictures(aus: Sequence[str], sets: Sequence[object], *, masks: bool) -> int:
    """How many pictures `blocks` asks for."""
    return len(aus) * (len(INTENSITIES) + masks) + STEPS + len(sets)


def blocks(
    subject: Subject,
    answer: Answer,
    detector: Detector,
    *,
    aus: Sequence[str],
    ends: Ends,
    sets: Sequence[Mapping[str, float]],
    crop: CropRule | None,
    mode: str,
    told: Told,
) -> list[Block]:
    """The figures for one source. crop: of a network, whose own answers are drawn as well. mode: what AUs are measured
    against, of engine.evaluate.subjects.MODES."""

    def made(asked: F32) -> Changed:
        changed = answer(asked)
        told()
        return changed

    return [
        _intensities(subject, made, detector, aus, mode),
        _interpolation(subject, made, ends),
        _random(subject, made, sets),
        *([_masks(subject, made, aus, crop)] if crop is not None else []),
    ]


def _intensities(subject: Subject, made: Answer, detector: Detector, aus: Sequence[str], mode: str) -> Block:
    view = partial(head, subject, side=CELL)
    rows = []
    for name in aus:
        cells = [Cell(view(subject.rgb), f"measured {subject.reading.aus[number_of(name)]:.2f}")]
        for level in INTENSITIES:
            rgb = made(with_au(subject.reading.aus, name, level)).rgb
            found = read(rgb, detector)
            seen = None if found is None else subject.aus_of(found, mode)[number_of(name)]
            cells.append(Cell(view(rgb), "no face" if seen is None else f"measured {seen:.2f}"))
        rows.append(Row(name, cells, AU_TITLES[name]))
    columns = ["source", *(f"{level:g}" for level in INTENSITIES)]
    return Block("Intensity of one action unit, the others as in the source", columns, rows)


def _interpolation(subject: Subject, made: Answer, ends: Ends) -> Block:
    shares = np.linspace(0.0, 1.0, STEPS)
    cells = [
        Cell(head(subject, made(ends.between(subject, float(share))).rgb, CELL), f"{share:.2f}")
        for share in shares
    ]
    heading = f"Linear interpolation from {ends.first} to {ends.last}"
    return Block(heading, [], [Row("", cells)])


def _random(subject: Subject, made: Answer, sets: Sequence[Mapping[str, float]]) -> Block:
    cells = [Cell(head(subject, made(vector(one, subject)).rgb, CELL), short(one)) for one in sets]
    rows = [Row("", cells[at : at + RANDOM_COLUMNS]) for at in range(0, len(cells), RANDOM_COLUMNS)]
    return Block("Random expressions", [], rows)


def _masks(subject: Subject, made: Answer, aus: Sequence[str], crop: CropRule) -> Block:
    """What was painted for each unit at 1, a column each."""
    answers = [made(with_au(subject.reading.aus, name, 1.0)) for name in aus]
    maps = [maps_of(subject, changed, crop, CELL) for changed in answers]
    rows = [Row("output", [Cell(head(subject, changed.rgb, CELL)) for changed in answers])]
    columns = [f"{name} at 1" for name in aus]
    if not any(maps):
        return Block("Whole units", columns, rows)
    for label, place in (("attention", 0), ("colour", 1)):
        rows.append(Row(label, [Cell(pair[place]) if pair else None for pair in maps]))
    note = "Attention: white keeps the source's pixel, black takes the colour's; grey lies beyond the network's square."
    return Block("Attention and colour masks", columns, rows, note)


def maps_of(subject: Subject, changed: Changed, rule: CropRule, side: int) -> list[U8]:
    """The network's attention and colour, where they lie on the head; none where it gives no such thing."""
    ports, size = changed.ports or {}, rule.size
    if not {"attention", "colour"} <= set(ports):
        return []
    colour = picture_from(ports["colour"], size)
    crop = crop_of(rule.rule, subject.source.face.points, size)
    return [
        square(one, crop, subject, side) for one in (grey(ports["attention"].reshape(size, size)), colour)
    ]


def short(aus: Mapping[str, float]) -> str:
    """AUs and intensities in a few letters: 12=0.8  26=0.4."""
    return "  ".join(f"{int(name[2:])}={value:.1f}" for name, value in aus.items())
