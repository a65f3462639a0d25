"""Liquid Warping GAN as a generator: a person of one to eight pictures, moved by the mesh of head and bust.

Per frame the driver's motion is carried over to the person's face in the canonical frame, the mesh is drawn at its new
place, and from what is drawn come the flow to every picture, the texture and the condition. The network answers with a
colour and a mask, 1 = background (the paper's polarity):

    shown = mask * background + (1 - mask) * colour

The background is the picture itself where that shows it, and the background network's elsewhere. Pasted is only what
is the person, or was: everything else stays the picture's own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from engine import canonical
from engine.bundle import Parameters
from engine.errors import ConfigError, InputError, PortError
from engine.generators.feather import feather
from engine.generators.liquid_warping.prepared import PersonGraphs, PreparedPerson, prepare
from engine.generators.motion.transfer import Target, transfer
from engine.mesh.cameras import on_screen
from engine.mesh.face.bust import placed, skin
from engine.mesh.face.topology import CAP, FACES, layout
from engine.mesh.flow import flow
from engine.mesh.raster import Raster, blank, rasterise
from engine.mesh.views import target_of
from engine.plug import Ports
from engine.types import F32, U8, Crop, Drive, Mode, Patch, Signal, Source

LEAST_SHOWN = 0.25
"""Share of the drawn face that has to be person for a frame to be shown: a mask that is background there has failed."""

_IRISES = [canonical.RIGHT_IRIS[0], canonical.LEFT_IRIS[0]]
_FACE_FACES = int(np.flatnonzero((FACES < CAP).all(1)).max()) + 1
_SOFT = 2  # pixels by which what is pasted reaches beyond the person


@dataclass(slots=True, eq=False)
class FaceState:
    """One session's face, and the memory that it draws in: what `patch` returns lives there until the next frame."""

    prepared: PreparedPerson
    raster: Raster
    target: F32
    flows: F32
    face: U8
    rgb: U8
    mask: U8
    rim: F32
    ready: bool = field(default=False)


class LiquidWarping:
    """The generator of one bundle. sources: how many pictures of a person it can use."""

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

    def __init__(self, name: str, parameters: Parameters, graphs: PersonGraphs) -> None:
        self.name, self.modes, self._graphs = name, parameters.modes & {Mode.PUPPET}, graphs
        self._size, self.sources = graphs.size, graphs.sources

    def takes_source(self, mode: Mode) -> bool:
        return mode in self.modes

    def prepare(self, source: Source | None, mode: Mode) -> PreparedPerson:
        if mode not in self.modes:
            raise ConfigError(f"{self.name}: got mode {mode.value!r}, expected 'puppet'")
        if source is None:
            raise InputError(
                f"{self.name}: got no source, expected one picture or more with a clearly visible face"
            )
        return prepare(source, mode, self._graphs)

    def begin(self, prepared: PreparedPerson, *donors: PreparedPerson) -> FaceState:
        size = self._size
        height, width = prepared.source.rgb.shape[:2]
        return FaceState(
            prepared,
            blank(size),
            np.empty((6, size, size), np.float32),
            np.empty((len(prepared.corners), size, size, 2), np.float32),
            np.zeros((size, size), np.uint8),
            np.empty((size, size, 3), np.uint8),
            np.empty((size, size), np.uint8),
            rim_of(prepared.crop, (width, height)),
        )

    def inputs(self, state: FaceState, drive: Drive) -> Ports:
        one = state.prepared
        state.ready = False
        moved = transfer(one.shape, one.gaze, drive, one.limit)
        mesh = placed(skin(one.bust, moved.shape, one.torso, looking(moved)), self._size, one.depth)
        rasterise(on_screen(mesh), FACES, self._size, state.raster)
        for corners, memory in zip(one.corners, state.flows):
            flow(state.raster, corners, memory)
        target_of(state.raster, one.texture, layout(), state.target)
        index = state.raster.index
        np.copyto(state.face, (index >= 0) & (index < _FACE_FACES), casting="unsafe")
        state.ready = True
        return {"target": state.target[None], "flow": state.flows[None], **one.constants}

    def patch(self, state: FaceState, outputs: Ports) -> Patch:
        one, size = state.prepared, self._size
        if not state.ready:
            raise PortError(f"{self.name}: got outputs before any inputs, expected them in turn")
        colour = _port(outputs, "colour", (1, 3, size, size))[0]
        behind = np.clip(_port(outputs, "mask", (1, 1, size, size))[0, 0], 0.0, 1.0)
        person = 1.0 - behind
        self._check_shown(person, state.face)
        shown = 127.5 * (colour.transpose(1, 2, 0) + 1.0) * person[..., None]
        shown += one.background * behind[..., None]
        np.copyto(state.rgb, np.rint(np.clip(shown, 0.0, 255.0)), casting="unsafe")
        wide = cv2.blur(cv2.dilate(np.maximum(person, one.hidden), _BOX), (2 * _SOFT + 1, 2 * _SOFT + 1))
        np.copyto(state.mask, np.rint(255.0 * wide * state.rim), casting="unsafe")
        return Patch(state.rgb, state.mask, one.crop, one.source.rgb)

    def _check_shown(self, person: F32, face: U8) -> None:
        drawn = int(face.sum())
        if drawn == 0:
            raise PortError(f"{self.name}: the head is turned or moved out of its picture")
        share = float((person * face).sum()) / drawn
        if not share >= LEAST_SHOWN:
            raise PortError(
                f"{self.name}: the mask shows {share:.0%} of the face, expected {LEAST_SHOWN:.0%} or more; train longer"
            )


_BOX = np.ones((2 * _SOFT + 1, 2 * _SOFT + 1), np.uint8)


def looking(moved: Target) -> F32:
    """A target's points with the irises where they are to look, (478, 3)."""
    points = moved.points.copy()
    points[_IRISES, :2] = moved.irises
    return points


def rim_of(crop: Crop, picture: tuple[int, int]) -> F32:
    """Weights (S, S) of the pasted square: it fades out at its edges, but not where the picture ends there too."""
    size = crop.size
    fading, factor = feather(size), float(crop.matrix[0, 0])
    along = np.array([fading[size // 2], fading[:, size // 2]])  # across x, across y
    half = size // 2
    for axis, length in enumerate(picture):
        start, end = crop.matrix[axis, 2] - 0.5 * factor, crop.matrix[axis, 2] + factor * (length - 0.5)
        if start >= -1.0:
            along[axis, :half] = 1.0
        if end <= size:
            along[axis, half:] = 1.0
    return np.asarray(np.minimum(along[1][:, None], along[0][None, :]), np.float32)


def _port(outputs: Ports, name: str, shape: tuple[int, ...]) -> F32:
    array = outputs.get(name)
    if array is None or array.shape != shape or array.dtype != np.float32:
        got = "none" if array is None else f"{array.shape} {array.dtype}"
        raise PortError(f"port {name!r}: expected {shape} float32, got {got}")
    return array
