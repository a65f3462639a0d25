"""MaskGAN as a generator: a portrait, or the driver's own face, drawn anew from a layout.

    puppet: style of the portrait; the portrait's layout where the driver's motion takes it (template.py)
    edit:   style of the driver's first frame, or of a donor; the driver's own layout, or a donor's, with what the
            controls change of it (changes.py)

What is drawn is the head. Background and clothes stay the canvas's own, and of a puppet nothing of the driver's picture
is read. Layouts are kept still over time in a square that moves with the head (engine/parsing/steady.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from engine.bundle import Parameters
from engine.crop import crop_of, cut, factor_of, points_in, resized
from engine.errors import ConfigError, InputError, PortError, UneditedError
from engine.features import gaze
from engine.features.doubts import doubts
from engine.generators.feather import feather
from engine.generators.maskgan import changes
from engine.generators.maskgan.networks import PictureGraphs
from engine.generators.maskgan.placing import kept, labels_in, placed, seen_from
from engine.generators.maskgan.runner import ROUGH, nearest
from engine.generators.maskgan.template import Template, moved, template_of
from engine.generators.motion.transfer import check_shape, expression, transfer
from engine.generators.steady_crop import SteadyCrop
from engine.parsing.classes import CELEBAMASK, Parsing, Part
from engine.parsing.draw import draw_parsing
from engine.parsing.runs import KEEP, decode
from engine.parsing.steady import SteadyProbabilities
from engine.plug import Ports
from engine.smooth import MaskSmoother
from engine.types import (
    F32,
    F64,
    U8,
    Controls,
    Crop,
    Drive,
    FaceShape,
    Gaze,
    Layout,
    Mode,
    Patch,
    Signal,
    Source,
)
from engine.unedited import misses_face

MOVED, PAINTED, BRUSHED = 0.012, 0.2, 0.005
"""Share of the square's side by which a part is to move, amount of brows, hair or glasses, and share of the square that
is painted over, from which on an edit has to be seen (docs/decisions/0007)."""

REACH = 0.02
"""Share of the square's side by which what is drawn reaches over the head, and over which it fades out."""

_HIDDEN = 0.05
"""Share of the square that may be covered in the frame that gives the style; a clearer one is taken instead of it."""

_HEAD = ~np.isin(np.arange(len(Part)), (Part.BACKGROUND, Part.CLOTH))
_GREY = np.float32(127.5)
_NO_LABEL = 255


@dataclass(frozen=True, slots=True, eq=False)
class PreparedFace:
    """A portrait or a donor taken apart; nothing but a mode where there is none. crop: its picture to the network.
    style: gamma and beta. gaze: its own."""

    source: Source | None
    mode: Mode
    notes: tuple[str, ...] = ()
    crop: Crop | None = None
    template: Template | None = None
    style: Ports = field(default_factory=dict)
    gaze: Gaze | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Now:
    """The drive at hand. canvas: what is pasted on. crop: canvas to network. own: the layout of the canvas there.
    labels: the layout that is drawn. beneath: that layout in the square that moves with the head, without what is
    painted. view: from network to that square, None where they are one. uncovered: (S, S), 1 where nothing stands
    before the face, None everywhere."""

    canvas: U8
    crop: Crop
    own: U8
    labels: U8
    beneath: U8
    time_s: float
    view: F64 | None = None
    uncovered: F32 | None = None


@dataclass(slots=True, eq=False)
class FaceState:
    """One session's face. steady: the square about the head. layout, region: filters over time. style: of the driver's
    own face, and `covered` how much of it was hidden then. change: what the last edit asked for, 1 is to be
    seen. brush: what is painted, as runs and as labels. drawn: the last drive that was drawn, and its picture."""

    prepared: PreparedFace
    donors: tuple[PreparedFace, ...]
    steady: SteadyCrop
    layout: SteadyProbabilities
    region: MaskSmoother
    track_id: int | None = None
    style: Ports | None = None
    covered: float = 1.0
    change: float = 0.0
    brush: tuple[tuple[tuple[int, int], ...], U8] | None = None
    now: _Now | None = None
    drawn: tuple[_Now, U8] | None = None

    def start_anew(self) -> None:
        """Another face: nothing of the one before is kept."""
        self.steady.reset()
        self.layout.reset()
        self.region.reset()
        self.style, self.covered = None, 1.0


