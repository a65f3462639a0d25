"""Pictures: kinds, sizes, orientation, alpha, bits, damage."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ConfigError, DecodeError, InputError, MarotteError, TooLargeError, TooSmallError
from engine.media import (
    Limits,
    PictureWriter,
    decode_picture,
    open_media,
    read_picture,
    resize_within,
    write_picture,
)
from engine.media.header import read_header
from engine.media.orientation import upright
from engine.types import U8

WIDTH, HEIGHT = 96, 80


def scene() -> U8:
    """Four flat quarters of distinct colours, told apart after any turn; uint8 (80, 96, 3) RGB."""
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    rgb[:40, :48], rgb[:40, 48:] = (230, 30, 40), (40, 200, 60)
    rgb[40:, :48], rgb[40:, 48:] = (30, 60, 220), (240, 220, 60)
    return rgb


def coded(suffix: str, pixels: np.ndarray | None = None, options: tuple[int, ...] = ()) -> bytes:
    """What OpenCV makes of RGB, RGBA or grey pixels."""
    pixels = scene() if pixels is None else pixels
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    return cv2.imencode(suffix, pixels, list(options))[1].tobytes()


def with_exif(jpeg: bytes, orientation: int, order: str = "<") -> bytes:
    """The same JPEG with an EXIF block that states an orientation."""
    block = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(
        order + "IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0
    )
    body = b"Exif\0\0" + block
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def chunk(name: bytes, body: bytes) -> bytes:
    """One PNG chunk."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def white_png(width: int, height: int) -> bytes:
    """A one-bit PNG of any size, in a few kilobytes."""
    rows = zlib.compressobj(9)
    row = b"\0" + b"\xff" * ((width + 7) // 8)
    data = b"".join(rows.compress(row) for _ in range(height)) + rows.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def tiff(pixels: U8, orientation: int = 1, extra: tuple[tuple[int, int, int, int], ...] = ()) -> bytes:
    """An uncompressed RGB TIFF; extra: further (tag, type, count, value) entries."""
    height, width = pixels.shape[:2]
    entries = [
        (256, 3, 1, width), (257, 3, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 2),
        (273, 4, 1, 8), (274, 3, 1, orientation), (277, 3, 1, 3), (278, 3, 1, height),
        (279, 4, 1, pixels.size), *extra,
    ]  # fmt: skip
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<4sI", b"II*\0", 8 + pixels.size) + pixels.tobytes() + directory + b"\0\0\0\0"


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff"])
def test_a_lossless_picture_comes_back_as_it_was(suffix: str):
    """A lossless kind keeps every pixel, in RGB order."""
    np.testing.assert_array_equal(decode_picture(coded(suffix), "p"), scene())


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".jpg", (cv2.IMWRITE_JPEG_QUALITY, 95)),
        (".jpg", (cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)),
        (".jpg", (cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_RST_INTERVAL, 2)),
        (".webp", (cv2.IMWRITE_WEBP_QUALITY, 95)),
        (".webp", (cv2.IMWRITE_WEBP_QUALITY, 101)),
    ],
)
def test_a_lossy_picture_comes_back_nearly(suffix: str, options: tuple[int, ...]):
    """Baseline, progressive and restart-marked JPEG, lossy and lossless WebP decode to the same colours."""
    rgb = decode_picture(coded(suffix, options=options), "p")
    assert np.abs(rgb.astype(int) - scene()).mean() < 4


def test_kind_is_told_by_content(tmp_path: Path):
    """The name of a file says nothing about its kind."""
    path = tmp_path / "photo.txt"
    path.write_bytes(coded(".png"))
    np.testing.assert_array_equal(read_picture(path), scene())


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("code", range(1, 9))
def test_exif_orientation_is_applied(code: int, order: str):
    """Each of the eight orientations stands upright after decoding, in both byte orders."""
    stored = upright(scene(), {6: 8, 8: 6}.get(code, code))  # every other one undoes itself
    rgb = decode_picture(with_exif(coded(".jpg", stored, (cv2.IMWRITE_JPEG_QUALITY, 98)), code, order), "p")
    assert rgb.shape == scene().shape
    assert np.abs(rgb.astype(int) - scene()).mean() < 4


