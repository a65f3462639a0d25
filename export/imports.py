"""`marotte import`: files of weights that were made elsewhere, turned into a checkpoint, with an account of every key.

Each system's own containers.py knows the layouts and the names, its module in export/official what they were fed with;
here is the door: which files, what they are, where the checkpoint and the account go. No code in a file is run.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engine.config import known
from engine.crop import RULES
from engine.errors import ConfigError
from export.official import Importer, Part
from export.place import check_place, placed, write
from export.systems import importer_of
from trainers import checkpoint
from trainers.checkpoint import Checkpoint
from trainers.containers import Account
from trainers.errors import CheckpointError

REPORT: Final = "import"
"""Stem of the account's two files in the checkpoint: .txt for people, .json for programs."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What was written."""

    folder: Path
    accounts: tuple[Account, ...]

    def text(self) -> str:
        """The accounts, for people."""
        return "\n".join(account.text() for account in self.accounts)


def import_files(
    system: str, files: Sequence[Path], out: Path, *, size: int | None = None, crop: str | None = None
) -> Imported:
    """Writes a checkpoint of one system from its files: the generator's, and the critic's where it is wanted.

    size: side of the pictures, where the files do not say it. crop: the rule by which the training's pictures were
    cut, where it was another than the official one. Raises ConfigError for a system that is not known, CheckpointError
    for a file that is not one of its networks, whole; nothing is written then.
    """
    importer = importer_of(system)
    if crop is not None:
        known(crop, RULES, "crop")
    if size is not None and not 16 <= size <= 4096:
        raise ConfigError(f"size: got {size}, expected pixels in 16 .. 4096")
    check_place(out, "checkpoint.json", frozenset({".safetensors", ".json", ".txt"}))
    parts: dict[str, Part] = {}
    for file in files:
        part = _named(file, importer, size)
        if part.network in parts:
            raise ConfigError(f"{file}: is a {part.network}, too; give one file for each network")
        parts[part.network] = part
    data = importer.data(parts, size)
    about = _about(system, parts, files, data, crop)
    accounts = tuple(part.account for part in parts.values())
    with placed(out) as folder:
        checkpoint.write(folder, about, {name: part.weights for name, part in parts.items()})
        imported = Imported(out, accounts)
        write(folder / f"{REPORT}.txt", f"{imported.text()}\n".encode())
        write(folder / f"{REPORT}.json", json.dumps(_table(files, accounts), indent=1).encode() + b"\n")
    return imported


def _named(file: Path, importer: Importer, size: int | None) -> Part:
    """Every fault names its file."""
    try:
        return importer.read(file, size)
    except CheckpointError as error:
        text = str(error)
        raise CheckpointError(text if text.startswith(str(file)) else f"{file}: {text}") from error


def _about(
    system: str, parts: Mapping[str, Part], files: Sequence[Path], data: dict[str, Any], crop: str | None
) -> Checkpoint:
    facts: dict[str, Any] = {}
    for part in parts.values():
        facts.update(part.facts)
    arguments = {name: dict(part.arguments) for name, part in parts.items()}
    origins = sorted({part.account.origin for part in parts.values()})
    facts["imported"] = [f"{file.name} ({', '.join(origins)} layout)" for file in files]
    if crop is not None:
        data["crop"] = {**data["crop"], "rule": crop}
    return Checkpoint(system, arguments, data=data, facts=facts)


def _table(files: Sequence[Path], accounts: Sequence[Account]) -> list[dict[str, Any]]:
    return [
        {"file": file.name, **dataclasses.asdict(account), "summary": account.summary()}
        for file, account in zip(files, accounts)
    ]
