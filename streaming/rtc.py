"""Where aiortc is told to wait less. With the rtc_*.py beside it the one place that reaches into it, for one version
series, with a check.

Only objects that are handed in are touched; nothing of aiortc's is replaced for everybody.

- aiortc gives a frame to its decoder when the next frame's first packet comes: 33 ms late. Here: at its own last one.
- aiortc queues decoded frames without end. Here: each is handed on from the decoder's thread, nothing waits.
- aiortc cannot ask a browser to show a frame when it has it. Here: every packet says so, where the browser reads it.
- aiortc keeps every stream it ever heard of, and ends a call at a message it cannot read. Here: a few, and it does not.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

import av
from aiortc import (
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpSender,
    RTCRtpTransceiver,
    RTCSctpTransport,
    clock,
    rate,
    rtcdtlstransport,
    rtcrtpreceiver,
    rtp,
)
from aiortc.rtcrtpparameters import RTCRtpCodecParameters, RTCRtpHeaderExtensionParameters
from aiortc.rtp import RtpPacket
from aiortc.sdp import SessionDescription

from engine.errors import BackendError, ConfigError
from streaming import rtc_congestion, rtc_handshake, rtc_ice, rtc_repair, rtc_tls
from streaming.assembly import Assembly
from streaming.inbox import Inbox, Ready
from streaming.rtc_repair import Nacks

logger = logging.getLogger(__name__)

_PART_S = 1.0  # to close one of a connection's parts

SERIES = "1.16."
UPLINK_BITS = 1_500_000
"""What the browser is told at first that the way carries: else aiortc is silent for 3 s, it stays at 300 kb/s."""

LATEST_S = 0.2
"""A frame that is decoded later after its first packet came is not handed on."""

MOST_STREAMS = 8
"""Streams (SSRCs) that a call may send: a camera's and its repairs are two. aiortc reports on each it knows, and a
report of more than 31 cannot be written."""

H264_SPS, H264_STAP_A = 7, 24

PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
_AT_ONCE = bytes(3)  # 12 bits of the least and 12 of the largest delay, in 10 ms
_WITH_SOUND = (50).to_bytes(3, "big")


def check_aiortc() -> None:
    """Whether aiortc is the one that this module knows; BackendError says what is not."""
    version = importlib.metadata.version("aiortc")
    if not version.startswith(SERIES):
        raise BackendError(
            f"aiortc: got version {version}, expected {SERIES}x: install the version that marotte asks for"
        )
    from streaming import rtc_send, rtc_sound  # which use this module

    for owner, name, used in (*_USED, *rtc_send.USED, *rtc_sound.USED):
        function = getattr(owner, name, None)
        known = _names(function)
        missing = [each for each in used.split() if each not in known]
        if missing:
            raise BackendError(
                f"aiortc {version}: {owner.__name__}.{name} no longer uses {', '.join(missing)}: "
                "install the version that marotte was tested with"
            )


def _names(function: Any) -> set[str]:
    code = getattr(function, "__code__", None)
    return set() if code is None else {*code.co_names, *code.co_varnames}


_USED: tuple[tuple[Any, str, str], ...] = (
    (
        RTCRtpReceiver,
        "__init__",
        "_RTCRtpReceiver__jitter_buffer _RTCRtpReceiver__nack_generator _RTCRtpReceiver__decoder_queue "
        "_RTCRtpReceiver__decoder_error _RTCRtpReceiver__codecs _RTCRtpReceiver__remote_bitrate_estimator",
    ),
    (RTCRtpReceiver, "receive", "_RTCRtpReceiver__decoder_queue _track _queue _RTCRtpReceiver__codecs"),
    (
        RTCRtpReceiver,
        "_handle_rtp_packet",
        "_RTCRtpReceiver__jitter_buffer add timestamp _RTCRtpReceiver__decoder_queue put _data payload "
        "_RTCRtpReceiver__decoder_error is_set clear pli_flag encoded_frame _RTCRtpReceiver__nack_generator missing "
        "_RTCRtpReceiver__active_ssrc _RTCRtpReceiver__remote_streams packet ssrc arrival_time_ms",
    ),
    (rtcdtlstransport.RTCDtlsTransport, "__init__", "_rtp_router"),
    (rtcdtlstransport.RTCDtlsTransport, "_handle_rtp_data", "_rtp_router route_rtp _handle_rtp_packet"),
    (rtcdtlstransport.RtpRouter, "route_rtp", "ssrc_table packet ssrc"),
    (RTCSctpTransport, "_receive", "_data_channel_receive stream_id pp_id data"),
    (RTCSctpTransport, "_data_channel_receive", "_data_channels decode emit"),
    (RTCRtpReceiver, "_RTCRtpReceiver__stop_decoder", "_RTCRtpReceiver__decoder_queue put"),
    (rtcrtpreceiver, "decoder_worker", "loop input_q output_q get put run_coroutine_threadsafe"),
    (rate.AimdRateControl, "set_estimate", "self bitrate now_ms current_bitrate_initialized"),
    (RTCRtpTransceiver, "__init__", "_codecs _headerExtensions"),
    (RTCRtpSender, "__init__", "_RTCRtpSender__encoder _RTCRtpSender__rtp_header_extensions_map"),
    (RTCRtpSender, "send", "_RTCRtpSender__rtp_header_extensions_map configure"),
    (RTCRtpSender, "_run_rtp", "_RTCRtpSender__rtp_header_extensions_map serialize"),
    (rtp.HeaderExtensionsMap, "set", "values extensions pack_header_extensions"),
    (RTCRtpSender, "_next_encoded_frame", "_RTCRtpSender__encoder encode force_keyframe run_in_executor"),
    (RTCRtpSender, "_handle_rtcp_packet", "_RTCRtpSender__encoder target_bitrate _send_keyframe"),
    *rtc_congestion.USED,
    *rtc_handshake.USED,
    *rtc_ice.USED,
    *rtc_repair.USED,
    *rtc_tls.USED,
)


def tune_receiver(
    receiver: RTCRtpReceiver,
    arrived: Callable[[av.VideoFrame, float], None],
    ended: Callable[[], None],
    passed_over: Callable[[int], None] = lambda frames: None,
) -> None:
    """Have every frame decoded as soon as its last packet is there. Call it between setRemoteDescription and
    setLocalDescription.

    arrived: called with each decoded frame and the time (perf_counter) of its first packet. ended: called once, after
    the last of them. Both in aiortc's decoder thread; they must never wait for the event loop, which waits for that
    thread when the call is closed. passed_over: so many frames did not arrive, because newer ones waited; called in
    that thread and on the loop. A call that never came to be ends without `ended`.
    """
    inner: Any = receiver
    if inner._track is None:
        raise ConfigError("receiver: got one without a track, expected it after setRemoteDescription")
    inbox = Inbox(inner._RTCRtpReceiver__decoder_error, _in_time(arrived, passed_over), ended, passed_over)
    codecs: dict[int, RTCRtpCodecParameters] = inner._RTCRtpReceiver__codecs
    inner._RTCRtpReceiver__jitter_buffer = buffer = _Buffer(codecs)
    inner._RTCRtpReceiver__nack_generator = Nacks(buffer.assembly, _asking(inner))
    inner._RTCRtpReceiver__decoder_queue = inbox
    inner._track._queue = _End(inner._track)
    inner._RTCRtpReceiver__remote_bitrate_estimator.rate_control.set_estimate(UPLINK_BITS, clock.current_ms())
    hear_few(receiver)


def hear_few(receiver: RTCRtpReceiver) -> None:
    """Let the packets of all but the first few streams fall, before anything is kept of them."""
    inner: Any = receiver
    handle = inner._handle_rtp_packet
    known: set[int] = set()

    async def handle_known(packet: RtpPacket, arrival_time_ms: int) -> None:
        if packet.ssrc in known or len(known) < MOST_STREAMS:
            known.add(packet.ssrc)
            await handle(packet, arrival_time_ms)
        else:
            inner.transport._rtp_router.ssrc_table.pop(packet.ssrc, None)

    inner._handle_rtp_packet = handle_known


def _in_time(
    arrived: Callable[[av.VideoFrame, float], None], passed_over: Callable[[int], None]
) -> Callable[[av.VideoFrame, float], None]:
    """`arrived` for the frames that did not wait for repairs too long: a newer one is behind them."""

    def arrived_in_time(frame: av.VideoFrame, first_packet_s: float) -> None:
        if time.perf_counter() - first_packet_s > LATEST_S:
            passed_over(1)
        else:
            arrived(frame, first_packet_s)

    return arrived_in_time


def _asking(receiver: Any) -> Callable[[int, list[int]], None]:
    """What asks for packets again."""
    tasks: set[asyncio.Task[None]] = set()

    def ask(ssrc: int, numbers: list[int]) -> None:
        task = asyncio.get_running_loop().create_task(receiver._send_rtcp_nack(ssrc, sorted(numbers)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    return ask


def forgive_messages(connection: RTCPeerConnection) -> None:
    """Let a channel's message fall that is no text or opens what is open, where aiortc would end the whole call without
    a word. Call it after setRemoteDescription."""
    channels: Any = connection.sctp
    receive = channels._data_channel_receive
    told = False

    async def receive_readable(stream_id: int, pp_id: int, data: bytes) -> None:
        nonlocal told
        try:
            await receive(stream_id, pp_id, data)
        except (UnicodeDecodeError, AssertionError) as error:
            if not told:
                told = True
                logger.warning("a message of a channel cannot be read: %s", type(error).__name__)

    channels._data_channel_receive = receive_readable


def render_at_once(transceiver: RTCRtpTransceiver, offer: str, *, waits: bool = False) -> bool:
    """Ask the browser to show every frame when it is decoded, and not to smooth out when they come.

    offer: the SDP that setRemoteDescription was given. waits: sound comes with it, for which a frame may be held back
    by up to half a second where the browser plays it so late. Call it between setRemoteDescription and createAnswer.
    Returns whether the browser offers to be asked (the playout-delay header extension).
    """
    inner: Any = transceiver
    for media in SessionDescription.parse(offer).media:
        for extension in media.rtp.headerExtensions if media.rtp.muxId == inner.mid else ():
            if extension.uri == PLAYOUT_DELAY:
                inner._headerExtensions.append(
                    RTCRtpHeaderExtensionParameters(id=extension.id, uri=PLAYOUT_DELAY)
                )
                inner.sender._RTCRtpSender__rtp_header_extensions_map = _AtOnce(
                    extension.id, _WITH_SOUND if waits else _AT_ONCE
                )
                return True
    return False


class _AtOnce(rtp.HeaderExtensionsMap):
    """Stands where the sender has what its packets' header extensions are numbered by."""

    def __init__(self, number: int, delays: bytes) -> None:
        super().__init__()
        self._extension = number, delays

    def set(self, values: rtp.HeaderExtensions) -> tuple[int, bytes]:
        """Every packet says it: which one a browser loses is not known."""
        others = rtp.unpack_header_extensions(*super().set(values))
        return rtp.pack_header_extensions([*others, self._extension])


