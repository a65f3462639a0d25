"""Where aiortc passes sound on untouched: the second module that reaches into it, beside streaming/rtc.py.

- aiortc holds back four packets of sound, decodes them and queues what comes out without end. Here: a packet is handed
  on when it is there, and nothing of it is kept.
- aiortc makes an Opus encoder for what it sends. Here: packets are only put into RTP.
- aiortc keeps what sender reports say to itself. Here: they are told.
- aiortc reports once in about a second, which is by what receivers play two streams together. Here: five times, for
  they take the last twenty, and those of before a change would lead them astray for as many seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
from aiortc import RTCPeerConnection, RTCRtpReceiver, RTCRtpSender, RTCRtpTransceiver, rtcrtpreceiver
from aiortc.codecs.base import Encoder
from aiortc.mediastreams import convert_timebase
from aiortc.rtcrtpparameters import RTCRtpCodecCapability, RTCRtpCodecParameters
from aiortc.rtp import (
    AnyRtcpPacket,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSourceInfo,
    RtcpSrPacket,
    RtpPacket,
)
from av.frame import Frame

from engine.errors import ConfigError
from streaming.lipsync import LipSync
from streaming.rtc import hear_few
from streaming.sound import OPUS_RATE, Sound, SoundLine, SoundTrack

REPORT_S = 0.2
"""How often a receiver is told which time is which."""

_TICK = Fraction(1, OPUS_RATE)
_NTP = 1 << 32
_CNAME = 1

USED: tuple[tuple[Any, str, str], ...] = (
    (
        RTCRtpReceiver,
        "__init__",
        "_RTCRtpReceiver__jitter_buffer _RTCRtpReceiver__decoder_queue _RTCRtpReceiver__codecs",
    ),
    (RTCRtpReceiver, "receive", "_RTCRtpReceiver__decoder_queue _track _queue"),
    (RTCRtpReceiver, "_handle_rtp_packet", "_RTCRtpReceiver__jitter_buffer add _data payload timestamp ssrc"),
    (RTCRtpReceiver, "_handle_rtcp_packet", "RtcpSrPacket sender_info ntp_timestamp ssrc"),
    (RTCRtpReceiver, "_RTCRtpReceiver__stop_decoder", "_RTCRtpReceiver__decoder_queue put"),
    (rtcrtpreceiver, "decoder_worker", "input_q output_q get put"),
    (RTCRtpSender, "__init__", "_RTCRtpSender__encoder"),
    (RTCRtpSender, "_next_encoded_frame", "_RTCRtpSender__encoder recv Frame pack"),
    (
        RTCRtpSender,
        "_run_rtp",
        "_RTCRtpSender__ntp_timestamp _RTCRtpSender__rtp_timestamp _RTCRtpSender__octet_count "
        "_RTCRtpSender__packet_count _next_encoded_frame",
    ),
    (
        RTCRtpSender,
        "_run_rtcp",
        "_RTCRtpSender__lsr _RTCRtpSender__lsr_time _RTCRtpSender__cname RtcpSrPacket _send_rtcp",
    ),
)
"""What streaming.rtc.check_aiortc looks for."""


class SoundSection:
    """The audio section of one connection that is answered. Make it before the offer is described to the connection,
    `begin` between that and the answer, `end` with the connection.

    offered: its direction in the words of whoever offers, None without one. line: whose sound it is; None: none is
    allowed. hears: whether what comes in is the driver's; else it is never taken. Without Opus in the offer the
    connection cannot be described.
    """

    def __init__(
        self,
        connection: RTCPeerConnection,
        offered: str | None,
        line: SoundLine | None,
        *,
        hears: bool = True,
    ) -> None:
        self._connection = connection
        self._line = line
        self._hears = hears and line is not None and offered in ("sendrecv", "sendonly")
        self._tells = line is not None and offered in ("sendrecv", "recvonly")
        self._track: SoundTrack | None = None
        self._transceiver: RTCRtpTransceiver | None = None
        if self._hears or self._tells:
            self._transceiver = connection.addTransceiver("audio", _DIRECTIONS[self._hears, self._tells])
            self._transceiver.setCodecPreferences(opus_alone())

    def begin(self) -> None:
        """Pass on what is allowed; a section that is not stays silent both ways."""
        line, transceiver = self._line, self._transceiver
        if line is None or transceiver is None:
            for each in self._connection.getTransceivers():
                if each.kind == "audio":
                    each.direction = "inactive"
            return
        if self._hears:
            hear_sound(transceiver.receiver, line)
        if self._tells:
            self._track = line.watch()
            transceiver.sender.replaceTrack(self._track)
            send_untouched(transceiver)

    def end(self) -> None:
        """Listen no more."""
        if self._track is not None:
            self._track.stop()


_DIRECTIONS = {(True, True): "sendrecv", (True, False): "recvonly", (False, True): "sendonly"}


def opus_alone() -> list[RTCRtpCodecCapability]:
    """What a transceiver of sound is to prefer: what every WebRTC client has, and what is passed on untouched has to
    be the same on both sides."""
    able = RTCRtpSender.getCapabilities("audio").codecs
    return [each for each in able if each.mimeType.lower() == "audio/opus"]


def hear_sound(receiver: RTCRtpReceiver, line: SoundLine, ended: Callable[[], None] = lambda: None) -> None:
    """Give every packet of sound and every sender report to `line`, on the event loop. Call it between
    setRemoteDescription and setLocalDescription.

    ended: called when the sender says that it ends, or the connection does.
    """
    inner: Any = receiver
    if inner._track is None:
        raise ConfigError("receiver: got one without a track, expected it after setRemoteDescription")
    inner._RTCRtpReceiver__jitter_buffer = _Through(line.took)
    inner._RTCRtpReceiver__decoder_queue = _NoDecoder(ended)
    inner._track._queue = _Nowhere()
    hear_few(receiver)
    _tell_reports(receiver, line.sync.sound_report)


def hear_pictures(receiver: RTCRtpReceiver, sync: LipSync) -> None:
    """Tell `sync` of the arrival of the video's packets and of its sender's reports. Call it after
    streaming.rtc.tune_receiver."""
    inner: Any = receiver
    handle = inner._handle_rtp_packet
    codecs: dict[int, RTCRtpCodecParameters] = inner._RTCRtpReceiver__codecs
    stream: int | None = None

    async def handle_told(packet: RtpPacket, arrival_time_ms: int) -> None:
        nonlocal stream
        codec = codecs.get(packet.payload_type)
        if codec is not None and codec.name.lower() != "rtx":  # a repair has the time of what it repairs
            stream = packet.ssrc
            sync.picture_packet(packet.timestamp)
        await handle(packet, arrival_time_ms)

    inner._handle_rtp_packet = handle_told
    _tell_reports(receiver, sync.picture_report, lambda ssrc: ssrc == stream)


def _tell_reports(
    receiver: RTCRtpReceiver,
    report: Callable[[int, int], None],
    wanted: Callable[[int], bool] = lambda ssrc: True,
) -> None:
    inner: Any = receiver
    handle = inner._handle_rtcp_packet

    async def handle_told(packet: AnyRtcpPacket) -> None:
        if isinstance(packet, RtcpSrPacket) and wanted(packet.ssrc):
            report(packet.sender_info.ntp_timestamp, packet.sender_info.rtp_timestamp)
        await handle(packet)

    inner._handle_rtcp_packet = handle_told


class _Through:
    """Stands where the receiver has its JitterBuffer; no frame ever comes out."""

    def __init__(self, took: Callable[[Sound], None]) -> None:
        self._took = took

    def add(self, packet: RtpPacket) -> tuple[bool, None]:
        if packet.payload:
            told = packet.extensions.audio_level
            level = told[1] if told is not None else None
            self._took(Sound(packet.ssrc, packet.timestamp, packet.payload, level))
        return False, None


class _NoDecoder:
    """Stands where the receiver has the queue to its decoder's thread, which ends at once."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended

    def get(self) -> None:
        return None

    def put(self, task: None) -> None:
        self._ended()


