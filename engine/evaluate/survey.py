"""What stands in the two folders: clips and portraits with a face, and what was refused and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from engine.errors import ConfigError, InputError
from engine.evaluate.clip import Cut, Tracker, first_face
from engine.evaluate.measure import cut_portrait
from engine.evaluate.parts import Parts, digest, file_digest
from engine.evaluate.rules import Exclusion
from engine.evaluate.soundness import are_numbers, is_refusal

_NO_MEDIA = {".json", ".csv", ".md", ".txt", ".html", ".toml", ".yaml", ".yml"}


@dataclass(frozen=True, slots=True)
class Driver:
    """A clip with a face. first: its source frame. content: SHA-256 of the file."""

    name: str
    path: Path
    content: str
    first: int
    cut: Cut


@dataclass(frozen=True, slots=True)
class Portrait:
    """A picture with a face. content: SHA-256 of the file."""

    name: str
    path: Path
    content: str


def media_files(folder: Path) -> dict[str, Path]:
    """The files of a folder by stem, in order; two of one stem go by their full names. Raises ConfigError."""
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; expected one with clips or pictures")
    files = sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and not path.name.startswith(".") and path.suffix.lower() not in _NO_MEDIA
    )
    stems = Counter(path.stem for path in files)
    return {path.stem if stems[path.stem] == 1 else path.name: path for path in files}


def survey_drivers(
    folder: Path, tracker: Tracker, parts: Parts, code: str
) -> tuple[list[Driver], list[Exclusion]]:
    """The clips with a face, and those refused."""

    def look(path: Path) -> dict[str, Any]:
        first, cut = first_face(path, tracker)
        return {"first": first, "cut": astuple(cut)}

    found, refused = _survey(media_files(folder), "driver", look, _is_driver, parts, code)
    return [
        Driver(name, path, sha, row["first"], Cut(*row["cut"])) for name, path, sha, row in found
    ], refused


def survey_portraits(
    folder: Path, tracker: Tracker, parts: Parts, code: str
) -> tuple[list[Portrait], list[Exclusion]]:
    """The pictures with a face, and those refused."""

    def look(path: Path) -> dict[str, Any]:
        cut_portrait(path, tracker)
        return {}

    found, refused = _survey(media_files(folder), "portrait", look, _is_portrait, parts, code)
    return [Portrait(name, path, sha) for name, path, sha, _ in found], refused


def _is_driver(row: dict[str, Any]) -> bool:
    first, cut = row.get("first"), row.get("cut")
    if not are_numbers([first], 1) or not isinstance(cut, list) or not are_numbers(cut, 5):
        return False
    left, top, right, bottom, factor = cut
    whole = all(isinstance(one, int) and one >= 0 for one in (first, left, top, right, bottom))
    return whole and left < right and top < bottom and factor > 0


def _is_portrait(row: dict[str, Any]) -> bool:
    return not row


def _survey(
    files: dict[str, Path],
    kind: str,
    look: Callable[[Path], dict[str, Any]],
    is_whole: Callable[[dict[str, Any]], bool],
    parts: Parts,
    code: str,
) -> tuple[Sequence[tuple[str, Path, str, dict[str, Any]]], list[Exclusion]]:
    found: list[tuple[str, Path, str, dict[str, Any]]] = []
    refused: list[Exclusion] = []
    for name, path in files.items():
        content = file_digest(path)
        key = digest("survey", kind, content, code)
        row = parts.load(key)
        if row is None or not (is_refusal(row) or is_whole(row)):
            try:
                row = look(path)
            except InputError as error:
                row = {"refused": str(error)}
            parts.save(key, row)
        if "refused" in row:
            refused.append(Exclusion(f"{kind} {name}", "all", row["refused"]))
        else:
            found.append((name, path, content, row))
    return found, refused
