"""What was made by a POST and is reached by its own address: one connection, with the ICE session that it is at."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final, Protocol

from aiortc import RTCSessionDescription
from aiortc.sdp import SessionDescription

from engine.errors import InputError
from streaming.candidates import MOST_CANDIDATES, candidates_of, clean_candidates
from streaming.doors import RefusedError, busy
from streaming.rtc_ice import RestartableIce
from streaming.whip.fragment import Fragment, written

RESTART_AFTER_S: Final = 1.0
"""Each restart of ICE opens sockets: so long after one, another is refused (429)."""
_MOST_ENDED = 256


class Link(Protocol):
    """A connection: streaming.peer.Peer, streaming.viewer.Viewer."""

    answer: RTCSessionDescription

    @property
    def ice(self) -> RestartableIce: ...


class Resource:
    """offer: as it was cleaned. public: whether candidates with public addresses are let in. over: whether the end of
    its connection has begun. close: ends it; returns when nothing leaves any more. state: what is stated of its
    session. token: id of the token that it was made with."""

    def __init__(
        self,
        link: Link,
        offer: str,
        *,
        public: bool,
        over: Callable[[], bool],
        close: Callable[[], Awaitable[None]],
        state: Callable[[], Awaitable[dict[str, Any] | None]],
        token: str = "",
    ) -> None:
        self.token = token
        self.over, self.close, self.state = over, close, state
        self._link = link
        self.etag = _new_etag()
        self._public = public
        session = SessionDescription.parse(offer)
        bundle = next(group for group in session.group if group.semantic == "BUNDLE")
        self._mids = [str(name) for name in bundle.items]
        tagged = next(section for section in session.media if section.rtp.muxId == self._mids[0])
        self._kind = tagged.kind
        remote: Any = tagged.ice
        self._remote = str(remote.usernameFragment), str(remote.password)
        self._left = MOST_CANDIDATES - candidates_of(offer)
        self._again_at = 0.0
        self._changing = asyncio.Lock()

    async def patch(self, fragment: Fragment, matching: Collection[str] | None) -> str | None:
        """Take candidates (None), or begin ICE anew: this side's fragment, and the etag is another then.

        matching: the etags that were named, None for any. Raises RefusedError (412) where it is none of them,
        InputError for a fragment that cannot be followed.
        """
        async with self._changing:
            if matching is not None and self.etag not in matching:
                raise RefusedError(
                    412, "RequestError", "If-Match: ICE has begun anew since; take the newest ETag"
                )
            remote = fragment.ufrag, fragment.password
            if not fragment.ufrag or remote == self._remote:
                lines = self._let_in(fragment, self._left)
                self._left -= len(lines)
                self._link.ice.add(lines, ended=fragment.ended)
                return None
            if fragment.ufrag == self._remote[0] or fragment.password == self._remote[1]:
                raise InputError(
                    "fragment: ice-ufrag and ice-pwd are both new where ICE begins anew, else both known"
                )
            return await self._restart(fragment)

    async def _restart(self, fragment: Fragment) -> str:
        if time.monotonic() < self._again_at:
            raise busy("ICE began anew a moment ago; wait a little")
        lines = self._let_in(fragment, MOST_CANDIDATES)
        try:
            own = await self._link.ice.begin()
        except ConnectionError as error:
            raise gone() from error
        self._link.ice.turn_to(fragment.ufrag, fragment.password, lines, ended=fragment.ended)
        self._remote = fragment.ufrag, fragment.password
        self._left = MOST_CANDIDATES - len(lines)
        self._again_at = time.monotonic() + RESTART_AFTER_S
        self.etag = _new_etag()
        return written(own.ufrag, own.password, own.candidates, self._kind, self._mids)

    def _let_in(self, fragment: Fragment, most: int) -> list[str]:
        return clean_candidates(fragment.candidates, public=self._public, most=most, what="fragment")


class Resources:
    """Those that are there, by path."""

    def __init__(self) -> None:
        self._by_path: dict[str, Resource] = {}
        self._ended: deque[str] = deque(maxlen=_MOST_ENDED)

    def add(self, path: str, resource: Resource) -> None:
        """What is kept of those whose connection is over, from here on, is their path."""
        self._ended += [at for at, one in self._by_path.items() if one.over()]
        self._by_path = {at: one for at, one in self._by_path.items() if not one.over()}
        self._by_path[path] = resource

    def find(self, path: str) -> Resource:
        """Raises RefusedError (404)."""
        found = self._by_path.get(path)
        if found is None or found.over():
            raise gone()
        return found

    async def end_of(self, token: str) -> None:
        """All that were made with the token of this id; returns when nothing of them leaves any more."""
        made = [path for path, one in self._by_path.items() if one.token == token and not one.over()]
        await asyncio.gather(*(self.end(path) for path in made))

    async def end(self, path: str) -> None:
        """Once for each that was there, also when it has ended by itself meanwhile. Raises RefusedError (404)."""
        found = self._by_path.pop(path, None)
        if found is not None:
            await found.close()
        elif path in self._ended:
            self._ended.remove(path)
        else:
            raise gone()


def gone() -> RefusedError:
    """404."""
    return RefusedError(404, "RequestError", "that session is not open any more")


def _new_etag() -> str:
    return f'"{secrets.token_hex(8)}"'
