"""One room: two seats, and who sits on them."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from engine.errors import ConfigError, InputError
from streaming.refusals import RefusedError
from streaming.tokens import ROOM_STREAM

SEATS: Final = 2
AWAY_S: Final = 30.0
"""Whoever is not heard of for so long has left."""
MOST_NAME: Final = 40
MOST_PERSON: Final = 40

_NAME: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def checked_name(text: object) -> str:
    """A room's. Raises ConfigError."""
    if not isinstance(text, str) or len(text) > MOST_NAME or not _NAME.fullmatch(text):
        told = repr(text)[:60]
        raise ConfigError(
            f"name: got {told}, expected 1 to {MOST_NAME} of a-z and 0-9, with single - between them"
        )
    return text


def checked_person(text: object) -> str:
    """How somebody wants to be called; empty for no name. Raises InputError."""
    if not isinstance(text, str) or len(text) > MOST_PERSON or not text.isprintable():
        raise InputError(f"name: expected at most {MOST_PERSON} printable characters")
    return text.strip()


@dataclass(eq=False)
class Member:
    """Somebody on a seat.

    id: known to nobody else. person: their name. stream: what they publish as. view: the name by which they watch the
    other one, whoever that is. heard_s: when they were last there, by the room's clock.
    """

    id: str
    person: str
    stream: str
    view: str
    heard_s: float
    tries: int = 0
    """How often they asked to publish since they last did."""
    listening: object | None = None
    """The one channel that tells them of the room, while it is open."""


@dataclass(eq=False)
class Room:
    """created_s, expires_s: since 1970. empty_s: since when nobody is there, by `clock`; None while somebody is."""

    name: str
    created_s: float
    expires_s: float
    clock: Callable[[], float]
    empty_s: float | None = field(default=None)
    _members: dict[str, Member] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.empty_s = self.clock()

    @property
    def members(self) -> list[Member]:
        """In the order in which they came."""
        return list(self._members.values())

    def join(self, person: str) -> Member:
        """Take a seat. Raises RefusedError (409) where both are taken."""
        if len(self._members) >= SEATS:
            raise RefusedError(
                409, "RoomFullError", f"{SEATS} of {SEATS} people are in this room; wait until one leaves"
            )
        stream, view = (f"{self.name}{ROOM_STREAM}{secrets.token_hex(8)}" for _ in range(2))
        member = Member(secrets.token_hex(16), person, stream, view, self.clock())
        self._members[member.id] = member
        self.empty_s = None
        return member

    def leave(self, member: Member) -> None:
        """That they have left already is no fault."""
        self._members.pop(member.id, None)
        if not self._members and self.empty_s is None:
            self.empty_s = self.clock()

    def member(self, id: str) -> Member:
        """Raises RefusedError (404)."""
        found = self._members.get(id)
        if found is None:
            raise RefusedError(404, "RequestError", "you are not in this room any more; join it again")
        return found

    def other(self, member: Member) -> Member | None:
        """Who else is there."""
        return next((one for one in self._members.values() if one is not member), None)

    def away(self) -> list[Member]:
        """Those who were not heard of for too long."""
        since = self.clock() - AWAY_S
        return [one for one in self._members.values() if one.listening is None and one.heard_s < since]
