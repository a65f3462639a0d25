"""What a session states of itself: who is shown by whose leave, what makes it, which marks are on; signed.

It is JSON, signed by this installation's key (engine/signing.py), and goes to everybody who drives or watches the
session, at the beginning and whenever something in it changes. Who has the public key can check it (docs/statement.md).
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from weakref import WeakKeyDictionary

from engine.errors import StateError
from engine.signing import Signer, signed_by
from engine.worker.interface import BundleInfo
from streaming.session import Session

VERSION: Final = 1
MOST_AGE_S: Final = 24 * 3600.0
"""A statement is made anew after so long though nothing has changed, so that an old one can be told from one of now."""
LOOK_S: Final = 0.25
"""The records of consent are looked at no more often than this: many ask, and it takes the disk."""
PASS_THROUGH: Final = "pass-through"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Checked:
    """What is known of a statement. sound: whoever holds `key` signed it as it stands. why: where it is not, for
    people."""

    sound: bool
    key: str
    why: str = ""


def check(statement: object, keys: Sequence[str] = ()) -> Checked:
    """Whether a statement is as it was signed. keys: public keys (hex) that are believed; without any the one that it
    names proves only that nobody changed it since. Never raises."""
    if not isinstance(statement, Mapping):
        return Checked(False, "", "it is no JSON object")
    key, signature = statement.get("key"), statement.get("signature")
    if not isinstance(key, str) or not isinstance(signature, str):
        return Checked(False, "", "it is not signed")
    if statement.get("statement") != VERSION:
        return Checked(False, key, f"it is of another version than {VERSION}")
    if not signed_by(
        key, signature, {name: value for name, value in statement.items() if name != "signature"}
    ):
        return Checked(False, key, "it was changed after it was signed, or never was")
    if keys and key not in keys:
        return Checked(False, key, "another installation signed it")
    return Checked(True, key)


class Statements:
    """Those of one server's sessions, on its event loop. signer: makes the key; blocks. marks: names of those that are
    put on, lowered: of those that the operator took off. software: name and version."""

    def __init__(
        self,
        signer: Callable[[], Signer],
        bundles: Callable[[], tuple[BundleInfo, ...]],
        *,
        marks: Sequence[str] = (),
        lowered: Sequence[str] = (),
        software: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._signer, self._bundles, self._clock = signer, bundles, clock
        self._marks, self._lowered, self._software = list(marks), list(lowered), software
        self._made: WeakKeyDictionary[Session, _Made] = WeakKeyDictionary()
        self._consents: WeakKeyDictionary[Session, _Consent] = WeakKeyDictionary()

    async def of(self, session: Session) -> dict[str, Any]:
        """The newest one; another than before where something has changed. Raises StateError where there is no key."""
        consent = await self._consent(session)
        made = self._made.get(session)
        facts, now = self._facts(session) | {"consent": consent}, self._clock()
        if made is None or made.facts != facts or now - made.at_s > MOST_AGE_S:
            number = 1 if made is None else made.number + 1
            signing = asyncio.to_thread(self._sign, facts, number)
            made = self._made[session] = _Made(facts, number, now, asyncio.ensure_future(signing))
        try:
            return await asyncio.shield(made.signed)
        except StateError:
            self._made.pop(session, None)  # to be tried again
            raise

    async def _consent(self, session: Session) -> list[dict[str, str]]:
        """Id and kind of the records by which whoever it shows is shown. They may be others though nothing else of it
        has changed: a record takes another's place."""
        found = self._consents.get(session)
        if found is not None and self._clock() - found.at_s >= LOOK_S:
            found = None
        asked = session.in_use, session.withheld
        while found is None or found.asked != asked:  # it may turn to others while it is looked at
            at_s, told = self._clock(), await asyncio.to_thread(session.consent)
            listed = [{"id": one.id, "kind": one.kind.value} for one in told]
            found = self._consents[session] = _Consent(asked, listed, at_s)
            asked = session.in_use, session.withheld
        return found.told

    def _facts(self, session: Session) -> dict[str, Any]:
        """What it says, but for what takes the disk to find out."""
        shown = session.shown
        bundle = next((one for one in self._bundles() if one.name == shown.bundle), None)
        told = (
            None
            if bundle is None
            else {
                "name": bundle.name,
                "title": bundle.title,
                "licence": bundle.licence,
                "sha256": bundle.sha256,
            }
        )
        passed = shown.mode is None
        return {
            "session": session.id,
            "stream": session.stream,
            "mode": PASS_THROUGH if shown.mode is None else shown.mode.value,
            "source": _source(shown.source),
            "donors": list(shown.donors),
            "bundle": told,
            "marks": [] if passed else self._marks,
            "lowered": [] if passed else self._lowered,
            "watermark": session_hash(session.id) if "watermark" in self._marks and not passed else None,
            "withheld": bool(session.withheld),
            "recording": session.recorded() is not None,
        }

    def _sign(self, facts: Mapping[str, Any], number: int) -> dict[str, Any]:
        signer = self._signer()
        statement = {
            "statement": VERSION,
            "number": number,
            "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "software": self._software,
            "key": signer.public,
            **facts,
        }
        return statement | {"signature": signer.sign(statement)}


@dataclass(slots=True)
class _Made:
    facts: Mapping[str, Any]
    number: int
    at_s: float
    signed: asyncio.Future[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Consent:
    """asked: what the session showed, and why not."""

    asked: tuple[frozenset[str], str]
    told: list[dict[str, str]]
    at_s: float


def session_hash(session: str) -> str:
    """Of a session's id, as its watermark carries it: 8 hex digits."""
    return hashlib.sha256(session.encode()).hexdigest()[:8]


def _source(shown: str | None) -> dict[str, str] | None:
    """By its bytes, or by the bundle that holds the person."""
    if shown is None:
        return None
    return {"sha256": shown} if _DIGEST.fullmatch(shown) else {"held": shown}
