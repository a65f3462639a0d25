"""Which lost packets are asked for, and which are sent again."""

from __future__ import annotations

import random

from streaming.repairs import ECHO_S, FIRST_AGAIN_S, KEPT, KEY_PACKETS, LOSSY, MOST_ASKS, Missing, Sent


def asked(missing: Missing, number: int, needed_from: int | None = None) -> list[int]:
    missing.add(number, needed_from)
    return missing.due()


def test_a_gap_is_asked_for_twice_and_again_when_a_repair_is_overdue():
    """At once, 10 ms later in case the request was lost, and then only when a repair should have come; across the wrap
    of numbers."""
    now = [0.0]
    missing = Missing(lambda: now[0])
    assert asked(missing, 65_534) == []
    assert asked(missing, 1, 65_535) == [65_535, 0]
    assert missing.due() == []
    now[0] = ECHO_S
    assert missing.due() == [65_535, 0]
    now[0] = ECHO_S + FIRST_AGAIN_S - 0.002
    assert missing.due() == []
    now[0] = ECHO_S + FIRST_AGAIN_S + 0.001
    assert missing.due() == [65_535, 0]
    missing.add(0, 65_535)
    now[0] += 1.1 * ECHO_S
    assert missing.due() == [65_535]
    assert asked(missing, 65_535) == []
    assert not missing
    assert not missing.wanting


def test_how_long_repairs_take_is_learnt():
    """On a long way a second request within the first one's answer's time would double what is sent."""
    now = [0.0]
    missing = Missing(lambda: now[0])
    missing.add(0, None)
    for number in range(2, 40, 2):
        missing.add(number, None)
        missing.due()
        now[0] += 0.3
        missing.add(number - 1, None)
    assert 0.3 < missing.again_s < 0.4


def test_no_packet_is_asked_for_without_end():
    """A packet that nobody has is asked for so often, and what was given up not at all."""
    now, count = [0.0], 0
    missing = Missing(lambda: now[0])
    missing.add(10, None)
    missing.add(12, None)
    for _ in range(10_000):
        count += len(missing.due())
        now[0] += 0.005
    assert count == MOST_ASKS
    assert not missing.wanting
    missing.add(20, 16)
    assert missing.due() == [16, 17, 18, 19]


def test_a_leap_of_numbers_is_bounded():
    """Who leaves out half of all numbers has not lost them."""
    missing = Missing()
    missing.add(0, None)
    missing.add(30_000, None)
    assert len(missing.due()) <= KEY_PACKETS
    missing.add(60_000, 30_001)
    assert len(missing) <= KEPT


def test_a_packet_is_sent_again_once_within_a_round_trip():
    """Requests come twice and from several times; one that was answered is on its way."""
    now = [0.0]
    sent: Sent[bytes] = Sent(lambda: 1e6, lambda: now[0])
    sent.keep(5, b"five")
    assert sent.again(5, len, 0.1) == b"five"
    now[0] = 0.07
    assert sent.again(5, len, 0.1) is None
    now[0] = 0.09
    assert sent.again(5, len, 0.1) == b"five"
    assert sent.again(6, len, 0.1) is None


def test_repairs_are_kept_to_their_share():
    """A way that is full loses repairs as well: asked for everything, no more leaves than was said, each twice."""
    now, size = [0.0], 1000
    sent: Sent[int] = Sent(lambda: 200_000, lambda: now[0])
    count = 0
    for number in range(2000):
        sent.keep(number & 0xFFFF, number)
        count += sent.again(number & 0xFFFF, lambda packet: size, None) is not None
        now[0] += 0.005
    assert sent.lossy
    assert 0.8 * 10 * 200_000 <= 2 * count * size * 8 <= 10 * 200_000 + 120_000


def test_what_is_kept_is_bounded():
    """Half a second of the largest bitrate, not a call."""
    sent: Sent[int] = Sent(lambda: 1e9)
    for number in range(3 * KEPT):
        sent.keep(number, number)
    assert sent.again(KEPT, lambda packet: 1, None) is None
    assert sent.again(3 * KEPT - 1, lambda packet: 1, None) == 3 * KEPT - 1


def test_a_way_that_loses_is_noticed_and_forgotten():
    """Repairs are doubled where one in two hundred is asked for, not where next to none is."""
    rng, now = random.Random(0), [0.0]
    sent: Sent[int] = Sent(lambda: 1e9, lambda: now[0])

    def send(share: float) -> bool:
        for number in range(1500):
            now[0] += 0.005
            sent.keep(number, number)
            if rng.random() < share:
                sent.again(number, lambda packet: 1, None)
        return sent.lossy

    assert not send(0.0)
    assert send(6 * LOSSY)
    assert not send(0.0)
