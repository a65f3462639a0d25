"""The fields of a protobuf message, read from its bytes alone and strictly.

Strictly, because what is read here is read again by an inference runtime, and both have to see the same: a field that
is not known, of another wire type, or that stands twice where only one may stand (a runtime merges the two, or takes
the last) is refused, not skipped.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final


class Kind(Enum):
    """What a field holds; an INT may stand packed."""

    INT = "int"
    FLOAT = "float"
    TEXT = "text"
    BYTES = "bytes"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message. many: it may stand any number of times, and its value is a list."""

    name: str
    kind: Kind
    many: bool = False


Layout = Mapping[int, Field]
"""The fields of a message by number."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_VARINT: Final = 10  # bytes


def read(data: memoryview, layout: Layout, what: str) -> dict[str, Any]:
    """The fields that stand in a message, by name: int, float, str, memoryview, or a list of those.

    what: the message, for errors. Raises ValueError for what is none.
    """
    found: dict[str, Any] = {name.name: [] for name in layout.values() if name.many}
    for number, wire, value in _pieces(data, what):
        field = layout.get(number)
        if field is None:
            raise ValueError(f"{what} has field {number}, which no graph of a bundle may hold")
        entries = _decoded(field, wire, value, what)
        if field.many:
            found[field.name].extend(entries)
        elif field.name in found or len(entries) != 1:
            raise ValueError(f"{what} states {field.name} twice")
        else:
            found[field.name] = entries[0]
    return found


def parts(data: bytes | memoryview) -> list[tuple[int, int | memoryview]]:
    """The fields of a message as they stand: number and value. Raises ValueError for what is none."""
    return [(number, value) for number, _, value in _pieces(memoryview(data), "a message")]


def rewritten(data: bytes | memoryview, change: Mapping[int, Callable[[memoryview], bytes]]) -> bytes:
    """A message whose fields of the given numbers hold what `change` makes of them, each a message or text; all others
    stay, in their order. Raises ValueError for what is none."""
    pieces = list[bytes | memoryview]()
    for number, wire, value in _pieces(memoryview(data), "a message"):
        pieces.append(_encoded(number << 3 | wire))
        if isinstance(value, int):
            pieces.append(_encoded(value))
            continue
        found = change[number](value) if wire == _BYTES and number in change else value
        if wire == _BYTES:
            pieces.append(_encoded(len(found)))
        pieces.append(found)
    return b"".join(pieces)


def encoded_int(number: int, value: int) -> bytes:
    """A field that holds a number, 0 or more."""
    return _encoded(number << 3 | _VARINT) + _encoded(value)


def _encoded(value: int) -> bytes:
    """A varint."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _pieces(data: memoryview, what: str) -> Iterator[tuple[int, int, int | memoryview]]:
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at, what)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(data, at, what)
            yield number, wire, value
            continue
        if wire == _BYTES:
            length, at = _varint(data, at, what)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"{what} has a field of wire type {wire}")
        if length > end - at:
            raise ValueError(f"{what} ends in the middle of field {number}")
        yield number, wire, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int, what: str) -> tuple[int, int]:
    value = shift = 0
    for byte in data[at : at + _MOST_VARINT]:
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
    raise ValueError(f"{what} ends in the middle of a number")


def _decoded(field: Field, wire: int, value: Any, what: str) -> list[Any]:
    if field.kind is Kind.INT and wire == _VARINT:
        return [_signed(value)]
    if field.kind is Kind.INT and wire == _BYTES and field.many:
        return [_signed(entry) for entry in _packed(value, what)]
    if field.kind is Kind.FLOAT and wire == _FIXED32:
        return [struct.unpack("<f", value)[0]]
    if field.kind is Kind.FLOAT and wire == _BYTES and field.many and len(value) % 4 == 0:
        return list(struct.unpack(f"<{len(value) // 4}f", value))
    if field.kind is Kind.BYTES and wire == _BYTES:
        return [value]
    if field.kind is Kind.TEXT and wire == _BYTES:
        try:
            return [str(value, "utf-8")]
        except UnicodeDecodeError as error:
            raise ValueError(f"{what} has a {field.name} that is not UTF-8") from error
    raise ValueError(f"{what} has a {field.name} of wire type {wire}, expected {field.kind.value}")


def _packed(data: memoryview, what: str) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at, what)
        yield value


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
