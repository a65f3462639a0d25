"""The two body models: where is a body, and where are its points."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from engine.backends import open_graph
from engine.models import locate
from engine.track import body_detector, body_landmarks
from engine.track.body_landmarks import Landmarks
from engine.track.body_region import aligned, place
from engine.track.region import Region, cut, whole
from engine.types import U8

MARGIN = 1.25
"""How much wider the landmark model's region is than the square that the alignment points span."""

_MIN_PRESENCE = 0.5
_LANDMARKS, _PRESENCE, _HEATMAP, _WORLD = "Identity", "Identity_1", "Identity_3", "Identity_4"


class Looker(Protocol):
    """What the tracker asks of the models."""

    def find(self, rgb: U8) -> Region | None:
        """The region of one body in the picture, or None."""
        ...

    def read(self, rgb: U8, region: Region) -> Landmarks | None:
        """The landmarks of the body in a region, or None where there is no body."""
        ...

    def close(self) -> None: ...


class BodyModel:
    """MediaPipe's pose detector and its full landmark model. Not for several threads at once.

    backend: "auto" or the name of a backend. cache: folder of the models, None for the default one.
    Raises ModelError when a model is not there and BackendError when the runtime is not.
    """

    def __init__(self, backend: str = "auto", cache: Path | None = None, threads: int = 1) -> None:
        needed = (_LANDMARKS, _PRESENCE, _HEATMAP, _WORLD)
        self._detector = open_graph(locate("pose_detection", cache), backend, threads)
        self._landmarks = open_graph(locate("pose_landmark_full", cache), backend, threads, needed)
        self._square = np.zeros((1, body_detector.SIZE, body_detector.SIZE, 3), np.float32)
        self._body = np.zeros((1, body_landmarks.SIZE, body_landmarks.SIZE, 3), np.float32)

    def find(self, rgb: U8) -> Region | None:
        """The region of the body that is seen best in the picture, uint8 (H, W, 3), or None."""
        square = whole(rgb.shape[1], rgb.shape[0])
        cut(rgb, square, self._square[0], -1.0, 1.0, black_outside=True)
        answer = self._detector.run({"input_1": self._square})
        points = body_detector.strongest(answer["Identity"], answer["Identity_1"])
        if points is None:
            return None
        hips, rim = place(points[:2], square)
        return usable(aligned(hips, rim, MARGIN))

    def read(self, rgb: U8, region: Region) -> Landmarks | None:
        """The landmarks of the body in a region of the picture, or None where there is no body."""
        cut(rgb, region, self._body[0], 0.0, 1.0, black_outside=False)
        answer = self._landmarks.run({"input_1": self._body})
        if not float(answer[_PRESENCE].reshape(-1)[0]) > _MIN_PRESENCE:
            return None
        found = body_landmarks.read(answer[_LANDMARKS], answer[_HEATMAP], answer[_WORLD], region)
        return found if found.finite() else None

    def close(self) -> None:
        """Let go of both models."""
        self._detector.close()
        self._landmarks.close()


def next_region(found: Landmarks) -> Region | None:
    """Where to look in the next frame, from the (filtered) alignment points; None when they span no area."""
    return usable(aligned(found.alignment[0], found.alignment[1], MARGIN))


def usable(region: Region) -> Region | None:
    """The region itself, or None when it has no area or is not finite."""
    return region if region.valid() else None
