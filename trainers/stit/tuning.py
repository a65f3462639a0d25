"""A person's tuning from first to last: pivotal passes, then passes in which the border counts as well.

One step is one frame. It depends on the generator, the optimiser's moments, the frame and the step's number, and on
nothing else, so a tuning that is interrupted and resumed gives the same weights as one that is not.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainers import checkpoint
from trainers.alone import Alone
from trainers.checkpoint import Checkpoint, Training, as_json
from trainers.errors import CheckpointError, DivergedError, RecipeError
from trainers.keep import Keeper
from trainers.moments import Names
from trainers.progress import Progress
from trainers.stit import pivotal, stitching
from trainers.stit.clip import Clip
from trainers.stit.directions import Direction, Offset, edited_styles, synthesised
from trainers.stit.generator import Generator
from trainers.stit.lpips import distance
from trainers.stit.masks import masked_error
from trainers.stit.pivotal import Pivotal
from trainers.stit.stitching import Amortised, Reach
from trainers.stopping import Stopping

SYSTEM = "stit"
PIVOTAL, STITCHING = "pivotal", "stitching"
_GOLDEN = 0.6180339887498949
"""Multiples of it, less their whole parts, lie as evenly in 0..1 as any, however many there are."""


@dataclass(frozen=True)
class Tuning:
    """What a tuning is asked for. edits: what the live page will offer, for the border passes; names of directions."""

    pivotal: Pivotal = field(default_factory=Pivotal)
    stitching: Amortised = field(default_factory=Amortised)
    edits: tuple[Reach, ...] = ()
    seed: int = 0
    save_every_s: float = 120.0


@dataclass(frozen=True)
class Outcome:
    """How a tuning ended. generator: tuned, in eval mode, on the CPU. pivotal: as it was before the border passes, None
    where it did not come to them. seconds: of CPU time that the steps of each stage took, all runs of them together.
    interrupted: the signal's name, or empty."""

    generator: Generator
    pivotal: Generator | None
    step: int
    steps: int
    checkpoint: Path
    interrupted: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)


