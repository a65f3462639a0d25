"""A sweep as a video: source at the left, what is made of it at the right, and what is asked for below."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from engine.evaluate.changers import Answer
from engine.evaluate.subjects import Subject, with_au
from engine.marks import Marks, MarksConfig
from engine.media import VideoWriter
from engine.provenance.sealing import Sealer
from engine.sweep.asked import Ends, short, vector
from engine.sweep.given import Couple, faded
from engine.sweep.paper import GROUND, INK, MARGIN, QUIET, RULE, write
from engine.sweep.views import head
from engine.sweep.words import AU_TITLES
from engine.types import U8, Frame

RATE = 25
SIDE = 480
_RISE, _HOLD, _FALL, _MORPH, _STAY = 22, 8, 14, 12, 10
_TEXT = 22


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """One frame. title and note: what is asked for. share: of the bar below, 0..1."""

    source: U8
    output: U8
    title: str
    note: str
    share: float


def asked_frames(aus: Sequence[str], sets: Sequence[object]) -> int:
    """How many frames `asked_shots` gives."""
    return len(aus) * (_RISE + _HOLD + _FALL) + (2 * _RISE + _HOLD) + len(sets) * (_MORPH + _STAY)


def asked_shots(
    subject: Subject,
    answer: Answer,
    aus: Sequence[str],
    ends: Ends,
    sets: Sequence[Mapping[str, float]],
) -> Iterator[Shot]:
    """Each AU up and down, the interpolation from end to end, and from one random expression to the next."""
    source = head(subject, subject.rgb, SIDE)
    own = subject.reading.aus
    for name in aus:
        for level in _ramp(_RISE, _HOLD, _FALL):
            rgb = answer(with_au(own, name, level)).rgb
            yield Shot(source, head(subject, rgb, SIDE), f"{name}  {AU_TITLES[name]}", f"{level:.2f}", level)
    for share in _ramp(2 * _RISE, _HOLD, 0):
        rgb = answer(ends.between(subject, share)).rgb
        title = f"{ends.first} to {ends.last}"
        yield Shot(source, head(subject, rgb, SIDE), title, f"{share:.2f}", share)
    before = ends.between(subject, 1.0)
    for one in sets:
        after = vector(one, subject)
        for share in _ramp(_MORPH, _STAY, 0):
            asked = np.asarray((1.0 - share) * before + share * after, np.float32)
            yield Shot(
                source, head(subject, answer(asked).rgb, SIDE), "random expressions", short(one), share
            )
        before = after


def given_frames(couples: int) -> int:
    """How many frames `given_shots` gives."""
    return couples * (_RISE + 2 * _HOLD + _FALL)


def given_shots(couples: Sequence[Couple]) -> Iterator[Shot]:
    """Every couple: the donor at the left, and its attribute fading in and out at the right."""
    for couple in couples:
        source = head(couple.donor, couple.donor.rgb, SIDE)
        for share in _ramp(_RISE, 2 * _HOLD, _FALL):
            output = head(couple.target, faded(couple, share), SIDE)
            yield Shot(source, output, couple.target.name, f"from {couple.donor.name}", share)


def _ramp(rise: int, hold: int, fall: int) -> list[float]:
    up = 0.5 - 0.5 * np.cos(np.pi * np.linspace(0.0, 1.0, rise))
    down = 0.5 + 0.5 * np.cos(np.pi * np.linspace(0.0, 1.0, fall)) if fall else np.empty(0)
    return [float(value) for value in np.concatenate([up, np.ones(hold), down])]


def write_film(
    path: Path,
    shots: Iterator[Shot],
    title: str,
    told: Callable[[], None],
    marks: MarksConfig,
    session: str,
    sealer: Sealer,
) -> None:
    """Write a video, whole or not at all. session: what its watermark says. sealer: what signs it.

    Raises ConfigError or InputError where it cannot be written.
    """
    size = (2 * SIDE + 3 * MARGIN, SIDE + 2 * MARGIN + 4 * _TEXT)
    base = Fraction(1, RATE)
    marking = Marks.of(size, marks, session)
    seal = sealer(path)
    with VideoWriter(path, size, time_base=base, rate=Fraction(RATE), seal=seal, marks=marking) as writer:
        for number, shot in enumerate(shots):
            writer.write(Frame(_drawn(shot, title, size), number, base, number / RATE))
            told()


def _drawn(shot: Shot, title: str, size: tuple[int, int]) -> U8:
    paper = np.full((size[1], size[0], 3), GROUND, np.uint8)
    for place, picture in enumerate((shot.source, shot.output)):
        left = MARGIN + place * (SIDE + MARGIN)
        paper[MARGIN : MARGIN + SIDE, left : left + SIDE] = picture
    top, right = MARGIN + SIDE + 16, 2 * MARGIN + SIDE
    write(paper, title, (MARGIN, top), _TEXT - 4, QUIET)
    write(paper, shot.title, (right, top), _TEXT - 2, weight=600)
    write(paper, shot.note, (right, top + 30), _TEXT - 4, QUIET)
    bar = top + 66
    paper[bar : bar + 6, right : right + SIDE] = RULE
    paper[bar : bar + 6, right : right + round(shot.share * SIDE)] = INK
    return paper
