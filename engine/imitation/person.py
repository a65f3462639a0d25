"""A person's whole body taken apart for the per-frame graph: pictures with a fitted mesh on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from engine.body.fitter import BodyFit, BodyFitter
from engine.body.model import Shaped
from engine.crop import cut
from engine.errors import InputError, NoBodyError
from engine.generators.liquid_warping.given import Numbers, Person, PersonGraphs, given_by
from engine.geometry import square_crop
from engine.imitation.mesh import BodyMesh
from engine.mesh.cameras import on_screen, project_with_depth
from engine.mesh.raster import rasterise
from engine.mesh.selection import frontness, ranked
from engine.mesh.views import View, view_of
from engine.plug import Ports
from engine.source import Segmenter
from engine.types import F32, U8, Body, Crop

ROOM: Final = 1.3
"""Side of the square about a body, in longer sides of the mesh's box: an arm that is raised stays in it."""
_FRONT: Final = "front"
_RANKED_AT: Final = 128


class Bodies(Protocol):
    """Finds the body in a single picture."""

    def picture(self, rgb: U8) -> Body | None: ...


@dataclass(frozen=True, slots=True, eq=False)
class BodyPicture:
    """A picture (H, W, 3) with a body on it. person: uint8 (H, W), 255 = person, or None. fit: of the mesh."""

    rgb: U8
    person: U8 | None
    fit: BodyFit
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Wearing:
    """What another person gives. pictures: of them. faces: numbers of the mesh's faces that are theirs."""

    pictures: Sequence[BodyPicture]
    faces: Numbers


@dataclass(frozen=True, slots=True, eq=False)
class PreparedBody:
    """A body ready to move. picture: the one that is pasted on. shaped: the person at rest. camera: float32 (3,), of
    the crop. corners, texture, constants: as engine.generators.liquid_warping.given names them. background, hidden: of
    the crop, as engine.generators.liquid_warping.pasting does."""

    picture: BodyPicture
    crop: Crop
    shaped: Shaped
    camera: F32
    corners: tuple[F32, ...]
    texture: F32
    constants: Ports
    background: F32
    hidden: F32
    notes: tuple[str, ...] = ()


def read_picture(
    rgb: U8, name: str, bodies: Bodies, fitter: BodyFitter, segmenter: Segmenter | None
) -> BodyPicture:
    """The body of one decoded picture. Raises NoBodyError, or InputError where too little of it is seen."""
    body = bodies.picture(rgb)
    if body is None:
        raise NoBodyError(
            f"{name}: no body found; expected a picture of one person from the waist up or more"
        )
    try:
        fit = fitter.picture(body, (rgb.shape[1], rgb.shape[0]))
    except InputError as error:
        raise NoBodyError(f"{name}: {error}") from error
    rgb = np.array(rgb, order="C")
    rgb.setflags(write=False)
    return BodyPicture(rgb, None if segmenter is None else segmenter.mask(rgb), fit, name)


def prepare_body(
    pictures: Sequence[BodyPicture],
    mesh: BodyMesh,
    fitter: BodyFitter,
    graphs: PersonGraphs,
    worn: Sequence[Wearing] = (),
) -> PreparedBody:
    """Take a person apart: the first picture moves, further ones give what it does not show. worn: faces that are other
    persons'. Raises InputError where there are more persons than the bundle has places."""
    chosen = chosen_of(pictures, mesh, fitter, graphs.sources)
    own = np.ones(mesh.layout.count, bool)
    for other in worn:
        own[other.faces] = False
    views = _views(chosen, mesh, fitter, graphs.size)
    persons = [Person(views, np.flatnonzero(own) if worn else None, chosen[0].name)]
    for other in worn:
        theirs = chosen_of(other.pictures, mesh, fitter, graphs.sources)
        persons.append(Person(_views(theirs, mesh, fitter, graphs.size), other.faces, theirs[0].name))
    made = given_by(persons, graphs)
    first = chosen[0]
    crop, camera = placed_in(first, fitter, graphs.size)
    return PreparedBody(
        first,
        crop,
        mesh.model.shaped(first.fit.betas),
        camera,
        made.corners,
        made.texture,
        made.constants,
        graphs.behind(views[0]),
        graphs.hidden(views[0]),
        _notes(pictures, chosen, mesh),
    )


def chosen_of(
    pictures: Sequence[BodyPicture], mesh: BodyMesh, fitter: BodyFitter, count: int
) -> list[BodyPicture]:
    """The first picture, and of the others at most so many that they are `count`: by turns the one seen most from ahead
    and the one seen most from behind, as published."""
    if len(pictures) <= count or _FRONT not in mesh.layout.groups:
        return list(pictures[:count])
    order = ranked([seen_ahead(one, mesh, fitter) for one in pictures], len(pictures))
    return [pictures[0], *(pictures[k] for k in order if k != 0)][:count]


def seen_ahead(one: BodyPicture, mesh: BodyMesh, fitter: BodyFitter) -> int:
    """How many faces of the front of the mesh a picture shows: the more the more somebody faces the camera."""
    _, camera = placed_in(one, fitter, _RANKED_AT)
    points = project_with_depth(fitter.posed(one.fit).vertices, camera)
    index = rasterise(on_screen(points), mesh.layout.faces, _RANKED_AT).index
    return frontness(index, mesh.layout.groups[_FRONT]) if _FRONT in mesh.layout.groups else 0


def placed_in(one: BodyPicture, fitter: BodyFitter, size: int) -> tuple[Crop, F32]:
    """The upright square about a body, and the body's camera (s, tx, ty) in it."""
    seen = one.fit.camera.seen(fitter.posed(one.fit).vertices)
    low, high = seen.min(axis=0), seen.max(axis=0)
    side, middle = ROOM * float((high - low).max()), 0.5 * (low + high)
    left, top = middle - 0.5 * side
    return square_crop(middle, side, size), one.fit.camera.in_square(float(left), float(top), side)


def _views(pictures: Sequence[BodyPicture], mesh: BodyMesh, fitter: BodyFitter, size: int) -> list[View]:
    return [_view(one, mesh, fitter, size) for one in pictures]


def _view(one: BodyPicture, mesh: BodyMesh, fitter: BodyFitter, size: int) -> View:
    """A picture with the mesh on it; without a person mask the mesh's outline is the person's."""
    crop, camera = placed_in(one, fitter, size)
    points = project_with_depth(fitter.posed(one.fit).vertices, camera)
    if one.person is None:
        outline = rasterise(on_screen(points), mesh.layout.faces, size).index >= 0
        person = np.where(outline, 255, 0).astype(np.uint8)
    else:
        person = cut(one.person, crop)
    return view_of(cut(one.rgb, crop), person, points, mesh.layout)


def _notes(pictures: Sequence[BodyPicture], chosen: Sequence[BodyPicture], mesh: BodyMesh) -> tuple[str, ...]:
    notes = []
    if mesh.stand_in:
        notes.append(
            "the synthetic body stands in for SMPL: weights that know SMPL's texture do not know its own"
        )
    if len(pictures) > 1:
        notes.append(f"pictures that are used: {', '.join(one.name for one in chosen)}")
    if chosen[0].fit.half:
        notes.append(f"{chosen[0].name}: the hips are not seen; legs stand straight below the picture")
    return tuple(notes)
