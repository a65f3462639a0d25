"""What every piece of an evaluation by requests or by layouts is: what it is given, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from engine.evaluate.changers import Changer
from engine.evaluate.clip import Tracker
from engine.evaluate.layouts import LayoutChanger
from engine.evaluate.pairs import ClipPairs, pairs_of
from engine.evaluate.requests import JUDGED_AUS
from engine.evaluate.subjects import MODE, Subject, read_subject
from engine.evaluate.transfers import Removal, Transfer
from engine.source import Segmenter
from engine.types import U8

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

    def clip(self, path: Path) -> ClipPairs:
        """A clip's calmest frame, and the frames that it is asked for."""
        return pairs_of(path, self.tracker, mode=self.measured, segmenter=self.segmenter)


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
class PictureItem:
    """A piece that one file decides: a portrait, or a clip."""

    picture: Picture

    @property
    def name(self) -> str:
        return self.picture.name

    @property
    def contents(self) -> tuple[str, ...]:
        return (self.picture.content,)
