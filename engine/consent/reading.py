"""A record as a file: JSON, at most 64 KiB, no key that is not known, nothing guessed.

    {"record": {what is signed}, "id": .., "signature": .., "countersigned": null or {..}, "revoked": null or {..}}

A record from elsewhere carries its own signature; it counts here when this installation's operator has countersigned
it, which is what importing it does. A revocation travels with what it revokes.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from engine.config import known
from engine.consent.record import FORMAT, SCOPES, Kind, Record, check_fields, is_id
from engine.consent.words import MOST_STATEMENT, checked_line
from engine.errors import ConfigError, ConsentError
from engine.media.wording import one_line
from engine.schema import strict_json
from engine.signing import Signer, signed_by

MOST_BYTES: Final = 64 << 10
_OUTER: Final = ("record", "id", "signature", "countersigned", "revoked")
_INNER: Final = (
    "format", "sources", "kind", "shown", "attested_by", "statement", "scope", "made", "expires", "self_check", "key",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Countersigned:
    """An operator vouches for a record that another key signed."""

    key: str
    time: datetime
    signature: str

    def sound(self, record: Record) -> bool:
        return signed_by(self.key, self.signature, _vouched(record, self.key, self.time))


@dataclass(frozen=True, slots=True)
class Revocation:
    """A record that holds no more, by its own signer or by an operator. why: one line."""

    id: str
    time: datetime
    why: str
    key: str
    signature: str

    @property
    def signed(self) -> dict[str, Any]:
        """What the signature is over."""
        return {"revoked": self.id, "time": self.time.isoformat(), "why": self.why, "key": self.key}

    @property
    def sound(self) -> bool:
        return signed_by(self.key, self.signature, self.signed)


@dataclass(frozen=True, slots=True)
class Exported:
    """What one file holds."""

    record: Record
    countersigned: Countersigned | None = None
    revoked: Revocation | None = None


def countersign(record: Record, signer: Signer, now: datetime) -> Countersigned:
    """The operator's word for a record from elsewhere."""
    now = now.astimezone(UTC).replace(microsecond=0)
    return Countersigned(signer.public, now, signer.sign(_vouched(record, signer.public, now)))


def _vouched(record: Record, key: str, time: datetime) -> dict[str, Any]:
    return {"vouched": record.id, "of": record.signature, "time": time.isoformat(), "key": key}


def revocation(record: str, why: str, signer: Signer, now: datetime) -> Revocation:
    """Of the record of this id. Raises ConfigError for a reason that is no line."""
    now = now.astimezone(UTC).replace(microsecond=0)
    why = checked_line(why, "why", "one line that says why it is revoked", MOST_STATEMENT)
    unsigned = Revocation(record, now, why, signer.public, "")
    return Revocation(record, now, why, signer.public, signer.sign(unsigned.signed))


