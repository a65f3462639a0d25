"""How many bits per second a way carries, from when its packets arrive and which do not: Google's congestion control
(draft-ietf-rmcat-gcc-02, with the slope of later versions in place of its Kalman filter), as pure arithmetic.

A queue that grows shows in arrivals that come ever later than they were sent. Then the estimate falls below what
arrives, and grows again in the time after it. Losses count apart from that.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

BURST_S = 0.005
"""Packets sent so close to each other are one group, which a queue delays as one."""
WINDOW = 20
"""Groups whose delays the slope is taken over."""
SMOOTHING = 0.9
GAIN = 4.0
MOST_DELTAS = 60
OVERUSE_S = 0.01
"""So long a slope must stand above its threshold."""
RISE_PER_S = 0.08
RISE_FAR_PER_S = 0.25
"""The same while nothing is known of the way's width: after a start, and once it carries more than it used to."""
FALL = 0.9
RATE_S = 0.5
"""What arrives is counted over so long."""
QUEUE_S = 0.15
"""Packets that all come later than the earliest ever did, by more than this, stand in a queue that is to be drained."""
DRAIN_S = 2.0
"""Within so long, or with half of what arrives."""
SHORTEST_S = 10.0
"""How long the shortest way that any packet had is remembered."""
TRAIN, TRAINS = 4, 5
"""So many packets sent at once show by how far apart they come what a way carries; so many such groups are looked
at."""
IDLE = 0.7
"""Who sends less than this share of the estimate does not fill the way: what arrives is not what it carries."""
MOST_AHEAD = 1.5
"""The estimate is at most so many times what arrives: what was never sent says nothing."""
LOSS_S = 1.0
"""Losses are counted over so long."""
SETTLE_S = 0.5
"""After so long a fall shows in the losses. What is lost in the LOSS_S from then on is the way's own: sending less has
not changed it."""
OWN_WEIGHT = 0.7
HIGH_LOSS, LOW_LOSS = 0.1, 0.03
"""Shares beyond the way's own, above which the estimate falls, and below which it grows."""
LEAST_TOLD, MOST_TOLD = 60, 1000
"""Packets of which a share of losses is taken."""
LEAST_BITS, MOST_BITS = 50_000, 40_000_000


@dataclass(frozen=True, slots=True)
class Arrival:
    """One packet that was sent. sent_s: by our clock. arrived_s: by the other side's, None where it is lost. size: in
    bytes, with its headers."""

    sent_s: float
    arrived_s: float | None
    size: int


class Slope:
    """Whether the queue grows: the slope of the groups' delays, against a threshold that learns what this way's own
    unrest is. `usage` is 1 while it grows, -1 while it drains, 0 otherwise."""

    def __init__(self) -> None:
        self.usage = 0
        self._group: list[float] | None = None  # [first sent, last sent, last arrived]
        self._before: tuple[float, float] | None = None  # last sent and last arrived of the group before
        self._count = 0
        self._delay_ms = self._smooth_ms = 0.0
        self._delays: deque[tuple[float, float]] = deque(maxlen=WINDOW)
        self._began_s: float | None = None
        self._threshold = 12.5
        self._updated_s: float | None = None
        self._over_s: float | None = None
        self._over_count = 0
        self._trend = 0.0

    def add(self, sent_s: float, arrived_s: float) -> None:
        """Take one packet that arrived, in the order of sending."""
        group = self._group
        if group is None:
            self._group = [sent_s, sent_s, arrived_s]
        elif sent_s < group[0]:
            return
        elif self._together(group, sent_s, arrived_s):
            group[1], group[2] = sent_s, max(group[2], arrived_s)
        else:
            if self._before is not None:
                self._take(group[1] - self._before[0], group[2] - self._before[1], group[2])
            self._before = group[1], group[2]
            self._group = [sent_s, sent_s, arrived_s]

    @staticmethod
    def _together(group: list[float], sent_s: float, arrived_s: float) -> bool:
        """Sent at once, or let go at once by something on the way that held them."""
        if sent_s - group[0] <= BURST_S:
            return True
        held = (arrived_s - group[2]) - (sent_s - group[1])
        return held < 0 and arrived_s - group[2] <= BURST_S and arrived_s - group[2] >= 0

    def _take(self, sent: float, arrived: float, at_s: float) -> None:
        self._count = min(self._count + 1, MOST_DELTAS * 16)
        self._began_s = at_s if self._began_s is None else self._began_s
        self._delay_ms += 1000 * (arrived - sent)
        self._smooth_ms = SMOOTHING * self._smooth_ms + (1 - SMOOTHING) * self._delay_ms
        self._delays.append((1000 * (at_s - self._began_s), self._smooth_ms))
        trend = _slope(self._delays) if len(self._delays) == WINDOW else self._trend
        self._detect(trend, sent, at_s)

    def _detect(self, trend: float, sent: float, at_s: float) -> None:
        if self._count < 2:
            self.usage = 0
            return
        scaled = min(self._count, MOST_DELTAS) * trend * GAIN
        if scaled > self._threshold:
            self._over_s = sent / 2 if self._over_s is None else self._over_s + sent
            self._over_count += 1
            if self._over_s > OVERUSE_S and self._over_count > 1 and trend >= self._trend:
                self._over_s, self._over_count, self.usage = 0.0, 0, 1
        else:
            self._over_s, self._over_count = None, 0
            self.usage = -1 if scaled < -self._threshold else 0
        self._trend = trend
        self._learn(abs(scaled), at_s)

    def _learn(self, scaled: float, at_s: float) -> None:
        """The threshold follows the way's unrest, slowly; not what is far from it."""
        before, self._updated_s = self._updated_s, at_s
        if before is None or scaled > self._threshold + 15:
            return
        rate = 0.039 if scaled < self._threshold else 0.0087
        self._threshold += rate * (scaled - self._threshold) * min(1000 * (at_s - before), 100.0)
        self._threshold = max(6.0, min(self._threshold, 600.0))


