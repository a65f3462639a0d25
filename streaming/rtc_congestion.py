"""Transport-wide congestion control on aiortc's transports, in both directions: the second module that reaches into
aiortc, with a check of its own.

Only objects that are handed in are touched. A browser that is told when each of its packets came runs its own
congestion control on that, and is at its full bitrate within seconds; what aiortc's REMB makes of the same takes half a
minute. The other way round, packets that leave are numbered, and what the browser tells of them is estimated from.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from aiortc import RTCRtpReceiver, RTCRtpSender, RTCRtpTransceiver, rtcdtlstransport, rtp
from aiortc.codecs import is_rtx
from aiortc.rtcrtpparameters import (
    RTCRtcpFeedback,
    RTCRtpHeaderExtensionParameters,
)
from aiortc.rtp import RtpPacket
from aiortc.sdp import SessionDescription

from streaming import twcc
from streaming.congestion import Arrival, Estimator
from streaming.repairs import signed16

logger = logging.getLogger(__name__)

FEEDBACK_S = 0.05
"""Between two messages about what arrived."""
START_BITS = 4_000_000
"""What a way is believed to carry until it shows otherwise; what is sent at first is less."""
LEAST_HEARD = 5
"""Messages of the other side before its arrivals are estimated from."""

_REPAIRS_S = 1.5  # repairs are counted over so long
_OVERHEAD = 38  # bytes of SRTP's tag, UDP and IPv4
_LONGEST_GAP = 1000  # packets that one message speaks of at most
_KEPT = 512  # arrivals that are kept for packets that come late
_MOST_SENT = 8192
_LATE_S = 0.1  # a packet that is missing so long after later ones is lost
_WRAP_S = (1 << 24) * twcc.REFERENCE_S

USED: tuple[tuple[Any, str, str], ...] = (
    (
        RTCRtpReceiver,
        "_handle_rtp_packet",
        "_RTCRtpReceiver__remote_bitrate_estimator extensions arrival_time_ms packet",
    ),
    (RTCRtpReceiver, "_set_rtcp_ssrc", "_RTCRtpReceiver__rtcp_ssrc"),
    (RTCRtpSender, "_run_rtp", "_RTCRtpSender__rtp_header_extensions_map serialize transport _send_rtp"),
    (
        RTCRtpSender,
        "_retransmit",
        "_rtx_ssrc _RTCRtpSender__rtp_header_extensions_map serialize transport _send_rtp",
    ),
    (RtpPacket, "serialize", "extensions_map set extensions"),
    (rtp.HeaderExtensionsMap, "configure", "transport_sequence_number headerExtensions"),
    (rtp.HeaderExtensionsMap, "get", "transport_sequence_number"),
    (rtcdtlstransport.RTCDtlsTransport, "_send_rtp", "data is_rtcp"),
    (rtcdtlstransport.RTCDtlsTransport, "_handle_rtcp_data", "data parse"),
    (rtcdtlstransport.RTCDtlsTransport, "_recv_next", "_handle_rtcp_data _handle_rtp_data"),
    (RTCRtpTransceiver, "__init__", "_codecs _headerExtensions"),
)
"""What of aiortc is used here, as streaming.rtc.check_aiortc reads it."""


class Congestion:
    """One transport's: what came is told, what left is estimated from. On the event loop."""

    def __init__(self, transport: Any, clock: Callable[[], float] = time.perf_counter) -> None:
        self._transport = transport
        self._clock = clock
        self._estimator = Estimator(START_BITS)
        self._heard = 0
        self._estimated: list[Callable[[int], None]] = []
        self._sent: dict[int, tuple[float, int]] = {}
        self._missing: dict[int, tuple[float, int]] = {}
        self._repairs: deque[tuple[float, int]] = deque()
        self.repair_ssrcs: set[int] = set()
        """Streams of repairs, which take from what pictures may take."""
        self._number = -1
        self._numbered: int | None = None
        self._turns_s = 0.0  # what a wrapped reference time has to be moved by
        self._last_told_s: float | None = None
        self._came: dict[int, float] = {}
        self._base: int | None = None
        self._highest: int | None = None
        self._told = 0
        self._ssrcs = (0, 0)
        self._timer: asyncio.TimerHandle | None = None
        self._send_rtp = transport._send_rtp
        self._handle_rtcp_data = transport._handle_rtcp_data
        transport._send_rtp = self._send
        transport._handle_rtcp_data = self._hear

    def tell(self, estimated: Callable[[int], None]) -> None:
        """Call this with the bits per second that the way out carries, whenever the other side has told more."""
        self._estimated.append(estimated)

    def next_number(self) -> int:
        """For the packet that is sent next, 16 bits."""
        self._number += 1
        self._numbered = self._number
        return self._number & 0xFFFF

    async def _send(self, data: bytes) -> None:
        number, self._numbered = self._numbered, None
        if number is not None and not rtp.is_rtcp(data):
            now, size = self._clock(), len(data) + _OVERHEAD
            self._sent[number] = now, size
            if int.from_bytes(data[8:12], "big") in self.repair_ssrcs:
                self._repairs.append((now, size))
            if len(self._sent) > _MOST_SENT:
                del self._sent[next(iter(self._sent))]
        await self._send_rtp(data)

    async def _hear(self, data: bytes) -> None:
        told, rest = twcc.split(data)
        for feedback in told:
            self._take(feedback)
        if rest:
            await self._handle_rtcp_data(rest)

    def _take(self, feedback: twcc.Feedback) -> None:
        base = self._number + signed16(feedback.base - self._number)
        arrivals: list[Arrival] = []
        newest_s = None
        for number, at in enumerate(feedback.arrived_s, base):
            if at is None:
                if (sent := self._sent.pop(number, None)) is not None:
                    self._missing[number] = sent
                continue
            sent = self._sent.pop(number, None) or self._missing.pop(number, None)
            if sent is not None:
                arrivals.append(Arrival(sent[0], self._unwrapped(at), sent[1]))
                newest_s = sent[0]
        if newest_s is not None:
            for number, (sent_s, size) in list(self._missing.items()):
                if sent_s < newest_s - _LATE_S:
                    del self._missing[number]
                    arrivals.append(Arrival(sent_s, None, size))
            arrivals.sort(key=lambda arrival: arrival.sent_s)
        if arrivals:
            self._heard += 1
            now = self._clock()
            bits = self._estimator.feed(arrivals, now)
            bits -= min(self._repair_bits(now), bits // 5)
            for estimated in self._estimated if self._heard >= LEAST_HEARD else ():
                estimated(bits)

    def _repair_bits(self, now: float) -> int:
        while self._repairs and self._repairs[0][0] < now - _REPAIRS_S:
            self._repairs.popleft()
        return round(8 * sum(size for _, size in self._repairs) / _REPAIRS_S)

    def _unwrapped(self, told_s: float) -> float:
        last = self._last_told_s
        if last is not None:
            if told_s - last < -_WRAP_S / 2:
                self._turns_s += _WRAP_S
            elif told_s - last > _WRAP_S / 2:
                self._turns_s -= _WRAP_S
        self._last_told_s = told_s
        return told_s + self._turns_s

    def arrived(self, number: int, own_ssrc: int, ssrc: int) -> None:
        """A packet of this number (16 bits) came now, from `ssrc`."""
        if self._highest is None or self._base is None:
            self._highest, self._base = number - 1, number
        number = self._highest + signed16(number - self._highest)
        self._came[number] = self._clock()
        if len(self._came) > _KEPT + _LONGEST_GAP:
            for old in sorted(self._came)[:_KEPT]:
                del self._came[old]
        self._highest = max(self._highest, number)
        self._base = max(min(self._base, number), self._highest - _LONGEST_GAP)
        self._ssrcs = own_ssrc, ssrc
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FEEDBACK_S, self._tell)

    def _tell(self) -> None:
        self._timer = None
        base, highest = self._base, self._highest
        if base is None or highest is None or highest < base:
            return
        arrived = tuple(self._came.get(number) for number in range(base, highest + 1))
        self._base = highest + 1
        message = twcc.pack(twcc.Feedback(base & 0xFFFF, arrived, self._told & 0xFF), *self._ssrcs)
        self._told += 1
        _keep(asyncio.get_running_loop().create_task(self._post(message)))

    async def _post(self, message: bytes) -> None:
        try:
            await self._send_rtp(message)
        except ConnectionError:
            return


