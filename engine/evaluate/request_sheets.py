"""Contact sheets of an evaluation by requests: what was asked, what came, and what was measured on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engine.crop import crop_of, cut
from engine.evaluate.changers import Changed
from engine.evaluate.pairs import UNCHANGED, ClipPairs
from engine.evaluate.subjects import Subject, number_of
from engine.sweep.paper import Block, Cell, Row, sheet
from engine.types import U8

_FACE, _CELL = 320, 150


def figure(value: float | None) -> str:
    """A number for a caption."""
    return "–" if value is None else f"{value:.2f}"


def face_of(subject: Subject, rgb: U8) -> U8:
    """The square about the subject's face out of a picture of it."""
    return cut(rgb, crop_of("face", subject.source.face.points, _FACE))


def mask_of(subject: Subject, changed: Changed) -> U8 | None:
    """The generated mask about the face as a grey picture, bright where the network painted; None where unknown."""
    if changed.generated is None:
        return None
    grey = cut(changed.generated, crop_of("face", subject.source.face.points, _FACE))
    return np.ascontiguousarray(np.repeat(grey[:, :, None], 3, axis=2))


def request_sheet(
    title: str, subject: Subject, scores: Mapping[str, Any], shown: Mapping[str, Mapping[float, Changed]]
) -> U8:
    """A row per AU: the source, each intensity, and where the network painted at the last one."""
    levels = sorted({level for answers in shown.values() for level in answers})
    rows = []
    for name, answers in shown.items():
        row = scores["aus"][name]
        measured = dict(zip(row["asked"], row["measured"], strict=True))
        cells: list[Cell | None] = [
            Cell(face_of(subject, subject.rgb), f"measured {figure(scores['own'][name])}")
        ]
        cells += [
            Cell(face_of(subject, answers[level].rgb), f"measured {figure(measured.get(level))}")
            for level in levels
        ]
        mask = mask_of(subject, answers[levels[-1]])
        cells.append(None if mask is None else Cell(mask, f"leak {figure(row['leak'])}"))
        rows.append(Row(name, cells, f"Spearman {figure(row['spearman'])}"))
    columns = ["source", *(f"asked {level:g}" for level in levels), f"painted at {levels[-1]:g}"]
    note = (
        f"Face PSNR at zero change {figure(scores['psnr_zero'])} dB, outside the face "
        f"{figure(scores['psnr_outside'])} dB, mean attention over the face {figure(scores['attention'])}."
    )
    return sheet(title, note, [Block("", columns, rows)], _CELL)


def pair_sheet(
    title: str, clip: ClipPairs, scores: Mapping[str, Any], shown: Mapping[str, Mapping[int, U8]]
) -> U8:
    """The real frames, and what each changer made of the source frame for them."""
    columns = [f"frame {target.index}" for target in clip.targets]
    real = [Cell(face_of(clip.source, target.rgb)) for target in clip.targets]
    still = [Cell(face_of(clip.source, clip.source.rgb)) for _ in clip.targets]
    rows = [Row("real", real), Row(UNCHANGED, still, _errors(scores[UNCHANGED]))]
    for name, made in shown.items():
        cells = [Cell(face_of(clip.source, made[target.index])) for target in clip.targets]
        rows.append(Row(name, cells, _errors(scores[name])))
    return sheet(title, "", [Block("", columns, rows)], _CELL)


def _errors(row: Mapping[str, float | None]) -> str:
    return "lip {} lid {}".format(
        *("–" if row[name] is None else f"{row[name]:.3f}" for name in ("lip", "lid"))
    )


def couple_sheet(
    title: str,
    attribute: str,
    people: Sequence[tuple[str, Subject]],
    changed: Changed,
    scores: Mapping[str, Any],
) -> U8:
    """The pictures that went in, what came out, and the mask."""
    target = people[0][1]
    cells: list[Cell | None] = [
        Cell(face_of(one, one.rgb), f"{attribute} {figure(one.reading.aus[number_of(attribute)])}")
        for _, one in people
    ]
    cells.append(Cell(face_of(target, changed.rgb), f"{attribute} {figure(scores['after'])}"))
    mask = mask_of(target, changed)
    cells.append(None if mask is None else Cell(mask))
    columns = [*(role for role, _ in people), "output", "mask"]
    return sheet(title, "", [Block("", columns, [Row("", cells)])], _CELL)
