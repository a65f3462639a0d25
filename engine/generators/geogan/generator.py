"""GeoGAN as a generator: the driver's own face with an attribute of a donor's, or without one of its own.

The network sees two squares of S pixels and answers where each pixel of the face finds its counterpart in the donor
(flow), how much of it to take (mask m) and what that leaves to be mended (residual r). What is shown is

    frame * (1 - m) + (donor sampled through the flow + r) * m

at the resolution of the frame: the donor is sampled from its own picture and not from what the network saw, and its
light is brought to the face's (engine/generators/geogan/tone.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.bundle import Bundle, Parameters
from engine.crop import crop_of, cut, factor_of, resized
from engine.errors import ConfigError, InputError, PortError
from engine.features.doubts import doubts
from engine.generators.batch_runner import further_graphs
from engine.generators.feather import feather
from engine.generators.geogan.paint import lay, lift, warm_up
from engine.generators.geogan.runner import DonorGraph, GeoganRunner
from engine.generators.geogan.steady import SteadyMap
from engine.generators.geogan.tone import Tone
from engine.generators.ports import check_ports
from engine.generators.square import Box, PatchMemory, box_around
from engine.generators.steady_crop import SteadyCrop
from engine.plug import Ports
from engine.types import F32, U8, Crop, Drive, Frame, Mode, Patch, Signal, Source

MOST_SIDE = 1024
"""Pixels of the side of a donor's square, at most."""

_SIDE_STEP = 32  # pixels: the donor's square grows with the face by steps, and is cut anew at each
PLAIN, CHANGED = 4.0 / 127.5, 16.0 / 127.5
"""A removal that changes a pixel by less than the first leaves it as it is, and from the second on changes it fully."""

_EVEN_TONE = np.ones(3, np.float32)
_NEAR, SURE = 0.06, 0.4
"""Share of the square's side that still belongs to an attribute's place, and the mask from which on a place is sure."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedDonor:
    """A donor ready to be taken from; nothing but a mode where there is none. crop: its picture to the network.
    picture: uint8 (1, S, S, 3). features: of the donor graph, by port."""

    source: Source | None
    mode: Mode
    notes: tuple[str, ...] = ()
    crop: Crop | None = None
    picture: U8 | None = None
    features: Ports = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class _Now:
    """The drive at hand. crop: frame to network. weight: (S, S), what the mask is multiplied by: the square's edge, and
    what stands in front of the face. image: uint8 (1, S, S, 3)."""

    frame: Frame
    crop: Crop
    weight: F32
    image: U8


@dataclass(slots=True, eq=False)
class FaceState:
    """One session's face. maps: flow, mask and residual of each donor over time; tones: its light; change: of a
    removal. squares: the donors' pixels, `side` of them a side. removing: what the last frame was about."""

    prepared: PreparedDonor
    donors: tuple[PreparedDonor, ...]
    steady: SteadyCrop
    maps: tuple[SteadyMap, ...]
    tones: tuple[Tone, ...]
    packed: F32
    change: SteadyMap
    constants: Mapping[str, NDArray[Any]]
    memory: PatchMemory
    squares: tuple[U8, ...] = ()
    side: int = 0
    track_id: int | None = None
    removing: bool = False
    now: _Now | None = None

    def start_anew(self) -> None:
        """Another face, or another wish: nothing of the past colours it."""
        for steady in (*self.maps, self.change):
            steady.reset()
        for tone in self.tones:
            tone.reset()


