"""Liquid Warping GAN as a generator: a person of one to eight pictures, moved by the mesh of head and bust.

Per frame the driver's motion is carried over to the person's face in the canonical frame, the mesh is drawn at its new
place, and from what is drawn come the flow to every picture, the texture and the condition. The network answers with a
colour and a mask, 1 = background (the paper's polarity):

    shown = mask * background + (1 - mask) * colour

The background is the picture itself where that shows it, and the background network's elsewhere. Pasted is only what
is the person, or was: everything else stays the picture's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from engine import canonical
from engine.bundle import Parameters
from engine.errors import ConfigError, InputError, PortError
from engine.generators.liquid_warping.given import PersonGraphs
from engine.generators.liquid_warping.pasting import Pasting
from engine.generators.liquid_warping.prepared import PreparedPerson, Worn, prepare
from engine.generators.motion.transfer import Target, transfer
from engine.mesh.cameras import on_screen
from engine.mesh.face.bust import placed, skin
from engine.mesh.face.topology import CAP, FACES, layout
from engine.mesh.flow import flow
from engine.mesh.raster import Raster, blank, rasterise
from engine.mesh.views import target_of
from engine.plug import Ports
from engine.types import F32, U8, Drive, FaceShape, Mode, Patch, Signal, Source

_IRISES = [canonical.RIGHT_IRIS[0], canonical.LEFT_IRIS[0]]
_FACE_FACES = int(np.flatnonzero((FACES < CAP).all(1)).max()) + 1


@dataclass(slots=True, eq=False)
class FaceState:
    """One session's face, and the memory that it draws in."""

    prepared: PreparedPerson
    raster: Raster
    target: F32
    flows: F32
    face: U8
    pasting: Pasting
    ready: bool = field(default=False)


class LiquidWarping:
    """The generator of one bundle. sources: how many pictures of a person it can use. worn: what its persons have of
    others."""

    needs = frozenset({Signal.SHAPE, Signal.GAZE, Signal.OPENNESS})
    heeds = frozenset(
        {
            "pose",
            "mouth",
            "eyes",
            "brows",
            "gaze",
            "absolute_mouth",
            "absolute_eyes",
            "absolute_gaze",
            "au_offsets",
        }
    )

    def __init__(
        self, name: str, parameters: Parameters, graphs: PersonGraphs, worn: Sequence[Worn] = ()
    ) -> None:
        self.name, self.modes, self._graphs = name, parameters.modes & {Mode.PUPPET}, graphs
        self._parameters, self._worn = parameters, tuple(worn)
        self._size, self.sources = graphs.size, graphs.sources

    def wearing(self, worn: Sequence[Worn]) -> LiquidWarping:
        """The same generator, whose persons have those parts of others."""
        return LiquidWarping(self.name, self._parameters, self._graphs, worn)

    def takes_source(self, mode: Mode) -> bool:
        return mode in self.modes

    def prepare(self, source: Source | None, mode: Mode) -> PreparedPerson:
        if mode not in self.modes:
            raise ConfigError(f"{self.name}: got mode {mode.value!r}, expected 'puppet'")
        if source is None:
            raise InputError(
                f"{self.name}: got no source, expected one picture or more with a clearly visible face"
            )
        return prepare(source, mode, self._graphs, self._worn)

    def begin(self, prepared: PreparedPerson, *donors: PreparedPerson) -> FaceState:
        size = self._size
        return FaceState(
            prepared,
            blank(size),
            np.empty((6, size, size), np.float32),
            np.empty((len(prepared.corners), size, size, 2), np.float32),
            np.zeros((size, size), np.uint8),
            Pasting(
                self.name, "face", prepared.crop, prepared.source.rgb, prepared.background, prepared.hidden
            ),
        )

    def inputs(self, state: FaceState, drive: Drive) -> Ports:
        one = state.prepared
        moved = transfer(one.shape, one.gaze, drive, one.limit)
        return self.posed(state, moved.shape, looking(moved))

    def posed(self, state: FaceState, shape: FaceShape, points: F32 | None = None) -> Ports:
        """The ports of a frame that shows the person's face like this. shape: in pixels of the crop. points: (478, 3),
        the face where it is not just `shape.points()`."""
        one = state.prepared
        state.ready = False
        mesh = placed(skin(one.bust, shape, one.torso, points), self._size, one.depth)
        rasterise(on_screen(mesh), FACES, self._size, state.raster)
        for corners, memory in zip(one.corners, state.flows):
            flow(state.raster, corners, memory)
        target_of(state.raster, one.led.texture(shape), layout(), state.target)
        index = state.raster.index
        np.copyto(state.face, (index >= 0) & (index < _FACE_FACES), casting="unsafe")
        state.ready = True
        return {"target": state.target[None], "flow": state.flows[None], **one.constants}

    def patch(self, state: FaceState, outputs: Ports) -> Patch:
        if not state.ready:
            raise PortError(f"{self.name}: got outputs before any inputs, expected them in turn")
        return state.pasting.patch(outputs, state.face)


def looking(moved: Target) -> F32:
    """A target's points with the irises where they are to look, (478, 3)."""
    points = moved.points.copy()
    points[_IRISES, :2] = moved.irises
    return points
