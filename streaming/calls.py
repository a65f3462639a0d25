"""The sessions that are open now: few, each with its peer, and all ended with the server."""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
from collections import deque
from collections.abc import Callable, Collection
from typing import Final, Protocol

from engine.worker.interface import SourceInfo, Worker
from streaming.candidates import clean_offer
from streaming.config import ServeConfig
from streaming.doors import RefusedError, busy
from streaming.measured import Recorder
from streaming.peer import Offer, Peer
from streaming.sources import Sources

_ANSWER_S: Final = 15.0
_CLOSE_S: Final = 3.0
_LATELY = 3  # sources of one session that are held: the one shown, one asked for, one more


class OpenPeer(Protocol):
    """As Peer.open."""

    async def __call__(
        self,
        offer: Offer,
        *,
        config: ServeConfig,
        worker: Worker,
        recorder: Recorder,
        still: SourceInfo,
        sources: Callable[[str], SourceInfo | None],
        closed: Callable[[str, str], None],
        donors: Callable[[Collection[str]], bool],
    ) -> Peer: ...


class Calls:
    """For one event loop."""

    def __init__(
        self,
        config: ServeConfig,
        worker: Worker,
        recorder: Recorder,
        sources: Sources,
        open_peer: OpenPeer = Peer.open,
    ) -> None:
        self._config, self._worker, self._recorder, self._sources = config, worker, recorder, sources
        self._open_peer = open_peer
        self._peers: dict[str, tuple[Peer, str]] = {}
        self._looked_up: dict[str, deque[str]] = {}
        self._donors: dict[str, frozenset[str]] = {}
        self._closed = False

    @property
    def closing(self) -> bool:
        """Whether the server is ending."""
        return self._closed

    def shown(self) -> set[str]:
        """Ids of the sources that a session shows or was about to show lately, and of its donors."""
        held = [*self._looked_up.values(), *self._donors.values()]
        return {source for sources in held for source in sources}

    async def open(self, offer: Offer, still: SourceInfo) -> Peer:
        """Answer an offer. Raises RefusedError (429 too many, 504 no answer in time), InputError or WorkerError."""
        most = self._config.worker.sessions
        if self._closed or len(self._looked_up) >= most:
            raise busy(f"{most} of {most} sessions are open; end one of them first", wait_s=5)
        place = secrets.token_hex(8)
        self._looked_up[place] = deque([still.id], _LATELY)
        try:
            peer = await self._answered(offer, still, place)
        except BaseException:
            self._looked_up.pop(place)
            self._donors.pop(place, None)
            raise
        if self._closed:
            await peer.close("shutdown")
        return peer

    async def _answered(self, offer: Offer, still: SourceInfo, place: str) -> Peer:
        cleaned = clean_offer(offer.sdp, public=self._config.public_ice)
        ended = False

        def closed(session: str, reason: str) -> None:
            nonlocal ended
            ended = True
            self._forget(place, session)

        try:
            async with asyncio.timeout(_ANSWER_S):
                peer = await self._open_peer(
                    dataclasses.replace(offer, sdp=cleaned),
                    config=self._config,
                    worker=self._worker,
                    recorder=self._recorder,
                    still=still,
                    sources=lambda source: self._look_up(place, source),
                    closed=closed,
                    donors=lambda sources: self._hold(place, sources),
                )
        except TimeoutError as error:
            raise RefusedError(
                504, "TimeoutError", f"no answer could be made within {_ANSWER_S:g} s"
            ) from error
        if not ended:  # it may end before it is known here
            self._peers[peer.session] = peer, place
        return peer

    def _look_up(self, place: str, source: str) -> SourceInfo | None:
        """For a peer, from any of its threads."""
        found = self._sources.get(source)
        lately = self._looked_up.get(place)
        if found is not None and lately is not None and source not in lately:
            lately.append(source)
        return found

    def _hold(self, place: str, sources: Collection[str]) -> bool:
        """For a peer: whether these donors are there; then they stay until others take their place."""
        found = all(self._sources.get(source) is not None for source in sources)
        if found and place in self._looked_up:
            self._donors[place] = frozenset(sources)
        return found

    def _forget(self, place: str, session: str) -> None:
        self._peers.pop(session, None)
        self._looked_up.pop(place, None)
        self._donors.pop(place, None)

    def change(self, session: str, change: object) -> int:
        """Change one as its own channel does. Raises RefusedError (404) where it is not open, else as Peer.change."""
        peer, _ = self._peers.get(session, (None, ""))
        if peer is None:
            raise RefusedError(404, "RequestError", "that session is not open any more")
        return peer.change(change)

    async def close(self, session: str, reason: str) -> None:
        """End one; that it is gone already is no fault."""
        peer, place = self._peers.get(session, (None, ""))
        if peer is not None:
            await peer.close(reason)
            self._forget(place, session)

    async def close_all(self, reason: str = "shutdown") -> None:
        """End every session, and open none any more."""
        self._closed = True
        closing = [asyncio.ensure_future(self.close(session, reason)) for session in list(self._peers)]
        if closing:
            await asyncio.wait(closing, timeout=_CLOSE_S)
