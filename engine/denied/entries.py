"""One entry of the deny-list as a file: JSON, at most 512 KiB, no key that is not known, nothing guessed.

    {"format": 1, "id": .., "added": .., "why": .., "sha256": [..], "hashes": [base64, ..], "frames": base64,
     "template": null or {..}}

No file name and nobody's name stands in it but what the operator writes as `why`, and no picture can be made of it.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import stat
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from engine.denied.hashing import BYTES, MOST_HASHES
from engine.denied.shapes import Template, utc
from engine.errors import ConfigError, StateError
from engine.media.wording import one_line
from engine.schema import strict_json
from engine.types import U8

MOST_BYTES: Final = 512 << 10
MOST_SUMS: Final = 64
MOST_PICTURES: Final = 8
"""Of one entry: the photos of one person."""
MOST_FRAMES: Final = 512
"""Of one entry: of a clip."""
MOST_WHY: Final = 300
SUFFIX: Final = ".json"

_FORMAT: Final = 1
_KEYS: Final = frozenset({"format", "id", "added", "why", "sha256", "hashes", "frames", "template"})
_ID: Final = re.compile(r"[0-9a-f]{12}")
_SUM: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """What is denied. id: 12 hex digits. why: one line. sha256s: of files and of sources, hex. hashes: of each picture
    as engine.denied.hashing.hashes_of gives them. frames: the first one of each of a clip's, (N, 32). template: of its
    face's shape, where that is kept."""

    id: str
    added: datetime
    why: str
    sha256s: tuple[str, ...] = ()
    hashes: tuple[U8, ...] = ()
    frames: U8 = field(default_factory=lambda: np.zeros((0, BYTES), np.uint8))
    template: Template | None = None


def checked_why(why: str | None) -> str:
    """One printable line. Raises ConfigError."""
    text = (why or "").strip()
    if not text or len(text) > MOST_WHY or not text.isprintable():
        raise ConfigError(
            f"why: expected one printable line of 1 .. {MOST_WHY} characters: on whose report, and when"
        )
    return text


def checked_sum(text: str) -> str:
    """A SHA-256 in hex. Raises ConfigError."""
    found = text.strip().lower()
    if not _SUM.fullmatch(found):
        raise ConfigError(f"sha256: got {text[:80]!r}, expected 64 hex digits")
    return found


def is_id(text: str) -> bool:
    """Whether it is an entry's."""
    return _ID.fullmatch(text) is not None


def written(entry: Entry) -> bytes:
    """As it stands in its file."""
    told = {
        "format": _FORMAT,
        "id": entry.id,
        "added": entry.added.isoformat(timespec="seconds"),
        "why": entry.why,
        "sha256": list(entry.sha256s),
        "hashes": [_text(one) for one in entry.hashes],
        "frames": _text(entry.frames),
        "template": None if entry.template is None else entry.template.told(),
    }
    return json.dumps(told, ensure_ascii=False, indent=1).encode() + b"\n"


def parse(data: bytes) -> Entry:
    """An entry out of its bytes. Raises ValueError for anything else."""
    if len(data) > MOST_BYTES:
        raise ValueError(f"it has {len(data)} bytes, expected at most {MOST_BYTES}")
    try:
        told: Any = strict_json(data.decode())
    except (RecursionError, UnicodeDecodeError) as error:
        raise ValueError("it is no JSON") from error
    if not isinstance(told, dict) or set(told) != _KEYS or told["format"] != _FORMAT:
        raise ValueError("it has not the keys of an entry")
    return Entry(
        _matching(_ID, told["id"]),
        _time(told["added"]),
        _why(told["why"]),
        tuple(_matching(_SUM, one) for one in _listed(told["sha256"], MOST_SUMS)),
        tuple(_hashes(one, 1, MOST_HASHES) for one in _listed(told["hashes"], MOST_PICTURES)),
        _hashes(told["frames"], 0, MOST_FRAMES),
        None if told["template"] is None else Template.of(told["template"]),
    )


def read_file(path: Path) -> Entry:
    """Raises StateError with what to do: a list that cannot be read in full denies everything."""
    flags = (
        os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    )
    try:
        with os.fdopen(os.open(path, flags), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ValueError("it is not a plain file")
            entry = parse(file.read(MOST_BYTES + 1))
        if entry.id != path.name.removesuffix(SUFFIX):
            raise ValueError("its id is not its name")
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise StateError(
            f"the deny-list cannot be read, so no source is used: {one_line(path)} ({why}); repair it, or take it out: "
            f"marotte deny remove {one_line(path.name.removesuffix(SUFFIX))}"
        ) from error
    return entry


def _matching(pattern: re.Pattern[str], value: object) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(f"{str(value)[:80]!r} is not as it should be")
    return value


def _listed(value: object, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise ValueError(f"expected a list of at most {most}")
    return value


def _why(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable() or not 1 <= len(value) <= MOST_WHY:
        raise ValueError("its why is no printable line")
    return value


def _time(value: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError("its time is none")
    return utc(value)


def _text(hashes: U8) -> str:
    return base64.b64encode(hashes.tobytes()).decode()


def _hashes(value: object, least: int, most: int) -> U8:
    if not isinstance(value, str):
        raise ValueError("a hash is no text")
    try:
        data = base64.b64decode(value.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError("a hash is no base64") from error
    if len(data) % BYTES or not least * BYTES <= len(data) <= most * BYTES:
        raise ValueError(f"hashes have {len(data)} bytes, expected {least} to {most} of {BYTES}")
    return np.frombuffer(data, np.uint8).reshape(-1, BYTES)
