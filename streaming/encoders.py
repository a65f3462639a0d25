"""VP8 and H.264 encoders for faces that move in real time: one frame in, its packets out, nothing held back.

They are aiortc's own, with other settings; aiortc's are kept for cutting into RTP payloads. A frame is never converted,
kept or written to, beyond `pict_type`, by which the codec is told whether a key frame is wanted: a frame must not be
given to two encoders at once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import av
from aiortc.codecs.base import Encoder
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.mediastreams import VIDEO_TIME_BASE
from av.frame import Frame
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from streaming.bitrate import Target, follow, limits
from streaming.codecs import RATE, SOFTWARE, Change, Kind, kind_of
from streaming.measured import Recorder

logger = logging.getLogger(__name__)

KEY_AGAIN_S = 0.3
"""Between two key frames that are asked for: they cost several times what others do, and the other side asks freely."""
LEAST_AIM = 40_000
"""Bits per second below which no encoder is set."""
ANEW_BY = 1.25
ANEW_S = 2.0
"""An encoder that must be opened anew for another bitrate is so when that is so many times more or less, and after so
long at the earliest: each costs a key frame."""
_LONGEST_S = 0.1  # a longer pause saves no bits for the frame after it
_MEAN = 0.1  # weight of the newest frame in the mean time


class Coder:
    """One codec context that fits its frames: opened at the first, again when their size changes, or when a bitrate
    far from the present one cannot be set in place.

    kind: what encodes. Where it is hardware that fails, the codec's software takes over for good. `encode` runs in one
    thread at a time, `wish` and `aim` in any.
    """

    def __init__(
        self,
        kind: Kind,
        session: str,
        recorder: Recorder,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._kind = kind
        self._session = session
        self._recorder = recorder
        self._clock = clock
        self._context: VideoCodecContext | None = None
        self._limits = limits(640, 480, RATE)
        self._target = Target(self._limits.start)
        self._aimed = False
        self._told_bits = 0
        self._opened_s = float("-inf")
        self._key_due = False
        self._key_asked_s = float("-inf")  # when one was last made because it was asked for
        self._last_pts: int | None = None
        self._codec_time = 0.0
        self.encode_s: float | None = None
        """Mean time to encode one frame, of the last ten or so; None before the first."""
        self.failure = ""
        """What the codec said when it failed last."""

    @property
    def bits(self) -> int:
        """What is aimed at, in bits per second."""
        return self._target.bits

    @property
    def name(self) -> str:
        """FFmpeg's name of what encodes."""
        return self._kind.ffmpeg

    def wish(self, estimate: int, now: float) -> None:
        """Take one more estimate of the way's width into account."""
        self._target = follow(self._target, self._limits.clamp(estimate), now)

    def aim(self, bits: int) -> None:
        """Send so many bits per second from the next frame on, up to the most that fits its size; no estimate is
        followed any more."""
        self._aimed = True
        self._target = Target(max(LEAST_AIM, bits))

    def encode(self, frame: av.VideoFrame, key: bool) -> bytes:
        """Empty where nothing is to be sent: a frame that has no time or is not newer than the last one, or one that
        the codec failed on, after which it is opened anew. key: one was asked for; it comes now, or KEY_AGAIN_S after
        the last such. Raises av.FFmpegError where the codec's software cannot be opened."""
        started = time.perf_counter()
        self._key_due |= key
        if frame.pts is None or (self._last_pts is not None and frame.pts <= self._last_pts):
            return b""
        now = self._clock()
        forced = self._key_due and now - self._key_asked_s >= KEY_AGAIN_S
        frame.pict_type = PictureType.I if forced else PictureType.NONE
        try:
            context = self._fitting(frame, now)
        except av.FFmpegError as error:
            if self._kind is SOFTWARE[self._kind.codec]:
                raise  # nothing is left to encode with
            self._failed(error)
            return b""
        try:
            packets = self._packets(context, frame)
        except av.FFmpegError as error:
            self._failed(error)
            return b""
        data = b"".join([bytes(packet) for packet in packets])
        keyframe = any(packet.is_keyframe for packet in packets)
        if keyframe:
            self._key_due = False
        if forced:
            self._key_asked_s = now
        seconds = time.perf_counter() - started
        self.encode_s = (
            seconds if self.encode_s is None else self.encode_s + _MEAN * (seconds - self.encode_s)
        )
        self._recorder.encoded(self._kind.codec, seconds, len(data), keyframe)
        return data

    def _packets(self, context: VideoCodecContext, frame: av.VideoFrame) -> list[Any]:
        """The frame's own time, and the codec's, whose seconds hold as many bits as it was opened with."""
        pts, duration = frame.pts, frame.duration
        share = 1.0
        if self._kind.change is Change.TIME:
            share = min(1.0, self._target.bits / self._limits.most)
        passed = (
            float((pts - self._last_pts) * VIDEO_TIME_BASE)
            if pts and self._last_pts is not None
            else 1 / RATE
        )
        span = max(1.0, share * min(passed, _LONGEST_S) / VIDEO_TIME_BASE)
        self._codec_time += span
        frame.pts, frame.duration = round(self._codec_time), round(span)
        try:
            packets = context.encode(frame)
        finally:
            frame.pts, frame.duration = pts, duration
        self._last_pts = pts
        return packets

    def _failed(self, error: av.FFmpegError) -> None:
        self._context = None
        self.failure = error.strerror or type(error).__name__
        software = SOFTWARE[self._kind.codec]
        if self._kind is software:
            logger.error("%s frame not encoded: %s", self._kind.codec, error)
        else:
            logger.error("%s failed (%s); %s takes over", self._kind.ffmpeg, error, software.ffmpeg)
            self._kind = software

    def _fitting(self, frame: av.VideoFrame, now: float) -> VideoCodecContext:
        if frame.format.name != "yuv420p":
            raise ValueError(f"picture to encode: got {frame.format.name}, expected yuv420p")
        context = self._context
        if context is None:
            return self._open(frame, "first", now)
        if (frame.width, frame.height) != (context.width, context.height):
            return self._open(frame, "size", now)
        bits = min(self._target.bits, self._limits.most)
        if bits == self._told_bits:
            return context
        if self._kind.change is Change.ANEW:
            far = bits * ANEW_BY < self._told_bits or bits > ANEW_BY * self._told_bits
            return self._open(frame, "bitrate", now) if far and now - self._opened_s >= ANEW_S else context
        if self._kind.change is Change.TOLD:
            context.bit_rate = bits
        self._tell(bits)
        return context

    def _open(self, frame: av.VideoFrame, reason: str, now: float) -> VideoCodecContext:
        if reason != "bitrate":
            before, self._limits = self._limits, limits(frame.width, frame.height, RATE)
            held_back = self._target.bits < before.start  # by what the other side told
            if not self._aimed:
                self._target = Target(
                    self._limits.clamp(self._target.bits) if held_back else self._limits.start
                )
        bits = min(self._target.bits, self._limits.most)
        self._context = context = self._kind.open(frame.width, frame.height, bits)
        self._opened_s = now
        self._recorder.encoder_opened(self._kind.codec, reason)
        self._tell(bits)
        return context

    def _tell(self, bits: int) -> None:
        self._told_bits = bits
        self._recorder.bitrate(self._session, self._kind.codec, bits)