def _slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the line nearest to the points."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    across = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / across if across > 0 else 0.0


class Queue:
    """How long packets wait on the way: how much later the earliest of the last half second came than the earliest of
    the last while. What differs between the two clocks falls out."""

    def __init__(self) -> None:
        self._recent: deque[tuple[float, float]] = deque()
        self._shortest: deque[tuple[float, float]] = deque()

    def add(self, sent_s: float, arrived_s: float) -> None:
        under_way = arrived_s - sent_s
        for kept, span in ((self._recent, RATE_S), (self._shortest, SHORTEST_S)):
            while kept and kept[-1][1] >= under_way:
                kept.pop()
            kept.append((sent_s, under_way))
            _forget(kept, sent_s - span)

    @property
    def seconds(self) -> float:
        return self._recent[0][1] - self._shortest[0][1] if self._recent else 0.0


class Trains:
    """What a way carries, by how far apart it lets those come that were sent at once. Too much where something on it
    holds packets and lets them go together."""

    def __init__(self) -> None:
        self._sent_s = -math.inf
        self._arrived: list[float] = []
        self._bits = 0
        self._found: deque[float] = deque(maxlen=TRAINS)

    def add(self, sent_s: float, arrived_s: float, size: int) -> None:
        if sent_s - self._sent_s > BURST_S:
            self._close()
            self._sent_s = sent_s
        else:
            self._bits += 8 * size
        self._arrived.append(arrived_s)

    def _close(self) -> None:
        if len(self._arrived) >= TRAIN:
            span = max(self._arrived) - min(self._arrived)
            self._found.append(self._bits / span if span > 0 else math.inf)
        self._arrived, self._bits = [], 0

    @property
    def bits(self) -> float:
        """Per second; 0 as long as nothing is known."""
        return median(self._found) if len(self._found) == TRAINS else 0.0


