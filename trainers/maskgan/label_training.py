"""What the trainings of MaskVAE and of the parser have in common: one network, and label maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import nn
from torch.optim import Optimizer

from trainers.maskgan.label_maps import LabelMaps
from trainers.maskgan.mask_recipes import Adam, MaskVAERecipe, ParserRecipe
from trainers.maskgan.masks import Masks, open_masks
from trainers.system import Pictures, Split, Stage, System, Turn

_SLOWEST = 0.02


class LabelTraining(System):
    """One network of the name `network`, on the label maps of the recipe's folder, moved as the recipe says.

    shown: whether the pictures that belong to the maps come along.
    """

    network: ClassVar[str]
    shown: ClassVar[bool] = False

    def __init__(
        self, recipe: MaskVAERecipe | ParserRecipe, made: nn.Module, arguments: Mapping[str, Any]
    ) -> None:
        self._recipe = recipe
        made.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        self.arguments: Mapping[str, Mapping[str, Any]] = {self.network: arguments}
        self.networks: Mapping[str, nn.Module] = {self.network: made}
        self._masks: Masks | None = None

    def stages(self) -> Sequence[Stage]:
        return self._recipe.stages

    def pictures(self, split: Split, stage: str) -> Pictures:
        data = self._recipe.data
        if self._masks is None:
            self._masks = open_masks(data.folder, data.layout, data.size, mode=data.mode, crop=data.crop)
            self.opened(self._masks)
        faces = self._masks.train if split == "train" else self._masks.validation
        return LabelMaps(faces, data, moved=split == "train", pictures=self.shown)

    def opened(self, masks: Masks) -> None:
        """Called once the data is open, before the first sample."""

    def optimisers(self) -> Mapping[str, Optimizer]:
        how = self._recipe.optimiser
        parameters = self.networks[self.network].parameters()
        return {self.network: torch.optim.Adam(parameters, lr=how.rate, betas=(how.beta1, how.beta2))}

    def rate(self, optimiser: str, turn: Turn) -> float:
        return rate_of(self._recipe.optimiser, turn)

    def averages(self) -> Mapping[str, float]:
        average = self._recipe.optimiser.average
        return {self.network: average} if average else {}

    def about_data(self) -> Mapping[str, Any]:
        return {} if self._masks is None else dict(self._masks.about)

    def descend(self, loss: torch.Tensor, turn: Turn) -> None:
        """A step of the network's optimiser, its gradients bounded as the recipe says."""
        turn.descend(loss, self.network, clip=self._recipe.optimiser.clip or None)


def rate_of(how: Adam, turn: Turn) -> float:
    """The factor on the learning rate at this turn."""
    if how.schedule == "constant":
        return 1.0
    share = turn.stage_step / max(1, turn.stage_steps)
    return _SLOWEST + (1.0 - _SLOWEST) * 0.5 * (1.0 + math.cos(math.pi * share))
