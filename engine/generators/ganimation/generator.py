"""GANimation as a generator: a portrait, or the driver's own face, with other action units.

The network sees a square of S pixels and AUs, those that are wanted or how they are to change (the bundle's fact
`units`), and paints a colour C and an attention A; what is shown is A * picture + (1 - A) * C at the picture's full
resolution, so that skin keeps its detail wherever the network leaves it alone. Only action units are transferred: head
pose, gaze and identity stay the picture's.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from engine.annotate.labels import EXTRACTOR
from engine.bundle import Bundle, Parameters
from engine.crop import crop_of, cut
from engine.errors import ConfigError, InputError, ManifestError, PortError
from engine.features import still
from engine.features.doubts import doubts
from engine.features.shape import fit_shape
from engine.generators.batch_runner import BatchRunner, open_runner
from engine.generators.feather import feather
from engine.generators.ganimation.paint import PLANES, paint, plan, warm_up
from engine.generators.ganimation.units import (
    driver_aus,
    edit_change,
    learnt_aus,
    own_aus,
    puppet_change,
    shape_of,
    unseen,
)
from engine.generators.graph_runner import GraphRunner
from engine.generators.ports import check_ports
from engine.generators.square import PatchMemory, box_around
from engine.generators.steady_crop import SteadyCrop
from engine.plug import Ports
from engine.types import AU_NAMES, F32, U8, Controls, Crop, Drive, Mode, Patch, Signal, Source

GRAPH = "generator"
ASKED = 0.5
"""The change of an AU from which on any network's answer is seen (docs/decisions/0007)."""

_log = logging.getLogger("marotte.ganimation")


@dataclass(frozen=True, slots=True, eq=False)
class PreparedFace:
    """A portrait ready to move, or an edit, which has nothing but its mode. crop: source to network. picture: uint8
    (1, S, S, 3). aus: float32 (17,), the portrait's own."""

    source: Source | None
    mode: Mode
    notes: tuple[str, ...] = ()
    crop: Crop | None = None
    picture: U8 | None = None
    aus: F32 | None = None


class _Now(NamedTuple):
    """What is painted on. canvas: the portrait, or the driver's frame. crop: canvas to network. picture: uint8
    (1, S, S, 3), what the network sees. hidden: uint8 (S, S), what stands in front of the face, None where nothing."""

    canvas: U8
    crop: Crop
    picture: U8
    hidden: U8 | None


@dataclass(slots=True, eq=False)
class FaceState:
    """One session's face. seen: the driver's AUs as they were last seen, NaN before. now: the drive at hand. change:
    the largest that it asks for of any AU, after what the bundle knows."""

    prepared: PreparedFace
    steady: SteadyCrop
    aus: F32
    maps: F32
    memory: PatchMemory
    seen: F32
    track_id: int | None = None
    now: _Now | None = None
    change: float = 0.0


