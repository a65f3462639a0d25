"""What is known about all pictures together, without keeping their rows in memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.annotate.table import KEPT, REAL, SYNTHESISED, Cells
from engine.annotate.work import Outcome
from engine.types import AU_NAMES

_AU = slice(KEPT.index(AU_NAMES[0]), KEPT.index(AU_NAMES[0]) + len(AU_NAMES))
_ASKED = slice(_AU.stop, _AU.stop + len(AU_NAMES))
_X = KEPT.index("x0")
_IMAGE, _PERSON, _KIND, _BASE, _ORIGIN, _LICENCE, _TIME = (
    KEPT.index(name) for name in ("image", "person", "kind", "base", "origin", "licence", "time_s")
)
_MOST_ASKED = 2


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture, as far as the report needs it. place: its row in the table, from 0. note: what was asked of it, or
    when it was seen."""

    image: str
    person: str
    base: str
    place: int
    note: str

    @property
    def kind(self) -> str:
        return SYNTHESISED if self.base else REAL


class Ledger:
    """Entries in the order of the table, AUs, origins and refusals."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.refused: list[tuple[str, str, str]] = []
        self.origins: Counter[tuple[str, str]] = Counter()
        self._aus: list[Any] = []

    def add(self, outcome: Outcome) -> None:
        """The rows and refusals of one input."""
        for cells in outcome.rows:
            self.entries.append(
                Entry(cells[_IMAGE], cells[_PERSON], cells[_BASE], len(self.entries), _note(cells))
            )
            self.origins[cells[_ORIGIN], cells[_LICENCE]] += 1
            self._aus.append(np.array(cells[_AU], np.float32))
        self.refused += outcome.refused

    @property
    def aus(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """float32 (N, 17), measured."""
        return np.array(self._aus, np.float32).reshape(-1, len(AU_NAMES))

    @property
    def reasons(self) -> dict[str, int]:
        """Refused pictures by reason."""
        return dict(sorted(Counter(reason for _, reason, _ in self.refused).items()))


def landmarks_of(cells: Cells) -> np.ndarray[Any, np.dtype[np.float32]]:
    """float32 (68, 2) of a row, in pixels of its picture."""
    return np.array(cells[_X:], np.float32).reshape(2, -1).T


def _note(cells: Cells) -> str:
    if not cells[_BASE]:
        return cells[_TIME]
    asked = sorted(
        ((abs(float(text)), text, name) for text, name in zip(cells[_ASKED], AU_NAMES)), reverse=True
    )
    return " ".join(f"{name[2:]}{float(text):+.1f}" for size, text, name in asked[:_MOST_ASKED] if size > 0)
