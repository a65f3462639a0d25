"""A server with real connections and a worker of which a test decides what it does, to which others come over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from engine.worker.interface import SourceInfo
from streaming.config import ServeConfig
from streaming.peer import Peer
from tests.streaming import calls
from tests.streaming.calls import source_info
from tests.streaming.doorstep import Site, open_site

PATIENCE_S = 60.0
"""How long a test waits for what must come; no measure of speed."""


class HouseWorker(calls.FakeWorker):
    """As of a call; every picture that is added is one and the same."""

    def __init__(self) -> None:
        super().__init__()
        self.dropped: list[str] = []

    def add_source(self, data: bytes, name: str) -> Future[SourceInfo]:
        future: Future[SourceInfo] = Future()
        info = source_info("a" * 64)
        self.sources[info.id] = info
        future.set_result(info)
        return future

    def drop_source(self, source: str) -> None:
        self.dropped.append(source)


@contextmanager
def open_house(config: ServeConfig | None = None, port: int = 0) -> Iterator[Site]:
    """MAROTTE_STATE has to name a folder of the test's."""
    worker = HouseWorker()
    worker.start()
    try:
        with open_site(config, worker=worker, open_peer=Peer.open, port=port) as site:  # type: ignore[arg-type]
            yield site
    finally:
        worker.close()


async def until(condition: Callable[[], Any], within_s: float = PATIENCE_S) -> Any:
    """Wait until it holds; returns its value."""
    async with asyncio.timeout(within_s):
        while not (value := condition()):
            await asyncio.sleep(0.02)
        return value
