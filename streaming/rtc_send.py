"""Where aiortc sends pictures that are encoded already: beside streaming/rtc.py, and with the same check.

- aiortc encodes once for each connection. Here: its sender gets packets and only cuts them into RTP payloads.
- aiortc notes that a key frame was asked for, and looks at it when it encodes. Here: who encodes is told at once.
- aiortc keeps to itself what receiver reports say, but for statistics. Here: they are told.
"""

from __future__ import annotations

from typing import Any, NoReturn

from aiortc import RTCRtpSender, RTCRtpTransceiver
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.mediastreams import VIDEO_TIME_BASE
from aiortc.rtp import AnyRtcpPacket, RtcpRrPacket, RtcpSrPacket
from av.frame import Frame

from engine.errors import ConfigError
from streaming.broadcast import Broadcast, Watch
from streaming.rtc_repair import send_again

USED: tuple[tuple[Any, str, str], ...] = (
    (RTCRtpSender, "__init__", "_RTCRtpSender__encoder _RTCRtpSender__rtt _ssrc"),
    (RTCRtpSender, "_next_encoded_frame", "_RTCRtpSender__encoder recv Frame pack"),
    (
        RTCRtpSender,
        "_handle_rtcp_packet",
        "_RTCRtpSender__encoder target_bitrate _send_keyframe reports fraction_lost jitter _RTCRtpSender__rtt",
    ),
    (RTCRtpTransceiver, "__init__", "_codecs"),
)
"""What streaming.rtc.check_aiortc looks for."""

_CLOCK = round(1 / VIDEO_TIME_BASE)


def send_pictures(transceiver: RTCRtpTransceiver, broadcast: Broadcast) -> Watch:
    """Send a session's pictures, in the codec that was agreed on. Call it between setRemoteDescription and
    setLocalDescription. Raises ConfigError where that is neither VP8 nor H.264."""
    inner: Any = transceiver
    codec = str(inner._codecs[0].name).lower() if inner._codecs else "none"
    if codec not in _PACKERS:
        raise ConfigError(f"codec: got {codec}, expected the other side to take vp8 or h264")
    watch = broadcast.watch(codec)
    sender = inner.sender
    sender.replaceTrack(watch.track)
    sender._RTCRtpSender__encoder = _PACKERS[codec](watch)
    sender._send_keyframe = watch.ask_key
    send_again(sender, lambda: watch.choice.bits)
    _tell_reports(sender, watch)
    return watch


def _tell_reports(sender: Any, watch: Watch) -> None:
    handle = sender._handle_rtcp_packet

    async def handle_told(packet: AnyRtcpPacket) -> None:
        await handle(packet)
        for report in packet.reports if isinstance(packet, (RtcpRrPacket, RtcpSrPacket)) else ():
            if report.ssrc == sender._ssrc:
                watch.reported(report.fraction_lost / 256, report.jitter / _CLOCK, sender._RTCRtpSender__rtt)

    sender._handle_rtcp_packet = handle_told


class _Packing:
    """What stands where the sender has its encoder does beside cutting packets."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def encode(self, frame: Frame, force_keyframe: bool = False) -> NoReturn:
        """Nobody's pictures are encoded here."""
        raise TypeError(f"track: got {type(frame).__name__}, expected packets")

    @property
    def target_bitrate(self) -> int:
        """Bits per second; what is set is what the receiver estimates."""
        return self._watch.choice.bits

    @target_bitrate.setter
    def target_bitrate(self, bitrate: int) -> None:
        self._watch.estimated(bitrate)


class _Vp8Packer(_Packing, Vp8Encoder):
    pass


class _H264Packer(_Packing, H264Encoder):
    pass


_PACKERS = {"vp8": _Vp8Packer, "h264": _H264Packer}
