"""VP8 and H.264 encoders for faces that move in real time: one frame in, its packets out, nothing held back.

They are aiortc's own, with other settings; aiortc's are kept for cutting into RTP payloads. A frame is never converted,
kept or written to, beyond `pict_type`, by which the codec is told whether a key frame is wanted: a frame must not be
given to two encoders at once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from fractions import Fraction

import av
from aiortc.codecs.base import Encoder
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.mediastreams import VIDEO_TIME_BASE
from av.frame import Frame
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from engine.errors import ConfigError
from streaming.bitrate import Target, follow, limits
from streaming.measured import Recorder

logger = logging.getLogger(__name__)

RATE = 30
"""Frames per second that the bits are shared among; fewer frames send fewer bits."""
NO_END = 1_000_000
"""Frames between key frames nobody asked for: none."""
KEY_AGAIN_S = 0.3
"""Between two key frames that are asked for: they cost several times what others do, and the other side asks freely."""

Opening = Callable[[int, int, int], VideoCodecContext]
Retarget = Callable[[VideoCodecContext, int], bool]


class Coder:
    """One codec context that fits its frames: opened at the first, again when their size changes or when the bitrate
    cannot be changed in place.

    `encode` runs in one thread at a time, `wish` in any.
    """

    def __init__(
        self,
        codec: str,
        opening: Opening,
        retarget: Retarget,
        session: str,
        recorder: Recorder,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._codec = codec
        self._opening = opening
        self._retarget = retarget
        self._session = session
        self._recorder = recorder
        self._clock = clock
        self._context: VideoCodecContext | None = None
        self._limits = limits(640, 480, RATE)
        self._target = Target(self._limits.start)
        self._told_bits = 0
        self._key_due = False
        self._key_asked_s = float("-inf")  # when one was last made because it was asked for
        self._last_pts: int | None = None

    @property
    def bits(self) -> int:
        """What is aimed at, in bits per second."""
        return self._target.bits

    def wish(self, estimate: int, now: float) -> None:
        """Take one more estimate of the way's width into account."""
        self._target = follow(self._target, self._limits.clamp(estimate), now)

    def encode(self, frame: av.VideoFrame, key: bool) -> bytes:
        """Empty where nothing is to be sent: a frame that is not newer than the last one, or one that the codec failed
        on, after which it is opened anew. key: one was asked for; it comes now, or KEY_AGAIN_S after the last such."""
        started = time.perf_counter()
        self._key_due |= key
        if frame.pts is not None and self._last_pts is not None and frame.pts <= self._last_pts:
            return b""
        context = self._fitting(frame)
        now = self._clock()
        forced = self._key_due and now - self._key_asked_s >= KEY_AGAIN_S
        frame.pict_type = PictureType.I if forced else PictureType.NONE
        try:
            packets = context.encode(frame)
        except av.FFmpegError as error:
            logger.error("%s frame not encoded: %s", self._codec, error)
            self._context = None
            return b""
        self._last_pts = frame.pts
        data = b"".join([bytes(packet) for packet in packets])
        keyframe = any(packet.is_keyframe for packet in packets)
        if keyframe:
            self._key_due = False
        if forced:
            self._key_asked_s = now
        self._recorder.encoded(self._codec, time.perf_counter() - started, len(data), keyframe)
        return data

    def _fitting(self, frame: av.VideoFrame) -> VideoCodecContext:
        if frame.format.name != "yuv420p":
            raise ValueError(f"picture to encode: got {frame.format.name}, expected yuv420p")
        context = self._context
        if context is None:
            return self._open(frame, "first")
        if (frame.width, frame.height) != (context.width, context.height):
            return self._open(frame, "size")
        bits = self._target.bits
        if bits == self._told_bits:
            return context
        if not self._retarget(context, bits):
            return self._open(frame, "bitrate")
        self._tell(bits)
        return context

    def _open(self, frame: av.VideoFrame, reason: str) -> VideoCodecContext:
        if reason != "bitrate":
            before, self._limits = self._limits, limits(frame.width, frame.height, RATE)
            held_back = self._target.bits < before.start  # by what the other side told
            self._target = Target(self._limits.clamp(self._target.bits) if held_back else self._limits.start)
        self._context = context = self._opening(frame.width, frame.height, self._target.bits)
        self._recorder.encoder_opened(self._codec, reason)
        self._tell(self._target.bits)
        return context

    def _tell(self, bits: int) -> None:
        self._told_bits = bits
        self._recorder.bitrate(self._session, self._codec, bits)


