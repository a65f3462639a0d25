"""MaskGAN as a system that is trained: the Dense Mapping Network, its blender and critic, in both stages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainers.errors import DataError
from trainers.maskgan.blender import AlphaBlender
from trainers.maskgan.companions import companion
from trainers.maskgan.critic import MultiscaleCritic
from trainers.maskgan.interpolation import interpolate
from trainers.maskgan.labels import CLASSES, one_hot
from trainers.maskgan.mask_vae import MaskVAE
from trainers.maskgan.masks import Masks, open_masks
from trainers.maskgan.networks import DenseMappingNetwork, start
from trainers.maskgan.pairs import Pairs, resized
from trainers.maskgan.parser import ParsingUNet
from trainers.maskgan.recipe import EDITING, MaskGANRecipe
from trainers.maskgan.sheet import coloured, pixels
from trainers.maskgan.step import Networks, Pair, editing_step, mapping_step, reconstruct, simulate
from trainers.perceptual import perceptual_distance
from trainers.system import Batch, Pictures, Scalars, Split, Stage, System, Turn

_SLOWEST = 0.02  # of the cosine, so that the last steps still move something


class MaskGAN(System):
    """The networks and their step: "generator" (DenseMappingNetwork), "blender", "critic", and the companions that the
    recipe names, "mask_vae" and "parser", which no optimiser holds."""

    name: ClassVar[str] = "maskgan"
    Recipe: ClassVar[type] = MaskGANRecipe

    def __init__(self, recipe: MaskGANRecipe) -> None:
        self.recipe = recipe
        generator, blender, critic = recipe.generator, recipe.blender, recipe.critic
        self.distance = perceptual_distance(recipe.losses.perceptual, recipe.losses.vgg19, "losses.vgg19")
        arguments: dict[str, Mapping[str, Any]] = {
            "generator": {
                "classes": CLASSES,
                "width": generator.width,
                "downsamples": generator.downsamples,
                "blocks": generator.blocks,
            },
            "blender": {
                "width": blender.width,
                "downsamples": blender.downsamples,
                "blocks": blender.blocks,
            },
            "critic": {
                "inputs": CLASSES + 3,
                "width": critic.width,
                "layers": critic.layers,
                "scales": critic.scales,
            },
        }
        self.generator = DenseMappingNetwork(**arguments["generator"])
        self.blender = AlphaBlender(**arguments["blender"])
        self.critic = MultiscaleCritic(**arguments["critic"])
        start(self.generator, self.blender, self.critic)
        networks: dict[str, nn.Module] = {
            "generator": self.generator,
            "blender": self.blender,
            "critic": self.critic,
        }
        self.vae: MaskVAE | None = None
        if folder := recipe.companions.mask_vae:
            self.vae, arguments["mask_vae"] = companion(folder, "mask_vae", MaskVAE)
            networks["mask_vae"] = self.vae
        if folder := recipe.companions.parser:
            networks["parser"], arguments["parser"] = companion(folder, "parser", ParsingUNet)
        self.networks: Mapping[str, nn.Module] = networks
        self.arguments: Mapping[str, Mapping[str, Any]] = arguments
        self._masks: Masks | None = None

    def stages(self) -> Sequence[Stage]:
        return self.recipe.stages

    def frozen(self) -> Iterable[nn.Module]:
        return () if self.distance is None else (self.distance,)

    def pictures(self, split: Split, stage: str) -> Pictures:
        data = self.recipe.data
        masks = self._opened()
        if split == "validation":
            return Pairs(masks.validation, expressions=data.expressions)
        inner, outer = None, None
        if stage == EDITING and self.recipe.interpolation.source == "folders":
            inner, outer = masks.inner, masks.outer
            if inner is None or outer is None:
                raise DataError(
                    f"{data.folder}: holds no train_label_inter_1 and train_label_inter_2; write them by a MaskVAE, or "
                    'set interpolation.source = "mask_vae"'
                )
        return Pairs(
            masks.train,
            expressions=data.expressions,
            closed=data.closed,
            recolour=data.recolour,
            flip=data.flip,
            inner=inner,
            outer=outer,
        )

    def _opened(self) -> Masks:
        if self._masks is None:
            data = self.recipe.data
            self._masks = open_masks(data.folder, data.layout, data.size, mode=data.mode, crop=data.crop)
        return self._masks

    def optimisers(self) -> Mapping[str, Optimizer]:
        how = self.recipe.optimiser
        betas = (how.beta1, how.beta2)
        generator, blender = list(self.generator.parameters()), list(self.blender.parameters())
        return {
            "generator": torch.optim.Adam(generator, lr=how.rate, betas=betas),
            "both": torch.optim.Adam([*generator, *blender], lr=how.rate, betas=betas),
            "critic": torch.optim.Adam(self.critic.parameters(), lr=how.critic_rate, betas=betas),
        }

    def rate(self, optimiser: str, turn: Turn) -> float:
        how = self.recipe.optimiser
        if how.constant == how.falling == 0:
            share = turn.stage_step / max(1, turn.stage_steps)
            return _SLOWEST + (1 - _SLOWEST) * 0.5 * (1 + math.cos(math.pi * share))
        beyond = max(0.0, int(turn.epoch) + 1 - how.constant)
        return max(0.0, 1.0 - beyond / (how.falling + 1))

    def averages(self) -> Mapping[str, float]:
        return {"generator": self.recipe.optimiser.average} if self.recipe.optimiser.average else {}

    def step(self, batch: Batch, turn: Turn) -> Scalars:
        networks = Networks(self.generator, self.blender, self.critic, self.distance)
        clip = self.recipe.optimiser.clip or None
        editing = turn.stage == EDITING
        one_step = editing_step if editing else mapping_step
        return one_step(networks, self.pair(batch, editing=editing), self.recipe.losses, turn, clip)

    def pair(self, batch: Batch, *, editing: bool) -> Pair:
        """The planes of a batch's label maps, with the inner and outer ones where the stage needs them."""
        planes = one_hot(batch["labels"])
        inner, outer = self.interpolated(batch) if editing else (None, None)
        style_planes, style_image = None, None
        if self.recipe.data.expressions:
            style_planes, style_image = one_hot(batch["style_labels"]), batch["style_image"]
        return Pair(planes, batch["image"], inner, outer, style_planes, style_image)

    def interpolated(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Planes of M_inter and M_outer: those of the batch, or made here by MaskVAE at its own side."""
        if "inner" in batch:
            return one_hot(batch["inner"]), one_hot(batch["outer"])
        vae, strength = self.vae, self.recipe.interpolation.strength
        if vae is None:
            raise DataError(
                "the editing stage has neither precomputed masks nor a MaskVAE; name companions.mask_vae"
            )
        vae.eval()  # the loop sets every network to train; this one's norms keep to their statistics
        size = batch["labels"].shape[-1]
        own, other = (resized(batch[name], vae.size) for name in ("labels", "reference"))
        inner = interpolate(vae, own, other, sign="inter", strength=strength)
        outer = interpolate(vae, own, other, sign="outer", strength=strength)
        return one_hot(resized(inner, size)), one_hot(resized(outer, size))

    def sample(self, networks: Mapping[str, nn.Module], batch: Batch, turn: Turn) -> npt.NDArray[np.uint8]:
        generator, blender = networks["generator"], networks["blender"]
        assert isinstance(generator, DenseMappingNetwork)
        assert isinstance(blender, AlphaBlender)
        pair = self.pair(batch, editing=turn.stage == EDITING and (self.vae is not None or "inner" in batch))
        columns = [batch["style_image"], batch["image"], coloured(pair.planes), reconstruct(generator, pair)]
        others = one_hot(batch["reference"])
        columns += [coloured(others), generator.draw(others, pair.style(generator))]
        if pair.inner is not None and pair.outer is not None:
            inner, outer, blended, alpha = simulate(generator, blender, pair)
            columns += [coloured(pair.inner), inner, coloured(pair.outer), outer, 2 * alpha - 1, blended]
        return pixels(columns)

    def validate(self, networks: Mapping[str, nn.Module], batch: Batch, turn: Turn) -> Scalars:
        generator = networks["generator"]
        assert isinstance(generator, DenseMappingNetwork)
        pair = self.pair(batch, editing=False)
        made = reconstruct(generator, pair)
        scalars: dict[str, Tensor] = {"reconstruction": (made - pair.image).abs().mean()}
        if self.recipe.data.expressions:
            scalars["unchanged"] = (batch["style_image"] - pair.image).abs().mean()
        if self.distance is not None:
            scalars["perceptual"] = self.distance(made, pair.image)
        return scalars

    def about_data(self) -> Mapping[str, Any]:
        return {} if self._masks is None else dict(self._masks.about)