class Estimator:
    """How many bits per second one way carries; fed with every packet in the order of sending, in any portions."""

    def __init__(self, start_bits: int) -> None:
        self._delay_bits = self._loss_bits = float(start_bits)
        self._slope = Slope()
        self._queue = Queue()
        self._trains = Trains()
        self._left: deque[tuple[float, int]] = deque()
        self._drained: float | None = None  # while a queue is drained: what came through it at first
        self._came: deque[tuple[float, int]] = deque()
        self._told: deque[tuple[float, bool]] = deque()
        self._own_loss = 0.0
        self._rising = False
        self._width: float | None = None  # where the queue grew: what arrived then
        self._spread = 0.0
        self._fed_s: float | None = None
        self._fell_s: float | None = None  # by losses, and what it changed is not known yet

    @property
    def bits(self) -> int:
        """The estimate, in bits per second on the wire."""
        return round(max(LEAST_BITS, min(self._delay_bits, self._loss_bits, MOST_BITS)))

    @property
    def loss(self) -> float:
        """Share of the packets of the last second or so that did not arrive."""
        return sum(lost for _, lost in self._told) / len(self._told) if self._told else 0.0

    def feed(self, packets: Sequence[Arrival], now: float) -> int:
        """The estimate after one more message of the other side, which came at `now` by our clock."""
        for packet in packets:
            self._told.append((now, packet.arrived_s is None))
            self._left.append((packet.sent_s, packet.size))
            if packet.arrived_s is not None:
                self._came.append((packet.arrived_s, packet.size))
                self._slope.add(packet.sent_s, packet.arrived_s)
                self._queue.add(packet.sent_s, packet.arrived_s)
                self._trains.add(packet.sent_s, packet.arrived_s, packet.size)
        while len(self._told) > MOST_TOLD or (
            len(self._told) > LEAST_TOLD and self._told[0][0] < now - LOSS_S
        ):
            self._told.popleft()
        if self._came:
            latest = max(at for at, _ in self._came)
            _forget(self._came, latest - RATE_S)
            _forget(self._left, self._left[-1][0] - RATE_S)
        past = 0.0 if self._fed_s is None else min(now - self._fed_s, 1.0)
        self._fed_s = now
        rate = self._rate()
        if rate is not None:
            self._by_delay(rate, past)
        self._by_loss(now, past, rate)
        return self.bits

    def _rate(self) -> float | None:
        """Bits per second that arrive; None before anything can be said."""
        if len(self._came) < 2:
            return None
        times = [at for at, _ in self._came]
        span = max(times) - min(times)
        return 8 * sum(size for _, size in self._came) / RATE_S if span > 0.6 * RATE_S else None

    def _carried(self, rate: float) -> float:
        """What the way carries, where that much arrives."""
        left = 8 * sum(size for _, size in self._left) / RATE_S
        return max(rate, min(self._trains.bits, self.bits)) if left < IDLE * self.bits else rate

    def _by_delay(self, rate: float, past: float) -> None:
        usage = self._slope.usage
        if usage > 0:
            carried = self._carried(rate)
            self._learn_width(carried)
            self._delay_bits = min(self._delay_bits, FALL * carried)
            self._rising = False
        elif usage < 0 or self._queue.seconds > QUEUE_S:
            self._rising = False  # the queue drains: let it
        elif self._rising:
            self._rise(rate, past)
        else:
            self._rising = True
        self._drain(rate)

    def _drain(self, rate: float) -> None:
        """A queue that stands does not show in a slope, and is delay all the same."""
        queue_s = self._queue.seconds
        if queue_s <= QUEUE_S:
            if self._drained is not None:
                self._delay_bits = max(self._delay_bits, FALL * self._drained)
            self._drained = None
            return
        carried = self._carried(rate)
        if self._drained is None:
            self._drained = carried
        self._delay_bits = min(self._delay_bits, max(0.5 * self._drained, carried * (1 - queue_s / DRAIN_S)))

    def _rise(self, rate: float, past: float) -> None:
        most = MOST_AHEAD * rate + 10_000
        if self._width is not None and rate > self._width + 3 * self._spread:
            self._width = None  # it carries more than it did
        if self._delay_bits < most:
            self._delay_bits = min(self._delay_bits * self._growth(self._delay_bits) ** past, most)

    def _growth(self, bits: float) -> float:
        """By what an estimate grows in a second: slower near what the way was found to carry."""
        near = self._width is not None and bits > self._width - 3 * self._spread
        return 1 + (RISE_PER_S if near else RISE_FAR_PER_S)

    def _learn_width(self, rate: float) -> None:
        if self._width is None or abs(rate - self._width) > 3 * self._spread:
            self._width, self._spread = rate, 0.05 * rate
            return
        off = abs(rate - self._width)
        self._width += 0.1 * (rate - self._width)
        self._spread = max(0.02 * rate, 0.9 * self._spread + 0.1 * off)

    def _by_loss(self, now: float, past: float, rate: float | None) -> None:
        if len(self._told) < LEAST_TOLD:
            return
        self._learn_own_loss(now, past)
        more = self.loss - self._own_loss
        if more > HIGH_LOSS + self._own_loss:  # the more a way loses, the more that varies
            if self._fell_s is None:
                self._fell_s = now
                self._fall_by_loss(more, rate)
        elif more < LOW_LOSS + self._own_loss / 2:
            faster = self._loss_bits * self._growth(self._loss_bits) ** past
            self._loss_bits = max(self._loss_bits, min(faster, self._delay_bits))

    def _learn_own_loss(self, now: float, past: float) -> None:
        if self._fell_s is not None and now - self._fell_s >= SETTLE_S + LOSS_S:
            since = [lost for at, lost in self._told if at >= self._fell_s + SETTLE_S]
            self._fell_s = None
            if since:
                self._own_loss += OWN_WEIGHT * (sum(since) / len(since) - self._own_loss)
        elif self.loss < self._own_loss:
            self._own_loss += 0.2 * past * (self.loss - self._own_loss)

    def _fall_by_loss(self, more: float, rate: float | None) -> None:
        """Below what arrives: else what is lost then would still be too much, and taken for the way's own."""
        bits = min(self._loss_bits, self.bits)
        if rate is None:
            self._loss_bits = max(LEAST_BITS, bits * (1 - more / 2))
        else:
            carried = self._carried(rate)
            self._learn_width(carried)
            self._loss_bits = max(LEAST_BITS, min(FALL * carried, bits))


def _forget(entries: deque[Any], before: float) -> None:
    while entries and entries[0][0] < before:
        entries.popleft()
