"""The parsing U-Net as a system that is trained: mean cross entropy per pixel, as the official trainer has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.optim import Optimizer

from trainers.maskgan.agreement import Agreement
from trainers.maskgan.label_maps import LabelMaps
from trainers.maskgan.labels import CLASSES, one_hot
from trainers.maskgan.mask_recipes import ParserRecipe
from trainers.maskgan.masks import Masks, open_masks
from trainers.maskgan.parser import ParsingUNet, pixel_entropy
from trainers.maskgan.sheet import coloured, pixels
from trainers.maskgan.vae_training import adam, rate_of
from trainers.system import Batch, Pictures, Scalars, Split, Stage, System, Turn

NETWORK = "parser"


class ParserTraining(System):
    """One network, "parser"."""

    name: ClassVar[str] = "maskgan_parser"
    Recipe: ClassVar[type] = ParserRecipe

    def __init__(self, recipe: ParserRecipe) -> None:
        self.recipe = recipe
        shape = recipe.parser
        self.arguments: Mapping[str, Mapping[str, Any]] = {
            NETWORK: {"classes": CLASSES, "width": shape.width, "channels": 3, "norm": shape.norm}
        }
        self.parser = ParsingUNet(**self.arguments[NETWORK])
        self.parser.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        self.networks: Mapping[str, nn.Module] = {NETWORK: self.parser}
        self._masks: Masks | None = None

    def stages(self) -> Sequence[Stage]:
        return self.recipe.stages

    def pictures(self, split: Split, stage: str) -> Pictures:
        data = self.recipe.data
        if self._masks is None:
            self._masks = open_masks(data.folder, data.layout, data.size, mode=data.mode, crop=data.crop)
        faces = self._masks.train if split == "train" else self._masks.validation
        return LabelMaps(faces, data, moved=split == "train", pictures=True)

    def optimisers(self) -> Mapping[str, Optimizer]:
        return {NETWORK: adam(self.parser, self.recipe.optimiser)}

    def rate(self, optimiser: str, turn: Turn) -> float:
        return rate_of(self.recipe.optimiser, turn)

    def averages(self) -> Mapping[str, float]:
        return {NETWORK: self.recipe.optimiser.average} if self.recipe.optimiser.average else {}

    def step(self, batch: Batch, turn: Turn) -> Scalars:
        with turn.autocast():
            logits = self.parser(batch["image"]).float()
        loss = pixel_entropy(logits, batch["labels"])
        turn.descend(loss, NETWORK, clip=self.recipe.optimiser.clip or None)
        right = (logits.detach().argmax(1) == batch["labels"]).float().mean()
        return {"entropy": loss.detach(), "accuracy": right}

    def sample(self, networks: Mapping[str, nn.Module], batch: Batch, turn: Turn) -> npt.NDArray[np.uint8]:
        found = networks[NETWORK](batch["image"]).argmax(1)
        maps = [coloured(one_hot(one)) for one in (batch["labels"], found)]
        return pixels([batch["image"], *maps])

    def validate(self, networks: Mapping[str, nn.Module], batch: Batch, turn: Turn) -> Scalars:
        """`mean_iou` is the mean over batches, to watch; agreement.py counts over the whole split."""
        logits = networks[NETWORK](batch["image"])
        found = Agreement.of(batch["labels"], logits.argmax(1))
        entropy = pixel_entropy(logits, batch["labels"])
        return {"entropy": entropy, "accuracy": found.accuracy(), "mean_iou": found.mean_iou()}

    def about_data(self) -> Mapping[str, Any]:
        return {} if self._masks is None else dict(self._masks.about)
