"""The routes below /api/v1/remotes: the operator has a stream pushed to another server, or pulled from one."""

from __future__ import annotations

import json
from typing import Any, Final

from aiohttp import web

from engine.config import known
from engine.errors import ConfigError
from engine.types import Mode
from streaming.doors import read_body
from streaming.refusals import RefusedError
from streaming.remote.kept import Kept
from streaming.remote.places import STREAM, Place
from streaming.remote.remotes import Remotes

_BYTES: Final = 16 << 10
_WITHIN_S: Final = 5.0
_KINDS: Final = ("push", "pull")
_PUSHED: Final = ("url", "token", "stream")
_PULLED: Final = (*_PUSHED, "source", "bundle", "mode")


def routes(remotes: Remotes, *, near: bool) -> list[web.RouteDef]:
    """near: whether those that are begun here may go to private addresses and to this machine."""
    doors = RemoteDoors(remotes, near=near)
    return [
        web.get("/api/v1/remotes", doors.all),
        web.post("/api/v1/remotes", doors.add),
        web.get("/api/v1/remotes/{id}", doors.one),
        web.delete("/api/v1/remotes/{id}", doors.remove),
    ]


class RemoteDoors:
    """For who has the scope admin."""

    def __init__(self, remotes: Remotes, *, near: bool) -> None:
        self._remotes, self._near = remotes, near

    async def all(self, request: web.Request) -> web.Response:
        """How each stands, the oldest first."""
        return web.json_response({"remotes": [kept.report() for kept in self._remotes.all()]})

    async def add(self, request: web.Request) -> web.Response:
        """From {kind, url, token, stream}, and of a pull {source, bundle, mode}."""
        asked = _asked(await read_body(request, _BYTES, _WITHIN_S, "remote"))
        kind = asked.pop("kind")
        try:
            place = Place(near=self._near, **asked)
            if place.mode:
                known(place.mode, [mode.value for mode in Mode], "mode")
            kept = self._remotes.add(kind, place)
        except ConfigError as error:
            raise RefusedError(422, "ConfigError", str(error)) from error
        return web.json_response(kept.report(), status=201)

    async def one(self, request: web.Request) -> web.Response:
        """How it stands."""
        return web.json_response(self._found(request).report())

    async def remove(self, request: web.Request) -> web.Response:
        """When this is answered nothing of it leaves or comes any more."""
        await self._remotes.remove(self._found(request).id)
        return web.Response(status=204)

    def _found(self, request: web.Request) -> Kept:
        kept = self._remotes.find(request.match_info["id"])
        if kept is None:
            raise RefusedError(404, "RequestError", "that push or pull is not there any more")
        return kept


def _asked(body: bytes) -> dict[str, Any]:
    expected = RefusedError(
        400, "RequestError", f"remote: expected {{kind: push or pull, {', '.join(_PULLED)}}} of text as JSON"
    )
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise expected from error
    if not isinstance(fields, dict) or fields.get("kind") not in _KINDS:
        raise expected
    allowed = _PUSHED if fields["kind"] == "push" else _PULLED
    if not {"kind", *allowed}.issuperset(fields) or not isinstance(fields.get("url"), str):
        raise expected
    if not all(isinstance(value, str) for value in fields.values()):
        raise expected
    return {"stream": STREAM} | fields
