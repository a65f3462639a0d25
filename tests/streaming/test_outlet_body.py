"""The way out of a system that moves whom its bundle holds: their picture is safe, and not the session's portrait."""

from __future__ import annotations

import time

import pytest

from engine.types import FrameReport, Mode, Outcome
from engine.worker.interface import BundleInfo, Delivery, SourceInfo, Stamp, held_by
from streaming.measured import NoRecorder
from streaming.outlet import Outlet
from streaming.reports import Tally
from streaming.sources import Sources
from tests.streaming.test_outlet import BADGE, SLOW, Shown, is_badged, plain

PORTRAIT = SourceInfo("portrait", "portrait", (320, 240), 1, plain(90))
HELD = SourceInfo(held_by("dancer"), "dancer", (200, 160), 1, plain(150, (200, 160)))


class Offering:
    """A worker with one bundle for faces, and one for bodies."""

    def bundles(self) -> tuple[BundleInfo, ...]:
        modes = (Mode.PUPPET,)
        return (
            BundleInfo("mesh_flow", "Mesh flow", "mesh_flow", "Apache-2.0", modes),
            BundleInfo("dancer", "Dancer", "liquid_warping", "CC0-1.0", modes, frozenset(), own=HELD),
        )


@pytest.fixture
def sources() -> Sources:
    return Sources(Offering(), NoRecorder(), within_s=1.0)  # type: ignore[arg-type]


def test_who_is_held_is_found_by_their_id(sources: Sources) -> None:
    """Nobody else is: neither a bundle for faces nor one that is not offered."""
    assert sources.get(HELD.id) is HELD
    assert sources.get(held_by("mesh_flow")) is None
    assert sources.get(held_by("nobody")) is None


def test_their_picture_is_shown_first_and_the_portraits_again_afterwards(sources: Sources) -> None:
    """Of a session that begins so, and of one that turns to it and back; pictures of a portrait's source are none of
    theirs."""
    shown = Shown()
    outlet = Outlet(
        "me", PORTRAIT, shown, Tally(NoRecorder()), sources.get, lambda: "no picture", SLOW,
        bundle="dancer", marks=BADGE,
    )  # fmt: skip
    try:
        assert outlet.size == HELD.size
        outlet.start()
        shown.until(lambda: shown.pictures)
        assert is_badged(shown.pictures[0], HELD.still, HELD.size)
        moved = plain(60, HELD.size)
        for source in ("nobody's", HELD.id):
            report = FrameReport(7, Outcome.GENERATED, {}, 0.0, faces=1)
            stamp = Stamp(7, time.perf_counter())
            outlet.deliver(Delivery("me", moved.copy(), stamp, report, 0, source, "dancer"))
        assert is_badged(shown.pictures[-1], moved, HELD.size)
        outlet.turn("mesh_flow", Mode.PUPPET, PORTRAIT, 1)
        assert is_badged(shown.pictures[-1], PORTRAIT.still)
        outlet.turn("dancer", Mode.PUPPET, PORTRAIT, 2)
        assert is_badged(shown.pictures[-1], HELD.still, HELD.size)
    finally:
        outlet.stop()
        outlet.join()
