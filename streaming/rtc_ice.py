"""ICE that can be begun anew under a connection that stays (RFC 8445, 9.), and candidates that come later.

Reaches into aiortc and aioice, as streaming/rtc.py does. aiortc has one aioice connection for good. Here an object
stands in its place that can be pointed at a fresh one: the old one carries on until the fresh one is connected, what
comes over either goes into one queue, and DTLS and SRTP never hear of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Final

import aioice
from aioice.ice import ConnectionClosed, ConnectionEvent
from aiortc import RTCIceServer, RTCIceTransport, RTCPeerConnection
from aiortc.rtcicetransport import RTCIceGatherer, candidate_from_aioice, candidate_to_aioice
from aiortc.sdp import candidate_from_sdp, candidate_to_sdp

from engine.errors import ConfigError
from streaming import rtc_ports
from streaming.rtc_ports import Ports, PortsConnection, add_relay

_log = logging.getLogger(__name__)

RESTART_S: Final = 30.0
"""A restart that finds no way for so long is given up; the old way stays for as long as it carries."""
_LINGER_S = 3.0  # what is on its way over the old one may still arrive (RFC 8445, 8.3.1)

USED: Final[tuple[tuple[Any, str, str], ...]] = (
    (RTCIceGatherer, "__init__", "_connection"),
    (RTCIceGatherer, "gather", "_connection gather_candidates"),
    (RTCIceGatherer, "getLocalCandidates", "_connection local_candidates"),
    (RTCIceGatherer, "getLocalParameters", "_connection local_username local_password"),
    (RTCIceTransport, "__init__", "_connection _recv _send recv send"),
    (
        RTCIceTransport,
        "start",
        "_connection remote_is_lite remote_username remote_password connect",
    ),
    (RTCIceTransport, "addRemoteCandidate", "_connection add_remote_candidate _remote_candidates_end"),
    (RTCIceTransport, "stop", "_connection close"),
    (RTCIceTransport, "_monitor", "_connection get_event ConnectionClosed"),
    (aioice.Connection, "data_received", "_queue put_nowait"),
    (aioice.Connection, "recvfrom", "_queue _nominated get"),
    (aioice.Connection, "close", "_queue put_nowait _query_consent_task _emit_event _closed"),
    (aioice.Connection, "get_event", "_closed _event_waiter"),
    (aioice.Connection, "connect", "_query_consent_task query_consent"),
    (aioice.Connection, "__init__", "_use_ipv4 _use_ipv6 _transport_policy _components"),
    *rtc_ports.USED,
)
"""For streaming.rtc.check_aiortc."""


@dataclass(frozen=True, slots=True)
class Own:
    """This side of an ICE session. candidates: lines, "a=candidate:..."."""

    ufrag: str
    password: str
    candidates: tuple[str, ...]


def _handed_on(name: str) -> property:
    """A field of the session that carries."""

    def get(ice: RestartableIce) -> Any:
        return getattr(ice._now, name)

    def put(ice: RestartableIce, value: Any) -> None:
        setattr(ice._now, name, value)

    return property(get, put)


class RestartableIce:
    """Stands where a transport has its aioice connection. All of it runs on the event loop.

    Made before setLocalDescription, for a connection whose media share one transport. Candidates are lines that
    streaming.candidates has let in ("a=candidate:..."). ports: where its sockets are opened; None: anywhere. silent:
    whether no picture and no sound may leave now: this is the last place of ours before a socket.
    """

    def __init__(
        self,
        connection: RTCPeerConnection,
        ports: Ports | None = None,
        silent: Callable[[], bool] = lambda: False,
    ) -> None:
        self._silent = silent
        transport: Any = _transport_of(connection)
        self._now: Any = transport._connection
        if ports is not None:
            self._now = _again(self._now, ports)
        self._next: Any = None
        self._past: list[Any] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._taking_over: asyncio.Task[None] | None = None
        self._closed = False
        transport._connection = transport.iceGatherer._connection = self
        transport._recv, transport._send = self.recv, self.send

    def add(self, candidates: Iterable[str], *, ended: bool = False) -> None:
        """Take candidates of the other side's newest session; names are looked up meanwhile. ended: these were all."""
        if not self._closed:
            self._keep(_add_to(self._next or self._now, candidates, ended))

    async def relay(self, servers: Iterable[RTCIceServer]) -> int:
        """Use the relays among them too, before the other side is described; how many answered."""
        return sum(await asyncio.gather(*(add_relay(self._now, server) for server in servers)))

    async def begin(self) -> Own:
        """This side of a new session, whole; one that was begun before and found no way yet gives way to it.

        The connection goes on as it was until `turn_to`. Raises ConnectionError when it is closed.
        """
        fresh = _again(self._now)
        try:
            await fresh.gather_candidates()
            await self._give_up_next()
            if self._closed:
                raise ConnectionError("the connection is closed")
        except BaseException:
            await _retire(fresh)
            raise
        self._next = fresh
        own = (
            f"a=candidate:{candidate_to_sdp(candidate_from_aioice(each))}" for each in fresh.local_candidates
        )
        return Own(fresh.local_username, fresh.local_password, tuple(own))

    def turn_to(self, ufrag: str, password: str, candidates: Iterable[str], *, ended: bool = False) -> None:
        """Look for a way to the other side of the session that was begun. The old way carries until it is found, and
        for as long as it can where none is."""
        fresh = self._next
        if fresh is None or self._taking_over is not None:
            raise ConfigError("ICE: got the other side of a session that was not begun")
        fresh.remote_username, fresh.remote_password = ufrag, password
        _pause_consent(self._now)
        self._keep(_add_to(fresh, candidates, ended))
        self._taking_over = self._keep(self._take_over(fresh))

    async def _take_over(self, fresh: Any) -> None:
        try:
            async with asyncio.timeout(RESTART_S):
                await fresh.connect()
        except (ConnectionError, TimeoutError):
            _log.info("a restart of ICE found no way; the old one stays")
            self._next = self._taking_over = None
            await _retire(fresh)
            _resume_consent(self._now)
            return
        old, self._now, self._next, self._taking_over = self._now, fresh, None, None
        self._past.append(old)
        if old._nominated:
            await asyncio.sleep(_LINGER_S)
        await _retire(old)
        self._past.remove(old)

    async def _give_up_next(self) -> None:
        task, given_up, self._taking_over, self._next = self._taking_over, self._next, None, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        if given_up is not None:
            await _retire(given_up)

    def _keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._let_go)
        return task

    def _let_go(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("ICE: a step of it ended: %r", error)

    # What aiortc asks of an aioice connection.

    async def connect(self) -> None:
        first = self._now
        try:
            await first.connect()
        except ConnectionError:
            if self._taking_over is not None:
                await asyncio.wait([self._taking_over])
            if self._now is first or self._closed:
                raise

    async def recv(self) -> bytes:
        data: bytes = await self._now.recv()
        return data

    async def send(self, data: bytes) -> None:
        if carries_media(data) and self._silent():
            return
        await self._now.send(data)

    async def get_event(self) -> ConnectionEvent:
        """The end of the session that carries; those before it end unheard."""
        while True:
            heard = self._now
            event = await heard.get_event()
            if heard is self._now:
                return event or ConnectionClosed()

    async def close(self) -> None:
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for session in (*self._past, self._next):
            if session is not None:
                await _retire(session)
        await self._now.close()

    async def gather_candidates(self) -> None:
        await self._now.gather_candidates()

    async def add_remote_candidate(self, candidate: aioice.Candidate | None) -> None:
        await self._now.add_remote_candidate(candidate)

    @property
    def local_candidates(self) -> list[aioice.Candidate]:
        return list(self._now.local_candidates)

    @property
    def remote_candidates(self) -> list[aioice.Candidate]:
        return list(self._now.remote_candidates)

    @property
    def local_username(self) -> str:
        return str(self._now.local_username)

    @property
    def local_password(self) -> str:
        return str(self._now.local_password)

    @property
    def _protocols(self) -> list[Any]:
        """The sockets, for streaming.rtc_repair.widen_buffers."""
        return list(self._now._protocols)

    ice_controlling = _handed_on("ice_controlling")
    remote_is_lite = _handed_on("remote_is_lite")
    remote_username = _handed_on("remote_username")
    remote_password = _handed_on("remote_password")


def carries_media(data: bytes) -> bool:
    """Whether a packet is one of RTP: neither DTLS nor STUN (RFC 7983), nor reports of RTCP (RFC 5761, 4.)."""
    return len(data) > 1 and 128 <= data[0] < 192 and not 192 <= data[1] < 224


def _again(session: Any, ports: Ports | None = None) -> Any:
    """A connection as this one was made, with a name and a password of its own; it fills the same queue. ports: where
    its sockets are opened, None as this one's are."""
    asked = ("stun_server", "turn_server", "turn_username", "turn_password", "turn_ssl", "turn_transport")
    ports = ports or getattr(session, "ports", None)
    kind = type(session) if ports is None else PortsConnection
    fresh = kind(
        ice_controlling=session.ice_controlling,
        use_ipv4=session._use_ipv4,
        use_ipv6=session._use_ipv6,
        transport_policy=session._transport_policy,
        **{name: getattr(session, name) for name in asked},
    )
    if ports is not None:
        fresh.ports = ports
    fresh.remote_is_lite = session.remote_is_lite
    fresh._queue = session._queue
    return fresh


async def _retire(session: Any) -> None:
    """Free it, and let nobody who reads the common queue hear of its end."""
    session._queue = asyncio.Queue()
    await session.close()


async def _add_to(session: Any, candidates: Iterable[str], ended: bool) -> None:
    read = [candidate_to_aioice(candidate_from_sdp(line.removeprefix("a=candidate:"))) for line in candidates]
    await asyncio.gather(*(_add_one(session, each) for each in read))
    if ended:
        await _add_one(session, None)


async def _add_one(session: Any, candidate: aioice.Candidate | None) -> None:
    if not session._remote_candidates_end:  # after it, aioice raises
        await session.add_remote_candidate(candidate)


def _pause_consent(session: Any) -> None:
    """While a way is looked for, the old one's silence ends nothing."""
    if session._query_consent_task is not None:
        session._query_consent_task.cancel()


def _resume_consent(session: Any) -> None:
    if session._query_consent_task is not None and not session._closed:
        session._query_consent_task = asyncio.get_running_loop().create_task(session.query_consent())


def _transport_of(connection: RTCPeerConnection) -> RTCIceTransport:
    for transceiver in connection.getTransceivers():
        return transceiver.receiver.transport.transport
    if connection.sctp is None:
        raise ConfigError("connection: got one without media, expected it after setRemoteDescription")
    return connection.sctp.transport.transport
