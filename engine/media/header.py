"""What a picture says about itself, read from its bytes without decoding a pixel."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from engine.errors import DecodeError
from engine.media import tiff

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_NEEDED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_READ = frozenset({0xC0, 0xC1, 0xC2})
# Each scan costs a pass over all pixels; encoders make about ten.
_JPEG_MOST_SCANS = 100
_JPEG_MARKER = re.compile(rb"\xff++([^\x00\xff\xd0-\xd7])")
# For searching: fill bytes before the last FF are passed over once, not once from each of them.
_JPEG_NEXT_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")


@dataclass(frozen=True, slots=True)
class PictureHeader:
    """kind: "PNG", "JPEG", "WebP", "BMP" or "TIFF". width, height: stored pixels, before `orientation`
    (EXIF code 1..8) is applied.
    """

    kind: str
    width: int
    height: int
    orientation: int = 1


def kind_of(data: bytes) -> str | None:
    """Kind by the first bytes, never by the file's name; None when it is no picture that is read."""
    if data.startswith(_PNG_MAGIC):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[:4] in (b"II*\0", b"MM\0*"):
        return "TIFF"
    if data[:2] == b"BM" and data[14:18] in (b"\x0c\0\0\0", b"\x28\0\0\0", b"\x6c\0\0\0", b"\x7c\0\0\0"):
        return "BMP"
    return None


def read_header(data: bytes) -> PictureHeader:
    """Size and orientation from a picture's own header.

    Only the header is looked at, so a cut file still answers; `check_whole` finds the cut. Raises
    DecodeError when `data` is no picture of a kind that is read, or its header is damaged.
    """
    kind = kind_of(data)
    if kind is None:
        raise DecodeError("it is no PNG, JPEG, WebP, BMP or TIFF picture: convert it to one of these")
    try:
        header = _READERS[kind](data)
    except (struct.error, IndexError) as error:
        raise DecodeError(f"its {kind} header is cut or damaged: get the whole file again") from error
    if header.width <= 0 or header.height <= 0:
        raise DecodeError(
            f"its {kind} header states {header.width}x{header.height} pixels: get the file again"
        )
    return header


def check_whole(data: bytes, kind: str) -> None:
    """Raise DecodeError when the bytes of a picture of this kind end too early or a checksum is wrong.

    Decoders fill what is missing with grey, so the end is looked for here.
    """
    try:
        _CHECKS[kind](data)
    except (struct.error, IndexError) as error:
        raise DecodeError(f"its {kind} header is cut or damaged: get the whole file again") from error


def essential_png(data: bytes) -> bytes:
    """The same PNG with nothing but the chunks that make its pixels (no profiles, texts or animation)."""
    chunks = ((name, body) for name, body, _ in _png_chunks(data) if name in _PNG_NEEDED)
    return _PNG_MAGIC + b"".join(_png_chunk(name, body) for name, body in chunks)


def _png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes, int]]:
    """(name, body, stated CRC) up to and with IEND; stops early when the file is cut."""
    at = len(_PNG_MAGIC)
    while at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            return
        yield name, data[at + 8 : at + 8 + length], struct.unpack_from(">I", data, at + 8 + length)[0]
        if name == b"IEND":
            return
        at += 12 + length


def _read_png(data: bytes) -> PictureHeader:
    name, width, height = struct.unpack_from(">4sII", data, 12)
    if name != b"IHDR":
        raise DecodeError("its PNG does not begin with IHDR: get the file again")
    exif = next((body for name, body, _ in _png_chunks(data) if name == b"eXIf"), b"")
    return PictureHeader("PNG", width, height, tiff.orientation_of_exif(exif))


