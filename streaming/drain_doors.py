"""POST /api/v1/drain: no new sessions from now on, and an end for those that are open; docs/sessions.md."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from streaming.calls import Calls
from streaming.config import MOST_DRAIN_S
from streaming.refusals import RefusedError


class Draining:
    """Of one application. seconds: what sessions are given where nobody says otherwise."""

    def __init__(self, calls: Calls, seconds: float) -> None:
        self._calls, self._seconds = calls, seconds
        self._tasks: set[asyncio.Task[None]] = set()

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/api/v1/drain", self.begin)]

    async def begin(self, request: web.Request) -> web.Response:
        """202, and how long those that are open still have. Asked again, it can only become sooner."""
        seconds = self._seconds_of(request)
        self._calls.reception.drain(seconds)
        task = asyncio.get_running_loop().create_task(self._end(seconds))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        told = {"sessions": self._calls.count, "ends_in_s": self._calls.reception.ends_in_s}
        return web.json_response(told, status=202)

    async def keep(self, _: Any = None) -> AsyncIterator[None]:
        """For an application's cleanup_ctx."""
        yield
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _seconds_of(self, request: web.Request) -> float:
        asked = request.query.get("seconds", str(self._seconds))
        try:
            seconds = float(asked)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds <= MOST_DRAIN_S:
            raise RefusedError(
                422, "ConfigError", f"seconds: got {asked[:20]!r}, expected 0 .. {MOST_DRAIN_S:g}"
            )
        return seconds

    async def _end(self, seconds: float) -> None:
        await self._calls.drain(seconds)
        await self._calls.end_all()
