"""Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01): which packets arrived, and when."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby

URI = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
RTPFB, FMT = 205, 15
TICK_S = 0.00025
REFERENCE_S = 0.064
MOST_PACKETS = 4096
"""Packets that one message may speak of; it is a second and more at the largest bitrate."""
_LOST, _SMALL, _LARGE = 0, 1, 2
_RUN = 0x1FFF


@dataclass(frozen=True, slots=True)
class Feedback:
    """base: number of the first packet. arrived_s: of each packet from it on, by the receiver's clock (any start, wraps
    after 12 days); None where it did not come. count: of this message, 0 .. 255."""

    base: int
    arrived_s: tuple[float | None, ...]
    count: int


def pack(feedback: Feedback, ssrc: int, media_ssrc: int) -> bytes:
    """The whole RTCP packet. Arrivals are rounded to 0.25 ms; one that is 8 s from the one before it counts as lost."""
    first = next((at for at in feedback.arrived_s if at is not None), 0.0)
    reference = int(first / REFERENCE_S)
    before = round(reference * REFERENCE_S / TICK_S)
    symbols, deltas = [], b""
    for at in feedback.arrived_s:
        ticks = None if at is None else round(at / TICK_S) - before
        if ticks is None or not -0x8000 <= ticks <= 0x7FFF:
            symbols.append(_LOST)
        elif 0 <= ticks <= 0xFF:
            symbols.append(_SMALL)
            deltas += struct.pack("!B", ticks)
            before += ticks
        else:
            symbols.append(_LARGE)
            deltas += struct.pack("!h", ticks)
            before += ticks
    fci = struct.pack("!HH", feedback.base & 0xFFFF, len(symbols))
    fci += (reference & 0xFFFFFF).to_bytes(3, "big") + bytes([feedback.count & 0xFF])
    fci += b"".join(struct.pack("!H", chunk) for chunk in _chunks(symbols)) + deltas
    payload = struct.pack("!LL", ssrc, media_ssrc) + fci
    padding = -len(payload) % 4
    if padding:
        payload += bytes(padding - 1) + bytes([padding])
    return struct.pack("!BBH", 0x80 | (0x20 if padding else 0) | FMT, RTPFB, len(payload) // 4) + payload


def _chunks(symbols: list[int]) -> Iterable[int]:
    """Runs of seven and more alike as a run, all others by sevens."""
    waiting: list[int] = []
    runs = [(symbol, len(list(alike))) for symbol, alike in groupby(symbols)]
    for symbol, length in runs:
        while length:
            if not waiting and length >= 7:
                part = min(length, _RUN)
                yield symbol << 13 | part
            else:
                part = min(length, 7 - len(waiting))
                waiting += [symbol] * part
                if len(waiting) == 7:
                    yield _vector(waiting)
                    waiting = []
            length -= part
    if waiting:
        yield _vector(waiting + [_LOST] * (7 - len(waiting)))


def _vector(symbols: list[int]) -> int:
    chunk = 0b11 << 14
    for place, symbol in enumerate(symbols):
        chunk |= symbol << 2 * (6 - place)
    return chunk


def parse(fci: bytes) -> Feedback:
    """What stands behind the two SSRCs, without padding. Raises ValueError for what cannot be read."""
    if len(fci) < 8:
        raise ValueError("transport feedback: it ends before its head does")
    base, total = struct.unpack_from("!HH", fci)
    if not 0 < total <= MOST_PACKETS:
        raise ValueError(f"transport feedback: it speaks of {total} packets, expected 1 .. {MOST_PACKETS}")
    reference = int.from_bytes(fci[4:7], "big", signed=True)
    symbols, at = _symbols(fci, 8, total)
    ticks = round(reference * REFERENCE_S / TICK_S)
    arrived: list[float | None] = []
    for symbol in symbols:
        if symbol == _LOST:
            arrived.append(None)
            continue
        size = 1 if symbol == _SMALL else 2
        if at + size > len(fci):
            raise ValueError("transport feedback: it ends before its times do")
        ticks += int.from_bytes(fci[at : at + size], "big", signed=size == 2)
        at += size
        arrived.append(ticks * TICK_S)
    return Feedback(base, tuple(arrived), fci[7])


def _symbols(fci: bytes, at: int, total: int) -> tuple[list[int], int]:
    """One for each packet, and where the times begin."""
    symbols: list[int] = []
    while len(symbols) < total:
        if at + 2 > len(fci):
            raise ValueError("transport feedback: it ends before its packets do")
        (chunk,) = struct.unpack_from("!H", fci, at)
        at += 2
        if not chunk >> 15:
            symbols += [chunk >> 13 & 3] * min(chunk & _RUN, total - len(symbols))
            if not chunk & _RUN:
                raise ValueError("transport feedback: a run of nothing")
        elif chunk >> 14 & 1:
            symbols += [chunk >> 2 * place & 3 for place in range(6, -1, -1)]
        else:
            symbols += [chunk >> place & 1 for place in range(13, -1, -1)]
    symbols = symbols[:total]
    if 3 in symbols:
        raise ValueError("transport feedback: a packet of the reserved kind")
    return symbols, at


def split(data: bytes) -> tuple[list[Feedback], bytes]:
    """The feedback in one compound RTCP packet, and the packet without it: what else stands there is left as it is.
    Feedback that cannot be read is left out."""
    found: list[Feedback] = []
    rest, at = b"", 0
    while at + 4 <= len(data):
        head, kind, words = struct.unpack_from("!BBH", data, at)
        end = at + 4 + 4 * words
        if kind == RTPFB and head & 0x1F == FMT and end <= len(data):
            padding = data[end - 1] if head & 0x20 else 0
            with suppress(ValueError):
                found.append(parse(data[at + 12 : end - padding]))
        else:
            rest += data[at:end]
        at = end
    return found, rest + data[at:]