class Geogan:
    """The generator of one bundle. removes: whether the bundle has a graph for removal."""

    needs = frozenset({Signal.SHAPE, Signal.OCCLUSION})

    def __init__(self, name: str, parameters: Parameters, donor: DonorGraph, *, removes: bool) -> None:
        self.name, self._parameters, self._donor, self._removes = name, parameters, donor, removes
        self.modes = parameters.modes & {Mode.EDIT}
        self.heeds = frozenset({"remove"} if removes else ())
        self._size = parameters.crop.size
        self._feather = feather(self._size)

    def takes_source(self, mode: Mode) -> bool:
        return mode in self.modes

    def prepare(self, source: Source | None, mode: Mode) -> PreparedDonor:
        if mode not in self.modes:
            raise ConfigError(f"{self.name}: got mode {mode.value!r}, expected 'edit'")
        if source is None:
            if not self._removes:
                raise InputError(
                    f"{self.name}: got no donor, expected a picture with one clearly visible face"
                )
            return PreparedDonor(None, mode)
        crop = crop_of(self._parameters.crop.rule, source.face.points, self._size)
        picture = cut(source.rgb, crop)[None]
        notes = doubts(source.rgb, source.face, source.name)
        return PreparedDonor(source, mode, notes, crop, picture, self._donor.features(picture))

    def begin(self, prepared: PreparedDonor, *donors: PreparedDonor) -> FaceState:
        size = self._size
        taken = tuple(one for one in (prepared, *donors) if one.source is not None)
        constants: dict[str, NDArray[Any]] = {}
        for k, one in enumerate(taken):
            if one.picture is not None:
                constants |= {f"{name}@{k}": array for name, array in one.features.items()}
                constants[f"donor@{k}"] = one.picture
        return FaceState(
            prepared,
            taken,
            SteadyCrop(self._parameters.crop.rule, size),
            tuple(SteadyMap((6, size, size)) for _ in taken),
            tuple(Tone(size) for _ in taken),
            np.empty((6, size, size), np.float32),
            SteadyMap((3, size, size)),
            constants,
            PatchMemory(),
        )

    def inputs(self, state: FaceState, drive: Drive) -> Ports:
        crop, weight, occlusion = self.follow(state, drive), self._feather, drive.features.occlusion
        if occlusion is not None:
            weight = weight * (1.0 - cut(occlusion, crop).astype(np.float32) / 255.0)
        state.now = _Now(drive.frame, crop, weight, cut(drive.frame.rgb, crop)[None])
        if state.removing:
            return self._removal(state, state.now.image)
        self.check_donors(state)
        return {"image": state.now.image, **state.constants}

    def follow(self, state: FaceState, drive: Drive) -> Crop:
        """Where this drive's face is, frame to network; what is kept of another face or wish is forgotten."""
        features, removing = drive.features, drive.controls.remove
        if features.shape is None:
            raise InputError(f"{self.name}: got a drive without a shape; ask for what the generator needs")
        if (state.track_id, state.removing) != (drive.face.track_id, removing):
            if state.track_id != drive.face.track_id:
                state.steady.reset()
            state.track_id, state.removing = drive.face.track_id, removing
            state.start_anew()
        return state.steady.follow(features.shape)

    def check_donors(self, state: FaceState) -> None:
        """Raise InputError where there is nothing to be taken from."""
        if not state.donors:
            raise InputError(f"{self.name}: got no donor, expected a picture whose attribute is to be taken")

    def check_removal(self) -> None:
        """Raise InputError where the bundle takes nothing away."""
        if not self._removes:
            raise InputError(f"{self.name}: it cannot take an attribute away; name another bundle")

    def asks(self, state: FaceState, drive: Drive) -> bool:
        """See engine.pipeline.Session: a donor is always seen, but there may be nothing to take away."""
        return bool(state.donors) and not state.removing

    def patch(self, state: FaceState, outputs: Ports) -> Patch:
        if state.now is None:
            raise PortError(f"{self.name}: got outputs before any inputs, expected them in turn")
        box = box_around(state.now.crop, state.now.frame.size)
        rgb, mask = state.memory.of(box.side)
        if state.removing:
            self._lift(state, state.now, outputs, box, rgb, mask)
        else:
            self._lay(state, state.now, outputs, box, rgb, mask)
        return Patch(rgb, mask, box.crop, state.now.frame.rgb)

    def _removal(self, state: FaceState, image: U8) -> Ports:
        self.check_removal()
        reference = state.donors[0].picture if state.donors else None
        return {"image": image, "reference": image if reference is None else reference}

    def _lay(self, state: FaceState, now: _Now, outputs: Ports, box: Box, rgb: U8, mask: U8) -> None:
        size, place = self._size, now.crop.matrix
        squares = squares_of(state, now.crop)
        for k, (given, steady, tone) in enumerate(zip(state.donors, state.maps, state.tones)):
            state.packed[:2] = _port(outputs, f"flow@{k}", (1, 2, size, size))[0]
            state.packed[2] = _port(outputs, f"mask@{k}", (1, 1, size, size))[0, 0]
            state.packed[3:] = _port(outputs, f"residual@{k}", (1, 3, size, size))[0]
            maps, factors = steady.smooth(state.packed, now.frame.time_s), _EVEN_TONE
            if given.picture is not None:
                factors = tone.match(now.image[0], given.picture[0], maps, now.frame.time_s)
            lay(maps, now.weight, squares[k], factors, place, box.left, box.top, k == 0, rgb, mask)

    def _lift(self, state: FaceState, now: _Now, outputs: Ports, box: Box, rgb: U8, mask: U8) -> None:
        after = _port(outputs, "image_out", (1, 3, self._size, self._size))[0]
        before = now.image[0].transpose(2, 0, 1).astype(np.float32) / np.float32(127.5) - np.float32(1.0)
        change = state.change.smooth(after - before, now.frame.time_s)
        moved = cv2.blur(np.abs(change).max(0), (3, 3))
        share = np.clip((moved - PLAIN) / (CHANGED - PLAIN), 0.0, 1.0).astype(np.float32)
        share *= _around(_port(outputs, "where", (1, 1, self._size, self._size))[0, 0])
        frame, place = now.frame.rgb, now.crop.matrix
        lift(change, share * now.weight, frame, place, box.left, box.top, rgb, mask)


