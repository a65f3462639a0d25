"""What stands in front of a face: the face's own frame, hands' silhouettes, learnt skin, and the mask in time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine import canonical
from engine.media import open_media
from engine.occlusion import FaceOcclusion, atlas
from engine.occlusion.hand_shape import draw_hand, palm_length
from engine.occlusion.skin import Skin
from engine.puppet import Opening
from engine.track.face import FaceTracker
from engine.track.hand_model import Hand
from engine.track.region import Region
from engine.types import F32, U8, Face, Frame, Signal
from engine.worker.servers import Servers
from engine.worker.tools import Tools
from tests.engine.edit_scenes import face_at
from tests.engine.test_track_hands import HAND

SIDE = 320
SKIN = (196, 150, 128)
FACE = face_at(160, 160, scale=14.0)


def picture(seed: int, face: Face = FACE) -> U8:
    """A face of one skin colour with grain, on grey."""
    rgb = np.full((SIDE, SIDE, 3), 110, np.uint8)
    cv2.fillPoly(rgb, [np.rint(hull(face)).astype(np.int32)], SKIN)
    grain = np.random.default_rng(seed).integers(-6, 7, rgb.shape)
    return (rgb + grain).clip(0, 255).astype(np.uint8)


def hull(face: Face) -> F32:
    return cv2.convexHull(np.ascontiguousarray(face.points[: canonical.MESH_POINTS, :2]))[:, 0]


def inside(face: Face = FACE) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillPoly(mask, [np.rint(hull(face)).astype(np.int32)], 1)
    return mask > 0


def frame_of(rgb: U8, number: int, rate: int = 30) -> Frame:
    return Frame(rgb, number, Fraction(1, rate), number / rate)


class Given:
    """Hands that are where the test says."""

    def __init__(self, *points: F32) -> None:
        self.points, self.resets, self.looks = list(points), 0, 0

    def track(self, frame: Frame, view: Region | None = None, *, look: bool = False) -> tuple[Hand, ...]:
        self.looks += look
        return tuple(Hand(points, 1.0) for points in self.points)

    def reset(self) -> None:
        self.resets += 1

    def close(self) -> None:
        pass


def run(
    occlusion: FaceOcclusion, count: int, start: int = 0, face: Face = FACE, rate: int = 30
) -> list[U8 | None]:
    """So many frames of a face with nothing in front of it."""
    return [occlusion.mask(frame_of(picture(n, face), n, rate), (face,)) for n in range(start, start + count)]


def share(mask: U8 | None, face: Face = FACE) -> float:
    """How much of the face is marked."""
    return 0.0 if mask is None else float((mask[inside(face)] > 127).mean())


# The face's own frame.


def test_a_texel_stays_on_its_skin_while_the_face_moves_and_speaks() -> None:
    """What is drawn on one pose of a face is read at the same texels of another pose and expression."""
    still, other = face_at(150, 150, scale=13.0), face_at(170, 140, scale=11.0, roll=25.0, AU12=0.8, AU26=0.6)
    ramp = atlas.spread(np.linspace(0.2, 0.9, int(atlas.atlas().inside.sum())))
    read = []
    for face in (still, other):
        drawn = np.zeros((SIDE, SIDE), np.uint8)
        atlas.draw(ramp, face.points, drawn)
        read.append(atlas.read(drawn, atlas.where(face.points)).astype(int))
    assert np.percentile(np.abs(read[0] - read[1]), 95) <= 8
    assert np.percentile(np.abs(read[0] - 255 * ramp[atlas.atlas().inside]), 95) <= 12


def test_a_full_level_covers_the_face_and_nothing_else() -> None:
    """Drawing 1 everywhere fills the mesh without holes; beyond its hull nothing is drawn."""
    drawn = np.zeros((SIDE, SIDE), np.uint8)
    atlas.draw(np.ones((atlas.SIZE, atlas.SIZE), np.float32), FACE.points, drawn)
    eroded = cv2.erode(inside().astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    dilated = cv2.dilate(inside().astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert (drawn[eroded] == 255).mean() > 0.99
    assert not drawn[~dilated].any()


def test_a_face_partly_outside_of_the_picture_is_drawn_where_it_is_seen() -> None:
    """Faces at the border neither fail nor wrap around."""
    drawn = np.zeros((60, 80), np.uint8)
    for x, y in ((-20, 30), (40, 90), (500, 500)):
        atlas.draw(np.ones((atlas.SIZE, atlas.SIZE), np.float32), face_at(x, y).points, drawn)
        atlas.read(drawn, atlas.where(face_at(x, y).points))
    assert drawn[30, 0] == 255
    assert drawn[0, 79] == 0


def test_the_far_side_of_a_turned_head_is_not_believed() -> None:
    """A face from the front faces the camera; of one turned by 70 degrees the far cheek does not."""
    points = FACE.points.copy()
    assert atlas.facing(points).mean() > 0.95
    middle, angle = points.mean(0), np.radians(70)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    turned = ((points - middle) @ turn.T + middle).astype(np.float32)
    seen = atlas.facing(turned)
    left = np.nonzero(atlas.atlas().inside)[1] < 24
    right = np.nonzero(atlas.atlas().inside)[1] > 40
    assert min(seen[left].mean(), seen[right].mean()) < 0.3 < 0.8 < max(seen[left].mean(), seen[right].mean())


# Hands.


def test_a_hand_is_drawn_over_all_its_points_and_no_further_than_a_finger() -> None:
    """Every point is covered, also between the knuckles; off the hull by more than a wrist's width nothing is."""
    mask = np.zeros((200, 200), np.uint8)
    draw_hand(mask, HAND + 40)
    for x, y in np.rint(HAND + 40).astype(int):
        assert mask[y, x] == 255
    assert mask[120, 90] == 255
    ring = cv2.convexHull(HAND[4:] + 40)[:, 0]
    palm = palm_length(HAND)
    fingers = np.argwhere(mask[:100] > 0)[:, ::-1].astype(np.float32)
    off = [-cv2.pointPolygonTest(ring, (float(x), float(y)), True) for x, y in fingers]
    assert max(off) < 0.2 * palm