def _check_png(data: bytes) -> None:
    name = b""
    for name, body, crc in _png_chunks(data):
        if zlib.crc32(body, zlib.crc32(name)) != crc:
            raise DecodeError(f"its PNG chunk {name.decode('latin-1')!r} is damaged: get the file again")
    if name != b"IEND":
        raise DecodeError("its PNG ends before IEND, it is cut: get the whole file again")


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, payload) of each segment up to and with the first start of scan."""
    at = 2
    while True:
        found = _JPEG_MARKER.match(data, at)
        if found is None:
            raise DecodeError("its JPEG header is cut or damaged: get the whole file again")
        marker, at = found[1][0], found.end()
        (length,) = struct.unpack_from(">H", data, at)
        yield marker, data[at + 2 : at + length]
        if marker == 0xDA:
            return
        at += length


def _read_jpeg(data: bytes) -> PictureHeader:
    orientation = 1
    for marker, body in _jpeg_segments(data):
        if marker == 0xE1 and body.startswith(b"Exif\0\0"):
            orientation = tiff.orientation_of_exif(body)
        if marker in _JPEG_FRAMES:
            bits, height, width = struct.unpack_from(">BHH", body)
            _check_jpeg_kind(marker, bits)
            # The Exif block stands before the frame header in every file that has one.
            return PictureHeader("JPEG", width, height, orientation)
    raise DecodeError("its JPEG has no frame header: get the file again")


def _check_jpeg_kind(marker: int, bits: int) -> None:
    if marker not in _JPEG_READ or bits != 8:
        raise DecodeError(
            f"it is a JPEG of a rare kind (SOF{marker - 0xC0}, {bits} bits); baseline and progressive of 8 "
            "bits are read: save it again as one of these"
        )


def _check_jpeg(data: bytes) -> None:
    at, scans = 2, 0
    while found := _JPEG_NEXT_MARKER.search(data, at):
        if found[1] == b"\xd9":
            return
        scans += found[1] == b"\xda"
        if scans > _JPEG_MOST_SCANS:
            raise DecodeError(
                f"its JPEG has more than {_JPEG_MOST_SCANS} scans: save it again as baseline JPEG"
            )
        if found.end() + 2 > len(data):
            break
        at = found.end() + struct.unpack_from(">H", data, found.end())[0]
    raise DecodeError("its JPEG ends before the end marker, it is cut: get the whole file again")


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(name, first byte, length) of each chunk."""
    at = 12
    while at + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        yield name, at + 8, length
        at += 8 + length + (length & 1)


def _read_webp(data: bytes) -> PictureHeader:
    first, at, _ = next(_webp_chunks(data), (b"", 0, 0))
    if first == b"VP8X":
        width, height = (int.from_bytes(data[at + n : at + n + 3], "little") + 1 for n in (4, 7))
    elif first == b"VP8L":
        (packed,) = struct.unpack_from("<I", data, at + 1)
        width, height = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    elif first == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, at + 6))
    else:
        raise DecodeError("its WebP has no picture chunk: get the file again")
    exif = next((data[at : at + n] for name, at, n in _webp_chunks(data) if name == b"EXIF"), b"")
    return PictureHeader("WebP", width, height, tiff.orientation_of_exif(exif))


def _check_webp(data: bytes) -> None:
    if struct.unpack_from("<I", data, 4)[0] + 8 > len(data):
        raise DecodeError("its WebP is shorter than it states, it is cut: get the whole file again")


def _read_bmp(data: bytes) -> PictureHeader:
    if data[14] == 12:
        return PictureHeader("BMP", *struct.unpack_from("<HH", data, 18))
    width, height = struct.unpack_from("<ii", data, 18)
    return PictureHeader("BMP", width, abs(height))


def _check_bmp(data: bytes) -> None:
    header = _read_bmp(data)
    (start,) = struct.unpack_from("<I", data, 10)
    bits = struct.unpack_from("<H", data, 24 if data[14] == 12 else 28)[0]
    packed = data[14] != 12 and struct.unpack_from("<I", data, 30)[0] not in (0, 3)
    if not packed and start + (header.width * bits + 31) // 32 * 4 * header.height > len(data):
        raise DecodeError("its BMP ends before its last row, it is cut: get the whole file again")


def _read_tiff(data: bytes) -> PictureHeader:
    tags = tiff.read_directory(data, tiff.OF_PICTURE)
    if tiff.WIDTH not in tags or tiff.HEIGHT not in tags:
        raise DecodeError("its TIFF does not state its size: get the file again")
    if set(tags.get(tiff.BITS, (1,))) - {1, 2, 4, 8, 16} or set(tags.get(tiff.SAMPLE_FORMAT, (1,))) != {1}:
        raise DecodeError("its TIFF does not hold whole numbers of 8 or 16 bits: save it as PNG")
    # OpenCV turns a TIFF upright by itself.
    return PictureHeader("TIFF", tags[tiff.WIDTH][0], tags[tiff.HEIGHT][0])


def _check_tiff(data: bytes) -> None:
    tags = tiff.read_directory(data, tiff.OF_DATA)
    pairs = ((tiff.STRIP_OFFSETS, tiff.STRIP_COUNTS), (tiff.TILE_OFFSETS, tiff.TILE_COUNTS))
    ends = [
        offset + count
        for offsets, counts in pairs
        for offset, count in zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False)
    ]
    if not ends or max(ends) > len(data):
        raise DecodeError("its TIFF ends before its last strip, it is cut: get the whole file again")


_READERS = {"PNG": _read_png, "JPEG": _read_jpeg, "WebP": _read_webp, "BMP": _read_bmp, "TIFF": _read_tiff}
_CHECKS = {
    "PNG": _check_png,
    "JPEG": _check_jpeg,
    "WebP": _check_webp,
    "BMP": _check_bmp,
    "TIFF": _check_tiff,
}
