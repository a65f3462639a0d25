"""Enrolment from the clip to the bundle: tracking, alignment, inversion, tuning, packing; each stage is found again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from engine.align.masks import foreground
from engine.errors import BundleError, ConfigError
from engine.media import write_picture
from engine.types import U8, Mode
from export.checkpoints import Loaded, load
from export.enrol.moving import moving
from export.enrol.paper import Networks, Rendered, Rendering, check_rendering, render
from export.enrol.tracking import Alignment, Labels, Tell, track, write_crops
from export.pack import Label, pack
from export.place import check_place
from export.plan import GraphPlan
from export.systems import plan_of
from trainers import checkpoint
from trainers.checkpoint import Checkpoint
from trainers.errors import CheckpointError
from trainers.stit.bisenet import DEVIATION, MEAN, BiSeNet
from trainers.stit.clip import Clip
from trainers.stit.e4e import Inversion, resized
from trainers.stit.edits import F64, read_directions
from trainers.stit.generator import Generator
from trainers.stit.tuning import Outcome, Tuning, border_error, check_tuning, reconstruction_psnr, tune

SYSTEM = "stit"
_SHEET_FRAMES, _SHEET_SIDE = 6, 256
_PARSED = 512


@dataclass(frozen=True)
class Enrolment:
    """What is asked for beside the clip and the weights. size of the alignment: 0 takes the generator's."""

    tuning: Tuning = field(default_factory=Tuning)
    scale: float = 1.0
    centre_sigma: float = 1.0
    axes_sigma: float = 3.0
    most: int = 300
    landmarks: Path | None = None
    directions: Path | None = None
    backend: str = "auto"
    device: str = "cpu"
    quiet: bool = False
    render: Rendering | None = None
    """The paper's procedure on the clip, after the bundle is packed."""


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
    rendered: Rendered | None = None

    def lines(self) -> list[str]:
        """For people."""
        said = [f"{self.frames} of {self.total} frames enrolled"]
        said += [f"reconstruction, {name}: {value:.2f} dB" for name, value in self.psnr.items()]
        said += [
            f"border error of {name}: {before:.4f} before the border passes, {after:.4f} after them"
            for name, (before, after) in self.border.items()
        ]
        return said + (self.rendered.lines() if self.rendered is not None else [])


def enrol(
    clip: Path, weights: Path, out: Path, work: Path, options: Enrolment, label: Label, tell: Tell
) -> Enrolled:
    """Enrol a clip's person, or go on where the folder `work` has begun.

    weights: a STIT checkpoint with generator and encoder, and the parser where masks are to come from it. out: the
    bundle's folder. Raises MarotteError and TrainerError, one line each; what is done until then stays in `work`.
    """
    check_place(out, "manifest.json", frozenset({".onnx"}))
    loaded, generator, encoder, directions = check(weights, options)
    alignment = Alignment(
        generator.resolution, options.scale, options.centre_sigma, options.axes_sigma, options.most
    )
    if options.render is not None:
        check_rendering(clip, options.render, directions)
    tracked = track(clip, work, tell, options.landmarks, options.backend)
    labels = _parser_of(loaded)
    write_crops(clip, tracked, work, alignment, tell, labels, options.backend)
    _invert(work, encoder, tell, _device(options.device))
    opened = Clip(work)
    made = tune(
        opened,
        generator,
        loaded.arguments["generator"],
        options.tuning,
        work / "tuning",
        directions=directions,
        device=_device(options.device),
        quiet=options.quiet,
        tell=lambda done, steps: tell("tune", done, steps),
    )
    if made.interrupted:
        return Enrolled(len(opened), tracked.total, {}, {}, made.interrupted)
    tell("pack", 0, 1)
    found = _measured(opened, tracked.total, generator, made, options, directions)
    write_picture(work / "preview.png", _sheet(opened, generator, made, options, directions))
    person = moving(opened.mean_code(), options.tuning.edits, directions)
    _pack(loaded, made, out, work, label, _facts(options, found), person)
    tell("pack", 1, 1)
    if options.render is None:
        return found
    networks = Networks(generator, encoder, made, labels, _device(options.device))
    rendered = render(clip, tracked, alignment, networks, directions, options.render, tell, options.backend)
    return dataclasses.replace(found, rendered=rendered)


def check(weights: Path, options: Enrolment) -> tuple[Loaded, Generator, Inversion, Mapping[str, F64]]:
    """Whatever is wrong before there is a clip, as `enrol` raises it; else what an enrolment begins with."""
    loaded = load(weights)
    loaded.checkpoint.of_system(SYSTEM)
    for network in ("generator", "encoder"):
        if network not in loaded.arguments:
            raise CheckpointError(f"{weights}: holds no {network}; import ffhq.pkl and the e4e file together")
    generator, encoder = loaded.network("generator", Generator), loaded.network("encoder", Inversion)
    directions = {} if options.directions is None else read_directions(options.directions, generator.w_dim)
    check_tuning(options.tuning, directions)
    _device(options.device)
    return loaded, generator, encoder, directions


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: 'cuda' was asked for, and torch finds no GPU here; take 'cpu' or 'auto'")
    return torch.device(name)


