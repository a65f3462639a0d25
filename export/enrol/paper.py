"""The paper's own procedure on the enrolled clip, to a video: every frame inverted, edited, stitched and pasted back.

Squares are smoothed with the future at hand, each frame's stitching tunes a copy of the generator, and the crop goes
back through the official inverse alignment. Parts can be left out, which is the paper's ablation, and the tuning per
frame can give way to the border passes of the enrolment. Frames are read, worked on and written one by one.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from engine.align import crop_of_quad, cut_quad, paste_quad
from engine.config import known
from engine.errors import ConfigError
from engine.fallback import Fallback, FallbackConfig
from engine.marks import Marks, MarksConfig
from engine.marks.files import session_of
from engine.marks.lowering import note_lowered
from engine.media import open_media, open_writer
from engine.media.unfinished import Seal
from engine.media.video_writer import VIDEO_SUFFIXES
from engine.types import F64, U8, Crop, Frame, Mode
from export.enrol.progress import Tell
from export.enrol.tracking import Alignment, Labels, Tracked, drawing, smooth_squares
from trainers.stit.directions import Direction, Offset, offset_of, synthesised
from trainers.stit.e4e import Inversion, resized
from trainers.stit.generator import Generator
from trainers.stit.masks import BORDER, INNER, OUTER, StitchingMasks, masked_error, stitching_masks
from trainers.stit.stitching import Stitching, stitch
from trainers.stit.tuning import Outcome

PARTS = ("smoothing", "tuning", "stitching", "mask")
"""What can be left out."""
_OFFICIAL_SIDE = 1024
Stitch = Literal["frame", "amortised"]
Watch = Callable[[int, Frame, U8, Crop, U8 | None], None]
"""Shown each edited frame: its number, the frame, what it became, its crop, and its mask in the crop (None: all)."""


@dataclass(frozen=True)
class Rendering:
    """What is to be rendered. strengths: of directions, by name. without: among PARTS. stitching: `frame` tunes every
    frame, as the paper does; `amortised` takes the generator of the border passes, and tunes none. most: frames from
    the first one on, 0 = all. marks: put on what is written, not on what is measured. seal: what signs it."""

    out: Path
    strengths: Mapping[str, float] = field(default_factory=dict)
    without: frozenset[str] = frozenset()
    stitching: Stitch = "frame"
    options: Stitching = field(default_factory=Stitching)
    most: int = 0
    marks: MarksConfig = field(default_factory=MarksConfig)
    seal: Seal | None = None


@dataclass(frozen=True)
class Rendered:
    """frames: written, of which `edited` show an edited face. border: mean border error of these. seam: the same along
    the edge of what is pasted, be it the mask's or the square's. seconds, work: by stage, on the clock and of CPU."""

    frames: int
    edited: int
    border: float
    seam: float
    seconds: Mapping[str, float]
    work: Mapping[str, float]

    def lines(self) -> list[str]:
        """For people."""
        count = max(1, self.edited)
        each = ", ".join(
            f"{name} {1e3 * spent / count:.1f} ({1e3 * self.work[name] / count:.1f})"
            for name, spent in self.seconds.items()
        )
        return [
            f"rendered {self.frames} frames, {self.edited} of them edited; border error {self.border:.5f}",
            f"milliseconds per edited frame on the clock (of CPU): {each}",
            f"all stages: {sum(self.seconds.values()):.1f} s on the clock, {sum(self.work.values()):.1f} s of CPU",
        ]


@dataclass(frozen=True)
class Networks:
    """generator: as it was given. made: what the tuning left of it. labels: None where masks are drawn. frozen: the
    first row of a code that is the person's mean in every frame, and the mean (1, rows, w_dim); None where all move."""

    generator: Generator
    inversion: Inversion
    made: Outcome
    labels: Labels | None
    device: torch.device
    frozen: tuple[int, Tensor] | None = None


