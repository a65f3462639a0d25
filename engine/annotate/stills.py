"""Photos of one person to pictures with the bust's mesh on them, each in the window that it has live.

Photos show the person before different grounds, and a network is trained before one: the first photo's own, continued
behind the person, which takes the others' place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from engine.annotate.busts import BustFrame, expressions_of, head_box
from engine.annotate.clips import background_of
from engine.annotate.work import Stage
from engine.crop import bust_crop, cut, kept_inside, points_in
from engine.errors import InputError
from engine.features.shape import fit_shape
from engine.geometry import head_pose
from engine.mesh.face.bust import fit_bust, placed, skin, torso_of
from engine.types import F32, U8, Crop, FaceShape, Source


class StillFrame(NamedTuple):
    """One picture. photo: number of the photo that it is, or that it was drawn from. drawn: it is an expression that
    the default generator made of the photo."""

    frame: BustFrame
    photo: int
    drawn: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Photo:
    """A photo in its window. shape: of its face there."""

    source: Source
    window: Crop
    rgb: U8
    person: U8
    points: F32
    shape: FaceShape


def still_frames(
    sources: Sequence[Source], size: int, stage: Stage | None = None, expressions: int = 0
) -> list[StillFrame]:
    """The photos in their order, each followed by its expressions. sources: with their person masks; the first one's
    background is everybody's. stage: entered; needed for expressions alone. Raises InputError for a photo without a
    person mask."""
    photos = [_photo(one, size) for one in sources]
    ahead = min(photos, key=lambda one: abs(head_pose(one.shape.rotation).yaw))
    bust = fit_bust(ahead.shape, ahead.person)
    behind = background_of(photos[0].rgb[None], photos[0].person[None])
    found = []
    for number, photo in enumerate(photos):
        depth, torso = float(photo.shape.translation[2]), torso_of(photo.shape)
        pictures = [(photo.source.rgb, photo.source.face.points)]
        if stage is not None and expressions:
            made = expressions_of(photo.source, stage, expressions)
            pictures += [(rgb, face.points) for rgb, face in made]
        for place, (rgb, whole) in enumerate(pictures):
            points = points_in(photo.window, whole)
            shape = fit_shape(points)
            mesh = placed(skin(bust, shape, torso, points), size, depth)
            seen = cut(rgb, photo.window)
            shown = seen if number == 0 else before(seen, photo.person, behind)
            yaw = head_pose(shape.rotation).yaw
            frame = BustFrame(shown, photo.person, mesh, yaw, head_box(points, size))
            found.append(StillFrame(frame, number, place > 0))
    return found


def _photo(source: Source, size: int) -> _Photo:
    if source.person is None:
        raise InputError(f"{source.name}: expected its person mask; find the source with a segmenter")
    height, width = source.rgb.shape[:2]
    window = kept_inside(bust_crop(fit_shape(source.face.points), size), (width, height))
    points = points_in(window, source.face.points)
    return _Photo(
        source, window, cut(source.rgb, window), cut(source.person, window), points, fit_shape(points)
    )


def before(rgb: U8, person: U8, behind: U8) -> U8:
    """uint8 (S, S, 3): the person of a picture (S, S, 3), by their mask (S, S), 255 = person, before another ground."""
    share = person[..., None].astype(np.float32) / np.float32(255)
    return np.rint(share * rgb + (1 - share) * behind).astype(np.uint8)
