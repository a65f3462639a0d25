"""MediaPipe itself as the tracker, for comparison: the Tasks API of the extra ``mediapipe`` and a user's
file.

MediaPipe is imported when such a tracker is made, and never otherwise.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import BackendError, ConfigError, InputError, ModelError
from engine.types import F32, FACE_POINTS, U8, Face, Frame

_SAME_FACE = 0.3


class TaskTracker:
    """Does what FaceTracker does, through MediaPipe's face landmarker. Not for several threads at once.

    task: a face_landmarker.task file, which the user brings. max_faces: how many faces are followed. Faces
    keep their id while their boxes overlap from frame to frame; the one followed longest comes first. The
    Tasks API states no score for a face, so it is always 1. Raises BackendError when MediaPipe is not
    installed, ModelError when it refuses the file; both name the fix.
    """

    backend = "mediapipe"

    def __init__(self, task: Path, *, max_faces: int = 1) -> None:
        if max_faces < 1:
            raise ConfigError(f"max_faces: expected 1 or more, got {max_faces}")
        if not task.is_file():
            raise ModelError(f"{task} is not there; name MediaPipe's face_landmarker.task file")
        self._mediapipe, self._vision, self._base = _import_mediapipe()
        self._task, self._max_faces = task, max_faces
        self._next_id = 0
        self._last: tuple[Face, ...] = ()
        self._stamp_ms = -1
        self._still: Any = None
        self._video: Any = self._open("VIDEO")

    @property
    def main_id(self) -> int | None:
        """The main face's id; None when nobody is there."""
        return self._last[0].track_id if self._last else None

    def track(self, frame: Frame) -> tuple[Face, ...]:
        """The faces of the next frame of a video, the one followed longest first; empty when nobody is there.

        Raises InputError when frame.rgb is no uint8 (H, W, 3) picture, BackendError when MediaPipe fails.
        """
        if self._video is None:
            self._video = self._open("VIDEO")
        # MediaPipe wants whole milliseconds that only grow; equal times would be refused.
        self._stamp_ms = max(round(frame.time_s * 1000), self._stamp_ms + 1)
        image = self._image(frame.rgb)
        result = _guarded(lambda: self._video.detect_for_video(image, self._stamp_ms))
        self._last = self._named(_all_points(result, frame.size))
        return self._last

    def detect(self, rgb: U8, *, thorough: bool = False, passes: int = 1) -> tuple[Face, ...]:
        """The faces of one picture, with track ids 0, 1, ... Touches no state.

        rgb: uint8 (H, W, 3). thorough, passes: as in FaceTracker, taken so that either can stand in for the
        other; MediaPipe looks at the whole picture once whatever they are. Raises as track does.
        """
        if self._still is None:
            self._still = self._open("IMAGE")
        image = self._image(rgb)
        result = _guarded(lambda: self._still.detect(image))
        height, width = rgb.shape[:2]
        return tuple(
            _face(points, index) for index, points in enumerate(_all_points(result, (width, height)))
        )

    def reset(self) -> None:
        """Forgets every face, as for another video. Track ids go on counting."""
        self._close_video()
        self._last, self._stamp_ms = (), -1

    def close(self) -> None:
        """Frees MediaPipe's models. Closing twice is harmless; tracking again opens them again."""
        self._close_video()
        if self._still is not None:
            self._still.close()
        self._still = None

    def _close_video(self) -> None:
        if self._video is not None:
            self._video.close()
        self._video = None

    def _open(self, mode: str) -> Any:
        options = self._vision.FaceLandmarkerOptions(
            base_options=self._base.BaseOptions(model_asset_path=str(self._task)),
            running_mode=self._vision.RunningMode[mode],
            num_faces=self._max_faces,
        )
        try:
            return self._vision.FaceLandmarker.create_from_options(options)
        except (RuntimeError, ValueError, OSError) as error:
            raise ModelError(
                f"MediaPipe refused {self._task}: {_line(error)}; fetch the file again"
            ) from error

    def _image(self, rgb: U8) -> Any:
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
            raise InputError(f"picture: expected uint8 (height, width, 3), got {rgb.dtype} {rgb.shape}")
        kind = self._mediapipe.ImageFormat.SRGB
        return self._mediapipe.Image(image_format=kind, data=np.ascontiguousarray(rgb))

    def _named(self, found: Sequence[F32]) -> tuple[Face, ...]:
        """Gives each face the id of the one it overlaps most, best pairs first, and the others new ids."""
        fresh = [_face(points, -1) for points in found]
        pairs = sorted(
            (
                (_overlap(old.box, new.box), old.track_id, place)
                for old in self._last
                for place, new in enumerate(fresh)
            ),
            reverse=True,
        )
        ids: dict[int, int] = {}
        for share, track_id, place in pairs:
            if share >= _SAME_FACE and place not in ids and track_id not in ids.values():
                ids[place] = track_id
        for place in range(len(fresh)):
            if place not in ids:
                ids[place] = self._next_id
                self._next_id += 1
        faces = (_face(found[place], track_id) for place, track_id in ids.items())
        return tuple(sorted(faces, key=lambda face: face.track_id))


def _import_mediapipe() -> tuple[Any, Any, Any]:
    names = ("mediapipe", "mediapipe.tasks.python.vision", "mediapipe.tasks.python.core.base_options")
    try:
        first, vision, base = (importlib.import_module(name) for name in names)
    except ImportError as error:
        way = "run: python -m pip install 'marotte[mediapipe]', or track without it"
        raise BackendError(f"tracker mediapipe cannot be loaded ({error}); {way}") from error
    return first, vision, base


def _guarded(step: Any) -> Any:
    try:
        return step()
    except (RuntimeError, ValueError) as error:
        raise BackendError(f"MediaPipe failed on a frame: {_line(error)}") from error


def _line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _all_points(result: Any, size: tuple[int, int]) -> list[F32]:
    """MediaPipe's normalised landmarks as pixels, float32 (478, 3) per face; z has the scale of x."""
    scale = np.array([size[0], size[1], size[0]], np.float32)
    return [_points(face) * scale for face in result.face_landmarks]


def _points(landmarks: Sequence[Any]) -> F32:
    points = np.array([(point.x, point.y, point.z) for point in landmarks], np.float32)
    if len(points) != FACE_POINTS:
        raise ModelError(
            f"the task file gives {len(points)} points, expected {FACE_POINTS}; name a newer one"
        )
    return points


def _face(points: F32, track_id: int) -> Face:
    box = np.concatenate([points[:, :2].min(0), points[:, :2].max(0)]).astype(np.float32)
    return Face(box, points, 1.0, track_id)


def _overlap(one: F32, other: F32) -> float:
    """Intersection over union of two boxes x0 y0 x1 y1."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    both = float(np.prod(np.maximum(sides, 0)))
    areas = float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]))
    return both / max(areas - both, 1e-6)
