"""MediaPipe as the tracker: a stand-in for its Tasks API, and the real one where a user's file is named."""

from __future__ import annotations

import importlib.util
import os
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest

from engine.errors import BackendError, ConfigError, InputError, ModelError
from engine.track import mediapipe_tasks
from engine.track.face import FaceTracker
from engine.track.mediapipe_tasks import TaskTracker
from engine.types import Frame

WIDTH, HEIGHT = 200, 100


def face_at(x: float, y: float, side: float = 0.2, count: int = 478) -> list[Any]:
    """Normalised landmarks spread over a box."""
    steps = np.linspace(-side / 2, side / 2, count)
    return [SimpleNamespace(x=x + step, y=y + step, z=step) for step in steps]


class Landmarker:
    """Answers what a test has put in line, and notes what it was asked."""

    answers: ClassVar[list[Any]] = []
    opened: ClassVar[list[Any]] = []

    def __init__(self, options: Any) -> None:
        self.options, self.stamps, self.closed = options, [], 0
        Landmarker.opened.append(self)

    @classmethod
    def create_from_options(cls, options: Any) -> Landmarker:
        if "bad" in options.base_options.model_asset_path:
            raise RuntimeError("traced\nUnable to open zip archive.")
        return cls(options)

    def detect_for_video(self, image: Any, stamp_ms: int) -> Any:
        if self.stamps and stamp_ms <= self.stamps[-1]:
            raise ValueError("timestamps must grow")
        self.stamps.append(stamp_ms)
        return self.detect(image)

    def detect(self, _image: Any) -> Any:
        answer = Landmarker.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(face_landmarks=answer)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A task file's name, with MediaPipe replaced."""
    first = SimpleNamespace(Image=SimpleNamespace, ImageFormat=SimpleNamespace(SRGB="rgb"))
    vision = SimpleNamespace(
        FaceLandmarkerOptions=SimpleNamespace,
        FaceLandmarker=Landmarker,
        RunningMode={"VIDEO": "video", "IMAGE": "image"},
    )
    base = SimpleNamespace(BaseOptions=SimpleNamespace)
    monkeypatch.setattr(mediapipe_tasks, "_import_mediapipe", lambda: (first, vision, base))
    path = tmp_path / "face_landmarker.task"
    path.write_bytes(b"PK")
    Landmarker.answers, Landmarker.opened = [], []
    return path


def frame(time_ms: int = 0) -> Frame:
    """A black frame."""
    return Frame(np.zeros((HEIGHT, WIDTH, 3), np.uint8), time_ms, Fraction(1, 1000), 0.0)


def test_points_are_pixels_and_the_box_holds_them(task: Path) -> None:
    """Normalised x and z are scaled by the width, y by the height."""
    Landmarker.answers = [[face_at(0.5, 0.5)]]
    (face,) = TaskTracker(task).track(frame())
    assert face.points.shape == (478, 3)
    np.testing.assert_allclose(face.points[0], [80, 40, -20], atol=1e-4)
    np.testing.assert_allclose(face.box, [80, 40, 120, 60], atol=1e-4)
    assert face.score == 1.0


def test_ids_follow_the_face_and_not_the_order(task: Path) -> None:
    """Two faces that come back in the other order keep their ids; a lost one's id is never used again."""
    left, right = face_at(0.2, 0.5), face_at(0.8, 0.5)
    Landmarker.answers = [[left, right], [face_at(0.81, 0.5), face_at(0.21, 0.5)], [right], [right, left]]
    tracker = TaskTracker(task, max_faces=2)
    seen = [
        {face.track_id: round(float(face.box[0])) for face in tracker.track(frame(time))} for time in range(4)
    ]
    assert seen == [{0: 20, 1: 140}, {0: 22, 1: 142}, {1: 140}, {1: 140, 2: 20}]
    assert tracker.main_id == 1


def test_times_that_stand_still_are_moved_on(task: Path) -> None:
    """MediaPipe refuses equal times, and two frames within one millisecond are no fault of the user's."""
    Landmarker.answers = [[], [], [], []]
    tracker = TaskTracker(task)
    for time in (5, 5, 3, 40):
        assert tracker.track(frame(time)) == ()
    assert Landmarker.opened[0].stamps == [5, 6, 7, 40]
    assert tracker.main_id is None


def test_a_reset_starts_over_with_new_ids(task: Path) -> None:
    """Another video may begin at time zero again; ids go on counting."""
    Landmarker.answers = [[face_at(0.5, 0.5)], [face_at(0.5, 0.5)]]
    tracker = TaskTracker(task)
    tracker.track(frame(1000))
    tracker.reset()
    assert tracker.track(frame(0))[0].track_id == 1
    tracker.close()
    tracker.close()
    assert [one.closed for one in Landmarker.opened] == [1, 1]


def test_single_pictures_touch_no_state(task: Path) -> None:
    """Detect has its own landmarker in image mode, and ids from zero."""
    Landmarker.answers = [[face_at(0.5, 0.5)], [face_at(0.2, 0.5), face_at(0.8, 0.5)]]
    tracker = TaskTracker(task)
    tracker.track(frame())
    assert [face.track_id for face in tracker.detect(frame().rgb)] == [0, 1]
    assert [one.options.running_mode for one in Landmarker.opened] == ["video", "image"]
    assert tracker.main_id == 0


def test_faults_name_the_fix(task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An absent file, a refused one, a failed frame, a wrong picture and an old model each give one line."""
    with pytest.raises(ModelError, match="not there"):
        TaskTracker(tmp_path / "none.task")
    bad = tmp_path / "bad.task"
    bad.write_bytes(b"")
    with pytest.raises(ModelError, match="Unable to open zip archive"):
        TaskTracker(bad)
    with pytest.raises(ConfigError, match="max_faces"):
        TaskTracker(task, max_faces=0)
    tracker = TaskTracker(task)
    Landmarker.answers = [RuntimeError("out of order"), [face_at(0.5, 0.5, count=468)]]
    with pytest.raises(BackendError, match="out of order"):
        tracker.track(frame())
    with pytest.raises(ModelError, match="468"):
        tracker.track(frame())
    with pytest.raises(InputError, match="uint8"):
        tracker.detect(np.zeros((4, 4), np.uint8))
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(BackendError, match=r"marotte\[mediapipe\]"):
        TaskTracker(task)


@pytest.mark.usefixtures("models")
def test_mediapipe_itself_agrees_with_the_tracker(faces_root: Path) -> None:
    """The real Tasks API, with the file named in MAROTTE_TASK, sees the same face where ours sees it."""
    named = os.environ.get("MAROTTE_TASK")
    if named is None:
        pytest.skip("no face_landmarker.task: name one in MAROTTE_TASK")
    if importlib.util.find_spec("mediapipe") is None:
        pytest.skip("the extra mediapipe is not installed")
    picture = cv2.imread(str(sorted((faces_root / "portraits").glob("*.jpg"))[0]))
    rgb = np.ascontiguousarray(picture[:, :, ::-1])
    theirs = TaskTracker(Path(named))
    (found,) = theirs.detect(rgb)
    followed = [theirs.track(Frame(rgb, time, Fraction(1, 30), 0.0)) for time in range(4)]
    theirs.close()
    (ours,) = FaceTracker().detect(rgb, passes=3)
    eyes = float(np.linalg.norm(ours.points[33, :2] - ours.points[263, :2]))
    for face in (found, followed[-1][0]):
        apart = np.linalg.norm(face.points[:468, :2] - ours.points[:468, :2], axis=1)
        assert float(np.median(apart)) < 0.05 * eyes
    assert {face.track_id for faces in followed for face in faces} == {0}
