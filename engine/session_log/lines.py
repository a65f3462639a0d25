"""One line of the session log: how it is spelt, hashed, signed and read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from engine.session_log.events import MOST_LINE, SIGNED
from engine.signing import Signer, canonical, signed_by

START: Final = "0" * 64
"""What stands before the first line of all."""


@dataclass(frozen=True, slots=True)
class Line:
    """n: from 1 on, without a gap, across files. at: UTC, ISO 8601. before: SHA-256 (hex) of the line before, its bytes
    without the line's end. hash: the same of this one. fields: the event's own, and what a signed line is signed with.
    """

    n: int
    at: str
    before: str
    event: str
    fields: Mapping[str, Any]
    hash: str

    @property
    def day(self) -> str:
        """UTC, YYYY-MM-DD."""
        return self.at[:10]

    @property
    def signed(self) -> bool:
        """Whether it is of a kind that carries a signature."""
        return self.event in SIGNED

    @property
    def key(self) -> str:
        """The public key (hex) that it says it is signed with; empty where it says none."""
        return str(self.fields.get("key", ""))

    def signed_rightly(self) -> bool:
        """Whether its signature is that of the key that it names."""
        said = {name: value for name, value in self._whole().items() if name != "signature"}
        try:
            return signed_by(self.key, str(self.fields.get("signature", "")), said)
        except RecursionError:  # nested as no writer of this log nests
            return False

    def _whole(self) -> dict[str, Any]:
        own = {"n": self.n, "at": self.at, "before": self.before, "event": self.event}
        return own | dict(self.fields)


def hash_of(line: bytes) -> str:
    """SHA-256 (hex) of a line's bytes, without the line's end."""
    return hashlib.sha256(line).hexdigest()


def written(
    event: str, fields: Mapping[str, Any], *, n: int, before: str, now: datetime, signer: Signer | None = None
) -> bytes:
    """A line's bytes, without the line's end. signer: of an event that is signed."""
    at = now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    whole = {"n": n, "at": at, "before": before, "event": event, **fields}
    if signer is not None:
        whole["key"] = signer.public
        whole["signature"] = signer.sign(whole)
    return canonical(whole)


def read(data: bytes) -> Line | None:
    """The line of these bytes, without the line's end; None for what this log never writes: no JSON, another spelling
    of it, a field of its own that is missing or of another kind."""
    if len(data) >= MOST_LINE:
        return None
    try:
        whole = json.loads(data)
        if not isinstance(whole, dict) or canonical(whole) != data:
            return None
        n, at, before, event = (whole.pop(name) for name in ("n", "at", "before", "event"))
        datetime.fromisoformat(at)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    sound = type(n) is int and n > 0 and isinstance(event, str) and _is_hash(before)
    return Line(n, at, before, event, whole, hash_of(data)) if sound else None


def _is_hash(text: object) -> bool:
    return isinstance(text, str) and len(text) == 64 and all(digit in "0123456789abcdef" for digit in text)
