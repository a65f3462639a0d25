"""One RTCPeerConnection of the server's: answered, watched, and closed with every part of it."""

from __future__ import annotations

import asyncio
import datetime
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.exceptions import InternalError, InvalidAccessError, InvalidStateError, OperationError
from aiortc.stats import (
    RTCInboundRtpStreamStats,
    RTCRemoteInboundRtpStreamStats,
    RTCRemoteOutboundRtpStreamStats,
)

from engine.errors import InputError
from streaming.config import ServeConfig
from streaming.offer import ice_servers
from streaming.rtc import close_parts
from streaming.rtc_handshake import hasten_handshakes
from streaming.rtc_ice import RestartableIce
from streaming.rtc_repair import widen_buffers
from streaming.rtc_tls import take_rsa

CONNECT_S = 15.0
"""A connection that is not up so long after its answer is ended."""
SILENT_S = 10.0
"""Another side that has said nothing for so long is gone; ICE alone takes 30 s to notice."""
AGAIN_S = 4.0
"""The same of a connection that this side makes again by itself: a sender reports every second whatever it sends."""

_CLOSE_S = 5.0
_HEAR_S = 1.0
_log = logging.getLogger(__name__)


class Connection:
    """From an offer to its end, on the event loop.

    session: whose it is, for the log. lost: called, perhaps more than once, when it never came up, failed, was closed
    by the other side, or fell silent. offers: this side makes the offer. silent: as RestartableIce has it.
    """

    def __init__(
        self,
        config: ServeConfig,
        session: str,
        lost: Callable[[], None],
        *,
        offers: bool = False,
        silent: Callable[[], bool] = lambda: False,
    ) -> None:
        policy = RTCBundlePolicy.MAX_BUNDLE if offers else RTCBundlePolicy.BALANCED
        self.rtc = RTCPeerConnection(RTCConfiguration(iceServers=ice_servers(config), bundlePolicy=policy))
        self._ports, self._silent = config.udp_ports, silent
        take_rsa(self.rtc)
        self.ice: RestartableIce
        """There once the other side is described, or the offer is made."""
        self._session = session
        self._lost = lost
        self._silent_s = AGAIN_S if offers else SILENT_S
        self._closing = False
        self._connected = False
        self._deadline: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._hearings: list[tuple[Hearing, bool]] = []
        self.rtc.on("connectionstatechange", self._changed)

    @property
    def connected(self) -> bool:
        return self.rtc.connectionState == "connected"

    async def describe(self, sdp: str, kind: str = "offer") -> None:
        """Take the other side's description. Raises InputError."""
        try:
            await self.rtc.setRemoteDescription(RTCSessionDescription(sdp, kind))
        except OperationError as error:
            if "audio" in str(error):
                raise InputError("sound: the offer has no Opus; leave its sound out, or add it") from None
            raise InputError("codec: the offer has neither VP8 nor H.264; try another browser") from None
        except (ValueError, LookupError, InternalError, InvalidAccessError, InvalidStateError) as error:
            raise InputError(f"sdp: it cannot be read ({error}); reload the page") from None
        self.ice = RestartableIce(self.rtc, self._ports, self._silent)
        hasten_handshakes(self.rtc)

    async def offer(self) -> str:
        """An offer of the transceivers that were added, with every candidate in it."""
        self.ice = RestartableIce(self.rtc, self._ports, self._silent)
        await self.rtc.setLocalDescription(await self.rtc.createOffer())
        return str(self.rtc.localDescription.sdp)

    async def accept(self, sdp: str) -> None:
        """Take the answer; from now on it has CONNECT_S to come up. Before it does anything the caller may say, without
        waiting for anything, what its transceivers are to do. Raises InputError."""
        self._deadline = asyncio.get_running_loop().call_later(CONNECT_S, self._lost)
        try:
            await self.rtc.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
        except OperationError:
            raise InputError("answer: it has none of the codecs that were offered") from None
        except (ValueError, LookupError, InternalError, InvalidAccessError, InvalidStateError) as error:
            raise InputError(f"answer: it cannot be read ({error})") from None

    async def answer(self) -> RTCSessionDescription:
        """With every candidate in it; from now on it has CONNECT_S to come up."""
        await self.rtc.setLocalDescription(await self.rtc.createAnswer())
        widen_buffers(self.rtc)
        self._deadline = asyncio.get_running_loop().call_later(CONNECT_S, self._lost)
        return self.rtc.localDescription

    def hear(self, hearing: Hearing, *, ends: bool = True) -> None:
        """Once it is up, listen: whoever is not heard of for SILENT_S (AGAIN_S where this side made the offer), in any
        way that `ends`, is lost."""
        self._hearings.append((hearing, ends))

    def keep(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run something until the connection is closed."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._let_go)

    async def close(self) -> None:
        """Free all of it. It does not raise, and takes a bounded time."""
        self._closing = True
        if self._deadline is not None:
            self._deadline.cancel()
        for task in self._tasks:
            task.cancel()
        try:
            await asyncio.gather(*self._tasks, return_exceptions=True)
            async with asyncio.timeout(_CLOSE_S):
                await self.rtc.close()
        except Exception as error:
            _log.error("session %s: its connection did not close: %r", self._session, error)
            await close_parts(self.rtc, self._session)

    def _changed(self) -> None:
        state = self.rtc.connectionState
        if state == "connected":
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None
            if not self._connected:
                self._connected = True
                self.keep("its watch", self._watch())
        elif state in ("failed", "closed") and not self._closing:
            self._lost()

    async def _watch(self) -> None:
        while not self._closing:
            silences = [(await hearing.silence_s(), ends) for hearing, ends in self._hearings]
            if min((silence_s for silence_s, ends in silences if ends), default=0.0) > self._silent_s:
                self._lost()
            await asyncio.sleep(_HEAR_S)

    def _let_go(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("session %s: %s ended: %r", self._session, task.get_name(), error)


class Hearing(Protocol):
    """Tells when the other side was last heard of."""

    async def silence_s(self) -> float:
        """Seconds since then, or since the first call."""
        ...


class Reports:
    """A viewer is heard by the reports of its receiver. told: is called with each newest one, at most once a second."""

    def __init__(
        self,
        sender: RTCRtpSender,
        told: Callable[[RTCRemoteInboundRtpStreamStats], None] = lambda stats: None,
    ) -> None:
        self._sender = sender
        self._told = told
        self._newest: datetime.datetime | None = None
        self._heard_s: float | None = None

    async def silence_s(self) -> float:
        self._heard_s = time.monotonic() if self._heard_s is None else self._heard_s
        for stats in (await self._sender.getStats()).values():
            if isinstance(stats, RTCRemoteInboundRtpStreamStats) and stats.timestamp != self._newest:
                self._newest, self._heard_s = stats.timestamp, time.monotonic()
                self._told(stats)
        return time.monotonic() - self._heard_s


class Arrivals:
    """A driver who only sends is heard by packets, and by the reports that go with them while nothing is sent."""

    def __init__(self, receiver: RTCRtpReceiver) -> None:
        self._receiver = receiver
        self._known: set[object] = set()
        self._heard_s: float | None = None

    async def silence_s(self) -> float:
        stats = (await self._receiver.getStats()).values()
        known: set[object] = {
            each.packetsReceived for each in stats if isinstance(each, RTCInboundRtpStreamStats)
        }
        known |= {each.timestamp for each in stats if isinstance(each, RTCRemoteOutboundRtpStreamStats)}
        if self._heard_s is None or known != self._known:
            self._known, self._heard_s = known, time.monotonic()
        return time.monotonic() - self._heard_s