@pytest.mark.parametrize("code", range(1, 9))
def test_tiff_orientation_is_applied(code: int):
    """A TIFF stands upright too, whoever turns it."""
    stored = upright(scene(), {6: 8, 8: 6}.get(code, code))
    np.testing.assert_array_equal(decode_picture(tiff(stored, code), "p"), scene())


def test_png_and_webp_orientation_is_applied():
    """EXIF stands in a chunk of its own in PNG and WebP, and counts there too."""
    exif = struct.pack("<4sIHHHIHHI", b"II*\0", 8, 1, 0x0112, 3, 1, 3, 0, 0)
    png = coded(".png", np.ascontiguousarray(scene()[::-1, ::-1]))
    end = png.index(b"IEND") - 4
    np.testing.assert_array_equal(decode_picture(png[:end] + chunk(b"eXIf", exif) + png[end:], "p"), scene())
    plain = coded(".webp", np.ascontiguousarray(scene()[::-1, ::-1]), (cv2.IMWRITE_WEBP_QUALITY, 101))[12:]
    sides = (WIDTH - 1).to_bytes(3, "little") + (HEIGHT - 1).to_bytes(3, "little")
    body = b"WEBPVP8X\x0a\0\0\0\x08\0\0\0" + sides + plain + b"EXIF" + struct.pack("<I", len(exif)) + exif
    np.testing.assert_array_equal(decode_picture(b"RIFF" + struct.pack("<I", len(body)) + body, "p"), scene())


def test_alpha_is_laid_on_mid_grey():
    """Transparent pixels become grey 128, opaque ones stay, half-transparent ones mix."""
    rgba = np.dstack([scene(), np.full((HEIGHT, WIDTH), 255, np.uint8)])
    rgba[:40, :48, 3], rgba[40:, 48:, 3] = 0, 51
    rgb = decode_picture(coded(".png", rgba), "p")
    assert (rgb[:40, :48] == 128).all()
    np.testing.assert_array_equal(rgb[:40, 48:], scene()[:40, 48:])
    expected = np.round(scene()[60, 60] * 0.2 + 128 * 0.8)
    np.testing.assert_allclose(rgb[60, 60], expected, atol=1)


def test_sixteen_bits_are_scaled_to_eight():
    """16-bit grey and colour keep their picture: v * 257 becomes v again."""
    grey = scene()[..., 1]
    assert (decode_picture(coded(".png", grey.astype(np.uint16) * 257), "p") == grey[..., None]).all()
    deep = coded(".png", scene().astype(np.uint16) * 257)
    np.testing.assert_array_equal(decode_picture(deep, "p"), scene())


def test_grey_becomes_rgb():
    """A one-channel picture has three equal channels."""
    rgb = decode_picture(coded(".png", scene()[..., 1]), "p")
    np.testing.assert_array_equal(rgb, np.repeat(scene()[..., 1:2], 3, axis=2))


def test_what_is_no_pixel_data_is_not_handed_to_the_png_decoder(capfd: pytest.CaptureFixture[str]):
    """Profiles and texts in a PNG are left out, so a bad one neither warns nor harms."""
    png = coded(".png")
    at = png.index(b"IDAT") - 4
    rgb = decode_picture(png[:at] + chunk(b"iCCP", b"x\0\0" + zlib.compress(b"no profile")) + png[at:], "p")
    np.testing.assert_array_equal(rgb, scene())
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tiff"])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.99])
def test_a_cut_picture_is_refused(suffix: str, share: float):
    """A file that ends too early is a DecodeError and never a picture with a grey rest."""
    noise = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    data = coded(suffix, noise)
    with pytest.raises(DecodeError):
        decode_picture(data[: int(len(data) * share)], "cut")


def test_bytes_after_the_end_do_no_harm():
    """A JPEG with a second stream behind its end, as telephones make, is a picture."""
    decode_picture(coded(".jpg") + b"trailer" * 10, "p")


def test_a_damaged_png_chunk_is_refused():
    """A PNG chunk whose checksum is wrong is a DecodeError that names it."""
    data = bytearray(coded(".png"))
    data[data.index(b"IDAT") + 10] ^= 0xFF
    with pytest.raises(DecodeError, match="IDAT"):
        decode_picture(bytes(data), "p")