def _rtp_time(frame: av.VideoFrame) -> int:
    if frame.pts is None or frame.time_base is None:
        raise ValueError("picture to encode: got no time, expected pts and time_base")
    return round(frame.pts * frame.time_base / VIDEO_TIME_BASE)


class TunedH264Encoder(H264Encoder):
    """H.264."""

    def __init__(self, coder: Coder) -> None:
        super().__init__()
        self._coder = coder

    def encode(self, frame: Frame, force_keyframe: bool = False) -> tuple[list[bytes], int]:
        """RTP payloads and the time in 1/90000 s of a yuv420p frame."""
        assert isinstance(frame, av.VideoFrame)
        timestamp = _rtp_time(frame)
        units = self._split_bitstream(self._coder.encode(frame, force_keyframe))
        return self._packetize(units), timestamp

    @property
    def target_bitrate(self) -> int:
        """Bits per second; what is set is an estimate, followed as `streaming.bitrate` says."""
        return self._coder.bits

    @target_bitrate.setter
    def target_bitrate(self, bitrate: int) -> None:
        self._coder.wish(bitrate, time.monotonic())


class TunedVp8Encoder(Vp8Encoder):
    """VP8."""

    def __init__(self, coder: Coder) -> None:
        super().__init__()
        self._coder = coder

    def encode(self, frame: Frame, force_keyframe: bool = False) -> tuple[list[bytes], int]:
        """RTP payloads and the time in 1/90000 s of a yuv420p frame."""
        assert isinstance(frame, av.VideoFrame)
        timestamp = _rtp_time(frame)
        payloads = self._packetize(self._coder.encode(frame, force_keyframe), self.picture_id)
        self.picture_id = (self.picture_id + 1) % (1 << 15)
        return payloads, timestamp

    @property
    def target_bitrate(self) -> int:
        """Bits per second; what is set is an estimate, followed as `streaming.bitrate` says."""
        return self._coder.bits

    @target_bitrate.setter
    def target_bitrate(self, bitrate: int) -> None:
        self._coder.wish(bitrate, time.monotonic())


def open_encoder(codec: str, session: str, recorder: Recorder, encoder: str = "software") -> Encoder:
    """The encoder for "vp8" or "h264"; `.target_bitrate` takes estimates. Tells `recorder` what it does. encoder: a
    name of streaming.codecs.HARDWARE that was found to work, for the codec that it has."""
    coder = Coder(kind_of(codec, encoder), session, recorder)
    return TunedH264Encoder(coder) if codec == "h264" else TunedVp8Encoder(coder)
