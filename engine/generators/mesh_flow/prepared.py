"""Everything about a source that stays the same from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import canonical
from engine.features import gaze
from engine.features.shape import fit_shape
from engine.generators.mesh_flow import eyeball, eyes, layers, mouth, patch_area
from engine.generators.motion import rings
from engine.plug import Ports
from engine.types import F32, U8, Crop, FaceShape, Gaze, Mode, Source

SIDES = ("right", "left")
EYE_PARTS = ("own", "white", "iris", "corner", "frame")
"""The ports of one eye are named `right_own` and so on."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedFace:
    """A source ready to move. crop: picture to patch. mask: see Patch. shape: the face in patch pixels. gaze: its own.
    lids: its lid contours, see eyes.plan. constants: the ports that stay the same for every frame."""

    source: Source
    mode: Mode
    crop: Crop
    mask: U8 | None
    shape: FaceShape
    gaze: Gaze
    outer: rings.Outer
    eyes: tuple[eyeball.Eyeball, eyeball.Eyeball]
    lids: F32
    cavity: mouth.Cavity
    constants: Ports
    notes: tuple[str, ...] = ()


def prepare(source: Source, mode: Mode, most_side: int) -> PreparedFace:
    """Take a source apart. most_side: pixels of the patch's side. Raises InputError when its face cannot be used."""
    height, width = source.rgb.shape[:2]
    crop = patch_area.choose(source.face.points, (width, height), most_side)
    points = _into(crop, source.face.points)
    picture = patch_area.cut(source.rgb, crop)
    shape = fit_shape(points)
    outer = rings.surround(points, shape, crop.size)
    balls = (eyeball.take(picture, points, 0), eyeball.take(picture, points, 1))
    white = np.mean([ball.level for ball in balls], axis=0)
    cavity = mouth.take(picture, points, shape, white)
    return PreparedFace(
        source,
        mode,
        crop,
        patch_area.edge_mask(crop, (width, height)),
        shape,
        gaze.measure(shape),
        outer,
        balls,
        eyes.lid_heights(points),
        cavity,
        _layer_ports(source, crop, picture, points)
        | _mesh_ports(points, outer)
        | _eye_ports(balls)
        | _mouth_ports(cavity),
    )


def _into(crop: Crop, points: F32) -> F32:
    """Points of the picture (478, 3) in patch pixels."""
    factor = crop.matrix[0, 0]
    return np.asarray(points * factor + np.append(crop.matrix[:, 2], 0.0), np.float32)


def _layer_ports(source: Source, crop: Crop, picture: U8, points: F32) -> dict[str, NDArray[Any]]:
    person = None if source.person is None else patch_area.cut(source.person, crop)
    moving, standing = layers.split(picture, person, points[list(canonical.FACE_OVAL), :2])
    ports = {"picture": picture, "moving": eyeball.cover_with_skin(moving, points)}
    if standing is not None:
        ports["standing"] = standing
    return ports


def _mesh_ports(points: F32, outer: rings.Outer) -> dict[str, NDArray[Any]]:
    places = np.concatenate([points[:, :2], outer.places[:, :2]])
    return {
        "places": np.ascontiguousarray(places, np.float32),
        "triangles": np.concatenate([canonical.TRIANGLES, outer.triangles]),
    }


def _eye_ports(balls: tuple[eyeball.Eyeball, eyeball.Eyeball]) -> dict[str, NDArray[Any]]:
    ports = {"lashes": np.array([ball.lash for ball in balls], np.float32)}
    for side, ball in zip(SIDES, balls):
        frame = np.array([*ball.frame, *ball.iris_place, ball.radius], np.float32)
        parts: tuple[NDArray[Any], ...] = (ball.own, ball.white, ball.iris, ball.corner, frame)
        ports |= {f"{side}_{part}": array for part, array in zip(EYE_PARTS, parts)}
    return ports


def _mouth_ports(cavity: mouth.Cavity) -> dict[str, NDArray[Any]]:
    return {
        "cavity_frame": cavity.frame,
        "cavity_lips": cavity.lips,
        "cavity_colours": cavity.colours,
        "tooth_edges": mouth.TOOTH_EDGES,
        "skin": cavity.skin,
    }
