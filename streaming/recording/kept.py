"""The folder of recordings: what stands in it, and what is known of each.

FOLDER/<id>.part.mp4    being written: fragments, playable to the last whole one
       <id>.mp4         whole
       <id>.json        what it is and how it stands
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from engine.annotate.alone import Alone
from engine.errors import ConfigError, StateError
from engine.media.wording import one_line

RECORDING, FINISHING, READY = "recording", "finishing", "ready"
_STATES: Final = frozenset({RECORDING, FINISHING, READY})
_ID: Final = re.compile(r"\d{8}-\d{6}-[0-9a-f]{8}")
_LEFT: Final = re.compile(rf"\.{_ID.pattern}\..*(mp4|partial)")  # what a process that was killed had begun
_MOST_BYTES: Final = 1 << 20
_log = logging.getLogger("marotte.recordings")


@dataclass(frozen=True, slots=True)
class Kept:
    """One recording. state: recording; finishing (it has ended and is made whole and signed); ready. begun, ended: ISO
    8601. size: (width, height), None before the first picture. why: one of streaming.recording.taker.Why, or
    "server ended". signed: whether it holds a manifest; unsigned: for people, why not. statements: the session's, as
    they were signed while it ran, the first one first."""

    id: str
    session: str
    stream: str
    begun: str
    state: str = RECORDING
    ended: str = ""
    seconds: float = 0.0
    bytes: int = 0
    size: tuple[int, int] | None = None
    sound: bool = False
    why: str = ""
    told: str = ""
    signed: bool = False
    unsigned: str = ""
    statements: tuple[Mapping[str, Any], ...] = field(default=())


class Folder:
    """Held for this server alone. Every call blocks."""

    def __init__(self, folder: Path) -> None:
        """Raises ConfigError where another server has it, StateError where it cannot be written to."""
        self.path = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._alone = Alone(folder)
        except ConfigError as error:
            raise ConfigError(
                f"recordings: {one_line(folder)} is another server's; name another folder with --recordings"
            ) from error
        except OSError as error:
            raise _unwritable(folder, error) from error

    def close(self) -> None:
        self._alone.close()

    def new(self, session: str, stream: str) -> Kept:
        """Of now, not written down yet."""
        now = datetime.now(UTC)
        return Kept(f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(4)}", session, stream, _iso(now))

    def part(self, id: str) -> Path:
        """What is being written."""
        return self.path / f"{id}.part.mp4"

    def whole(self, id: str) -> Path:
        """What can be downloaded."""
        return self.path / f"{id}.mp4"

    def write(self, kept: Kept) -> Kept:
        """Raises StateError."""
        path = self.path / f"{kept.id}.json"
        partial = path.with_name(f".{path.name}.partial")
        try:
            text = json.dumps(dataclasses.asdict(kept), ensure_ascii=False)
            file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(file, "w", encoding="utf-8") as opened:
                opened.write(text + "\n")
            os.replace(partial, path)
        except OSError as error:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise _unwritable(path, error) from error
        return kept

    def turned(self, kept: Kept, **changes: Any) -> Kept:
        """The same with these fields, written down as far as the disk takes it."""
        kept = dataclasses.replace(kept, **changes)
        with suppress(StateError):  # a disk that is full: in memory it stands so all the same
            self.write(kept)
        return kept

    def read(self) -> list[Kept]:
        """Those of earlier runs, the oldest first. Of one that was cut off the part is there; what has neither a part
        nor a whole file is forgotten."""
        for left in [path for path in self.path.iterdir() if _LEFT.fullmatch(path.name)]:
            left.unlink(missing_ok=True)
        found = []
        for path in sorted(self.path.glob("*.json")):
            kept = _read(path)
            if kept is None:
                if _ID.fullmatch(path.stem):
                    _log.warning("recordings: %s is damaged, and left as it is", one_line(path.name))
                continue
            part, whole = self.part(kept.id).is_file(), self.whole(kept.id).is_file()
            if whole:
                if part:
                    self.part(kept.id).unlink(missing_ok=True)
                kept = kept if kept.state == READY else self.turned(kept, state=READY)
            elif part:
                kept = self.turned(
                    kept, state=FINISHING, why=kept.why or "server ended", ended=kept.ended or now()
                )
            else:
                path.unlink(missing_ok=True)
                continue
            found.append(kept)
        return found

    def remove(self, id: str) -> None:
        """All of it. Raises StateError where something stays."""
        try:
            for path in (self.part(id), self.whole(id), self.path / f"{id}.json"):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise StateError(
                f"recording {id}: it could not be removed ({error.strerror}); remove it by hand"
            ) from error

    def free_bytes(self) -> int:
        return shutil.disk_usage(self.path).free


def now() -> str:
    """ISO 8601."""
    return _iso(datetime.now(UTC))


def _iso(when: datetime) -> str:
    return when.isoformat(timespec="seconds")


def _read(path: Path) -> Kept | None:
    try:
        if path.stat().st_size > _MOST_BYTES:
            return None
        found: Any = json.loads(path.read_text(encoding="utf-8"))
        size = found["size"]
        kept = Kept(
            **found
            | {"size": None if size is None else (int(size[0]), int(size[1]))}
            | {"statements": tuple(found["statements"])}
        )
        sound = kept.id == path.stem and _ID.fullmatch(kept.id) is not None and kept.state in _STATES
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        OverflowError,
        RecursionError,
    ):
        return None
    return kept if sound else None


def _unwritable(path: Path, error: OSError) -> StateError:
    return StateError(
        f"{one_line(path)} cannot be written to ({error.strerror or error}); name another folder with --recordings"
    )
