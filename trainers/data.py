"""A prepared folder (docs/dataset.md, version 1), checked and opened for training. It knows nothing of the engine."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from trainers.errors import DataError, PictureError
from trainers.faces import (
    AU_NAMES,
    CACHE_BYTES,
    U8,
    Faces,
    resize_classes,
    resize_pixels,
    scale_landmarks,
)
from trainers.statistics import AuStatistics, check_aus

FORMAT = 1
LABELS = ("measured", "asked")
_SIDES = ("train", "validation")
_TEXTS = ("image", "person", "split", "kind", "base")
_ASKED = tuple(f"asked_{name}" for name in AU_NAMES)
_PLACES = (*(f"x{k}" for k in range(68)), *(f"y{k}" for k in range(68)))
_NEEDED = (*_TEXTS, *AU_NAMES, *_ASKED, *_PLACES)
_OPTIONAL = ("origin", "licence", "time_s", "sharpness", "yaw", "pitch", "roll")

Table = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Expected:
    """What a recipe asks of the data; an empty text asks for nothing. extractor: name; mode: static or dynamic; crop:
    rule."""

    extractor: str = ""
    mode: str = ""
    crop: str = ""


@dataclass(frozen=True)
class Prepared:
    """Both sides of a prepared folder. about: JSON for checkpoint.json's `data`. statistics: of the training AUs."""

    train: Faces
    validation: Faces
    about: Mapping[str, Any]
    statistics: AuStatistics


def open_prepared(
    folder: Path | str,
    size: int,
    *,
    expected: Expected | None = None,
    labels: Literal["measured", "asked"] = "measured",
    parsing: bool = False,
    cache_bytes: int = CACHE_BYTES,
) -> Prepared:
    """Read and check a prepared folder; pictures come at `size` pixels, by area averaging, landmarks with them.

    labels: `measured` takes the AUs as they were measured on each picture; `asked` takes for a synthesised one those of
    its base plus what was asked for, in 0..1: free of what the extractor mixes up or cannot see. Raises DataError for
    an unfinished or damaged folder, another format, extractor, mode or crop than expected, a bad table, or AUs from
    which nothing can be learnt. A picture that cannot be read is a PictureError when it is taken.
    """
    folder = Path(folder)
    if labels not in LABELS:
        raise DataError(f"labels: got {labels!r}, expected one of {', '.join(LABELS)}")
    if size < 1:
        raise DataError(f"size: got {size}, expected 1 pixel or more")
    about = _about(folder, expected or Expected())
    table = _table(folder / "features.csv")
    sides = {
        side: _side(
            folder, [row for row in table if row["split"] == side], about, size, labels, parsing, cache_bytes
        )
        for side in _SIDES
    }
    if not len(sides["train"]):
        raise DataError(f"{folder}: has no picture for training; prepare more persons, or hold fewer back")
    measured = sides["train"].aus
    if measured is None:
        raise DataError(f"{folder}: has no AUs; prepare the folder again")
    statistics = check_aus(measured.numpy(), str(folder))
    facts = {
        "extractor": about["extractor"],
        "mode": about["extractor"]["mode"],
        "crop": about["crop"],
        "aus": list(AU_NAMES),
        "labels": labels,
        "size": size,
        "pictures": {side: len(sides[side]) for side in _SIDES},
        "persons": {side: len(sides[side].persons) for side in _SIDES},
        "licences": sorted({one["licence"] for one in about.get("origins", [])}),
    }
    return Prepared(sides["train"], sides["validation"], facts, statistics)


def _about(folder: Path, expected: Expected) -> dict[str, Any]:
    path = folder / "dataset.json"
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected one made by `marotte prepare`")
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            f"{folder}: holds no dataset.json; `marotte prepare` writes it last, so run it (again) to the end"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: is no JSON that can be read ({error}); prepare the folder again") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        found = about.get("format") if isinstance(about, dict) else None
        raise DataError(
            f"{path}: has format {found!r}, expected {FORMAT}; prepare the folder with this version"
        )
    extractor, crop = about.get("extractor"), about.get("crop")
    if not (isinstance(extractor, dict) and isinstance(crop, dict)):
        raise DataError(f"{path}: lacks extractor or crop; prepare the folder again")
    for what, found, wanted in (
        ("extractor", extractor.get("name"), expected.extractor),
        ("mode", extractor.get("mode"), expected.mode),
        ("crop", crop.get("rule"), expected.crop),
    ):
        if not isinstance(found, str):
            raise DataError(f"{path}: states no {what}; prepare the folder again")
        if wanted and found != wanted:
            raise DataError(
                f"{folder}: its {what} is {found!r}, the recipe expects {wanted!r}; prepare it so, or change the recipe"
            )
    if not (isinstance(crop.get("size"), int) and crop["size"] > 0):
        raise DataError(
            f"{path}: crop.size is {crop.get('size')!r}, expected pixels; prepare the folder again"
        )
    return about


