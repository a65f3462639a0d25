"""A prepared body in any pose: one picture by one run of the per-frame graph."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from engine import blend
from engine.body.fitter import full_pose
from engine.errors import PortError
from engine.generators.liquid_warping.pasting import Pasting
from engine.imitation.mesh import BodyMesh
from engine.imitation.person import PreparedBody
from engine.mesh.cameras import on_screen, project_with_depth
from engine.mesh.flow import flow
from engine.mesh.raster import blank, rasterise
from engine.mesh.views import target_of
from engine.plug import Ports, Runner
from engine.types import F32, U8

_WHAT: Final = "body"


class BodyPuppet:
    """One person, for one caller at a time. runner: of the bundle that the person was prepared for."""

    def __init__(self, name: str, prepared: PreparedBody, mesh: BodyMesh, runner: Runner) -> None:
        self.prepared, self.mesh, self.runner = prepared, mesh, runner
        size = prepared.crop.size
        self._raster = blank(size)
        self._target = np.empty((6, size, size), np.float32)
        self._flows = np.empty((len(prepared.corners), size, size, 2), np.float32)
        self._drawn = np.zeros((size, size), np.uint8)
        self._pasting = Pasting(
            name, _WHAT, prepared.crop, prepared.picture.rgb, prepared.background, prepared.hidden
        )

    def ports(self, rotations: F32, camera: F32) -> Ports:
        """What the graph is given. rotations: (24, 3, 3), local. camera: (3,), of the crop.

        Raises PortError for numbers that are not finite: a body is drawn where it is, or not at all.
        """
        if not (np.isfinite(rotations).all() and np.isfinite(camera).all() and camera[0] > 0):
            raise PortError("body: the pose or its camera is not finite; the frame is not shown")
        one = self.prepared
        posed = one.shaped.posed(full_pose(self.mesh.model, rotations))
        points = on_screen(project_with_depth(posed.vertices, camera))
        rasterise(points, self.mesh.layout.faces, one.crop.size, self._raster)
        for corners, memory in zip(one.corners, self._flows):
            flow(self._raster, corners, memory)
        target_of(self._raster, one.texture, self.mesh.layout, self._target)
        return {"target": self._target[None], "flow": self._flows[None], **one.constants}

    def show(self, rotations: F32, camera: F32) -> U8:
        """The person's picture (H, W, 3) with the body like this. Raises PortError or what the runner raises."""
        (answer,) = self.runner.run([self.ports(rotations, camera)])
        if isinstance(answer, Exception):
            raise answer
        return self.picture(answer)

    def picture(self, answer: Ports, room: U8 | None = None) -> U8:
        """The picture (H, W, 3) that the graph's answer to the last `ports` makes. room: memory for it, as blend.paste
        takes it. Raises PortError where it cannot be shown."""
        np.greater_equal(self._raster.index, 0, out=self._drawn.view(np.bool_))
        return blend.paste(self._pasting.patch(answer, self._drawn), room)

    @property
    def drawn(self) -> float:
        """Share of the square that the last mesh took."""
        return float((self._raster.index >= 0).mean())


def upright(rotations: F32) -> F32:
    """A pose (24, 3, 3) whose pelvis stands upright and looks to where it looked, as the published views have it: how
    far somebody leans towards a camera is a guess, and shows from the side."""
    across = rotations[0][:, 0] * np.array([1.0, 0.0, 1.0], np.float32)
    across /= max(float(np.linalg.norm(across)), 1e-6)
    down = np.array([0.0, -1.0, 0.0], np.float32)
    found = rotations.copy()
    found[0] = np.stack([across, down, np.cross(across, down)], axis=1)
    return found


def around(rotations: F32, turn: float) -> F32:
    """A pose (24, 3, 3) whose root is turned by `turn` degrees about the picture's vertical: 90 shows the left side of
    somebody who looked ahead."""
    angle = math.radians(turn)
    about = np.array(
        [[math.cos(angle), 0.0, math.sin(angle)], [0.0, 1.0, 0.0], [-math.sin(angle), 0.0, math.cos(angle)]]
    )
    found = rotations.copy()
    found[0] = about.astype(np.float32) @ rotations[0]
    return found