def test_a_hand_grows_with_its_picture() -> None:
    """Twice the size is four times the area: no width is in pixels."""
    areas = []
    for scale in (1.5, 3.0):
        mask = np.zeros((600, 600), np.uint8)
        draw_hand(mask, scale * HAND + 60)
        areas.append(int((mask > 0).sum()))
    assert areas[1] / areas[0] == pytest.approx(4.0, rel=0.03)


def test_points_far_away_are_no_error() -> None:
    """A hand outside of the picture draws nothing."""
    mask = np.zeros((50, 50), np.uint8)
    draw_hand(mask, HAND + 1e7)
    assert not mask.any()


# Skin.


def learnt(colours: U8 | None = None, seconds: float = 1.0) -> Skin:
    skin = Skin()
    for number in range(int(30 * seconds)):
        skin.covered(texels(number) if colours is None else colours, FACING, NOTHING, 1 / 30)
    return skin


COUNT = int(atlas.atlas().inside.sum())
FACING, NOTHING = np.ones(COUNT, np.bool_), np.zeros(COUNT, np.bool_)
ROWS, COLUMNS = np.nonzero(atlas.atlas().inside)
CHEEK = (np.abs(COLUMNS - 44) < 8) & (np.abs(ROWS - 34) < 8)


def texels(seed: int, colour: tuple[int, int, int] = SKIN) -> U8:
    grain = np.random.default_rng(seed).integers(-6, 7, (COUNT, 3))
    return (np.array(colour) + grain).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("colour", [(20, 20, 24), (235, 235, 240), (40, 70, 160), (52, 36, 28)])
def test_a_thing_unlike_skin_is_told(colour: tuple[int, int, int]) -> None:
    """A dark, white, blue or hair-brown patch on a cheek is covered, and what lies apart from it is not."""
    skin, seen = learnt(), texels(99)
    seen[CHEEK] = texels(98, colour)[CHEEK]
    covered = skin.covered(seen, FACING, NOTHING, 1 / 30) > 0.5
    near = (np.abs(COLUMNS - 44) < 15) & (np.abs(ROWS - 34) < 15)
    assert covered[CHEEK].mean() > 0.9
    assert not covered[~near].any()


def test_light_is_no_thing() -> None:
    """Half the exposure, a warmer white, light from one side and a shadow of the nose mark nothing."""
    side = np.linspace(0.5, 1.4, atlas.SIZE)[COLUMNS][:, None]
    shadow = np.where(CHEEK, 0.62, 1.0)[:, None]
    for factor in (0.5, np.array([1.1, 1.0, 0.8]), side, shadow):
        seen = (texels(99) * factor).clip(0, 255).astype(np.uint8)
        assert learnt().covered(seen, FACING, NOTHING, 1 / 30).max() < 0.5


