"""Transport-wide feedback as bytes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.twcc import MOST_PACKETS, TICK_S, Feedback, pack, parse, split

ARRIVALS = st.lists(st.none() | st.floats(0, 6.0), min_size=1, max_size=300)


def fci_of(packet: bytes) -> bytes:
    padding = packet[-1] if packet[0] & 0x20 else 0
    return packet[12 : len(packet) - padding]


def test_the_drafts_fields_are_where_it_says():
    """Two packets 10 ms apart, one lost between them, by hand: head, one vector of three symbols, two times."""
    packet = pack(Feedback(0xFFFE, (1.0, None, 1.01), 7), 0x01020304, 0x05060708)
    assert packet[:12] == bytes([0x8F, 205, 0, 5, 1, 2, 3, 4, 5, 6, 7, 8])
    fci = fci_of(packet)
    assert fci[:8] == struct.pack("!HH", 0xFFFE, 3) + (15).to_bytes(3, "big") + bytes([7])
    assert fci[8:10] == struct.pack("!H", 0b11_01_00_01_00_00_00_00)
    assert fci[10:] == bytes([160, 40])  # 1.0 s is 160 ticks behind 15 x 64 ms; 10 ms are 40 ticks


def test_the_drafts_chunks_are_read():
    """A run, a vector of one bit each and a vector of two, as other senders choose among them."""
    head = struct.pack("!HH", 5, 3 + 14 + 2) + bytes([0, 0, 1, 0])
    chunks = struct.pack("!HHH", 0b0_01_0000000000011, 0b10_10000000000001, 0b11_10_00_00_00_00_00_00)
    times = bytes([4, 4, 4, 8, 8]) + struct.pack("!h", -6)
    told = parse(head + chunks + times)
    ticks = [None if at is None else round((at - 0.064) / TICK_S) for at in told.arrived_s]
    assert ticks == [4, 8, 12, 20, *[None] * 12, 28, 22, None]


@given(st.integers(0, 0xFFFF), ARRIVALS, st.integers(0, 255))
def test_what_is_packed_is_read_again(base, arrivals, count):
    """Every arrival to a quarter of a millisecond, and every loss; its length is whole words."""
    packet = pack(Feedback(base, tuple(arrivals), count), 1, 2)
    assert len(packet) % 4 == 0
    told = parse(fci_of(packet))
    assert (told.base, told.count, len(told.arrived_s)) == (base, count, len(arrivals))
    for at, said in zip(arrivals, told.arrived_s, strict=True):
        assert (at is None) == (said is None)
        if at is not None:
            assert said == pytest.approx(at, abs=0.51 * TICK_S)


@given(st.binary(max_size=120))
def test_bytes_of_any_kind_are_read_or_refused(data):
    """What a viewer sends ends no call: feedback or ValueError, and never more packets than there may be."""
    try:
        told = parse(data)
    except ValueError:
        return
    assert 0 < len(told.arrived_s) <= MOST_PACKETS


def test_one_message_cannot_speak_of_more_than_it_may():
    """A run of 8191 in four bytes would be memory for nothing."""
    with pytest.raises(ValueError, match="65535 packets"):
        parse(struct.pack("!HH", 0, 65535) + bytes(4) + struct.pack("!H", 0x1FFF) * 20)


@given(ARRIVALS, st.binary(max_size=40))
def test_feedback_is_taken_out_of_a_compound_packet(arrivals, behind):
    """aiortc reads it as lost packets, and drops the whole compound where it is padded: it must not see it."""
    report = struct.pack("!BBHL", 0x80, 201, 1, 9)
    feedback = Feedback(3, tuple(arrivals), 0)
    found, rest = split(report + pack(feedback, 1, 2) + report + behind)
    assert rest.startswith(report + report)
    assert len(found) >= 1
    assert found[0].base == 3
    assert split(report) == ([], report)


def test_feedback_that_cannot_be_read_is_left_out():
    """And the rest of the compound is still there."""
    report = struct.pack("!BBHL", 0x80, 201, 1, 9)
    broken = struct.pack("!BBHLL", 0x8F, 205, 2, 1, 2)
    assert split(broken + report) == ([], report)
