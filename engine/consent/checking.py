"""Whether a source may be used for something now."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from engine.config import known
from engine.consent.record import SCOPES, Record
from engine.consent.shipped import shipped
from engine.consent.store import Store
from engine.errors import ConsentError

WAY: Final = "--consent KIND:WHO or --consent FILE where it is used"


def check(
    source: str,
    use: str,
    store: Store,
    now: datetime | None = None,
    *,
    pictures: Sequence[str] = (),
    name: str = "the source",
) -> Record:
    """The record by which a source (SHA-256, hex) may be used, the first one of `cover`. Raises ConsentError."""
    return cover(source, use, store, now, pictures=pictures, name=name)[0]


def cover(
    source: str,
    use: str,
    store: Store,
    now: datetime | None = None,
    *,
    pictures: Sequence[str] = (),
    name: str = "the source",
    way: str = WAY,
) -> tuple[Record, ...]:
    """The records by which a source may be used: that of the whole, or of a source of several pictures those that
    allow each of them. use: one of SCOPES. pictures: SHA-256 of each. name: for the message. way: for
    it, too, how else consent can be given to one that has none.

    Raises ConsentError, with the next step, where none holds; StateError where what was revoked cannot be read.
    """
    known(use, SCOPES, "use")
    record, why = _holding(source, use, store, now)
    if record is not None:
        return (record,)
    found = []
    for picture in pictures:
        one, fault_of_it = _holding(picture, use, store, now)
        if one is None:
            why = why or fault_of_it
            break
        found.append(one)
    if pictures and len(found) == len(pictures):
        return tuple({one.id: one for one in found}.values())
    raise _refused(source, name, why, way)


def fault(record: Record, use: str, store: Store, now: datetime | None = None) -> str | None:
    """Why a record does not hold for a use (any more), as the end of a sentence; None where it does. Cheap enough to be
    asked every second of what is live."""
    revoked = store.revoked(record.id)
    if revoked is not None:
        return "was revoked"
    if record.expires is not None and (now or datetime.now(UTC)) >= record.expires:
        return f"expired on {record.expires:%Y-%m-%d}"
    if use not in record.scope:
        return f"allows {', '.join(record.scope)} and not {use}"
    return None


def recorded(source: str, store: Store) -> bool:
    """Whether there is any record of a source, whether it holds or not."""
    return source in shipped() or bool(store.of(source))


def _holding(source: str, use: str, store: Store, now: datetime | None) -> tuple[Record | None, str | None]:
    """A record that holds; or why the newest one does not, None where there is none."""
    first: str | None = None
    own = shipped().get(source)
    for record in ((own,) if own is not None else ()) + store.of(source):
        why = fault(record, use, store, now)
        if why is None:
            return record, None
        first = first or f"record {record.id[:8]} {why}"
    return None, first


def _refused(source: str, name: str, why: str | None, way: str) -> ConsentError:
    short = f"(sha256 {source[:8]}...)"
    step = "next step: marotte consent add FILE --kind KIND"
    if why is not None:
        return ConsentError(
            f"{name}: the consent to it {short} does not hold: {why}; {step}, if it was given anew"
        )
    return ConsentError(f"{name}: nobody's consent is recorded for it {short}; {step}, or {way}")
