"""The routes of sessions, sources and bundles as lists, and of a session's controls (docs/api.md)."""

from __future__ import annotations

import json
from typing import Any, Final

from aiohttp import web

from engine.errors import ConfigError, InputError
from streaming.calls import Calls
from streaming.control import MOST_BYTES
from streaming.doors import RefusedError, read_body
from streaming.session import Session

_WITHIN_S: Final = 5.0


def routes(calls: Calls) -> list[web.RouteDef]:
    """Over the sessions of one application."""
    doors = SessionDoors(calls)
    return [
        web.get("/api/v1/sessions", doors.all),
        web.get("/api/v1/sessions/{id}", doors.look),
        web.patch("/api/v1/sessions/{id}", doors.change),
    ]


class SessionDoors:
    """What their drivers do over a channel, for whoever has the scope api."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def all(self, request: web.Request) -> web.Response:
        """The oldest first."""
        return web.json_response({"sessions": [_told(session) for session in self._calls.all()]})

    async def look(self, request: web.Request) -> web.Response:
        """With its report."""
        session = self._session(request)
        return web.json_response(_told(session) | {"report": session.report()})

    async def change(self, request: web.Request) -> web.Response:
        """As the message `change` on its channel."""
        session = self._session(request)
        body = await read_body(request, MOST_BYTES, _WITHIN_S, "change")
        try:
            asked: Any = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise InputError("change: expected JSON") from error
        try:
            number = session.change(asked)
        except ConfigError as error:
            raise RefusedError(422, "ConfigError", str(error)) from error
        return web.json_response({"changes": number})

    def _session(self, request: web.Request) -> Session:
        found = self._calls.session(request.match_info["id"])
        if found is None or found.over:
            raise RefusedError(404, "RequestError", "that session is not open any more")
        return found


def _told(session: Session) -> dict[str, Any]:
    """Without the picture of anybody. bundle, mode: null in pass-through."""
    told = session.report()
    named = {"id": session.id, "stream": session.stream, "driver": session.driver.value}
    return named | {"bundle": told["bundle"], "mode": told["mode"], "viewers": session.viewers}