def test_eyes_and_mouth_may_do_what_they_like() -> None:
    """Lids that close, lips, teeth and a dark open mouth are the face's own."""
    places = atlas.atlas().places
    skin, seen = learnt(), texels(99)
    for ring, colour in ((canonical.RIGHT_EYE, (20, 20, 20)), (canonical.LIPS_OUTER, (60, 10, 15))):
        field = np.zeros((atlas.SIZE, atlas.SIZE), np.uint8)
        cv2.fillPoly(field, [np.rint(places[list(ring)]).astype(np.int32)], 1)
        seen[field[atlas.atlas().inside] > 0] = colour
    assert not skin.covered(seen, FACING, NOTHING, 1 / 30).any()


def test_what_was_always_there_is_the_face() -> None:
    """A beard, a fringe or glasses in view from the first frame on are learnt as part of it."""
    always = texels(1)
    always[CHEEK] = (30, 24, 20)
    assert not learnt(always).covered(always, FACING, NOTHING, 1 / 30).any()


def test_skin_that_comes_out_from_behind_a_thing_is_skin() -> None:
    """What was in front from the start and goes away leaves no mark behind."""
    before = texels(1)
    before[CHEEK] = (30, 24, 20)
    assert not learnt(before).covered(texels(2), FACING, NOTHING, 1 / 30).any()


def test_nothing_is_told_before_the_skin_is_known() -> None:
    """The first frames are learnt from and mark nothing, whatever they show."""
    skin = Skin()
    for number in range(6):
        seen = texels(number)
        seen[CHEEK] = (0, 0, 255) if number % 2 else SKIN
        assert not skin.covered(seen, FACING, NOTHING, 1 / 30).any()


def test_what_a_hand_covers_is_not_learnt() -> None:
    """A hand of another colour, known as one, does not become the skin of its place."""
    skin, hand = learnt(), texels(3)
    hand[CHEEK] = (120, 70, 50)
    before = skin.covered(texels(4), FACING, NOTHING, 1 / 30)
    for _ in range(90):
        skin.covered(hand, FACING, CHEEK, 1 / 30)
    seen = texels(5)
    seen[CHEEK] = (20, 20, 24)
    assert not before.any()
    assert skin.covered(seen, FACING, NOTHING, 1 / 30)[CHEEK].mean() > 0.9


# The mask.


def over_the_mouth() -> F32:
    return np.asarray(0.9 * HAND + (110.0, 130.0), np.float32)


def test_an_uncovered_face_has_no_mask() -> None:
    """None, and no empty picture, where nothing is in the way: the common case costs no one a pixel."""
    assert run(FaceOcclusion(hands=Given()), 20) == [None] * 20
    assert FaceOcclusion(hands=Given(over_the_mouth())).mask(frame_of(picture(0), 0), ()) is None


def test_a_hand_is_there_at_once_and_goes_slowly() -> None:
    """In its first frame the mask is the drawn hand; gone, it fades within half a second, never coming back."""
    hands = Given()
    occlusion = FaceOcclusion(hands=hands)
    run(occlusion, 15)
    hands.points = [over_the_mouth()]
    mask = occlusion.mask(frame_of(picture(15), 15), (FACE,))
    drawn = np.zeros((SIDE, SIDE), np.uint8)
    draw_hand(drawn, over_the_mouth())
    assert mask is not None
    assert (mask[drawn > 0] == 255).all()
    run(occlusion, 10, 16)
    hands.points = []
    shares = [share(one) for one in run(occlusion, 20, 26)]
    assert shares[0] > 0.05
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == 0.0


def test_a_hand_beside_the_face_is_none() -> None:
    """Hands that come near no face are not drawn."""
    occlusion = FaceOcclusion(hands=Given(np.asarray(0.3 * HAND + (270.0, 270.0), np.float32)))
    assert occlusion.mask(frame_of(picture(0), 0), (FACE,)) is None


@pytest.mark.parametrize("rate", [15, 60])
def test_time_is_counted_in_seconds(rate: int) -> None:
    """A thing is there within .25 s and gone .6 s after it went, whatever the frame rate."""
    occlusion = FaceOcclusion(hands=Given())
    run(occlusion, rate, rate=rate)
    masks: list[U8 | None] = []
    for number in range(rate, rate + round(0.25 * rate) + 1):
        rgb = picture(number)
        rgb[150:190, 180:215] = (20, 20, 24)
        masks.append(occlusion.mask(frame_of(rgb, number, rate), (FACE,)))
    assert masks[-1] is not None
    assert (masks[-1][155:185, 185:210] > 127).mean() > 0.9
    assert share(masks[-1]) < 2.0 * 40 * 35 / inside().sum()
    assert run(occlusion, round(0.6 * rate) + 1, number + 1, rate=rate)[-1] is None


