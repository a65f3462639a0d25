"""The default generator: a portrait moves by a flow over its own pixels, with no training and no weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from engine import canonical
from engine.errors import ConfigError, MarotteError, PortError
from engine.features import gaze
from engine.features.shape import fit_shape
from engine.generators.mesh_flow import borrowed, eyeball, eyes, layers, mouth, patch_area, rings
from engine.generators.mesh_flow.motion import transfer
from engine.generators.mesh_flow.raster import composite, rasterise
from engine.plug import Ports
from engine.types import F32, U8, Crop, Drive, FaceShape, Gaze, Mode, Patch, Signal, Source

MOST_SIDE = 1024
"""Pixels of the patch's side; a larger face is moved at this size and brought back."""

_FEATHER = 1.6
"""Pixels over which eyes and mouth blend into the skin."""

_EYE_PARTS = ("own", "white", "iris", "corner", "frame")


@dataclass(frozen=True, slots=True, eq=False)
class PreparedFace:
    """A source ready to move. crop: picture to patch. shape: the face in patch pixels. constants: the ports that
    stay the same for every frame."""

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


@dataclass(frozen=True, slots=True, eq=False)
class FaceState:
    """Scratch memory of one session's face: what `patch` returns lives here until the next frame."""

    prepared: PreparedFace
    scratch: Ports
    reference: borrowed.Reference


