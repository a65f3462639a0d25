"""A person taken apart for the per-frame graph: what their pictures give to every frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from engine import canonical
from engine.crop import bust_crop, cut, kept_inside, points_in
from engine.features import gaze
from engine.features.doubts import doubts
from engine.features.shape import fit_shape
from engine.generators.liquid_warping.given import Numbers, Person, PersonGraphs, given_by
from engine.generators.liquid_warping.leading import Leading, eyes_of, in_order
from engine.generators.liquid_warping.reach import reach_of, span_of
from engine.generators.motion.transfer import Limit
from engine.geometry import head_pose
from engine.mesh.cameras import on_screen
from engine.mesh.face.bust import Bust, Torso, fit_bust, placed, skin, torso_of
from engine.mesh.face.topology import FACES, layout
from engine.mesh.raster import Raster, rasterise
from engine.mesh.views import View, view_of
from engine.plug import Ports
from engine.several import choose, look_of
from engine.types import F32, U8, Crop, FaceShape, Gaze, Mode, Source


@dataclass(frozen=True, slots=True, eq=False)
class PreparedPerson:
    """A puppet ready to move, in pixels of its crop. crop: picture to crop. shape, gaze: of the first picture's face.
    bust, torso, depth: its proxy, as engine.mesh.face.bust names them. limit: how far it turns. corners: per source,
    float32 (F, 3, 2). texture: float32 (3, U, U), led by the first picture; led: by each, by what it shows. constants:
    the ports that stay the same. background: float32 (S, S, 3), 0..255. hidden: float32 (S, S), 1 where the picture
    shows the person and not what is behind them. span: degrees of yaw between which the pictures look."""

    source: Source
    mode: Mode
    crop: Crop
    shape: FaceShape
    gaze: Gaze
    bust: Bust
    torso: Torso
    depth: float
    limit: Limit
    corners: tuple[F32, ...]
    texture: F32
    led: Leading
    constants: Ports
    background: F32
    hidden: F32
    span: tuple[float, float]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Cut:
    """A source in its own crop."""

    source: Source
    crop: Crop
    rgb: U8
    points: F32
    shape: FaceShape
    person: U8 | None


@dataclass(frozen=True, slots=True, eq=False)
class Worn:
    """What another person gives. source: their pictures. faces: numbers of the mesh's faces that are theirs."""

    source: Source
    faces: Numbers


def prepare(source: Source, mode: Mode, graphs: PersonGraphs, worn: Sequence[Worn] = ()) -> PreparedPerson:
    """Take a person apart: the first picture is moved, further ones give what it does not show. worn: faces that are
    other persons'. Raises InputError when a face cannot be used."""
    cuts = [_cut(one, graphs.size) for one in _taken(source, graphs.sources)]
    bust = _bust(cuts)
    views = [_view(one, bust, graphs.size) for one in cuts]
    own = np.ones(graphs.layout.count, bool)
    for other in worn:
        own[other.faces] = False
    person = Person(views, np.flatnonzero(own) if worn else None, source.name)
    made = given_by([person, *(_other(one, graphs) for one in worn)], graphs, further=True)
    first = cuts[0]
    return PreparedPerson(
        source,
        mode,
        first.crop,
        first.shape,
        gaze.measure(first.shape),
        bust,
        torso_of(first.shape),
        float(first.shape.translation[2]),
        reach_of([one.shape.rotation for one in cuts]),
        made.corners,
        made.texture,
        led_by([one.shape for one in cuts], [made.texture, *made.further], graphs.texture),
        made.constants,
        graphs.behind(views[0]),
        graphs.hidden(views[0]),
        span_of([one.shape.rotation for one in cuts]),
        _notes(cuts, source),
    )


def led_by(shapes: Sequence[FaceShape], textures: Sequence[F32], drawn: Raster) -> Leading:
    """Textures, each led by the picture whose face is shapes[k], by what those show. drawn: the mesh in its layout."""
    shown = np.isin(drawn.index, np.flatnonzero(np.isin(FACES, _LIDS).any(1))).astype(np.float32)
    side = 2 * (drawn.size // _SOFTENED) + 1
    grown = cv2.dilate(shown, np.ones((side, side), np.uint8))
    return Leading(
        in_order([head_pose(shape.rotation).yaw for shape in shapes], textures),
        in_order([eyes_of(shape) for shape in shapes], textures),
        np.asarray(cv2.blur(grown, (side, side)), np.float32),
    )


_LIDS = (*canonical.RIGHT_EYE, *canonical.LEFT_EYE)
_SOFTENED = 32  # of the texture's side: over which the eyes' edge fades


def _bust(cuts: Sequence[_Cut]) -> Bust:
    """The proxy by the picture that looks ahead most."""
    ahead = min(cuts, key=lambda one: abs(head_pose(one.shape.rotation).yaw))
    return fit_bust(ahead.shape, ahead.person)


def _other(worn: Worn, graphs: PersonGraphs) -> Person:
    cuts = [_cut(one, graphs.size) for one in _taken(worn.source, graphs.sources)]
    bust = _bust(cuts)
    return Person([_view(one, bust, graphs.size) for one in cuts], worn.faces, worn.source.name)


def _taken(source: Source, count: int) -> list[Source]:
    """The picture that moves, and of the further ones those that show most beside it."""
    given = [source, *source.further]
    if len(given) <= count:
        return given
    chosen = choose([look_of(one.rgb, one.face) for one in given], count)
    return [source, *(given[k] for k in chosen if k != 0)][:count]


def _cut(source: Source, size: int) -> _Cut:
    height, width = source.rgb.shape[:2]
    crop = kept_inside(bust_crop(fit_shape(source.face.points), size), (width, height))
    points = points_in(crop, source.face.points)
    person = None if source.person is None else cut(source.person, crop)
    return _Cut(source, crop, cut(source.rgb, crop), points, fit_shape(points), person)


def _view(one: _Cut, bust: Bust, size: int) -> View:
    """A source with the mesh on it; without a person mask the mesh's outline is the person's."""
    depth = float(one.shape.translation[2])
    mesh = placed(skin(bust, one.shape, torso_of(one.shape), one.points), size, depth)
    person = one.person
    if person is None:
        outline = rasterise(on_screen(mesh), FACES, size).index >= 0
        person = np.where(outline, 255, 0).astype(np.uint8)
    return view_of(one.rgb, person, mesh, layout())


def _notes(cuts: Sequence[_Cut], source: Source) -> tuple[str, ...]:
    found = [note for one in cuts for note in doubts(one.source.rgb, one.source.face, one.source.name)]
    if source.further:
        found.insert(0, f"pictures that are used: {', '.join(one.source.name for one in cuts)}")
    return tuple(found)
