"""STIT as a generator: the driver's own face with an edit of the person it was tuned to, or that person in a portrait.

Per frame the face is aligned by FFHQ's rule on 68 landmarks, causally smoothed, inverted to codes; these are moved and
synthesised, and the picture goes back into its place by the mask of the foreground, softened at its edge. Where an edit
is at 0 it is the reconstruction that is shown, as in the paper: what is pasted is always the generator's.

A puppet is an extension of ours, the paper has no driver: the enrolled person's mean codes, and to them what the
driver's codes differ from those of the driver at rest, shown in the place of a portrait's face.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.align.live import FaceAligner
from engine.bundle import Bundle, Parameters
from engine.crop import cut, factor_of, points_in, resized
from engine.errors import BackendError, ConfigError, InputError, PortError, UneditedError
from engine.features import landmarks68
from engine.features.doubts import doubts
from engine.generators.batch_runner import open_runner
from engine.generators.stit.neutral import NeutralCodes
from engine.generators.stit.person import Person, person_of, synthesis_of
from engine.generators.stit.runner import ParsingGraph, StitRunner, brought_to, pixels
from engine.generators.stit.stitch import SIDE, Seam, drawn_foreground, foreground_in, foreground_of
from engine.plug import Ports
from engine.types import F32, U8, Crop, Drive, FaceShape, Mode, Neutral, Patch, Signal, Source
from engine.unedited import misses_face

ASKED: Final = 0.5
"""The share of an edit's reach from which on any honest direction is seen (docs/decisions/0007)."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedPerson:
    """A portrait in which the enrolled person moves, or an edit, which has nothing but its mode. crop: portrait to
    picture. foreground: uint8 (P, P), 255 where the portrait's own head is."""

    source: Source | None
    mode: Mode
    notes: tuple[str, ...] = ()
    crop: Crop | None = None
    foreground: U8 | None = None


class _Now(NamedTuple):
    """The drive at hand. canvas: what is pasted on. crop: canvas to picture. drawn: the foreground (P, P) where no
    parser finds it. hidden: (P, P), what stands in front of the face.
    asks: whether a change was asked for that has to be seen."""

    canvas: U8
    crop: Crop
    time_s: float
    drawn: U8 | None
    hidden: U8 | None
    shape: FaceShape
    neutral: Neutral
    asks: bool


@dataclass(slots=True, eq=False)
class FaceState:
    """One session's face."""

    prepared: PreparedPerson
    aligner: FaceAligner
    seam: Seam = field(default_factory=Seam)
    neutral: NeutralCodes = field(default_factory=NeutralCodes)
    track_id: int | None = None
    now: _Now | None = None

    def start_anew(self) -> None:
        """Another face."""
        self.aligner.reset()
        self.seam.reset()
        self.neutral.reset()