@pytest.mark.parametrize(
    "data", [b"", b"hello there, no picture", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF", b"BM"]
)
def test_no_picture_is_a_decode_error(data: bytes):
    """Nothing, text and bare magic numbers are DecodeErrors."""
    with pytest.raises(DecodeError):
        decode_picture(data, "p")


def test_files_that_are_none(tmp_path: Path):
    """A missing file, a folder and an empty file are errors that say so."""
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(DecodeError, match="empty"):
        read_picture(tmp_path / "empty.jpg")
    with pytest.raises(InputError, match="plain file"):
        read_picture(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        read_picture(tmp_path / "none.jpg")


def test_size_limits():
    """More pixels or a longer side than allowed is TooLargeError, fewer than a face needs TooSmallError."""
    with pytest.raises(TooLargeError, match="9000x8000"):
        decode_picture(white_png(9000, 8000), "p")
    with pytest.raises(TooLargeError, match="16385"):
        decode_picture(white_png(16385, 70), "p")
    with pytest.raises(TooSmallError, match="63x300"):
        decode_picture(white_png(63, 300), "p")
    with pytest.raises(TooSmallError):
        decode_picture(coded(".jpg", scene()[:32, :32]), "p")
    assert decode_picture(white_png(64, 64), "p").shape == (64, 64, 3)


def test_a_file_of_too_many_bytes_is_not_read(tmp_path: Path):
    """The size of the file is looked at before its content."""
    path = tmp_path / "p.png"
    path.write_bytes(coded(".png"))
    with pytest.raises(TooLargeError, match="bytes"):
        read_picture(path, Limits(file_bytes=100))


@pytest.mark.parametrize(
    "data",
    [
        coded(".jpg").replace(struct.pack(">HH", HEIGHT, WIDTH), b"\xff\xff\xff\xff", 1),
        b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0" + b"\0" * 4 + b"\xff\xff\xff" * 2 + b"\0" * 40,
        b"RIFF\x40\0\0\0WEBPVP8L\x0a\0\0\0\x2f" + b"\xff" * 4 + b"\0" * 40,
        b"RIFF\x40\0\0\0WEBPVP8 \x0a\0\0\0" + b"\0" * 6 + b"\xff" * 4 + b"\0" * 40,
        struct.pack("<2sIIIIiiHHI", b"BM", 100, 0, 54, 40, 60_000, -60_000, 1, 24, 0) + b"\0" * 46,
        tiff(scene()).replace(struct.pack("<HHII", 256, 3, 1, WIDTH), struct.pack("<HHII", 256, 4, 1, 10**6)),
    ],
    ids=["jpeg", "webp", "webp-lossless", "webp-lossy", "bmp", "tiff"],
)
def test_every_kind_states_its_size_before_decoding(data: bytes):
    """The size comes from the header of each kind, so a bomb of any kind is refused."""
    with pytest.raises(TooLargeError):
        decode_picture(data, "bomb")


def test_a_tag_that_stands_twice_is_refused():
    """A TIFF cannot show one width to the check and another to the decoder."""
    with pytest.raises(DecodeError, match="twice"):
        decode_picture(tiff(scene(), extra=((256, 4, 1, 50_000),)), "p")


def test_a_jpeg_of_very_many_scans_is_refused():
    """Each scan is a pass over all pixels, so their number is bounded."""
    progressive = coded(".jpg", options=(cv2.IMWRITE_JPEG_PROGRESSIVE, 1))
    scan = b"\xff\xda" + struct.pack(">H", 8) + b"\x01\x01\x00\x00\x3f\x00\x00"
    with pytest.raises(DecodeError, match="scans"):
        decode_picture(progressive[:-2] + scan * 200 + b"\xff\xd9", "p")


@settings(max_examples=150, deadline=None)
@given(
    suffix=st.sampled_from([".png", ".jpg", ".webp", ".bmp", ".tiff"]),
    hits=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=8),
    keep=st.floats(0.01, 1),
)
def test_any_damage_is_a_picture_or_an_error_of_ours(suffix: str, hits: list[tuple[float, int]], keep: float):
    """Damaged bytes decode within the limits or raise MarotteError, nothing else."""
    data = bytearray(coded(suffix))
    for place, value in hits:
        data[int(place * len(data))] = value
    try:
        rgb = decode_picture(bytes(data[: int(len(data) * keep)]), "p", Limits(pixels=100_000))
    except MarotteError:
        return
    assert rgb.dtype == np.uint8
    assert rgb.shape[2] == 3
    assert rgb.shape[0] * rgb.shape[1] <= 100_000


@settings(max_examples=200, deadline=None)
@given(
    magic=st.sampled_from([b"\xff\xd8\xff\xe0", b"II*\0", b"MM\0*", b"RIFF\0\0\0\0WEBP", b"BM"]),
    rest=st.binary(),
)
def test_any_header_is_read_or_an_error_of_ours(magic: bytes, rest: bytes):
    """No header makes the parser fail in another way than MarotteError."""
    try:
        header = read_header(magic + rest)
    except MarotteError:
        return
    assert header.width > 0
    assert header.height > 0


MEASURE = """
import re, sys, time
import cv2, numpy
from engine.errors import TooLargeError
from engine.media import read_picture
def status(field):
    with open("/proc/self/status") as lines:
        return int(re.search(field + r":\\s+(\\d+)", lines.read())[1])
before, start = status("VmRSS"), time.perf_counter()
try:
    read_picture(sys.argv[1])
except TooLargeError:
    print(status("VmHWM") - before, time.perf_counter() - start)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured in /proc, which Linux has")
def test_a_huge_picture_costs_neither_memory_nor_time(tmp_path: Path):
    """300 megapixels in a few kilobytes are refused before decoding: under 1 s, under 100 MB more memory."""
    path = tmp_path / "huge.png"
    path.write_bytes(white_png(20_000, 15_000))
    answer = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    kilobytes, seconds = map(float, answer.stdout.split())
    assert kilobytes < 100_000
    assert seconds < 1


def test_a_picture_is_one_frame(tmp_path: Path):
    """A picture stands where a video may stand: one frame at time 0."""
    path = tmp_path / "p.png"
    path.write_bytes(coded(".png"))
    with open_media(path) as reader:
        frames = list(reader)
        assert reader.still
        assert reader.size == (WIDTH, HEIGHT)
    assert [frame.time_s for frame in frames] == [0]
    np.testing.assert_array_equal(frames[0].rgb, scene())


def test_resize_within_shrinks_only():
    """The longer side meets the bound, the shape stays, and a small picture stays as it is."""
    assert resize_within(scene(), 48).shape == (40, 48, 3)
    assert resize_within(scene(), 20).shape == (17, 20, 3)
    np.testing.assert_array_equal(resize_within(scene(), 500), scene())


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp", ".PNG"])
def test_a_written_picture_can_be_read(tmp_path: Path, suffix: str):
    """What is written reads back with the same colours, and no temporary file is left."""
    path = tmp_path / f"out{suffix}"
    write_picture(path, scene())
    assert np.abs(read_picture(path).astype(int) - scene()).mean() < 3
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_picture_cannot_be_written(tmp_path: Path):
    """An unknown suffix, a missing folder and a folder's name are errors that say so."""
    with pytest.raises(ConfigError, match="png"):
        write_picture(tmp_path / "out.xyz", scene())
    with pytest.raises(ConfigError, match="cannot be written"):
        write_picture(tmp_path / "none" / "out.png", scene())
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ConfigError, match="is a folder"):
        write_picture(tmp_path / "folder.png", scene())


def test_a_picture_holds_one_frame(tmp_path: Path):
    """A second frame for a picture is refused with the way out, and the first one stays."""
    (tmp_path / "in.png").write_bytes(coded(".png"))
    frame = next(iter(open_media(tmp_path / "in.png")))
    with PictureWriter(tmp_path / "out.png") as writer:
        writer.write(frame)
        with pytest.raises(ConfigError, match="mp4"):
            writer.write(frame)
    np.testing.assert_array_equal(read_picture(tmp_path / "out.png"), scene())
