"""All pushes and pulls of one server."""

from __future__ import annotations

import asyncio
from typing import Final

from engine.errors import ConfigError
from engine.types import Mode
from engine.worker.interface import DriverKind, SessionSpec
from streaming.calls import Calls
from streaming.config import ServeConfig
from streaming.measured import Recorder
from streaming.refusals import RefusedError, busy
from streaming.remote.kept import Kept
from streaming.remote.places import MOST_PLACES, Place
from streaming.remote.whip import WhepPull, WhipPush
from streaming.session import Session
from streaming.sources import Sources
from streaming.transport import LostError

HOLD_S: Final = 60.0
"""So long a pull's session waits for its driver to come back; meanwhile who watches sees the portrait at rest."""

_LOOK_S: Final = 0.25
_CLOSE_S: Final = 6.0


class Remotes:
    """On the event loop."""

    def __init__(self, config: ServeConfig, calls: Calls, sources: Sources, recorder: Recorder) -> None:
        self._config, self._calls, self._sources, self._recorder = config, calls, sources, recorder
        self._kept: dict[str, Kept] = {}

    def start(self) -> None:
        """Begin those of the configuration."""
        for kind, places in (("push", self._config.pushes), ("pull", self._config.pulls)):
            for place in places:
                self.add(kind, place)

    def add(self, kind: str, place: Place) -> Kept:
        """Begin another one. kind: "push" or "pull". Raises RefusedError: 429 too many, 409 it is there."""
        if len(self._kept) >= MOST_PLACES:
            raise busy(f"{MOST_PLACES} pushes and pulls are there; remove one of them first", wait_s=5)
        for other in self._kept.values():
            same = kind == "pull" or other.place.url == place.url
            if (other.kind, other.place.stream) == (kind, place.stream) and same:
                raise RefusedError(409, "RequestError", f"this {kind} of {place.stream} is there already")
        seat = _Driven(place, self._calls, self._sources) if kind == "pull" else _Shown(place, self._calls)
        make = WhepPull if kind == "pull" else WhipPush
        kept = Kept(kind, place, lambda: make(place, self._config), seat, self._recorder)
        self._kept[kept.id] = kept
        kept.start()
        return kept

    def find(self, id: str) -> Kept | None:
        """One that is there."""
        return self._kept.get(id)

    def all(self) -> list[Kept]:
        """The oldest first."""
        return list(self._kept.values())

    async def remove(self, id: str) -> None:
        """End one; returns when nothing of it leaves or comes any more. That it is gone already is no fault."""
        kept = self._kept.pop(id, None)
        if kept is not None:
            await kept.close()

    async def close(self) -> None:
        """End all."""
        closing = [asyncio.ensure_future(self.remove(id)) for id in list(self._kept)]
        if closing:
            await asyncio.wait(closing, timeout=_CLOSE_S)


class _Shown:
    """The session that is published as a push's stream, whoever drives it."""

    def __init__(self, place: Place, calls: Calls) -> None:
        self._place, self._calls = place, calls

    async def there(self) -> None:
        while self._calls.published(self._place.stream) is None:
            await asyncio.sleep(_LOOK_S)

    async def open(self) -> Session:
        session = self._calls.published(self._place.stream)
        if session is None:
            raise LostError("session", f"{self._place.stream}: it is not published any more")
        return session

    def lost(self) -> None:
        """The session goes on without it."""

    async def close(self) -> None:
        """Nothing is held."""


class _Driven:
    """The session that a pulled stream drives: opened with the first connection, and held for a while without one."""

    def __init__(self, place: Place, calls: Calls, sources: Sources) -> None:
        self._place, self._calls, self._sources = place, calls, sources
        self._mode = Mode(place.mode) if place.mode else None
        self._session: Session | None = None
        self._leaving: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def there(self) -> None:
        """A source that is prepared is needed, as by /readyz."""
        while not self._sources.started:
            await asyncio.sleep(_LOOK_S)

    async def open(self) -> Session:
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        if self._session is None or self._session.over:
            place = self._place
            still = self._sources.get(place.source) if place.source else self._sources.first
            if still is None:
                raise ConfigError("source: it is not there any more; add it again")
            spec = SessionSpec(still.id, DriverKind.CAMERA, bundle=place.bundle, mode=self._mode)
            self._session = await self._calls.start(spec, still, place.stream, camera=True)
        return self._session

    def lost(self) -> None:
        if self._session is not None and self._leaving is None:
            self._leaving = asyncio.get_running_loop().call_later(HOLD_S, self._leave)

    async def close(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
        session, self._session = self._session, None
        if session is not None:
            await self._calls.close(session.id, "connection")

    def _leave(self) -> None:
        self._leaving = None
        task = asyncio.get_running_loop().create_task(self.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
