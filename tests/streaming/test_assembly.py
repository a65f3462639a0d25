"""Packets into frames: whole, in order, at the last packet."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest
from aiortc.rtp import RtpPacket
from hypothesis import given
from hypothesis import strategies as st

from streaming.assembly import ASK_AGAIN_S, CAPACITY, PATIENCE_S, Assembly, EncodedFrame

STEP = 3000


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def packet(sequence: int, timestamp: int, data: bytes, marker: bool) -> RtpPacket:
    made = RtpPacket(
        sequence_number=sequence & 0xFFFF, timestamp=timestamp & 0xFFFFFFFF, payload=data, marker=int(marker)
    )
    made._data = data
    return made


def stream(frames: list[tuple[int, bool]], sequence: int = 0, timestamp: int = 0, markers: bool = True):
    """Packets by frame, and each frame's bytes. frames: (number of packets, key)."""
    packets, wholes = [], []
    for index, (count, key) in enumerate(frames):
        parts = [b"%s%d.%d;" % (b"K" if key and part == 0 else b"d", index, part) for part in range(count)]
        packets.append(
            [
                packet(sequence + part, timestamp + index * STEP, data, markers and part == count - 1)
                for part, data in enumerate(parts)
            ]
        )
        sequence += count
        wholes.append(b"".join(parts))
    return packets, wholes


def begins_key(packet: RtpPacket) -> bool:
    return packet.payload.startswith(b"K")


def assembly(clock: Clock | None = None) -> Assembly:
    return Assembly(begins_key, clock or Clock())


def index_of(frame: EncodedFrame) -> int:
    return int(frame.data[1:].split(b".")[0])


FRAMES = st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=12)
SEQUENCE = st.sampled_from([0, 1, 40_000, 65_530, 65_535])
TIMESTAMP = st.sampled_from([0, 2**32 - 4000, 2**31 - 4000])


@given(FRAMES, SEQUENCE, TIMESTAMP)
def test_each_frame_leaves_with_its_last_packet(frames, sequence, timestamp):
    """Nothing waits for the next frame, across the end of the numbers too."""
    packets, wholes = stream([(frames[0][0], True), *frames[1:]], sequence, timestamp)
    under_test, clock = assembly(clock := Clock()), clock
    for index, (parts, whole) in enumerate(zip(packets, wholes)):
        first_s = clock.now
        for part in parts[:-1]:
            assert under_test.add(part) == (False, [])
            clock.now += 0.001
        ask, (frame,) = under_test.add(parts[-1])
        clock.now += 0.03
        assert not ask
        assert (frame.data, frame.pts, frame.first_packet_s) == (whole, index * STEP, first_s)
        assert frame.key == (index == 0 or frames[index][1])


@given(FRAMES, SEQUENCE, TIMESTAMP, st.data())
def test_no_half_frame_and_no_frame_without_its_reference(frames, sequence, timestamp, data):
    """Whatever is lost, repeated or overtaken: what leaves is whole, in order, and follows a key frame or its
    predecessor."""
    packets, wholes = stream(frames, sequence, timestamp)
    sent = [part for parts in packets for part in parts]
    order = data.draw(st.lists(st.sampled_from(range(len(sent))), max_size=2 * len(sent)))
    under_test, clock = assembly(clock := Clock()), clock
    left: list[EncodedFrame] = []
    for number in order:
        clock.now += data.draw(st.sampled_from([0.001, 0.05, 1.0]))
        left += under_test.add(sent[number])[1]
    indices = [index_of(frame) for frame in left]
    assert [frame.data for frame in left] == [wholes[index] for index in indices]
    assert indices == sorted(set(indices))
    assert all(later.pts > earlier.pts for earlier, later in pairwise(left))
    for place, index in enumerate(indices):
        assert frames[index][1] or (place and indices[place - 1] == index - 1)


@given(FRAMES, SEQUENCE, st.data())
def test_overtaken_and_repeated_packets_cost_no_frame(frames, sequence, data):
    """Without loss, every frame leaves, however its packets changed places within a window."""
    frames = [(frames[0][0], True), *((count, False) for count, _ in frames[1:])]
    packets, wholes = stream(frames, sequence)
    sent = [part for parts in packets for part in parts]
    places = [(at + data.draw(st.floats(0, 6)), part) for at, part in enumerate(sent)]
    places += [(at + 3, part) for at, part in places if data.draw(st.booleans())]
    under_test = assembly()
    left = [frame for _, part in sorted(places, key=lambda p: p[0]) for frame in under_test.add(part)[1]]
    assert [frame.data for frame in left] == wholes


@given(FRAMES)
def test_without_markers_the_next_timestamp_tells(frames):
    """A frame that nobody marked is complete when the next one begins."""
    packets, wholes = stream([(frames[0][0], True), *frames[1:]], markers=False)
    under_test = assembly()
    left = [frame.data for parts in packets for part in parts for frame in under_test.add(part)[1]]
    assert left == wholes[:-1]


