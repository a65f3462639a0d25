"""The routes of rooms: docs/rooms.md.

POST   /api/v1/rooms                             makes one, and two links into it              201
GET    /api/v1/rooms                             all of them
GET    /api/v1/rooms/{room}                      who is there
DELETE /api/v1/rooms/{room}                      ends it                                       204
POST   /api/v1/rooms/{room}/members              takes a seat                                  201
GET    /api/v1/rooms/{room}/members/{id}/events  what changes in it, as Server-Sent Events
DELETE /api/v1/rooms/{room}/members/{id}         leaves                                        204
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from aiohttp import hdrs, web

from engine.config import known
from engine.errors import ConfigError, InputError
from streaming.doors import read_body
from streaming.entry import GRANT
from streaming.refusals import RefusedError
from streaming.rooms.room import Member, Room, checked_name, checked_person
from streaming.rooms.rooms import DEFAULT_FOR_S, Rooms

_BYTES: Final = 4096
_WITHIN_S: Final = 5.0
_LOOK_S: Final = 0.25
_ALIVE_S: Final = 2.0
"""Something is sent at least so often, so that both sides know that the way is there."""


def routes(rooms: Rooms | None) -> list[web.RouteDef]:
    """rooms: None where this server offers none, which is told then."""
    doors = RoomDoors(rooms)
    room = "/api/v1/rooms/{room}"
    return [
        web.post("/api/v1/rooms", doors.make),
        web.get("/api/v1/rooms", doors.all),
        web.get(room, doors.look),
        web.delete(room, doors.end),
        web.post(f"{room}/members", doors.join),
        web.get(f"{room}/members/{{id}}/events", doors.events),
        web.delete(f"{room}/members/{{id}}", doors.leave),
    ]


class RoomDoors:
    """Over the rooms of one application."""

    def __init__(self, rooms: Rooms | None) -> None:
        self._given = rooms

    @property
    def _rooms(self) -> Rooms:
        if self._given is None:
            raise RefusedError(404, "RequestError", "this server has no rooms; start it with --rooms")
        return self._given

    async def make(self, request: web.Request) -> web.Response:
        """From {name, for_s}, either left out for a name by chance and a day."""
        rooms = self._rooms
        asked = await _object(request, "room", ("name", "for_s"))
        try:
            name = checked_name(asked["name"]) if asked.get("name") else ""
            room, links = rooms.make(name, _seconds(asked.get("for_s", DEFAULT_FOR_S)))
        except ConfigError as error:
            raise RefusedError(422, "ConfigError", str(error)) from error
        addresses = [f"/room/{room.name}?token={token}" for token in links]
        return web.json_response(rooms.told(room) | {"links": addresses}, status=201)

    async def all(self, request: web.Request) -> web.Response:
        return web.json_response({"rooms": [self._rooms.told(room) for room in self._rooms.all()]})

    async def look(self, request: web.Request) -> web.Response:
        return web.json_response(self._rooms.told(self._room(request)))

    async def end(self, request: web.Request) -> web.Response:
        await self._rooms.end(self._room(request))
        return web.Response(status=204)

    async def join(self, request: web.Request) -> web.Response:
        """From {person}, which may be empty."""
        room = self._room(request)
        asked = await _object(request, "member", ("person",))
        member = self._rooms.join(room, checked_person(asked.get("person", "")))
        told = {
            "id": member.id,
            "publish": f"/whip/{member.stream}",
            "watch": f"/whep/{member.view}",
            "events": f"/api/v1/rooms/{room.name}/members/{member.id}/events",
            "room": self._rooms.told(room, member),
        }
        return web.json_response(told, status=201)

    async def leave(self, request: web.Request) -> web.Response:
        """That they have left already is no fault."""
        room = self._room(request)
        try:
            member = room.member(request.match_info["id"])
        except RefusedError:
            return web.Response(status=204)
        await self._rooms.leave(room, member)
        return web.Response(status=204)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """`data:` is the room as a member sees it: at once, and when it is another than before. A new one of these
        ends the former; it ends by itself when the member has left."""
        room = self._room(request)
        member = room.member(request.match_info["id"])
        headers = {hdrs.CONTENT_TYPE: "text/event-stream", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers)
        member.listening = own = object()
        try:
            await response.prepare(request)
            await self._tell_on(response, room, member, own)
        except ConnectionError:
            pass  # the page has gone, or its way has
        finally:
            if member.listening is own:
                member.listening, member.heard_s = None, room.clock()
        return response

    async def _tell_on(self, response: web.StreamResponse, room: Room, member: Member, own: object) -> None:
        before, silent_s = "", 0.0
        while member.listening is own:
            now = json.dumps(self._rooms.told(room, member), separators=(",", ":"))
            if member not in room.members:
                await response.write(b"event: over\ndata: {}\n\n")
                return
            if now != before or silent_s >= _ALIVE_S:
                text = f"data: {now}\n\n" if now != before else ":\n\n"
                async with asyncio.timeout(_WITHIN_S):
                    await response.write(text.encode())
                before, silent_s = now, 0.0
            await asyncio.sleep(_LOOK_S)
            silent_s += _LOOK_S

    def _room(self, request: web.Request) -> Room:
        return self._rooms.find(request.match_info["room"], request[GRANT])


async def _object(request: web.Request, what: str, names: tuple[str, ...]) -> dict[str, Any]:
    """Of a body; nothing is an empty one. Raises InputError, and ConfigError for a name that is none of these."""
    body = await read_body(request, _BYTES, _WITHIN_S, what)
    try:
        found = json.loads(body) if body else {}
    except (ValueError, RecursionError) as error:
        raise InputError(f"{what}: expected JSON") from error
    if not isinstance(found, dict):
        raise InputError(f"{what}: expected an object of {', '.join(names)}")
    for name in found:
        known(name, names, what)
    return found


def _seconds(given: object) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise ConfigError("for_s: expected a number of seconds")
    return float(given)