_tasks: set[asyncio.Task[None]] = set()
_lines: WeakKeyDictionary[Any, Congestion] = WeakKeyDictionary()


def _keep(task: asyncio.Task[None]) -> None:
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


class _Numbered(rtp.HeaderExtensionsMap):
    """Stands where the sender has what its packets' header extensions are numbered by, before another such."""

    def __init__(self, inner: Any, congestion: Congestion) -> None:
        super().__init__()
        self._inner = inner
        self._congestion = congestion

    def configure(self, parameters: Any) -> None:
        self._inner.configure(parameters)

    def get(self, extension_profile: int, extension_value: bytes) -> rtp.HeaderExtensions:
        return self._inner.get(extension_profile, extension_value)  # type: ignore[no-any-return]

    def set(self, values: rtp.HeaderExtensions) -> tuple[int, bytes]:
        """Called for each packet just before it is sent, also for one that is sent again."""
        values.transport_sequence_number = self._congestion.next_number()
        return self._inner.set(values)  # type: ignore[no-any-return]


def control_congestion(
    transceiver: RTCRtpTransceiver, offer: str, estimated: Callable[[int], None] = lambda bits: None
) -> bool:
    """Agree on transport-wide feedback for a video transceiver where the offer has it. Call it between
    setRemoteDescription and createAnswer, after tune_receiver, send_pictures, and render_at_once.

    offer: the SDP that setRemoteDescription was given. estimated: called on the event loop, up to 20 times a second,
    with the bits per second that the way out carries beside repairs. Returns False where the other side does not offer
    it: REMB stands then, in both directions.
    """
    inner: Any = transceiver
    number = _offered(offer, inner.mid)
    if number is None:
        return False
    agree(inner, number)
    attach(inner, estimated)
    return True


