"""The pieces of an evaluation by layouts: portraits and clips, their figures and sheets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from engine.evaluate.items import PictureItem, Result, Tools
from engine.evaluate.layout_scores import FOLLOW, Answer, measure_layouts
from engine.evaluate.layouts import Seat, Wanted, clip_requests, portrait_requests
from engine.evaluate.request_sheets import figure
from engine.evaluate.subjects import Subject
from engine.parsing.colour import paint
from engine.sweep.paper import Block, Cell, Row, sheet
from engine.types import U8

_CELL = 150


@dataclass(frozen=True, slots=True)
class PortraitLayoutItem(PictureItem):
    """A portrait asked for other layouts of its face."""

    kind: str = "layouts"

    def measure(self, tools: Tools) -> tuple[Result, U8]:
        subject, mover = tools.subject(self.picture.path), tools.changers[0]
        return _measured(
            self.name, subject, tools, lambda seat: portrait_requests(subject, seat, mover, tools.tracker)
        )


@dataclass(frozen=True, slots=True)
class ClipLayoutItem(PictureItem):
    """A clip's calmest frame asked for the layouts of other frames."""

    kind: str = "clip_layouts"

    def measure(self, tools: Tools) -> tuple[Result, U8]:
        clip = tools.clip(self.picture.path)
        return _measured(self.name, clip.source, tools, lambda seat: clip_requests(clip, seat))


def _measured(
    name: str, subject: Subject, tools: Tools, requests: Callable[[Seat], Mapping[str, Wanted]]
) -> tuple[Result, U8]:
    assert tools.layouts is not None
    shown: dict[str, tuple[Wanted, Answer]] = {}

    def watch(request: str, wanted: Wanted, answer: Answer) -> None:
        shown[request] = wanted, answer

    scores = measure_layouts(subject, tools.layouts, requests, tools.tracker, watch)
    return scores, layout_sheet(f"{tools.layouts.name}: {name}", scores, shown)


def layout_sheet(title: str, scores: Mapping[str, Any], shown: Mapping[str, tuple[Wanted, Answer]]) -> U8:
    """A row per request: the picture that the layout is of, the layout, the answer, and the layout found in that."""
    rows = []
    for name, (wanted, answer) in shown.items():
        mouth, eyes = (_told(part, scores["requests"].get(name, {}).get(part)) for part in FOLLOW)
        cells = [
            None if wanted.shown is None else Cell(_large(wanted.shown)),
            Cell(_large(paint(wanted.labels), flat=True)),
            Cell(_large(answer.rgb), mouth),
            None if answer.labels is None else Cell(_large(paint(answer.labels), flat=True), eyes),
        ]
        rows.append(Row(name, cells))
    skin, hair = (figure(scores["delta_e"][part]) for part in ("skin", "hair"))
    note = f"IoU edited (unedited). Delta E of skin {skin}, hair {hair}."
    columns = ("taken from", "asked for", "answer", "found in it")
    return sheet(title, note, [Block("", columns, rows)], _CELL)


def _told(part: str, row: Mapping[str, Any] | None) -> str:
    if row is None or not row["asked"]:
        return ""
    return f"{part} {figure(row['edited'])} ({figure(row['unedited'])})"


def _large(rgb: U8, *, flat: bool = False) -> U8:
    """At the sheet's size. flat: with hard edges, as colours of classes are."""
    way = cv2.INTER_NEAREST if flat else cv2.INTER_CUBIC if len(rgb) < _CELL else cv2.INTER_AREA
    return np.ascontiguousarray(cv2.resize(rgb, (_CELL, _CELL), interpolation=way), np.uint8)