class Ganimation:
    """The generator of one bundle. Raises ManifestError when the bundle's parameters do not fit its graph."""

    needs = frozenset({Signal.SHAPE, Signal.AUS, Signal.OCCLUSION})
    heeds = frozenset({"mouth", "eyes", "brows", "au_offsets"})

    def __init__(self, name: str, parameters: Parameters) -> None:
        self.name, self._parameters = name, parameters
        self.modes = parameters.modes
        self._size = parameters.crop.size
        self._feather = feather(self._size)
        self._uncovered = np.zeros((self._size, self._size), np.uint8)
        if unknown := [au for au in parameters.aus if au not in AU_NAMES]:
            raise ManifestError(f"bundle {name}: no such action unit as {unknown[0]}; export it again")
        self._columns = np.array([AU_NAMES.index(au) for au in parameters.aus], np.intp)
        learnt = learnt_aus(parameters)
        self._learnt, self._told = np.array([au in learnt for au in AU_NAMES]), False
        self._relative = _relative(name, parameters)
        self._low, self._high = parameters.au_range or (-1.0 if self._relative else 0.0, 1.0)
        if self._relative and not self._low <= 0.0 <= self._high:
            raise ManifestError(
                f"bundle {name}: au_range is {self._low:g} .. {self._high:g}, expected 0 in it, which in "
                "relative units is no change; export it again"
            )
        extractor = parameters.extractor
        self._notes: tuple[str, ...] = ()
        if extractor is None or extractor.name != EXTRACTOR:
            other = "another measure" if extractor is None else extractor.name
            self._notes = (
                f"{name}: it learnt action units by {other}, not by Marotte's: a face may change a little at rest",
            )

    def takes_source(self, mode: Mode) -> bool:
        return mode is Mode.PUPPET and mode in self.modes

    def prepare(self, source: Source | None, mode: Mode) -> PreparedFace:
        if mode not in self.modes:
            offered = ", ".join(sorted(mode.value for mode in self.modes))
            raise ConfigError(f"{self.name}: got mode {mode.value!r}, expected one of {offered}")
        if mode is Mode.EDIT:
            if source is not None:
                raise InputError(f"{self.name}: got {source.name}, expected no source: it edits the driver")
            return PreparedFace(None, mode, self._notes)
        if source is None:
            raise InputError(f"{self.name}: got no source, expected a portrait with one clearly visible face")
        crop = crop_of(self._parameters.crop.rule, source.face.points, self._size)
        aus = still.static_aus(fit_shape(source.face.points))
        picture = cut(source.rgb, crop)[None]
        notes = (*self._notes, *doubts(source.rgb, source.face, source.name))
        return PreparedFace(source, mode, notes, crop, picture, aus)

    def begin(self, prepared: PreparedFace, *donors: PreparedFace) -> FaceState:
        size = self._size
        return FaceState(
            prepared,
            SteadyCrop(self._parameters.crop.rule, size),
            np.zeros((1, len(self._columns)), np.float32),
            np.empty((size, size, PLANES), np.float32),
            PatchMemory(),
            np.full(len(AU_NAMES), np.nan, np.float32),
        )

    def inputs(self, state: FaceState, drive: Drive) -> Ports:
        crop, one = self.follow(state, drive), state.prepared
        if one.source is not None and one.picture is not None:
            state.now = _Now(one.source.rgb, crop, one.picture, None)
        else:
            rgb, occlusion = drive.frame.rgb, drive.features.occlusion
            hidden = None if occlusion is None else cut(occlusion, crop)
            state.now = _Now(rgb, crop, cut(rgb, crop)[None], hidden)
        return {"image": state.now.picture, "aus": self.wanted(state, drive)}

    def follow(self, state: FaceState, drive: Drive) -> Crop:
        """Where this drive's face is, or that of the portrait: canvas to network."""
        if state.track_id != drive.face.track_id:
            state.track_id = drive.face.track_id
            state.steady.reset()
            state.seen[:] = np.nan
        crop = state.prepared.crop
        return state.steady.follow(shape_of(drive)) if crop is None else crop

    def wanted(self, state: FaceState, drive: Drive) -> F32:
        """The port `aus`, float32 (1, n), in memory of the state; those that the training never showed are 0, as they
        were in it. Raises InputError where they are not finite."""
        if state.prepared.aus is not None:
            own, change = state.prepared.aus, puppet_change(_as_last_seen(state, drive), drive.controls)
        else:
            own = own_aus(drive, self._parameters.extractor)
            change = edit_change(own, drive.controls)
        wanted = change if self._relative else own + change
        if not np.isfinite(wanted).all():
            raise InputError(
                f"{self.name}: the driver's action units are not finite; expected a tracked face"
            )
        self._tell(drive.controls)
        state.aus[0] = np.where(self._learnt, wanted, 0.0)[self._columns]
        np.clip(state.aus, self._low, self._high, out=state.aus)
        before = 0.0 if self._relative else np.where(self._learnt, own, 0.0)[self._columns]
        state.change = float(np.abs(state.aus[0] - before).max(initial=0.0))
        return state.aus

    def asks(self, state: FaceState, drive: Drive) -> bool:
        """See engine.pipeline.Session: whether the last `inputs` asked for a change that has to be seen."""
        return state.change >= ASKED

    def _tell(self, controls: Controls) -> None:
        """Once, where somebody asks for what the training never showed: an expression, say."""
        if self._told or not controls.au_offsets:
            return
        asked = (au for au, offset in controls.au_offsets.items() if offset)
        if strange := [au for au in asked if not self._learnt[AU_NAMES.index(au)]]:
            self._told = True
            _log.warning("%s: its training never showed %s: left out", self.name, " and ".join(strange))

    def patch(self, state: FaceState, outputs: Ports) -> Patch:
        size = self._size
        colour = _port(outputs, "colour", (1, 3, size, size))
        attention = _port(outputs, "attention", (1, 1, size, size))
        now = state.now
        if now is None:
            raise PortError(f"{self.name}: got outputs before any inputs, expected them in turn")
        covered = now.hidden is not None
        hidden = self._uncovered if now.hidden is None else now.hidden
        plan(colour[0], attention[0, 0], now.picture[0], self._feather, hidden, covered, state.maps)
        height, width = now.canvas.shape[:2]
        box = box_around(now.crop, (width, height))
        rgb, mask = state.memory.of(box.side)
        paint(state.maps, now.canvas, now.crop.matrix, box.left, box.top, rgb, mask)
        return Patch(rgb, mask, box.crop, now.canvas)


def _as_last_seen(state: FaceState, drive: Drive) -> F32:
    """The driver's AUs, those that something hides as they were last seen."""
    now, hidden = driver_aus(drive), unseen(drive)
    if hidden is not None:
        now = np.where(hidden & np.isfinite(state.seen), state.seen, now)
    state.seen[:] = now
    return now


def _relative(name: str, parameters: Parameters) -> bool:
    units = parameters.facts.get("units", "absolute")
    if units not in ("absolute", "relative"):
        raise ManifestError(
            f"bundle {name}: units are {units!r}, expected absolute or relative; export it again"
        )
    return bool(units == "relative")


def open_ganimation(
    bundle: Bundle, backend: str, threads: int, batches: tuple[int, ...] = (1,)
) -> tuple[Ganimation, GraphRunner | BatchRunner]:
    """The generator of a bundle and what executes it. Raises BundleError or BackendError."""
    _check(bundle)
    generator = Ganimation(bundle.name, bundle.manifest.parameters)
    warm_up()
    still.warm_up()
    return generator, open_runner(bundle, GRAPH, backend, threads, ("colour", "attention"), batches)


def _check(bundle: Bundle) -> None:
    """That the graph's ports are those that are run here."""
    size, count = bundle.manifest.parameters.crop.size, len(bundle.manifest.parameters.aus)
    planes = {"colour": (1, 3, size, size), "attention": (1, 1, size, size)}
    check_ports(bundle, GRAPH, {"image": (1, size, size, 3)}, {"aus": (1, count)}, planes)


def _port(outputs: Ports, name: str, shape: tuple[int, ...]) -> F32:
    array = outputs.get(name)
    if array is None or array.shape != shape or array.dtype != np.float32:
        got = "none" if array is None else f"{array.shape} {array.dtype}"
        raise PortError(f"port {name!r}: expected {shape} float32, got {got}")
    return array