def begins_key_frame(codec: str, packet: RtpPacket) -> bool:
    """Whether an RTP packet, its codec's bytes in `_data`, is the first of a key frame. codec: "VP8" or "H264"."""
    payload, data = packet.payload, packet._data  # type: ignore[attr-defined]
    if not payload or not data:
        return False
    if codec == "VP8":
        return payload[0] & 0x1F == 0x10 and not data[0] & 1  # first of partition 0, and no inter frame
    kind = payload[0] & 0x1F
    return kind == H264_SPS or (kind == H264_STAP_A and H264_SPS in _aggregated(payload))


def _aggregated(payload: bytes) -> Iterable[int]:
    """The kinds of the units in a STAP-A."""
    at = 1
    while at + 2 < len(payload):
        yield payload[at + 2] & 0x1F
        at += 2 + int.from_bytes(payload[at : at + 2], "big")


class _Buffer:
    """Stands where the receiver has its JitterBuffer."""

    def __init__(self, codecs: dict[int, RTCRtpCodecParameters]) -> None:
        self._codecs = codecs
        self.assembly = Assembly(self._begins_key)

    def add(self, packet: RtpPacket) -> tuple[bool, Ready | None]:
        ask, frames = self.assembly.add(packet)
        return ask, Ready(frames) if frames else None

    def _begins_key(self, packet: RtpPacket) -> bool:
        return begins_key_frame(self._codecs[packet.payload_type].name, packet)


class _End:
    """Stands where the remote track has its queue; only its end comes here."""

    def __init__(self, track: Any) -> None:
        self._track = track

    async def put(self, frame: None) -> None:
        self._track.stop()


async def close_parts(connection: RTCPeerConnection, session: str) -> None:
    """Each by itself, so that no socket stays open for one that hangs."""
    parts: list[Any] = []
    transports: list[Any] = []
    for transceiver in connection.getTransceivers():
        parts += [transceiver.receiver, transceiver.sender]
        transports.append(transceiver.receiver.transport)
    if connection.sctp is not None:
        parts.append(connection.sctp)
        transports.append(connection.sctp.transport)
    for dtls in transports:
        parts += [dtls, dtls.transport]
    for part in parts:
        try:
            async with asyncio.timeout(_PART_S):
                await part.stop()
        except Exception as error:
            logger.error("session %s: its %s did not close: %r", session, type(part).__name__, error)
    connection.remove_all_listeners()
