"""From a picture or a clip to the faces that are to be moved."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np

from engine.errors import NoFaceError, TooSmallError
from engine.features import openness
from engine.features.shape import fit_shape
from engine.geometry import eye_distance, head_pose
from engine.media import MediaReader
from engine.track.identity import prominence
from engine.track.region import Region
from engine.types import U8, Face, Frame, Source

MAX_SIDE = 1280
"""Longest side of a source in pixels; a larger picture is reduced before it is animated."""

MIN_EYE_DISTANCE = 24.0
"""Pixels between the outer eye corners below which a face is too small to be moved."""

MIN_SCORE = 0.98
"""Presence below which a single picture's face is not believed: lettering and patterns reach .97, faces .99."""

_SETTLED = 4
"""Passes after which a picture is measured as a video's frames are: the driver that moves it is measured so, and the
difference between a first and a settled reading (up to .025 of the eye distance) would be taken for motion."""

_SCAN_S = 10.0
_SCAN_LIMIT_S = 60.0
_LOOK_EVERY_S = 0.2
_SEARCH_EVERY_S = 1.0


class Detector(Protocol):
    """Finds faces in one picture, without memory. thorough: also where it takes long to look."""

    def detect(self, rgb: U8, *, thorough: bool = True, passes: int = 1) -> tuple[Face, ...]: ...


class Segmenter(Protocol):
    """Tells person from background."""

    def mask(self, rgb: U8) -> U8: ...


def source_picture(media: MediaReader, detector: Detector) -> U8:
    """The picture itself, or the best frame of a clip, uint8 (H, W, 3). Raises NoFaceError for a clip without one."""
    return next(iter(media)).rgb if media.still else best_frame(media, detector, media.name)


def sources_from_picture(
    rgb: U8,
    detector: Detector,
    segmenter: Segmenter | None,
    *,
    name: str,
    faces: int = 1,
    labels: U8 | None = None,
) -> tuple[Source, ...]:
    """The faces of one decoded picture, main face first, at most `faces`. labels: its layout, as Source states it.

    Of several faces the main one is the most prominent: large and in the middle. Faces too small to be moved are
    passed over. Raises NoFaceError, or TooSmallError when all are too small.
    """
    found = find_faces(rgb, detector)
    if not found:
        raise NoFaceError(f"{name}: no face found; expected a picture with one clearly visible face")
    large = [face for face in found if eye_distance(face.points[:, :2]) >= MIN_EYE_DISTANCE]
    if not large:
        raise TooSmallError(
            f"{name}: the face is {eye_distance(found[0].points[:, :2]):.0f} px between the eye corners; "
            f"expected at least {MIN_EYE_DISTANCE:.0f}: use a larger or tighter picture"
        )
    person = None if segmenter is None else segmenter.mask(rgb)
    rgb = np.array(rgb, order="C")  # a caller may use its buffer for another picture, the driver's say
    rgb.setflags(write=False)
    return tuple(Source(rgb, face, person, _key(rgb, face, labels), name, labels) for face in large[:faces])


def find_faces(rgb: U8, detector: Detector) -> list[Face]:
    """What surely is a face in a picture, settled as in a video, the one that is most likely meant first."""
    return main_first(detector.detect(rgb, passes=_SETTLED), rgb)


def main_first(found: Sequence[Face], rgb: U8) -> list[Face]:
    """Those that surely are faces, ordered by side times centredness."""
    height, width = rgb.shape[:2]
    sure = [face for face in found if face.score >= MIN_SCORE]
    return sorted(sure, key=lambda face: -prominence(_square(face), width, height))


def _square(face: Face) -> Region:
    x0, y0, x1, y1 = map(float, face.box)
    return Region((x0 + x1) / 2, (y0 + y1) / 2, max(x1 - x0, y1 - y0), 0.0)


def best_frame(frames: Iterable[Frame], detector: Detector, name: str) -> U8:
    """The most neutral, frontal and open-eyed frame of the first seconds in which somebody is seen."""
    best: tuple[float, U8] | None = None
    end_s: float | None = None
    for frame, thorough in _sampled(frames):
        end_s = frame.time_s + _SCAN_LIMIT_S if end_s is None else end_s
        if frame.time_s > end_s:
            break
        found = main_first(detector.detect(frame.rgb, thorough=thorough), frame.rgb)
        if not found:
            continue
        end_s = frame.time_s + _SCAN_S if best is None else end_s
        unrest = _unrest(found[0])
        if best is None or unrest < best[0]:
            best = (unrest, frame.rgb)
    if best is None:
        limit = f"no face found in its first {_SCAN_LIMIT_S:.0f} s"
        raise NoFaceError(f"{name}: {limit}; expected a clip with one clearly visible face")
    return best[1]


def _sampled(frames: Iterable[Frame]) -> Iterator[tuple[Frame, bool]]:
    """Every frame that is to be looked at, and whether thoroughly."""
    look_s = search_s = -math.inf
    for frame in frames:
        if frame.time_s < look_s:
            continue
        look_s = frame.time_s + _LOOK_EVERY_S
        thorough = frame.time_s >= search_s
        search_s = frame.time_s + _SEARCH_EVERY_S if thorough else search_s
        yield frame, thorough


def _unrest(face: Face) -> float:
    """How far a face is from a good source: degrees of turn, open mouth, closed eyes, in about equal weights."""
    shape = fit_shape(face.points)
    pose, gaps = head_pose(shape.rotation), openness.measure(shape)
    closed = max(0.0, 0.25 - min(gaps.right_eye, gaps.left_eye))
    return abs(pose.yaw) / 10 + abs(pose.pitch) / 15 + abs(pose.roll) / 30 + 10 * gaps.mouth + 10 * closed


def _key(rgb: U8, face: Face, labels: U8 | None) -> str:
    digest = hashlib.sha256(repr((rgb.shape, face.points.shape)).encode())
    digest.update(rgb.tobytes())
    digest.update(face.points.tobytes())
    if labels is not None:
        digest.update(labels.tobytes())
    return digest.hexdigest()
