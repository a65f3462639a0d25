"""What the coach measures and says: a drawn face that is sound, and the same with one fault after the other."""

from __future__ import annotations

import math
import os
from dataclasses import replace

import cv2
import numpy as np
import pytest

from engine import canonical
from engine.coach.advice import Role, remarks
from engine.coach.measures import EYES, Measures, numbers, of_numbers
from engine.coach.reading import measure
from engine.errors import InputError
from engine.geometry import pose_rotation
from engine.types import F32, U8, HeadPose

SIZE = (640, 480)
_PX_PER_CM = 16.0
SOUND = Measures(120.0, 3.0, -4.0, 2.0, 0.4, 190.0, 0.0, 0.5, 0.5, 0.01)


def _points(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> F32:
    """The canonical face at rest, turned, in the middle of the picture."""
    turned = canonical.VERTICES @ pose_rotation(HeadPose(yaw, pitch, roll)).T
    return (_PX_PER_CM * turned + (SIZE[0] / 2, SIZE[1] / 2, 0.0)).astype(np.float32)


def _picture(points: F32, skin: tuple[int, int, int] = (190, 150, 130)) -> U8:
    """Skin with pores, eyes with whites, on a plain wall."""
    rgb = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
    oval = np.rint(points[list(canonical.FACE_OVAL), :2]).astype(np.int32)
    cv2.fillPoly(rgb, [oval], skin)
    for ring, iris in (
        (canonical.RIGHT_EYE, canonical.RIGHT_IRIS),
        (canonical.LEFT_EYE, canonical.LEFT_IRIS),
    ):
        cv2.fillPoly(rgb, [np.rint(points[list(ring), :2]).astype(np.int32)], (225, 225, 225))
        cv2.circle(rgb, tuple(int(v) for v in points[iris[0], :2]), 4, (20, 20, 20), -1)
    grain = np.random.default_rng(0).normal(0.0, 9.0, (SIZE[1], SIZE[0], 1))
    return np.clip(rgb + grain, 0, 255).astype(np.uint8)


def _named(rgb: U8, points: F32, role: Role = Role.SOURCE) -> set[str]:
    return {remark.measure for remark in remarks(measure(rgb, points), role)}


def test_a_sound_picture_is_not_remarked_on() -> None:
    """Of light skin and of dark skin: what counts are highlights, not how much light a skin sends back."""
    points = _points()
    for skin in ((235, 205, 190), (190, 150, 130), (120, 85, 65)):
        assert _named(_picture(points, skin), points) == set()


def test_each_fault_is_named_by_its_own_measure() -> None:
    """And by nothing else that would send whoever took it the wrong way."""
    points = _points()
    sound = _picture(points)
    eyes = float(np.linalg.norm(points[33, :2] - points[263, :2]))
    soft = cv2.GaussianBlur(sound, (0, 0), 0.06 * eyes)
    half = sound.copy()
    half[:, : int(points[4, 0])] //= 4
    mask = sound.copy()
    low = int(points[4, 1])
    mask[low:] = (90, 150, 220)
    shades = sound.copy()
    for ring in (canonical.RIGHT_EYE, canonical.LEFT_EYE):
        place = points[list(ring), :2]
        middle, half_size = place.mean(0), np.ptp(place, axis=0) * (0.75, 1.6)
        cv2.ellipse(shades, tuple(map(int, middle)), tuple(map(int, half_size)), 0, 0, 360, (15, 15, 18), -1)
    shift = np.float32([[1, 0, 0], [0, 1, 5 - points[:, 1].min()]])
    cut = cv2.warpAffine(sound, shift, SIZE)
    assert _named(soft, points) == {"blur"}
    assert _named(sound // 5, points) == {"light"}
    assert _named(np.clip(sound.astype(int) * 2 + 60, 0, 255).astype(np.uint8), points) == {"burnt"}
    assert _named(half, points) == {"one_sided"}
    assert _named(mask, points) == {"covered"}
    assert "eyes" in _named(shades, points)
    assert _named(cut, (points + np.float32([0, shift[1, 2], 0]))) == {"margin"}
    small = cv2.resize(sound, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA)
    assert "size" in _named(small, (points * 0.3).astype(np.float32))


def test_a_turned_head_is_told_in_degrees() -> None:
    """By the axis that it is turned about."""
    for axis, degrees in (("yaw", 40.0), ("pitch", 25.0), ("roll", 45.0)):
        points = _points(**{axis: degrees})
        told = measure(_picture(points), points)
        assert abs(getattr(told, axis)) == pytest.approx(degrees, abs=2.0)
        assert axis in {remark.measure for remark in remarks(told, Role.SOURCE)}


@pytest.mark.parametrize(
    ("changed", "role", "named", "said"),
    [
        ({"eyes_px": 40.0}, Role.SOURCE, "size", "larger or tighter"),
        ({"eyes_px": 25.0}, Role.CAMERA, "size", "come closer"),
        ({"margin": -0.1}, Role.SOURCE, "margin", "cut off"),
        ({"margin": 0.02}, Role.CAMERA, "margin", "2 % of its height"),
        ({"blur": 0.7}, Role.CAMERA, "blur", "lens"),
        ({"yaw": -35.0}, Role.SOURCE, "yaw", "35 degrees aside"),
        ({"roll": 94.0}, Role.SOURCE, "roll", "upright"),
        ({"light": 30.0}, Role.CAMERA, "light", "30 of 255"),
        ({"burnt": 0.4}, Role.SOURCE, "burnt", "40 %"),
        ({"one_sided": 3.0}, Role.SOURCE, "one_sided", "8 times"),
        ({"covered_eyes": "left"}, Role.SOURCE, "eyes", "left eye"),
        ({"strange": 0.2}, Role.SOURCE, "covered", "20 %"),
        ({"hidden": 0.3}, Role.CAMERA, "hidden", "30 %"),
    ],
)
def test_a_remark_says_value_and_fix(changed: dict[str, object], role: Role, named: str, said: str) -> None:
    """One remark for one fault, with the number that was measured in its sentence or beside it."""
    (remark,) = remarks(replace(SOUND, **changed), role)
    assert remark.measure == named
    assert said in remark.text
    (value,) = changed.values()
    if isinstance(value, float):
        assert remark.value == value
        assert remark.bound != value


def test_several_faces_are_told_and_a_sound_one_is_not() -> None:
    """How many there are, and which is taken."""
    assert remarks(SOUND, Role.SOURCE) == remarks(SOUND, Role.CAMERA) == ()
    (remark,) = remarks(SOUND, Role.SOURCE, faces=3)
    assert (remark.measure, remark.value) == ("faces", 3.0)
    # a camera that is far away may be small where a portrait may not
    assert remarks(replace(SOUND, eyes_px=45.0), Role.CAMERA) == ()


def test_measures_travel_as_numbers() -> None:
    """There and back; anything else is refused, for another process says them."""
    for eyes in EYES:
        told = replace(SOUND, covered_eyes=eyes)
        assert of_numbers(numbers(told)) == told
    good = numbers(SOUND)
    wrong = [
        None,
        [],
        {},
        good | {"more": 1.0},
        good | {"yaw": math.nan},
        good | {"yaw": "1"},
        good | {"covered_eyes": 4.0},
    ]
    for one in (
        *wrong,
        good | {"covered_eyes": 0.5},
        {name: value for name, value in good.items() if name != "yaw"},
    ):
        with pytest.raises(InputError, match="measures"):
            of_numbers(one)


@pytest.mark.full
def test_the_table_of_the_page_holds(faces_root: os.PathLike, models: None) -> None:
    """Of real portraits few are remarked on, and of those damaged nearly all, by the right word (docs/coach.md)."""
    from pathlib import Path

    from engine.media import decode_picture, resize_within
    from engine.source import MAX_SIDE, find_faces
    from engine.track.face import FaceTracker

    tracker = FaceTracker()
    sound, found = 0, dict.fromkeys(("blur", "light", "burnt"), 0)
    paths = sorted(
        path for path in (Path(faces_root) / "portraits").iterdir() if path.suffix in (".jpg", ".png")
    )
    for path in paths:
        rgb = resize_within(decode_picture(path.read_bytes(), path.name), MAX_SIDE)
        points = find_faces(rgb, tracker)[0].points
        eyes = float(np.linalg.norm(points[33, :2] - points[263, :2]))
        sound += not _named(rgb, points)
        found["blur"] += "blur" in _named(cv2.GaussianBlur(rgb, (0, 0), 0.05 * eyes), points)
        found["light"] += "light" in _named((rgb * 0.2).astype(np.uint8), points)
        found["burnt"] += "burnt" in _named(np.clip(rgb * 2.6 + 40, 0, 255).astype(np.uint8), points)
    tracker.close()
    assert sound >= 0.9 * len(paths)
    assert all(count >= 0.95 * len(paths) for count in found.values()), found
