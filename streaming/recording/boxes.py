"""The outermost boxes of an MP4 file (ISO/IEC 14496-12, 4.2): where what was being written is whole."""

from __future__ import annotations

import os
import struct
from pathlib import Path

_HEADER = 8
_LONG = 16


def whole_bytes(path: Path) -> int:
    """How many of a fragmented file's first bytes make a whole one: its head, and every fragment that is there to its
    end. 0 where not even one picture is. Raises OSError."""
    whole, at = 0, 0
    headed = False
    with path.open("rb") as file:
        end = os.fstat(file.fileno()).st_size
        while end - at >= _HEADER:
            file.seek(at)
            size, kind = _box(file.read(_LONG))
            if size < _HEADER or at + size > end:
                break
            at += size
            headed |= kind == b"moov"
            if headed and kind in (b"mdat", b"mfra"):
                whole = at
    return whole


def cut_to_whole(path: Path) -> int:
    """Cut off what was not written to its end; returns how many bytes are left. Raises OSError."""
    whole = whole_bytes(path)
    if whole < path.stat().st_size:
        with path.open("r+b") as file:
            file.truncate(whole)
    return whole


def _box(head: bytes) -> tuple[int, bytes]:
    size, kind = struct.unpack(">I4s", head[:_HEADER])
    if size == 1:
        if len(head) < _LONG:
            return 0, kind
        (size,) = struct.unpack(">Q", head[_HEADER:_LONG])
    return int(size), bytes(kind)