class _Nowhere:
    """Stands where the remote track has its queue."""

    async def put(self, frame: None) -> None:
        return None


def send_untouched(transceiver: RTCRtpTransceiver) -> None:
    """Have the sender put the packets of its track into RTP as they are. Call it between setRemoteDescription and
    setLocalDescription. Raises ConfigError where the other side has no Opus."""
    inner: Any = transceiver
    codec = str(inner._codecs[0].name).lower() if inner._codecs else "none"
    if codec != "opus":
        raise ConfigError(f"sound: got {codec}, expected the other side to take Opus")
    inner.sender._RTCRtpSender__encoder = Untouched()
    _report_ahead(inner.sender)
    _report_often(inner.sender)


class Untouched(Encoder):
    """Packs what is encoded already."""

    def pack(self, packet: av.Packet[Any]) -> tuple[list[bytes], int]:
        """The payload and its time in 1/48000 s."""
        assert packet.pts is not None
        assert packet.time_base is not None
        return [bytes(packet)], convert_timebase(packet.pts, packet.time_base, _TICK)

    def encode(self, frame: Frame, force_keyframe: bool = False) -> tuple[list[bytes], int]:
        """Never: what is passed on was encoded by the driver."""
        raise ValueError("sound: got a frame, expected a packet")


def _report_ahead(sender: RTCRtpSender) -> None:
    """Have every report say when the picture of a sound leaves, and not when the sound did, which is ahead of it."""
    inner: Any = sender
    send = inner._send_rtcp

    async def send_shifted(packets: list[AnyRtcpPacket]) -> None:
        ahead_s = inner.track.ahead_s if isinstance(inner.track, SoundTrack) else 0.0
        for packet in packets:
            if isinstance(packet, RtcpSrPacket) and packet.sender_info.ntp_timestamp:
                packet.sender_info.ntp_timestamp += round(ahead_s * _NTP)
                # what the receiver's next report refers to, by which the way there and back is measured
                inner._RTCRtpSender__lsr = packet.sender_info.ntp_timestamp >> 16 & 0xFFFFFFFF
                inner._RTCRtpSender__lsr_time = time.time()
        await send(packets)

    inner._send_rtcp = send_shifted


