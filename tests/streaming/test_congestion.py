"""The estimate of a way's width, against ways whose width is known."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import takewhile

import pytest

from streaming.congestion import LEAST_BITS, MOST_BITS, Arrival, Estimator, Slope

FPS, PACKET = 30, 1150
FEEDBACK_S = 0.05
MOST = 2_600_000
"""Of the pictures that are sent, in bits per second."""


def steps(*at: tuple[float, float]) -> Callable[[float], float]:
    """A width that changes: (from when on, bits per second) in order."""
    return lambda now: [bits for since, bits in at if now >= since][-1]


@dataclass
class Way:
    """A queue of `queue_s` before a link of `width(now)` bits a second, then `delay_s`, which jitters; losses on it.

    bursts: (chance to begin to lose, chance to stop) for each packet, Gilbert and Elliott's.
    """

    width: Callable[[float], float]
    queue_s: float = 0.3
    delay_s: float = 0.02
    jitter_s: float = 0.0
    loss: float = 0.0
    bursts: tuple[float, float] | None = None
    seed: int = 0
    sent: list[tuple[float, float | None, int, float]] = field(default_factory=list)
    estimates: list[tuple[float, int]] = field(default_factory=list)

    def run(self, seconds: float, start: int = 1_500_000) -> Way:
        """Send 95 % of the estimate as frames, and tell the estimator every 50 ms."""
        self._random, self._free, self._last, self._losing = random.Random(self.seed), 0.0, 0.0, False
        estimator, waiting = Estimator(start), list[tuple[float, float | None, int, float]]()
        tell_s = FEEDBACK_S
        for frame in range(round(seconds * FPS)):
            now = frame / FPS
            bits = min(0.95 * estimator.bits, MOST) / FPS
            packets = max(1, round(bits / 8 / PACKET))
            for _ in range(packets):
                waiting.append(self._carry(now, round(bits / 8 / packets)))
            while tell_s <= now:
                arrived = [n for n, packet in enumerate(waiting) if packet[3] <= tell_s]
                if arrived:
                    told, waiting = waiting[: arrived[-1] + 1], waiting[arrived[-1] + 1 :]
                    estimator.feed([Arrival(sent, at, size) for sent, at, size, _ in told], tell_s)
                self.estimates.append((tell_s, estimator.bits))
                tell_s += FEEDBACK_S
        return self

    def _carry(self, now: float, size: int) -> tuple[float, float | None, int, float]:
        """(sent, arrived or None, size, when it is known)."""
        out = max(now, self._free) + size * 8 / self.width(now)
        lost = self._is_lost() or out - now > self.queue_s
        if out - now <= self.queue_s:
            self._free = out
        at = out + self.delay_s + self._random.uniform(0, 2 * self.jitter_s)
        self._last = at = max(at, self._last)
        packet = (now, None if lost else at, size, at + self.delay_s)
        self.sent.append(packet)
        return packet

    def _is_lost(self) -> bool:
        if self.bursts is None:
            return self._random.random() < self.loss
        begins, ends = self.bursts
        self._losing = self._random.random() >= ends if self._losing else self._random.random() < begins
        return self._losing

    def carried(self, since: float, until: float) -> float:
        """Bits per second that arrived."""
        came = [size for _, at, size, _ in self.sent if at is not None and since <= at < until]
        return 8 * sum(came) / (until - since)

    def waited(self, since: float) -> float:
        """The longest that a packet was under way beyond the delay, sent after `since`."""
        return max(
            at - sent - self.delay_s for sent, at, _, _ in self.sent if at is not None and sent >= since
        )


def test_a_wide_way_is_filled_within_seconds():
    """The start is no limit: a quarter more each second, up to what is sent."""
    way = Way(steps((0, 50e6))).run(8, start=300_000)
    assert way.carried(0, 2) < 0.5e6
    assert way.carried(6, 8) > 0.8e6
    assert Way(steps((0, 50e6))).run(6).carried(4, 6) == pytest.approx(MOST, rel=0.03)


@pytest.mark.parametrize("queue_s", [0.1, 0.3, 1.5])
@pytest.mark.parametrize("delay_s", [0.01, 0.15])
def test_steps_of_the_width_are_followed(queue_s, delay_s):
    """Five seconds after a step down and twenty after one up what arrives is within a fifth of the width, whatever the
    queue before it, which drains."""
    width = steps((0, 4e6), (6, 1e6), (16, 5e5), (26, 2e6))
    way = Way(width, queue_s, delay_s).run(52)
    assert way.carried(4, 6) == pytest.approx(MOST, rel=0.05)
    for down, bits in ((6, 1e6), (16, 5e5)):
        assert 0.8 * bits <= way.carried(down + 5, down + 9) <= bits
    assert 1.6e6 <= way.carried(46, 52) <= 2e6
    drained = [
        sent for sent, at, _, _ in way.sent if at is not None and 11 < sent < 16 and at - sent < delay_s + 0.1
    ]
    assert drained


@pytest.mark.parametrize("loss", [0.01, 0.05, 0.1])
@pytest.mark.parametrize("bursty", [False, True])
def test_losses_of_the_ways_own_do_not_starve_it(loss, bursty):
    """Losses that are there whatever is sent, at random or in bursts of three, are no sign of a queue."""
    bursts = (loss * 0.3 / (1 - loss), 0.3) if bursty else None
    way = Way(steps((0, 50e6)), loss=loss, bursts=bursts).run(24)
    assert way.carried(18, 24) > 0.75 * MOST


def test_losses_by_a_short_queue_are_heeded():
    """Where a way drops what is too much instead of delaying it, only losses tell."""
    way = Way(steps((0, 1e6)), queue_s=0.05).run(20)
    assert 0.5e6 < way.carried(10, 20) < 1e6
    lost = [at is None for sent, at, _, _ in way.sent if sent > 10]
    assert sum(lost) / len(lost) < 0.15


@pytest.mark.parametrize("jitter_s", [0.02, 0.05])
def test_jitter_is_no_queue(jitter_s):
    """Arrivals that scatter without growing later leave the estimate alone."""
    assert Way(steps((0, 50e6)), jitter_s=jitter_s).run(12).carried(8, 12) > 0.9 * MOST
    narrow = Way(steps((0, 1e6)), jitter_s=jitter_s).run(20)
    assert 0.8e6 < narrow.carried(10, 20) < 1e6


def test_silence_of_the_sender_lowers_nothing():
    """A still picture takes few bits; the way is as wide as it was."""
    estimator = Estimator(2_000_000)
    for number in range(400):
        now = number / 20
        estimator.feed([Arrival(now, now + 0.02, 100)], now + 0.04)
    assert estimator.bits == 2_000_000


def test_a_slope_shows_growing_and_draining():
    """Delays that grow by 4 ms with each group, then stand, then shrink."""
    slope, delay, seen = Slope(), 0.0, []
    for group in range(120):
        delay += 0.004 if group < 40 else -0.004 if group >= 80 else 0.0
        slope.add(group / 30, group / 30 + delay)
        seen.append(slope.usage)
    assert 1 in seen[:40]
    assert seen[75] == 0
    assert -1 in seen[80:]
    assert len(list(takewhile(lambda usage: usage == 0, seen))) < 30


def test_the_estimate_stays_within_its_bounds():
    """Whatever is told, also what cannot be: arrivals before they were sent, all lost, none at all."""
    rng = random.Random(1)
    estimator, now = Estimator(1_000_000), 0.0
    for _ in range(2000):
        now += rng.random() / 10
        packets = [
            Arrival(now - rng.random(), rng.choice([None, rng.uniform(-100, 100), now]), rng.randrange(1500))
            for _ in range(rng.randrange(5))
        ]
        assert LEAST_BITS <= estimator.feed(packets, now) <= MOST_BITS
