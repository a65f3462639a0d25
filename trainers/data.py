"""A prepared folder (docs/dataset.md, version 1), checked and opened for training. It knows nothing of the engine."""

from __future__ import annotations

import csv
import json
import math
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
from trainers.statistics import AuStatistics, check_aus, check_range

FORMAT = 1
LABELS = ("measured", "asked", "relative")
_SIDES = ("train", "validation")
_TEXTS = ("image", "person", "split", "kind", "base")
_ASKED = tuple(f"asked_{name}" for name in AU_NAMES)
_PLACES = (*(f"x{k}" for k in range(68)), *(f"y{k}" for k in range(68)))
_NEEDED = (*_TEXTS, *AU_NAMES, *_ASKED, *_PLACES)
_OPTION = {"mode": " (--mode {})", "crop": " (--crop {})"}
_OPTIONAL = ("origin", "licence", "time_s", "sharpness", "yaw", "pitch", "roll")


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
    labels: Literal["measured", "asked", "relative"] = "measured",
    parsing: bool = False,
    cache_bytes: int = CACHE_BYTES,
) -> Prepared:
    """Read and check a prepared folder; pictures come at `size` pixels, by area averaging, landmarks with them.

    labels: `measured` takes the AUs as they were measured on each picture; `asked` takes for a synthesised one those of
    its base plus what was asked for, in 0..1: free of what the extractor mixes up or cannot see. `relative` takes only
    what was asked for on top of the base, in -1..1, and 0 for real ones. Raises DataError for an unfinished or damaged
    folder, another format, extractor, mode or crop than expected, a bad table, or AUs from which nothing can be
    learnt. A picture that cannot be read is a PictureError when it is taken.
    """
    folder = Path(folder)
    if labels not in LABELS:
        raise DataError(f"labels: got {labels!r}, expected one of {', '.join(LABELS)}")
    if size < 1:
        raise DataError(f"size: got {size}, expected 1 pixel or more")
    about = _about(folder, expected or Expected())
    table = _table(folder / "features.csv")
    _check_sides(table, folder)
    sides = {
        side: _side(folder, table.side(side), about, size, labels, parsing, cache_bytes) for side in _SIDES
    }
    if not len(sides["train"]):
        raise DataError(f"{folder}: has no picture for training; prepare more persons, or hold fewer back")
    check_range(table.aus, str(folder))
    statistics = check_aus(
        table.side("train").aus if labels == "relative" else _aus(sides["train"]), str(folder)
    )
    facts = {
        "extractor": about["extractor"],
        "mode": about["extractor"]["mode"],
        "crop": about["crop"],
        "aus": list(AU_NAMES),
        "labels": labels,
        "size": size,
        "pictures": {side: len(sides[side]) for side in _SIDES},
        "persons": {side: len(sides[side].persons) for side in _SIDES},
        "licences": _licences(about, folder),
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
                f"{folder}: its {what} is {found!r}, the recipe expects {wanted!r}; "
                f"prepare it so{_OPTION.get(what, '').format(wanted)} into another folder, or change the recipe"
            )
    if not (isinstance(crop.get("size"), int) and crop["size"] > 0):
        raise DataError(
            f"{path}: crop.size is {crop.get('size')!r}, expected pixels; prepare the folder again"
        )
    return about


@dataclass
class _Table:
    """features.csv, or one side of it. texts: cells by column. aus: float32 (N, 17); asked: the same, NaN for real
    pictures; places: float32 (N, 68, 2)."""

    texts: dict[str, list[str]]
    aus: npt.NDArray[np.float32]
    asked: npt.NDArray[np.float32]
    places: npt.NDArray[np.float32]

    def side(self, split: str) -> _Table:
        kept = [place for place, one in enumerate(self.texts["split"]) if one == split]
        texts = {name: [cells[place] for place in kept] for name, cells in self.texts.items()}
        return _Table(texts, self.aus[kept], self.asked[kept], self.places[kept])


def _licences(about: Mapping[str, Any], folder: Path) -> list[str]:
    try:
        return sorted({str(one["licence"]) for one in about["origins"]})
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{folder / 'dataset.json'}: states no licences in `origins`; prepare the folder again"
        ) from error


def _table(path: Path) -> _Table:
    """Row by row into arrays: as text a large table would take gigabytes."""
    texts: dict[str, list[str]] = {name: [] for name in _TEXTS}
    numbers: list[npt.NDArray[np.float32]] = []
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.reader(stream)
            names = next(reader, [])
            _check_names(names, path)
            text_places = [names.index(name) for name in _TEXTS]
            number_places = [names.index(name) for name in (*AU_NAMES, *_PLACES, *_ASKED)]
            for row in reader:
                if len(row) != len(names):
                    fault = f"line {reader.line_num} has {len(row)} cells, the header {len(names)}"
                    raise DataError(f"{path}: {fault}; is the file cut off?")
                for name, place in zip(_TEXTS, text_places):
                    texts[name].append(row[place])
                numbers.append(_numbers([row[place] for place in number_places], path, reader.line_num))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({error}); prepare the folder again") from error
    table = np.array(numbers, np.float32).reshape(len(numbers), len(_NEEDED) - len(_TEXTS))
    aus, places, asked = np.split(table, [len(AU_NAMES), len(AU_NAMES) + len(_PLACES)], axis=1)
    return _Table(texts, aus, asked, places.reshape(len(numbers), 2, 68).transpose(0, 2, 1))