class Maskgan:
    """The generator of one bundle. pictures: its style and parser. projects: whether the bundle has a MaskVAE."""

    edits_alone = True
    """An edit that can do without a donor."""

    def __init__(self, name: str, parameters: Parameters, pictures: PictureGraphs, *, projects: bool) -> None:
        self.name, self._parameters, self._pictures = name, parameters, pictures
        self.modes = parameters.modes
        self.needs = frozenset().union(*map(self.needs_in, self.modes))
        heeds = {"pose", "mouth", "eyes", "brows", "absolute_mouth", "absolute_eyes", "au_offsets"}
        heeds |= {"layout", "painted", "donor_layout", "donor_style"} | ({"project"} if projects else set())
        self.heeds = frozenset(heeds)
        self._size, self._projects = parameters.crop.size, projects
        self._feather = feather(self._size)

    def needs_in(self, mode: Mode) -> frozenset[Signal]:
        """What the pipeline measures: see engine.pipeline.Session. A puppet's surroundings are the portrait's own."""
        if mode is Mode.PUPPET:
            return frozenset({Signal.SHAPE, Signal.GAZE})
        edit = {Signal.SHAPE, Signal.OCCLUSION}
        return frozenset(edit if self._pictures.parses else edit | {Signal.PARSING})

    def takes_source(self, mode: Mode) -> bool:
        return mode in self.modes

    def prepare(self, source: Source | None, mode: Mode) -> PreparedFace:
        if mode not in self.modes:
            offered = ", ".join(sorted(mode.value for mode in self.modes))
            raise ConfigError(f"{self.name}: got mode {mode.value!r}, expected one of {offered}")
        if source is None:
            if mode is Mode.PUPPET:
                raise InputError(
                    f"{self.name}: got no source, expected a portrait with one clearly visible face"
                )
            return PreparedFace(None, mode)
        crop = crop_of(self._parameters.crop.rule, source.face.points, self._size)
        image, points = cut(source.rgb, crop)[None], points_in(crop, source.face.points)
        labels = self._pictures.parse(image) if source.labels is None else labels_in(source.labels, crop)
        notes = doubts(source.rgb, source.face, source.name)
        if labels is None:
            person = None if source.person is None else cut(source.person, crop)
            labels = draw_parsing(points, (self._size, self._size), person)
            if person is None:
                notes = (
                    *notes,
                    f"{source.name}: who is in it is not known, so that hair and neck stay as they are",
                )
        template = template_of(labels, points)
        style = self._pictures.style(image, labels)
        return PreparedFace(source, mode, notes, crop, template, style, gaze.measure(template.shape))

    def begin(self, prepared: PreparedFace, *donors: PreparedFace) -> FaceState:
        taken = tuple(one for one in (prepared, *donors) if one.source is not None)
        return FaceState(
            prepared,
            taken if prepared.mode is Mode.EDIT else (),
            SteadyCrop(self._parameters.crop.rule, self._size),
            SteadyProbabilities(CELEBAMASK),
            MaskSmoother(),
        )

    def inputs(self, state: FaceState, drive: Drive) -> Ports:
        if state.track_id != drive.face.track_id:
            state.track_id = drive.face.track_id
            state.start_anew()
        moves = state.prepared.mode is Mode.PUPPET
        state.now, style = self._puppet(state, drive) if moves else self._edit(state, drive)
        labels = state.now.labels[None]
        if drive.controls.project:
            if not self._projects:
                raise InputError(f"{self.name}: it has no model of layouts; name another bundle")
            return {ROUGH: labels, **style}
        return {"labels": labels, **style}

    def asks(self, state: FaceState, drive: Drive) -> bool:
        """See engine.pipeline.Session: whether the last `inputs` asked for a change that has to be seen."""
        return state.change >= 1.0

    def layout(self, state: FaceState, *, rest: bool = False) -> Layout | None:
        """What a brush paints on, as it was drawn last; None before anything was. rest: a portrait as it lies there.
        For any thread."""
        one = state.prepared
        if rest and one.mode is Mode.PUPPET and one.source and one.crop and one.template:
            view = SteadyCrop(self._parameters.crop.rule, self._size).follow(one.template.shape).matrix
            return seen_from(view, Layout(cut(one.source.rgb, one.crop), one.template.labels))
        if state.drawn is None:
            return None
        now, rgb = state.drawn
        if now.view is None:
            return Layout(rgb, now.beneath)
        return Layout(seen_from(now.view, Layout(rgb, now.labels)).rgb, now.beneath)

    def patch(self, state: FaceState, outputs: Ports) -> Patch:
        size, now = self._size, state.now
        if now is None:
            raise PortError(f"{self.name}: got outputs before any inputs, expected them in turn")
        image = outputs.get("image")
        if image is None or image.shape != (1, 3, size, size) or image.dtype != np.float32:
            got = "none" if image is None else f"{image.shape} {image.dtype}"
            raise PortError(f"port 'image': expected {(1, 3, size, size)} float32, got {got}")
        levels = np.clip(image[0] * _GREY + (_GREY + 0.5), 0.0, 255.0).astype(
            np.uint8
        )  # rounded by cutting off
        rgb = np.ascontiguousarray(levels.transpose(1, 2, 0))
        state.drawn = now, rgb
        labels = outputs.get("labels")
        mask = self._mask(state, now, now.labels if labels is None else labels[0])
        return _at_most(rgb, mask, now)

    def _puppet(self, state: FaceState, drive: Drive) -> tuple[_Now, Ports]:
        one = state.prepared
        if one.template is None or one.crop is None or one.source is None or one.gaze is None:
            raise InputError(f"{self.name}: got no portrait, expected one")
        own = one.template
        target = transfer(own.shape, one.gaze, drive).shape
        target = kept(target, own.shape, self._size)
        rigid = FaceShape(own.shape.local, target.rotation, target.scale, target.translation)
        view = state.steady.follow(rigid).matrix
        labels, beneath = self._laid(state, own, target, drive, view)
        back = cv2.warpAffine(
            labels,
            view,
            (self._size, self._size),
            flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(_NO_LABEL,),
        )
        labels = np.where(back == _NO_LABEL, own.labels, back).astype(np.uint8)
        now = _Now(one.source.rgb, one.crop, own.labels, labels, beneath, drive.frame.time_s, view)
        return now, one.style

    def _edit(self, state: FaceState, drive: Drive) -> tuple[_Now, Ports]:
        frame, features, controls = drive.frame, drive.features, drive.controls
        if features.shape is None:
            raise InputError(f"{self.name}: got a drive without a shape; ask for what the generator needs")
        check_shape(features.shape, "driver")
        crop = state.steady.follow(features.shape)
        image, shape = cut(frame.rgb, crop)[None], placed(features.shape, crop)
        own = self._own_layout(image, features.parsing, crop)
        hidden = (
            None if features.occlusion is None else cut(features.occlusion, crop).astype(np.float32) / 255.0
        )
        style = self._style(state, drive, image, own, hidden)
        donor = state.donors[0].template if state.donors and controls.donor_layout else None
        if donor is None:
            template = template_of(own, shape.points())
            local = changes.expressed(shape.local, drive.neutral.shape.local, controls)
        else:
            template = donor
            local = expression(donor.shape.local, shape.local, drive.neutral, controls)
        target = FaceShape(local, shape.rotation, shape.scale, shape.translation)
        labels, beneath = self._laid(state, template, target, drive, None)
        state.change = self._asked(state, drive, shape, target)
        uncovered = None if hidden is None else 1.0 - hidden
        return _Now(frame.rgb, crop, own, labels, beneath, frame.time_s, None, uncovered), style

    def _laid(
        self, state: FaceState, template: Template, target: FaceShape, drive: Drive, view: F64 | None
    ) -> tuple[U8, U8]:
        """The steady layout of the target by the controls, uint8 (S, S), and the same before the brush."""
        amounts = drive.controls.layout
        local = changes.reshaped(target.local, amounts)
        shape = FaceShape(local, target.rotation, target.scale, target.translation)
        points = shape.points()
        if not np.isfinite(points).all():
            raise InputError(f"{self.name}: the driver's face is not finite; expected a tracked face")
        labels = moved(template, shape, view)
        if view is not None:
            points = points_in(Crop(view, self._size), points)
        labels = changes.repainted(labels, points, amounts)
        brush = self._brush(state, drive.controls)
        painted = labels if brush is None else np.where(brush == KEEP, labels, brush)
        return state.layout.update(Parsing(painted, CELEBAMASK), drive.frame.time_s).labels, labels

    def _brush(self, state: FaceState, controls: Controls) -> U8 | None:
        """What is painted, uint8 (S, S), KEEP where nothing is; None for nothing at all."""
        if not controls.painted:
            return None
        if state.brush is None or state.brush[0] is not controls.painted:
            state.brush = controls.painted, nearest(decode(controls.painted), self._size)
        return state.brush[1]

    def _own_layout(self, image: U8, drawn: Parsing | None, crop: Crop) -> U8:
        """The layout of the driver's frame in the crop."""
        parsed = self._pictures.parse(image)
        if parsed is not None:
            return parsed
        if drawn is None:
            raise InputError(f"{self.name}: got a drive without parsing; ask for what the generator needs")
        return labels_in(drawn.of(CELEBAMASK), crop)

    def _style(self, state: FaceState, drive: Drive, image: U8, own: U8, hidden: F32 | None) -> Ports:
        """The last donor's, or that of the first clear frame of this face."""
        if state.donors and drive.controls.donor_style:
            return state.donors[-1].style
        covered = 0.0 if hidden is None else float(hidden.mean())
        if state.style is None or (state.covered > _HIDDEN and covered < 0.5 * state.covered):
            state.style, state.covered = self._pictures.style(image, own), covered
        return state.style

    def _asked(self, state: FaceState, drive: Drive, own: FaceShape, target: FaceShape) -> float:
        controls = drive.controls
        if state.donors and (controls.donor_layout or controls.donor_style):
            return 1.0
        reshaped = changes.reshaped(target.local, controls.layout)
        moved_by = own.scale * float(np.linalg.norm(reshaped - own.local, axis=1).max())
        brush = self._brush(state, controls)
        painted = 0.0 if brush is None else float(np.mean(brush != KEEP)) / BRUSHED
        amounts = (abs(controls.layout.get(name, 0.0)) for name in ("brows", "hair", "glasses"))
        return max(moved_by / (MOVED * self._size), max(amounts) / PAINTED, painted)

    def _mask(self, state: FaceState, now: _Now, labels: U8) -> U8:
        """Where the head is or was, fading out around it, uint8 (S, S)."""
        radius = max(1, round(REACH * self._size))
        there = _HEAD[labels] | _HEAD[now.own]
        if state.prepared.mode is Mode.EDIT:
            hidden = None if now.uncovered is None else now.uncovered < 1.0
            if misses_face(there, hidden):
                raise UneditedError(
                    f"{self.name}: no head is in the layout, so that nothing of the edit would show"
                )
        head = there.astype(np.uint8) * np.uint8(255)
        wide = cv2.dilate(head, cv2.getStructuringElement(cv2.MORPH_RECT, (2 * radius + 1, 2 * radius + 1)))
        soft = np.asarray(cv2.blur(wide, (2 * radius + 1, 2 * radius + 1)), np.uint8)
        if state.prepared.mode is Mode.EDIT:
            soft = state.region.smooth(soft, now.time_s)
        weight = self._feather if now.uncovered is None else self._feather * now.uncovered
        return np.asarray(np.rint(soft * weight), np.uint8)


def _at_most(rgb: U8, mask: U8, now: _Now) -> Patch:
    """The patch, reduced by areas where it has far more pixels than the canvas: pasting alone would skip some."""
    factor = factor_of(now.crop)
    if factor < 1.5:
        return Patch(rgb, mask, now.crop, now.canvas)
    crop = resized(now.crop, max(1, round(now.crop.size / factor)))
    side = (crop.size, crop.size)
    small, edge = (cv2.resize(one, side, interpolation=cv2.INTER_AREA) for one in (rgb, mask))
    return Patch(np.asarray(small, np.uint8), np.asarray(edge, np.uint8), crop, now.canvas)
