"""Several pictures of one person as one source: which of them are used, and whether they are one person's.

The first is the one that moves: calm, looking ahead, sharp. Further ones are taken one by one, each for what it shows
that those before it do not: another yaw or pitch, an open mouth, closed eyes. A clip offers its frames.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from engine.annotate.labels import sharpness
from engine.crop import face_crop
from engine.errors import DifferentPeopleError, InputError, NoFaceError
from engine.features import landmarks68, openness
from engine.features.likeness import MOST_APART_CM, shape_distance, strangers
from engine.features.shape import fit_shape
from engine.geometry import apply_affine, head_pose
from engine.media import resize_within
from engine.source import MAX_SIDE, Detector, Segmenter, find_faces, sources_from_picture
from engine.types import U8, Face, FaceShape, Frame, Source

MOST_SOURCES: Final = 8
ACCEPTANCE: Final = "different-people"
"""The name under which pictures whose faces differ are taken all the same."""
ENROLLED: Final = "enrolled"
"""The name under which pictures are not measured again: an enrolment found them one person's, among others
perhaps, or at another size. Nobody gives it, what reads a bundle's person does."""

LOOKED_AT: Final = 60
"""Frames of a clip among which sources are chosen."""

_YAW, _PITCH = 15.0, 15.0  # degrees that count as one new thing
_MOUTH, _EYES = 0.15, 0.12  # openness from which a mouth is open, and up to which eyes are closed
_ANGLES_MOST = 2.0
_LEAST_NEWS = 0.35
_SHARP = 0.5  # from which on a face is sharp
_SIDE = 128
_NOTHING_NEW = "it shows nothing that the others do not"
_BLURRED = "it is too blurred to add to the others"


@dataclass(frozen=True, slots=True)
class Look:
    """What a picture of a face shows: degrees, openness (engine.features.openness), sharpness 0..1."""

    yaw: float
    pitch: float
    roll: float
    mouth: float
    eyes: float
    sharp: float

    @property
    def unrest(self) -> float:
        """How far it is from a picture that one would begin with."""
        turned = abs(self.yaw) / 10 + abs(self.pitch) / 15 + abs(self.roll) / 30
        return turned + 10 * self.mouth + 10 * max(0.0, 0.25 - self.eyes) + 3 * (1.0 - self.sharp)


def look_of(rgb: U8, face: Face) -> Look:
    """What the face of a picture (H, W, 3) shows."""
    shape = fit_shape(face.points)
    pose, gaps, crop = head_pose(shape.rotation), openness.measure(shape), face_crop(shape, _SIDE)
    clear = sharpness(rgb, crop, apply_affine(crop.matrix, landmarks68.from_points(face.points)))
    eyes = min(gaps.right_eye, gaps.left_eye)
    return Look(pose.yaw, pose.pitch, pose.roll, gaps.mouth, eyes, min(1.0, clear / _SHARP))


def choose(looks: Sequence[Look], count: int) -> list[int]:
    """Numbers of at most `count` of them, the one to begin with first; fewer where the rest shows nothing new."""
    if not looks:
        return []
    chosen = [min(range(len(looks)), key=lambda k: looks[k].unrest)]
    while len(chosen) < min(count, len(looks)):
        left = [k for k in range(len(looks)) if k not in chosen]
        best = max(left, key=lambda k: _news(looks[k], [looks[c] for c in chosen]))
        if _news(looks[best], [looks[c] for c in chosen]) < _LEAST_NEWS:
            break
        chosen.append(best)
    return chosen


def left_out(looks: Sequence[Look], chosen: Sequence[int]) -> dict[int, str]:
    """Why each look that was not chosen is none of them, by its number."""
    known = [looks[k] for k in chosen]
    return {
        k: _BLURRED if _new(look, known) >= _LEAST_NEWS else _NOTHING_NEW
        for k, look in enumerate(looks)
        if k not in chosen
    }


def _news(look: Look, known: Sequence[Look]) -> float:
    """What a look shows that the known ones do not: about 1 for each new thing, less where it is blurred."""
    return _new(look, known) * (0.3 + 0.7 * look.sharp)


def _new(look: Look, known: Sequence[Look]) -> float:
    away = min(
        abs(look.yaw - other.yaw) / _YAW + 0.5 * abs(look.pitch - other.pitch) / _PITCH for other in known
    )
    found = min(_ANGLES_MOST, away)
    if look.mouth >= _MOUTH > max(other.mouth for other in known):
        found += 1.0
    if look.eyes <= _EYES < min(other.eyes for other in known):
        found += 0.6
    return found


def check_one_person(
    shapes: Sequence[FaceShape], names: Sequence[str], accept: AbstractSet[str] = frozenset()
) -> None:
    """Raise DifferentPeopleError where a face is not the person's whom most of them show, by its shape; not where
    ACCEPTANCE or ENROLLED is given."""
    if {ACCEPTANCE, ENROLLED} & accept:
        return
    if not (found := differing(shapes, names)):
        return
    (name, apart), *others = found
    further = "".join(f", that of {other} {far}" for other, far in others)
    raise DifferentPeopleError(
        f"{name}: its face {apart}{further}; expected at most {10 * MOST_APART_CM:.2f} of one person's; "
        f"take others, or accept it by name (--accept {ACCEPTANCE})"
    )


