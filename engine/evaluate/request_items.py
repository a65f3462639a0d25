"""The pieces of an evaluation by requests, each measured by itself and kept: portraits, clips, couples, removals."""

from __future__ import annotations

from dataclasses import dataclass

from engine.evaluate.changers import Changed
from engine.evaluate.items import Picture, PictureItem, Result, Tools
from engine.evaluate.pairs import Target, measure_pairs
from engine.evaluate.request_sheets import couple_sheet, pair_sheet, request_sheet
from engine.evaluate.requests import measure
from engine.evaluate.transfers import measure_removal, measure_transfer
from engine.types import U8

SHOWN_AUS = ("AU12", "AU25", "AU26", "AU45", "AU01", "AU02", "AU04", "AU15")
"""AUs that the sheets show."""


@dataclass(frozen=True, slots=True)
class PortraitItem(PictureItem):
    """A portrait asked for its AUs, one by one."""

    kind: str = "requests"

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
class ClipItem(PictureItem):
    """A clip's source frame asked for the AUs of other frames."""

    kind: str = "pairs"

    def measure(self, tools: Tools) -> tuple[Result, U8]:
        clip = tools.clip(self.picture.path)
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