def open_geogan(
    bundle: Bundle, backend: str, threads: int, batches: tuple[int, ...] = (1,)
) -> tuple[Geogan, GeoganRunner]:
    """The generator of a bundle and what executes it. Raises BundleError or BackendError."""
    _check(bundle)
    manifest = bundle.manifest
    removes = "removal" in manifest.graphs
    warm_up()
    donor = DonorGraph(bundle.graph("donor", backend, threads))
    transfer = further_graphs(
        bundle, "transfer", bundle.graph("transfer", backend, threads), threads, batches
    )
    removal = bundle.graph("removal", backend, threads) if removes else None
    return (
        Geogan(bundle.name, manifest.parameters, donor, removes=removes),
        GeoganRunner(donor, transfer, removal),
    )


def _check(bundle: Bundle) -> None:
    """That the graphs' ports are those that are run here."""
    size = bundle.manifest.parameters.crop.size
    square, plane = (1, size, size, 3), (1, 1, size, size)
    features = {port.name: port.shape for port in bundle.info("donor").outputs}
    maps = {"flow": (1, 2, size, size), "mask": plane, "residual": (1, 3, size, size)}
    check_ports(bundle, "donor", {"image": square}, {}, features)
    check_ports(bundle, "transfer", {"image": square, "donor": square}, features, maps)
    if "removal" in bundle.manifest.graphs:
        check_ports(bundle, "removal", {"image": square}, {"mask": plane}, {"image_out": (1, 3, size, size)})


def reach_of_place(size: int) -> tuple[int, int]:
    """In a square of `size` pixels, the odd sides of what widens an attribute's place, and of what softens it."""
    return 2 * round(_NEAR * size) + 1, 2 * round(0.5 * _NEAR * size) + 1


def _around(mask: F32) -> F32:
    """The attribute's place (S, S) and what lies next to it: a removal network masks nothing, and what it does
    elsewhere has nothing to do with the attribute."""
    near, soft = reach_of_place(len(mask))
    wide = cv2.blur(cv2.dilate(mask, np.ones((near, near), np.uint8)), (soft, soft))
    return np.asarray(np.minimum(1.0, wide / SURE), np.float32)


def squares_of(state: FaceState, crop: Crop) -> tuple[U8, ...]:
    """The donors' squares, about as large as the face: cut anew when that changes, so that none is sampled coarsely."""
    wanted = min(float(MOST_SIDE), max(float(crop.size), crop.size / factor_of(crop)))
    if not 0.8 * state.side <= wanted <= state.side:
        state.side = max(crop.size, _SIDE_STEP * math.ceil(1.1 * wanted / _SIDE_STEP))
        state.squares = tuple(
            cut(donor.source.rgb, resized(donor.crop, state.side))
            for donor in state.donors
            if donor.source is not None and donor.crop is not None
        )
    return state.squares


def _port(outputs: Ports, name: str, shape: tuple[int, ...]) -> F32:
    array = outputs.get(name)
    if array is None or array.shape != shape or array.dtype != np.float32:
        got = "none" if array is None else f"{array.shape} {array.dtype}"
        raise PortError(f"port {name!r}: expected {shape} float32, got {got}")
    return array