def _context(name: str, width: int, height: int, bits: int, options: dict[str, str]) -> VideoCodecContext:
    context = av.CodecContext.create(name, "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height = width, height
    context.bit_rate = bits
    context.pix_fmt = "yuv420p"
    context.time_base = VIDEO_TIME_BASE  # that of the frames, which would be written to otherwise
    context.framerate = Fraction(RATE)
    context.gop_size = NO_END
    context.thread_count = 1  # a frame takes 2 ms at 640x480; more threads only take turns with everyone else
    context.options = options
    return context


def _rtp_time(frame: av.VideoFrame) -> int:
    if frame.pts is None or frame.time_base is None:
        raise ValueError("picture to encode: got no time, expected pts and time_base")
    return round(frame.pts * frame.time_base / VIDEO_TIME_BASE)


LEVELS = ((1620, 40_500, "30"), (3600, 108_000, "31"), (5120, 216_000, "32"), (8192, 245_760, "40"))
"""H.264 levels: macroblocks per frame, macroblocks per second, name."""


def level(width: int, height: int) -> str:
    """The least H.264 level that allows pictures of this size at 30 a second (from 3.0 on)."""
    blocks = -(-width // 16) * -(-height // 16)
    for frame, second, name in LEVELS:
        if blocks <= frame and blocks * RATE <= second:
            return name
    return "51"


BUFFER_S = 0.15
"""A frame may burst to what the most bits carry in so long: 50 kB at 640x480, a key frame of good quality."""


def open_h264(width: int, height: int, bits: int) -> VideoCodecContext:
    """x264 for least delay: baseline, every frame leaves at once.

    x264 changes its bitrate in place only where it is constant, and only below the one it was opened with: it is opened
    with the most that fits the picture, and set to `bits` before the first frame.
    """
    most = limits(width, height, RATE).most
    options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "level": level(width, height),
        "maxrate": str(most),
        "bufsize": str(round(BUFFER_S * most)),
        "forced-idr": "1",
    }
    context = _context("libx264", width, height, most, options)
    context.profile = "Baseline"
    context.open()
    context.bit_rate = bits
    return context


def retarget_h264(context: VideoCodecContext, bits: int) -> bool:
    """Change the bitrate in place: FFmpeg tells x264 before the next frame."""
    context.bit_rate = bits
    return True


def open_vp8(width: int, height: int, bits: int) -> VideoCodecContext:
    """libvpx for real time, constant bitrate."""
    speed = 12 if width * height <= 640 * 480 else 16
    options = {
        "deadline": "realtime",
        "cpu-used": f"-{speed}",
        "lag-in-frames": "0",
        "error-resilient": "0",
        "noise-sensitivity": "0",
        "static-thresh": "100",
        "partitions": "0",
        "minrate": str(bits),
        "maxrate": str(bits),
        "bufsize": str(bits),
        "max-intra-rate": "900",
        "overshoot-pct": "15",
        "undershoot-pct": "100",
    }
    context = _context("libvpx", width, height, bits, options)
    context.qmin, context.qmax = 2, 56
    return context


def retarget_vp8(context: VideoCodecContext, bits: int) -> bool:
    """FFmpeg's libvpx takes its bitrate when it is opened, and never again."""
    return False


class TunedH264Encoder(H264Encoder):
    """H.264 by x264."""

    def __init__(self, session: str, recorder: Recorder) -> None:
        super().__init__()
        self._coder = Coder("h264", open_h264, retarget_h264, session, recorder)

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
    """VP8 by libvpx."""

    def __init__(self, session: str, recorder: Recorder) -> None:
        super().__init__()
        self._coder = Coder("vp8", open_vp8, retarget_vp8, session, recorder)

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


def open_encoder(codec: str, session: str, recorder: Recorder) -> Encoder:
    """The encoder for "vp8" or "h264"; `.target_bitrate` takes estimates. Tells `recorder` what it does."""
    if codec == "h264":
        return TunedH264Encoder(session, recorder)
    if codec == "vp8":
        return TunedVp8Encoder(session, recorder)
    raise ConfigError(f"codec: got {codec!r}, expected vp8 or h264")
