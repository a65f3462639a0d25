"""/api/v1/kill: all output ended at once, and released by name; docs/stop.md.

What has ended the output is the switch itself (streaming/kill.py), which every way out looks at. Here it is turned, and
the sessions that have nothing to send any more are ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from aiohttp import web

from streaming.calls import Calls
from streaming.kill import BY, KillSwitch, told, why_killed, why_of
from streaming.measured import ServerRecorder


class Killing:
    """Of one application. switch: started and closed by the caller."""

    def __init__(self, switch: KillSwitch, calls: Calls, recorder: ServerRecorder) -> None:
        self._switch, self._calls, self._recorder = switch, calls, recorder
        self._tasks: set[asyncio.Task[None]] = set()

    def routes(self) -> list[web.RouteDef]:
        """For an application."""
        path = "/api/v1/kill"
        return [web.get(path, self.look), web.post(path, self.kill), web.delete(path, self.release)]

    async def look(self, request: web.Request) -> web.Response:
        """Whether it is killed, since when and why."""
        return web.json_response(told(self._switch))

    async def kill(self, request: web.Request) -> web.Response:
        """200 when nothing leaves any more, whatever reason was given; the sessions are freed after it. Asked again it
        changes nothing."""
        self._switch.hold()  # before anything that could wait
        why = why_killed(request.query)
        sessions = self._calls.count
        await asyncio.to_thread(self._switch.kill, why, BY)
        return web.json_response(told(self._switch) | {"sessions": sessions})

    async def release(self, request: web.Request) -> web.Response:
        """Sessions may be opened again. It has to be said why: nobody does this by the way."""
        why = why_of(request.query)
        await asyncio.to_thread(self._switch.release, why, BY)
        return web.json_response(told(self._switch))

    async def keep(self, _: Any = None) -> AsyncIterator[None]:
        """For an application's cleanup_ctx."""
        loop = asyncio.get_running_loop()

        def turned(killed: bool) -> None:
            with suppress(RuntimeError):  # the loop has ended, and all sessions with it
                loop.call_soon_threadsafe(self._turned, killed)

        stop = self._switch.watch(turned)
        self._recorder.killed(self._switch.killed)
        yield
        stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _turned(self, killed: bool) -> None:
        self._recorder.killed(killed)
        if killed:
            task = asyncio.get_running_loop().create_task(self._calls.end_all("killed"))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
