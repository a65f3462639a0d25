"""The deny-list: sources that this installation does not use, known again by their bytes or by what they show.

    Denied().why(picture, sums=...)     None, or why not, for whoever asks
    refuse(picture, name, sums=...)     raises DeniedError; the door of everything that reads a source
    report(face, source)                puts down a face whose shape is like a denied one's, where shapes are kept

docs/stop.md says what it finds and what it does not.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from engine.denied.entries import Entry
from engine.denied.store import REFUSED, Denied, Match
from engine.errors import DeniedError, StateError
from engine.features.shape import fit_shape
from engine.types import U8, Face

__all__ = ["REFUSED", "Denied", "DeniedError", "Entry", "Match", "refuse", "report"]

_log = logging.getLogger("marotte.denied")


def refuse(picture: U8 | None, name: str, *, sums: Iterable[str] = (), denied: Denied | None = None) -> None:
    """Raise DeniedError for a source that stands on the list of this installation. picture: uint8 (H, W, 3), as it was
    decoded. sums: SHA-256 of its bytes. name: for the message, which tells nothing of the list. denied: None is the
    list of the state's folder as it is now. Raises StateError where that cannot be read."""
    match = (denied or Denied()).match(picture, sums=sums)
    if match is not None:
        _log.warning("a source was refused by entry %s of the deny-list (%s)", match.entry.id, match.how)
        raise DeniedError(f"{name}: {REFUSED}")


def report(face: Face, source: str, denied: Denied | None = None) -> None:
    """Have the operator told where a face's shape is like a denied one's; nothing is measured where shapes are not
    kept. source: what it is called, for the report. Never raises for a list that cannot be written."""
    denied = denied or Denied()
    if not denied.keeps_shapes():
        return
    try:
        match = denied.report(source, fit_shape(face.points))
    except StateError as error:
        _log.warning("a face that is like a denied one could not be put down: %s", error)
        return
    if match is not None:
        _log.warning(
            "source %s: its face is like that of entry %s by shape alone, which is often chance: look at it "
            "(marotte deny reports)",
            source[:12],
            match.entry.id,
        )
