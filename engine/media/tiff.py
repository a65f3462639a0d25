"""Reading the tag directory of TIFF, which is also what EXIF is made of."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Set

from engine.errors import DecodeError

WIDTH, HEIGHT, BITS, PHOTOMETRIC = 256, 257, 258, 262
STRIP_OFFSETS, ORIENTATION, SAMPLES, STRIP_COUNTS = 273, 274, 277, 279
TILE_OFFSETS, TILE_COUNTS, SAMPLE_FORMAT = 324, 325, 339

OF_PICTURE = frozenset({WIDTH, HEIGHT, BITS, SAMPLES, SAMPLE_FORMAT})
OF_DATA = frozenset({STRIP_OFFSETS, STRIP_COUNTS, TILE_OFFSETS, TILE_COUNTS})

_SIZES = {1: (1, "B"), 3: (2, "H"), 4: (4, "I")}
_MAX_ENTRIES = 4096
_MAX_VALUES = 1 << 18  # tiles of 16 pixels of the largest picture that is read


def read_directory(data: bytes, wanted: Set[int]) -> Mapping[int, tuple[int, ...]]:
    """The `wanted` unsigned integer tags of the first directory: tag number to values.

    data: a TIFF file or the payload of an EXIF block, from its byte order mark on. Tags of other types are
    left out. Raises DecodeError when the directory lies outside of `data`.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    try:
        if order is None:
            raise DecodeError("no TIFF byte order mark: the file is damaged, or a BigTIFF; save it as PNG")
        (start,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, start)
        entries = (start + 2 + 12 * index for index in range(min(count, _MAX_ENTRIES)))
        tags: dict[int, tuple[int, ...]] = {}
        for at in entries:
            tag = struct.unpack_from(order + "H", data, at)[0]
            if tag in tags:
                # Two readers could take two different sizes from it.
                raise DecodeError(f"the tag {tag} stands twice in the directory: save it again")
            if tag in wanted:
                _read_entry(data, at, order, tags)
        return tags
    except struct.error as error:
        raise DecodeError("the tag directory is cut: get the whole file again") from error


def _read_entry(data: bytes, at: int, order: str, tags: dict[int, tuple[int, ...]]) -> None:
    tag, kind, count = struct.unpack_from(order + "HHI", data, at)
    if kind not in _SIZES or count > _MAX_VALUES:
        return
    size, letter = _SIZES[kind]
    place = at + 8
    if size * count > 4:
        (place,) = struct.unpack_from(order + "I", data, place)
    tags[tag] = struct.unpack_from(f"{order}{count}{letter}", data, place)


def orientation_of_exif(block: bytes) -> int:
    """EXIF orientation 1..8 of an EXIF block; 1 when it is missing or damaged, as that spoils no pixel."""
    try:
        values = read_directory(block.removeprefix(b"Exif\0\0"), {ORIENTATION}).get(ORIENTATION, (1,))
    except DecodeError:
        return 1
    return values[0] if len(values) == 1 and 1 <= values[0] <= 8 else 1
