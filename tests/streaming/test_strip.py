from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from engine.types import U8
from engine.worker.interface import NO_MARK
from streaming import strip
from streaming.codecs import open_vp8, open_x264

RNG = np.random.default_rng(5)
OPEN = {"vp8": open_vp8, "h264": open_x264}
DECODER = {"vp8": "libvpx", "h264": "h264"}


def texture(size: tuple[int, int]) -> U8:
    """I420 planes as hard to encode as a room with somebody in it."""
    width, height = size
    coarse = RNG.integers(0, 256, (height * 3 // 2 // 12, width // 12), np.uint8)
    planes = cv2.resize(coarse, (width, height * 3 // 2), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.add(planes, RNG.integers(0, 12, planes.shape, np.uint8)), np.uint8)


def luma_of(frame: av.VideoFrame) -> U8:
    plane = frame.planes[0]
    return np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[
        : frame.height, : frame.width
    ]


@pytest.mark.parametrize("size", [(640, 480), (1280, 720), (128, 128), (360, 640), (962, 542)])
@pytest.mark.parametrize("number", [0, 1, 0x5A5A5A, strip.NUMBERS - 1])
def test_what_was_drawn_is_read(size: tuple[int, int], number: int) -> None:
    """A number survives in every size, and nothing but the first rows is touched."""
    planes = texture(size)
    before = planes.copy()
    strip.draw(planes, number)
    assert strip.read(planes[: size[1]]) == number
    rows = strip.rows_of(size[1])
    assert np.array_equal(planes[rows : size[1]], before[rows : size[1]])
    chroma = (planes[size[1] :].reshape(2, size[1] // 2, -1), before[size[1] :].reshape(2, size[1] // 2, -1))
    assert np.array_equal(chroma[0][:, (rows + 1) // 2 :], chroma[1][:, (rows + 1) // 2 :])


def test_the_layout_is_the_documented_one() -> None:
    """Guards, then the bits of the number, then its CRC-8 (0xF4 over "123456789"'s check stands for the polynomial)."""
    planes = np.full((360 * 3 // 2, 360), 77, np.uint8)
    strip.draw(planes, 0x800001)
    cells = "".join("1" if value > 128 else "0" for value in planes[5, 5::10])
    crc = 0
    for bit in f"{0x800001:024b}":  # bit by bit, as a shift register
        carry = crc >> 7 ^ int(bit)
        crc = (crc << 1 & 0xFF) ^ (0x07 if carry else 0)
    assert cells == "10" + f"{0x800001:024b}" + f"{crc:08b}" + "01"
    assert strip.rows_of(360) == 11
    assert np.all(planes[11] == 77)
    assert np.all(planes[10] != 77)


@pytest.mark.parametrize("scale", [1.0, 0.75, 0.5])
@pytest.mark.parametrize("codec", ["vp8", "h264"])
def test_a_number_survives_a_real_encoder_at_a_low_bitrate(codec: str, scale: float) -> None:
    """300 kb/s, the frame reduced by the encoder as browsers do: every number comes back as it was."""
    size = (640, 480)
    encoder = OPEN[codec](round(size[0] * scale), round(size[1] * scale), 300_000)
    decoder = av.CodecContext.create(DECODER[codec], "r")
    sent, got = [], []
    still = texture(size)
    for index in range(12):
        planes = np.roll(still, 3 * index, axis=1)
        sent.append(int(RNG.integers(strip.NUMBERS)))
        strip.draw(planes, sent[-1])
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame = frame.reformat(encoder.width, encoder.height, "yuv420p")
        frame.pts, frame.time_base = index * 3000, Fraction(1, 90_000)
        for packet in encoder.encode(frame):
            got += [strip.read(luma_of(picture)) for picture in decoder.decode(av.Packet(bytes(packet)))]
    assert got == sent


def test_a_rgb_canvas_of_full_contrast_is_read() -> None:
    """The page draws 0 and 255, the server 16 and 235."""
    planes = texture((640, 480))
    strip.draw(planes, 4711)
    rows = strip.rows_of(480)
    planes[:rows] = np.where(planes[:rows] > 128, 255, 0)
    assert strip.read(planes[:480]) == 4711


def test_pictures_without_a_strip_have_no_number() -> None:
    """Noise, flat pictures, textures, stripes and half a strip are refused."""
    for _ in range(200):
        assert strip.read(RNG.integers(0, 256, (480, 640), np.uint8)) == NO_MARK
        assert strip.read(texture((360, 240))[:240]) == NO_MARK
    for level in (0, 128, 255):
        assert strip.read(np.full((480, 640), level, np.uint8)) == NO_MARK
    assert strip.read(np.tile(np.repeat(np.array([235, 16], np.uint8), 18), (480, 20))[:, :640]) == NO_MARK
    assert strip.read(np.zeros((4, 640), np.uint8)) == NO_MARK
    assert strip.read(np.zeros((480, 20), np.uint8)) == NO_MARK


def test_a_flipped_bit_is_noticed() -> None:
    """The CRC catches every single wrong cell."""
    planes = np.full((540, 720), 128, np.uint8)
    for cell in range(strip.CELLS):
        strip.draw(planes, 123_456)
        columns = slice(cell * 20, cell * 20 + 20)
        planes[:12, columns] = 235 + 16 - planes[:12, columns]
        assert strip.read(planes[:360]) == NO_MARK


def test_real_frames_have_no_number(faces_root: Path) -> None:
    """No frame of the test clips is taken for one with a strip, at any of three sizes."""
    frames = 0
    for clip in sorted((faces_root / "drivers").glob("*.mp4")):
        with av.open(str(clip)) as container:
            for index, frame in enumerate(container.decode(video=0)):
                if index >= 24:
                    break
                grey = frame.reformat(format="gray").to_ndarray()
                for shrunk in (grey, grey[::2, ::2], grey[:, ::-1]):
                    assert strip.read(shrunk) == NO_MARK
                frames += 1
    assert frames > 100


@pytest.mark.parametrize("number", [-1, strip.NUMBERS])
def test_a_number_out_of_range_is_refused(number: int) -> None:
    """Nothing is drawn that could be read as another number."""
    with pytest.raises(ValueError, match="expected 0"):
        strip.draw(texture((128, 128)), number)
