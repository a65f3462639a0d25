"""Busts of clips and stills: a window that stands still, the mesh in it, and what is passed over."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import canonical
from engine.annotate import busts
from engine.annotate.busts import BustFrame, bust_frames, head_box
from engine.errors import NoFaceError
from engine.geometry import pose_rotation
from engine.mesh.cameras import on_screen
from engine.mesh.face.topology import FACES, PARTS, SHEET, Part
from engine.mesh.raster import rasterise
from engine.types import U8, Face, FaceShape, Frame, HeadPose

SIZE, WIDTH, HEIGHT = 64, 320, 240


def face(x: float = 150.0, yaw: float = 0.0, scale: float = 5.0) -> Face:
    shape = FaceShape(
        canonical.VERTICES, pose_rotation(HeadPose(yaw, 0, 0)), scale, np.array([x, 110.0, 0.0])
    )
    points = shape.points()
    box = np.concatenate([points[:, :2].min(0), points[:, :2].max(0)]).astype(np.float32)
    return Face(box, points, 1.0, 1)


class Stage:
    """Its detector gives the face that a frame's first pixel numbers."""

    def __init__(self, faces: Sequence[Face | None]) -> None:
        self._faces = faces
        self.detector = self.segmenter = self

    def detect(self, rgb: U8, **_: Any) -> tuple[Face, ...]:
        found = self._faces[int(rgb[0, 0, 0])]
        return () if found is None else (found,)

    def mask(self, rgb: U8) -> U8:
        mask = np.zeros(rgb.shape[:2], np.uint8)
        mask[40:, 60:260] = 255
        return mask


class Clip:
    """Frames that number themselves, `rate` a second."""

    def __init__(self, count: int, rate: int = 10, still: bool = False) -> None:
        self.still, self.name, self.duration_s = still, "clip", count / rate
        self._frames = []
        for number in range(count):
            rgb = np.full((HEIGHT, WIDTH, 3), number, np.uint8)
            self._frames.append(Frame(rgb, number, Fraction(1, rate), number / rate))

    def __enter__(self) -> Clip:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def __iter__(self) -> Any:
        return iter(self._frames)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The busts of a clip whose frames show these faces."""

    def run(faces: Sequence[Face | None], still: bool = False, **options: Any) -> list[BustFrame]:
        monkeypatch.setattr(busts, "open_media", lambda path: Clip(len(faces), still=still))
        stage: Any = Stage(faces)
        return list(bust_frames(Path("clip"), SIZE, stage, **{"per_second": 10.0} | options))

    return run


def test_mesh_lies_on_the_face_in_every_frame(made: Any) -> None:
    """While the head moves the window stands, and the drawn skin moves by as much as the head did."""
    frames = made([face(150.0 + 3 * k) for k in range(5)])
    assert [int(frame.rgb[0, 0, 0]) for frame in frames] == [0, 1, 2, 3, 4]
    middles = []
    for frame in frames:
        index = rasterise(on_screen(frame.points), FACES, SIZE).index
        skin = np.isin(index, np.flatnonzero(PARTS < Part.HAIR))
        middles.append(np.flatnonzero(skin.any(0)).mean())
        x0, x1, _, _ = frame.head
        assert x0 < middles[-1] < x1
    window = SIZE / 150.0  # 30 cm of 5 pixels
    assert np.diff(middles).mean() == pytest.approx(3 * window, rel=0.15)


def test_torso_follows_the_neck_slowly(made: Any) -> None:
    """A head that jumps takes the shoulders along by the mean of half a second around it, no more."""
    frames = made([face(150.0)] * 10 + [face(160.0)] * 10)
    shoulders = np.array([frame.points[SHEET + 40, 0] for frame in frames])
    steps = np.diff(shoulders)
    heads = np.diff([frame.points[1, 0] for frame in frames])
    assert heads.max() > 4 * steps.max()
    assert shoulders[-1] - shoulders[0] == pytest.approx(heads.sum(), rel=0.05)


def test_frames_without_the_face_in_the_window_are_passed_over(made: Any) -> None:
    """Nobody, a face that left the window, and one twice as large are left out; of none nothing is made."""
    frames = made([face(), None, face(), face(300.0), face(), face(scale=9.0), face()])
    assert [int(frame.rgb[0, 0, 0]) for frame in frames] == [0, 2, 4, 6]
    with pytest.raises(NoFaceError, match="no face found"):
        made([None, None])


def test_a_clip_gives_as_many_frames_as_asked(made: Any) -> None:
    """At even distances over the whole clip, at most so many."""
    frames = made([face()] * 30, per_second=2.0)
    assert [int(frame.rgb[0, 0, 0]) for frame in frames] == [0, 5, 10, 15, 20, 25]
    assert [int(frame.rgb[0, 0, 0]) for frame in made([face()] * 30, most=3)] == [0, 10, 20]


def test_a_still_gives_itself(made: Any) -> None:
    """One frame, with its yaw."""
    (frame,) = made([face(yaw=20.0)], still=True)
    assert frame.yaw == pytest.approx(20.0, abs=0.5)
    assert frame.person.max() == 255


def test_head_box_holds_the_landmarks_and_a_margin() -> None:
    """Within the picture, max exclusive, and empty where nothing of the face lies in it."""
    points = np.array([[10.0, 20.0], [30.0, 40.0]], np.float32)
    assert head_box(points, 64).tolist() == [7, 34, 17, 44]
    assert head_box(points + 30.0, 64).tolist() == [37, 64, 47, 64]
    assert not head_box(points + 500.0, 64).any()


def test_a_face_that_is_denied_is_passed_over(made: Any) -> None:
    """A cut to somebody else: their frames are nobody's to learn from."""
    asked: list[float] = []

    def same(shape: FaceShape) -> bool:
        asked.append(shape.scale)
        return shape.scale < 5.2

    assert len(made([face(), face(scale=5.4), face()], same=same)) == 2
    assert asked == pytest.approx([5.0, 5.4, 5.0], abs=0.05)
