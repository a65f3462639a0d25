"""A line in this process's log, from wherever something happens that belongs there.

A server has a journal, whose thread writes; elsewhere (a render, a command) the line is written at once, into this
installation's log.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from engine.errors import StateError
from engine.session_log.events import Event, checked, event_of
from engine.session_log.journal import Keeping
from engine.session_log.log import SessionLog

_log = logging.getLogger("marotte.log")
_journals: list[Keeping] = []


@contextmanager
def noting_in(journal: Keeping) -> Iterator[None]:
    """What is noted in this process goes there meanwhile."""
    _journals.append(journal)
    try:
        yield
    finally:
        _journals.remove(journal)


def note(event: Event | str, **fields: Any) -> None:
    """Keep a line about what has happened. A log that cannot be written is told of, and stops nothing. Blocks where no
    server runs. Raises ConfigError for an event or a field that is never kept."""
    if _journals:
        _journals[-1].tell(event, **fields)
        return
    kind, said = event_of(event), checked(fields)
    try:
        SessionLog().write(kind, **said)
    except StateError as error:
        _log.error("%s", error)


def note_first(event: Event | str, **fields: Any) -> None:
    """Keep a line about what must not happen unsaid. Blocks until it is on the disk: not for an event loop. Raises
    StateError where it cannot be kept, and ConfigError as `note`."""
    if _journals:
        _journals[-1].keep(event, **fields).result()
        return
    SessionLog().write(event, **fields)


def session_hash(session: str) -> str:
    """What a session is called in the log: the first 16 hex digits of its id's SHA-256, the first 8 of which its
    watermark carries. The id itself is a key to its session and stands nowhere."""
    return hashlib.sha256(session.encode()).hexdigest()[:16]
