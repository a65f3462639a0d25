"""Enrolment from the clip to the bundle: tracking, alignment, inversion, tuning, packing; each stage is found again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from engine.marks import MarksConfig
from engine.marks.files import session_of, write_marked
from engine.types import U8
from export.checkpoints import Loaded, load
from export.enrol.ablations import Ablations, ablate
from export.enrol.comparison import Comparison, compare
from export.enrol.edits import EditFiles, check_frozen, read_edits
from export.enrol.inverting import invert
from export.enrol.paper import Networks, Rendering, Scene, check_rendering
from export.enrol.person import Person, keep, parser_of, person_plan
from export.enrol.progress import Tell
from export.enrol.scenes import device_of
from export.enrol.tracking import Alignment, track, write_crops
from export.pack import Label, pack
from export.place import check_bundle_place
from trainers import checkpoint
from trainers.checkpoint import Checkpoint
from trainers.errors import CheckpointError
from trainers.stit.clip import Clip
from trainers.stit.directions import Direction, offset_of, synthesised
from trainers.stit.e4e import Inversion
from trainers.stit.generator import Generator
from trainers.stit.tuning import Outcome, Tuning, border_error, check_tuning, reconstruction_psnr, tune

SYSTEM = "stit"
_SHEET_FRAMES, _SHEET_SIDE = 6, 256


@dataclass(frozen=True)
class Enrolment:
    """What is asked for beside the clip and the weights. size of the alignment: 0 takes the generator's."""

    tuning: Tuning = field(default_factory=Tuning)
    scale: float = 1.0
    centre_sigma: float = 1.0
    axes_sigma: float = 3.0
    most: int = 300
    landmarks: Path | None = None
    edits: EditFiles = field(default_factory=EditFiles)
    freeze: int | None = None
    """The first row of the codes that stays the clip's mean."""
    backend: str = "auto"
    device: str = "cpu"
    quiet: bool = False
    half: bool = False
    """Weights of the bundle as float16."""
    render: Rendering | None = None
    """The paper's procedure on the clip, after the bundle is packed."""
    ablations: Ablations | None = None
    comparison: Comparison | None = None


@dataclass(frozen=True)
class Enrolled:
    """frames: enrolled, of `total`. psnr: dB of encoder, pivotal and final generator on the crops. border: border error
    of edits at the end of their reach, of the pivotal and the final generator; empty where nothing was edited.
    interrupted: the signal's name, or empty; nothing is packed then."""

    frames: int
    total: int
    psnr: Mapping[str, float]
    border: Mapping[str, tuple[float, float]]
    interrupted: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """CPU time of the tuning's stages."""
    told: tuple[str, ...] = ()
    """Of what was done with the person after the bundle was packed."""

    def lines(self) -> list[str]:
        """For people."""
        said = [f"{self.frames} of {self.total} frames enrolled"]
        first = next(iter(self.psnr.values()), 0.0)
        said += [
            f"reconstruction, {name}: {value:.2f} dB ({value - first:+.2f})"
            for name, value in self.psnr.items()
        ]
        said += [
            f"border error of {name}: {before:.4f} before the border passes, {after:.4f} after them "
            f"({100.0 * (after / before - 1.0):+.0f} %)"
            for name, (before, after) in self.border.items()
            if before > 0
        ]
        spent = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in self.seconds.items())
        return [*said, f"CPU time of the tuning's passes: {spent}", *self.told]


def enrol(
    clip: Path, weights: Path, out: Path, work: Path, options: Enrolment, label: Label, tell: Tell
) -> Enrolled:
    """Enrol a clip's person, or go on where the folder `work` has begun.

    weights: a STIT checkpoint with generator and encoder, and the parser where masks are to come from it. out: the
    bundle's folder. Raises MarotteError and TrainerError, one line each; what is done until then stays in `work`.
    """
    check_bundle_place(out)
    loaded, generator, encoder, directions = check(weights, options)
    alignment = Alignment(
        generator.resolution, options.scale, options.centre_sigma, options.axes_sigma, options.most
    )
    if options.render is not None:
        check_rendering(clip, options.render, directions)
    for one in (options.ablations, options.comparison):
        if one is not None:
            one.check(directions)
    tracked = track(clip, work, tell, options.landmarks, options.backend)
    labels = parser_of(loaded)
    write_crops(clip, tracked, work, alignment, tell, labels, options.backend)
    invert(work, encoder, tell, device_of(options.device), options.freeze)
    opened = Clip(work)
    made = tune(
        opened,
        generator,
        loaded.arguments["generator"],
        options.tuning,
        work / "tuning",
        directions=directions,
        device=device_of(options.device),
        quiet=options.quiet,
        tell=lambda done, steps: tell("tune", done, steps),
    )
    if made.interrupted:
        return Enrolled(len(opened), tracked.total, {}, {}, made.interrupted)
    tell("pack", 0, 1)
    found = _measured(opened, tracked.total, generator, made, options, directions)
    drawn = _sheet(opened, generator, made, options, directions)
    write_marked(work / "preview.png", drawn, MarksConfig(), session_of("stit preview", [drawn]))
    person = Person(opened.mean_code(), options.freeze, directions)
    _pack(loaded, made, out, work, label, _facts(options, found), person, options)
    tell("pack", 1, 1)
    still = None if options.freeze is None else (options.freeze, person.mean)
    networks = Networks(generator, encoder, made, labels, device_of(options.device), still)
    scene = Scene(clip, tracked, alignment, networks, directions, options.backend)
    return dataclasses.replace(found, told=tuple(_more(scene, opened, options, tell)))


