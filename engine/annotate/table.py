"""The rows of features.csv: names of its columns, their units, and how a number is written."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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

    def cells(self) -> dict[str, str]:
        """By column, all but the split, which depends on the persons alone."""
        texts = {
            "image": self.image,
            "person": self.person,
            "kind": self.kind,
            "base": self.base,
            "origin": self.origin,
            "licence": self.licence,
            "time_s": f"{self.time_s:.3f}",
            "sharpness": f"{self.sharpness:.4f}",
            "yaw": f"{self.pose.yaw:.2f}",
            "pitch": f"{self.pose.pitch:.2f}",
            "roll": f"{self.pose.roll:.2f}",
        }
        texts |= {name: f"{value:.4f}" for name, value in zip(AU_NAMES, self.aus)}
        asked = [""] * len(ASKED_NAMES) if self.asked is None else [f"{value:.4f}" for value in self.asked]
        texts |= dict(zip(ASKED_NAMES, asked))
        texts |= {f"x{k}": f"{x:.2f}" for k, x in enumerate(self.landmarks[:, 0])}
        return texts | {f"y{k}": f"{y:.2f}" for k, y in enumerate(self.landmarks[:, 1])}


def table_text(rows: Iterable[dict[str, str]]) -> str:
    """The whole of features.csv."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def sound_rows(content: object) -> list[dict[str, str]] | None:
    """Rows as they were kept beside an unfinished job, or None when they are not of this format."""
    if not isinstance(content, Sequence) or isinstance(content, str):
        return None
    expected = set(COLUMNS) - {"split"}
    whole = all(
        isinstance(row, dict) and set(row) == expected and all(isinstance(cell, str) for cell in row.values())
        for row in content
    )
    return list(content) if whole else None
