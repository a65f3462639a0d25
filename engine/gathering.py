"""Which frames of several sessions go through a graph together, and when: no thread, no clock, only arithmetic.

A batch begins at once when it is full, or when nobody else is expected soon enough; else it waits for those who are, as
long as the first of its frames can. A frame can wait for `wait_s`, for its own session's interval between two frames,
and until what is left before it is due is just what the batch takes: whichever ends first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

_SHARE = 0.2
"""Of the newest interval between two frames, in the smoothed one."""


@dataclass(slots=True, eq=False)
class Seat:
    """One session's place. offered_s: when it last had frames ready. interval_s: usual time between two offers, None
    before the second: until then nobody waits for it. waiting: whether its offer is not wholly taken yet."""

    offered_s: float = -math.inf
    interval_s: float | None = None
    waiting: bool = False

    def offers(self, now: float) -> None:
        """It has frames ready again."""
        if math.isfinite(self.offered_s):
            passed = max(0.0, now - self.offered_s)
            usual = passed if self.interval_s is None else self.interval_s
            # A pause is no interval: one grows by a fifth at most, and a slower driver is known after some frames.
            self.interval_s = usual + _SHARE * (min(passed, 2.0 * usual) - usual)
        self.offered_s, self.waiting = now, True

    @property
    def expected_s(self) -> float:
        """When its next offer is due; never, where that is not known."""
        return math.inf if self.interval_s is None else self.offered_s + self.interval_s


@dataclass(slots=True, eq=False)
class Offer:
    """Frames that one session has ready. entries: how many. due_s: when the answers are needed. taken: how many of the
    entries have gone into batches."""

    seat: Seat
    entries: int
    offered_s: float
    due_s: float = math.inf
    taken: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Share:
    """What one offer has in a batch: `count` of its entries from `start` on."""

    offer: Offer
    start: int
    count: int


class Gathering:
    """The offers of all sessions, in the order in which they are served.

    most: entries of a batch, 1 or more. wait_s: longest that an offer waits for others. A session has one offer at a
    time, so that whoever was served stands behind all who wait: none is passed over twice.
    """

    def __init__(self, most: int, wait_s: float) -> None:
        self._most, self._wait_s = most, wait_s
        self._seats: dict[int, Seat] = {}
        self._offers: list[Offer] = []

    def leave(self, seat: Seat) -> None:
        """Nobody waits for this session any more, and what it offered is taken back."""
        self._seats.pop(id(seat), None)
        self._offers = [offer for offer in self._offers if offer.seat is not seat]

    def offer(self, seat: Seat, entries: int, now: float, due_s: float = math.inf) -> Offer:
        """One or more entries of a session are ready; with its first ones it has joined the others."""
        self._seats[id(seat)] = seat
        seat.offers(now)
        offer = Offer(seat, entries, now, due_s)
        self._offers.append(offer)
        return offer

    def withdraw(self, offer: Offer) -> None:
        """What of an offer was not taken yet is not wanted any more."""
        offer.seat.waiting = False
        self._offers = [one for one in self._offers if one is not offer]

    @property
    def waiting(self) -> int:
        """Entries that are ready and in no batch yet."""
        return sum(offer.entries - offer.taken for offer in self._offers)

    def begins(self, now: float, takes_s: Callable[[int], float]) -> float:
        """When the next batch has to begin, as things are; `now` or earlier is at once, infinity where nothing waits.

        takes_s: how long a batch of so many entries takes.
        """
        waiting = self.waiting
        if not waiting:
            return math.inf
        if waiting >= self._most:
            return now
        absent = [seat for seat in self._seats.values() if not seat.waiting and self._hopeful(seat, now)]
        until = self._until(takes_s(min(self._most, waiting + len(absent))))
        return until if any(seat.expected_s <= until for seat in absent) else now

    def take(self) -> list[Share]:
        """The next batch, its entries in the order of their offers; empty where nothing waits.

        An offer goes whole or waits for the next batch, of which it is the first; only one that is larger than any
        batch goes in parts, and between two of them the others have their turn.
        """
        room, shares = self._most, list[Share]()
        kept, behind = list[Offer](), list[Offer]()
        for offer in self._offers:
            rest = offer.entries - offer.taken
            count = min(rest, room) if offer.entries > self._most or rest <= room else 0
            if count == 0:
                kept.append(offer)
                continue
            shares.append(Share(offer, offer.taken, count))
            offer.taken += count
            room -= count
            offer.seat.waiting = offer.taken < offer.entries
            if offer.seat.waiting:
                behind.append(offer)
        self._offers = kept + behind
        return shares

    def _hopeful(self, seat: Seat, now: float) -> bool:
        """Whether a session that has nothing ready may soon; one that is overdue by more than a wait stands still."""
        return now <= seat.expected_s + self._wait_s and math.isfinite(seat.expected_s)

    def _until(self, takes_s: float) -> float:
        """How long the offers at hand can wait, all of them."""
        return min(
            min(
                offer.offered_s + self._wait_s,
                offer.offered_s + (math.inf if offer.seat.interval_s is None else offer.seat.interval_s),
                offer.due_s - takes_s,
            )
            for offer in self._offers
        )
