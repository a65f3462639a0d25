"""GeoGAN as a system that is trained: stages, data, optimisers, one step, samples, guard."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainers.geogan import regions
from trainers.geogan.album import Opened, open_albums
from trainers.geogan.augment import augmented
from trainers.geogan.networks import (
    AttrMultiScalePatchDisc,
    FlowGenerator,
    Transfer,
    official_refinement_weight,
)
from trainers.geogan.pairs import Mixed, Nobody, Supervised, Unpaired
from trainers.geogan.recipe import MIXED, REMOVAL, SUPERVISED, WITH_CRITIC, GeoGANRecipe
from trainers.geogan.step import (
    Terms,
    adversarial_step,
    flow_terms,
    removal_terms,
    supervised_terms,
    total,
)
from trainers.system import (
    Batch,
    CarryOn,
    Pictures,
    Scalars,
    Split,
    Stage,
    Stop,
    System,
    Turn,
    Verdict,
)

SETTLED = 200
"""Steps of a stage after which the mask has to show something of both."""
LEAST_MASK, MOST_MASK = 1e-4, 0.97
"""Bounds of the blending mask's mean over pictures and time."""


class GeoGAN(System):
    """The networks and their step. Networks: "generator" (FlowGenerator), "critic" (AttrMultiScalePatchDisc)."""

    name: ClassVar[str] = "geogan"
    Recipe: ClassVar[type] = GeoGANRecipe

    def __init__(self, recipe: GeoGANRecipe) -> None:
        self.recipe = recipe
        shape, critic = recipe.generator, recipe.critic
        self.arguments: Mapping[str, Mapping[str, Any]] = {
            "generator": {
                "size": recipe.data.size,
                "width": shape.width,
                "downsamples": shape.downsamples,
                "blocks": shape.blocks,
                "norm": shape.norm,
                "only_residual": shape.only_residual,
            },
            "critic": {
                "width": critic.width,
                "layers": critic.layers,
                "scales": critic.scales,
                "attributes": len(recipe.attributes),
                "norm": critic.norm,
            },
        }
        self.generator = FlowGenerator(**self.arguments["generator"]).pointwise_first()
        self.critic = AttrMultiScalePatchDisc(**self.arguments["critic"])
        self.networks: Mapping[str, nn.Module] = {"generator": self.generator, "critic": self.critic}
        self._begin()
        self._opened: Opened | None = None
        self._mask = -1.0

    def _begin(self) -> None:
        """Start mask, flow and residuals where the recipe says."""
        if self.recipe.generator.only_residual:
            return
        start, made = self.recipe.start, self.generator
        nn.init.constant_(made.flow_mask_tail.output.get_parameter("0.bias"), start.mask)
        for spread, tails in (
            (start.flow, (made.flow_tail_By,)),
            (start.residual, (made.flow_res_tail, made.res_tail)),
        ):
            for tail in tails if spread is not None else ():
                nn.init.zeros_(tail.output.get_parameter("0.bias"))
                nn.init.normal_(tail.output.get_parameter("0.weight"), std=spread or 0.0)

    def stages(self) -> Sequence[Stage]:
        return self.recipe.stages

    def pictures(self, split: Split, stage: str) -> Pictures:
        recipe = self.recipe
        if self._opened is None:
            self._opened = open_albums(recipe.data, recipe.attributes)
        album = self._opened.train if split == "train" else self._opened.validation
        if split == "validation" and not len(album.faces):
            return Nobody()
        if stage in (SUPERVISED, REMOVAL):
            return Supervised(album, recipe.shares)
        unpaired = Unpaired(album, recipe.attributes, recipe.data.target_lacks, recipe.data.pairing)
        if stage == MIXED:
            return Mixed(Supervised(album, recipe.shares), unpaired, recipe.shares.unpaired)
        return unpaired

    def optimisers(self) -> Mapping[str, Optimizer]:
        how = self.recipe.optimiser
        betas = (how.beta1, how.beta2)
        last = [value for name, value in self.generator.named_parameters() if ".output." in name]
        rest = [value for name, value in self.generator.named_parameters() if ".output." not in name]
        groups = [{"params": rest, "lr": how.rate}, {"params": last, "lr": how.rate * how.output}]
        return {
            "generator": torch.optim.Adam(groups, betas=betas),
            "critic": torch.optim.Adam(self.critic.parameters(), lr=how.critic_rate, betas=betas),
        }

    def rate(self, optimiser: str, turn: Turn) -> float:
        how = self.recipe.optimiser
        generator = optimiser == "generator"
        share = how.with_critic if generator and turn.stage in WITH_CRITIC else 1.0
        if how.decay_epochs == 0:
            return share * (
                0.02 + 0.49 * (1 + math.cos(math.pi * turn.stage_step / max(1, turn.stage_steps)))
            )
        factor = how.generator_decay if generator else how.critic_decay
        return share * float(factor ** (int(turn.epoch) // how.decay_epochs))

    def averages(self) -> Mapping[str, float]:
        return {"generator": self.recipe.optimiser.average} if self.recipe.optimiser.average else {}

    def refinement_weight(self, turn: Turn) -> float:
        """The weight of refinement at this turn."""
        how = self.recipe.refinement
        if how.schedule == "constant" or turn.stage not in WITH_CRITIC:
            return how.weight
        return official_refinement_weight(int(turn.epoch), how.weight)

    def step(self, batch: Batch, turn: Turn) -> Scalars:
        self.generator.refinement_weight = self.refinement_weight(turn)
        pair = augmented(dict(batch), self.recipe.augmentation, turn.generator)
        clip = self.recipe.optimiser.clip or None
        weights = self.recipe.losses
        if turn.stage == SUPERVISED:
            there, terms = self._supervised(pair, turn)
            turn.descend(total(terms), "generator", clip=clip)
            return {**_detached("generator", terms), **_of_transfer(there)}
        if turn.stage == REMOVAL:
            terms = self._removal(pair, turn)
            turn.descend(total(terms), "generator", clip=clip)
            return _detached("generator", terms)
        cycle, of_generator, of_critic = adversarial_step(
            self.generator, self.critic, pair, weights, turn, clip
        )
        return {
            **_detached("generator", of_generator),
            **_detached("critic", of_critic),
            **_of_transfer(cycle.there),
        }

    def _supervised(self, pair: dict[str, Tensor], turn: Turn) -> tuple[Transfer, Terms]:
        removed = None
        with turn.autocast():
            there = self.generator.add_attribute(pair["target"], pair["donor"])
            if turn.stage_step % self.recipe.removal_every == 0:
                shown = there.mask_in_donor.detach()
                mask = regions.removal_masks(shown, pair["donor_landmarks"], turn.generator)
                removed = self.generator.remove_attribute(pair["donor"], mask)
        terms = flow_terms((there,), pair, self.recipe.losses)
        return there, terms | supervised_terms(there, removed, pair, self.recipe.losses)

    def _removal(self, pair: dict[str, Tensor], turn: Turn) -> Terms:
        """The removal network alone; every third step with the masks of a transfer, which cost more than the rest."""
        shown = regions.removal_mask(pair["donor_landmarks"], pair["donor"].shape[-1])
        with turn.autocast():
            if turn.stage_step % 3 == 0:
                with torch.no_grad():
                    flow, mask = self.generator.flow_and_mask(pair["target"], pair["donor"])
                    shown = self.generator.warp(mask, -flow)
            masks = regions.removal_masks(shown, pair["donor_landmarks"], turn.generator)
            removed = self.generator.remove_attribute(pair["donor"], masks)
        return removal_terms(removed, pair, self.recipe.losses)

    def sample(self, networks: Mapping[str, nn.Module], batch: Batch, turn: Turn) -> npt.NDArray[np.uint8]:
        generator = networks["generator"]
        assert isinstance(generator, FlowGenerator)
        generator.refinement_weight = self.refinement_weight(turn)
        cycle = generator(batch["target"], batch["donor"])
        there = cycle.there
        masks = [mask.expand(-1, 3, -1, -1) * 2 - 1 for mask in (there.mask, there.mask_in_donor)]
        columns = [batch["target"], batch["donor"], there.image, *masks, there.warped]
        columns += [0.5 * there.residual, cycle.removed, cycle.target_again, cycle.back.image]
        if "wanted" in batch:
            columns.append(batch["wanted"])
        stacked = torch.stack([column.float().clamp(-1, 1) for column in columns], dim=1)
        return ((stacked + 1) * 127.5).round().byte().permute(0, 1, 3, 4, 2).cpu().numpy()

    def validate(self, networks: Mapping[str, nn.Module], batch: Batch, turn: Turn) -> Scalars:
        generator = networks["generator"]
        assert isinstance(generator, FlowGenerator)
        generator.refinement_weight = self.refinement_weight(turn)
        there = generator.add_attribute(batch["target"], batch["donor"])
        scalars = dict(_of_transfer(there))
        if "wanted" in batch:
            has, plain = (batch[name].reshape(-1, 1, 1, 1) for name in ("has_wanted", "has_plain"))
            mask = regions.removal_mask(batch["donor_landmarks"], batch["donor"].shape[-1])
            removed = generator.remove_attribute(batch["donor"], mask)
            for name, given, kept, aim, counted in (
                ("transfer", there.image, batch["target"], batch["wanted"], has),
                ("removal", removed, batch["donor"], batch["donor_plain"], plain),
            ):
                counts = counted.mean().clamp(min=1e-3)
                scalars[f"{name}_error"] = ((given - aim).abs() * counted).mean() / counts
                scalars[f"{name}_unchanged"] = ((kept - aim).abs() * counted).mean() / counts
        return scalars

    def watch(self, scalars: Mapping[str, float], turn: Turn) -> Verdict:
        mean = scalars.get("mask/mean")
        if mean is None or self.recipe.generator.only_residual:
            return CarryOn()
        self._mask = mean if self._mask < 0 else 0.99 * self._mask + 0.01 * mean
        if turn.stage_step < SETTLED or LEAST_MASK < self._mask < MOST_MASK:
            return CarryOn()
        shown = "nothing of the donor" if self._mask < 0.5 else "nothing of the target"
        return Stop(
            f"the blending mask is {self._mask:.4f} in the mean: it shows {shown}; "
            + ("lower losses.mask" if self._mask < 0.5 else "raise losses.mask, or lower start.mask")
        )

    def state(self) -> Mapping[str, Any]:
        return {"mask": self._mask}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._mask = float(state["mask"])

    def about_data(self) -> Mapping[str, Any]:
        return {} if self._opened is None else dict(self._opened.about)

    def facts(self, turn: Turn) -> Mapping[str, Any]:
        return {
            "refinement_weight": self.refinement_weight(turn),
            "norm": self.recipe.generator.norm,
        }


def _detached(network: str, terms: Terms) -> dict[str, Tensor]:
    return {f"{network}/{name}": term.detach() for name, term in terms.items()}


def _of_transfer(there: Transfer) -> dict[str, Tensor]:
    size = there.flow.shape[-1]
    return {
        "mask/mean": there.mask.detach().mean(),
        "mask/sure": ((there.mask < 0.1) | (there.mask > 0.9)).float().mean(),
        "flow/pixels": there.flow.detach().norm(dim=1).mean() * (size - 1) / 2,
    }