@dataclass(frozen=True)
class Scene:
    """A clip that was tracked, and whatever it is rendered with. alignment: of the enrolment."""

    clip: Path
    tracked: Tracked
    alignment: Alignment
    networks: Networks
    directions: Mapping[str, Direction]
    backend: str = "auto"

    def render(self, asked: Rendering, tell: Tell, watch: Watch | None = None) -> Rendered:
        """As `render`."""
        return render(
            self.clip,
            self.tracked,
            self.alignment,
            self.networks,
            self.directions,
            asked,
            tell,
            self.backend,
            watch,
        )


def render(
    clip: Path,
    tracked: Tracked,
    alignment: Alignment,
    networks: Networks,
    directions: Mapping[str, Direction],
    asked: Rendering,
    tell: Tell,
    backend: str = "auto",
    watch: Watch | None = None,
) -> Rendered:
    """The clip with its person edited, at its own size, times and sound.

    A frame without a face holds the last edited picture and fades to a card: no unedited frame is written. Raises
    ConfigError as `check_rendering` does, and what reading and writing raise.
    """
    check_rendering(clip, asked, directions)
    places = {number: index for index, number in enumerate(tracked.frames)}
    if "smoothing" in asked.without:
        alignment = dataclasses.replace(alignment, centre_sigma=0.0, axes_sigma=0.0)
    quads = smooth_squares(tracked, alignment).quads()
    work = _Work(networks, alignment.size, asked, offset_of(directions, asked.strengths))
    fallback, frames = Fallback(FallbackConfig(), None), 0
    with ExitStack() as opened:
        media = opened.enter_context(open_media(clip))
        masks = opened.enter_context(drawing(tracked, backend, needed=networks.labels is None))
        marks = Marks.of(media.size, asked.marks, session_of("stit paper", [clip]), Mode.EDIT)
        note_lowered(asked.marks, "render")
        writer = opened.enter_context(
            open_writer(asked.out, media.size, media.time_base, media.rate, clip, asked.seal, marks)
        )
        total = min(asked.most, tracked.total) if asked.most else tracked.total
        for number, frame in enumerate(work.read(media, asked.most)):
            if number in places:
                quad = quads[places[number]]
                crop = work.cut(frame, quad)
                with work.timed("mask"):
                    labels = networks.labels
                    found = labels(crop) if labels else masks.of(frame, places[number], quad)
                picture, mask = work.edited(frame, crop, quad, found)
                fallback.generated(picture, frame.time_s)
                if watch is not None:
                    watch(number, frame, picture, crop_of_quad(quad, alignment.size), mask)
            else:
                picture, _ = fallback.picture(frame.time_s, frame.size)
            with work.timed("write"):
                writer.write(dataclasses.replace(frame, rgb=picture))
            frames = number + 1
            tell("render", frames, total)
    return work.rendered(frames)


def check_rendering(clip: Path, asked: Rendering, directions: Mapping[str, Direction]) -> None:
    """What cannot be rendered is told before anything is tuned. Raises ConfigError for an output that is the clip or no
    video, and for a direction or part that is not there."""
    if asked.out.resolve() == clip.resolve():
        raise ConfigError(f"render: {asked.out} is the clip itself; name another file")
    if asked.out.suffix.lower() not in VIDEO_SUFFIXES:
        raise ConfigError(f"render: {asked.out} is no {' or '.join(VIDEO_SUFFIXES)}; name a video")
    for part in asked.without:
        known(part, PARTS, "without")
    check_strengths(asked.strengths, directions)


def check_strengths(strengths: Mapping[str, float], directions: Mapping[str, Direction]) -> None:
    """Raises ConfigError for a name that is no direction."""
    for name in strengths:
        known(name, tuple(directions), "strength")


