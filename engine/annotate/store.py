"""The folder that is filled: what stands in it, whose it is, and what is done already."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.annotate.inputs import Input
from engine.annotate.labels import EXTRACTOR, EXTRACTOR_VERSION
from engine.annotate.table import FORMAT, sound_rows
from engine.annotate.work import Outcome, Settings
from engine.errors import ConfigError, StateError
from engine.evaluate.parts import Parts, digest, file_digest, write_json, write_text

PARTS = "parts"
"""Folder of what is done, one file per input: with it, the same job goes on, also with further inputs."""


PLACES = ("images", "parsing")


class Store:
    """`folder` with images/, parsing/ and the parts of an unfinished job. Raises ConfigError when something else
    stands there, or a data set prepared with other settings."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder = folder
        self._about = json.dumps([FORMAT, EXTRACTOR, EXTRACTOR_VERSION, asdict(settings)], sort_keys=True)
        self._parts = Parts(folder / PARTS)
        self._claim()
        for name in (*PLACES, PARTS):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def _claim(self) -> None:
        mark = self.folder / "settings.json"
        if mark.is_file():
            if mark.read_text(encoding="utf-8", errors="replace") != self._about + "\n":
                raise ConfigError(
                    f"{self.folder}: holds pictures prepared with other settings; name another folder, or remove it"
                )
            return
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise ConfigError(
                f"{self.folder}: is not empty and holds no prepared pictures; name another folder"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(mark, self._about + "\n")

    def key(self, one: Input) -> str:
        """What decides the part of one input: its bytes, its id and what is written about it."""
        return digest(self._about, file_digest(one.path), one.id, one.person, one.origin, one.licence)

    def load(self, key: str) -> Outcome | None:
        """A part, or None when it is not there or not whole."""
        part = self._parts.load(key)
        if part is None:
            return None
        rows, refused = sound_rows(part.get("rows")), part.get("refused")
        if rows is None or not isinstance(refused, list) or not all(_is_refusal(one) for one in refused):
            return None
        return Outcome(rows, [(name, reason, detail) for name, reason, detail in refused])

    def is_done(self, key: str) -> bool:
        """Whether a part is there with all its pictures."""
        part = self.load(key)
        return part is not None and all(
            (self.folder / place / f"{row[0]}.png").is_file() for row in part.rows for place in PLACES
        )

    def save(self, key: str, outcome: Outcome) -> None:
        """Raises StateError when the disk does not take it."""
        try:
            self._parts.save(key, {"rows": outcome.rows, "refused": outcome.refused})
        except OSError as error:
            raise StateError(
                f"{self.folder} could not be written ({error.strerror or error}): free some space, then run the "
                "same command again to go on"
            ) from error

    def discard(self, key: str) -> None:
        self._parts.discard(key)

    def there(self, keys: Iterable[str]) -> int:
        return self._parts.there(keys)

    def keep_only(self, images: set[str]) -> None:
        """Remove pictures of no row, left by a job that was ended between a picture and its part. Nothing else."""
        for place in PLACES:
            for path in (self.folder / place).iterdir():
                if path.stem not in images and path.suffix in (".png", ".part") and path.is_file():
                    path.unlink()

    def finish(self, dataset: dict[str, Any]) -> None:
        """The last file that is written makes the data set whole."""
        write_json(self.folder / "dataset.json", dataset)


def _is_refusal(one: object) -> bool:
    return isinstance(one, list) and len(one) == 3 and all(isinstance(text, str) for text in one)
