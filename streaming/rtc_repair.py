"""Lost packets on aiortc's connections: beside streaming/rtc.py, and with the same check.

- aiortc asks once for each gap. Here: again when a repair is overdue, by a timer, and not sooner.
- aiortc leaves its sockets with what the system gives. Here: with room for a second.
- aiortc keeps 128 packets, a third of a second, and sends whatever is asked for as often as it is. Here: more, within
  a share of what the way carries.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

from aioice import ice
from aiortc import RTCIceTransport, RTCPeerConnection, RTCRtpReceiver, RTCRtpSender
from aiortc.rtp import RtpPacket, wrap_rtx
from aiortc.utils import uint16_add

from streaming.assembly import Assembly
from streaming.repairs import ECHO_S, Missing, Sent

USED: tuple[tuple[Any, str, str], ...] = (
    (RTCRtpReceiver, "_handle_rtp_packet", "_RTCRtpReceiver__nack_generator add missing _send_rtcp_nack"),
    (RTCRtpSender, "_run_rtp", "_RTCRtpSender__rtp_history sequence_number"),
    (RTCRtpSender, "_handle_rtcp_packet", "_retransmit lost"),
    (
        RTCRtpSender,
        "_retransmit",
        "_RTCRtpSender__rtp_history _RTCRtpSender__rtx_payload_type _RTCRtpSender__rtx_sequence_number _rtx_ssrc "
        "_RTCRtpSender__rtp_header_extensions_map serialize transport _send_rtp",
    ),
    (RTCRtpSender, "__init__", "_RTCRtpSender__rtt"),
    (RTCIceTransport, "__init__", "_connection"),
    (ice.Connection, "__init__", "_protocols"),
)
"""What streaming.rtc.check_aiortc looks for."""

BUFFER_BYTES = 1 << 20
"""Of a socket; the system may give less."""
REPAIRS = 0.25
"""The share of the pictures' bitrate that repairs may take beside them."""


class Nacks:
    """Stands where the receiver has its NackGenerator, and asks by itself between packets.

    ask: called on the event loop with a stream (SSRC) and the packets to ask for again.
    """

    def __init__(
        self, assembly: Assembly, ask: Callable[[int, list[int]], None], missing: Missing | None = None
    ) -> None:
        self._assembly = assembly
        self._ask = ask
        self._missing = missing or Missing()
        self._timer: asyncio.TimerHandle | None = None
        self.missing: list[int] = []
        """Those to ask for now."""

    def add(self, packet: RtpPacket) -> bool:
        """Whether to ask now."""
        self._missing.add(packet.sequence_number, self._assembly.needed_from)
        self._assembly.repair_s = self._missing.again_s
        self.missing = self._missing.due()
        if self._missing and self._timer is None:
            self._wait(packet.ssrc)
        return bool(self.missing)

    def _wait(self, ssrc: int) -> None:
        self._timer = asyncio.get_running_loop().call_later(ECHO_S, self._look, ssrc)

    def _look(self, ssrc: int) -> None:
        self._timer = None
        if due := self._missing.due():
            self._ask(ssrc, due)
        if self._missing and self._missing.wanting:
            self._wait(ssrc)


def widen_buffers(connection: RTCPeerConnection) -> None:
    """Have the system keep what comes while this process is kept from reading: its default holds 90 packets, a third of
    a second of a call. Call it once the candidates are gathered."""
    parts: list[Any] = [transceiver.receiver.transport for transceiver in connection.getTransceivers()]
    if connection.sctp is not None:
        parts.append(connection.sctp.transport)
    for dtls in parts:
        for protocol in dtls.transport._connection._protocols:
            opened = protocol.transport and protocol.transport.get_extra_info("socket")
            if opened is not None:
                with contextlib.suppress(OSError):
                    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)


def send_again(sender: RTCRtpSender, bits: Callable[[], float]) -> None:
    """Have a sender repair what was lost of what it sends. bits: what it sends now, per second."""
    inner: Any = sender
    sent: Sent[RtpPacket] = Sent(lambda: REPAIRS * bits())
    tasks: set[asyncio.Task[None]] = set()

    def keep(task: asyncio.Task[None]) -> None:
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    inner._RTCRtpSender__rtp_history = _History(sent)

    async def send_one_again(sequence_number: int) -> None:
        packet = sent.again(sequence_number, _size, inner._RTCRtpSender__rtt)
        if packet is None:
            return
        await post(packet)
        if sent.lossy:
            loop = asyncio.get_running_loop()
            loop.call_later(ECHO_S, lambda: keep(loop.create_task(post_echo(packet))))

    async def post_echo(packet: RtpPacket) -> None:
        with contextlib.suppress(ConnectionError):
            await post(packet)

    async def post(packet: RtpPacket) -> None:
        payload_type = inner._RTCRtpSender__rtx_payload_type
        if payload_type is not None:
            number = inner._RTCRtpSender__rtx_sequence_number
            packet = wrap_rtx(packet, payload_type=payload_type, sequence_number=number, ssrc=inner._rtx_ssrc)
            inner._RTCRtpSender__rtx_sequence_number = uint16_add(number, 1)
        await inner.transport._send_rtp(packet.serialize(inner._RTCRtpSender__rtp_header_extensions_map))

    inner._retransmit = send_one_again


def _size(packet: RtpPacket) -> int:
    return len(packet.payload) + 24


class _History(dict[int, RtpPacket]):
    """Stands where the sender keeps what it sent."""

    def __init__(self, sent: Sent[RtpPacket]) -> None:
        super().__init__()
        self._sent = sent

    def __setitem__(self, place: int, packet: RtpPacket) -> None:
        self._sent.keep(packet.sequence_number, packet)