class _Work:
    """One rendering's frames. errors, seams: border error of each. seconds, work: by stage."""

    def __init__(self, networks: Networks, size: int, asked: Rendering, offset: Offset) -> None:
        self.errors: list[float] = []
        self.seams: list[float] = []
        self.seconds: dict[str, float] = {}
        self.work: dict[str, float] = {}
        self._size, self._asked, self._device = size, asked, networks.device
        self._offset, self._frozen = offset, networks.frozen
        self._inversion = networks.inversion.to(networks.device)
        made = networks.made
        chosen = made.generator if asked.stitching == "amortised" else made.pivotal or made.generator
        if "tuning" in asked.without:
            chosen = networks.generator
        self._generator = copy.deepcopy(chosen).to(networks.device).requires_grad_(True)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        started, worked = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - started
            self.work[stage] = self.work.get(stage, 0.0) + time.process_time() - worked

    def read(self, media: Iterable[Frame], most: int) -> Iterator[Frame]:
        """Its frames, the first `most` of them; 0 = all."""
        frames = islice(media, most or None)
        while True:
            with self.timed("read"):
                frame = next(frames, None)
            if frame is None:
                return
            yield frame

    def cut(self, frame: Frame, quad: F64) -> U8:
        with self.timed("align"):
            return cut_quad(frame.rgb, quad, self._size)

    def edited(self, frame: Frame, crop: U8, quad: F64, foreground: U8) -> tuple[U8, U8 | None]:
        """The frame with the crop edited in it, and the mask (S, S) by which it was pasted. foreground: uint8 (P, P) of
        0 and 1."""
        with self.timed("mask"):
            masks = masks_of(foreground, self._size, self._device)
        target = torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1))).to(self._device)
        target = (target.float() / 127.5 - 1.0)[None]
        with self.timed("invert"), torch.no_grad():
            ws = self._still(self._inversion(resized(target, self._inversion.encoder.size)))
        with self.timed("synthesise"), torch.no_grad():
            image = synthesised(self._generator.synthesis, ws, self._offset)
        if self._asked.stitching == "frame" and "stitching" not in self._asked.without:
            with self.timed("stitch"):
                options = self._asked.options
                image = stitch(self._generator, ws, target, image, masks, options, self._offset).image
        self._account(image, target, masks)
        with self.timed("paste"):
            levels = ((image[0].clamp(-1, 1) + 1.0) * 127.5).round().permute(1, 2, 0)
            mask = None
            if "mask" not in self._asked.without:
                mask = (255.0 * masks.full[0, 0]).round().cpu().numpy().astype(np.uint8)
            pixels = np.ascontiguousarray(levels.cpu().numpy().astype(np.uint8))
            return paste_quad(frame.rgb, pixels, quad, mask), mask

    def _still(self, ws: Tensor) -> Tensor:
        if self._frozen is None:
            return ws
        first, mean = self._frozen
        return torch.cat([ws[:, :first], mean[:, first:].to(ws)], 1)

    def _account(self, image: Tensor, target: Tensor, masks: StitchingMasks) -> None:
        self.errors.append(float(masked_error(image, target, masks.border)))
        if "mask" not in self._asked.without:
            self.seams.append(self.errors[-1])
            return
        edge = torch.ones_like(masks.border)
        wide = max(1, round(BORDER * self._size / _OFFICIAL_SIDE))
        edge[..., wide:-wide, wide:-wide] = 0
        self.seams.append(float(masked_error(image, target, edge)))

    def rendered(self, frames: int) -> Rendered:
        border, seam = (float(np.mean(one or [0.0])) for one in (self.errors, self.seams))
        return Rendered(frames, len(self.errors), border, seam, self.seconds, self.work)


def masks_of(foreground: U8, size: int, device: torch.device) -> StitchingMasks:
    """The stitching masks of a crop of `size` pixels, the official distances in proportion."""
    side = min(len(foreground), size)
    if len(foreground) != side:
        foreground = np.asarray(
            cv2.resize(foreground, (side, side), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8
        )

    def scaled(pixels: int) -> int:
        return round(pixels * side / _OFFICIAL_SIDE)

    mask = torch.from_numpy(foreground.astype(np.float32))[None, None].to(device)
    found = stitching_masks(mask, border=scaled(BORDER), inner=scaled(INNER), outer=scaled(OUTER))
    return found if side == size else found.resized(size)