def _more(scene: Scene, opened: Clip, options: Enrolment, tell: Tell) -> list[str]:
    """Renders and compares what was asked for; what there is to tell of it."""
    said: list[str] = []
    if options.render is not None:
        said += scene.render(options.render, tell).lines()
    if options.ablations is not None:
        said += ablate(scene, options.ablations, tell)
    if options.comparison is not None:
        said += compare(scene, opened, options.comparison, tell)
    return said


def check(weights: Path, options: Enrolment) -> tuple[Loaded, Generator, Inversion, Mapping[str, Direction]]:
    """Whatever is wrong before there is a clip, as `enrol` raises it; else what an enrolment begins with."""
    loaded = load(weights)
    loaded.checkpoint.of_system(SYSTEM)
    for network in ("generator", "encoder"):
        if network not in loaded.arguments:
            raise CheckpointError(f"{weights}: holds no {network}; import ffhq.pkl and the e4e file together")
    generator, encoder = loaded.network("generator", Generator), loaded.network("encoder", Inversion)
    directions = read_edits(options.edits, generator)
    check_tuning(options.tuning, directions)
    check_frozen(options.freeze, generator.num_ws)
    device_of(options.device)
    return loaded, generator, encoder, directions


def _measured(
    clip: Clip,
    total: int,
    generator: Generator,
    made: Outcome,
    options: Enrolment,
    directions: Mapping[str, Direction],
) -> Enrolled:
    before = made.pivotal or made.generator
    psnr = {"by the encoder alone": reconstruction_psnr(generator, clip)}
    psnr["after pivotal tuning"] = reconstruction_psnr(before, clip)
    border: dict[str, tuple[float, float]] = {}
    if made.pivotal is not None:
        psnr["after the border passes"] = reconstruction_psnr(made.generator, clip)
        for reach in options.tuning.edits:
            offset = offset_of(directions, {reach.name: reach.high})
            border[f"{reach.name} {reach.high:g}"] = (
                border_error(before, clip, offset),
                border_error(made.generator, clip, offset),
            )
    return Enrolled(len(clip), total, psnr, border, seconds=made.seconds)


def _sheet(
    clip: Clip, generator: Generator, made: Outcome, options: Enrolment, directions: Mapping[str, Direction]
) -> U8:
    """Rows: frames over the clip. Columns: crop, encoder alone, tuned, and the first edit at its strongest."""
    first = options.tuning.edits[0] if options.tuning.edits else None
    rows = []
    for index in np.unique(np.linspace(0, len(clip) - 1, min(_SHEET_FRAMES, len(clip))).astype(int)):
        ws = clip.code(int(index))
        with torch.no_grad():
            row = [clip.crop(int(index)), generator.synthesis(ws), made.generator.synthesis(ws)]
            if first is not None:
                offset = offset_of(directions, {first.name: first.high})
                row.append(synthesised(made.generator.synthesis, ws, offset))
        rows.append(np.concatenate([_pixels(picture) for picture in row], axis=1))
    return np.ascontiguousarray(np.concatenate(rows), np.uint8)


def _pixels(picture: Tensor) -> U8:
    rgb = ((picture[0].clamp(-1, 1) + 1.0) * 127.5).round().permute(1, 2, 0).numpy().astype(np.uint8)
    side = min(_SHEET_SIDE, rgb.shape[0])
    return np.asarray(cv2.resize(rgb, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def _facts(options: Enrolment, found: Enrolled) -> dict[str, Any]:
    """How crops were cut, which the live path reads, and what was measured."""
    return {
        "alignment_scale": options.scale,
        "enrolled_frames": found.frames,
        "enrolled_of": found.total,
        "enrolled_psnr_db": [round(value, 3) for value in found.psnr.values()],
        "border_error_before": [round(before, 6) for before, _ in found.border.values()],
        "border_error_after": [round(after, 6) for _, after in found.border.values()],
    }


def _pack(
    loaded: Loaded,
    made: Outcome,
    out: Path,
    work: Path,
    label: Label,
    facts: dict[str, Any],
    person: Person,
    options: Enrolment,
) -> None:
    """The tuned generator takes the place of the given one in a checkpoint, which is packed."""
    names = [name for name in ("encoder", "parser") if name in loaded.arguments]
    weights = {name: loaded.checkpoint.weights(name) for name in names}
    weights["generator"] = made.generator.state_dict()
    size = made.generator.resolution
    about = Checkpoint(
        SYSTEM,
        {name: loaded.arguments[name] for name in weights},
        step=made.step,
        data={**loaded.data, "crop": {"rule": "celeba-hq", "size": size}, "size": size},
        facts=dict(loaded.facts),
    )
    checkpoint.write(work / "enrolled", about, weights)
    keep(person, work)
    plan = person_plan(load(work / "enrolled"), person, options.tuning.edits, facts)
    pack(plan, label, out, half=options.half)
