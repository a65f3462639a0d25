"""What a bad network does to packets in one direction, as arithmetic: which fall, and when the others come out."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

APART_S = 1e-6
"""Between two packets that keep their order, so that timers keep it."""
HELD_S = 0.02
"""How much later a packet comes that changes its place."""


@dataclass(frozen=True, slots=True)
class Impairment:
    """loss: share of packets. burst: how many fall in a row on average (Gilbert and Elliott's two states, of which the
    bad one loses everything); 0 loses each by itself. delay_s: one way. jitter_s: the delay varies by as much to both
    sides around delay_s + jitter_s, evenly; packets keep their order. reorder: share of packets that come HELD_S late
    and so behind others. bits: per second, None for no limit; queue_s: how long packets wait for them at most."""

    loss: float = 0.0
    burst: float = 0.0
    delay_s: float = 0.0
    jitter_s: float = 0.0
    reorder: float = 0.0
    bits: float | None = None
    queue_s: float = 0.3


class Lane:
    """One direction. schedule: (from when on in seconds, what holds then), in order, from 0 on."""

    def __init__(self, schedule: Sequence[tuple[float, Impairment]], seed: int) -> None:
        self._schedule = tuple(schedule)
        self._random = random.Random(seed)
        self._free_s = self._last_s = -math.inf
        self._bad = False
        self.begun_s = 0.0
        """When the schedule begins; before that its first part holds."""

    def at(self, now: float) -> Impairment:
        passed_s = max(now - self.begun_s, 0.0)
        return [what for since, what in self._schedule if since <= passed_s][-1]

    def carry(self, now: float, size: int) -> float | None:
        """When a packet of `size` bytes comes out that goes in at `now`, None where it falls."""
        way = self.at(now)
        if self._falls(way):
            return None
        out = now
        if way.bits is not None:
            out = max(now, self._free_s) + 8 * size / way.bits
            if out - now > way.queue_s:
                return None
            self._free_s = out
        out += way.delay_s + self._random.uniform(0.0, 2.0 * way.jitter_s)
        if self._random.random() < way.reorder:
            return out + HELD_S
        self._last_s = max(self._last_s + APART_S, out)
        return self._last_s

    def _falls(self, way: Impairment) -> bool:
        chance = self._random.random()
        if not way.burst:
            return chance < way.loss
        if self._bad:
            self._bad = chance >= 1.0 / way.burst
        else:
            self._bad = chance < way.loss / (way.burst * (1.0 - way.loss))
        return self._bad
