"""The figures of a generator that takes donors: targets by donors, and the maps of each couple."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from engine.bundle import CropRule
from engine.crop import crop_of, cut
from engine.errors import InputError
from engine.evaluate.changers import Changed
from engine.evaluate.subjects import Subject
from engine.evaluate.transfers import OpenedTransfer
from engine.plug import Ports
from engine.sweep.paper import Block, Cell, Row
from engine.sweep.views import flow_picture, grey, head, sampled
from engine.types import F32, U8

CELL = 176
MOST_COUPLES = 8
"""Couples whose maps are drawn."""

Told = Callable[[], None]


@dataclass(frozen=True, slots=True, eq=False)
class Couple:
    """One transfer. flow: (2, S, S) in grid units; mask: (S, S) in 0..1; residual: (3, S, S) in -2..2; None where the
    generator gives none out."""

    target: Subject
    donor: Subject
    changed: Changed
    flow: F32 | None = None
    mask: F32 | None = None
    residual: F32 | None = None


def bring(transfer: OpenedTransfer, target: Subject, donor: Subject) -> Couple:
    """One transfer with its maps."""
    kept: dict[str, F32] = {}

    def tap(outputs: Ports) -> None:
        kept.update({name: np.array(array[0], np.float32) for name, array in outputs.items()})

    changed = transfer.bring(target, donor, tap)
    mask = kept.get("mask@0")
    return Couple(
        target,
        donor,
        changed,
        kept.get("flow@0"),
        None if mask is None else mask[0],
        kept.get("residual@0"),
    )


def couples(targets: Sequence[Subject], donors: Sequence[Subject]) -> Iterator[tuple[Subject, Subject]]:
    """Every donor for every target but itself."""
    for target in targets:
        for donor in donors:
            if donor is not target and donor.source.key != target.source.key:
                yield target, donor


def pictures(targets: Sequence[Subject], donors: Sequence[Subject]) -> int:
    """How many pictures `blocks` asks for."""
    return sum(1 for _ in couples(targets, donors)) + len(targets)


def blocks(
    targets: Sequence[Subject],
    donors: Sequence[Subject],
    transfer: OpenedTransfer,
    crop: CropRule,
    told: Told,
) -> list[Block]:
    """The grid of targets by donors, and flow, mask and residual of the first MOST_COUPLES couples.

    crop: how the network's square is cut. A removal stands at the end of a row, where the generator has one.
    """
    made: dict[tuple[str, str], Couple] = {}
    for target, donor in couples(targets, donors):
        made[target.name, donor.name] = bring(transfer, target, donor)
        told()
    rows = [Row("donor", [None, *(Cell(head(one, one.rgb, CELL)) for one in donors)])]
    removes = False
    for target in targets:
        cells: list[Cell | None] = [Cell(head(target, target.rgb, CELL))]
        for donor in donors:
            couple = made.get((target.name, donor.name))
            cells.append(None if couple is None else Cell(head(target, couple.changed.rgb, CELL)))
        gone = _removed(transfer, target)
        told()
        removes |= gone is not None
        cells.append(None if gone is None else Cell(head(target, gone.rgb, CELL)))
        rows.append(Row(target.name, cells))
    columns = ["target", *(one.name for one in donors), *(["taken away"] if removes else [])]
    grid = Block("The donor's attribute on each target", columns, rows)
    shown = [couple for couple in made.values() if couple.flow is not None][:MOST_COUPLES]
    return [grid, _maps(shown, crop)] if shown else [grid]


def _removed(transfer: OpenedTransfer, target: Subject) -> Changed | None:
    try:
        return transfer.remove(target, None)
    except InputError:  # this bundle takes nothing away
        return None


def _maps(shown: Sequence[Couple], crop: CropRule) -> Block:
    columns = ["target", "donor", "donor through the flow", "flow", "mask", "residual", "output"]
    rows = [Row(one.target.name, _cells(one, crop), f"with {one.donor.name}") for one in shown]
    note = (
        "Flow: hue is the direction in which the donor is sampled, strength its length. Mask: white takes the donor. "
        "Residual: grey changes nothing."
    )
    return Block("Flow, mask and residual", columns, rows, note)


def _cells(one: Couple, crop: CropRule) -> list[Cell | None]:
    target, donor = (
        cut(subject.rgb, crop_of(crop.rule, subject.source.face.points, CELL))
        for subject in (one.target, one.donor)
    )
    output = cut(one.changed.rgb, crop_of(crop.rule, one.target.source.face.points, CELL))
    if one.flow is None or one.mask is None or one.residual is None:
        return [Cell(target), Cell(donor), None, None, None, None, Cell(output)]
    residual = np.clip(np.rint(127.5 * (1.0 + one.residual.transpose(1, 2, 0))), 0, 255).astype(np.uint8)
    maps = (sampled(donor, _enlarged(one.flow)), flow_picture(one.flow), grey(one.mask), residual)
    return [Cell(target), Cell(donor), *(Cell(picture) for picture in maps), Cell(output)]


def _enlarged(flow: F32) -> F32:
    """A flow at CELL pixels; its grid units stay."""
    planes = [cv2.resize(plane, (CELL, CELL), interpolation=cv2.INTER_LINEAR) for plane in flow]
    return np.asarray(np.stack(planes), np.float32)


def faded(couple: Couple, share: float) -> U8:
    """The target with so much of the change."""
    target = couple.target.rgb
    mixed = cv2.addWeighted(couple.changed.rgb, share, target, 1.0 - share, 0.0)
    return np.asarray(mixed, np.uint8)