def _table(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            names = list(reader.fieldnames or ())
            table = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({error}); prepare the folder again") from error
    missing = [name for name in _NEEDED if name not in names]
    strange = [name for name in names if name not in (*_NEEDED, *_OPTIONAL) or names.count(name) > 1]
    if missing or strange:
        fault = f"lacks the column {missing[0]!r}" if missing else f"has a column {strange[0]!r} too many"
        raise DataError(f"{path}: {fault}; expected those of docs/dataset.md")
    for number, row in enumerate(table, 2):
        if None in row or None in row.values():
            raise DataError(
                f"{path}: line {number} has another number of cells than the header; is the file cut off?"
            )
    return table


def _side(
    folder: Path,
    rows: list[dict[str, str]],
    about: Mapping[str, Any],
    size: int,
    labels: str,
    parsing: bool,
    cache_bytes: int,
) -> Faces:
    stored = int(about["crop"]["size"])
    index = {row["image"]: place for place, row in enumerate(rows)}
    bases = [_base(row, index, folder) for row in rows]
    measured = _numbers(rows, AU_NAMES, folder)
    aus = measured if labels == "measured" else _asked(rows, measured, bases, folder)
    places = _numbers(rows, _PLACES, folder).reshape(len(rows), 2, 68).transpose(0, 2, 1)
    names = tuple(row["image"] for row in rows)
    return Faces(
        names,
        _Reader(folder / "images", names, stored, size, cv2.IMREAD_COLOR),
        size=size,
        aus=aus,
        landmarks=scale_landmarks(places, stored, size),
        parsing=_Reader(folder / "parsing", names, stored, size, cv2.IMREAD_GRAYSCALE) if parsing else None,
        persons=[row["person"] for row in rows],
        bases=bases,
        cache_bytes=cache_bytes,
    )


def _base(row: Mapping[str, str], index: Mapping[str, int], folder: Path) -> int:
    if row["kind"] not in ("real", "synthesised") or bool(row["base"]) != (row["kind"] == "synthesised"):
        raise DataError(
            f"{folder}: {row['image']} is {row['kind']!r} with base {row['base']!r}; prepare it again"
        )
    if row["base"] and row["base"] not in index:
        raise DataError(
            f"{folder}: {row['image']} has a base that is not in its split; prepare the folder again"
        )
    return index[row["base"]] if row["base"] else -1


def _asked(
    rows: Table, measured: npt.NDArray[np.float32], bases: Sequence[int], folder: Path
) -> npt.NDArray[np.float32]:
    """Measured for real pictures; what the base shows plus what was asked for, in 0..1, for synthesised ones."""
    made = [place for place, base in enumerate(bases) if base >= 0]
    offsets = _numbers([rows[place] for place in made], _ASKED, folder)
    aus = measured.copy()
    aus[made] = np.clip(measured[[bases[place] for place in made]] + offsets, 0.0, 1.0)
    return aus


def _numbers(rows: Table, names: Sequence[str], folder: Path) -> npt.NDArray[np.float32]:
    try:
        numbers = np.array([[float(row[name]) for name in names] for row in rows], np.float32)
    except ValueError as error:
        raise DataError(
            f"{folder / 'features.csv'}: {error}; expected numbers in {names[0]} .. {names[-1]}"
        ) from error
    return numbers.reshape(len(rows), len(names))


@dataclass(frozen=True)
class _Reader:
    """Index to a stored picture at `size`; how: cv2's flag, grey for parsing masks."""

    folder: Path
    names: tuple[str, ...]
    stored: int
    size: int
    how: int

    def __call__(self, index: int) -> U8:
        path = self.folder / f"{self.names[index]}.png"
        picture = cv2.imread(str(path), self.how)
        if picture is None:
            raise PictureError(f"{path}: is missing or damaged; prepare the folder again")
        if picture.shape[:2] != (self.stored, self.stored):
            raise PictureError(
                f"{path}: is {picture.shape[1]}x{picture.shape[0]}, expected {self.stored}x{self.stored}"
            )
        if self.how == cv2.IMREAD_GRAYSCALE:
            return resize_classes(np.asarray(picture, np.uint8), self.size)
        return resize_pixels(np.ascontiguousarray(picture[..., ::-1], np.uint8), self.size)
