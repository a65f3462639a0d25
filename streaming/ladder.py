"""Which size, frame rate and bitrate a viewer gets, and how much the engine itself is asked for: pure state machines
that are fed with what was measured and told the time.

Downwards they go at once, as far as they must; upwards one step at a time, after there was room for it for a while. A
climb that had to be taken back makes the next one wait twice as long, so that nothing swings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from streaming.bitrate import Target, follow, limits

SHARES = ((1.0, 30.0), (0.75, 30.0), (0.5, 30.0), (0.5, 15.0), (0.375, 15.0), (0.25, 15.0))
"""Parts of a picture's side, and pictures a second, from the best on. A face loses less by fewer pixels than by fewer
pictures: the rate goes down last."""
LEAST_SIDE = 144
"""Of the shorter side of a rung, in pixels: a smaller face cannot be read."""
LEAST_PART = 0.5
"""Of a size's start bitrate (streaming.bitrate): with less, the next smaller size looks better."""
LAST_PART = 0.25
"""The same of the last rung, below which there is nothing."""

HEADROOM = 0.95
"""The part of the way's width that pictures take: sound and repairs need the rest."""
CLIMB = 1.3
"""How much wider than the next rung's least the way must be before it is climbed."""
CALM_LOSS = 0.1
"""Share of packets lost above which nothing climbs, and without an estimate the bitrate falls."""
QUIET_LOSS = 0.02
"""Share below which, without an estimate, the bitrate grows."""
CALM_JITTER_S = 0.06
QUEUE_S = 0.3
"""Round trips that are longer than the shortest by so much wait in a queue that we fill ourselves."""
EASE = 0.85
"""What is left of the bitrate then."""
GROWTH_PER_S = 0.08
MOST_GUESS = 1.5
"""A guess of the way's width is at most so many times what was sent over it."""
BUSY = 0.8
"""Share of a picture's time that its encoding may take; beyond it the rung is too heavy for this machine."""
EASY = 0.6
"""The same that a rung must be expected to need at most before it is climbed."""
SETTLE_S = 1.0
"""After a move nothing that was measured before it may move again."""


@dataclass(frozen=True, slots=True)
class Rung:
    """side_share: of the picture's side, 0 .. 1. fps: at most so many pictures a second. least_bits, most_bits: per
    second, between which this rung is worth its bits."""

    side_share: float
    fps: float
    least_bits: int
    most_bits: int

    def size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of this rung's pictures, both even."""
        return _even(width * self.side_share), _even(height * self.side_share)


def _even(side: float) -> int:
    return max(2, 2 * round(side / 2))


def rungs(width: int, height: int) -> tuple[Rung, ...]:
    """The rungs of pictures of this size in pixels, the best first; two at least."""
    fitting = [
        (share, fps) for share, fps in SHARES if share == 1.0 or share * min(width, height) >= LEAST_SIDE
    ]
    if fitting[-1][1] > SHARES[-1][1]:
        fitting.append((fitting[-1][0], SHARES[-1][1]))
    made = []
    for share, fps in fitting:
        fit = limits(_even(width * share), _even(height * share), fps)
        part = LAST_PART if (share, fps) == fitting[-1] else LEAST_PART
        made.append(Rung(share, fps, round(part * fit.start), fit.most))
    return tuple(made)


@dataclass(frozen=True, slots=True)
class Way:
    """What is known of the way to one viewer since it was last asked. estimate: bits per second that it carries, None
    where nobody says. loss: share of packets, 0 .. 1, of a report that came since; None where none did. jitter_s:
    RFC 3550's, of the last receiver report."""

    estimate: int | None = None
    loss: float | None = None
    round_trip_s: float | None = None
    jitter_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Choice:
    """rung: place in `rungs`. bits: per second, wanted of it. why: what keeps the viewer from the rung above, one of
    WHYS; empty where nothing does."""

    rung: int
    bits: int
    why: str = ""


WHYS = ("way", "loss", "round trip", "jitter", "encoder", "wait")


class Patience:
    """How long a climb waits: `first_s`; twice as long for every climb that was taken back within `holds_s`, up to
    `longest_s`."""

    def __init__(self, first_s: float = 3.0, longest_s: float = 60.0, holds_s: float = 10.0) -> None:
        self._first_s, self._longest_s, self._holds_s = first_s, longest_s, holds_s
        self._wait_s = first_s
        self._since: float | None = None
        self._climbed_s: float | None = None  # and not taken back since

    def ready(self, room: bool, now: float) -> bool:
        """Whether there was room, every time that it was asked, for as long as a climb waits."""
        if self._climbed_s is not None and now - self._climbed_s >= self._holds_s:
            self._wait_s = self._first_s
        if not room:
            self._since = None
            return False
        if self._since is None:
            self._since = now
        return now - self._since >= self._wait_s

    def climbed(self, now: float) -> None:
        self._climbed_s, self._since = now, None

    def fell(self, now: float) -> None:
        if self._climbed_s is not None:
            held = now - self._climbed_s >= self._holds_s
            self._wait_s = self._first_s if held else min(2 * self._wait_s, self._longest_s)
        self._climbed_s = self._since = None


