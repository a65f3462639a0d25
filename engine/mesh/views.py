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
from engine.mesh.selection import visible
from engine.mesh.texture import coverage, merged
from engine.types import F32, U8

CONFIDENT: Final = 3
"""Box in pixels by which the person's mask shrinks to what is surely theirs."""
REACH: Final = 9
"""Box in pixels by which mask and mesh together grow to what is filled. Both are the published training's."""
NEIGHBOURS: Final = 3
"""Faces about one that is seen which count as seen, itself among them."""
_HALF: Final = 128


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One picture, S pixels a side. picture: float32 (3, S, S), RGB in -1..1. person: float32 (S, S), 1 = person.

    filled: float32 (3, S, S), the person continued a little beyond their border, 0 where `reach` (float32 (S, S)) is 0.
    raster: the mesh, drawn. condition: float32 (3, S, S). corners: float32 (F, 3, 2), of the faces in the picture,
    -1..1, y down. texture_corners: the same as they are read into the texture, visible_corners: those of what is seen.
    """

    picture: F32
    person: F32
    filled: F32
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
    picture = signed(rgb)
    raster = rasterise(on_screen(points), layout.faces, size)
    drawn = raster.index >= 0
    there = (person >= _HALF).astype(np.float32)
    trusted = eroded(there, CONFIDENT)
    reach = dilated(np.maximum(there, drawn), REACH)
    texture_corners = corners_of(points, layout.texture_faces)
    return View(
        picture=picture,
        person=person.astype(np.float32) / np.float32(255),
        filled=continued(picture, trusted, reach),
        reach=reach,
        raster=raster,
        condition=condition(raster, layout.condition),
        corners=corners_of(points, layout.faces),
        texture_corners=texture_corners,
        visible_corners=visible(texture_corners, raster.index, neighbours_of(layout)),
    )


def signed(rgb: U8) -> F32:
    """uint8 (S, S, 3) as float32 (3, S, S) in -1..1."""
    return np.ascontiguousarray(rgb.transpose(2, 0, 1), np.float32) / np.float32(127.5) - np.float32(1)


@lru_cache(maxsize=4)
def neighbours_of(layout: Layout) -> NDArray[np.int64]:
    """The layout's neighbours, which take a while to find, once."""
    return layout.neighbours(NEIGHBOURS)


def texture_of(views: Sequence[View], texture: Raster) -> F32:
    """float32 (3, U, U): the texture of several sources; the first one's where it sees. texture: the layout, drawn."""
    return merged(
        [view.picture for view in views],
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
