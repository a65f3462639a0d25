"""From a picture or a clip to the faces that are to be moved."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from engine.errors import NoFaceError, TooSmallError
from engine.features import openness
from engine.features.shape import fit_shape
from engine.geometry import eye_distance, head_pose
from engine.media import open_media
from engine.types import U8, Face, Frame, Source

MAX_SIDE = 1280
"""Longest side of a source in pixels; a larger picture is reduced before it is animated."""

MIN_EYE_DISTANCE = 24.0
"""Pixels between the outer eye corners below which a face is too small to be moved."""

_SETTLED = 4
"""Passes after which a picture is measured as a video's frames are: the driver that moves it is measured so, and the
difference between a first and a settled reading (up to .025 of the eye distance) would be taken for motion."""

_SCAN_S = 10.0
_SCAN_STEP_S = 0.2


class Detector(Protocol):
    """Finds faces in one picture, without memory."""

    def detect(self, rgb: U8, *, passes: int = 1) -> tuple[Face, ...]: ...


class Segmenter(Protocol):
    """Tells person from background."""

    def mask(self, rgb: U8) -> U8: ...


def load_sources(
    path: Path | str,
    detector: Detector,
    segmenter: Segmenter | None,
    *,
    faces: int = 1,
    max_side: int = MAX_SIDE,
) -> tuple[Source, ...]:
    """The faces of a picture, or of the best frame of a clip, main face first, at most `faces`.

    Raises DecodeError, TooLargeError, TooSmallError or NoFaceError.
    """
    name = Path(path).name
    with open_media(path) as media:
        if media.still:
            rgb = next(iter(media)).rgb
        else:
            rgb = _best_frame(media, detector, name)
    return sources_from_picture(reduce_to(rgb, max_side), detector, segmenter, name=name, faces=faces)


def sources_from_picture(
    rgb: U8, detector: Detector, segmenter: Segmenter | None, *, name: str, faces: int = 1
) -> tuple[Source, ...]:
    """The faces of one decoded picture, main face first, at most `faces`. Raises NoFaceError or TooSmallError."""
    found = detector.detect(rgb, passes=_SETTLED)[:faces]
    if not found:
        raise NoFaceError(f"{name}: no face found; expected a picture with one clearly visible face")
    smallest = min(eye_distance(face.points[:, :2]) for face in found)
    if smallest < MIN_EYE_DISTANCE:
        raise TooSmallError(
            f"{name}: the face is {smallest:.0f} px between the eye corners; "
            f"expected at least {MIN_EYE_DISTANCE:.0f}: use a larger or tighter picture"
        )
    person = None if segmenter is None else segmenter.mask(rgb)
    return tuple(Source(rgb, face, person, _key(rgb, face), name) for face in found)


def reduce_to(rgb: U8, max_side: int) -> U8:
    """The picture itself, or a smaller one whose longest side is `max_side` pixels (area averaging)."""
    height, width = rgb.shape[:2]
    factor = max_side / max(height, width)
    if factor >= 1.0:
        return rgb
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def _best_frame(frames: Iterable[Frame], detector: Detector, name: str) -> U8:
    """The most neutral, frontal and open-eyed frame of the first seconds."""
    best: tuple[float, U8] | None = None
    start_s: float | None = None
    next_s = -np.inf
    for frame in frames:
        start_s = frame.time_s if start_s is None else start_s
        if frame.time_s < next_s:
            continue
        if best is not None and frame.time_s - start_s > _SCAN_S:
            break
        next_s = frame.time_s + _SCAN_STEP_S
        found = detector.detect(frame.rgb)
        if found and (best is None or _unrest(found[0]) < best[0]):
            best = (_unrest(found[0]), frame.rgb)
    if best is None:
        raise NoFaceError(
            f"{name}: no face found in any frame; expected a clip with one clearly visible face"
        )
    return best[1]


def _unrest(face: Face) -> float:
    """How far a face is from a good source: degrees of turn, open mouth, closed eyes, in about equal weights."""
    shape = fit_shape(face.points)
    pose, gaps = head_pose(shape.rotation), openness.measure(shape)
    closed = max(0.0, 0.25 - min(gaps.right_eye, gaps.left_eye))
    return abs(pose.yaw) / 10 + abs(pose.pitch) / 15 + abs(pose.roll) / 30 + 10 * gaps.mouth + 10 * closed


def _key(rgb: U8, face: Face) -> str:
    digest = hashlib.sha256(repr(rgb.shape).encode())
    digest.update(np.ascontiguousarray(rgb))
    digest.update(np.ascontiguousarray(face.points))
    return digest.hexdigest()
