"""RTP packets into whole encoded frames, each as soon as its last packet is there."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from aiortc.rtp import RtpPacket

TICKS = 90_000
CAPACITY = 512
"""Packets that may wait behind a missing one."""
PATIENCE_S, MOST_PATIENCE_S = 0.2, 0.6
"""How long a missing packet may hold up those behind it, until a key frame is asked for instead: at least, and where
repairs take long, which a key frame would not come sooner than."""
REPAIRS = 3
"""So many repairs' time is waited for one."""
ASK_AGAIN_S = 0.25
LONGEST_S = 10.0
"""Frames further apart by their timestamps belong to a stream that began anew."""


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """data: the codec's bytes. pts: in 1/90000 s from the first frame on, rising. first_packet_s: when the first of
    its packets to come arrived, by the clock. key: it needs no frame before it."""

    data: bytes
    pts: int
    first_packet_s: float
    key: bool


@dataclass(frozen=True, slots=True)
class _Arrival:
    packet: RtpPacket
    at_s: float


class Assembly:
    """One stream's packets, in any order, with losses and repeats, into frames in order: never half a frame, and never
    one whose reference was lost.

    A frame is complete when every packet from its first to the one with the marker bit is there (or to the one before
    the next timestamp, where a sender sets no marker). After a loss that is not repaired in time, frames start again
    with a key frame.

    begins_key: whether a packet is the first one of a key frame. Used by one thread.
    """

    def __init__(
        self, begins_key: Callable[[RtpPacket], bool], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._begins_key = begins_key
        self._clock = clock
        self._waiting: dict[int, _Arrival] = {}  # by sequence number, counted on past 65535
        self._highest: int | None = None
        self._start: int | None = None  # of the next frame; None: waiting for a key frame
        self._done = 0  # nothing before it is wanted again
        self._scan = 0  # every packet from start to here is there
        self._stalled_s: float | None = None  # since when a packet is missing
        self._asked_s = float("-inf")
        self._pts = _MediaTime()
        self.repair_s = 0.0
        """How long a packet that is asked for takes to come, set by who asks."""

    def add(self, packet: RtpPacket) -> tuple[bool, list[EncodedFrame]]:
        """Take one packet, its payload's codec bytes in `_data`. Returns whether to ask the sender for a key frame now,
        and the frames that are complete."""
        now = self._clock()
        number = self._number(packet.sequence_number)
        if number < self._done or number in self._waiting:
            return False, []
        self._waiting[number] = _Arrival(packet, now)
        if self._start is None:
            self._resume(number)
        frames = self._advance()
        frames += self._leap(number)
        self._done = self._start if self._start is not None else self._done
        gave_up = self._out_of_patience(now, moved=bool(frames))
        if gave_up:
            frames += self._skip()
        lost = self._start is None
        if lost:
            self._prune()
        return lost and self._ask(now, at_once=gave_up, marker=bool(packet.marker)), frames

    @property
    def needed_from(self) -> int | None:
        """The sequence number (0 .. 65535) before which nothing is needed any more; None while waiting for a key
        frame."""
        return None if self._start is None else self._start & 0xFFFF

    def _number(self, sequence: int) -> int:
        ahead = CAPACITY
        if self._highest is not None:
            ahead = (sequence - self._highest + 0x8000 & 0xFFFF) - 0x8000
        if self._highest is None or abs(ahead) >= CAPACITY:  # it begins, or anew, or came from far too late
            self._forget()
            self._highest = number = 0x10000 + sequence
            return number
        number = self._highest + ahead
        self._highest = max(self._highest, number)
        return number

    def _forget(self) -> None:
        self._waiting.clear()
        self._start = self._stalled_s = None
        self._done = 0

    def _resume(self, number: int) -> None:
        """Start with this packet where it begins a key frame."""
        if self._begins_key(self._waiting[number].packet):
            self._start = self._scan = number
            for older in [n for n in self._waiting if n < number]:
                del self._waiting[older]

    def _advance(self) -> list[EncodedFrame]:
        """Take out what is complete from `start` on."""
        frames: list[EncodedFrame] = []
        while self._start is not None and (arrival := self._waiting.get(self._scan)) is not None:
            packet = arrival.packet
            if self._scan > self._start and packet.timestamp != self._waiting[self._start].packet.timestamp:
                frames += self._take(self._start, self._scan)
                self._start = self._scan
            self._scan += 1
            if packet.marker or (not packet.payload and self._start == self._scan - 1):
                frames += self._take(self._start, self._scan)
                self._start = self._scan
        return frames

    def _take(self, start: int, stop: int) -> list[EncodedFrame]:
        arrivals = [self._waiting.pop(number) for number in range(start, stop)]
        data = b"".join([arrival.packet._data for arrival in arrivals])  # type: ignore[attr-defined]
        if not data:  # padding
            return []
        first = arrivals[0].packet
        at_s = min(arrival.at_s for arrival in arrivals)
        return [EncodedFrame(data, self._pts.of(first.timestamp, at_s), at_s, self._begins_key(first))]

    def _leap(self, number: int) -> list[EncodedFrame]:
        """Go on with a whole key frame behind a missing packet: nothing before it is needed any more."""
        if self._start is None or number <= self._scan:
            return []
        start = stop = number
        timestamp = self._waiting[number].packet.timestamp
        while (before := self._waiting.get(start - 1)) and before.packet.timestamp == timestamp:
            start -= 1
        while (here := self._waiting.get(stop)) and here.packet.timestamp == timestamp:
            stop += 1
            if here.packet.marker:
                break
        if not self._waiting[stop - 1].packet.marker or not self._begins_key(self._waiting[start].packet):
            return []
        self._resume(start)
        return self._advance()

    def _out_of_patience(self, now: float, moved: bool) -> bool:
        if self._start is None or self._highest is None:
            self._stalled_s = None
            return False
        if self._highest < self._scan:  # nothing is missing but the frame's end
            self._stalled_s = None
            return self._scan - self._start >= CAPACITY
        if self._stalled_s is None or moved:
            self._stalled_s = now
        patience_s = max(PATIENCE_S, min(REPAIRS * self.repair_s, MOST_PATIENCE_S))
        return now - self._stalled_s > patience_s or self._highest - self._start >= CAPACITY

    def _skip(self) -> list[EncodedFrame]:
        """Give up what is missing: go on with the first key frame behind it that has begun, else wait for one."""
        missing = self._scan
        self._start = self._stalled_s = None
        for number in sorted(self._waiting):
            if number > missing:
                self._resume(number)
                if self._start is not None:
                    return self._advance()
        return []

    def _prune(self) -> None:
        """Keep what may yet be a key frame whose first packet is late."""
        if len(self._waiting) >= CAPACITY and self._highest is not None:
            for number in [n for n in self._waiting if n <= self._highest - CAPACITY // 2]:
                del self._waiting[number]

    def _ask(self, now: float, at_once: bool, marker: bool) -> bool:
        """Whether to ask now: when it becomes clear, and again from time to time. At a frame's end, because a key
        frame's packets may only have changed places."""
        if not at_once and (not marker or now - self._asked_s < ASK_AGAIN_S):
            return False
        self._asked_s = now
        return True


class _MediaTime:
    """RTP timestamps (32 bits, any start) to rising ones from 0 on; across a new start by the clock."""

    def __init__(self) -> None:
        self._last: tuple[int, int, float] | None = None

    def of(self, timestamp: int, at_s: float) -> int:
        pts = 0
        if self._last is not None:
            last, last_pts, last_s = self._last
            ticks = (timestamp - last + 0x80000000 & 0xFFFFFFFF) - 0x80000000
            if not 0 < ticks <= LONGEST_S * TICKS:
                ticks = max(1, round((at_s - last_s) * TICKS))
            pts = last_pts + ticks
        self._last = (timestamp, pts, at_s)
        return pts
