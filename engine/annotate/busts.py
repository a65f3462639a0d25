"""One file to pictures of a person with the bust's mesh on them, in a window that stands still.

A clip gives frames at even distances. Its window is the square of rule `bust` about the median face, so that the
background stands still in it; frames whose face leaves it are passed over. A still gives itself, and the expressions
that the default generator makes of it. The proxy is fitted once, on the frame that looks most ahead; the torso follows
the neck slowly, as bodies do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine import canonical
from engine.annotate.expressions import expressions as drawn_expressions
from engine.annotate.gates import Gates, Refused
from engine.annotate.labels import STATIC, label
from engine.annotate.synthesise import Moved, synthesise
from engine.annotate.work import Stage
from engine.crop import bust_crop, cut, kept_inside, points_in
from engine.errors import NoFaceError
from engine.features.shape import fit_shape
from engine.geometry import head_pose
from engine.media import open_media, resize_within
from engine.mesh.face.bust import Torso, fit_bust, placed, skin, torso_of
from engine.source import MAX_SIDE, find_faces, sources_from_picture
from engine.types import F32, F64, U8, Crop, Face, FaceShape, Source

MARGIN: Final = 0.15
"""By how much the head's box is larger than its landmarks, to each side, of their extent."""
TORSO_S: Final = 0.5
"""Seconds to each side over which the neck's place is averaged."""
_OVAL = list(canonical.FACE_OVAL)
_LABELLED = 128
_GROWN = 1.5
"""Change of a face's size within a clip up to which it still fits the window."""


class BustFrame(NamedTuple):
    """rgb: uint8 (S, S, 3). person: uint8 (S, S), 255 = person. points: float32 (POINTS, 3), as `bust.placed` gives
    them. yaw: degrees. head: int32 (4,), min_x, max_x, min_y, max_y of the head in pixels, max exclusive."""

    rgb: U8
    person: U8
    points: F32
    yaw: float
    head: NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """A picture with its face. person: of the whole picture, None until it is asked for."""

    rgb: U8
    face: Face
    time_s: float
    person: U8 | None = None


def bust_frames(
    path: Path,
    size: int,
    stage: Stage,
    *,
    per_second: float = 6.0,
    most: int = 80,
    expressions: int = 0,
    same: Callable[[FaceShape], bool] | None = None,
    taken: Callable[[float], None] | None = None,
) -> Iterator[BustFrame]:
    """The frames of a clip, in order of time, or a still and `expressions` of it, at `size` pixels.

    stage: entered. per_second, most: frames taken from a clip. same: frames of a clip whose face it denies are passed
    over. taken: told the time in seconds of each frame that is given. Raises InputError where the file cannot be read,
    and NoFaceError where nobody is seen in it.
    """
    with open_media(path) as media:
        if media.still:
            seen = _still(resize_within(next(iter(media)).rgb, MAX_SIDE), media.name, stage, expressions)
        else:
            length = media.duration_s or 0.0
            step = max(1.0 / per_second, length / most)
            seen, due = [], 0.0
            for frame in media:
                if frame.time_s < due or len(seen) >= most:
                    continue
                due = frame.time_s + step - 1e-6
                rgb = resize_within(frame.rgb, MAX_SIDE)
                found = find_faces(rgb, stage.detector)
                if found and (same is None or same(fit_shape(found[0].points))):
                    seen.append(_Seen(rgb, found[0], frame.time_s))
        if not seen:
            raise NoFaceError(f"{media.name}: no face found; expected a clip or picture of one person")
    yield from _framed(seen, size, stage, taken)


def _still(rgb: U8, name: str, stage: Stage, count: int) -> list[_Seen]:
    source = sources_from_picture(rgb, stage.detector, stage.segmenter, name=name)[0]
    drawn = expressions_of(source, stage, count, name)
    return [_Seen(one, face, 0.0, source.person) for one, face in ((rgb, source.face), *drawn)]