def tune(
    clip: Clip,
    original: Generator,
    arguments: Mapping[str, Any],
    options: Tuning,
    out: Path,
    *,
    directions: Mapping[str, Direction] | None = None,
    facts: Mapping[str, Any] | None = None,
    device: torch.device | None = None,
    quiet: bool = False,
    tell: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Tune a copy of `original` to a clip, or go on where the folder `out` has a tuning of it.

    arguments: of the generator's constructor. directions: by name, at least those of `options.edits`. facts:
    kept in the checkpoint. tell: told of each step, how many are done of how many. Raises TrainerError: RecipeError and
    CheckpointError before a step is made.
    """
    out.mkdir(parents=True, exist_ok=True)
    with closing(Alone(out)):
        run = _Run(clip, original, arguments, options, out, dict(directions or {}), dict(facts or {}), device)
        run.resume()
        return run.through(quiet, tell)


def check_tuning(options: Tuning, directions: Mapping[str, Direction]) -> None:
    """Raises what `tune` raises of its options alone."""
    _check_edits(options.edits, directions)
    distance(options.pivotal.perceptual, options.pivotal.lpips, "pivotal.lpips")


def _check_edits(edits: Sequence[Reach], directions: Mapping[str, Direction]) -> None:
    for reach in edits:
        if reach.name not in directions:
            raise RecipeError(f"edit {reach.name!r} has no direction; name one of {sorted(directions)}")


def border_error(
    generator: Generator, clip: Clip, offset: Offset | None = None, frames: Sequence[int] | None = None
) -> float:
    """Mean over the clip, or over these frames of it, of the squared border error (three times a mean, pictures in
    -1..1) of pictures that are edited by `offset`."""
    device = next(generator.parameters()).device
    errors = []
    for index in range(len(clip)) if frames is None else frames:
        with torch.no_grad():
            image = synthesised(generator.synthesis, clip.code(index).to(device), offset)
        border = clip.masks(index).border.to(device)
        errors.append(float(masked_error(image, clip.crop(index).to(device), border)))
    return float(np.mean(errors))


def reconstruction_psnr(generator: Generator, clip: Clip) -> float:
    """Mean over the clip of the peak signal-to-noise ratio in dB of the pivots' pictures against the crops."""
    device = next(generator.parameters()).device
    ratios = []
    for index in range(len(clip)):
        with torch.no_grad():
            image = generator.synthesis(clip.code(index).to(device)).clamp(-1, 1)
        error = float((image - clip.crop(index).to(device)).square().mean()) / 4.0
        ratios.append(-10.0 * math.log10(max(error, 1e-12)))
    return float(np.mean(ratios))


class _Run:
    """One tuning: see `tune`."""

    def __init__(
        self,
        clip: Clip,
        original: Generator,
        arguments: Mapping[str, Any],
        options: Tuning,
        out: Path,
        directions: dict[str, Direction],
        facts: dict[str, Any],
        device: torch.device | None,
    ) -> None:
        self.clip, self.options, self.out = clip, options, out
        self.arguments, self.facts = as_json(arguments), facts
        self.directions, self.device = directions, device or torch.device("cpu")
        self._check(original)
        self.distance = _on(
            distance(options.pivotal.perceptual, options.pivotal.lpips, "pivotal.lpips"), self.device
        )
        self.original = _frozen(original, self.device)
        self.generator = copy.deepcopy(original).to(self.device).requires_grad_(True).train()
        self.pivotal: Generator | None = None
        border = options.stitching.steps or options.stitching.passes * len(clip)
        self.step, self.counts = 0, [options.pivotal.passes * len(clip), border]
        self.seconds = {PIVOTAL: 0.0, STITCHING: 0.0}
        self.optimiser = self._optimiser()

    @property
    def stage(self) -> str:
        return PIVOTAL if self.step < self.counts[0] else STITCHING

    def _check(self, original: Generator) -> None:
        wanted = (original.num_ws, original.w_dim)
        if self.clip.rows != wanted:
            raise RecipeError(
                f"the clip's codes have {self.clip.rows} rows and numbers, the generator {wanted}"
            )
        if original.resolution != self.clip.size:
            raise RecipeError(
                f"the generator makes {original.resolution} px, the clip's crops have {self.clip.size}; enrol anew"
            )
        _check_edits(self.options.edits, self.directions)

    def _optimiser(self) -> torch.optim.Adam:
        if self.stage == PIVOTAL:
            return pivotal.optimiser(self.generator, self.options.pivotal)
        return torch.optim.Adam(self.generator.parameters(), lr=self.options.stitching.learning_rate)

    # --- resuming ----------------------------------------------------------------------------------

    def resume(self) -> None:
        if not (self.out / "latest.json").exists():
            return
        found = checkpoint.read(self.out).of_system(SYSTEM)
        training = found.training()
        mine = self._described()
        for name, what in (("clip", "of another clip"), ("tuning", "with other options")):
            if training.state.get(name) != mine[name]:
                raise CheckpointError(f"{self.out}: holds a tuning {what}; name another folder, or remove it")
        try:
            self.step, moments = int(training.state["step"]), training.state["moments"]
            spent = training.state.get("seconds", {})  # none in those of older versions
            self.seconds = {name: float(spent.get(name, 0.0)) for name in self.seconds}
        except (KeyError, TypeError, ValueError) as error:
            raise checkpoint.damaged(found, error) from error
        found.load("generator", self.generator)
        if "pivotal" in found.networks():
            before = copy.deepcopy(self.original)
            found.load("pivotal", before)
            self.pivotal = before
        self.optimiser = self._optimiser()
        self._names().unpack(training.tensors, moments)

    def _names(self) -> Names:
        return Names({"generator": self.generator}, {"generator": self.optimiser})

    def _described(self) -> dict[str, Any]:
        asked = dataclasses.asdict(dataclasses.replace(self.options, save_every_s=0.0))
        return {"clip": self.clip.fingerprint(), "tuning": as_json(asked)}

    def _save(self, keeper: Keeper) -> Path:
        tensors, numbers = self._names().pack()
        weights = {"generator": self.generator.state_dict()}
        if self.pivotal is not None:
            weights["pivotal"] = self.pivotal.state_dict()
        state = {
            "step": self.step,
            "moments": numbers,
            "seconds": {name: round(spent, 3) for name, spent in self.seconds.items()},
            **self._described(),
        }
        about = Checkpoint(
            SYSTEM,
            dict.fromkeys(weights, self.arguments),
            step=self.step,
            data={"size": self.clip.size, "frames": len(self.clip)},
            facts=self.facts,
        )
        return keeper.save(about, weights, Training(state, tensors))

    # --- the steps ---------------------------------------------------------------------------------

    def through(self, quiet: bool, tell: Callable[[int, int], None] | None) -> Outcome:
        keeper = Keeper(self.out, 1, lambda step: False)
        saved_s, first, total = time.monotonic(), self.step, sum(self.counts)
        with closing(Progress(total, self.step, quiet=quiet)) as progress, Stopping() as stopping:
            while self.step < total and not stopping.asked:
                if self.step == self.counts[0] and self.pivotal is None:
                    self._turn()
                stage, began_s = self.stage, time.process_time()
                scalars = self._one()
                self.seconds[stage] += time.process_time() - began_s
                self.step += 1
                progress.step(self.step, scalars)
                if tell is not None:
                    tell(self.step, total)
                if time.monotonic() - saved_s > self.options.save_every_s:
                    self._save(keeper)
                    saved_s = time.monotonic()
        nothing_new = self.step == first and (self.out / "latest.json").exists()
        kept = checkpoint.latest(self.out) if nothing_new else self._save(keeper)
        return Outcome(
            _frozen(self.generator, torch.device("cpu")),
            self.pivotal,
            self.step,
            total,
            kept,
            stopping.asked,
            dict(self.seconds),
        )

    def _turn(self) -> None:
        """From the pivotal passes to those of the border: what the generator is now stays at hand."""
        self.pivotal = _frozen(self.generator, self.device)
        self.optimiser = self._optimiser()

    def _one(self) -> dict[str, float]:
        index = self._frame()
        numbers = np.random.default_rng([self.options.seed, self.step])
        ws, crop = self.clip.code(index).to(self.device), self.clip.crop(index).to(self.device)
        pivots, how = self.counts[0], self.options
        if self.stage == PIVOTAL:
            terms = self._pivotal(ws, crop, numbers)
            rate = pivotal.rate(how.pivotal.learning_rate, how.pivotal.falling, self.step, pivots)
        else:
            terms = self._border(index, ws, crop, numbers)
            place = self.step - pivots, self.counts[1]
            rate = pivotal.rate(how.stitching.learning_rate, how.stitching.falling, *place)
        self.optimiser.param_groups[0]["lr"] = rate
        scalars = pivotal.step(self.optimiser, terms)
        if not math.isfinite(scalars["loss"]):
            raise DivergedError(
                f"the loss is {scalars['loss']} at step {self.step} of the {self.stage} passes; lower their "
                "learning_rate"
            )
        return scalars

    def _frame(self) -> int:
        """Whose turn it is: frame by frame, and where fewer steps than passes are made, spread over the clip."""
        if self.stage == STITCHING and self.options.stitching.steps:
            return int((self.step - self.counts[0]) * _GOLDEN % 1.0 * len(self.clip))
        return self.step % len(self.clip)

    def _pivotal(self, ws: Tensor, crop: Tensor, numbers: np.random.Generator) -> pivotal.Terms:
        options = self.options.pivotal
        terms = pivotal.pivot_terms(self.generator.synthesis(ws), crop, self.distance, options)
        if options.locality.every and self.step % options.locality.every == 0:
            drawn = numbers.standard_normal((1, self.generator.z_dim)).astype(np.float32)
            z = torch.from_numpy(drawn).to(self.device)
            terms |= pivotal.locality_terms(
                self.generator, self.original, ws, z, self.distance, options.locality
            )
        return terms

    def _border(self, index: int, ws: Tensor, crop: Tensor, numbers: np.random.Generator) -> pivotal.Terms:
        options = self.options.stitching
        offset = stitching.drawn_edit(self.options.edits, self.directions, numbers, options.several)
        if self.pivotal is None:
            raise RuntimeError("the border passes begin with the tuned generator at hand")
        synthesis = self.generator.synthesis
        pairs = zip(synthesis.styles(ws), edited_styles(synthesis, ws, offset))
        images = synthesis.from_styles([torch.cat(pair) for pair in pairs])
        with torch.no_grad():
            edited = synthesised(self.pivotal.synthesis, ws, offset)
        masks = self.clip.masks(index).on(self.device)
        return {
            **pivotal.pivot_terms(images[:1], crop, self.distance, self.options.pivotal),
            **stitching.amortised_terms(images[1:], crop, edited, masks, options),
        }


def _frozen(generator: Generator, device: torch.device) -> Generator:
    return copy.deepcopy(generator).to(device).requires_grad_(False).eval()


def _on(module: nn.Module | None, device: torch.device) -> nn.Module | None:
    return None if module is None else module.to(device)
