"""Several pictures of one person: which are used, and when they are refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from engine import canonical, puppet
from engine.errors import ConfigError, InputError, NoFaceError
from engine.features.au_basis import deform
from engine.features.likeness import MOST_APART_CM, shape_distance, strangers
from engine.features.shape import fit_shape
from engine.geometry import pose_rotation
from engine.puppet import Opening, find_given
from engine.several import (
    ACCEPTANCE,
    ENROLLED,
    Look,
    check_one_person,
    choose,
    chosen_of_clip,
    from_clip,
    joined,
    left_out,
    telling_shape,
)
from engine.types import AU_NAMES, F32, U8, Face, FaceShape, Frame, HeadPose, Mode, Source

CALM = Look(0.0, 0.0, 0.0, 0.0, 0.3, 1.0)


def other_person(lower: float = 1.0) -> F32:
    """The canonical face with eyes and brows a centimetre lower: nothing that an expression does."""
    local = canonical.VERTICES.copy()
    eyes = (local[:, 1] < -2.0) & (local[:, 1] > -5.5)
    local[eyes, 1] += lower
    return local


def face_of(local: F32 = canonical.VERTICES, yaw: float = 0.0, scale: float = 8.0) -> Face:
    shape = FaceShape(local, pose_rotation(HeadPose(yaw, 0, 0)), scale, np.array([120.0, 120.0, 0.0]))
    points = shape.points()
    box = np.concatenate([points[:, :2].min(0), points[:, :2].max(0)]).astype(np.float32)
    return Face(box, points, 1.0, 1)


def source_of(name: str, face: Face, seed: int = 0) -> Source:
    noise = np.random.default_rng(seed).integers(0, 255, (240, 240, 3), np.uint8)
    return Source(noise, face, None, name, name)


def expressed(**aus: float) -> F32:
    return deform(canonical.VERTICES, np.array([aus.get(name, 0.0) for name in AU_NAMES], np.float32))


def test_shape_is_the_same_in_any_pose_and_expression() -> None:
    """Turned, larger, smiling and shouting, a face is no further from itself than half of what is let through."""
    rest = fit_shape(face_of().points)
    for yaw, aus in (
        (30.0, {}),
        (0.0, {"AU12": 1.0}),
        (-20.0, {"AU25": 1.0, "AU26": 1.0}),
        (0.0, {"AU45": 1.0}),
    ):
        moved = fit_shape(face_of(expressed(**aus), yaw, 5.0).points)
        assert shape_distance(rest, moved) < 0.5 * MOST_APART_CM


def test_another_shape_is_told_from_it() -> None:
    """Eyes that lie a centimetre lower make another person, whichever comes first."""
    one, other = fit_shape(face_of().points), fit_shape(face_of(other_person()).points)
    assert shape_distance(one, other) > MOST_APART_CM
    assert shape_distance(one, other) == pytest.approx(shape_distance(other, one), rel=1e-6)


def test_different_people_are_refused_with_the_distance_and_taken_by_name() -> None:
    """The message says by how much and what to do; the named acceptance lets them through."""
    shapes = [fit_shape(face_of().points), fit_shape(face_of(other_person()).points)]
    apart = 10 * shape_distance(*shapes)
    with pytest.raises(InputError, match=rf"b\.jpg: .*a\.jpg by {apart:.2f} mm .*--accept {ACCEPTANCE}"):
        check_one_person(shapes, ["a.jpg", "b.jpg"])
    check_one_person(shapes, ["a.jpg", "b.jpg"], {ACCEPTANCE})


def lowered(*times: float) -> list[FaceShape]:
    """Faces whose eyes lie lower by so many times what is let through between two."""
    zero, one = (fit_shape(face_of(other_person(low)).points) for low in (0.0, 1.0))
    step = MOST_APART_CM / shape_distance(zero, one)
    return [fit_shape(face_of(other_person(step * many)).points) for many in times]


def test_a_face_is_measured_to_the_others_on_the_mean() -> None:
    """A face that is too far from one of them and near the rest is one person's; one that is far from them on the mean
    is refused with that, and the person is whom most show, whatever the order."""
    names = ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    check_one_person(lowered(0.0, 1.25, 0.6), names)
    with pytest.raises(InputError, match=r"b\.jpg: its face differs from that of a\.jpg by 1\.\d\d mm"):
        check_one_person(lowered(0.0, 1.25), names)
    shapes = lowered(4.0, 0.0, 1.0, 0.5)
    apart = np.mean([shape_distance(shapes[0], one) for one in shapes[1:]])
    assert strangers(shapes) == {0: ([1, 2, 3], pytest.approx(apart))}
    with pytest.raises(InputError, match=rf"a\.jpg: .* 3 that are alike by a mean of {10 * apart:.2f} mm"):
        check_one_person(shapes, names)
    with pytest.raises(InputError, match=r"a\.jpg: .* 2 .*, that of c\.jpg differs from those of the 2"):
        check_one_person(lowered(4.0, 0.0, 6.0, 0.8), names)
    assert strangers([]) == {}


def test_an_enrolled_person_is_not_measured_again() -> None:
    """What linked the pictures that a bundle holds may not be among them."""
    check_one_person(lowered(0.0, 1.6), ["a.jpg", "b.jpg"], {ENROLLED})


def test_whose_face_it_is_is_told_at_one_size() -> None:
    """A reduced picture is measured as the large one that it came from, so that the same photos pass everywhere."""
    small, seen = source_of("small", face_of()), []

    class Found:
        def detect(self, rgb: U8, **_: object) -> tuple[Face, ...]:
            seen.append(rgb.shape[:2])
            return (face_of(other_person()),)

    told = telling_shape(np.zeros((1600, 1600, 3), np.uint8), small, Found())
    assert seen == [(1280, 1280)]
    assert shape_distance(told, fit_shape(face_of(other_person()).points)) < 1e-4
    same = telling_shape(small.rgb, small, Found())
    assert len(seen) == 1
    assert shape_distance(same, fit_shape(small.face.points)) < 1e-4


def test_fewer_are_the_first_of_more() -> None:
    """A system that uses fewer of the chosen pictures takes the first ones, which is what a page tells of them; and
    each that is left out has its reason."""
    generator = np.random.default_rng(5)
    for _ in range(20):
        looks = [
            Look(*generator.uniform((-40, -20, -10, 0.0, 0.05, 0.2), (40, 20, 10, 0.4, 0.4, 1.0)))
            for _ in range(8)
        ]
        chosen = choose(looks, 8)
        again = [looks[k] for k in chosen]
        for count in range(1, len(chosen) + 1):
            assert choose(again, count) == list(range(count))
        assert set(left_out(looks, chosen)) == set(range(8)) - set(chosen)


def test_a_picture_is_left_out_for_its_blur_or_for_nothing_new() -> None:
    """Whoever gave it can tell which to take again."""
    looks = [CALM, replace(CALM, yaw=1.0), replace(CALM, yaw=8.0, sharp=0.0)]
    assert choose(looks, 3) == [0]
    why = left_out(looks, [0])
    assert "nothing" in why[1]
    assert "blurred" in why[2]


def test_the_calmest_picture_begins_and_the_widest_turns_follow() -> None:
    """Looking ahead first, then the two sides, and not what lies between them while there is no room."""
    looks = [replace(CALM, yaw=yaw) for yaw in (12.0, -31.0, 1.0, 30.0, 4.0)]
    assert choose(looks, 3)[0] == 2
    assert set(choose(looks, 3)) == {1, 2, 3}


def test_what_shows_nothing_new_is_left_out() -> None:
    """Copies of one picture are one picture."""
    assert choose([CALM, CALM, replace(CALM, yaw=2.0)], 8) == [0]
    assert choose([], 8) == []


@pytest.mark.parametrize("new", [{"mouth": 0.4}, {"eyes": 0.03}])
def test_an_open_mouth_and_closed_eyes_are_covered(new: dict[str, float]) -> None:
    """One picture that shows them is taken before a small turn, a second one of the kind is not."""
    looks = [CALM, replace(CALM, yaw=5.0), replace(CALM, **new), replace(CALM, **new)]
    assert choose(looks, 4) == [0, 2]


def test_a_sharp_picture_is_preferred() -> None:
    """Of two turned alike the sharp one is taken."""
    assert choose([CALM, replace(CALM, yaw=30.0, sharp=0.1), replace(CALM, yaw=30.0)], 2) == [0, 2]


def test_joined_pictures_are_one_source() -> None:
    """The first has the others, its key is its own only while it is alone."""
    ahead, aside = source_of("ahead", face_of()), source_of("aside", face_of(yaw=30.0), 1)
    both = joined([aside, ahead])
    assert (both.name, [one.name for one in both.further]) == ("ahead", ["aside"])
    assert both.key != ahead.key
    assert joined([ahead]) is ahead
    with pytest.raises(InputError, match="mm of shape"):
        joined([ahead, source_of("stranger", face_of(other_person()))])
    with pytest.raises(InputError, match="got no picture"):
        joined([])


class Told:
    """Gives the face that a frame's first pixel numbers, or none."""

    def __init__(self, faces: Sequence[Face | None]) -> None:
        self._faces = faces

    def detect(self, rgb: U8, *, thorough: bool = True, passes: int = 1) -> tuple[Face, ...]:
        face = self._faces[int(rgb[0, 0, 0])]
        return () if face is None else (face,)