def expressions_of(source: Source, stage: Stage, count: int, seed: str = "") -> list[tuple[U8, Face]]:
    """The whole picture and its face in `count` expressions that the default generator makes of a still, but for those
    that did not become what was asked for. seed: what the expressions are drawn by, by default the source's key."""
    if not count:
        return []
    found = []
    moved = Moved(source, stage.generator, stage.runner)
    base = label(source.rgb, source.face, "face", _LABELLED)
    for offsets in drawn_expressions(seed or source.key, count, base.aus):
        try:
            made = synthesise(moved, base, source.face, offsets, stage.detector, Gates(), "face", STATIC)
        except Refused:
            continue
        found.append((made.whole, made.face))
    return found


def _framed(
    seen: list[_Seen], size: int, stage: Stage, taken: Callable[[float], None] | None
) -> Iterator[BustFrame]:
    shapes = [fit_shape(one.face.points) for one in seen]
    window = _window(shapes, (seen[0].rgb.shape[1], seen[0].rgb.shape[0]), size)
    usual = float(np.median([shape.scale for shape in shapes]))
    kept = [
        k
        for k, shape in enumerate(shapes)
        if _inside(window, seen[k].face.points) and 1 / _GROWN < shape.scale / usual < _GROWN
    ]
    if not kept:
        raise NoFaceError("the face is nowhere whole in the window about its median place; cut the clip")
    points = {k: points_in(window, seen[k].face.points) for k in kept}
    fitted = {k: fit_shape(points[k]) for k in kept}
    persons = {k: cut(_person(seen[k], stage), window) for k in kept}
    ahead = min(kept, key=lambda k: _turned(fitted[k]))
    bust = fit_bust(fitted[ahead], persons[ahead])
    torsos = _torsos([fitted[k] for k in kept], [seen[k].time_s for k in kept])
    depth = float(np.median([fitted[k].translation[2] for k in kept]))
    for k, torso in zip(kept, torsos):
        mesh = placed(skin(bust, fitted[k], torso, points[k]), size, depth)
        yaw = head_pose(fitted[k].rotation).yaw
        if taken is not None:
            taken(seen[k].time_s)
        yield BustFrame(cut(seen[k].rgb, window), persons[k], mesh, yaw, head_box(points[k], size))


def _turned(shape: FaceShape) -> float:
    pose = head_pose(shape.rotation)
    return abs(pose.yaw) + abs(pose.pitch)


def _person(one: _Seen, stage: Stage) -> U8:
    return stage.segmenter.mask(one.rgb) if one.person is None else one.person


def _window(shapes: list[FaceShape], picture: tuple[int, int], size: int) -> Crop:
    """The `bust` of the median face, within the picture."""
    crops = [bust_crop(shape, size) for shape in shapes]
    median = np.median([crop.matrix for crop in crops], axis=0)
    return kept_inside(Crop(np.asarray(median, np.float64), size), picture)


def _inside(window: Crop, points: F32) -> bool:
    oval = points_in(window, points)[_OVAL, :2]
    return bool(oval.min() >= -0.5 and oval.max() <= window.size - 0.5)


def _torsos(shapes: list[FaceShape], times: list[float]) -> list[Torso]:
    """Of each frame, its neck's place and scale over TORSO_S before and after it."""
    own = [torso_of(shape) for shape in shapes]
    origins: F64 = np.stack([torso.origin for torso in own])
    scales, when = np.array([torso.scale for torso in own]), np.array(times)
    found = []
    for time_s in times:
        near = np.abs(when - time_s) <= TORSO_S
        found.append(Torso(origins[near].mean(0), float(scales[near].mean())))
    return found


def head_box(points: F32, size: int) -> NDArray[np.int32]:
    """min_x, max_x, min_y, max_y (max exclusive) of a face's points (N, 2 or 3) and MARGIN around them, within a
    picture of `size` pixels; all 0 where nothing of it lies inside."""
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    edge = MARGIN * (high - low)
    start = np.clip(np.floor(low - edge), 0, size)
    stop = np.clip(np.ceil(high + edge) + 1, 0, size)
    if (stop <= start).any():
        return np.zeros(4, np.int32)
    return np.array([start[0], stop[0], start[1], stop[1]], np.int32)
