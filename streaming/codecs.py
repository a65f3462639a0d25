"""How each of FFmpeg's video encoders is opened for real time, and how it learns of another bitrate."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from aiortc.mediastreams import VIDEO_TIME_BASE
from av.codec.hwaccel import HWAccel
from av.video.codeccontext import VideoCodecContext

from engine.errors import ConfigError
from streaming.bitrate import limits

RATE = 30
"""Frames per second that the bits are shared among; fewer frames send fewer bits."""
NO_END = 1_000_000
"""Frames between key frames nobody asked for: none."""
BUFFER_S = 0.15
"""A frame may burst to what the most bits carry in so long: 50 kB at 640x480, a key frame of good quality."""
VP8_BUFFER_S = 0.5

LEVELS = (
    (1620, 40_500, "30"),
    (3600, 108_000, "31"),
    (5120, 216_000, "32"),
    (8192, 245_760, "40"),
    (8704, 522_240, "42"),
    (22_080, 589_824, "50"),
)
"""H.264 levels: macroblocks per frame, macroblocks per second, name."""


class Change(enum.Enum):
    """How an open encoder is given another bitrate. TOLD: FFmpeg passes a new one on. TIME: its clock runs slower or
    faster than the frames', so that each gets its share of fewer or more bits. ANEW: it cannot be."""

    TOLD = "told"
    TIME = "time"
    ANEW = "anew"


@dataclass(frozen=True, slots=True)
class Kind:
    """codec: "vp8" or "h264". ffmpeg: FFmpeg's name. open: a context for (width, height, bits), made for the most that
    fits the picture where it can be changed later."""

    codec: str
    ffmpeg: str
    change: Change
    open: Callable[[int, int, int], VideoCodecContext]


def level(width: int, height: int) -> str:
    """The least H.264 level that allows pictures of this size at 30 a second (from 3.0 on)."""
    blocks = -(-width // 16) * -(-height // 16)
    for frame, second, name in LEVELS:
        if blocks <= frame and blocks * RATE <= second:
            return name
    return "51"


def open_vp8(width: int, height: int, bits: int) -> VideoCodecContext:
    """libvpx for real time, constant bitrate. FFmpeg gives it a bitrate when it is opened and never again: it is opened
    with the most, and its clock is slowed down."""
    most = limits(width, height, RATE).most
    speed = 12 if width * height <= 640 * 480 else 16
    options = {
        "deadline": "realtime",
        "cpu-used": f"-{speed}",
        "lag-in-frames": "0",
        "error-resilient": "0",
        "noise-sensitivity": "0",
        "static-thresh": "100",
        "partitions": "0",
        "minrate": str(most),
        "maxrate": str(most),
        "bufsize": str(round(VP8_BUFFER_S * most)),
        "max-intra-rate": "500",
        "overshoot-pct": "15",
        "undershoot-pct": "100",
    }
    context = _context("libvpx", width, height, most, options)
    context.qmin, context.qmax = 2, 56
    return context


def open_x264(width: int, height: int, bits: int) -> VideoCodecContext:
    """x264 for least delay: baseline, every frame leaves at once.

    x264 changes its bitrate in place only where it is constant, and only below the one it was opened with: it is opened
    with the most that fits the picture, and set to `bits` before the first frame.
    """
    options = {"preset": "ultrafast", "tune": "zerolatency", **_bounds(width, height)}
    return _opened(_context("libx264", width, height, limits(width, height, RATE).most, options), bits)


def open_nvenc(width: int, height: int, bits: int) -> VideoCodecContext:
    """NVIDIA's encoder, for least delay."""
    options = {
        "preset": "p3",
        "tune": "ull",
        "rc": "cbr",
        "zerolatency": "1",
        "delay": "0",
        "surfaces": "2",
        **_bounds(width, height),
    }
    return _opened(_context("h264_nvenc", width, height, limits(width, height, RATE).most, options), bits)


def open_vaapi(width: int, height: int, bits: int) -> VideoCodecContext:
    """Intel's and AMD's encoder on Linux; frames are uploaded by PyAV."""
    options = {"rc_mode": "CBR", "async_depth": "1", "maxrate": str(bits), "bufsize": str(round(0.5 * bits))}
    context = _context("h264_vaapi", width, height, bits, options, HWAccel("vaapi"))
    context.pix_fmt = "nv12"  # what every driver takes
    return _opened(context, bits)


def open_videotoolbox(width: int, height: int, bits: int) -> VideoCodecContext:
    """Apple's encoder."""
    options = {"realtime": "1", "prio_speed": "1", "allow_sw": "0", "max_ref_frames": "1"}
    return _opened(_context("h264_videotoolbox", width, height, bits, options), bits)


VP8 = Kind("vp8", "libvpx", Change.TIME, open_vp8)
X264 = Kind("h264", "libx264", Change.TOLD, open_x264)
SOFTWARE = {"vp8": VP8, "h264": X264}
HARDWARE = {
    "nvenc": Kind("h264", "h264_nvenc", Change.TOLD, open_nvenc),
    "vaapi": Kind("h264", "h264_vaapi", Change.ANEW, open_vaapi),
    "videotoolbox": Kind("h264", "h264_videotoolbox", Change.ANEW, open_videotoolbox),
}
"""By the names that an operator knows them by."""


def kind_of(codec: str, encoder: str = "software") -> Kind:
    """What encodes "vp8" or "h264". encoder: a name of HARDWARE, used for the codec that it has, or "software"."""
    if codec not in SOFTWARE:
        raise ConfigError(f"codec: got {codec!r}, expected vp8 or h264")
    hardware = HARDWARE.get(encoder)
    return hardware if hardware is not None and hardware.codec == codec else SOFTWARE[codec]


def _bounds(width: int, height: int) -> dict[str, str]:
    most = limits(width, height, RATE).most
    return {
        "level": level(width, height),
        "maxrate": str(most),
        "bufsize": str(round(BUFFER_S * most)),
        "forced-idr": "1",
    }


def _opened(context: VideoCodecContext, bits: int) -> VideoCodecContext:
    """Opened with the bitrate that it has, and set to `bits`."""
    context.profile = "Constrained Baseline" if context.name == "h264_vaapi" else "Baseline"
    context.open()
    context.bit_rate = bits
    return context


def _context(
    name: str, width: int, height: int, bits: int, options: dict[str, str], device: HWAccel | None = None
) -> VideoCodecContext:
    context: Any = av.CodecContext.create(name, "w", device)
    context.width, context.height = width, height
    context.bit_rate = bits
    context.pix_fmt = "yuv420p"
    context.time_base = VIDEO_TIME_BASE  # that of the frames, which would be written to otherwise
    context.framerate = Fraction(RATE)
    context.gop_size = NO_END
    context.max_b_frames = 0
    context.thread_count = 1  # a frame takes 2 ms at 640x480; more threads only take turns with everyone else
    context.options = options
    return context  # type: ignore[no-any-return]