class MeshFlow:
    """The generator. most_side: pixels of the patch's side."""

    name = "mesh_flow"
    needs = frozenset({Signal.SHAPE, Signal.GAZE, Signal.OPENNESS})
    modes = frozenset({Mode.PUPPET})

    def __init__(self, most_side: int = MOST_SIDE) -> None:
        self._most_side = most_side

    def prepare(self, source: Source, mode: Mode) -> PreparedFace:
        if mode not in self.modes:
            raise ConfigError(f"mesh_flow: got mode {mode.value!r}, expected 'puppet'")
        height, width = source.rgb.shape[:2]
        crop = patch_area.choose(source.face.points, (width, height), self._most_side)
        points = _into(crop, source.face.points)
        picture = patch_area.cut(source.rgb, crop)
        person = None if source.person is None else patch_area.cut(source.person, crop)
        shape = fit_shape(points)
        outer = rings.surround(points, shape, crop.size)
        moving, standing = layers.split(picture, person, points[list(canonical.FACE_OVAL), :2])
        balls = (eyeball.take(picture, points, 0), eyeball.take(picture, points, 1))
        moving = eyeball.cover_with_skin(moving, points)
        white = np.mean([ball.level for ball in balls], axis=0)
        cavity = mouth.take(picture, points, shape, white)
        places = np.concatenate([points[:, :2], outer.places[:, :2]])
        constants = {
            "moving": moving,
            "places": np.ascontiguousarray(places, np.float32),
            "triangles": np.concatenate([canonical.TRIANGLES, outer.triangles]),
            "picture": picture,
            "cavity_frame": cavity.frame,
            "cavity_lips": cavity.lips,
            "cavity_colours": cavity.colours,
            "tooth_edges": mouth.TOOTH_EDGES,
            "skin": cavity.skin,
            "lashes": np.array([ball.lash for ball in balls], np.float32),
        }
        if standing is not None:
            constants["standing"] = standing
        for side, ball in zip(("right", "left"), balls):
            constants |= {
                f"{side}_own": ball.own,
                f"{side}_white": ball.white,
                f"{side}_iris": ball.iris,
                f"{side}_corner": ball.corner,
                f"{side}_frame": np.array([*ball.frame, *ball.iris_place, ball.radius], np.float32),
            }
        none = np.zeros((2, 2, eyes.SAMPLES), np.float32)
        lids = eyes.plan(points, points[[468, 473], :2], 1.0, none, balls)[1]
        mask = patch_area.edge_mask(crop, (width, height))
        return PreparedFace(
            source, mode, crop, mask, shape, gaze.measure(shape), outer, balls, lids, cavity, constants
        )

    def begin(self, prepared: PreparedFace) -> FaceState:
        size = prepared.crop.size
        grid = max(16, (size + 1) // 2)
        layers_ = [np.empty((grid, grid), np.float32) for _ in range(3)]
        scratch = {
            "flow_x": layers_[0],
            "flow_y": layers_[1],
            "depth": layers_[2],
            "map_x": np.empty((size, size), np.float32),
            "map_y": np.empty((size, size), np.float32),
            "moved": np.empty((size, size, 4), np.uint8),
            "rgb": np.empty((size, size, 3), np.uint8),
        }
        return FaceState(prepared, {**prepared.constants, **scratch}, borrowed.new_reference())

    def inputs(self, state: FaceState, drive: Drive) -> Ports:
        prepared = state.prepared
        target = transfer(prepared.shape, prepared.gaze, drive)
        outer = rings.follow_head(prepared.outer, target.points, target.shape, prepared.shape.local)
        growth = target.shape.scale / prepared.shape.scale
        eye_rows, lids = eyes.plan(target.points, target.irises, growth, prepared.lids, prepared.eyes)
        mouth_row, lips = mouth.plan(target.points, target.shape, prepared.shape, prepared.cavity)
        moving = {
            "target": np.concatenate([target.points, outer]),
            "eyes": eye_rows,
            "lids": lids,
            "mouth": mouth_row,
            "lips": lips,
        }
        if drive.controls.driver_pixels:
            moving |= borrowed.ports(drive, state.reference)
        return {**state.scratch, **moving}

    def patch(self, state: FaceState, outputs: Ports) -> Patch:
        prepared = state.prepared
        rgb = outputs.get("rgb")
        size = prepared.crop.size
        if rgb is None or rgb.shape != (size, size, 3) or rgb.dtype != np.uint8:
            got = "none" if rgb is None else f"{rgb.shape} {rgb.dtype}"
            raise PortError(f"port 'rgb': expected ({size}, {size}, 3) uint8, got {got}")
        return Patch(rgb, prepared.mask, prepared.crop, prepared.source.rgb)


def _into(crop: Crop, points: F32) -> F32:
    """Points of the picture (478, 3) in patch pixels."""
    factor = crop.matrix[0, 0]
    return np.asarray(points * factor + np.append(crop.matrix[:, 2], 0.0), np.float32)


class MeshFlowRunner:
    """Draws frames from their ports with compiled kernels, one after the other."""

    def run(self, batch: Sequence[Ports]) -> list[Ports | Exception]:
        return [_guarded(ports) for ports in batch]

    def close(self) -> None:
        """Nothing is held."""


def _guarded(ports: Ports) -> Ports | Exception:
    try:
        return {"rgb": render(ports)}
    except (MarotteError, KeyError, cv2.error) as error:
        return error


def render(ports: Ports) -> U8:
    """One patch from its ports, uint8 (S, S, 3): flow, person over background, eyes, mouth."""
    if not np.isfinite(ports["target"]).all():
        raise PortError("port 'target': expected finite numbers, got others")
    out: U8 = ports["rgb"]
    size = out.shape[0]
    flow_x, flow_y = ports["flow_x"], ports["flow_y"]
    step = size / flow_x.shape[0]
    rasterise(ports["target"], ports["places"], ports["triangles"], step, flow_x, flow_y, ports["depth"])
    for flow, full in ((flow_x, ports["map_x"]), (flow_y, ports["map_y"])):
        cv2.resize(cv2.blur(flow, (3, 3)), (size, size), dst=full, interpolation=cv2.INTER_LINEAR)
    moved = ports["moved"]
    cv2.remap(
        ports["moving"],
        ports["map_x"],
        ports["map_y"],
        cv2.INTER_LINEAR,
        dst=moved,
        borderMode=cv2.BORDER_REPLICATE,
    )
    composite(moved, ports["standing"] if "standing" in ports else moved, out)
    for k, side in enumerate(("right", "left")):
        row, lids = ports["eyes"][k], ports["lids"][k]
        own, white, iris, corner, frame = (ports[f"{side}_{part}"] for part in _EYE_PARTS)
        eyes.draw_lashes(out, row, lids, float(ports["lashes"][k]))
        eyes.draw_eye(out, own, white, iris, corner, frame, row, lids, _FEATHER)
    mouth.draw_mouth(
        out,
        ports["picture"],
        ports["cavity_frame"],
        ports["cavity_lips"],
        ports["cavity_colours"],
        ports["tooth_edges"],
        ports["mouth"],
        ports["lips"],
        _FEATHER,
    )
    if "driver" in ports:
        borrowed.add(out, ports)
    return out
