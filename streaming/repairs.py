"""Packets that were lost: which are asked for again and when, and which are sent again. Pure arithmetic of numbers and
times."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

KEPT = 1024
"""Packets that are missed at most, or kept to be sent again: half a second at the largest bitrate."""
KEY_PACKETS = 64
"""A key frame has hardly more."""
MOST_ASKS = 20
ECHO_S = 0.01
"""Each request is made twice, so soon after each other: it can be lost as well, and is small."""
LEAST_AGAIN_S, FIRST_AGAIN_S, MOST_AGAIN_S = 0.03, 0.1, 0.5
"""How long to wait for a packet that was asked for: at least, before it is known how long repairs take, and at most."""
SLACK = 1.25
"""A repair may take so many times what repairs take on average."""
LOSSY = 0.005
"""Share of packets that are asked for above which repairs are sent twice: what is lost a second time is seen as a
standing picture."""
_ASKED_OF = 300  # packets that this share is taken of

Packet = TypeVar("Packet")


class Missing:
    """What a receiver misses. Asking again sooner than a repair can come only fills the way that loses packets."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._highest: int | None = None
        self._missing: OrderedDict[int, tuple[int, float, float]] = (
            OrderedDict()
        )  # asked how often, first, last
        self._repair_s: float | None = None

    def __len__(self) -> int:
        return len(self._missing)

    @property
    def again_s(self) -> float:
        """How long a packet that was asked for is waited for."""
        if self._repair_s is None:
            return FIRST_AGAIN_S
        return max(LEAST_AGAIN_S, min(SLACK * self._repair_s, MOST_AGAIN_S))

    def add(self, number: int, needed_from: int | None) -> None:
        """A packet of this number (16 bits) came; nothing before `needed_from` is wanted any more, where that is
        known."""
        if self._highest is None:
            self._highest = number
            return
        ahead = signed16(number - self._highest)
        if ahead > 0:
            for missed in range(max(1, ahead - KEPT), ahead):
                self._missing[self._highest + missed & 0xFFFF] = 0, 0.0, float("-inf")
            self._highest = number
        elif (asked := self._missing.pop(number, None)) is not None and 1 <= asked[0] <= 2:
            took = self._clock() - asked[1]
            self._repair_s = (
                took if self._repair_s is None else self._repair_s + 0.2 * (took - self._repair_s)
            )
        self._forget(needed_from)

    def _learn(self, took_s: float) -> None:
        """What came soon may have been on its way when it was asked for: that is believed slowly."""
        before = took_s if self._repair_s is None else self._repair_s
        self._repair_s = before + (0.5 if took_s > before else 0.05) * (took_s - before)

    def due(self) -> list[int]:
        """Those to ask for now, which then count as asked for."""
        now, found = self._clock(), []
        for number, (asked, first_s, last_s) in self._missing.items():
            wait_s = ECHO_S if asked % 2 else self.again_s
            if (not asked or now - last_s >= wait_s) and asked < MOST_ASKS:
                self._missing[number] = asked + 1, first_s if asked else now, now
                found.append(number)
        return found

    @property
    def wanting(self) -> bool:
        """Whether anything is to be asked for, now or later."""
        return any(asked < MOST_ASKS for asked, _, _ in self._missing.values())

    def _forget(self, needed_from: int | None) -> None:
        if needed_from is None:  # a key frame is waited for, which may have lost its first packet
            needed_from = (self._highest or 0) - KEY_PACKETS
        for number in [n for n in self._missing if signed16(n - needed_from) < 0]:
            del self._missing[number]
        while len(self._missing) > KEPT:
            self._missing.popitem(last=False)


class Sent(Generic[Packet]):
    """What a sender keeps, and whether it sends it again. A way that loses because it is full must not be filled with
    repairs: they get `bits()` a second, half a second's at once."""

    def __init__(self, bits: Callable[[], float], clock: Callable[[], float] = time.perf_counter) -> None:
        self._bits = bits
        self._clock = clock
        self._kept: OrderedDict[int, Packet] = OrderedDict()
        self._again_s: dict[int, float] = {}
        self._spare = 0.0
        self._looked_s = float("-inf")
        self._share = 0.0

    @property
    def lossy(self) -> bool:
        """Whether repairs are better sent twice."""
        return self._share > LOSSY

    def keep(self, number: int, packet: Packet) -> None:
        self._kept[number] = packet
        self._share -= self._share / _ASKED_OF
        self._again_s.pop(number, None)
        while len(self._kept) > KEPT:
            old, _ = self._kept.popitem(last=False)
            self._again_s.pop(old, None)

    def again(self, number: int, size: Callable[[Packet], int], round_trip_s: float | None) -> Packet | None:
        """The packet of this number where it is to be sent again now. size: in bytes. round_trip_s: whoever asks sooner
        after the last repair than one has not got that yet."""
        packet = self._kept.get(number)
        if packet is None:
            return None
        now = self._clock()
        bits = self._bits()
        self._spare = min(self._spare + bits * min(now - self._looked_s, 1.0), bits / 2)
        self._looked_s = now
        just_now = now - self._again_s.get(number, float("-inf")) < 0.8 * (round_trip_s or 0.0)
        cost = 8 * size(packet) * (2 if self.lossy else 1)
        if just_now or self._spare < cost:
            return None
        self._share += 0.0 if number in self._again_s else 1 / _ASKED_OF
        self._again_s[number] = now
        self._spare -= cost
        return packet


def signed16(difference: int) -> int:
    """The difference of two numbers of 16 bits that wrap, -32768 .. 32767."""
    return (difference + 0x8000 & 0xFFFF) - 0x8000
