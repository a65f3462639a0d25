"""The pieces of an evaluation by requests, each measured by itself and kept: portraits, clips, couples, removals."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from engine.evaluate.changers import Changed, Changer
from engine.evaluate.clip import Tracker
from engine.evaluate.layouts import LayoutChanger
from engine.evaluate.pairs import Target, measure_pairs, pairs_of
from engine.evaluate.request_sheets import couple_sheet, pair_sheet, request_sheet
from engine.evaluate.requests import JUDGED_AUS, measure
from engine.evaluate.subjects import MODE, Subject, read_subject
from engine.evaluate.transfers import Removal, Transfer, measure_removal, measure_transfer
from engine.source import Segmenter
from engine.types import U8

SHOWN_AUS = ("AU12", "AU25", "AU26", "AU45", "AU01", "AU02", "AU04", "AU15")
"""AUs that the sheets show."""

Result = dict[str, Any]


@dataclass(slots=True, eq=False)
class Tools:
    """What measures and what is measured. changers: the first is judged, the others stand beside it on clips; none
    where the generator takes no requests. transfer: None where it takes no donor. layouts: what is told a layout in
    place of both; the first changer then makes the expressions. aus: those that are asked for.
    measured: one of engine.evaluate.subjects.MODES."""

    tracker: Tracker
    segmenter: Segmenter | None = None
    changers: tuple[Changer, ...] = ()
    transfer: Transfer | None = None
    removal: Removal | None = None
    layouts: LayoutChanger | None = None
    aus: tuple[str, ...] = JUDGED_AUS
    measured: str = MODE
    _subjects: dict[Path, Subject] = field(default_factory=dict)

    def subject(self, path: Path) -> Subject:
        """A portrait, read once."""
        if path not in self._subjects:
            self._subjects[path] = read_subject(path, self.tracker, segmenter=self.segmenter)
        return self._subjects[path]


@dataclass(frozen=True, slots=True)
class Picture:
    """A file. content: SHA-256 of its bytes."""

    name: str
    path: Path
    content: str


class Item(Protocol):
    """One piece. kind: the table of the report that it belongs to. contents: everything that decides it beside the
    generator and the code."""

    @property
    def kind(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def contents(self) -> tuple[str, ...]: ...

    def measure(self, tools: Tools) -> tuple[Result, U8]:
        """The figures, and a sheet of what was seen. Raises InputError where it cannot be used."""
        ...


@dataclass(frozen=True, slots=True)
class PortraitItem:
    """A portrait asked for its AUs, one by one."""

    picture: Picture
    kind: str = "requests"

    @property
    def name(self) -> str:
        return self.picture.name

    @property
    def contents(self) -> tuple[str, ...]:
        return (self.picture.content,)

    def measure(self, tools: Tools) -> tuple[Result, U8]:
        subject, changer = tools.subject(self.picture.path), tools.changers[0]
        names = [name for name in SHOWN_AUS if name in tools.aus] or tools.aus
        shown: dict[str, dict[float, Changed]] = {name: {} for name in names}

        def watch(name: str, level: float, changed: Changed) -> None:
            if name in shown:
                shown[name][level] = changed

        scores = measure(subject, changer, tools.tracker, aus=tools.aus, mode=tools.measured, watch=watch)
        return scores, request_sheet(f"{changer.name}: {self.name}", subject, scores, shown)


@dataclass(frozen=True, slots=True)
class ClipItem:
    """A clip's source frame asked for the AUs of other frames."""

    picture: Picture
    kind: str = "pairs"

    @property
    def name(self) -> str:
        return self.picture.name

    @property
    def contents(self) -> tuple[str, ...]:
        return (self.picture.content,)

    def measure(self, tools: Tools) -> tuple[Result, U8]:
        clip = pairs_of(self.picture.path, tools.tracker, mode=tools.measured, segmenter=tools.segmenter)
        shown: dict[str, dict[int, U8]] = {}

        def watch(name: str, target: Target, rgb: U8) -> None:
            shown.setdefault(name, {})[target.index] = rgb

        scores = measure_pairs(clip, tools.changers, tools.tracker, watch)
        return scores, pair_sheet(f"{tools.changers[0].name}: {self.name}", clip, scores, shown)


@dataclass(frozen=True, slots=True)
class CoupleItem:
    """A donor's attribute brought onto a target."""

    target: Picture
    donor: Picture
    attribute: str
    kind: str = "transfer"

    @property
    def name(self) -> str:
        return f"{self.attribute} {self.target.name}|{self.donor.name}"

    @property
    def contents(self) -> tuple[str, ...]:
        return (self.target.content, self.donor.content, self.attribute)

    def measure(self, tools: Tools) -> tuple[Result, U8]:
        assert tools.transfer is not None
        target, donor = tools.subject(self.target.path), tools.subject(self.donor.path)
        seen: list[Changed] = []
        scores = measure_transfer(
            target, donor, tools.transfer, self.attribute, tools.tracker, watch=seen.append
        )
        title = f"{tools.transfer.name}: {self.attribute} of {donor.name} onto {target.name}"
        people = [("target", target), ("donor", donor)]
        return scores | {"attribute": self.attribute}, couple_sheet(
            title, self.attribute, people, seen[0], scores
        )


@dataclass(frozen=True, slots=True)
class RemovalItem:
    """An attribute taken from a face. without: a face that has it not, None where there is none."""

    target: Picture
    without: Picture | None
    attribute: str
    kind: str = "removal"

    @property
    def name(self) -> str:
        return f"{self.attribute} {self.target.name}"

    @property
    def contents(self) -> tuple[str, ...]:
        return (self.target.content, self.without.content if self.without else "", self.attribute)

    def measure(self, tools: Tools) -> tuple[Result, U8]:
        assert tools.removal is not None
        target = tools.subject(self.target.path)
        donor = None if self.without is None else tools.subject(self.without.path)
        seen: list[Changed] = []
        scores = measure_removal(
            target, tools.removal, self.attribute, tools.tracker, donor=donor, watch=seen.append
        )
        title = f"{tools.removal.name}: {self.attribute} taken from {target.name}"
        sheet = couple_sheet(title, self.attribute, [("target", target)], seen[0], scores)
        return scores | {"attribute": self.attribute}, sheet
