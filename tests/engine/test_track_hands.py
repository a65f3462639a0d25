"""The hand tracker: its geometry, its reading of the detector, its clock, and MediaPipe's own answers."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from engine.errors import ConfigError
from engine.media import read_picture
from engine.track.body_region import turn
from engine.track.hand_model import Hand, anchors, palms
from engine.track.hand_region import from_palm, from_points
from engine.track.hands import HandTracker
from engine.track.region import Region
from engine.types import F32, U8, Frame

HAND: F32 = np.array(
    [
        (50, 100), (62, 92), (70, 82), (75, 73), (79, 66), (61, 66), (63, 52), (64, 44), (65, 37), (52, 64), (52, 49),
        (52, 40), (52, 32), (44, 66), (42, 53), (41, 45), (40, 38), (37, 71), (33, 62), (31, 56), (29, 51),
    ],
    np.float32,
)  # fmt: skip
"""A right hand with its back to the camera, fingers up."""


class Scripted:
    """A model that sees hands where it was told. finds: how often it looked for palms."""

    def __init__(self, *hands: F32) -> None:
        self.hands, self.finds, self.presence = list(hands), 0, 0.9

    def find(self, rgb: U8, view: Region) -> list[Region]:
        self.finds += 1
        return [from_points(hand) for hand in self.hands]

    def read(self, rgb: U8, region: Region) -> Hand | None:
        middle = np.array([region.x, region.y])
        for hand in self.hands:
            if np.linalg.norm(hand.mean(0) - middle) < 0.3 * region.side:
                return Hand(hand, self.presence)
        return None

    def close(self) -> None:
        pass


def frame(number: int, fps: int = 30, side: int = 200) -> Frame:
    return Frame(np.zeros((side, side, 3), np.uint8), number, Fraction(1, fps), number / fps)


def moved(points: F32, angle: float, scale: float, shift: tuple[float, float]) -> F32:
    return np.asarray(scale * turn(points, angle) + shift, np.float32)


def test_an_upright_palm_gives_an_upright_region_above_it() -> None:
    """2.6 times the box, moved by half its height towards the fingers."""
    corners = np.array([[40.0, 90.0], [60.0, 110.0]])
    region = from_palm(corners, np.array([50.0, 110.0]), np.array([50.0, 92.0]))
    assert (region.x, region.y, region.side, region.angle) == pytest.approx((50.0, 90.0, 52.0, 0.0))


def test_the_next_region_turns_grows_and_moves_with_the_hand() -> None:
    """A hand that is turned, scaled and moved as a whole takes its region along."""
    region = from_points(HAND)
    for angle in (0.4, -1.2, 3.0):
        other = from_points(moved(HAND, angle, 1.7, (30.0, -12.0)))
        expected = moved(np.array([[region.x, region.y]], np.float32), angle, 1.7, (30.0, -12.0))[0]
        assert (other.x, other.y) == pytest.approx(tuple(expected), abs=1e-3)
        assert other.side == pytest.approx(1.7 * region.side, rel=1e-5)
        assert math.remainder(other.angle - region.angle - angle, 2 * math.pi) == pytest.approx(0, abs=1e-5)


def test_the_next_region_does_not_follow_the_fingertips() -> None:
    """Curling the fingers leaves the region where wrist, thumb and knuckles put it."""
    curled = HAND.copy()
    curled[[7, 8, 11, 12, 15, 16, 19, 20]] += (3.0, 25.0)
    assert from_points(curled) == from_points(HAND)


def test_the_detector_has_one_anchor_per_answer() -> None:
    """2016 anchors: two for each of 24 x 24 cells, six for each of 12 x 12."""
    grid = anchors()
    assert grid.shape == (2016, 2)
    assert grid[0] == pytest.approx((0.5 / 24, 0.5 / 24))
    assert grid[1152] == pytest.approx((0.5 / 12, 0.5 / 12))


def test_palms_are_placed_in_their_view_surest_first() -> None:
    """A box at an anchor becomes a region of the picture; what is below a score of one half is none."""
    raw, logits = np.zeros((1, 2016, 18), np.float32), np.full((1, 2016, 1), -20.0, np.float32)
    for anchor, logit in ((0, 1.0), (2015, 3.0), (600, -0.1)):
        raw[0, anchor, 2:4] = 19.2
        raw[0, anchor, 4:6] = (0.0, 9.6)  # the wrist, below
        raw[0, anchor, 8:10] = (0.0, -9.6)  # the middle finger's knuckle, above
        logits[0, anchor] = logit
    view = Region(100.0, 100.0, 100.0, 0.0)
    first, second = palms(raw, logits, view)
    end = 50 + 100 * 11.5 / 12
    assert (first.x, first.y, first.side, first.angle) == pytest.approx((end, end - 5, 26.0, 0.0), abs=1e-3)
    assert second.x == pytest.approx(50 + 100 * 0.5 / 24, abs=1e-3)


def test_palms_are_looked_for_at_a_rate_and_followed_in_every_frame() -> None:
    """At 6 Hz of a stream of 30 frames a second every fifth frame looks; a followed hand is read in each."""
    model = Scripted(HAND)
    tracker = HandTracker(model=model)
    assert all(len(tracker.track(frame(number))) == 1 for number in range(30))
    assert model.finds == 6


def test_no_palm_is_looked_for_while_there_is_room_for_none() -> None:
    """With all hands followed the detector rests; a lost one is looked for in the next frame."""
    model = Scripted(HAND)
    tracker = HandTracker(model=model, most_hands=1)
    for number in range(30):
        tracker.track(frame(number))
    assert model.finds == 1
    model.hands = []
    assert tracker.track(frame(30)) == ()
    tracker.track(frame(31))
    assert model.finds == 2


def test_one_hand_is_followed_once_and_two_are_two() -> None:
    """What the detector finds of a followed hand is no second one."""
    other = moved(HAND, 0.0, 1.0, (90.0, 0.0))
    tracker = HandTracker(model=Scripted(HAND), every_frame=True)
    assert [len(tracker.track(frame(number))) for number in range(3)] == [1, 1, 1]
    tracker = HandTracker(model=Scripted(HAND, other, moved(HAND, 0.0, 1.0, (0.0, 95.0))), every_frame=True)
    assert [len(tracker.track(frame(number))) for number in range(3)] == [2, 2, 2]


def test_a_hand_that_leaves_the_view_is_let_go() -> None:
    """Hands far from the face cost nothing."""
    model = Scripted(HAND)
    tracker = HandTracker(model=model)
    assert len(tracker.track(frame(0))) == 1
    assert tracker.track(frame(1), Region(190.0, 190.0, 20.0, 0.0)) == ()


@pytest.mark.parametrize(("number", "side"), [(-5, 200), (90, 200), (1, 100)])
def test_another_picture_begins_anew(number: int, side: int) -> None:
    """Time running backwards, a gap of more than a second and another size make the tracker look at once."""
    model = Scripted(HAND)
    tracker = HandTracker(model=model, most_hands=1)
    tracker.track(frame(0))
    tracker.track(frame(number, side=side))
    assert model.finds == 2


def test_a_doubtful_hand_is_followed_but_not_taken_up() -> None:
    """With sure=.85 a hand that is just found has to be a clear one; the same presence keeps a followed one."""
    model = Scripted(HAND)
    model.presence = 0.6
    tracker = HandTracker(model=model, sure=0.85, every_frame=True)
    assert tracker.track(frame(0)) == ()
    model.presence = 0.9
    assert len(tracker.track(frame(1))) == 1
    model.presence = 0.6
    assert len(tracker.track(frame(2))) == 1


def test_a_rate_of_nothing_is_refused() -> None:
    """Bad options are told before any model is opened."""
    with pytest.raises(ConfigError, match="hand rate"):
        HandTracker(rate_hz=0.0, model=Scripted())
    with pytest.raises(ConfigError, match="hands"):
        HandTracker(most_hands=0, model=Scripted())


def test_a_hand_is_where_mediapipe_sees_it(models: None, faces_root: Path) -> None:
    """The same networks in the same regions: the small hand solution of MediaPipe 0.10.21 to .1 pixel."""
    tracker = HandTracker()
    rgb = read_picture(faces_root / "portraits" / "woman_hand_next_to_the_eye.jpg")
    (hand,) = tracker.track(Frame(rgb, 0, Fraction(1, 30), 0.0))
    tracker.close()
    assert np.abs(hand.points - MEDIAPIPE).max() < 0.1


MEDIAPIPE: F32 = np.array(
    [
        (695.7, 596.1), (676.5, 519.3), (689.8, 467.1), (699.4, 431.1), (707.4, 404.5), (766.0, 471.1),
        (754.3, 422.7), (724.4, 404.8), (690.0, 406.7), (782.2, 468.5), (762.0, 405.6), (711.2, 393.8),
        (667.0, 398.2), (794.7, 466.4), (767.6, 398.8), (712.9, 389.4), (667.7, 399.3), (801.8, 462.4),
        (784.3, 403.0), (742.6, 387.0), (705.7, 390.4),
    ],
    np.float32,
)  # fmt: skip
"""mp.solutions.hands of MediaPipe 0.10.21, static, model_complexity 0, on that portrait: pixels, rounded to .1."""
