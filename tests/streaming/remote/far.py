"""A far server of which a test decides what it answers, byte for byte where it has to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from streaming.remote.places import Place

Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]
KEY = "a-stream-key"


@dataclass
class Far:
    """port: on loopback. asked: (method, path with its query, Authorization or "", body), in their order."""

    port: int = 0
    asked: list[tuple[str, str, str, str]] = field(default_factory=list)

    def place(self, path: str = "/whip", **others: Any) -> Place:
        return Place(f"http://127.0.0.1:{self.port}{path}", KEY, **others)


@asynccontextmanager
async def far_server(answer: Answering) -> AsyncIterator[Far]:
    """Answers everything by `answer`."""
    far = Far()

    async def handle(request: web.Request) -> web.StreamResponse:
        body = (await request.read()).decode()
        far.asked.append((request.method, request.path_qs, request.headers.get("Authorization", ""), body))
        return await answer(request)

    server = web.Server(handle)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    far.port = runner.addresses[0][1]
    try:
        yield far
    finally:
        await runner.cleanup()


@asynccontextmanager
async def raw_server(answer: bytes, *, then_s: float = 0.0) -> AsyncIterator[Far]:
    """Answers with these bytes, whatever is asked, and goes silent for a while before it hangs up."""
    far = Far()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        try:
            await writer.drain()
            await asyncio.sleep(then_s)
        except (ConnectionError, asyncio.CancelledError):
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    far.port = server.sockets[0].getsockname()[1]
    try:
        yield far
    finally:
        server.close()