def _parser_of(loaded: Loaded) -> Labels | None:
    if "parser" not in loaded.arguments:
        return None
    parser = loaded.network("parser", BiSeNet)
    mean, deviation = torch.tensor(MEAN)[:, None, None], torch.tensor(DEVIATION)[:, None, None]

    def labels(crop: U8) -> U8:
        side = min(_PARSED, crop.shape[0])
        small = cv2.resize(crop, (side, side), interpolation=cv2.INTER_NEAREST_EXACT)
        picture = torch.from_numpy(np.ascontiguousarray(small.transpose(2, 0, 1))).float() / 255.0
        with torch.no_grad():
            logits: Tensor = parser(((picture - mean) / deviation)[None])
        return foreground(logits[0].argmax(0).to(torch.uint8).numpy())

    return labels


def _invert(work: Path, encoder: Inversion, tell: Tell, device: torch.device) -> None:
    """`codes.npy` of the crops. Rows that are there stay, where encoder and crops are the same."""
    about = json.loads((work / "clip.json").read_text(encoding="utf-8"))
    rules = (work / "rules.json").read_bytes()
    digest = hashlib.sha256(rules)
    for name, value in encoder.state_dict().items():
        digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    mark, partial = work / "codes.mark", work / "codes.partial.npy"
    if (work / "codes.npy").exists() and _text(mark) == digest.hexdigest():
        return
    shape = (len(about["frames"]), encoder.encoder.rows, encoder.encoder.style_dim)
    if not partial.exists() or _text(mark) != digest.hexdigest():
        new = np.lib.format.open_memmap(partial, "w+", np.float32, shape)
        new[:] = np.nan
        new.flush()
        mark.write_text(digest.hexdigest(), encoding="utf-8")
        (work / "codes.npy").unlink(missing_ok=True)
    codes = np.lib.format.open_memmap(partial, "r+")
    encoder = encoder.to(device)
    for index, number in enumerate(about["frames"]):
        if np.isnan(codes[index]).any():
            codes[index] = _code(work / "crops" / f"{number:06d}.png", encoder, device)
        tell("invert", index + 1, shape[0])
    codes.flush()
    partial.replace(work / "codes.npy")


def _code(path: Path, encoder: Inversion, device: torch.device) -> Any:
    pixels = cv2.imread(str(path))
    if pixels is None:
        raise CheckpointError(f"{path}: missing or no picture; remove its folder and enrol anew")
    rgb = torch.from_numpy(np.ascontiguousarray(pixels[..., ::-1].transpose(2, 0, 1))).float()
    with torch.no_grad():
        ws = encoder(resized((rgb / 127.5 - 1.0)[None].to(device), encoder.encoder.size))
    return ws[0].cpu().numpy()


def _measured(
    clip: Clip,
    total: int,
    generator: Generator,
    made: Outcome,
    options: Enrolment,
    directions: Mapping[str, F64],
) -> Enrolled:
    before = made.pivotal or made.generator
    psnr = {"by the encoder alone": reconstruction_psnr(generator, clip)}
    psnr["after pivotal tuning"] = reconstruction_psnr(before, clip)
    border: dict[str, tuple[float, float]] = {}
    if made.pivotal is not None:
        psnr["after the border passes"] = reconstruction_psnr(made.generator, clip)
        for reach in options.tuning.edits:
            offset = 0.5 * reach.high * directions[reach.name]
            border[f"{reach.name} {reach.high:g}"] = (
                border_error(before, clip, offset),
                border_error(made.generator, clip, offset),
            )
    return Enrolled(len(clip), total, psnr, border)


def _sheet(
    clip: Clip, generator: Generator, made: Outcome, options: Enrolment, directions: Mapping[str, F64]
) -> U8:
    """Rows: frames over the clip. Columns: crop, encoder alone, tuned, and the first edit at its strongest."""
    first = options.tuning.edits[0] if options.tuning.edits else None
    rows = []
    for index in np.unique(np.linspace(0, len(clip) - 1, min(_SHEET_FRAMES, len(clip))).astype(int)):
        ws = clip.code(int(index))
        with torch.no_grad():
            row = [clip.crop(int(index)), generator.synthesis(ws), made.generator.synthesis(ws)]
            if first is not None:
                offset = torch.from_numpy(0.5 * first.high * directions[first.name]).to(ws)
                row.append(made.generator.synthesis(ws + offset))
        rows.append(np.concatenate([_pixels(picture) for picture in row], axis=1))
    return np.ascontiguousarray(np.concatenate(rows), np.uint8)


def _pixels(picture: Tensor) -> U8:
    rgb = ((picture[0].clamp(-1, 1) + 1.0) * 127.5).round().permute(1, 2, 0).numpy().astype(np.uint8)
    side = min(_SHEET_SIDE, rgb.shape[0])
    return np.asarray(cv2.resize(rgb, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def _facts(options: Enrolment, found: Enrolled) -> dict[str, Any]:
    """What the live path reads of a person beside the graphs: the edits in the order of the port `strengths`, with
    their reach, and how crops were cut; and what was measured."""
    edits = options.tuning.edits
    return {
        "edits": [reach.name for reach in edits],
        "edits_low": [reach.low for reach in edits],
        "edits_high": [reach.high for reach in edits],
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
    person: GraphPlan,
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
    plan = plan_of(load(work / "enrolled"))
    clash = set(plan.parameters.facts) & set(facts)
    if clash:
        raise BundleError(f"the bundle's facts {sorted(clash)} are stated twice")
    parameters = dataclasses.replace(
        plan.parameters, facts={**plan.parameters.facts, **facts}, modes=frozenset(Mode)
    )
    pack(dataclasses.replace(plan, graphs=(*plan.graphs, person), parameters=parameters), label, out)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
