"""The sessions that are open now: few, found by id and by stream, and all ended with the server."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Any, Final, Protocol

from engine.errors import ConfigError
from engine.session_log import Event, Keeping, NoJournal
from engine.types import Mode
from engine.worker.changes import checked, settled
from engine.worker.interface import DriverKind, SessionSpec, SourceInfo, Worker
from streaming.candidates import clean_offer
from streaming.config import ServeConfig
from streaming.doors import RefusedError, busy
from streaming.kill import KillSwitch
from streaming.load import Seen
from streaming.measured import ServerRecorder
from streaming.offer import Sections, sections_of_driver, sections_of_viewer, spec_of
from streaming.peer import Offer, Peer
from streaming.reception import Reception
from streaming.session import Session
from streaming.showing import hold_donors
from streaming.sources import Sources
from streaming.viewer import Viewer

_ANSWER_S: Final = 15.0
_CLOSE_S: Final = 3.0
_LOOK_S: Final = 0.1
_LATELY = 3  # sources of one session that are held: the one shown, one asked for, one more
_STREAM = re.compile(r"[a-z0-9-]{1,64}")


class OpenPeer(Protocol):
    """As Peer.open."""

    async def __call__(
        self, offer: Offer, session: Session, sections: Sections, *, config: ServeConfig
    ) -> Peer: ...


class Names(Protocol):
    """What the names of streams stand for that are not simply published: seats of rooms. All raise RefusedError."""

    async def publishing(self, stream: str) -> None:
        """Before one is published."""
        ...

    def watched(self, stream: str) -> str:
        """What is watched by this name."""
        ...

    async def watching(self, stream: str, viewer: Viewer) -> None:
        """Somebody watches by this name."""
        ...


class Calls:
    """For one event loop. names: None where every name stands for itself."""

    names: Names | None = None
    stated: Callable[[Session], Awaitable[dict[str, Any] | None]] | None = None
    """What is stated of a session, signed; None where nothing is."""
    recorded: Callable[[Session], dict[str, Any] | None] = staticmethod(lambda session: None)
    """Its recording, where there is one."""
    journal: Keeping = NoJournal()
    """Where sessions are logged."""

    def __init__(
        self,
        config: ServeConfig,
        worker: Worker,
        recorder: ServerRecorder,
        sources: Sources,
        open_peer: OpenPeer = Peer.open,
        switch: KillSwitch | None = None,
    ) -> None:
        self._config, self._worker, self._recorder, self._sources = config, worker, recorder, sources
        self._open_peer = open_peer
        self._seats: dict[str, _Seat] = {}
        self._closed = False
        self.reception = Reception(config.admission, recorder, self._seen, self._workers)
        """Who is let in."""
        self.switch = switch or KillSwitch()
        """The operator's; None is one of these calls alone."""

    def _seen(self) -> list[Seen]:
        return [seat.session.seen() for seat in self._seats.values() if not seat.session.over]

    def _workers(self) -> list[int]:
        pid = self._worker.status().pid
        return [] if pid is None or pid == os.getpid() else [pid]

    @property
    def closing(self) -> bool:
        """Whether the server is ending."""
        return self._closed

    @property
    def count(self) -> int:
        """How many sessions are open."""
        return len(self._seats)

    def shown(self) -> set[str]:
        """Ids of the sources that a session shows or was about to show lately, and of its donors."""
        return {source for seat in self._seats.values() for source in (*seat.lately, *seat.donors)}

    async def open(
        self,
        offer: Offer,
        still: SourceInfo,
        stream: str = "",
        *,
        first: Callable[[], Awaitable[None]] | None = None,
    ) -> Peer:
        """Answer an offer by a new session, published as `stream` (the session's id where that is empty). first: what
        is to be done before it is looked at who may be shown, once nothing else speaks against it.

        Raises RefusedError (409 the stream is there already, 429 too many, 503 no room, 504 no answer in time),
        InputError or WorkerError; nothing is left then.
        """
        if self.names is not None:
            await self.names.publishing(stream)
        self._check_room(stream)
        offer = dataclasses.replace(offer, sdp=clean_offer(offer.sdp, public=self._config.public_ice))
        spec = spec_of(offer, still.id)
        sections = sections_of_driver(offer, spec.driver)
        if first is not None:
            self._check_spec(spec)
            await first()
            self._check_room(stream)  # meanwhile another one may have taken the place
        session = self._seated(spec, still, stream, camera=sections.camera)
        try:
            async with asyncio.timeout(_ANSWER_S):
                peer = await self._open_peer(offer, session, sections, config=self._config)
        except BaseException as error:
            self.reception.left(session.spec.bundle)
            await self._unseat(session, "connection")
            if isinstance(error, TimeoutError):
                raise _no_answer() from error
            raise
        if self._closed or self.switch.killed:
            await self._unseat(session, "shutdown" if self._closed else "killed")
            self._check_alive()
        return peer

    async def watch(self, stream: str, sdp: str, codec: str = "auto") -> Viewer:
        """Answer an offer to watch what is published as `stream`; viewers end with it.

        Raises RefusedError (404 nothing is published there, 429 too many viewers, 504 no answer in time) or InputError;
        nothing is left then.
        """
        self._check_alive()
        session = self.published(stream if self.names is None else self.names.watched(stream))
        if session is None:
            raise RefusedError(404, "RequestError", "nothing is published there, or not any more")
        self._check_view(session)
        sdp = clean_offer(sdp, public=self._config.public_ice)
        try:
            async with asyncio.timeout(_ANSWER_S):
                viewer = await Viewer.open(
                    sdp, session, sections_of_viewer(sdp), config=self._config, codec=codec
                )
        except TimeoutError as error:
            raise _no_answer() from error
        if self.names is not None:
            await self.names.watching(stream, viewer)
        return viewer

    def _check_view(self, session: Session) -> None:
        most, total = self._config.viewers, self._config.viewers_total
        if session.viewers >= most:
            raise busy(f"{most} of {most} viewers watch this session; wait until one leaves", wait_s=5)
        if sum(seat.session.viewers for seat in self._seats.values()) >= total:
            raise busy(f"{total} of {total} viewers watch this server; wait until one leaves", wait_s=5)

    async def start(
        self, spec: SessionSpec, still: SourceInfo, stream: str = "", *, camera: bool = False
    ) -> Session:
        """Open a session that no offer asked for; whoever drives it is to be its link. camera: whether frames will
        come. Raises as `open` does."""
        self._check_room(stream)
        session = self._seated(spec, still, stream, camera=camera)
        try:
            await session.open()
        except BaseException:
            self.reception.left(session.spec.bundle)
            await self._unseat(session, "connection")
            raise
        return session

    def all(self) -> list[Session]:
        """Those that are open, the oldest first."""
        return [seat.session for seat in self._seats.values() if not seat.session.over]

    def session(self, session: str) -> Session | None:
        """An open one, by its id."""
        return next((seat.session for seat in self._seats.values() if seat.session.id == session), None)

    def published(self, stream: str) -> Session | None:
        """An open one, by its stream."""
        seat = self._seats.get(stream)
        return None if seat is None or seat.session.over else seat.session

    def tracked(self) -> list[Session]:
        """Those that an external tracker drives now; from any thread."""
        sessions = [seat.session for seat in list(self._seats.values())]
        return [session for session in sessions if session.driver is DriverKind.TRACKER]

    def change(self, session: str, change: object) -> int:
        """Change one as its own channel does. Raises RefusedError (404) where it is not open, else as Session's."""
        found = self.session(session)
        if found is None:
            raise RefusedError(404, "RequestError", "that session is not open any more")
        return found.change(change)

    async def close(self, session: str, reason: str) -> None:
        """End one; that it is gone already is no fault."""
        found = self.session(session)
        if found is not None:
            await self._unseat(found, reason)

    async def drain(self, seconds: float) -> None:
        """Let nobody in any more, and return when the last session has ended or this time is over; those that are open
        are told by their reports."""
        self.reception.drain(seconds)
        self.journal.tell(Event.DRAINING, seconds=seconds)
        while any(not seat.session.over for seat in self._seats.values()) and self.reception.ends_in_s:
            await asyncio.sleep(_LOOK_S)

    async def close_all(self, reason: str = "shutdown") -> None:
        """End every session, and open none any more."""
        self._closed = True
        await self.end_all(reason)

    async def end_all(self, reason: str = "shutdown") -> None:
        """End every session that is open now."""
        sessions = [seat.session for seat in self._seats.values()]
        closing = [asyncio.ensure_future(self._unseat(session, reason)) for session in sessions]
        if closing:
            await asyncio.wait(closing, timeout=_CLOSE_S)

    def _check_alive(self) -> None:
        """Raises RefusedError (503) while the operator has stopped all output."""
        if self.switch.killed:
            self._recorder.session_refused("killed")
        self.switch.check()

    def _check_room(self, stream: str) -> None:
        most = self._config.worker.sessions
        self._check_alive()
        self.reception.check_draining()
        if self._closed or len(self._seats) >= most:
            self.reception.full()
            raise busy(f"{most} of {most} sessions are open; end one of them first", wait_s=5)
        if stream and not _STREAM.fullmatch(stream):
            raise ConfigError(f"stream: got {stream[:80]!r}, expected 1 to 64 of a-z, 0-9 and -")
        if stream in self._seats:
            raise RefusedError(
                409, "RequestError", f"stream {stream} is published already; choose another name"
            )

    def _check_spec(self, spec: SessionSpec) -> None:
        """What a session's opening looks at before consent. Raises ConfigError."""
        if not self._config.pass_through:
            settled(checked(spec), self._worker.bundles(), edit=self._config.worker.edit)
            hold_donors(lambda ids: all(self._sources.get(one) is not None for one in ids), spec.donors)

    def _seated(self, spec: SessionSpec, still: SourceInfo, stream: str, *, camera: bool) -> Session:
        """A session that is not open yet, but has its place."""
        seat = _Seat(self._sources, still)
        session = Session(
            spec,
            config=self._config,
            worker=self._worker,
            recorder=self._recorder,
            still=still,
            sources=seat.look_up,
            closed=lambda id, reason: self._forget(seat),
            donors=seat.hold,
            camera=camera,
            stream=stream,
            killed=lambda: self.switch.killed,
            consents=self._sources.consents,
        )
        side = self._config.worker.side
        edited = session.spec.mode is Mode.EDIT
        self.reception.admit(
            session.spec.bundle, side * side * 3 // 4 if edited else still.size[0] * still.size[1]
        )
        session.ends_in_s = lambda: self.reception.ends_in_s
        if self.stated is not None:
            session.state = partial(self.stated, session)
        session.recorded = partial(self.recorded, session)
        session.lines.journal = self.journal
        seat.session = session
        self._seats[session.stream] = seat
        return session

    async def _unseat(self, session: Session, reason: str) -> None:
        seat = self._seats.get(session.stream)
        await session.close(reason)
        if seat is not None and seat.session is session:
            self._forget(seat)

    def _forget(self, seat: _Seat) -> None:
        if self._seats.get(seat.session.stream) is seat:
            del self._seats[seat.session.stream]


def _no_answer() -> RefusedError:
    return RefusedError(504, "TimeoutError", f"no answer could be made within {_ANSWER_S:g} s")


class _Seat:
    """A session's place, and the sources that it needs."""

    session: Session

    def __init__(self, sources: Sources, still: SourceInfo) -> None:
        self._sources = sources
        self.lately = deque([still.id], _LATELY)
        self.donors: frozenset[str] = frozenset()

    def look_up(self, source: str) -> SourceInfo | None:
        """For a session, from any of its threads."""
        found = self._sources.get(source)
        if found is not None and source not in self.lately:
            self.lately.append(source)
        return found

    def hold(self, sources: Collection[str]) -> bool:
        """For a session: whether these donors are there; then they stay until others take their place."""
        found = all(self._sources.get(source) is not None for source in sources)
        if found:
            self.donors = frozenset(sources)
        return found