def _check_sides(table: _Table, folder: Path) -> None:
    """Every row on one of the two sides, and every person on one alone."""
    sides: dict[str, str] = {}
    for name, person, split in zip(*(table.texts[column] for column in ("image", "person", "split"))):
        if split not in _SIDES:
            raise DataError(f"{folder}: {name} is of a split {split!r}, expected {' or '.join(_SIDES)}")
        if sides.setdefault(person, split) != split:
            raise DataError(
                f"{folder}: {person!r} is in training and held back too; prepare the folder again"
            )
        if name != Path(name).name:
            raise DataError(f"{folder}: {name!r} is no id of a picture; prepare the folder again")
    if not np.isfinite(table.places).all():
        raise DataError(f"{folder}: features.csv has landmarks that are not finite; prepare the folder again")


def _aus(faces: Faces) -> npt.NDArray[np.float32]:
    return np.zeros((0, len(AU_NAMES)), np.float32) if faces.aus is None else faces.aus.numpy()


def _check_names(names: Sequence[str], path: Path) -> None:
    missing = [name for name in _NEEDED if name not in names]
    strange = [name for name in names if name not in (*_NEEDED, *_OPTIONAL) or names.count(name) > 1]
    if missing or strange:
        fault = f"lacks the column {missing[0]!r}" if missing else f"has a column {strange[0]!r} too many"
        raise DataError(f"{path}: {fault}; expected those of docs/dataset.md")


def _numbers(cells: Sequence[str], path: Path, line: int) -> npt.NDArray[np.float32]:
    """AUs and places, then what was asked, which is empty for a real picture."""
    needed = len(cells) - len(_ASKED)
    try:
        found = [float(cell) for cell in cells[:needed]]
        asked = [float(cell) for cell in cells[needed:]] if any(cells[needed:]) else [math.nan] * len(_ASKED)
    except ValueError as error:
        raise DataError(f"{path}: line {line}: {error}; expected AUs and landmarks as numbers") from error
    return np.array(found + asked, np.float32)


def _side(
    folder: Path,
    table: _Table,
    about: Mapping[str, Any],
    size: int,
    labels: str,
    parsing: bool,
    cache_bytes: int,
) -> Faces:
    stored = int(about["crop"]["size"])
    names = tuple(table.texts["image"])
    bases = _bases(table, folder)
    return Faces(
        names,
        _Reader(folder / "images", names, stored, size, cv2.IMREAD_COLOR),
        size=size,
        aus=_labels(table, bases, folder, labels),
        landmarks=scale_landmarks(table.places, stored, size),
        parsing=_Reader(folder / "parsing", names, stored, size, cv2.IMREAD_GRAYSCALE) if parsing else None,
        persons=table.texts["person"],
        bases=bases,
        cache_bytes=cache_bytes,
    )


def _bases(table: _Table, folder: Path) -> list[int]:
    index = {name: place for place, name in enumerate(table.texts["image"])}
    bases = []
    for name, kind, base in zip(*(table.texts[column] for column in ("image", "kind", "base"))):
        if kind not in ("real", "synthesised") or bool(base) != (kind == "synthesised"):
            raise DataError(f"{folder}: {name} is {kind!r} with base {base!r}; prepare the folder again")
        if base and base not in index:
            raise DataError(f"{folder}: {name} has a base that is not in its split; prepare the folder again")
        bases.append(index[base] if base else -1)
    if len(index) != len(bases):
        raise DataError(f"{folder}: features.csv has a picture twice; prepare the folder again")
    return bases


def _labels(table: _Table, bases: Sequence[int], folder: Path, labels: str) -> npt.NDArray[np.float32]:
    if labels == "measured":
        return table.aus
    made = [place for place, base in enumerate(bases) if base >= 0]
    asked = table.asked[made]
    if not np.isfinite(asked).all():
        raise DataError(
            f"{folder}: a synthesised picture does not say what was asked; prepare the folder again"
        )
    if labels == "relative":
        aus = np.zeros_like(table.aus)
        aus[made] = asked
        return aus
    aus = table.aus.copy()
    aus[made] = np.clip(table.aus[[bases[place] for place in made]] + asked, 0.0, 1.0)
    return aus


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
