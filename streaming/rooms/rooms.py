"""The rooms of one server, and what of its sessions belongs to them."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, Final

from aiohttp import web

from engine.errors import ConfigError
from streaming.calls import Calls
from streaming.config import ServeConfig
from streaming.measured import Recorder
from streaming.refusals import RefusedError, busy
from streaming.rooms.room import Member, Room
from streaming.session import Session
from streaming.tokens import ROOM_STREAM, SKEW_S, Scope, Token, Tokens
from streaming.viewer import Viewer

DEFAULT_FOR_S: Final = 86400.0
LEAST_FOR_S: Final = 60.0
MOST_FOR_S: Final = 30 * 86400.0
LINKS: Final = 2
_SWEEP_S: Final = 1.0


class Rooms:
    """On one event loop. clock: monotonic; wall: seconds since 1970, as tokens are dated by."""

    def __init__(
        self,
        config: ServeConfig,
        calls: Calls,
        recorder: Recorder,
        tokens: Tokens,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._config, self._calls, self._recorder, self._tokens = config, calls, recorder, tokens
        self._clock, self._wall = clock, wall
        self._rooms: dict[str, Room] = {}
        self._viewers: dict[str, Viewer] = {}

    def make(self, name: str = "", for_s: float = DEFAULT_FOR_S) -> tuple[Room, list[str]]:
        """A room, and a token for each of two links into it. Raises RefusedError (409 there is one of that name, 429
        too many) or ConfigError."""
        if not LEAST_FOR_S <= for_s <= MOST_FOR_S:
            raise ConfigError(f"for_s: got {for_s:g}, expected {LEAST_FOR_S:g} .. {MOST_FOR_S:g} seconds")
        if name in self._rooms:
            raise RefusedError(409, "RequestError", f"there is a room {name} already; choose another name")
        most = self._config.rooms
        if len(self._rooms) >= most:
            raise busy(f"{most} of {most} rooms are there; end one of them first", wait_s=60)
        name = name or secrets.token_hex(5)
        now_s = self._wall()
        room = Room(name, now_s, now_s + for_s, self._clock)
        links = [self._tokens.issue([Scope("room", name)], for_s)[0] for _ in range(LINKS)]
        self._rooms[name] = room
        self._count()
        return room, links

    def all(self) -> list[Room]:
        """The oldest first."""
        return list(self._rooms.values())

    def find(self, name: str, grant: Token) -> Room:
        """For who comes with a token; one of an earlier room of this name opens none. Raises RefusedError (404)."""
        room = self._rooms.get(name)
        earlier = not grant.allows(Scope("api")) and grant.issued_s + SKEW_S < (
            room.created_s if room else 0.0
        )
        if room is None or earlier:
            raise RefusedError(404, "RequestError", "that room is over; ask for a new link")
        return room

    def join(self, room: Room, person: str) -> Member:
        """Raises RefusedError (409) where two are there."""
        member = room.join(person)
        self._count()
        return member

    async def leave(self, room: Room, member: Member) -> None:
        """With everything that they published and watch."""
        room.leave(member)
        self._count()
        viewer, session = self._viewers.pop(member.view, None), self.session(member)
        if viewer is not None:
            await viewer.close("page")
        if session is not None:
            await self._calls.close(session.id, "page")

    async def end(self, room: Room) -> None:
        """Everybody leaves, and its links lead nowhere."""
        self._rooms.pop(room.name, None)
        await asyncio.gather(*(self.leave(room, member) for member in room.members))
        self._count()

    def session(self, member: Member) -> Session | None:
        """What they publish now."""
        return self._calls.published(member.stream)

    def told(self, room: Room, member: Member | None = None) -> dict[str, Any]:
        """What a member may know of it; None: whoever may see no more than who is there."""
        members = [self._told_member(one, one is member) for one in room.members]
        return {"name": room.name, "expires": int(room.expires_s), "members": members}

    def _told_member(self, member: Member, own: bool) -> dict[str, Any]:
        session = self.session(member)
        sound = None if session is None else session.sound
        return {
            "person": member.person,
            "you": own,
            "here": member.listening is not None,
            "live": session is not None,
            "waits": _waits(member, session is not None),
            "camera": session is not None and session.shows_camera,
            "muted": sound is None or sound.muted or sound.paused,
            "paused": session is not None and session.paused,
            "recorded": session is not None and session.recorded() is not None,
        }

    # --- what a stream's name stands for (streaming.calls.Names) ---------------------------------------

    async def publishing(self, stream: str) -> None:
        """A member's new connection takes the place of the one before."""
        if ROOM_STREAM not in stream:
            return
        _, member = self._seat(stream, lambda one: one.stream)
        before = self._calls.published(stream)
        member.tries += 1
        if before is not None:
            await self._calls.close(before.id, "replaced")

    def watched(self, stream: str) -> str:
        """By their own name for it a member watches whoever the other is."""
        if ROOM_STREAM not in stream:
            return stream
        room, member = self._seat(stream, lambda one: one.view)
        other = room.other(member)
        if other is None:
            raise RefusedError(404, "RequestError", "nobody else is in this room yet")
        return other.stream

    async def watching(self, stream: str, viewer: Viewer) -> None:
        """One at a time: a new connection takes the place of the one before."""
        if ROOM_STREAM not in stream:
            return
        try:
            self._seat(stream, lambda one: one.view)
        except RefusedError:
            await viewer.close("page")  # they left while it was answered
            raise
        before, self._viewers[stream] = self._viewers.get(stream), viewer
        if before is not None:
            await before.close("replaced")

    def _seat(self, stream: str, of: Callable[[Member], str]) -> tuple[Room, Member]:
        room = self._rooms.get(stream.partition(ROOM_STREAM)[0])
        for member in room.members if room is not None else ():
            if of(member) == stream and room is not None:
                return room, member
        raise RefusedError(404, "RequestError", "that seat is nobody's; join the room first")

    # --- time ------------------------------------------------------------------------------------------

    async def keep(self, app: web.Application) -> AsyncIterator[None]:
        """For an application's cleanup_ctx: who is away for long has left, and what is empty for long is over."""
        sweeping = asyncio.get_running_loop().create_task(self._sweep_on(), name="rooms")
        yield
        sweeping.cancel()
        with suppress(asyncio.CancelledError):
            await sweeping

    async def _sweep_on(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            await self.sweep()

    async def sweep(self) -> None:
        """Once."""
        for room in self.all():
            for member in room.away():
                await self.leave(room, member)
            if room.empty_s is None:
                continue
            empty_for_s = self._clock() - room.empty_s
            if empty_for_s > self._config.room_empty_s or self._wall() > room.expires_s:
                await self.end(room)

    def _count(self) -> None:
        self._recorder.rooms(len(self._rooms), sum(len(room.members) for room in self._rooms.values()))


def _waits(member: Member, live: bool) -> bool:
    """Whether they asked to publish more than once in vain; what they asked before they were live counts no more."""
    member.tries = 0 if live else member.tries
    return member.tries > 1
