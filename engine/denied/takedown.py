"""A source denied on report: the entry, the consent to it ended, and a line in the session log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engine.consent import Store
from engine.denied.entries import Entry, checked_sum, checked_why
from engine.denied.reading import read, shape_in
from engine.denied.store import Denied
from engine.session_log import Event, SessionLog
from engine.types import U8

if TYPE_CHECKING:
    from engine.puppet import Opening


_WHY: Final = "withdrawn"
"""Of a revocation, which travels with exported records: that there is an entry is the operator's to know."""


@dataclass(frozen=True, slots=True)
class TakenDown:
    """revoked: ids of the records of consent that were ended with it."""

    entry: Entry
    revoked: tuple[str, ...]


def take_down(
    denied: Denied,
    why: str,
    *,
    files: Sequence[Path] = (),
    pictures: Sequence[U8] = (),
    sums: Sequence[str] = (),
    opening: Opening | None = None,
    by: str = "operator",
) -> TakenDown:
    """Deny these, and end every record of consent to them, so that what shows them live turns grey. pictures: uint8
    (H, W, 3). opening: where templates are kept, by what the face is found. by: who, in few words, for the log. Blocks.
    Raises MarotteError, and then nothing was denied."""
    checked_why(why)
    given = read(files)
    known_by = [*given.sums, *map(checked_sum, sums)]
    shown = [*pictures, *given.pictures]
    shape = None if opening is None or not denied.keeps_shapes() else shape_in(shown, opening)
    entry = denied.add(why, pictures=shown, frames=given.frames, sums=known_by, shape=shape)
    revoked = _revoke(denied, entry)
    log = SessionLog(denied.state / "session_log")
    log.write(
        Event.DENIED,
        entry=entry.id,
        by=by,
        files=len(entry.sha256s),
        hashes=len(entry.hashes) + len(entry.frames),
        consents=list(revoked[:32]),
    )
    if entry.template is not None:
        log.write(
            Event.TEMPLATE_MADE, entry=entry.id, until=entry.template.until.isoformat(timespec="seconds")
        )
    return TakenDown(entry, revoked)


def _revoke(denied: Denied, entry: Entry) -> tuple[str, ...]:
    store = Store(denied.state)
    records = {record.id for known in entry.sha256s for record in store.of(known)}
    ended = sorted(one for one in records if store.revoked(one) is None)
    for record in ended:
        store.revoke(record, _WHY)
    return tuple(ended)


def told(entry: Entry) -> dict[str, Any]:
    """An entry for the operator: what it is known by is counted and not shown."""
    return {
        "id": entry.id,
        "added": entry.added.isoformat(timespec="seconds"),
        "why": entry.why,
        "sha256": list(entry.sha256s),
        "pictures": len(entry.hashes),
        "frames": len(entry.frames),
        "shape_until": None if entry.template is None else entry.template.until.isoformat(timespec="seconds"),
    }
