"""How large a picture a frame asks its decoder for, read before the decoder believes it.

libvpx takes its memory before anyone can refuse, and FFmpeg's H.264 looks at the size after cropping: three kilobytes
from the other side would be a gigabyte here.
"""

from __future__ import annotations

import re

_VP8_START = b"\x9d\x01\x2a"
_SPS = re.compile(rb"\x00\x00\x01[\x07\x27\x47\x67\x87\xa7\xc7\xe7]")
_PLAIN = (66, 77, 88)
_MOST_ZEROS = 31


def declared_pixels(codec: str, data: bytes) -> int:
    """Pixels (width x height, before any cropping) of the largest picture that an encoded frame announces; 0 where it
    announces none. codec: "VP8" or "H264", the latter with start codes. Raises ValueError where it cannot be told."""
    return _vp8_pixels(data) if codec == "VP8" else _h264_pixels(data)


def _vp8_pixels(data: bytes) -> int:
    if len(data) < 10 or data[0] & 1 or data[3:6] != _VP8_START:
        return 0  # an inter frame, or none that libvpx would open
    width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (6, 8))
    return width * height


def _h264_pixels(data: bytes) -> int:
    most = 0
    for found in _SPS.finditer(data):
        end = data.find(b"\0\0\1", found.end())
        most = max(most, _sps_pixels(data[found.end() : end if end >= 0 else len(data)]))
    return most


def _sps_pixels(unit: bytes) -> int:
    """Of a sequence parameter set without its first byte (ITU-T H.264, 7.3.2.1.1)."""
    bits = _Bits(unit.replace(b"\0\0\3", b"\0\0"))
    profile = bits.take(8)
    bits.take(16)  # constraints, level
    bits.golomb()  # its number
    if profile not in _PLAIN:
        _skip_formats(bits)
    bits.golomb()  # frame numbers
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.take(1)
        bits.golomb()
        bits.golomb()
        for _ in range(min(256, bits.golomb())):
            bits.golomb()
    bits.golomb()  # reference frames
    bits.take(1)
    width, height = bits.golomb() + 1, bits.golomb() + 1
    return width * 16 * height * 16 * (1 if bits.take(1) else 2)


def _skip_formats(bits: _Bits) -> None:
    if bits.golomb() == 3:  # 4:4:4
        bits.take(1)
    bits.golomb()  # depth of luma and of chroma
    bits.golomb()
    bits.take(1)
    if bits.take(1):
        raise ValueError("scaling matrices, which no camera sends")


class _Bits:
    """Reads a unit's bits, first one first."""

    def __init__(self, data: bytes) -> None:
        self._left = len(data) * 8
        self._value = int.from_bytes(data)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("it is cut short")
        return self._value >> self._left & (1 << count) - 1

    def golomb(self) -> int:
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > _MOST_ZEROS:
                raise ValueError("a number without end")
        return (1 << zeros) - 1 + self.take(zeros)
