"""The paper's own procedure on the enrolled clip, to a video: every frame inverted, edited, stitched and pasted back.

Squares are smoothed with the future at hand, each frame's stitching tunes a copy of the generator, and the crop goes
back through the official inverse alignment. Parts can be left out, which is the paper's ablation, and the tuning per
frame can give way to the border passes of the enrolment. Frames are read, worked on and written one by one.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from engine.align import cut_quad, paste_quad
from engine.config import known
from engine.errors import ConfigError
from engine.fallback import Fallback, FallbackConfig
from engine.media import open_media, open_writer
from engine.media.video_writer import VIDEO_SUFFIXES
from engine.types import F64, U8, Frame
from export.enrol.tracking import Alignment, Labels, Tell, Tracked, drawing, smooth_squares
from trainers.stit.e4e import Inversion, resized
from trainers.stit.generator import Generator
from trainers.stit.masks import BORDER, INNER, OUTER, StitchingMasks, masked_error, stitching_masks
from trainers.stit.stitching import Stitching, stitch
from trainers.stit.tuning import Outcome

PARTS = ("smoothing", "tuning", "stitching", "mask")
"""What can be left out."""
_OFFICIAL_SIDE = 1024


@dataclass(frozen=True)
class Rendering:
    """What is to be rendered. strengths: of directions, by name. without: among PARTS. stitching: `frame` tunes every
    frame, as the paper does; `amortised` takes the generator of the border passes, and tunes none."""

    out: Path
    strengths: Mapping[str, float] = field(default_factory=dict)
    without: frozenset[str] = frozenset()
    stitching: Literal["frame", "amortised"] = "frame"
    options: Stitching = field(default_factory=Stitching)


@dataclass(frozen=True)
class Rendered:
    """frames: written, of which `edited` show an edited face. border: mean border error of these. seconds: by stage."""

    frames: int
    edited: int
    border: float
    seconds: Mapping[str, float]

    def lines(self) -> list[str]:
        """For people."""
        each = ", ".join(
            f"{name} {1e3 * spent / max(1, self.edited):.0f} ms" for name, spent in self.seconds.items()
        )
        return [
            f"rendered {self.frames} frames, {self.edited} of them edited; border error {self.border:.5f}",
            f"per edited frame: {each}",
        ]


@dataclass(frozen=True)
class Networks:
    """generator: as it was given. made: what the tuning left of it. labels: None where masks are drawn."""

    generator: Generator
    inversion: Inversion
    made: Outcome
    labels: Labels | None
    device: torch.device


def render(
    clip: Path,
    tracked: Tracked,
    alignment: Alignment,
    networks: Networks,
    directions: Mapping[str, F64],
    asked: Rendering,
    tell: Tell,
    backend: str = "auto",
) -> Rendered:
    """The clip with its person edited, at its own size, times and sound.

    A frame without a face holds the last edited picture and fades to a card: no unedited frame is written. Raises
    ConfigError as `check_rendering` does, and what reading and writing raise.
    """
    check_rendering(clip, asked, directions)
    offset = _offset(asked, directions, networks.generator.w_dim)
    places = {number: index for index, number in enumerate(tracked.frames)}
    if "smoothing" in asked.without:
        alignment = dataclasses.replace(alignment, centre_sigma=0.0, axes_sigma=0.0)
    quads = smooth_squares(tracked, alignment).quads()
    work = _Work(networks, alignment.size, asked, offset)
    fallback, frames = Fallback(FallbackConfig(), None), 0
    with ExitStack() as opened:
        media = opened.enter_context(open_media(clip))
        masks = opened.enter_context(drawing(tracked, backend, needed=networks.labels is None))
        writer = opened.enter_context(open_writer(asked.out, media.size, media.time_base, media.rate, clip))
        for number, frame in enumerate(media):
            if number in places:
                quad = quads[places[number]]
                crop = work.cut(frame, quad)
                with work.timed("mask"):
                    labels = networks.labels
                    found = labels(crop) if labels else masks.of(frame, places[number], quad)
                picture = work.edited(frame, crop, quad, found)
                fallback.generated(picture, frame.time_s)
            else:
                picture, _ = fallback.picture(frame.time_s, frame.size)
            writer.write(dataclasses.replace(frame, rgb=picture))
            frames = number + 1
            tell("render", frames, media.frame_count)
    return Rendered(frames, len(work.errors), float(np.mean(work.errors or [0.0])), work.seconds)


def check_rendering(clip: Path, asked: Rendering, directions: Mapping[str, F64]) -> None:
    """What cannot be rendered is told before anything is tuned. Raises ConfigError for an output that is the clip or no
    video, and for a direction or part that is not there."""
    if asked.out.resolve() == clip.resolve():
        raise ConfigError(f"render: {asked.out} is the clip itself; name another file")
    if asked.out.suffix.lower() not in VIDEO_SUFFIXES:
        raise ConfigError(f"render: {asked.out} is no {' or '.join(VIDEO_SUFFIXES)}; name a video")
    for part in asked.without:
        known(part, PARTS, "without")
    for name in asked.strengths:
        known(name, tuple(directions), "strength")


def _offset(asked: Rendering, directions: Mapping[str, F64], width: int) -> Tensor:
    """Half of each strength times its direction, (w_dim,)."""
    total = np.zeros(width)
    for name, strength in asked.strengths.items():
        total += 0.5 * strength * directions[name]
    return torch.from_numpy(total).float()


class _Work:
    """One rendering's frames. errors: border error of each. seconds: by stage."""

    def __init__(self, networks: Networks, size: int, asked: Rendering, offset: Tensor) -> None:
        self.errors: list[float] = []
        self.seconds: dict[str, float] = {}
        self._size, self._asked, self._device = size, asked, networks.device
        self._offset = offset.to(networks.device)
        self._inversion = networks.inversion.to(networks.device)
        made = networks.made
        chosen = made.generator if asked.stitching == "amortised" else made.pivotal or made.generator
        if "tuning" in asked.without:
            chosen = networks.generator
        self._generator = copy.deepcopy(chosen).to(networks.device).requires_grad_(True)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - started

    def cut(self, frame: Frame, quad: F64) -> U8:
        with self.timed("align"):
            return cut_quad(frame.rgb, quad, self._size)

    def edited(self, frame: Frame, crop: U8, quad: F64, foreground: U8) -> U8:
        """The frame with the crop edited in it. foreground: uint8 (P, P) of 0 and 1."""
        masks = masks_of(foreground, self._size, self._device)
        target = torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1))).to(self._device)
        target = (target.float() / 127.5 - 1.0)[None]
        with self.timed("invert"), torch.no_grad():
            ws = self._inversion(resized(target, self._inversion.encoder.size)) + self._offset
        with self.timed("synthesise"), torch.no_grad():
            image = self._generator.synthesis(ws)
        if self._asked.stitching == "frame" and "stitching" not in self._asked.without:
            with self.timed("stitch"):
                image = stitch(self._generator, ws, target, image, masks, self._asked.options).image
        self.errors.append(float(masked_error(image, target, masks.border)))
        with self.timed("paste"):
            levels = ((image[0].clamp(-1, 1) + 1.0) * 127.5).round().permute(1, 2, 0)
            full = None
            if "mask" not in self._asked.without:
                full = (255.0 * masks.full[0, 0]).round().cpu().numpy().astype(np.uint8)
            return paste_quad(
                frame.rgb, np.ascontiguousarray(levels.cpu().numpy().astype(np.uint8)), quad, full
            )


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
