"""The protocol: which frames of a clip count, and what is cut out of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from engine import canonical
from engine.errors import InputError, NoFaceError
from engine.media import open_media
from engine.types import F32, FACE_POINTS, U8, Face, Frame

FIRST_FRAMES = 360
"""Frames of a clip that are read."""
SCORED_FRAMES = 30
"""Frames that are scored, spread evenly over those after the source frame."""
WINDOW_FRAMES = 20
"""Consecutive frames, in the middle of the clip, on which jitter is measured."""
LEAST_FRAMES = 4
"""Frames from the first face on below which a clip is refused: jitter needs three after the source frame."""
CUT_OVALS = 2.3
"""Side of the square cut, in longer sides of the face oval's box."""
CUT_SIDE = 512
"""Pixels to which that side is brought."""


class Tracker(Protocol):
    """What the protocol needs of a face tracker."""

    def detect(self, rgb: U8, *, thorough: bool = True, passes: int = 1) -> tuple[Face, ...]:
        """In a single picture, as engine.track.face.FaceTracker does."""
        ...

    def track(self, frame: Frame) -> tuple[Face, ...]: ...

    def reset(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Cut:
    """A square about a face in whole pixels, clipped to the picture: nothing is invented beyond it."""

    left: int
    top: int
    right: int
    bottom: int
    factor: float

    @staticmethod
    def around(points: F32, shape: tuple[int, ...]) -> Cut:
        """About the face oval of `points` (478, 3); shape: of the picture, height first."""
        oval = points[list(canonical.FACE_OVAL), :2]
        low, high = oval.min(0), oval.max(0)
        half = 0.5 * CUT_OVALS * float((high - low).max())
        x, y = 0.5 * (low + high)
        height, width = shape[:2]
        left, top = max(0, round(x - half)), max(0, round(y - half))
        right, bottom = min(width, round(x + half)), min(height, round(y + half))
        return Cut(left, top, right, bottom, CUT_SIDE / (2 * half))

    def of(self, rgb: U8) -> U8:
        """The cut out of a picture, brought to scale: by area averaging when it shrinks, bilinearly when it
        grows.
        """
        piece = rgb[self.top : self.bottom, self.left : self.right]
        size = max(1, round(piece.shape[1] * self.factor)), max(1, round(piece.shape[0] * self.factor))
        how = cv2.INTER_AREA if self.factor < 1 else cv2.INTER_LINEAR
        return np.ascontiguousarray(cv2.resize(piece, size, interpolation=how), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A driver from its source frame on: cut frames, and the face of each as tracked through the video."""

    name: str
    frames: tuple[Frame, ...]
    faces: tuple[tuple[Face, ...], ...]
    scored: tuple[int, ...]
    window: tuple[int, ...]

    @property
    def video(self) -> F32:
        """The main face's points per frame, float32 (T, 478, 3), NaN where there was none."""
        return stack_points(self.faces)


def stack_points(faces: Sequence[tuple[Face, ...]]) -> F32:
    """The main face's points per frame, float32 (T, 478, 3), NaN where there was none."""
    nobody = np.full((FACE_POINTS, 3), np.nan, np.float32)
    return np.stack([found[0].points if found else nobody for found in faces])


def first_face(path: Path, detector: Tracker) -> tuple[int, Cut]:
    """The first frame with a face, and the cut about it. Raises NoFaceError, or what opening raises."""
    with open_media(path) as media:
        if media.still:
            raise InputError(f"{path.name}: a still picture; expected a clip to drive with")
    for index, frame in _frames(path, 0):
        found = detector.detect(frame.rgb)
        if found:
            return index, Cut.around(found[0].points, frame.rgb.shape)
    raise NoFaceError(f"{path.name}: no face found in the first {FIRST_FRAMES} frames")


def _frames(path: Path, first: int) -> Iterator[tuple[int, Frame]]:
    with open_media(path) as media:
        yield from islice(enumerate(media), first, FIRST_FRAMES)


def read_clip(path: Path, name: str, first: int, cut: Cut, tracker: Tracker) -> Clip:
    """Decode, cut and track a clip from frame `first` on. Raises InputError when too little of it is left."""
    tracker.reset()
    frames, faces = [], []
    for _, frame in _frames(path, first):
        frame = Frame(cut.of(frame.rgb), frame.pts, frame.time_base, frame.arrived_s)
        frames.append(frame)
        faces.append(tracker.track(frame))
    count = len(frames)
    if count < LEAST_FRAMES:
        raise InputError(f"{path.name}: {count} frames with its first face; expected at least {LEAST_FRAMES}")
    return Clip(name, tuple(frames), tuple(faces), scored_frames(count), window_frames(count))


def scored_frames(count: int) -> tuple[int, ...]:
    """Up to SCORED_FRAMES indices spread evenly over 1 .. count - 1: the source frame proves nothing."""
    spread = np.linspace(0, count - 1, SCORED_FRAMES + 1)[1:]
    return tuple(sorted({round(float(index)) for index in spread if round(float(index)) > 0}))


def window_frames(count: int) -> tuple[int, ...]:
    """Up to WINDOW_FRAMES consecutive indices about the middle of 1 .. count - 1."""
    length = min(WINDOW_FRAMES, max(0, count - 1))
    start = 1 + (count - 1 - length) // 2
    return tuple(range(start, start + length))


def spread_pairs(drivers: int, portraits: int, wanted: int) -> list[tuple[int, int]]:
    """`wanted` distinct (driver, portrait) index pairs that use every driver and every portrait about equally
    often.

    The k-th pair takes driver k in turn, and the portraits in an order that jumps by the golden ratio, so
    that a few pairs already see portraits from all over the folder.
    """
    if not drivers or not portraits:
        return []
    order = sorted(range(portraits), key=lambda index: (index * 0.6180339887498949) % 1.0)
    turn = int(np.lcm(drivers, portraits))  # after it the diagonal repeats, and the portraits move on by one
    count = min(wanted, drivers * portraits)
    return [(k % drivers, order[(k + k // turn) % portraits]) for k in range(count)]
