"""The routes of statements: docs/statement.md."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import hdrs, web

from streaming.calls import Calls
from streaming.refusals import RefusedError

DESCRIBED_BY = "describedby"


def routes(calls: Calls) -> list[web.RouteDef]:
    """Of an application's sessions, by their id. Those of viewers are beside what they watch by (streaming.whip)."""

    async def look(request: web.Request) -> web.Response:
        session = calls.session(request.match_info["id"])
        if session is None or session.over:
            raise RefusedError(404, "RequestError", "that session is not open any more")
        return await stated(session.state)

    return [web.get("/api/v1/sessions/{id}/statement", look)]


async def stated(state: Callable[[], Awaitable[dict[str, Any] | None]]) -> web.Response:
    """The newest one."""
    statement = await state()
    if statement is None:
        raise RefusedError(404, "RequestError", "nothing is stated of that session")
    return web.json_response(statement, headers={hdrs.CACHE_CONTROL: "no-store"})


def link(path: str) -> str:
    """Where the statement of what is watched is, as a Link header says it."""
    return f'<{path}/statement>; rel="{DESCRIBED_BY}"; type="application/json"'
