"""The default generator: a portrait moves by a flow over its own pixels, with no training and no weights."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import ConfigError, InputError, PortError
from engine.generators.mesh_flow import borrowed, eyes, mouth
from engine.generators.mesh_flow.prepared import PreparedFace, prepare
from engine.generators.motion import rings
from engine.generators.motion.transfer import transfer
from engine.plug import Ports
from engine.types import Controls, Drive, Mode, Patch, Signal, Source

MOST_SIDE = 1024
"""Pixels of the patch's side; a larger face is moved at this size and brought back."""


@dataclass(frozen=True, slots=True, eq=False)
class FaceState:
    """One session's face. scratch: the memory it draws in; what `patch` returns lives there until the next frame.
    reference: the driver's frame nearest to rest, for driver pixels."""

    prepared: PreparedFace
    scratch: dict[str, NDArray[Any]]
    reference: borrowed.Reference


class MeshFlow:
    """The generator. most_side: pixels of the patch's side."""

    name = "mesh_flow"
    needs = frozenset({Signal.SHAPE, Signal.GAZE, Signal.OPENNESS})
    modes = frozenset({Mode.PUPPET})
    heeds = frozenset(field.name for field in fields(Controls)) - {
        "remove",
        "directions",
        "output_size",
        "motion",
        "layout",
        "donor_layout",
        "donor_style",
        "project",
        "painted",
    }

    def __init__(self, most_side: int = MOST_SIDE) -> None:
        self._most_side = most_side

    def takes_source(self, mode: Mode) -> bool:
        return mode in self.modes

    def prepare(self, source: Source | None, mode: Mode) -> PreparedFace:
        if mode not in self.modes:
            raise ConfigError(f"mesh_flow: got mode {mode.value!r}, expected 'puppet'")
        if source is None:
            raise InputError("mesh_flow: got no source, expected a portrait with one clearly visible face")
        return prepare(source, mode, self._most_side)

    def begin(self, prepared: PreparedFace, *donors: PreparedFace) -> FaceState:
        size = prepared.crop.size
        grid = max(16, (size + 1) // 2)
        scratch: dict[str, NDArray[Any]] = {
            name: np.empty((grid, grid), np.float32) for name in ("flow_x", "flow_y", "depth")
        }
        scratch |= {name: np.empty((size, size), np.float32) for name in ("map_x", "map_y")}
        scratch["moved"] = np.empty((size, size, 4), np.uint8)
        scratch["rgb"] = np.empty((size, size, 3), np.uint8)
        return FaceState(prepared, scratch, borrowed.new_reference())

    def inputs(self, state: FaceState, drive: Drive) -> Ports:
        prepared = state.prepared
        target = transfer(prepared.shape, prepared.gaze, drive)
        outer = rings.follow_head(prepared.outer, target.points, target.shape, prepared.shape.local)
        growth = target.shape.scale / prepared.shape.scale
        eye_rows, lids = eyes.plan(target.points, target.irises, growth, prepared.lids, prepared.eyes)
        mouth_row, lips = mouth.plan(target.points, target.shape, prepared.shape, prepared.cavity)
        ports: dict[str, NDArray[Any]] = {
            **prepared.constants,
            **state.scratch,
            "target": np.concatenate([target.points, outer]),
            "eyes": eye_rows,
            "lids": lids,
            "mouth": mouth_row,
            "lips": lips,
        }
        if drive.controls.driver_pixels:
            ports |= borrowed.ports(drive, state.reference)
        return ports

    def patch(self, state: FaceState, outputs: Ports) -> Patch:
        prepared = state.prepared
        rgb, size = outputs.get("rgb"), prepared.crop.size
        if rgb is None or rgb.shape != (size, size, 3) or rgb.dtype != np.uint8:
            got = "none" if rgb is None else f"{rgb.shape} {rgb.dtype}"
            raise PortError(f"port 'rgb': expected ({size}, {size}, 3) uint8, got {got}")
        return Patch(rgb, prepared.mask, prepared.crop, prepared.source.rgb)