def test_a_lost_marker_packet_holds_its_frame_back():
    """A frame whose last packet is missing is not the frame, though the next one has begun; repaired, both leave."""
    (key, cut, after), wholes = stream([(1, True), (2, False), (1, False)])
    under_test = assembly()
    under_test.add(key[0])
    assert under_test.add(cut[0]) == (False, [])
    assert under_test.add(after[0]) == (False, [])
    assert [frame.data for frame in under_test.add(cut[1])[1]] == wholes[1:]


def test_first_packet_s_is_that_of_the_first_to_come():
    """A frame's age counts from its first packet's arrival, whichever that was."""
    (parts,), _ = stream([(3, True)])
    under_test, clock = assembly(clock := Clock(5.0)), clock
    for part in (parts[1], parts[0]):
        under_test.add(part)
        clock.now += 1
    assert under_test.add(parts[2])[1][0].first_packet_s == 5.0


def test_a_packet_that_never_comes_is_waited_for_only_so_long():
    """After PATIENCE_S a key frame is asked for, once until it is due again, and nothing leaves before it."""
    packets, _ = stream([(1, True), (2, False), *[(1, False)] * 20, (1, True), (1, False)])
    under_test, clock = assembly(clock := Clock()), clock
    under_test.add(packets[0][0])
    under_test.add(packets[1][0])  # its second packet is lost
    asked = []
    for parts in packets[2:22]:
        ask, frames = under_test.add(parts[0])
        assert not frames
        asked += [clock.now] if ask else []
        clock.now += 1 / 30
    assert PATIENCE_S < asked[0] < PATIENCE_S + 0.05
    assert len(asked) == 2
    assert asked[1] - asked[0] == pytest.approx(ASK_AGAIN_S, abs=0.04)
    assert [index_of(f) for f in under_test.add(packets[22][0])[1]] == [22]
    assert [index_of(f) for f in under_test.add(packets[23][0])[1]] == [23]


def test_a_whole_key_frame_ends_the_wait():
    """What is missing is not waited for once nothing depends on it."""
    packets, _ = stream([(1, True), (2, False), (1, False), (2, True), (1, False)])
    under_test = assembly()
    left = [
        index_of(frame)
        for part in [packets[0][0], packets[1][1], packets[2][0], *packets[3], *packets[4], packets[1][0]]
        for frame in under_test.add(part)[1]
    ]
    assert left == [0, 3, 4]


def test_a_call_joined_in_the_middle_starts_with_a_key_frame():
    """The first packets of a call are often lost; half a key frame is asked for again at its end."""
    packets, _ = stream([(3, True), (1, False), (2, True)])
    under_test = assembly()
    assert under_test.add(packets[0][1]) == (False, [])
    assert under_test.add(packets[0][2]) == (True, [])
    assert under_test.add(packets[1][0]) == (False, [])
    under_test.add(packets[2][0])
    assert [index_of(f) for f in under_test.add(packets[2][1])[1]] == [2]


def test_a_stream_that_begins_anew_is_followed():
    """Numbers and timestamps far away are a new stream: its time goes on from the old one's, by the clock."""
    under_test, clock = assembly(clock := Clock()), clock
    (first,), _ = stream([(1, True)], sequence=30_000, timestamp=4_000_000_000)
    assert under_test.add(first[0])[1][0].pts == 0
    clock.now = 0.5
    (again,), _ = stream([(1, True)], sequence=100, timestamp=7)
    assert [frame.pts for frame in under_test.add(again[0])[1]] == [45_000]


def test_padding_is_no_frame():
    """Packets without payload, which browsers send to probe the way, neither leave nor hold anything up."""
    packets, _ = stream([(1, True)])
    under_test = assembly()
    assert len(under_test.add(packets[0][0])[1]) == 1
    assert under_test.add(packet(1, 0, b"", marker=False)) == (False, [])
    assert [f.data for f in under_test.add(packet(2, STEP, b"d1.0;", marker=True))[1]] == [b"d1.0;"]


@given(st.lists(st.tuples(st.integers(0, 65_535), st.booleans(), st.booleans()), max_size=200))
def test_memory_is_bounded_whatever_comes(arrivals):
    """No order of numbers makes more packets wait than CAPACITY."""
    under_test = assembly()
    for sequence, key, marker in arrivals:
        under_test.add(packet(sequence, sequence // 3, b"K" if key else b"d", marker))
        assert len(under_test._waiting) <= CAPACITY


def test_a_long_run_of_unmarked_packets_is_bounded():
    """A frame without end is given up at CAPACITY packets."""
    under_test = assembly()
    under_test.add(packet(0, 0, b"K", marker=False))
    asked = [under_test.add(packet(1 + n, 0, b"d", marker=False))[0] for n in range(2 * CAPACITY)]
    assert len(under_test._waiting) <= CAPACITY
    assert any(asked)