def telling_shape(large: U8, source: Source, detector: Detector) -> FaceShape:
    """The shape that tells whose face a source's is. large: the picture (H, W, 3) that it was reduced from.

    It is read at MAX_SIDE, the size for which MOST_APART_CM was measured, so that the same photos pass everywhere.
    """
    large = resize_within(large, MAX_SIDE)
    sharp = find_faces(large, detector) if large.shape[0] > source.rgb.shape[0] + 1 else []
    return fit_shape((sharp[0] if sharp else source.face).points)


def differing(shapes: Sequence[FaceShape], names: Sequence[str]) -> list[tuple[str, str]]:
    """Names of the faces that are not the person's, by their shape, and how far each is from those that are."""

    def those(person: Sequence[int]) -> str:
        if len(person) == 1:
            return f"that of {names[person[0]]} by"
        return f"those of the {len(person)} that are alike by a mean of"

    return [
        (names[k], f"differs from {those(person)} {10 * apart:.2f} mm of shape")
        for k, (person, apart) in strangers(shapes).items()
    ]


def joined(
    sources: Sequence[Source], count: int = MOST_SOURCES, accept: AbstractSet[str] = frozenset()
) -> Source:
    """One source of several pictures' main faces: at most `count` of them, chosen. accept: names of acceptances.

    Raises InputError where they are not one person's, and where there is none.
    """
    if not sources:
        raise InputError("source: got no picture, expected one or more of one person")
    check_one_person([fit_shape(one.face.points) for one in sources], [one.name for one in sources], accept)
    return as_one([sources[k] for k in choose([look_of(one.rgb, one.face) for one in sources], count)])


def as_one(taken: Sequence[Source]) -> Source:
    """One source of pictures that were chosen, the first of which moves."""
    if len(taken) == 1:
        return taken[0]
    key = hashlib.sha256("".join(one.key for one in taken).encode()).hexdigest()
    return dataclasses.replace(taken[0], key=key, further=tuple(taken[1:]))


def from_clip(
    frames: Iterable[Frame],
    duration_s: float | None,
    detector: Detector,
    segmenter: Segmenter | None,
    *,
    name: str,
    count: int = MOST_SOURCES,
) -> Source:
    """One source of the frames of an enrolment clip, as `chosen_of_clip` chooses them."""
    sources = [
        one for _, one in chosen_of_clip(frames, duration_s, detector, segmenter, name=name, count=count)
    ]
    key = hashlib.sha256("".join(one.key for one in sources).encode()).hexdigest()
    return dataclasses.replace(sources[0], name=name, key=key, further=tuple(sources[1:]))


def chosen_of_clip(
    frames: Iterable[Frame],
    duration_s: float | None,
    detector: Detector,
    segmenter: Segmenter | None,
    *,
    name: str,
    count: int = MOST_SOURCES,
) -> list[tuple[float, Source]]:
    """Frames of an enrolment clip with their times in seconds, chosen likewise, the one that moves first. Raises
    NoFaceError where nobody is seen.

    A frame whose face is another person's by its shape (a cut, a passer-by) is passed over.
    """
    found: list[tuple[U8, Face, float]] = []
    looks: list[Look] = []
    step, due = (duration_s or 10.0) / LOOKED_AT, 0.0
    for frame in frames:
        if frame.time_s < due or len(found) >= LOOKED_AT:
            continue
        due = frame.time_s + step
        rgb = resize_within(frame.rgb, MAX_SIDE)
        if faces := find_faces(rgb, detector):
            found.append((rgb.copy(), faces[0], frame.time_s))
            looks.append(look_of(rgb, faces[0]))
    if not found:
        raise NoFaceError(f"{name}: no face found; expected a clip with one clearly visible face")
    first = fit_shape(found[min(range(len(looks)), key=lambda k: looks[k].unrest)][1].points)
    same = [k for k, (_, face, _) in enumerate(found) if _one_person(first, face)]
    taken = [same[k] for k in choose([looks[k] for k in same], count)]
    chosen = []
    for k in taken:
        rgb, face, time_s = found[k]
        (source, *_) = sources_from_picture(rgb, _Found(face), segmenter, name=f"{name}, frame {k + 1}")
        chosen.append((time_s, source))
    return chosen


def _one_person(first: FaceShape, face: Face) -> bool:
    return shape_distance(first, fit_shape(face.points)) <= MOST_APART_CM


class _Found:
    """A face that was found before."""

    def __init__(self, face: Face) -> None:
        self._face = face

    def detect(self, rgb: U8, *, thorough: bool = True, passes: int = 1) -> tuple[Face, ...]:
        return (self._face,)
