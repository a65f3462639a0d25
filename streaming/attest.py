"""Who allowed what to be shown: one line per accepted source, kept for good."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from engine.errors import ConfigError, StateError
from engine.media.wording import one_line
from engine.state import append_line, state_folder

FILE: Final = "attestations.jsonl"
MOST_STATEMENT: Final = 300
"""Characters of a statement."""
MOST_NAME: Final = 120
OPERATORS: Final = "The operator started the server with this source, and allows its use by doing so."
SAMPLES: Final = "The project's own drawn sample portrait: nobody's photograph."
# U+200C and U+200D, which Persian words and many emoji are written with: one at a time, between other characters.
_JOINER: Final = re.compile("(?<=[^\u200c\u200d])[\u200c\u200d](?=[^\u200c\u200d])")


@dataclass(frozen=True, slots=True)
class Attestation:
    """source: SHA-256 (hex) of the source's bytes. who: "page" or "operator". pictures: name and SHA-256 of each of
    several photos that were taken for one person. accepted: names of the acceptances given with them."""

    source: str
    name: str
    statement: str
    who: str
    pictures: tuple[tuple[str, str], ...] = ()
    accepted: tuple[str, ...] = ()


def checked_statement(statement: str | None) -> str:
    """One printable line. Raises ConfigError for none, for more, and for what a terminal would not show as it is."""
    text = (statement or "").strip()
    if not text:
        raise ConfigError(
            "statement: got none, expected one line that says who allows the use of this picture"
        )
    if len(text) > MOST_STATEMENT:
        raise ConfigError(f"statement: got {len(text)} characters, expected at most {MOST_STATEMENT}")
    hidden = next((letter for letter in _JOINER.sub("", text) if not letter.isprintable()), None)
    if hidden is not None:
        raise ConfigError(
            f"statement: it holds U+{ord(hidden):04X}, which is not shown as a character of its own; expected one "
            "plain line, without line breaks, control characters and marks that turn the direction of text"
        )
    return text


def shown_name(name: str | None) -> str:
    """A file's own name for messages and records: no folders, one printable line, not endless."""
    text = (name or "").replace("\\", "/").rsplit("/", 1)[-1].strip()
    joiners = {found.start() for found in _JOINER.finditer(text)}
    shown = (letter if letter.isprintable() or at in joiners else "?" for at, letter in enumerate(text))
    return "".join(shown)[:MOST_NAME] or "picture"


def record(attestation: Attestation, folder: Path | None = None) -> None:
    """Append one line and wait until it is on the disk. Blocks. Raises StateError when it could not be kept."""
    folder = state_folder() if folder is None else folder
    line: dict[str, Any] = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "sha256": attestation.source,
        "name": attestation.name,
        "statement": attestation.statement,
        "who": attestation.who,
    }
    if attestation.pictures:
        pictures = [{"name": name, "sha256": sum_} for name, sum_ in attestation.pictures]
        line |= {"pictures": pictures, "accepted": list(attestation.accepted)}
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        append_line(folder / FILE, json.dumps(line, ensure_ascii=False).encode())
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or error
        raise StateError(
            f"the statement for {attestation.name} could not be recorded in {one_line(folder / FILE)} ({words}), so "
            "the source is not used: name a folder that can be written to in MAROTTE_STATE"
        ) from error
