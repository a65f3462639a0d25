"""What people write into a record: one printable line each, shown everywhere as it was written."""

from __future__ import annotations

import re
from typing import Final

from engine.errors import ConfigError

MOST_STATEMENT: Final = 300
"""Characters of a statement."""
MOST_NAME: Final = 120
# U+200C and U+200D, which Persian words and many emoji are written with: one at a time, between other characters.
_JOINER: Final = re.compile("(?<=[^\u200c\u200d])[\u200c\u200d](?=[^\u200c\u200d])")


def checked_statement(statement: str | None) -> str:
    """One printable line. Raises ConfigError for none, for more, and for what a terminal would not show as it is."""
    wanted = "one line that says who allows the use of this picture"
    return checked_line(statement, "statement", wanted, MOST_STATEMENT)


def checked_line(text: str | None, what: str, wanted: str, most: int = MOST_NAME) -> str:
    """The same of any line, called `what` in the message, at most `most` characters."""
    text = (text or "").strip()
    if not text:
        raise ConfigError(f"{what}: got none, expected {wanted}")
    if len(text) > most:
        raise ConfigError(f"{what}: got {len(text)} characters, expected at most {most}")
    hidden = next((letter for letter in _JOINER.sub("", text) if not letter.isprintable()), None)
    if hidden is not None:
        raise ConfigError(
            f"{what}: it holds U+{ord(hidden):04X}, which is not shown as a character of its own; expected one "
            "plain line, without line breaks, control characters and marks that turn the direction of text"
        )
    return text


def shown_name(name: str | None) -> str:
    """A file's own name for messages and records: no folders, one printable line, not endless."""
    text = (name or "").replace("\\", "/").rsplit("/", 1)[-1].strip()
    joiners = {found.start() for found in _JOINER.finditer(text)}
    shown = (letter if letter.isprintable() or at in joiners else "?" for at, letter in enumerate(text))
    return "".join(shown)[:MOST_NAME] or "picture"
