"""Tests of engine/track/identity.py."""

from __future__ import annotations

from engine.track.identity import HOLD_S, Roster, distinct, prominence
from engine.track.region import Region

LEFT, MIDDLE, RIGHT = Region(100, 100, 90, 0.0), Region(320, 240, 90, 0.0), Region(500, 100, 90, 0.0)


def ids(roster: Roster) -> list[int]:
    return [track.track_id for track in roster.present]


def test_the_face_followed_longest_is_the_main_one() -> None:
    """A person who comes later stands behind in the list, wherever they stand in the picture."""
    roster = Roster()
    first = roster.admit(LEFT, 0.0)
    roster.admit(MIDDLE, 1.0)
    assert ids(roster) == [0, 1]
    assert roster.main_id == first.track_id


def test_a_short_loss_keeps_id_and_seat() -> None:
    """Within HOLD_S the same place means the same face, and nobody else becomes the main one meanwhile."""
    roster = Roster()
    main = roster.admit(LEFT, 0.0)
    roster.admit(MIDDLE, 0.0)
    roster.lose(main)
    roster.forget(HOLD_S / 2)
    assert ids(roster) == [1]
    assert roster.main_id == main.track_id
    assert roster.admit(Region(110, 105, 95, 0.1), HOLD_S / 2).track_id == main.track_id
    assert ids(roster) == [0, 1]


def test_nobody_takes_a_held_seat() -> None:
    """While the main face is away, only a face at its place may be it."""
    roster = Roster()
    roster.lose(roster.admit(LEFT, 0.0))
    assert roster.at_seat(Region(120, 100, 90, 0.0))
    assert not roster.at_seat(RIGHT)
    roster.forget(HOLD_S + 0.01)
    assert roster.at_seat(RIGHT)


def test_ids_are_never_given_twice() -> None:
    """After a long loss, a cut or a reset, even the same place gets a new id."""
    roster = Roster()
    roster.lose(roster.admit(LEFT, 0.0))
    roster.forget(HOLD_S + 0.01)
    assert roster.main_id is None
    assert roster.admit(LEFT, 1.0).track_id == 1
    roster.clear()
    assert roster.admit(LEFT, 1.0).track_id == 2


def test_time_that_runs_backwards_ends_a_hold() -> None:
    """After a jump back in the media there is nothing to wait for."""
    roster = Roster()
    roster.lose(roster.admit(LEFT, 10.0))
    roster.forget(3.0)
    assert roster.main_id is None


def test_distinct_drops_doubles_and_parts_of_a_face() -> None:
    """The same face twice, or a mouth taken for a face, is one; heads side by side are two."""
    mouth = Region(100, 115, 40, 0.0)
    beside = Region(160, 100, 90, 0.0)
    assert distinct([LEFT, Region(105, 100, 90, 0.0), mouth, beside], []) == [0, 3]
    assert distinct([LEFT, RIGHT], [LEFT]) == [1]


def test_prominence_prefers_large_and_central_faces() -> None:
    """Side times centredness, which is 1 in the middle and 0 in a corner."""
    assert prominence(MIDDLE, 640, 480) == 90
    assert prominence(MIDDLE, 640, 480) > prominence(LEFT, 640, 480)
    assert prominence(Region(0, 0, 90, 0.0), 640, 480) == 0
