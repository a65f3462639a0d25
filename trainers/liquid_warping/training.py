"""Liquid Warping GAN as a system that is trained: on many persons, or tuned to one."""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainers.liquid_warping import losses
from trainers.liquid_warping.clips import Clips, open_clips
from trainers.liquid_warping.discriminators import PartsDiscriminator
from trainers.liquid_warping.face_loss import FaceDistance, face_distance
from trainers.liquid_warping.generator import LiquidWarpingGenerator
from trainers.liquid_warping.low_rank import LowRank, shapes_of
from trainers.liquid_warping.personal import Tuning, adapted
from trainers.liquid_warping.recipe import LiquidWarpingRecipe
from trainers.liquid_warping.samples import Many, One, of_batch, only_person
from trainers.liquid_warping.step import (
    Judges,
    Learnt,
    Sample,
    Shown,
    Terms,
    critic_terms,
    generator_terms,
    show,
    total,
)
from trainers.perceptual import perceptual_distance
from trainers.system import Batch, Pictures, Scalars, Split, Stage, System, Turn


class LiquidWarping(System):
    """The networks and their step: "generator" and "critic"; of a person's tuning "own_critic", which always begins
    anew, and "chosen", the generator's best weights so far."""

    name: ClassVar[str] = "liquid_warping"
    Recipe: ClassVar[type] = LiquidWarpingRecipe

    def __init__(self, recipe: LiquidWarpingRecipe) -> None:
        self.recipe = recipe
        shape, critic, weights = recipe.generator, recipe.critic, recipe.losses
        self._perceptual = perceptual_distance(weights.perceptual, weights.vgg19, "losses.vgg19")
        self._face = face_distance(weights.sphereface, "losses.sphereface") if weights.face else None
        of_generator: dict[str, Any] = {
            "block": shape.block,
            "widths": list(shape.widths),
            "residual_blocks": shape.residual_blocks,
            "background_widths": list(shape.background_widths),
            "background_blocks": shape.background_blocks,
        }
        self.generator = LiquidWarpingGenerator(**of_generator)
        self.generator.checkpointed = shape.checkpointed
        of_critic: dict[str, Any] = {
            "parts": ["global"] if recipe.personal else ["global", *critic.parts],
            "background": not recipe.personal and critic.background and bool(recipe.data.scenes),
            "width": critic.width,
            "layers": critic.layers,
            "widest": critic.widest,
        }
        self.critic = PartsDiscriminator(**of_critic)
        judge = "own_critic" if recipe.personal else "critic"
        networks: dict[str, nn.Module] = {"generator": self.generator, judge: self.critic}
        arguments = {"generator": of_generator, judge: of_critic}
        self.tuning: Tuning | None = None
        if recipe.personal:
            chosen = copy.deepcopy(self.generator).requires_grad_(False)
            networks["chosen"], arguments["chosen"] = chosen, of_generator
            factors = None
            if recipe.personalising.adapted == "low_rank":
                of_factors: dict[str, Any] = {
                    "shapes": shapes_of(self.generator),
                    "rank": recipe.personalising.rank,
                }
                factors = networks["factors"] = LowRank(**of_factors)
                arguments["factors"] = of_factors
            self.tuning = Tuning(recipe.personalising, self.generator, chosen, factors)
        self.networks: Mapping[str, nn.Module] = networks
        self.arguments: Mapping[str, Mapping[str, Any]] = arguments
        distance = None if self._perceptual is None else losses.Resized(self._perceptual)
        self.judges = Judges(self.critic, distance, self._face)
        self._clips: Clips | None = None
        self._views: One | None = None

    def stages(self) -> Sequence[Stage]:
        return self.recipe.stages

    def frozen(self) -> Iterable[nn.Module]:
        found: tuple[nn.Module | FaceDistance | None, ...] = (self._perceptual, self._face)
        return tuple(one for one in found if one is not None)

    def pictures(self, split: Split, stage: str) -> Pictures:
        clips, data = self._opened(), self.recipe.data
        if not self.recipe.personal:
            return Many(clips.of(split), data)
        if split == "validation":
            self._views = One(only_person(clips), data, held_back=True)
            return self._views
        return One(only_person(clips), data, held_back=False)

    def _opened(self) -> Clips:
        if self._clips is None:
            data = self.recipe.data
            lists = Path(data.lists) if data.lists else None
            self._clips = open_clips(Path(data.folder), data.size, lists=lists, person=data.person)
        return self._clips

    def optimisers(self) -> Mapping[str, Optimizer]:
        how = self.recipe.optimiser
        betas = (how.beta1, how.beta2)
        what = self.recipe.personalising.adapted if self.recipe.personal else "all"
        factors = None if self.tuning is None else self.tuning.factors
        moved = adapted(self.generator, what) if factors is None else list(factors.parameters())
        return {
            "generator": torch.optim.Adam(moved, lr=how.rate, betas=betas),
            "critic": torch.optim.Adam(self.critic.parameters(), lr=how.critic_rate, betas=betas),
        }

    def rate(self, optimiser: str, turn: Turn) -> float:
        left = 1 - turn.stage_step / max(1, turn.stage_steps)
        falling = self.recipe.optimiser.falling
        return min(1.0, left / falling) if falling else 1.0

    def averages(self) -> Mapping[str, float]:
        kept = self.recipe.optimiser.average
        return {"generator": kept} if kept and not self.recipe.personal else {}

    def starts_averaged(self) -> Collection[str]:
        """A person's tuning has a critic of its own, and starts from what a bundle of the shared weights would hold."""
        return ("generator",) if self.recipe.personal else ()

    def finished(self, turn: Turn) -> bool:
        return self.tuning is not None and self.tuning.looks.done

    def step(self, batch: Batch, turn: Turn) -> Scalars:
        if self.tuning is not None and turn.stage_step == 0:
            self.tuning.begin(self._views, turn.device)
        clip = self.recipe.optimiser.clip or None
        sample = of_batch(batch, temporal=self.recipe.generator.temporal)
        with turn.autocast():
            shown = self._show(self.generator, sample)
        terms = generator_terms(shown, sample, self.judges, self.recipe.losses)
        turn.descend(total(terms), "generator", clip=clip)
        learnt = None
        if self.recipe.losses.adversarial:
            learnt = critic_terms(self.critic, shown, sample)
            turn.descend(total(learnt.terms), "critic", clip=clip)
        scalars: dict[str, Tensor | float] = {**_recorded(terms, learnt), **_of_masks(shown, sample)}
        if self.tuning is not None:
            scalars |= self.tuning.after(turn, self._views)
        return scalars

    def _show(self, generator: LiquidWarpingGenerator, sample: Sample) -> Shown:
        return show(generator, sample) if self.tuning is None else self.tuning.show(sample)

    def sample(self, networks: Mapping[str, nn.Module], batch: Batch, turn: Turn) -> npt.NDArray[np.uint8]:
        """Per row: the first source, its texture at the target's places, the target made and real, its mask, the
        background."""
        generator = networks["generator"]
        assert isinstance(generator, LiquidWarpingGenerator)
        sample = of_batch(batch, temporal=False)
        shown = self._show(generator, sample)
        columns = [
            sample.real_sources[:, 0],
            sample.targets[:, 0, :3],
            shown.targets[:, 0],
            sample.real_targets[:, 0],
            (2 * shown.masks[:, -sample.targets.shape[1]] - 1).expand(-1, 3, -1, -1),
            shown.background,
        ]
        stacked = torch.stack([column.float().clamp(-1, 1) for column in columns], dim=1)
        return ((stacked + 1) * 127.5).round().byte().permute(0, 1, 3, 4, 2).cpu().numpy()

    def validate(self, networks: Mapping[str, nn.Module], batch: Batch, turn: Turn) -> Scalars:
        generator = networks["generator"]
        assert isinstance(generator, LiquidWarpingGenerator)
        sample = of_batch(batch, temporal=False)
        made, real = self._show(generator, sample).targets.clamp(-1, 1), sample.real_targets
        each = (made - real).square().mean((1, 2, 3, 4)).clamp(min=1e-12)
        scalars = {"l1": losses.absolute(made, real), "psnr": (10 * torch.log10(4.0 / each)).mean()}
        if self.judges.perceptual is not None:
            scalars["perceptual"] = self.judges.perceptual(made.flatten(0, 1), real.flatten(0, 1))
        return scalars

    def state(self) -> Mapping[str, Any]:
        return {} if self.tuning is None else {"looks": self.tuning.looks.table()}

    def restore(self, state: Mapping[str, Any]) -> None:
        if self.tuning is not None:
            self.tuning.looks = type(self.tuning.looks).of(state["looks"])

    def about_data(self) -> Mapping[str, Any]:
        return {} if self._clips is None else dict(self._clips.about)

    def facts(self, turn: Turn) -> Mapping[str, Any]:
        found: dict[str, Any] = {
            "sources": self.recipe.data.sources,
            "background_erosion": self.recipe.data.background_erosion,
        }
        if self.tuning is not None:
            looks = self.tuning.looks
            found["personalised"] = {
                "steps": looks.step,
                "psnr_before": _known(looks.before),
                "psnr": _known(looks.best),
                "adapted": self.recipe.personalising.adapted,
            }
        return found


def _known(value: float) -> float | None:
    return None if math.isinf(value) else round(value, 3)


def _recorded(terms: Terms, learnt: Learnt | None) -> dict[str, Tensor | float]:
    found: dict[str, Tensor | float] = {f"generator/{name}": term.detach() for name, term in terms.items()}
    if learnt is None:
        return found
    found |= {f"critic/{name}": term.detach() for name, term in learnt.terms.items()}
    return {**found, "critic/says_real": learnt.says_of_real, "critic/says_fake": learnt.says_of_fake}


def _of_masks(shown: Shown, sample: Sample) -> dict[str, Tensor]:
    """How much background there is, and how much there should be."""
    return {"mask/mean": shown.masks.detach().mean(), "mask/real": sample.masks.mean()}
