"""A picture of a person with the mesh on them, taken apart into what a generator is given: of sources live, of every
frame when training data are prepared. Both go by this one function, so that a network sees live what it has learnt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError
from engine.mesh.cameras import on_screen
from engine.mesh.fill import continued
from engine.mesh.flow import condition, corners_of, flow
from engine.mesh.layout import Layout
from engine.mesh.masks import dilated, eroded
from engine.mesh.raster import Raster, rasterise
from engine.mesh.sampling import sampled
from engine.mesh.selection import only, visible
from engine.mesh.texture import coverage, merged
from engine.types import F32, U8

CONFIDENT: Final = 3
"""Box in pixels by which the person's mask shrinks to what is surely theirs."""
REACH: Final = 9
"""Box in pixels by which mask and mesh together grow to what is filled. Both are the published training's."""
NEIGHBOURS: Final = 3
"""Faces about one that is seen which count as seen, itself among them."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One picture, S pixels a side. picture: float32 (3, S, S), RGB in -1..1. person: float32 (S, S), 1 = person.

    filled: float32 (3, S, S), the person continued a little beyond their border: the picture where `trusted`, something
    near where only `reach`, 0 elsewhere (float32 (S, S), 0 or 1 both).
    raster: the mesh, drawn. condition: float32 (3, S, S). corners: float32 (F, 3, 2), of the faces in the picture,
    -1..1, y down. texture_corners: the same as they are read into the texture, visible_corners: those of what is seen.
    """

    picture: F32
    person: F32
    filled: F32
    trusted: F32
    reach: F32
    raster: Raster
    condition: F32
    corners: F32
    texture_corners: F32
    visible_corners: F32


def view_of(rgb: U8, person: U8, points: F32, layout: Layout) -> View:
    """rgb: uint8 (S, S, 3). person: uint8 (S, S), 255 = person. points: float32 (V, 3), x and y in -1..1, y down, z
    smaller is nearer. Raises InputError for arrays that do not fit each other."""
    size = rgb.shape[0]
    if (
        rgb.shape != (size, size, 3)
        or person.shape != (size, size)
        or points.ndim != 2
        or points.shape[1] != 3
    ):
        raise InputError(
            f"view: expected a square picture, its mask and points (V, 3), got {rgb.shape}, {person.shape} and "
            f"{points.shape}"
        )
    return prepared(signed(rgb), person.astype(np.float32) / np.float32(255), points, layout)


def prepared(
    picture: F32,
    person: F32,
    points: F32,
    layout: Layout,
    *,
    confident: int = CONFIDENT,
    reach: int = REACH,
    filled: F32 | None = None,
) -> View:
    """The same of numbers. picture: float32 (3, S, S) in -1..1. person: float32 (S, S), of which more than a half
    counts. confident, reach: boxes in pixels, odd. filled: float32 (3, S, S), taken as it is where it is given."""
    raster = rasterise(on_screen(points), layout.faces, len(person))
    drawn = raster.index >= 0
    there = (person > 0.5).astype(np.float32)
    trusted = eroded(there, confident)
    wanted = dilated(np.maximum(there, drawn), reach)
    texture_corners = corners_of(points, layout.texture_faces)
    return View(
        picture=picture,
        person=person,
        filled=continued(picture, trusted, wanted) if filled is None else filled,
        trusted=trusted,
        reach=wanted,
        raster=raster,
        condition=condition(raster, layout.condition),
        corners=corners_of(points, layout.faces),
        texture_corners=texture_corners,
        visible_corners=visible(texture_corners, _read(points, layout, raster).index, neighbours_of(layout)),
    )


def _read(points: F32, layout: Layout, raster: Raster) -> Raster:
    """The mesh drawn by the faces that the texture is read with, which are mostly those of the picture."""
    if layout.texture_faces is layout.faces:
        return raster
    return rasterise(on_screen(points), layout.texture_faces, raster.size)


def signed(rgb: U8) -> F32:
    """uint8 (S, S, 3) as float32 (3, S, S) in -1..1."""
    return np.ascontiguousarray(rgb.transpose(2, 0, 1), np.float32) / np.float32(127.5) - np.float32(1)


@lru_cache(maxsize=4)
def neighbours_of(layout: Layout) -> NDArray[np.int64]:
    """The layout's neighbours, which take a while to find, once."""
    return layout.neighbours(NEIGHBOURS)


def given(
    view: View, layout: Layout, faces: NDArray[np.int64] | None = None, *, only_seen: bool = False
) -> F32:
    """float32 (F, 3, 2): the corners that flows find in a source. faces: only these. only_seen: only those seen in it,
    and their neighbours."""
    corners = view.corners if faces is None else only(view.corners, faces)
    return visible(corners, view.raster.index, neighbours_of(layout)) if only_seen else corners


def texture_of(views: Sequence[View], texture: Raster, *, filled: bool = False) -> F32:
    """float32 (3, U, U): the texture of several sources; the first one's where it sees. texture: the layout, drawn.
    filled: of the filled pictures, as the published networks know it, and not of the pictures as they are."""
    return merged(
        [view.filled if filled else view.picture for view in views],
        [view.texture_corners for view in views],
        [view.visible_corners for view in views],
        texture,
    )


def own_texture(view: View, texture: Raster) -> tuple[F32, F32]:
    """What one source gives to a texture: float32 (3, U, U), and 1 where it sees the place, (U, U)."""
    own = sampled(view.picture, flow(texture, view.texture_corners))
    return own, coverage(view.picture.shape, view.visible_corners, texture)


def target_of(raster: Raster, texture: F32, layout: Layout, out: F32 | None = None) -> F32:
    """float32 (6, S, S): the generator's input of one frame, the texture (3, U, U) at the drawn mesh's places (0 beyond
    it), then the condition. out: memory for the result."""
    size = raster.size
    planes = np.empty((6, size, size), np.float32) if out is None else out
    sampled(texture, flow(raster, layout.corners), out=planes[:3])
    condition(raster, layout.condition, out=planes[3:])
    return planes


def known_background(view: View, box: int) -> F32:
    """float32 (4, S, S): the background network's input: the picture where it surely is background, then that mask."""
    known = least_known(1 - view.person, box)
    return np.concatenate([view.picture * known, known[None]])


def least_known(mask: F32, box: int) -> F32:
    """A soft mask (S, S) shrunk: the least value in a box of `box` pixels, odd; beyond the picture is 1."""
    kernel = np.ones((box, box), np.uint8)
    return np.asarray(cv2.erode(mask, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=1.0), np.float32)