def frames(count: int) -> list[Frame]:
    found = []
    for number in range(count):
        rgb = np.random.default_rng(number).integers(0, 255, (240, 240, 3), np.uint8)
        rgb[0, 0, 0] = number
        found.append(Frame(rgb, number, Fraction(1, 2), number / 2))
    return found


def test_a_clip_gives_its_own_persons_turns() -> None:
    """Frames without a face and a stranger's are passed over; both turns of the person are in the source."""
    faces = [None, face_of(), face_of(yaw=28.0), face_of(other_person(), yaw=-40.0), face_of(yaw=-28.0)]
    source = from_clip(frames(5), 2.5, Told(faces), None, name="clip")
    assert source.name == "clip"
    assert {one.name for one in source.further} == {"clip, frame 2", "clip, frame 4"}
    chosen = chosen_of_clip(frames(5), 2.5, Told(faces), None, name="clip")
    at = {one.name: time_s for time_s, one in chosen}
    assert at["clip, frame 2"] < at["clip, frame 4"]
    times = [frame.time_s for frame in frames(5)]
    assert sorted(at.values()) == [times[1], times[2], times[4]]
    with pytest.raises(NoFaceError, match="no face found"):
        from_clip(frames(2), 1.0, Told([None, None]), None, name="clip")


def test_several_pictures_are_for_bundles_that_take_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """One source of all of them there, an error in one line elsewhere."""
    known = {"a": source_of("a", face_of()), "b": source_of("b", face_of(yaw=30.0), 1)}
    monkeypatch.setattr(puppet, "find_sources", lambda one, opening: (known[Path(one).name],))
    pictures = [Path("a"), Path("b")]
    opening = Opening()

    class Still:
        still = True

        def __enter__(self) -> Still:
            return self

        def __exit__(self, *error: object) -> None:
            return None

    monkeypatch.setattr(puppet, "open_media", lambda path: Still())
    (one,) = find_given(pictures, opening, Mode.PUPPET, several=True)
    assert [view.name for view in one.further] == ["b"]
    assert find_given([Path("a")], opening, Mode.PUPPET, several=True)[0] is known["a"]
    with pytest.raises(ConfigError, match="got 2 of them"):
        find_given(pictures, opening, Mode.PUPPET)
