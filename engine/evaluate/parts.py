"""Results on disk, one file per clip and per pair, so that an interrupted evaluation goes on where it
stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

PROTOCOL = 1
"""Version of the protocol and of the files below."""


def write_text(path: Path, text: str) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        unfinished.write_text(text, encoding="utf-8")
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Any) -> None:
    """Indented, keys in their order, no NaN."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


class Parts:
    """The folder of the results. A part is found again only under the same key."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, key: str) -> Path:
        return self._folder / f"{key}.json"

    def load(self, key: str) -> dict[str, Any] | None:
        """A part, or None when it is not there or not whole."""
        try:
            content = json.loads(self.path(key).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        return content if isinstance(content, dict) else None

    def save(self, key: str, content: dict[str, Any]) -> None:
        write_json(self.path(key), content)

    def rows(
        self,
        files: Mapping[str, Path],
        key: Callable[[str, Path], str],
        row: Callable[[str, Path], dict[str, Any]],
        progress: Callable[[int, int], None] | None,
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """A row for each file by name, measured where it is not there yet, and why others have none: their row is
        {"refused": why}. progress: told after each how many are done, and of how many."""
        found, refused = dict[str, Any](), dict[str, str]()
        for done, (name, path) in enumerate(files.items()):
            known = key(name, path)
            one = self.load(known)
            if one is None:
                one = row(name, path)
                self.save(known, one)
            if "refused" in one:
                refused[name] = one["refused"]
            else:
                found[name] = one
            if progress is not None:
                progress(done + 1, len(files))
        return found, refused

    def discard(self, key: str) -> None:
        self.path(key).unlink(missing_ok=True)

    def there(self, keys: Iterable[str]) -> int:
        """How many of these parts are written."""
        return sum(self.path(key).is_file() for key in keys)


def digest(*pieces: str) -> str:
    """A key from pieces that together decide a result, 24 hex digits."""
    return hashlib.sha256("\0".join(pieces).encode()).hexdigest()[:24]


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def code_digest() -> str:
    """SHA-256 over the engine's own files: a result holds only for the code that made it."""
    return folder_digest(Path(str(resources.files("engine"))))


def folder_digest(folder: Path) -> str:
    """SHA-256 over names and bytes of a folder's files, compiled ones left out, hex."""
    total = hashlib.sha256()
    for path in sorted(
        path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ):
        total.update(path.relative_to(folder).as_posix().encode() + b"\0" + file_digest(path).encode())
    return total.hexdigest()
