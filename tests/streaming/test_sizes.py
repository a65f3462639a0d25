"""The size that a frame announces, against what real encoders write and what the decoders would believe."""

from __future__ import annotations

from contextlib import suppress

import av
import numpy as np
import pytest

from engine.worker.interface import TIME_BASE
from streaming.sizes import declared_pixels


def encoded(codec: str, width: int, height: int, options: dict[str, str]) -> list[bytes]:
    """A key frame and an inter frame."""
    context = av.CodecContext.create(codec, "w")
    context.width, context.height, context.pix_fmt, context.time_base = width, height, "yuv420p", TIME_BASE
    context.options = options
    frames = []
    for number in range(2):
        frame = av.VideoFrame.from_ndarray(np.full((height * 3 // 2, width), 90, np.uint8), "yuv420p")
        frame.pts, frame.time_base = number * 3000, TIME_BASE
        frames += [bytes(packet) for packet in context.encode(frame)]
    return frames


def vp8_key(width: int, height: int) -> bytes:
    """Three kilobytes that say to be a picture of this size."""
    size = b"".join(side.to_bytes(2, "little") for side in (width, height))
    return b"\x10\x7d\x00\x9d\x01\x2a" + size + b"\x55" * 3000


class Bits:
    def __init__(self) -> None:
        self.text = ""

    def put(self, count: int, value: int) -> Bits:
        self.text += f"{value:0{count}b}"
        return self

    def golomb(self, *values: int) -> Bits:
        for value in values:
            self.text += "0" * ((value + 1).bit_length() - 1) + f"{value + 1:b}"
        return self

    def unit(self, head: int) -> bytes:
        """With start code, and what keeps a start code from standing inside."""
        text = self.text + "1"
        text += "0" * (-len(text) % 8)
        out = bytearray(b"\0\0\0\1" + bytes([head]))
        zeros = 0
        for byte in int(text, 2).to_bytes(len(text) // 8):
            if zeros >= 2 and byte <= 3:
                out.append(3)
                zeros = 0
            out.append(byte)
            zeros = 0 if byte else zeros + 1
        return bytes(out)


def sps(blocks: tuple[int, int], crop: int = 0, *, order: int = 2, frames_only: int = 1) -> bytes:
    bits = Bits().put(8, 66).put(16, 0xC03E).golomb(0, 0, order)
    if order == 1:
        bits.put(1, 0).golomb(0, 0, 3, 1, 2, 3)
    bits.golomb(1).put(1, 0).golomb(blocks[0] - 1, blocks[1] - 1).put(1, frames_only)
    bits.put(1 if frames_only else 2, 1)
    return bits.put(1, 1).golomb(0, crop, 0, crop).put(1, 0).unit(0x67)


def h264_key(blocks: tuple[int, int], crop: int = 0) -> bytes:
    """A key frame that OpenH264 and FFmpeg take for one."""
    pps = Bits().golomb(0, 0).put(2, 0).golomb(0, 0, 0).put(3, 0).golomb(0, 0, 0).put(3, 0).unit(0x68)
    picture = Bits().golomb(0, 7, 0).put(4, 0).golomb(0).put(2, 0).golomb(0).unit(0x65)
    return sps(blocks, crop) + pps + picture + b"\x55" * 2000


@pytest.mark.parametrize("size", [(64, 48), (640, 480), (1280, 720), (1920, 1088)])
def test_what_encoders_write_is_read(size: tuple[int, int]) -> None:
    """Key frames announce their size, whole blocks of it in H.264, in every profile; inter frames announce nothing."""
    key, inter = encoded("libvpx", *size, {"deadline": "realtime", "lag-in-frames": "0"})
    assert declared_pixels("VP8", key) == size[0] * size[1]
    assert declared_pixels("VP8", inter) == 0
    for profile in ("baseline", "main", "high"):
        options = {"preset": "ultrafast", "tune": "zerolatency", "profile": profile}
        key, inter = encoded("libx264", *size, options)
        assert declared_pixels("H264", key) == size[0] * -(-size[1] // 16) * 16
        assert declared_pixels("H264", inter) == 0


def test_what_is_cropped_away_counts() -> None:
    """The memory is taken for all of it: FFmpeg's own limit looks only at what is left."""
    data = h264_key((512, 512), crop=4000)
    assert declared_pixels("H264", data) == 8192 * 8192
    context = av.CodecContext.create("h264", "r")
    context.thread_count = 1
    context.options = {"max_pixels": "10000000"}
    small = context.decode(av.Packet(h264_key((20, 15), crop=4)))
    assert [(frame.width, frame.height) for frame in small] == [(312, 232)]


def test_the_largest_of_several_counts() -> None:
    """A frame may bring more than one, and the picture choose."""
    assert declared_pixels("H264", sps((2, 2)) + sps((100, 50), order=1) + sps((3, 3))) == 1600 * 800
    assert declared_pixels("H264", sps((10, 10), frames_only=0)) == 160 * 320
    assert declared_pixels("VP8", vp8_key(16383, 16383)) == 16383**2


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0\1\x67",
        b"\0\0\1\x67\x42\xc0\x1e",
        sps((100, 100))[:12],
        b"\0\0\1\x67\x42\xc0\x1e" + bytes(30),
        b"\0\0\1\x67" + Bits().put(8, 100).put(16, 30).golomb(0, 1, 0, 0).put(2, 1).unit(0)[5:] + b"\xff" * 9,
    ],
)
def test_what_cannot_be_told_is_said(data: bytes) -> None:
    """Cut short, without end, or with what no camera sends: refused, not guessed."""
    with pytest.raises(ValueError, match=r"short|end|scaling"):
        declared_pixels("H264", data)


@pytest.mark.parametrize("data", [b"", b"\x10", b"\x10\0\0\x9d\x01\x2a\xff\x3f\xff", b"\0" * 12])
def test_what_is_no_key_frame_announces_nothing(data: bytes) -> None:
    """libvpx opens nothing for it either."""
    assert declared_pixels("VP8", data) == 0


def test_no_bytes_make_it_fail_otherwise() -> None:
    """Whatever comes, the answer is a number or a ValueError."""
    random = np.random.default_rng(5)
    for _ in range(500):
        noise = random.integers(0, 256, 40, np.uint8).tobytes()
        for codec in ("VP8", "H264"):
            with suppress(ValueError):
                assert declared_pixels(codec, b"\0\0\1\x67\x42" + noise) >= 0
