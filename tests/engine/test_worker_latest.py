"""The mailbox of one slot."""

from __future__ import annotations

import threading

from engine.worker.latest import Latest


def test_the_newest_wins_and_the_older_is_reported() -> None:
    """Nothing piles up: a put into a full slot replaces, and says so."""
    slot: Latest[int] = Latest()
    assert not slot.put(1)
    assert slot.put(2)
    assert slot.take(0) == 2
    assert slot.take(0) is None
    assert not slot.put(3)


def test_whoever_waits_wakes_up_for_an_item_and_for_the_end() -> None:
    """A thread blocked in take never outlives its mailbox."""
    slot: Latest[int] = Latest()
    taken: list[int | None] = []

    def take_all() -> None:
        while (item := slot.take()) is not None:
            taken.append(item)

    thread = threading.Thread(target=take_all)
    thread.start()
    slot.put(7)
    while not taken:
        thread.join(0.001)
    slot.close()
    thread.join(10)
    assert not thread.is_alive()
    assert taken == [7]


def test_a_closed_mailbox_takes_and_gives_nothing() -> None:
    """What waited when it closed is let go of, and what comes later counts as dropped."""
    slot: Latest[int] = Latest()
    slot.put(1)
    slot.close()
    slot.close()
    assert slot.closed
    assert slot.take() is None
    assert slot.put(2)
    assert slot.take(0) is None
