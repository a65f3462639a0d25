"""DTLS handshakes on ways that lose: beside streaming/rtc.py, and with the same check.

OpenSSL waits a second before it sends a flight of its handshake again, then two: a call that loses one packet of ten
begins seconds late. Here a flight that is not answered is sent again after 0.2 s. Whoever got it the first time lets
the second one fall, as DTLS asks for.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any
from weakref import WeakSet

from aiortc import RTCIceTransport, RTCPeerConnection, rtcdtlstransport

AGAIN_S, MOST_AGAIN_S = 0.2, 1.0
"""Before a flight is sent again: at first, and at most, for each time takes half as long again."""
FLIGHT_S = 0.05
"""What leaves within so long belongs together."""

USED: tuple[tuple[Any, str, str], ...] = (
    (rtcdtlstransport.RTCDtlsTransport, "_write_ssl", "transport _send data"),
    (rtcdtlstransport.RTCDtlsTransport, "start", "_set_state State CONNECTING CONNECTED _do_handshake"),
    (RTCIceTransport, "__init__", "_send _connection send"),
)
"""What streaming.rtc.check_aiortc looks for."""


def hasten_handshakes(connection: RTCPeerConnection) -> None:
    """Call it after setRemoteDescription, on the event loop."""
    for transceiver in connection.getTransceivers():
        _hasten(transceiver.receiver.transport)
    if connection.sctp is not None:
        _hasten(connection.sctp.transport)


def _hasten(dtls: Any) -> None:
    """One transport's, once."""
    if dtls not in _hastened:
        _hastened.add(dtls)
        _Flight(dtls)


_hastened: WeakSet[Any] = WeakSet()


class _Flight:
    """Stands before what a transport sends while it shakes hands, and sends the last of it again."""

    def __init__(self, dtls: Any) -> None:
        self._dtls = dtls
        self._ice = dtls.transport
        self._send = self._ice._send
        self._datagrams: list[bytes] = []
        self._left_s = 0.0
        self._ice._send = self._note
        self._task: asyncio.Task[None] | None = None
        dtls.on("statechange", self._look)

    async def _note(self, data: bytes) -> None:
        if self._task is None:  # with the first flight: one that never shakes hands has none
            self._task = asyncio.get_running_loop().create_task(self._repeat())
        now = time.perf_counter()
        if now - self._left_s > FLIGHT_S:
            self._datagrams.clear()
        self._datagrams.append(data)
        self._left_s = now
        await self._send(data)

    async def _repeat(self) -> None:
        wait_s = AGAIN_S
        while self._dtls._state is rtcdtlstransport.State.CONNECTING:
            await asyncio.sleep(FLIGHT_S)
            if not self._datagrams or time.perf_counter() - self._left_s < wait_s:
                continue
            self._left_s = time.perf_counter()
            wait_s = min(1.5 * wait_s, MOST_AGAIN_S)
            with contextlib.suppress(ConnectionError):
                for data in tuple(self._datagrams):
                    await self._send(data)

    def _look(self) -> None:
        """The handshake is over: step aside."""
        if self._dtls._state not in (rtcdtlstransport.State.NEW, rtcdtlstransport.State.CONNECTING):
            if self._task is not None:
                self._task.cancel()
            if self._ice._send == self._note:
                self._ice._send = self._send
