"""Sources: which face of a picture is meant, which frame of a clip is best, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from engine import canonical
from engine.errors import NoFaceError, TooSmallError
from engine.features.au_basis import deform
from engine.geometry import eye_distance, pose_rotation
from engine.source import MIN_EYE_DISTANCE, MIN_SCORE, main_first, source_picture, sources_from_picture
from engine.types import AU_NAMES, U8, Face, Frame, HeadPose

SIZE = (300, 200)


def face_at(
    x: float,
    y: float,
    scale: float = 6.0,
    *,
    pose: tuple[float, float, float] = (0, 0, 0),
    aus: dict[str, float] | None = None,
    score: float = 1.0,
) -> Face:
    """The canonical face there, `scale` pixels to the centimetre, turned and moved as asked."""
    levels = np.array([(aus or {}).get(name, 0.0) for name in AU_NAMES], np.float32)
    turned = deform(canonical.VERTICES, levels) @ pose_rotation(HeadPose(*pose)).T
    points = (scale * turned + [x, y, 0]).astype(np.float32)
    box = np.concatenate([points[:, :2].min(0), points[:, :2].max(0)]).astype(np.float32)
    return Face(box, points, score, 0)


class Scripted:
    """A detector that knows what it is shown by its grey level; counts how it is asked."""

    def __init__(self, script: dict[int, Sequence[Face]], hidden: Sequence[int] = ()) -> None:
        self._script, self._hidden = script, hidden
        self.asked: list[bool] = []

    def detect(self, rgb: U8, *, thorough: bool = True, passes: int = 1) -> tuple[Face, ...]:
        self.asked.append(thorough)
        level = int(rgb[0, 0, 0])
        return () if level in self._hidden and not thorough else tuple(self._script.get(level, ()))


class Clip:
    """Frames of one grey level each, at `rate` frames per second."""

    still, name = False, "clip"

    def __init__(self, levels: Sequence[int], rate: int = 5) -> None:
        self._levels, self._rate = levels, rate
        self.read = 0

    def __iter__(self) -> Iterator[Frame]:
        for number, level in enumerate(self._levels):
            self.read += 1
            yield Frame(picture(level), number, Fraction(1, self._rate), 0.0)


def picture(level: int = 0) -> U8:
    return np.full((SIZE[1], SIZE[0], 3), level, np.uint8)


def chosen(clip: Clip, detector: Scripted) -> int:
    media: Any = clip
    return int(source_picture(media, detector)[0, 0, 0])


def test_the_main_face_is_large_and_in_the_middle() -> None:
    """The stated rule for several faces: side times centredness, whatever their order."""
    middle, large, corner = face_at(150, 100), face_at(160, 100, 9), face_at(30, 30)
    for order in ([middle, large, corner], [corner, large, middle]):
        assert main_first(order, picture()) == [large, middle, corner]


def test_what_is_not_surely_a_face_is_no_source() -> None:
    """Lettering that the mesh half believes in is not animated."""
    doubtful = face_at(150, 100, score=MIN_SCORE - 0.01)
    with pytest.raises(NoFaceError, match=r"logo\.png: no face found"):
        sources_from_picture(picture(), Scripted({0: [doubtful]}), None, name="logo.png")


def test_only_as_many_faces_as_asked_for() -> None:
    """One by default, the main one; up to `faces` when named, main face first."""
    found = [face_at(60, 100), face_at(150, 100, 8), face_at(250, 100)]
    one = sources_from_picture(picture(), Scripted({0: found}), None, name="p")
    assert [source.face for source in one] == [found[1]]
    two = sources_from_picture(picture(), Scripted({0: found}), None, name="p", faces=2)
    assert two[0].face is found[1]
    assert len(two) == 2


def test_faces_too_small_are_passed_over_and_a_lone_one_is_refused() -> None:
    """A face in the background is no reason to refuse the portrait; with nothing else, the size is told."""
    small = face_at(150, 100, 2.0)
    assert eye_distance(small.points[:, :2]) < MIN_EYE_DISTANCE
    large = face_at(60, 60)
    detector = Scripted({0: [small, large]})
    sources = sources_from_picture(picture(), detector, None, name="p", faces=2)
    assert [source.face for source in sources] == [large]
    with pytest.raises(TooSmallError, match=r"p: the face is 18 px .* expected at least 24"):
        sources_from_picture(picture(), Scripted({0: [small]}), None, name="p")


def test_a_key_tells_pixels_and_faces_apart() -> None:
    """What is prepared once is found again for the same source and for no other."""

    def key(level: int, face: Face) -> str:
        return sources_from_picture(picture(level), Scripted({level: [face]}), None, name="p")[0].key

    face = face_at(150, 100)
    other = replace(face, points=face.points + np.float32(0.5))
    assert key(0, face) == key(0, face)
    assert len({key(0, face), key(1, face), key(0, other)}) == 3


def test_the_mask_comes_from_the_segmenter() -> None:
    """The person mask of the whole picture goes with every face of it."""

    class Everybody:
        def mask(self, rgb: U8) -> U8:
            return np.full(rgb.shape[:2], 255, np.uint8)

    source = sources_from_picture(picture(), Scripted({0: [face_at(150, 100)]}), Everybody(), name="p")[0]
    assert source.person is not None
    assert source.person.min() == 255


@pytest.mark.parametrize(
    "worse",
    [
        face_at(150, 100, pose=(25, 0, 0)),
        face_at(150, 100, pose=(0, 20, 0)),
        face_at(150, 100, pose=(0, 0, 30)),
        face_at(150, 100, aus={"AU25": 1.0, "AU26": 1.0}),
        face_at(150, 100, aus={"AU45": 1.0}),
    ],
    ids=["yaw", "pitch", "roll", "open mouth", "closed eyes"],
)
def test_a_clips_best_frame_is_neutral_frontal_and_awake(worse: Face) -> None:
    """Whatever its place in the clip, the resting frontal face is taken."""
    good = face_at(150, 100)
    detector = Scripted({1: [worse], 2: [good], 3: []})
    assert chosen(Clip([3, 1, 2, 1]), detector) == 2
    assert chosen(Clip([2, 1, 3]), detector) == 2


def test_a_clip_is_looked_at_five_times_a_second_for_ten_seconds() -> None:
    """A film as a source costs what its first seconds cost."""
    clip = Clip([1] * 60 * 60, rate=30)
    detector = Scripted({1: [face_at(150, 100)]})
    chosen(clip, detector)
    assert clip.read <= 10 * 30 + 10
    assert len(detector.asked) <= 51


def test_a_clip_is_searched_thoroughly_once_a_second() -> None:
    """A small or turned face in a clip is found, and the long search is not made for every frame."""
    detector = Scripted({0: [], 1: [face_at(150, 100)]}, hidden=[1])
    assert chosen(Clip([0] * 5 + [1] * 10), detector) == 1
    assert sum(detector.asked) == 3


def test_a_clip_without_a_face_is_given_up_after_a_minute() -> None:
    """An hour of landscape is refused in bounded time, and the message says how far was looked."""
    clip = Clip([0] * 5 * 3600)
    with pytest.raises(NoFaceError, match="clip: no face found in its first 60 s"):
        chosen(clip, Scripted({}))
    assert clip.read <= 5 * 60 + 5


def test_somebody_who_appears_late_is_given_ten_seconds_too() -> None:
    """The seconds count from the first face on."""
    clip = Clip([0] * 5 * 30 + [1] * 5 * 8 + [2] * 5)
    detector = Scripted({1: [face_at(150, 100, pose=(20, 0, 0))], 2: [face_at(150, 100)]})
    assert chosen(clip, detector) == 2