def _offered(offer: str, mid: str) -> int | None:
    """The number of the header extension in the offer's part, where one of its codecs takes feedback."""
    for media in SessionDescription.parse(offer).media:
        if media.rtp.muxId != mid:
            continue
        taken = any(
            feedback.type == "transport-cc" for codec in media.rtp.codecs for feedback in codec.rtcpFeedback
        )
        for extension in media.rtp.headerExtensions if taken else ():
            if extension.uri == twcc.URI:
                return extension.id
    return None


def agree(transceiver: Any, number: int) -> None:
    """Have the description say it: the header extension under its number, and feedback in place of REMB."""
    transceiver._headerExtensions.append(RTCRtpHeaderExtensionParameters(id=number, uri=twcc.URI))
    for codec in transceiver._codecs:
        if not is_rtx(codec):
            codec.rtcpFeedback = [one for one in codec.rtcpFeedback if one.type != "goog-remb"]
            codec.rtcpFeedback.append(RTCRtcpFeedback(type="transport-cc"))


def attach(transceiver: Any, estimated: Callable[[int], None]) -> None:
    """Begin to number, tell and estimate on the transport of a transceiver."""
    receiver, sender = transceiver.receiver, transceiver.sender
    transport = receiver.transport
    congestion = _lines.get(transport)
    if congestion is None:
        congestion = _lines[transport] = Congestion(transport)
    congestion.tell(estimated)
    congestion.repair_ssrcs.add(sender._rtx_ssrc)
    former = sender._RTCRtpSender__rtp_header_extensions_map
    sender._RTCRtpSender__rtp_header_extensions_map = _Numbered(former, congestion)
    receiver._RTCRtpReceiver__remote_bitrate_estimator = None
    handle = receiver._handle_rtp_packet

    async def handle_told(packet: RtpPacket, arrival_time_ms: int) -> None:
        number = packet.extensions.transport_sequence_number
        own = receiver._RTCRtpReceiver__rtcp_ssrc
        if number is not None and own is not None:
            congestion.arrived(number, own, packet.ssrc)
        await handle(packet, arrival_time_ms=arrival_time_ms)

    receiver._handle_rtp_packet = handle_told
