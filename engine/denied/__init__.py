"""The deny-list: sources that this installation does not use, known again by their bytes or by what they show.

    Denied().why(picture, sums=...)     None, or why not, for whoever asks
    refuse(picture, name, sums=...)     raises DeniedError; the door of everything that reads a source

docs/stop.md says what it finds and what it does not.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from engine.denied.entries import Entry
from engine.denied.store import REFUSED, Denied, Match
from engine.errors import DeniedError
from engine.types import U8

__all__ = ["REFUSED", "Denied", "DeniedError", "Entry", "Match", "refuse"]

_log = logging.getLogger("marotte.denied")


def refuse(picture: U8 | None, name: str, *, sums: Iterable[str] = (), denied: Denied | None = None) -> None:
    """Raise DeniedError for a source that stands on the list of this installation. picture: uint8 (H, W, 3), as it was
    decoded. sums: SHA-256 of its bytes. name: for the message, which tells nothing of the list. denied: None is the
    list of the state's folder as it is now. Raises StateError where that cannot be read."""
    match = (denied or Denied()).match(picture, sums=sums)
    if match is not None:
        _log.warning("a source was refused by entry %s of the deny-list (%s)", match.entry.id, match.how)
        raise DeniedError(f"{name}: {REFUSED}")
