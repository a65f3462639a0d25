"""Small files that ask for much: what they may cost, and that every message stays one line."""

from __future__ import annotations

import struct
import time
import tracemalloc
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.errors import DecodeError, InputError
from engine.media import VideoWriter, decode_picture, open_media, open_writer, read_picture, write_picture
from engine.media.header import check_whole, read_header
from engine.media.tiff import orientation_of_exif


def coded(suffix: str, pixels: np.ndarray | None = None) -> bytes:
    """What OpenCV makes of these pixels, or of a black square."""
    pixels = np.zeros((80, 80, 3), np.uint8) if pixels is None else pixels
    return cv2.imencode(suffix, pixels)[1].tobytes()


@pytest.mark.parametrize("after", [b"\x00", b"\xd0"])
def test_runs_of_fill_bytes_cost_linear_time(after: bytes):
    """A quarter of a megabyte of FF in a scan or before a segment is passed over at once."""
    jpeg = coded(".jpg")
    run = b"\xff" * (1 << 18) + after
    begin = time.process_time()
    with pytest.raises(DecodeError, match="JPEG"):
        check_whole(jpeg[:-2] + run, "JPEG")
    with pytest.raises(DecodeError, match="JPEG"):
        read_header(jpeg[:2] + run)
    assert time.process_time() - begin < 1


def exif_of_many(tags: int, count: int) -> bytes:
    """An EXIF block of `tags` tags that all claim the same `count` values."""
    entries = [(1000 + tag, 1, count, 8) for tag in range(tags)] + [(0x0112, 3, 1, 6)]
    block = struct.pack("<4sIH", b"II*\0", 8, len(entries))
    block += b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"Exif\0\0" + block.ljust(count + 16, b"\0")


def test_tags_that_nobody_asks_for_are_not_read():
    """Thousands of tags that share their values cost neither memory nor time; the wanted one is found."""
    block = exif_of_many(1000, 40_000)
    tracemalloc.start()
    code = orientation_of_exif(block)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert code == 6
    assert most < 1_000_000


def test_transparency_is_laid_out_in_strips(monkeypatch: pytest.MonkeyPatch):
    """However the rows are split, sixteen bits and alpha come out the same."""
    rgba = np.random.default_rng(2).integers(0, 1 << 16, (300, 96, 4)).astype(np.uint16)
    data = coded(".png", rgba)
    whole = decode_picture(data, "p")
    monkeypatch.setattr("engine.media.picture._STRIP_ROWS", 7)
    np.testing.assert_array_equal(decode_picture(data, "p"), whole)


@pytest.mark.parametrize("length", range(18, 34))
def test_a_cut_bmp_header_is_a_decode_error(length: int):
    """A BMP that ends inside of its header is a DecodeError at any length."""
    with pytest.raises(DecodeError):
        decode_picture(coded(".bmp")[:length], "p")


@pytest.mark.parametrize("breaking", ["\n", "\r", "\x1b", "\u2028"])
def test_a_name_never_breaks_a_message(tmp_path: Path, breaking: str):
    """A control character in a name is shown as an escape, so a message stays one line."""
    name = f"a{breaking}b"
    size, tick, rate = (96, 80), Fraction(1, 1000), Fraction(25)
    damaged = tmp_path / f"{name}.png"
    try:
        damaged.write_bytes(b"no picture at all")
    except OSError:
        pytest.skip("this system has no such names")
    for attempt in (
        lambda: read_picture(damaged),
        lambda: open_media(damaged),
        lambda: open_media(tmp_path / f"{name}.none"),
        lambda: open_media(f"http://{name}"),
        lambda: decode_picture(b"", name),
        lambda: open_writer(tmp_path / f"{name}.xyz", size, tick, rate),
        lambda: VideoWriter(tmp_path / "none" / f"{name}.mp4", size, tick, rate),
        lambda: write_picture(tmp_path / f"{name}.xyz", np.zeros((80, 80, 3), np.uint8)),
    ):
        with pytest.raises(InputError) as caught:
            attempt()
        assert breaking not in str(caught.value)


@pytest.mark.parametrize("data", [b"only words, and no picture\n", b"\0" * 4096])
def test_what_is_no_picture_is_told_in_our_own_words(tmp_path: Path, data: bytes):
    """The kinds of pictures are named beside those of clips, and nobody has to know what reads them."""
    path = tmp_path / "words.jpg"
    path.write_bytes(data)
    with pytest.raises(DecodeError, match=r"words\.jpg") as raised:
        open_media(path)
    said = str(raised.value)
    assert all(kind in said for kind in ("JPEG", "PNG", "WebP", "MP4", "WebM"))
    assert not any(word in said for word in ("Invalid", "argument", "Errno", "("))