def _report_often(sender: RTCRtpSender) -> None:
    inner: Any = sender
    take = inner._next_encoded_frame
    told_s = time.perf_counter()

    async def take_and_tell(codec: RTCRtpCodecParameters) -> Any:
        """The last packet has left when the next one is asked for."""
        nonlocal told_s
        if inner._RTCRtpSender__packet_count and time.perf_counter() - told_s >= REPORT_S:
            told_s = time.perf_counter()
            await _report(inner)
        return await take(codec)

    inner._next_encoded_frame = take_and_tell


async def _report(sender: Any) -> None:
    told = RtcpSenderInfo(
        ntp_timestamp=sender._RTCRtpSender__ntp_timestamp,
        rtp_timestamp=sender._RTCRtpSender__rtp_timestamp,
        packet_count=sender._RTCRtpSender__packet_count & 0xFFFFFFFF,
        octet_count=sender._RTCRtpSender__octet_count & 0xFFFFFFFF,
    )
    packets: list[AnyRtcpPacket] = [RtcpSrPacket(ssrc=sender._ssrc, sender_info=told)]
    if (name := sender._RTCRtpSender__cname) is not None:
        items = [(_CNAME, name.encode())]
        packets.append(RtcpSdesPacket(chunks=[RtcpSourceInfo(ssrc=sender._ssrc, items=items)]))
    await sender._send_rtcp(packets)