def written(one: Exported) -> bytes:
    """As a file holds it."""
    return json.dumps(_told(one), indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def line_of(one: Exported) -> str:
    """The same on one line."""
    return json.dumps(_told(one), ensure_ascii=False, allow_nan=False)


def _told(one: Exported) -> dict[str, Any]:
    counter = one.countersigned and {
        "key": one.countersigned.key,
        "time": one.countersigned.time.isoformat(),
        "signature": one.countersigned.signature,
    }
    return {
        "record": one.record.signed,
        "id": one.record.id,
        "signature": one.record.signature,
        "countersigned": counter,
        "revoked": one.revoked and told_revocation(one.revoked),
    }


def told_revocation(one: Revocation) -> dict[str, Any]:
    """As a file, or a line of the list, holds it."""
    return one.signed | {"signature": one.signature}


def read_file(path: Path) -> Exported:
    """The record of a file. Raises ConsentError for what cannot be read or is none."""
    return parse(read_bytes(path), one_line(path))


def read_bytes(path: Path) -> bytes:
    """Of a plain file, at most MOST_BYTES and one more. Raises ConsentError."""
    try:
        # A pipe that somebody put there must not be waited for.
        opened = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(opened, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ConsentError(f"{one_line(path)}: it is not a plain file; expected a consent record")
            return file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConsentError(
            f"{one_line(path)}: it cannot be read ({why}); expected a file of marotte consent export"
        ) from error


def parse(data: bytes, name: str) -> Exported:
    """name: for messages. Raises ConsentError for anything but a whole record with a right signature."""
    if len(data) > MOST_BYTES:
        raise ConsentError(f"{name}: over {MOST_BYTES} bytes, which no consent record is")
    try:
        value = strict_json(data.decode("utf-8"))
        found = _exported(value)
    except ConfigError as error:
        raise ConsentError(f"{name}: no consent record ({error})") from error
    except (ValueError, RecursionError) as error:
        raise ConsentError(
            f"{name}: no consent record, it is no JSON; expected a file of marotte consent export"
        ) from error
    if not found.record.sound or found.record.id != value["id"]:
        raise ConsentError(
            f"{name}: its signature is not right: it was changed after it was signed; get it anew"
        )
    if found.countersigned is not None and not found.countersigned.sound(found.record):
        raise ConsentError(f"{name}: its countersignature is not right; export it again")
    if found.revoked is not None and not (found.revoked.sound and found.revoked.id == found.record.id):
        raise ConsentError(f"{name}: the signature of its revocation is not right; export it again")
    return found


def _exported(value: Any) -> Exported:
    outer = _table(value, _OUTER, "consent")
    inner = _table(outer["record"], _INNER, "record")
    return Exported(
        _record(inner, _text(outer, "signature")),
        None if outer["countersigned"] is None else _countersigned(outer["countersigned"]),
        None if outer["revoked"] is None else read_revocation(outer["revoked"]),
    )


def _record(inner: Mapping[str, Any], signature: str) -> Record:
    if inner["format"] != FORMAT:
        raise ConfigError(f"format: got {str(inner['format'])[:40]!r}, expected {FORMAT!r}; update Marotte")
    known(inner["kind"], [kind.value for kind in Kind], "kind")
    checked = inner["self_check"]
    if checked is not None and not isinstance(checked, dict):
        raise ConfigError("self_check: expected names with values, or null")
    record = Record(
        sources=_lines(inner, "sources"),
        kind=Kind(inner["kind"]),
        shown=_plain(inner, "shown"),
        attested_by=_plain(inner, "attested_by"),
        statement=_plain(inner, "statement", MOST_STATEMENT),
        made=_time(inner["made"], "made"),
        scope=_lines(inner, "scope"),
        expires=None if inner["expires"] is None else _time(inner["expires"], "expires"),
        self_check=checked,
        key=_text(inner, "key"),
        signature=signature,
    )
    for name in record.scope:
        known(name, SCOPES, "scope")
    check_fields(record)
    return record


def _countersigned(value: Any) -> Countersigned:
    one = _table(value, ("key", "time", "signature"), "countersigned")
    return Countersigned(_text(one, "key"), _time(one["time"], "time"), _text(one, "signature"))


def read_revocation(value: Any) -> Revocation:
    """Of parsed JSON; its signature is not looked at. Raises ConfigError."""
    one = _table(value, ("revoked", "time", "why", "key", "signature"), "revoked")
    if not is_id(_text(one, "revoked")):
        raise ConfigError("revoked: expected the 32 hex digits of a record's id")
    why = _plain(one, "why", MOST_STATEMENT)
    return Revocation(
        one["revoked"], _time(one["time"], "time"), why, _text(one, "key"), _text(one, "signature")
    )


def _table(value: Any, names: tuple[str, ...], what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{what}: expected a table of names")
    for name in value:
        known(name, names, f"{what}: key")
    if missing := [name for name in names if name not in value]:
        raise ConfigError(f"{what}: {missing[0]} is missing")
    return value


def _text(table: Mapping[str, Any], name: str) -> str:
    value = table[name]
    if not isinstance(value, str) or len(value) > MOST_STATEMENT or not value.isascii():
        raise ConfigError(f"{name}: expected a short text")
    return value


def _plain(table: Mapping[str, Any], name: str, most: int | None = None) -> str:
    value = table[name]
    if not isinstance(value, str):
        raise ConfigError(f"{name}: expected one line of text")
    line = (
        checked_line(value, name, "one line") if most is None else checked_line(value, name, "one line", most)
    )
    if line != value:
        raise ConfigError(f"{name}: expected one line without spaces around it")
    return line


def _lines(table: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = table[name]
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ConfigError(f"{name}: expected a list of names")
    if len(set(value)) < len(value):
        raise ConfigError(f"{name}: it names one twice")
    return tuple(value)


def _time(value: Any, name: str) -> datetime:
    try:
        time = datetime.fromisoformat(value)
        utc = time.utcoffset() == timedelta(0) and time.isoformat() == value
    except (TypeError, ValueError):
        utc = False
    if not utc:
        raise ConfigError(f"{name}: expected a time as 2026-11-22T10:00:00+00:00")
    return time