class Stit:
    """The generator of one enrolled bundle. parsing: None where the bundle has no parser; the foreground is drawn from
    tracked points and the person mask then. directions, outputs: what can be asked for, as engine.worker.interface.
    BundleInfo tells it."""

    def __init__(
        self, name: str, parameters: Parameters, person: Person, parsing: ParsingGraph | None
    ) -> None:
        self.name, self.modes, self._person, self._parsing = name, parameters.modes, person, parsing
        self._size = parameters.crop.size
        self._side = min(SIDE, self._size) if parsing is None else parsing.size
        drawn = {Signal.PARSING} if parsing is None else set[Signal]()
        self.needs = frozenset({Signal.SHAPE, Signal.OCCLUSION} | drawn)
        self.directions = person.reaches()
        self.outputs = person.outputs if len(person.outputs) > 1 else ()
        offered = {
            "directions": self.directions,
            "output_size": self.outputs,
            "motion": Mode.PUPPET in self.modes,
        }
        self.heeds = frozenset(name for name, choices in offered.items() if choices)

    def takes_source(self, mode: Mode) -> bool:
        return mode is Mode.PUPPET and mode in self.modes

    def prepare(self, source: Source | None, mode: Mode) -> PreparedPerson:
        if mode not in self.modes:
            offered = ", ".join(sorted(mode.value for mode in self.modes))
            raise ConfigError(f"{self.name}: got mode {mode.value!r}, expected one of {offered}")
        if mode is Mode.EDIT:
            if source is not None:
                raise InputError(f"{self.name}: got {source.name}, expected no source: it edits the driver")
            return PreparedPerson(None, mode)
        if source is None:
            raise InputError(f"{self.name}: got no source, expected a portrait with one clearly visible face")
        aligner = self._aligner()
        crop = aligner.follow(landmarks68.from_points(source.face.points), 0.0)
        notes = (
            f"{self.name}: a puppet of an enrolled person is Marotte's own extension; the paper has no driver",
            *doubts(source.rgb, source.face, source.name),
        )
        foreground = self._foreground(source, crop, aligner.cut(source.rgb, crop))
        return PreparedPerson(source, mode, notes, crop, foreground)

    def begin(self, prepared: PreparedPerson, *donors: PreparedPerson) -> FaceState:
        return FaceState(prepared, self._aligner())

    def inputs(self, state: FaceState, drive: Drive) -> Ports:
        shape, puppet = drive.features.shape, state.prepared.mode is Mode.PUPPET
        if shape is None:
            raise InputError(f"{self.name}: got a drive without a shape; ask for what the generator needs")
        if state.track_id != drive.face.track_id:
            state.track_id = drive.face.track_id
            state.start_anew()
        crop = state.aligner.follow(landmarks68.from_points(drive.face.points), drive.frame.time_s)
        picture = state.aligner.cut(drive.frame.rgb, crop)
        state.neutral.calibrated(drive.neutral)
        strengths = self._person.asked(drive.controls.directions)
        state.now = self._now(state, drive, crop, shape, self._person.share(strengths) >= ASKED)
        ports: dict[str, NDArray[Any]] = {
            "image": _resampled(picture, self._person.encoder)[None],
            "strengths": strengths,
            "puppet": np.full((1, 1), float(puppet), np.float32),
            "output": np.array([self._person.output(drive.controls.output_size)], np.int64),
        }
        if puppet and state.neutral.codes is not None:
            ports["neutral"] = state.neutral.codes
            ports["motion"] = np.full((1, 1), drive.controls.motion, np.float32)
        if self._parsing is not None and not puppet:
            ports["parsed"] = brought_to(picture, self._side)[None].copy()
        return ports

    def asks(self, state: FaceState, drive: Drive) -> bool:
        """See engine.pipeline.Session: whether the last `inputs` asked for a change that has to be seen."""
        return state.now is not None and state.now.asks

    def patch(self, state: FaceState, outputs: Ports) -> Patch:
        now, puppet = state.now, state.prepared.mode is Mode.PUPPET
        if now is None:
            raise PortError(f"{self.name}: got outputs before any inputs, expected them in turn")
        picture, ws, moved = (_port(outputs, name) for name in ("picture", "ws", "moved"))
        if now.asks and not puppet and np.array_equal(ws, moved):
            raise UneditedError(
                f"{self.name}: a change was asked for and its codes were not moved; enrol the person again"
            )
        if puppet:
            state.neutral.add(ws, now.shape, now.neutral, now.time_s)
        shown = self._shown(state, now, outputs)
        if not puppet and misses_face(shown > 0, None if now.hidden is None else now.hidden > 0):
            raise UneditedError(
                f"{self.name}: its parser found no face, so that nothing of the edit would show"
            )
        mask = state.seam.mask(shown, now.time_s)
        if now.hidden is not None:
            mask = np.asarray(cv2.multiply(mask, 255 - now.hidden, scale=1.0 / 255.0), np.uint8)
        rgb = pixels(picture[0])
        side = _pasted_side(now.crop, len(rgb))
        if side < len(rgb):
            rgb = np.asarray(cv2.resize(rgb, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
        return Patch(rgb, _resampled(mask, side), resized(now.crop, side), now.canvas)

    def _aligner(self) -> FaceAligner:
        return FaceAligner(self._size, self._person.scale)

    def _now(self, state: FaceState, drive: Drive, crop: Crop, shape: FaceShape, asks: bool) -> _Now:
        time_s, one = drive.frame.time_s, state.prepared
        if one.source is not None and one.crop is not None:
            return _Now(one.source.rgb, one.crop, time_s, None, None, shape, drive.neutral, asks)
        small, features, drawn, hidden = resized(crop, self._side), drive.features, None, None
        if self._parsing is None:
            if features.parsing is None:
                raise InputError(
                    f"{self.name}: got a drive without parsing; ask for what the generator needs"
                )
            drawn = np.asarray(255 * (cut(foreground_in(features.parsing), small) >= 128), np.uint8)
        if features.occlusion is not None:
            hidden = cut(features.occlusion, small)
        return _Now(drive.frame.rgb, crop, time_s, drawn, hidden, shape, drive.neutral, asks)

    def _shown(self, state: FaceState, now: _Now, outputs: Ports) -> U8:
        """The foreground of this frame: the driver's in an edit; in a portrait its own and that of the picture, so that
        nothing of the head that was there looks out."""
        found, table, own = now.drawn, self._person.table, state.prepared.foreground
        if table is not None:
            labels = outputs.get("labels")
            if labels is None or labels.shape != (1, self._side, self._side) or labels.dtype != np.uint8:
                raise PortError(f"port 'labels': expected (1, {self._side}, {self._side}) uint8")
            found = foreground_of(labels[0], table)
        if found is None or own is None:
            given = own if found is None else found
            if given is None:
                raise PortError(f"{self.name}: got no foreground, expected labels or a drawn one")
            return given
        return np.maximum(found, own)

    def _foreground(self, source: Source, crop: Crop, picture: U8) -> U8:
        small = resized(crop, self._side)
        if self._parsing is None or self._person.table is None:
            person = None if source.person is None else cut(source.person, small)
            return drawn_foreground(points_in(small, source.face.points), self._side, person)
        (labels,) = self._parsing.labels([brought_to(picture, self._side)[None]])
        if isinstance(labels, Exception):
            raise BackendError(f"{self.name}: {source.name} could not be parsed ({labels})") from labels
        return foreground_of(labels[0], self._person.table)


def _resampled(picture: U8, size: int) -> U8:
    """Bilinear without antialias, half-pixel centres: as the encoder was trained, and as crops were inverted."""
    if len(picture) == size:
        return picture.copy()
    return np.asarray(cv2.resize(picture, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)


def _pasted_side(crop: Crop, size: int) -> int:
    """The side in which a picture of `size` pixels is pasted: halved while it has two pixels or more for each of the
    frame's, which bilinear paste-back would leave out."""
    side, finer = size, factor_of(crop) * size / crop.size
    while finer >= 2.0 and side % 2 == 0:
        side, finer = side // 2, finer / 2.0
    return side


def _port(outputs: Ports, name: str) -> F32:
    array = outputs.get(name)
    if array is None or array.dtype != np.float32:
        got = "none" if array is None else f"{array.shape} {array.dtype}"
        raise PortError(f"port {name!r}: expected float32 numbers, got {got}")
    return array


def open_stit(
    bundle: Bundle, backend: str, threads: int, batches: tuple[int, ...] = (1,)
) -> tuple[Stit, StitRunner]:
    """The generator of an enrolled bundle and what executes it. Raises BundleError or BackendError."""
    person = person_of(bundle)

    e4e = open_runner(bundle, "e4e", backend, threads, None, batches)
    moving = bundle.graph("moving", backend, threads)
    synthesis = {
        size: open_runner(bundle, synthesis_of(person, size), backend, threads, None, batches)
        for size in person.outputs
    }
    parsing = None
    if person.table is not None:
        parser = open_runner(bundle, "parsing", backend, threads, None, batches)
        parsing = ParsingGraph(parser, person.parser)
    generator = Stit(bundle.name, bundle.manifest.parameters, person, parsing)
    return generator, StitRunner(e4e, moving, synthesis, parsing)
