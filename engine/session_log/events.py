"""What the session log may say: the events, and which values a line may hold."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from itertools import islice
from typing import Any, Final

from engine.config import known
from engine.errors import ConfigError
from engine.media.wording import one_line


class Event(StrEnum):
    """What happened, one line each. docs/session_log.md has the fields of each."""

    # the log's own
    CHECKPOINT = "checkpoint"
    REPAIRED = "repaired"
    TAIL_MISSING = "tail-missing"
    LINES_LOST = "lines-lost"
    PRUNED = "pruned"
    # a server
    SERVER_STARTED = "server-started"
    SERVER_STOPPED = "server-stopped"
    DRAINING = "draining"
    SESSION_STARTED = "session-started"
    SESSION_STOPPED = "session-stopped"
    SHOWING = "showing"
    WITHHELD = "withheld"
    PROTECTION_LOWERED = "protection-lowered"
    # sources and consent
    SOURCE_ADDED = "source-added"
    SOURCE_REMOVED = "source-removed"
    SOURCE_REFUSED = "source-refused"
    CONSENT_ADDED = "consent-added"
    CONSENT_USED = "consent-used"
    CONSENT_REVOKED = "consent-revoked"
    # stopping
    KILLED = "killed"
    RELEASED = "released"
    DENIED = "denied"
    DENIAL_LIFTED = "denial-lifted"
    TEMPLATE_MADE = "template-made"
    TEMPLATE_DELETED = "template-deleted"
    # what is kept
    RECORDING_STARTED = "recording-started"
    RECORDING_ENDED = "recording-ended"
    RECORDING_DELETED = "recording-deleted"


OWN: Final = frozenset({"n", "at", "before", "event", "key", "signature"})
"""The fields that every line may have by itself; no caller gives them."""
SIGNED: Final = frozenset({Event.CHECKPOINT, Event.PRUNED})
"""Events whose lines carry a signature."""
MOST_TEXT: Final = 300
MOST_LISTED: Final = 32
MOST_FIELDS: Final = 24
MOST_LINE: Final = 8192
"""Bytes of one line with its end."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
# What a line never holds, by the words that a caller would call it.
_NEVER: Final = frozenset(
    {
        "address", "client", "embedding", "face", "frame", "host", "image", "ip", "jpeg", "landmarks", "name",
        "password", "picture", "pixels", "points", "remote", "sdp", "secret", "shape", "statement", "template", "token",
    }
)  # fmt: skip


def batched(texts: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """As many texts as one field of a line takes, for a line each."""
    left = iter(texts)
    while some := tuple(islice(left, MOST_LISTED)):
        yield some


def event_of(name: str) -> Event:
    """The event of this name. Raises ConfigError with the nearest one."""
    return Event(known(str(name), [event.value for event in Event], "event"))


def checked(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of one line as they are written: flat, short, and none that would hold a person's face, words, token
    or address. A tuple of texts becomes a list. Raises ConfigError."""
    if len(fields) > MOST_FIELDS:
        raise ConfigError(f"session log: got {len(fields)} fields, expected at most {MOST_FIELDS}")
    return {_checked_name(name): _checked_value(name, value) for name, value in fields.items()}


def _checked_name(name: str) -> str:
    if name in OWN:
        raise ConfigError(f"session log: the field {name} is the log's own; name it otherwise")
    if name in _NEVER:
        raise ConfigError(f"session log: a field {name} is never kept there; give an id or a number instead")
    if not _NAME.fullmatch(name):
        raise ConfigError(f"session log: {name!a} is no name of a field; expected a-z, 0-9 and _, at most 32")
    return name


def _checked_value(name: str, value: object) -> Any:
    if isinstance(value, (list, tuple, set, frozenset)):
        values = sorted(value) if isinstance(value, (set, frozenset)) else list(value)
        if len(values) > MOST_LISTED or not all(isinstance(one, str) for one in values):
            raise ConfigError(f"session log: {name}: expected at most {MOST_LISTED} texts")
        return [_checked_text(name, one) for one in values]
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ConfigError(f"session log: {name}: got {value}, expected a finite number")
        return value
    if isinstance(value, str):
        return _checked_text(name, value)
    raise ConfigError(
        f"session log: {name}: got a {type(value).__name__}, expected text, a number, true, false or none"
    )


def _checked_text(name: str, text: str) -> str:
    if len(text) > MOST_TEXT:
        raise ConfigError(f"session log: {name}: got {len(text)} characters, expected at most {MOST_TEXT}")
    return one_line(str(text))