def test_another_track_is_another_face() -> None:
    """Skin learnt of one track marks nothing on the next, whose face has another colour."""
    occlusion = FaceOcclusion(hands=Given())
    run(occlusion, 30)
    other = replace(FACE, track_id=2)
    dark = (picture(0) * np.array([0.3, 0.4, 1.2])).clip(0, 255).astype(np.uint8)
    assert occlusion.mask(frame_of(dark, 30), (other,)) is None


def test_each_face_has_its_own_memory() -> None:
    """Of two faces only the covered one is marked."""
    left, right = face_at(80, 160, 1, scale=9.0), face_at(240, 160, 2, scale=9.0)
    both = np.where(inside(left)[..., None], picture(0, left), picture(0, right))
    occlusion = FaceOcclusion(hands=Given())
    for number in range(30):
        occlusion.mask(frame_of(both, number), (left, right))
    covered = both.copy()
    covered[140:190, 85:120] = (20, 20, 24)
    for number in range(30, 36):
        mask = occlusion.mask(frame_of(covered, number), (left, right))
    assert share(mask, left) > 0.05
    assert share(mask, right) == 0.0


@pytest.mark.parametrize("number", [0, 90])
def test_a_break_in_time_begins_anew(number: int) -> None:
    """Another pass over a clip, or a gap of more than a second: hands and faces are forgotten."""
    hands = Given()
    occlusion = FaceOcclusion(hands=hands)
    run(occlusion, 20)
    before = hands.resets
    occlusion.mask(frame_of(picture(0), number), (FACE,))
    assert hands.resets == before + 1


def test_a_changed_face_has_palms_looked_for_at_once() -> None:
    """When the skin changes the palm detector is not waited for."""
    hands = Given()
    occlusion = FaceOcclusion(hands=hands)
    run(occlusion, 30)
    assert hands.looks == 0
    covered = picture(30)
    covered[140:200, 170:220] = (20, 20, 24)
    for number in range(30, 33):
        occlusion.mask(frame_of(covered, number), (FACE,))
    assert hands.looks == 1


# Where it is used.


def test_a_worker_opens_it_for_who_needs_it_and_closes_it() -> None:
    """Signal.OCCLUSION among a generator's needs gives its sessions the mask, by the name of the argument."""

    class Own(Tools):
        def occlusion(self, opening: Opening) -> FaceOcclusion:
            return FaceOcclusion(hands=Given())

    class Needing:
        needs = frozenset({Signal.SHAPE, Signal.OCCLUSION})

    def failed(error: Exception) -> None:
        raise error

    with ExitStack() as opened:
        given = Servers(Own(), Opening(), opened, failed).of(Needing())  # type: ignore[arg-type]
        assert list(given) == ["occlusion"]
        assert isinstance(given["occlusion"], FaceOcclusion)


def test_a_real_hand_is_found_over_a_real_face(models: None, faces_root: Path) -> None:
    """On frames drawn by hand: at least .7 of the union is shared, .85 of the hand found, inside the face."""
    polygons = json.loads((Path(__file__).parent / "hand_polygons.json").read_text())
    wanted = [int(key) for key in ("126", "180", "204")]
    tracker, occlusion = FaceTracker(), FaceOcclusion()
    shared = union = hand = 0
    with open_media(faces_root / "drivers" / "woman_hand_over_face.mp4") as clip:
        for number, frame in enumerate(clip):
            if number > wanted[-1]:
                break
            if not any(one - 2 <= number <= one for one in wanted):
                continue
            (face,) = tracker.track(frame)
            mask = occlusion.mask(frame, (face,))
            if number in wanted:
                assert mask is not None
                found, truth, within = (
                    (mask > 127),
                    *(_filled(points, frame) for points in (polygons[str(number)], hull(face))),
                )
                shared += int((found & truth & within).sum())
                union += int(((found | truth) & within).sum())
                hand += int((truth & within).sum())
    tracker.close()
    occlusion.close()
    assert shared / union > 0.7
    assert shared / hand > 0.85


def _filled(points: Sequence[Sequence[float]] | F32, frame: Frame) -> np.ndarray:
    mask = np.zeros(frame.rgb.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.rint(np.array(points)).astype(np.int32)], 1)
    return mask > 0
