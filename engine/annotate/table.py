"""The rows of features.csv: names of its columns, their units, and how a number is written."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.media.unfinished import Unfinished
from engine.types import AU_NAMES, F32, HeadPose

FORMAT = 1
"""Version of the prepared folder, docs/dataset.md."""

REAL, SYNTHESISED = "real", "synthesised"
TRAIN, VALIDATION = "train", "validation"

ASKED_NAMES = tuple(f"asked_{name}" for name in AU_NAMES)
LANDMARKS = 68

COLUMNS = (
    "image", "person", "split", "kind", "base", "origin", "licence", "time_s", "sharpness",
    "yaw", "pitch", "roll", *AU_NAMES, *ASKED_NAMES,
    *(f"x{k}" for k in range(LANDMARKS)), *(f"y{k}" for k in range(LANDMARKS)),
)  # fmt: skip

_SPLIT = COLUMNS.index("split")
KEPT = (*COLUMNS[:_SPLIT], *COLUMNS[_SPLIT + 1 :])
"""The columns of a row as it is kept: all but the split, which depends on everybody who is prepared."""

Cells = list[str]


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One picture. aus: float32 (17,), 0..1, measured. asked: float32 (17,), offsets from the base, or None for a
    real picture. landmarks: float32 (68, 2) in pixels of the stored picture."""

    image: str
    person: str
    base: str
    origin: str
    licence: str
    time_s: float
    sharpness: float
    pose: HeadPose
    aus: F32
    asked: F32 | None
    landmarks: F32

    @property
    def kind(self) -> str:
        return SYNTHESISED if self.base else REAL

    def cells(self) -> Cells:
        """In the order of KEPT."""
        texts = [self.image, self.person, self.kind, self.base, self.origin, self.licence]
        texts += [f"{self.time_s:.3f}", f"{self.sharpness:.4f}"]
        texts += [f"{angle:.2f}" for angle in (self.pose.yaw, self.pose.pitch, self.pose.roll)]
        texts += [f"{value:.4f}" for value in self.aus]
        texts += [""] * len(ASKED_NAMES) if self.asked is None else [f"{value:.4f}" for value in self.asked]
        return texts + [f"{place:.2f}" for place in self.landmarks.T.ravel()]


def write_table(path: Path, rows: Iterable[Cells], sides: Mapping[str, str]) -> None:
    """features.csv, row by row, whole or not at all. sides: person to split. Raises InputError on a full disk."""
    person = KEPT.index("person")
    with Unfinished(path) as unfinished:
        try:
            with unfinished.path.open("w", encoding="utf-8", newline="") as stream:
                writer = csv.writer(stream, lineterminator="\n")
                writer.writerow(COLUMNS)
                for cells in rows:
                    writer.writerow([*cells[:_SPLIT], sides[cells[person]], *cells[_SPLIT:]])
        except OSError as error:
            raise unfinished.failed(error) from error


def sound_rows(content: object) -> list[Cells] | None:
    """Rows as they were kept, or None when they are not of this format."""
    if not isinstance(content, list):
        return None
    whole = all(
        isinstance(row, list) and len(row) == len(KEPT) and all(isinstance(cell, str) for cell in row)
        for row in content
    )
    return content if whole else None