class Climber:
    """One viewer's place on the ladder. It begins on the best rung with that size's start bitrate, or where `bits`
    fits, and is asked at least once a second."""

    def __init__(self, ladder: Sequence[Rung], bits: int | None = None) -> None:
        if not ladder:
            raise ValueError("ladder: got no rung, expected one at least")
        self._ladder = tuple(ladder)
        top = self._ladder[0]
        start = bits if bits is not None else round(top.least_bits / LEAST_PART)
        self._rung = self._fitting(start)
        self._target = Target(self._within(self._rung, start))
        self._patience = Patience()
        self._moved_s = -math.inf
        self._guess = float(self._target.bits)
        self._guessed_s: float | None = None
        self._least_trip_s = math.inf
        self._eased_s = -math.inf

    def step(self, way: Way, encode_s: float | None, now: float) -> Choice:
        """What this viewer is to get after one more look at the way, at `now` in seconds.

        encode_s: mean time to encode one picture of the present rung, None where that is not known.
        """
        room, why = self._room(way, now)
        slow = encode_s is not None and now - self._moved_s >= SETTLE_S and encode_s * self._at.fps > BUSY
        lowest = len(self._ladder) - 1
        fitting = max(self._rung, self._fitting(room), min(self._rung + slow, lowest))
        if fitting > self._rung:
            self._patience.fell(now)
            self._move(fitting, room, now)
            return Choice(self._rung, self._target.bits, "encoder" if slow else why or "way")
        self._target = follow(self._target, self._within(self._rung, room), now)
        why = self._climb(way, room, encode_s, why, now)
        return Choice(self._rung, self._target.bits, why)

    @property
    def _at(self) -> Rung:
        return self._ladder[self._rung]

    def _climb(self, way: Way, room: float, encode_s: float | None, why: str, now: float) -> str:
        """Go one rung up where that is due; else what is in the way of it."""
        if self._rung == 0:
            return ""
        above = self._ladder[self._rung - 1]
        heavier = (above.side_share / self._at.side_share) ** 2
        if (way.loss or 0.0) > CALM_LOSS:
            why = "loss"
        elif way.jitter_s > CALM_JITTER_S:
            why = "jitter"
        elif encode_s is not None and encode_s * heavier * above.fps > EASY:
            why = "encoder"
        elif not why and room < CLIMB * above.least_bits:
            why = "way"
        if not self._patience.ready(not why, now):
            return why or "wait"
        self._patience.climbed(now)
        self._move(self._rung - 1, room, now)
        return ""

    def _move(self, rung: int, room: float, now: float) -> None:
        self._rung, self._moved_s = rung, now
        self._target = Target(self._within(rung, room))

    def _fitting(self, room: float) -> int:
        for number, rung in enumerate(self._ladder):
            if rung.least_bits <= room:
                return number
        return len(self._ladder) - 1

    def _within(self, rung: int, bits: float) -> int:
        at = self._ladder[rung]
        return round(max(at.least_bits, min(bits, at.most_bits)))

    def _room(self, way: Way, now: float) -> tuple[float, str]:
        """Bits per second for pictures, and what takes from them beyond the way's width."""
        bits = self._target.bits
        room, why = HEADROOM * way.estimate if way.estimate is not None else self._by_loss(way, now), ""
        if way.estimate is None and (way.loss or 0.0) > CALM_LOSS:
            why = "loss"
        if way.round_trip_s is not None:
            self._least_trip_s = min(self._least_trip_s, way.round_trip_s)
            if way.round_trip_s > self._least_trip_s + QUEUE_S:
                why = "round trip"
                due = (
                    now - self._eased_s >= SETTLE_S + way.round_trip_s
                )  # what was eased must come through first
                room = min(room, EASE * bits if due else bits)
                self._eased_s = now if due else self._eased_s
        self._guess = min(self._guess, room) if why else self._guess
        return room, why

    def _by_loss(self, way: Way, now: float) -> float:
        """What losses say of the way's width, where nobody else does: as in Google's congestion control."""
        past_s = 0.0 if self._guessed_s is None else min(now - self._guessed_s, 2.0)
        self._guessed_s = now
        if way.loss is None:
            return self._guess
        bits = self._target.bits
        if way.loss > CALM_LOSS:
            self._guess = bits * (1 - way.loss / 2)
        elif way.loss < QUIET_LOSS:
            self._guess = min(self._guess * (1 + GROWTH_PER_S) ** past_s, MOST_GUESS * bits)
        return self._guess


@dataclass(frozen=True, slots=True)
class Pace:
    """How much the engine is asked for. fps: at most so many of the driver's pictures a second. side_share: of the side
    that it generates at, where its system can generate smaller."""

    fps: float
    side_share: float


PACES = (Pace(30, 1.0), Pace(20, 1.0), Pace(15, 1.0), Pace(15, 0.75), Pace(15, 0.5), Pace(10, 0.5))
"""The best first."""
SPARE = 0.6
"""Share of the target that ages must stay under before more is asked for."""
LOOK_S = 2.0
"""A change of pace shows in the ages so long after it."""


class Pacer:
    """Holds one session's frame ages to a target. target_s: from a frame's first packet until its picture goes to the
    encoder, 95th percentile."""

    def __init__(self, target_s: float, paces: Sequence[Pace] = PACES) -> None:
        if not target_s > 0 or not paces:
            raise ValueError(
                f"pace: got {target_s} s and {len(paces)} paces, expected more than none of both"
            )
        self._target_s = target_s
        self._paces = tuple(paces)
        self._patience = Patience(first_s=5.0)
        self._moved_s = -math.inf
        self.number = 0
        """Of the pace that is in force, 0 the best."""

    @property
    def pace(self) -> Pace:
        return self._paces[self.number]

    def step(self, age_s: float | None, now: float) -> Pace:
        """The pace after one more look, at least once a second. age_s: of the pictures since LOOK_S ago, None where
        there were none: nothing is known then."""
        if age_s is None or now - self._moved_s < LOOK_S:
            return self.pace
        if age_s > self._target_s and self.number + 1 < len(self._paces):
            self._patience.fell(now)
            self.number, self._moved_s = self.number + 1, now
        elif self._patience.ready(age_s < SPARE * self._target_s and self.number > 0, now):
            self._patience.climbed(now)
            self.number, self._moved_s = self.number - 1, now
        return self.pace
