"""Who allows what to be shown of whom: one signed record, bound to the bytes of a source.

What is signed is the canonical JSON (engine/signing.py) of all fields but the id and the signature, and the id is the
beginning of its SHA-256: a record whose any letter was changed is another one, which nobody signed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from engine.config import known
from engine.consent.words import MOST_STATEMENT, checked_line
from engine.errors import ConfigError
from engine.signing import Signer, canonical, signed_by

FORMAT: Final = "marotte consent 1"
SCOPES: Final = ("live", "call", "render", "train")
"""What can be allowed: sessions that somebody watches; calls of two; files (renders, sweeps, recordings); the making
of a bundle of the person."""
MOST_SOURCES: Final = 257
"""Hashes of one record: a source of many parts, and each of its parts."""
MOST_CHECKED: Final = 16
"""Entries of what a self check measured."""
_ID: Final = re.compile("[0-9a-f]{32}")
_SHA: Final = re.compile("[0-9a-f]{64}")
_NAME: Final = re.compile("[a-z][a-z0-9_]{0,39}")


class Kind(StrEnum):
    """Why a source may be used. SAMPLE is what the project ships; nobody can attest it for a source of their own."""

    MYSELF = "myself"
    GENERATED = "generated person"
    ARTWORK = "public-domain artwork"
    WRITTEN = "written consent"
    SAMPLE = "sample"


@dataclass(frozen=True, slots=True)
class Record:
    """sources: SHA-256 (64 hex digits) of the source's bytes as SourceInfo.id has it; of several photos first that of
    the whole, then each one's. shown: who is shown. attested_by: who says so. scope: what of SCOPES is allowed. made,
    expires: UTC, whole seconds; from `expires` on it does not hold, None is never. key: who signed, as engine.signing
    has it. self_check: what a live check of "myself" measured, by name; None where there was none.
    """

    sources: tuple[str, ...]
    kind: Kind
    shown: str
    attested_by: str
    statement: str
    made: datetime
    scope: tuple[str, ...] = SCOPES
    expires: datetime | None = None
    self_check: Mapping[str, Any] | None = None
    key: str = ""
    signature: str = field(default="", repr=False)

    @property
    def id(self) -> str:
        """32 hex digits: the beginning of the SHA-256 of what is signed."""
        return hashlib.sha256(canonical(self.signed)).hexdigest()[:32]

    @property
    def signed(self) -> dict[str, Any]:
        """What the signature is over."""
        return {
            "format": FORMAT,
            "sources": list(self.sources),
            "kind": self.kind.value,
            "shown": self.shown,
            "attested_by": self.attested_by,
            "statement": self.statement,
            "scope": list(self.scope),
            "made": self.made.isoformat(),
            "expires": None if self.expires is None else self.expires.isoformat(),
            "self_check": None if self.self_check is None else dict(self.self_check),
            "key": self.key,
        }

    @property
    def sound(self) -> bool:
        """Whether the holder of `key` signed exactly this."""
        return signed_by(self.key, self.signature, self.signed)


def attest(
    signer: Signer,
    sources: Sequence[str],
    kind: Kind,
    *,
    shown: str,
    attested_by: str,
    statement: str,
    scope: Iterable[str] = SCOPES,
    expires: datetime | None = None,
    self_check: Mapping[str, Any] | None = None,
    now: datetime | None = None,
) -> Record:
    """A new record, signed. Raises ConfigError for a field that it cannot hold."""
    now = (now or datetime.now(UTC)).astimezone(UTC)  # to the microsecond: the newest of two is asked for
    allowed = set(scope)
    for name in allowed:
        known(name, SCOPES, "scope")
    record = Record(
        sources=tuple(dict.fromkeys(sources)),
        kind=kind,
        shown=checked_line(shown, "shown", "who is shown, in one line"),
        attested_by=checked_line(attested_by, "attested by", "who says so, in one line"),
        statement=checked_line(statement, "statement", "one line that says who allows it", MOST_STATEMENT),
        made=now,
        scope=tuple(name for name in SCOPES if name in allowed),
        expires=None if expires is None else expires.astimezone(UTC),
        self_check=self_check,
        key=signer.public,
    )
    check_fields(record)
    if record.expires is not None and record.expires <= now:
        raise ConfigError(f"expires: got {record.expires.isoformat()}, expected a time that is still to come")
    return replace(record, signature=signer.sign(record.signed))


def check_fields(record: Record) -> None:
    """Raises ConfigError for a record that nobody could have made by `attest`."""
    if not 1 <= len(record.sources) <= MOST_SOURCES or not all(map(_SHA.fullmatch, record.sources)):
        raise ConfigError(
            f"sources: expected 1 .. {MOST_SOURCES} times the 64 hex digits of a SHA-256, in small letters"
        )
    if not record.scope:
        raise ConfigError(f"scope: got nothing, expected some of {', '.join(SCOPES)}")
    checked = record.self_check or {}
    if len(checked) > MOST_CHECKED or not all(_NAME.fullmatch(name) for name in checked):
        raise ConfigError(f"self_check: expected at most {MOST_CHECKED} plain names with what was measured")
    for value in checked.values():
        plain = isinstance(value, bool | int | float) or (isinstance(value, str) and value.isprintable())
        if not plain or len(str(value)) > MOST_STATEMENT:
            raise ConfigError("self_check: expected numbers, yes or no, and short lines")


def last_day(text: str, now: datetime | None = None) -> datetime:
    """When a record ends whose last day is written so: a day, or a number of days from now as `90d`; or a time. UTC.

    Raises ConfigError.
    """
    try:
        if text.endswith("d") and text[:-1].isascii() and text[:-1].isdigit():
            return (now or datetime.now(UTC)).astimezone(UTC) + timedelta(days=int(text[:-1]))
        time = datetime.fromisoformat(text)
        if len(text) == len("2027-01-31"):
            return time.replace(tzinfo=UTC) + timedelta(days=1)
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            f"expires: got {text[:40]!r}, expected a day as 2027-01-31, a time, or days as 90d"
        ) from error
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


def is_id(text: str) -> bool:
    """Whether it could be a record's id."""
    return _ID.fullmatch(text) is not None


def is_hash(text: str) -> bool:
    """Whether it is spelt as the SHA-256 of a source."""
    return _SHA.fullmatch(text) is not None
