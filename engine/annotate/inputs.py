"""What is to be prepared: the files behind the names a user gave, their ids, persons, origins and licences."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.config import known
from engine.errors import ConfigError

PERSONS = ("file", "folder", "name")
"""How persons are told apart when no table names them: every file is one; all files of one folder are; all files whose
names agree up to their last underscore are."""

_NO_MEDIA = {".csv", ".html", ".json", ".md", ".npz", ".pkl", ".toml", ".txt", ".xml", ".yaml", ".yml"}
_MOST_TABLE_BYTES = 64 << 20
_NEEDED = ("path", "licence")


@dataclass(frozen=True, slots=True)
class Input:
    """One file. id: stem of its pictures' names. shown: as the user may know it, for messages."""

    path: Path
    id: str
    shown: str
    person: str
    origin: str
    licence: str


@dataclass(frozen=True, slots=True)
class Origin:
    """A line of the origins table."""

    origin: str
    licence: str
    person: str


def gather(
    given: Sequence[Path],
    *,
    persons: str = "file",
    licence: str = "",
    origins: Path | None = None,
    out: Path | None = None,
) -> list[Input]:
    """The files behind `given` files and folders (searched to the bottom), in order, each once.

    persons: one of PERSONS. licence: of everything that the table does not name. origins: a CSV with the columns path
    and licence, and perhaps origin, origin_path and person; a path there names a file by its last parts. out: the
    folder that is filled; where it lies inside an input, what was made there before is none. Raises ConfigError for a
    name that is not there, a bad table, or nothing to prepare.
    """
    known(persons, PERSONS, "persons")
    table = {} if origins is None else read_origins(origins)
    made = None if out is None else out.resolve()
    found: dict[Path, tuple[Path, Path]] = {}
    for root in given:
        for path in _files(root):
            if made is not None and made in path.resolve().parents:
                continue
            found.setdefault(path.resolve(), (path, root if root.is_dir() else root.parent))
    if not found:
        raise ConfigError("prepare: got no picture or clip, expected files, or folders that hold some")
    ids = _ids([path.relative_to(root) for path, root in found.values()])
    inputs = []
    for (path, root), name in zip(found.values(), ids):
        inside = path.relative_to(root)
        line = _line_of(path, table)
        person = line.person or _person(path, inside, name, persons)
        texts = (inside.as_posix(), person, line.origin, line.licence or licence or "unknown")
        inputs.append(Input(path, name, *(_writable(text) for text in texts)))
    return inputs


def read_origins(path: Path) -> dict[tuple[str, ...], Origin]:
    """The table by the parts of each path, last part first. Raises ConfigError when it is none."""
    try:
        if path.stat().st_size > _MOST_TABLE_BYTES:
            raise ConfigError(
                f"origins: {path} has more than {_MOST_TABLE_BYTES >> 20} MiB; expected a table"
            )
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"origins: {path} cannot be read ({error}); expected a CSV file in UTF-8"
        ) from error
    try:
        return _table(path, csv.DictReader(lines))
    except csv.Error as error:
        raise ConfigError(f"origins: {path} is no table ({error}); expected a CSV file") from error


def _table(path: Path, reader: csv.DictReader[str]) -> dict[tuple[str, ...], Origin]:
    missing = [name for name in _NEEDED if name not in (reader.fieldnames or ())]
    if missing:
        raise ConfigError(f"origins: {path} lacks the column {missing[0]!r}; expected {', '.join(_NEEDED)}")
    table: dict[tuple[str, ...], Origin] = {}
    for line in reader:
        named = Path(line["path"] or "")
        if named.parts:
            origin = ": ".join(text for text in (line.get("origin"), line.get("origin_path")) if text)
            table[tuple(reversed(named.parts))] = Origin(
                origin, line["licence"] or "", line.get("person") or ""
            )
    return table


def _line_of(path: Path, table: dict[tuple[str, ...], Origin]) -> Origin:
    """The line whose path is the longest end of this one."""
    parts = tuple(reversed(path.resolve().parts))
    for length in range(len(parts), 0, -1):
        if parts[:length] in table:
            return table[parts[:length]]
    return Origin("", "", "")


def _files(root: Path) -> list[Path]:
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise ConfigError(f"{root}: no such file or folder; expected pictures or clips")
    return sorted(
        path
        for path in root.rglob("*")
        if path.is_file()
        and path.suffix.lower() not in _NO_MEDIA
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
    )


def _ids(paths: Sequence[Path]) -> list[str]:
    """Unique, made of letters, digits, dots, dashes and underscores, whatever the file system tells apart."""
    stems = [
        re.sub(r"[^\w.-]+", "_", "__".join(path.with_suffix("").parts), flags=re.ASCII) for path in paths
    ]
    stems = [(stem.lstrip(".") or "file")[:80] for stem in stems]
    taken: Counter[str] = Counter()
    ids = []
    for stem in stems:
        name = stem
        while taken[name.lower()]:
            taken[stem.lower()] += 1
            name = f"{stem}~{taken[stem.lower()]}"
        taken[name.lower()] += 1
        ids.append(name)
    return ids


def _person(path: Path, inside: Path, name: str, rule: str) -> str:
    if rule == "folder":
        return inside.parent.as_posix() if inside.parent.parts else path.resolve().parent.name
    if rule == "name":
        return path.stem.rpartition("_")[0] or path.stem
    return name


def _writable(text: str) -> str:
    """Names of files may hold bytes that are no text."""
    return text.encode("utf-8", "replace").decode("utf-8")
