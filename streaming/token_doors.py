"""The routes below /api/v1/tokens: the operator makes a token for somebody, and takes one back (docs/live.md)."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from engine.errors import ConfigError
from streaming.doors import read_body
from streaming.entry import GRANT
from streaming.refusals import RefusedError
from streaming.tokens import Token, Tokens, scope_of

_BYTES: Final = 4096
_WITHIN_S: Final = 5.0


def routes(tokens: Tokens, end: Callable[[str], Awaitable[None]]) -> list[web.RouteDef]:
    """Over those that the doors of the same application read. end: ends what was made with the token of an id."""
    doors = TokenDoors(tokens, end)
    return [web.post("/api/v1/tokens", doors.issue), web.delete("/api/v1/tokens/{id}", doors.revoke)]


class TokenDoors:
    """For who has the scope admin."""

    def __init__(self, tokens: Tokens, end: Callable[[str], Awaitable[None]]) -> None:
        self._tokens, self._end = tokens, end

    async def issue(self, request: web.Request) -> web.Response:
        """From {scopes: [...], for_s: seconds}. One that was issued by another does not outlive that."""
        asked = _asked(await read_body(request, _BYTES, _WITHIN_S, "token"))
        try:
            scopes = [scope_of(text) for text in asked["scopes"]]
            text, token = self._tokens.issue(scopes, float(asked["for_s"]))
        except ConfigError as error:
            raise RefusedError(422, "ConfigError", str(error)) from error
        if token.expires_s > request[GRANT].expires_s:
            raise RefusedError(422, "ConfigError", "for_s: the token that asks for it expires earlier")
        return web.json_response(_told(token) | {"token": text}, status=201)

    async def revoke(self, request: web.Request) -> web.Response:
        """From now on it lets nobody in, and what was opened with it is over; that it was never issued is no fault."""
        token = request.match_info["id"]
        self._tokens.revoke(token)
        await self._end(token)
        return web.Response(status=204)


def _asked(body: bytes) -> dict[str, Any]:
    expected = RefusedError(400, "RequestError", "token: expected {scopes: [text], for_s: number} as JSON")
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise expected from error
    if not isinstance(fields, dict) or set(fields) != {"scopes", "for_s"}:
        raise expected
    scopes, for_s = fields["scopes"], fields["for_s"]
    if not isinstance(scopes, list) or not all(isinstance(one, str) for one in scopes):
        raise expected
    if isinstance(for_s, bool) or not isinstance(for_s, int | float):
        raise expected
    return fields


def _told(token: Token) -> dict[str, Any]:
    scopes = [str(scope) for scope in token.scopes]
    return {"id": token.id, "scopes": scopes, "expires": int(token.expires_s)}
