"""Enrolled bundles that are kept by the contents of all that decides them, so that the same is not tuned twice.

FOLDER/<key>/bundle/       as it was packed
             preview.png
             told.json     what was told of it, last
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engine.bundle import MANIFEST, RECORD, open_bundle, parse_manifest
from engine.errors import BundleError, InputError
from export.pack import Label
from export.place import placed, write

MOST: Final = 8
"""Bundles that are kept; the one that was not used for longest goes first."""

_BUNDLE, _PREVIEW, _TOLD = "bundle", "preview.png", "told.json"
_KEY: Final = re.compile("[0-9a-f]{64}")
"""The folder may hold what is somebody else's, which stays."""
_PART = 1 << 20


@dataclass(frozen=True)
class Kept:
    """One that was found. lines: for people."""

    folder: Path
    lines: tuple[str, ...]

    @property
    def bundle(self) -> Path:
        return self.folder / _BUNDLE

    @property
    def preview(self) -> Path:
        return self.folder / _PREVIEW


def key_of(files: Sequence[str], rules: Mapping[str, Any]) -> str:
    """SHA-256 over the contents of files, told by their digests, in whatever order they are, and plain data."""
    said = json.dumps([sorted(files), rules], sort_keys=True, allow_nan=False)
    return hashlib.sha256(said.encode()).hexdigest()


def digest_of(path: Path) -> str:
    """SHA-256 of a file. Raises InputError."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while part := file.read(_PART):
                digest.update(part)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    return digest.hexdigest()


def find(root: Path, key: str) -> Kept | None:
    """What is kept under this key, whole and unchanged; anything else there is removed."""
    folder = root / key
    if not folder.is_dir():
        return None
    try:
        told = json.loads((folder / _TOLD).read_text(encoding="utf-8"))
        open_bundle(folder / _BUNDLE)
        lines = tuple(map(str, told["lines"]))
        if not (folder / _PREVIEW).is_file():
            raise FileNotFoundError(_PREVIEW)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, BundleError):
        shutil.rmtree(folder, ignore_errors=True)
        return None
    with suppress(OSError):
        os.utime(folder)
    return Kept(folder, lines)


def keep(root: Path, key: str, bundle: Path, preview: Path, lines: Sequence[str]) -> bool:
    """Keep a bundle, whole or not at all; whether the disk took it."""
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".part.", dir=root))
        try:
            shutil.copytree(bundle, partial / _BUNDLE)
            shutil.copyfile(preview, partial / _PREVIEW)
            write(partial / _TOLD, (json.dumps({"lines": list(lines)}) + "\n").encode())
            shutil.rmtree(root / key, ignore_errors=True)
            partial.rename(root / key)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        ours = [path for path in root.iterdir() if _KEY.fullmatch(path.name) and (path / _TOLD).is_file()]
        for old in sorted(ours, key=lambda path: path.stat().st_mtime)[:-MOST]:
            shutil.rmtree(old, ignore_errors=True)
    except OSError:  # or another enrolment of the same photos took the place between two of these lines
        return (root / key / _TOLD).is_file()
    return True


def copy(found: Kept, out: Path, label: Label) -> None:
    """The bundle to `out`, under another label. Raises BundleError where it cannot be written."""
    table = json.loads((found.bundle / MANIFEST).read_text(encoding="utf-8"))
    table |= {"licence": label.licence, "commercial": label.commercial, "acceptance": label.acceptance}
    table |= {"origin": {"weights": label.weights, "data": label.data}, "consent": label.consent}
    table.pop("record", None)
    table |= label.stated_record
    if label.title is not None:
        table["title"] = label.title
    text = json.dumps(table, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    parse_manifest(text)
    with placed(out) as folder:
        for path in found.bundle.iterdir():
            if path.name not in (MANIFEST, RECORD):
                shutil.copyfile(path, folder / path.name)
        if label.record is not None:
            write(folder / RECORD, label.record)
        write(folder / MANIFEST, text.encode())
        open_bundle(folder, frozenset() if label.acceptance is None else frozenset({label.acceptance}))
